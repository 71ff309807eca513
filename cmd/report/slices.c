/* SPDX-License-Identifier: MIT */
#include "cmd/report/slices.h"

#include <stdlib.h>

#include "cmd/report/grow.h"

static int slice_compare_durations(const void *a, const void *b)
{
	const struct call_slice *x = a, *y = b;

	return (x->duration < y->duration) - (x->duration > y->duration);
}

static int slice_compare_places(const void *a, const void *b)
{
	const struct call_slice *x = a, *y = b;

	if (x->thread != y->thread)
		return x->thread < y->thread ? -1 : 1;
	if (x->begin != y->begin)
		return x->begin < y->begin ? -1 : 1;
	return (x->depth > y->depth) - (x->depth < y->depth);
}

static void slices_cut(struct slices *slices)
{
	if (slices->n <= SLICES_MAX)
		return;
	qsort(slices->slices, slices->n, sizeof(*slices->slices), slice_compare_durations);
	slices->dropped += slices->n - SLICES_MAX;
	slices->n = SLICES_MAX;
	slices->floor = slices->slices[SLICES_MAX - 1].duration;
}

void slices_add(struct slices *slices, const struct report_call *call)
{
	uint64_t duration = (uint64_t)call->end - (uint64_t)call->begin;

	if (duration < slices->floor) {
		slices->dropped++;
		return;
	}
	GROW(slices->slices, slices->n + 1, slices->room);
	slices->slices[slices->n++] = (struct call_slice){ .begin = call->begin,
		                                           .duration = duration,
		                                           .function = call->function->index,
		                                           .thread = call->thread->index,
		                                           .depth = call->depth,
		                                           .status = (uint8_t)call->status };
	if (slices->n == 2 * (size_t)SLICES_MAX)
		slices_cut(slices);
}

void slices_finish(struct slices *slices)
{
	slices_cut(slices);
	if (slices->n)
		qsort(slices->slices, slices->n, sizeof(*slices->slices), slice_compare_places);
}

void slices_release(struct slices *slices)
{
	free(slices->slices);
	*slices = (struct slices){ 0 };
}
