/* SPDX-License-Identifier: MIT */
/* The longest calls of a trace, for a time line. */
#ifndef CMD_REPORT_SLICES_H
#define CMD_REPORT_SLICES_H

#include "cmd/report/model.h"

enum { SLICES_MAX = 60000 };

struct call_slice {
	int64_t begin;
	uint64_t duration; /* ns; until it became known that the call did not end, if status is CALL_UNENDED */
	uint32_t function, thread, depth;
	uint8_t status; /* enum call_status */
};

/* Zeroes are an empty set. */
struct slices {
	struct call_slice *slices;
	size_t n, room;
	uint64_t dropped; /* calls that are not in the set. None of them is longer than one that is */
	uint64_t floor;   /* a shorter call is dropped at once */
};

void slices_add(struct slices *slices, const struct report_call *call);
/* Keeps the SLICES_MAX longest calls and sorts them by thread and begin, outer calls first. */
void slices_finish(struct slices *slices);
void slices_release(struct slices *slices);

#endif
