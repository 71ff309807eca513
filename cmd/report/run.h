/* SPDX-License-Identifier: MIT */
/* Reads the traces of an input and passes everything to consumers. */
#ifndef CMD_REPORT_RUN_H
#define CMD_REPORT_RUN_H

#include "cmd/report/input.h"
#include "cmd/report/model.h"
#include "cmd/report/names.h"
#include "cmd/report/paths.h"

struct run {
	/* Set by the caller: */
	const struct input *input;
	struct report_names *names;
	struct paths *paths; /* NULL: calls need no path */
	const struct report_consumer *consumers;
	size_t nconsumers;
	bool is_careful; /* a consumer cannot forget, so the first pass has no consumers */
	bool needs_earliest; /* a consumer must know the earliest time, so there is a second pass if a call began before the first record */
	/* Called many times a second with the share of the trace that was read, 0 to 1, or below 0 if it is unknown. NULL: not called. */
	void (*progress)(double share, uint64_t records);

	/* Results: */
	uint64_t records;
	uint64_t left_out;        /* calls that were dropped because too many are in flight */
	uint64_t fields_left_out; /* fields of records */
	int64_t begin, end;       /* the times of the first and the last record */
	int64_t earliest; /* the begin of a measured call before the first record, else `begin`; set by the first pass */
	bool interrupted; /* a signal has ended the reading */
	char *error;      /* why the rest cannot be read, or NULL; the caller frees it */
	bool is_second;   /* the trace was read a second time */
	bool opened;      /* the traces could be opened */
};

/*
 * Reads the traces. Returns 0, also after an interrupt. After an error, returns a negative errno, run->error has the message, and the
 * consumers have what was read before.
 */
int run_read(struct run *run);

#endif
