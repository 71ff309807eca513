/* SPDX-License-Identifier: MIT */
/*
 * How many calls ended when, and how long they took: counts by an interval of time and a range of durations. Each power of two
 * has two ranges. When the time becomes longer, the intervals' width doubles, as in series.h.
 */
#ifndef CMD_REPORT_HEAT_H
#define CMD_REPORT_HEAT_H

#include <stddef.h>
#include <stdint.h>

enum { HEAT_COLUMNS = 128, HEAT_ROWS = 2 * 64 };

/* Zeroes are an empty map. */
struct heat {
	int64_t origin;
	uint64_t width;                /* ns of a column; 0: empty */
	uint32_t (*counts)[HEAT_ROWS]; /* by column */
};

/* Counts a duration that ended at a time. All maps of a trace get the same origin, which is not after the time. */
void heat_add(struct heat *heat, int64_t origin, int64_t time, uint64_t duration);
/* Returns the smallest duration of a row, in ns. */
uint64_t heat_row_begin(size_t row);
void heat_release(struct heat *heat);

#endif
