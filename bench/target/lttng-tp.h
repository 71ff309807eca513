/* SPDX-License-Identifier: MIT */
#undef TRACEPOINT_PROVIDER
#define TRACEPOINT_PROVIDER bench
#undef TRACEPOINT_INCLUDE
#define TRACEPOINT_INCLUDE "./lttng-tp.h"

#if !defined(BENCH_LTTNG_TP_H) || defined(TRACEPOINT_HEADER_MULTI_READ)
#define BENCH_LTTNG_TP_H

#include <lttng/tracepoint.h>

TRACEPOINT_EVENT(bench, two, TP_ARGS(long, a, long, b),
                 TP_FIELDS(ctf_integer(long, a, a) ctf_integer(long, b, b)))
TRACEPOINT_EVENT(bench, pair, TP_ARGS(int, a, int, b), TP_FIELDS(ctf_integer(int, a, a) ctf_integer(int, b, b)))

#endif

#include <lttng/tracepoint-event.h>
