/* SPDX-License-Identifier: MIT */
/*
 * Buffers records on their way to standard output, one line for each record. The sink counts the lines that were
 * written completely, and reports the records of all other lines as lost, so that the summary counts as recorded only
 * what is in the output.
 */
#ifndef CMD_SINK_H
#define CMD_SINK_H

#include <probepoint.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "cmd/event-format.h"
#include "cmd/format.h"
#include "cmd/otlp.h"

enum { SINK_BYTES = 1 << 15, SINK_LINES = 2048 };

struct sink {
	bool json;
	struct otlp *otlp;           /* NULL: no OTLP */
	const struct format *format; /* NULL: the usual line */
	struct event_look look;
	uint64_t complete_since; /* ns; of a snapshot: pp_reader_complete_since(), UINT64_MAX: not known */
	FILE *memory;            /* the lines that are not written yet */
	char *bytes;
	size_t size;
	struct pp_mark marks[SINK_LINES]; /* one for each line */
	size_t nmarks;
	uint64_t written; /* lines */
	int error;        /* the first one; nothing is written after it */
};

/* Appends an event. Returns 0, or the negative errno of an earlier or this write (-EPIPE: the reader has gone). */
int sink_put(struct sink *sink, struct pp_reader *reader, const struct pp_event *event);
/* Writes all lines. Returns as sink_put(). */
int sink_flush(struct sink *sink, struct pp_reader *reader);
/* Adds the lines of the spans that have waited too long for the call around them, or of all that wait. Does nothing without --otlp. */
void sink_put_waiting(struct sink *sink, struct pp_reader *reader, bool all);
/* Writes all lines, and a line that is not a record: how many records were written and lost. */
void sink_put_account(struct sink *sink, struct pp_reader *reader, const char *session, uint64_t lost);
void sink_free(struct sink *sink);

#endif
