/* SPDX-License-Identifier: MIT */
#include "cmd/report/series.h"

#include <stdlib.h>
#include <string.h>

#include "cmd/alloc.h"

static uint32_t count_add(uint32_t a, uint32_t b)
{
	return a > UINT32_MAX - b ? UINT32_MAX : a + b;
}

static void series_double(struct series *series)
{
	size_t n = (series->n + 1) / 2;

	for (size_t i = 0; i < n; i++)
		series->counts[i] =
			count_add(series->counts[2 * i], 2 * i + 1 < series->n ? series->counts[2 * i + 1] : 0);
	memset(series->counts + n, 0, (SERIES_BUCKETS - n) * sizeof(*series->counts));
	series->n = n;
	series->width *= 2;
}

void series_widen(struct series *series, uint64_t width)
{
	while (series->width && series->width < width)
		series_double(series);
}

void series_add(struct series *series, int64_t origin, int64_t time)
{
	uint64_t after = (uint64_t)time - (uint64_t)origin;

	if (!series->width) {
		series->origin = origin;
		series->width = SERIES_WIDTH_FIRST;
		series->counts = xcalloc(SERIES_BUCKETS, sizeof(*series->counts));
	}
	while (after / series->width >= SERIES_BUCKETS)
		series_double(series);
	after /= series->width;
	series->counts[after] = count_add(series->counts[after], 1);
	if (series->n <= after)
		series->n = (size_t)after + 1;
}

void series_release(struct series *series)
{
	free(series->counts);
	*series = (struct series){ 0 };
}
