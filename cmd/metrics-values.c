/* SPDX-License-Identifier: MIT */
/*
 * The samples of a key of a table. Keys without series of their own have the labels of other="keys", so that
 * metrics_finish() adds them up. Averages and percentiles cannot be added up, so other keys have none.
 */
#include <math.h>
#include <stdlib.h>

#include "cmd/aggregates.h"
#include "cmd/alloc.h"
#include "cmd/metrics-internal.h"

/* A call of an entry. */
struct call_place {
	struct table_metrics *t;
	const struct table_call *call;
	size_t table, entry, at;
	const char *labels;
	bool own;
};

static double number(int64_t value, bool is_unsigned)
{
	return is_unsigned ? (double)(uint64_t)value : (double)value;
}

bool values_are_signed(const struct pp_values *v)
{
	return !v->is_unsigned && v->min < 0;
}

bool values_may_wrap(const struct pp_values *v)
{
	double low = fabs(number(v->min, v->is_unsigned)), high = fabs(number(v->max, v->is_unsigned));

	return (double)v->count * (low > high ? low : high) >= ldexp(1, v->is_unsigned ? 64 : 63);
}

/* ---- histograms ---- */

static void histogram_read(struct metric_histogram *h, const struct call_place *place, bool is_unsigned)
{
	const struct pp_aggregates *a = place->t->aggregates;

	h->nbuckets = pp_entry_buckets(a, place->table, place->entry, place->at);
	h->buckets = xcalloc(h->nbuckets, sizeof(*h->buckets));
	h->count = 0;
	for (size_t i = 0; i < h->nbuckets; i++) {
		struct pp_bucket b;

		pp_entry_bucket(a, place->table, place->entry, place->at, i, &b, sizeof(b));
		h->buckets[i] =
			(struct metric_bucket){ number(b.low, is_unsigned), number(b.high, is_unsigned), b.count };
		if (!is_unsigned && b.low == INT64_MIN)
			h->buckets[i].low = -INFINITY;
		if (b.high == (is_unsigned ? -1 : INT64_MAX))
			h->buckets[i].high = INFINITY;
		h->count += b.count;
	}
}

/* Returns the family of a histogram. The whole table decides, so that all keys of it are in the same one. */
static enum metric_family_id histogram_family(const struct table_call *call)
{
	if (call->function == PP_LHIST)
		return METRIC_LINEAR_DISTRIBUTION;
	return call->has_negative ? METRIC_SIGNED_DISTRIBUTION : METRIC_DISTRIBUTION;
}

static void distribution_put(const struct call_place *place, const struct pp_values *v)
{
	const struct table_call *call = place->call;
	enum metric_family_id family = histogram_family(call);
	struct metric_histogram *h = xcalloc(1, sizeof(*h));

	histogram_read(h, place, v->is_unsigned);
	h->bounds = call->bounds;
	h->nbounds = call->nbounds;
	h->has_sum = !call->is_signed;
	h->sum = number(v->sum, v->is_unsigned);
	if (family == METRIC_DISTRIBUTION)
		h->scale = call->function == PP_HIST ? METRIC_POWERS : METRIC_FINE;
	metrics_add_histogram(place->t->m, family, place->labels, h);
}

static void percentiles_put(const struct call_place *place)
{
	static const struct {
		const char *name;
		double share;
	} percentiles[] = { { "50", 0.5 }, { "90", 0.9 }, { "99", 0.99 }, { "99.9", 0.999 } };
	struct metrics *m = place->t->m;

	for (size_t i = 0; i < sizeof(percentiles) / sizeof(*percentiles); i++) {
		const char *labels = metrics_label(m, place->labels, "percentile", percentiles[i].name);
		struct quantile q = quantile_read(place->t->aggregates, place->table, place->entry, place->at,
		                                  percentiles[i].share);

		if (q.is_integer)
			metrics_add_int(m, METRIC_PERCENTILE, labels, q.integer, q.is_unsigned);
		else
			metrics_add_double(m, METRIC_PERCENTILE, labels, q.value);
	}
}

/* ---- all functions ---- */

static void sum_put(const struct call_place *place, const struct pp_values *v)
{
	struct metrics *m = place->t->m;

	metrics_add_uint(m, METRIC_VALUES, place->labels, v->count);
	if (place->call->is_signed)
		metrics_add_int(m, METRIC_SIGNED_AMOUNT, place->labels, v->sum, v->is_unsigned);
	else
		metrics_add_uint(m, METRIC_AMOUNT, place->labels, (uint64_t)v->sum);
	if (place->call->function == PP_AVG && place->own && v->count && !values_may_wrap(v))
		metrics_add_double(m, METRIC_AVERAGE, place->labels, number(v->sum, v->is_unsigned) / (double)v->count);
}

static void call_put(const struct call_place *place)
{
	struct metrics *m = place->t->m;
	struct pp_values v;

	pp_entry_values(place->t->aggregates, place->table, place->entry, place->at, &v, sizeof(v));
	switch (place->call->function) {
	case PP_COUNT: metrics_add_uint(m, METRIC_VALUES, place->labels, v.count); break;
	case PP_SUM:
	case PP_AVG: sum_put(place, &v); break;
	case PP_MIN:
		if (v.count)
			metrics_add_int(m, METRIC_MINIMUM, place->labels, v.min, v.is_unsigned);
		break;
	case PP_MAX:
		if (v.count)
			metrics_add_int(m, METRIC_MAXIMUM, place->labels, v.max, v.is_unsigned);
		break;
	default:
		distribution_put(place, &v);
		if (place->call->function == PP_PCT && place->own && v.count)
			percentiles_put(place);
	}
}

void tables_put_key(struct table_metrics *tables, const struct metric_member *key)
{
	const struct one_table *table = &tables->tables[key->group];
	const char *labels = key->own ? key->labels : metrics_label(tables->m, table->labels, "other", "keys");

	for (size_t i = 0; i < table->ncalls; i++) {
		const struct table_call *call = &table->calls[i];

		call_put(&(struct call_place){ .t = tables,
		                               .call = call,
		                               .table = key->group,
		                               .entry = key->at,
		                               .at = i,
		                               .labels = metrics_label(tables->m, labels, "call", call->text),
		                               .own = key->own });
	}
}

static void rest_put(struct table_metrics *tables, size_t table, size_t i)
{
	const struct table_call *call = &tables->tables[table].calls[i];
	struct metrics *m = tables->m;
	const char *labels = metrics_label(m, tables->tables[table].labels, "call", call->text),
		   *room = metrics_label(m, labels, "reason", "room");
	struct pp_rest rest;

	pp_table_rest(tables->aggregates, table, i, &rest, sizeof(rest));
	metrics_add_uint(m, METRIC_UNPLACED_VALUES, room, rest.other);
	metrics_add_uint(m, METRIC_UNPLACED_VALUES, metrics_label(m, labels, "reason", "unread"), rest.unread);
	if (call->function == PP_SUM || call->function == PP_AVG)
		metrics_add_int(m, METRIC_UNPLACED_AMOUNT, room, rest.other_sum, false);
}

void tables_put_rest(struct table_metrics *tables)
{
	for (size_t table = 0; table < tables->n; table++)
		for (size_t i = 0; tables->tables[table].taken && i < tables->tables[table].ncalls; i++)
			rest_put(tables, table, i);
}
