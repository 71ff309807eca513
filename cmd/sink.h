/* SPDX-License-Identifier: MIT */
/*
 * Records on their way to standard output, one line each. The sink knows which lines have been written whole, and
 * gives the others back to the session as lost: what a summary calls recorded is in the output.
 */
#ifndef CMD_SINK_H
#define CMD_SINK_H

#include <probepoint.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct sink {
	FILE *memory; /* lines that are to be written */
	char *bytes;
	size_t size;
	struct pp_mark *marks; /* one for each line */
	size_t nmarks, room;
	uint64_t written; /* lines */
	int error;        /* the first one; nothing is written after it */
};

/* Takes one event. 0; a negative errno if lines were written out and that failed (-EPIPE: nobody reads them). */
int sink_put(struct sink *sink, struct pp_reader *reader, const struct pp_event *event, bool json);
/* Writes out all lines. Those that cannot be written are lost. */
int sink_flush(struct sink *sink, struct pp_reader *reader);
void sink_free(struct sink *sink);

#endif
