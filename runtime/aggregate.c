/* SPDX-License-Identifier: MIT */
/* The arithmetic of aggregates. The agent links this file too, so it uses nothing else of the library. */
#include "runtime/aggregate.h"

#define STEPS_BITS 5 /* of AGG_LOGLINEAR: 32 steps */
#define EXACT 64     /* values of AGG_LOGLINEAR with a bucket of their own */

static unsigned log2_floor(uint64_t value)
{
	return 63 - (unsigned)__builtin_clzll(value);
}

static unsigned linear_buckets(const struct agg_column *column)
{
	uint64_t range = (uint64_t)column->high - (uint64_t)column->low, step = (uint64_t)column->step;

	return (unsigned)(range / step + (range % step != 0));
}

static unsigned linear_bucket(const struct agg_column *column, int64_t value)
{
	if (agg_less(column, value, column->low))
		return 0;
	if (!agg_less(column, value, column->high))
		return 1 + linear_buckets(column);
	return 1 + (unsigned)(((uint64_t)value - (uint64_t)column->low) / (uint64_t)column->step);
}

unsigned agg_bucket(const struct agg_column *column, uint64_t value)
{
	bool negative = !column->is_unsigned && (int64_t)value < 0;
	unsigned log;

	switch (column->histogram) {
	case AGG_LOG2: return negative ? 0 : value ? 2 + log2_floor(value) : 1;
	case AGG_LINEAR: return linear_bucket(column, (int64_t)value);
	case AGG_LOGLINEAR:
		if (negative)
			return 0;
		if (value < EXACT)
			return 1 + (unsigned)value;
		log = log2_floor(value);
		return 1 + EXACT + ((log - 6) << STEPS_BITS) + (unsigned)(value >> (log - STEPS_BITS) & 31);
	}
	return 0;
}

unsigned agg_buckets(const struct agg_column *column)
{
	switch (column->histogram) {
	case AGG_LOG2: return 2 + 64;
	case AGG_LINEAR: return 2 + linear_buckets(column);
	case AGG_LOGLINEAR: return 1 + EXACT + ((64 - 6) << STEPS_BITS);
	}
	return 1;
}

static void linear_range(const struct agg_column *column, unsigned bucket, uint64_t *low, uint64_t *high)
{
	unsigned n = linear_buckets(column);

	if (!bucket)
		*high = (uint64_t)column->low - 1;
	else
		*low = bucket > n ? (uint64_t)column->high
		                  : (uint64_t)column->low + (bucket - 1) * (uint64_t)column->step;
	if (bucket && bucket < n)
		*high = *low + (uint64_t)column->step - 1;
	else if (bucket == n)
		*high = (uint64_t)column->high - 1;
}

static void loglinear_range(unsigned bucket, uint64_t *low, uint64_t *high)
{
	unsigned at = bucket - 1 - EXACT, log = 6 + (at >> STEPS_BITS);

	if (bucket <= EXACT) {
		*low = *high = bucket - 1;
		return;
	}
	*low = ((uint64_t)32 + (at & 31)) << (log - STEPS_BITS);
	*high = *low + ((1ull << (log - STEPS_BITS)) - 1);
}

void agg_bucket_range(const struct agg_column *column, unsigned bucket, uint64_t *low, uint64_t *high)
{
	*low = column->is_unsigned ? 0 : (uint64_t)INT64_MIN;
	*high = column->is_unsigned ? UINT64_MAX : (uint64_t)INT64_MAX;
	if (column->histogram == AGG_LINEAR) {
		linear_range(column, bucket, low, high);
	} else if (column->histogram != AGG_PLAIN && !bucket) {
		*high = UINT64_MAX; /* -1 */
	} else if (column->histogram == AGG_LOG2) {
		*low = bucket == 1 ? 0 : 1ull << (bucket - 2);
		*high = bucket == 1 ? 0 : *low + (*low - 1);
	} else if (column->histogram == AGG_LOGLINEAR) {
		loglinear_range(bucket, low, high);
	}
}

bool agg_column_is_valid(const struct agg_column *column)
{
	if (column->histogram > AGG_LOGLINEAR || column->is_unsigned > 1)
		return false;
	return column->histogram != AGG_LINEAR || (column->step > 0 && agg_less(column, column->low, column->high) &&
	                                           linear_buckets(column) <= AGG_LINEAR_MAX);
}

void agg_cell_add(const struct agg_column *column, struct agg_cell *to, const struct agg_cell *from)
{
	if (!from->count)
		return;
	if (!to->count || agg_less(column, from->min, to->min))
		to->min = from->min;
	if (!to->count || agg_less(column, to->max, from->max))
		to->max = from->max;
	to->count += from->count;
	to->sum += from->sum;
}
