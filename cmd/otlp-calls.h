/* SPDX-License-Identifier: MIT */
/*
 * Finds the parents of spans. The records of a thread come in the order of time: first the entry of a call, then the ends of the
 * calls in it, then its own end. So a span waits in the innermost call around it whose entry was recorded. When that call ends,
 * it becomes the parent of the span.
 *
 * Only a call that has ended becomes a parent. A call that an exception or longjmp() leaves has no end. The spans that wait in it
 * pass to the next call outwards that ends.
 *
 * An end is paired with the latest entry of its function whose time fits the begin of the call (SLACK_NS in otlp-calls.c). So lost
 * records usually hide a parent, and do not name a wrong one. The exception: the end of one call and the entry of the next call of
 * the same function were lost, and the second call began within 200 us after the first one. Then the entry of the first call is
 * taken for that of the second one, and spans of calls in the first one get the second one as parent.
 */
#ifndef CMD_OTLP_CALLS_H
#define CMD_OTLP_CALLS_H

#include <probepoint.h>
#include <stdint.h>

#include "cmd/json.h"

/* A call that has ended. The span owns its members. */
struct otlp_span {
	json_object *name, *attributes, *resource;
	unsigned dropped;           /* attributes that could not be read */
	int64_t begin, end;         /* ns since 1970 */
	char trace[33], parent[17]; /* hex, from an argument; "": none */
	struct pp_mark mark;
	uint64_t ended;             /* ns of CLOCK_MONOTONIC in the initial time namespace, as records have it */
	uint64_t taken;             /* when the record was read, in ns of this process's CLOCK_MONOTONIC */
	struct otlp_span *children; /* a list, linked by next */
	struct otlp_span *next;
};

struct otlp_calls;

struct otlp_calls *otlp_calls_new(void);
/* Also frees the spans that wait. */
void otlp_calls_free(struct otlp_calls *calls);
/* Frees the span and its children. */
void otlp_span_free(struct otlp_span *span);

/* Notes that a call begins at a time in ns of CLOCK_MONOTONIC. function: the same number for its entry and its end. */
void otlp_calls_enter(struct otlp_calls *calls, pid_t pid, pid_t tid, uint64_t function, uint64_t time);
/*
 * Notes that the call which began at this time has ended, and takes its span. Returns a list of the spans that do not wait, which the
 * caller prints and frees.
 */
struct otlp_span *otlp_calls_leave(struct otlp_calls *calls, pid_t pid, pid_t tid, uint64_t function, uint64_t began,
                                   struct otlp_span *span);
/* Returns the spans that wait and were taken before a time (UINT64_MAX: all of them). They get no parents. */
struct otlp_span *otlp_calls_expire(struct otlp_calls *calls, uint64_t until);

#endif
