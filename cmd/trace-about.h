/* SPDX-License-Identifier: MIT */
/* The file about/probepoint.json of a trace: what was armed, refused and lost. doc/trace-format.md describes it. */
#ifndef CMD_TRACE_ABOUT_H
#define CMD_TRACE_ABOUT_H

#include <probepoint.h>
#include <stdbool.h>
#include <stdint.h>

#include "cmd/options.h"

struct json_object;

struct trace_totals {
	uint64_t recorded, lost, damaged, removed;
	bool is_snapshot;
	uint64_t complete_since; /* ns; of a snapshot: pp_reader_complete_since(), UINT64_MAX: not known */
};

/*
 * Writes or replaces the file of the trace in a directory. armed: the report of arming; NULL: another command armed the
 * session. totals NULL: the trace begins. The trace is complete without the file, so an error is only a message.
 */
void trace_about_write(const struct options *options, const char *directory, struct pp_session *session,
                       struct json_object *armed, const struct trace_totals *totals);

#endif
