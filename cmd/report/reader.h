/* SPDX-License-Identifier: MIT */
/*
 * Reads the records of traces in the order of time, through libbabeltrace2. A reader reads once. Functions that fail return a
 * negative errno; reader_error() has the message.
 */
#ifndef CMD_REPORT_READER_H
#define CMD_REPORT_READER_H

#include "cmd/report/input.h"
#include "cmd/report/model.h"
#include "cmd/report/names.h"

struct trace_reader;

/*
 * Opens the traces of an input. The names and the input belong to the caller and must outlive *reader. *reader is set in any
 * case, for reader_error() and reader_free().
 */
int reader_open(const struct input *input, struct report_names *names, struct trace_reader **reader);
void reader_free(struct trace_reader *reader);

/* The times of the first and the last packet. */
struct reader_range {
	bool is_known;
	int64_t begin, end;
};
struct reader_range reader_range(const struct trace_reader *reader);

/*
 * Passes the next records, some at a time. Returns 1 if there may be more, 0 at the end, or a negative errno: what was passed
 * before is right, and nothing more can be read.
 */
int reader_run(struct trace_reader *reader, void (*record)(void *state, const struct report_record *record),
               void (*lost)(void *state, const struct report_loss *loss), void *state);

/* The message of the last error. */
const char *reader_error(const struct trace_reader *reader);
/* Fields that were left out, because a record has too many or they are nested too deeply. */
uint64_t reader_fields_left_out(const struct trace_reader *reader);

#endif
