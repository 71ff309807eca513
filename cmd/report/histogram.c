/* SPDX-License-Identifier: MIT */
#include "cmd/report/histogram.h"

#include <stdlib.h>

#include "cmd/alloc.h"

enum { STEP_BITS = 5 };

_Static_assert(1 << STEP_BITS == HISTOGRAM_STEPS, "steps");

/*
 * Octave 0 is 0 to 31. Octave o > 0 is the values whose highest bit is o + 4: its step is the value shifted so that the five bits
 * below the highest one remain.
 */
static void histogram_place(uint64_t value, size_t *octave, size_t *step)
{
	unsigned high = value < HISTOGRAM_STEPS ? 0 : 63 - (unsigned)__builtin_clzll(value);

	if (!high) {
		*octave = 0;
		*step = value;
		return;
	}
	*octave = high - STEP_BITS + 1;
	*step = value >> (high - STEP_BITS) & (HISTOGRAM_STEPS - 1);
}

void histogram_limits(size_t i, uint64_t *lo, uint64_t *hi)
{
	size_t octave = i / HISTOGRAM_STEPS, step = i % HISTOGRAM_STEPS;

	if (!octave) {
		*lo = *hi = step;
		return;
	}
	*lo = (uint64_t)(HISTOGRAM_STEPS + step) << (octave - 1);
	*hi = *lo + ((uint64_t)1 << (octave - 1)) - 1;
}

void histogram_add(struct histogram *histogram, uint64_t value)
{
	size_t octave, step;

	histogram_place(value, &octave, &step);
	if (!histogram->octaves[octave])
		histogram->octaves[octave] = xcalloc(HISTOGRAM_STEPS, sizeof(uint64_t));
	histogram->octaves[octave][step]++;
	if (!histogram->count++ || value < histogram->min)
		histogram->min = value;
	if (value > histogram->max)
		histogram->max = value;
	histogram->sum += (double)value;
}

void histogram_release(struct histogram *histogram)
{
	for (size_t i = 0; i < HISTOGRAM_OCTAVES; i++)
		free(histogram->octaves[i]);
	*histogram = (struct histogram){ 0 };
}

uint64_t histogram_at(const struct histogram *histogram, size_t i)
{
	const uint64_t *octave = histogram->octaves[i / HISTOGRAM_STEPS];

	return octave ? octave[i % HISTOGRAM_STEPS] : 0;
}

uint64_t histogram_quantile(const struct histogram *histogram, double share)
{
	uint64_t rank, seen = 0, lo, hi;
	double exact = share * (double)histogram->count;

	if (!histogram->count)
		return 0;
	rank = (uint64_t)exact;
	rank += (double)rank < exact || !rank;
	if (rank >= histogram->count)
		return histogram->max;
	for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
		seen += histogram_at(histogram, i);
		if (seen < rank)
			continue;
		histogram_limits(i, &lo, &hi);
		lo += (hi - lo) / 2;
		return lo < histogram->min ? histogram->min : lo > histogram->max ? histogram->max : lo;
	}
	return histogram->max;
}
