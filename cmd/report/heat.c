/* SPDX-License-Identifier: MIT */
#include "cmd/report/heat.h"

#include <stdlib.h>
#include <string.h>

#include "cmd/alloc.h"

#define HEAT_WIDTH_FIRST 1000000 /* ns */

/* Durations 0 and 1 have the rows 0 and 1. */
static size_t heat_row(uint64_t duration)
{
	unsigned log = duration > 1 ? 63 - (unsigned)__builtin_clzll(duration) : 0;

	return duration < 2 ? (size_t)duration : 2 * log + (duration >> (log - 1) & 1);
}

uint64_t heat_row_begin(size_t row)
{
	return row < 2 ? row : (2 + (row & 1)) * (UINT64_C(1) << (row / 2 - 1));
}

/* Joins pairs of columns. */
static void heat_double(struct heat *heat)
{
	for (size_t i = 0; i < HEAT_COLUMNS; i++) {
		uint32_t *to = heat->counts[i / 2];

		for (size_t row = 0; row < HEAT_ROWS; row++) {
			uint32_t count = heat->counts[i][row];

			heat->counts[i][row] = 0;
			to[row] = UINT32_MAX - to[row] < count ? UINT32_MAX : to[row] + count;
		}
	}
	heat->width *= 2;
}

void heat_add(struct heat *heat, int64_t origin, int64_t time, uint64_t duration)
{
	uint64_t since = time > origin ? (uint64_t)time - (uint64_t)origin : 0;
	uint32_t *count;

	if (!heat->width) {
		heat->counts = xcalloc(HEAT_COLUMNS, sizeof(*heat->counts));
		heat->origin = origin;
		heat->width = HEAT_WIDTH_FIRST;
	}
	while (since / heat->width >= HEAT_COLUMNS)
		heat_double(heat);
	count = &heat->counts[since / heat->width][heat_row(duration)];
	*count += *count < UINT32_MAX;
}

void heat_release(struct heat *heat)
{
	free(heat->counts);
	*heat = (struct heat){ 0 };
}
