/* SPDX-License-Identifier: MIT */
/*
 * Counts over time: at most SERIES_BUCKETS intervals of the same width, which begin at the series' origin. When the time becomes
 * longer, the width doubles and pairs of intervals are joined.
 */
#ifndef CMD_REPORT_SERIES_H
#define CMD_REPORT_SERIES_H

#include <stddef.h>
#include <stdint.h>

enum { SERIES_BUCKETS = 256 };

#define SERIES_WIDTH_FIRST 1000 /* ns */

/* Zeroes are an empty series. */
struct series {
	int64_t origin;
	uint64_t width; /* ns; 0: nothing was added yet */
	uint32_t *counts;
	size_t n; /* intervals up to the last count */
};

/* Adds 1 at a time. All series of a trace get the same origin, which is not after the time. */
void series_add(struct series *series, int64_t origin, int64_t time);
/* Widens the intervals until they have at least this width, which is one of another series. */
void series_widen(struct series *series, uint64_t width);
void series_release(struct series *series);

#endif
