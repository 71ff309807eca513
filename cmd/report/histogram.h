/* SPDX-License-Identifier: MIT */
/*
 * A histogram of durations. Each power of two has 32 buckets of the same width, so the limits of a bucket differ by at most 1/32,
 * and the middle of a bucket by at most 1/64 from what is in it. Numbers below 64 are exact.
 */
#ifndef CMD_REPORT_HISTOGRAM_H
#define CMD_REPORT_HISTOGRAM_H

#include <stddef.h>
#include <stdint.h>

enum { HISTOGRAM_STEPS = 32, HISTOGRAM_OCTAVES = 60 };

/* Zeroes are an empty histogram. An octave is allocated when it is needed (256 bytes). */
struct histogram {
	uint64_t *octaves[HISTOGRAM_OCTAVES];
	uint64_t count, min, max;
	double sum;
};

void histogram_add(struct histogram *histogram, uint64_t value);
void histogram_release(struct histogram *histogram);

/* Returns the value that a share (0 to 1) of the values do not exceed, within 1/64. 0: the histogram is empty. */
uint64_t histogram_quantile(const struct histogram *histogram, double share);

/* The number of all buckets, and the limits of bucket i: lo <= value <= hi. */
enum { HISTOGRAM_BUCKETS = HISTOGRAM_STEPS * HISTOGRAM_OCTAVES };
uint64_t histogram_at(const struct histogram *histogram, size_t i);
void histogram_limits(size_t i, uint64_t *lo, uint64_t *hi);

#endif
