/* SPDX-License-Identifier: MIT */
/*
 * Marks calls as uncertain, by ranges: calls number lo to hi of one function in one thread. They are found while a trace is read
 * for the first time, and used when it is read again.
 */
#ifndef CMD_REPORT_MARKS_H
#define CMD_REPORT_MARKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MARKS_MAX = 1 << 21 }; /* ranges; above it, ranges are joined and cover the calls between them, too */

struct mark_range {
	uint32_t lo, hi;
};

/* The ranges of one function in one thread, ascending. */
struct mark_list {
	uint32_t thread, function;
	struct mark_range *ranges;
	size_t n, room;
	size_t next; /* of marks_has() */
};

struct call_marks;

struct call_marks *marks_new(void);
void marks_free(struct call_marks *marks);
/* Returns the number of ranges. */
size_t marks_count(const struct call_marks *marks);
void marks_add(struct call_marks *marks, uint32_t thread, uint32_t function, uint32_t lo, uint32_t hi);
/* Returns whether a call is marked. The numbers of one function in one thread must ascend. */
bool marks_has(struct call_marks *marks, uint32_t thread, uint32_t function, uint32_t number);
/* The next marks_has() of each function and thread may begin with 0 again. */
void marks_rewind(struct call_marks *marks);

#endif
