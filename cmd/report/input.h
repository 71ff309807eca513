/* SPDX-License-Identifier: MIT */
/* The traces below a directory. */
#ifndef CMD_REPORT_INPUT_H
#define CMD_REPORT_INPUT_H

#include "cmd/report/model.h"

enum { TRACES_MAX = 256 };

struct input_trace {
	char *name; /* the directory, as the user knows it */
	char *path; /* the directory to read: the same, or a copy without damaged packets */
	bool has_range;
	int64_t begin, end; /* the times of its first and last packet */
	char clock[37];     /* UUID; "": unknown */
	int64_t offset;     /* from the clock to times, as the trace says */
	int64_t shift;      /* ns to be added to its times */
};

struct input {
	struct input_trace *traces;
	size_t ntraces;
	struct report_loss *damages; /* packets that are left out, in the order of their beginning */
	size_t ndamages;
	char **notices; /* what is damaged or left out, for the user */
	size_t nnotices;
	char *copies; /* the directory of the copies; NULL */
	char *error;
};

/*
 * Finds the traces below a directory, and copies the streams that are damaged, without the damaged packets. Returns 0, or a negative
 * errno with input->error. input_release() frees all, and removes the copies.
 */
int input_find(struct input *input, const char *directory);
void input_release(struct input *input);

#endif
