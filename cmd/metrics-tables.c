/* SPDX-License-Identifier: MIT */
/*
 * The series of tables of aggregates.
 *
 * Histograms of a table have the same bounds for each key, so that their buckets can be added up. The bounds depend on the
 * values of the table as little as possible, so that those of several hosts can be added up, too: see bounds_make().
 */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/alloc.h"
#include "cmd/metrics-internal.h"

#define BOUNDS_MAX 1100

/* ---- bounds of classic buckets ---- */

static bool function_is_histogram(enum pp_function function)
{
	return function == PP_HIST || function == PP_LHIST || function == PP_PCT;
}

/* Returns the exponent of the last bound: the first of 16, 32, 48 and 64 whose power of 2 no value reaches. */
static unsigned top_exponent(double greatest)
{
	unsigned top = 16;

	while (top < 64 && greatest >= ldexp(1, (int)top))
		top += 16;
	return top;
}

/* hist(): 0, 1, 3, 7, 15, ... */
static size_t bounds_of_powers(double *bounds, unsigned top)
{
	size_t n = 0;

	for (unsigned e = 0; e <= top; e++)
		bounds[n++] = ldexp(1, (int)e) - 1;
	return n;
}

/* pct(): 0 to 7, then four of each power of two: 9, 11, 13, 15, 19, 23, 27, 31, ... */
static size_t bounds_of_quarters(double *bounds, unsigned top)
{
	size_t n = 0;

	for (unsigned v = 0; v < 4; v++)
		bounds[n++] = v;
	for (unsigned e = 2; e < top; e++)
		for (unsigned quarter = 5; quarter <= 8; quarter++)
			bounds[n++] = ldexp(quarter, (int)e - 2) - 1;
	return n;
}

/*
 * lhist(): the greatest values of its buckets, without negative ones if there are no negative values. Its call ends with
 * ", LOW, HIGH, STEP)".
 */
static size_t bounds_of_steps(double *bounds, const char *call, bool positive)
{
	const char *at = call + strlen(call);
	int64_t number[3];
	size_t n = 0;

	for (int i = 2; i >= 0; i--) {
		char *end;

		do
			at--;
		while (at > call && *at != ',');
		errno = 0;
		number[i] = strtoll(at + 1, &end, 0);
		if (errno || end == at + 1 || at == call)
			return 0;
	}
	if (number[2] <= 0 || number[0] >= number[1])
		return 0;
	for (double low = (double)number[0]; low < (double)number[1] && n < BOUNDS_MAX - 1; low += (double)number[2])
		if (low >= 1 || !positive)
			bounds[n++] = low - 1;
	if (number[1] >= 1 || !positive)
		bounds[n++] = (double)number[1] - 1;
	return n;
}

static void bounds_make(struct table_metrics *t, size_t table, size_t i, struct table_call *call)
{
	double bounds[BOUNDS_MAX];
	struct pp_values all;
	size_t n = 0;

	pp_entry_values(t->aggregates, table, PP_ALL, i, &all, sizeof(all));
	if (call->function == PP_LHIST)
		n = bounds_of_steps(bounds, call->text, all.is_unsigned || all.min >= 0);
	if (call->function != PP_LHIST) {
		double greatest = all.is_unsigned ? (double)(uint64_t)all.max : (double)all.max;

		if (!all.is_unsigned && all.min < 0)
			bounds[n++] = -1;
		n += (call->function == PP_HIST ? bounds_of_powers : bounds_of_quarters)(bounds + n,
		                                                                         top_exponent(greatest));
	}
	call->nbounds = n;
	call->bounds = xcalloc(n, sizeof(*bounds));
	memcpy(call->bounds, bounds, n * sizeof(*bounds));
	t->m->bounds = xreallocarray(t->m->bounds, t->m->nbounds + 1, sizeof(*t->m->bounds));
	t->m->bounds[t->m->nbounds++] = call->bounds;
}

/* ---- labels ---- */

static bool part_has_own_label(const char *part)
{
	return !strcmp(part, "comm") || !strcmp(part, "pid") || !strcmp(part, "tid") || !strcmp(part, "cpu");
}

/* Returns the label of a part of the key: comm, pid, tid, cpu, and key, key2, key3 for others. */
static const char *part_label(const struct pp_aggregates *a, size_t table, size_t part)
{
	static const char *const names[] = { "key", "key2", "key3" };
	const char *text = pp_table_part(a, table, part);
	size_t others = 0;

	for (size_t i = 0; i < part; i++) {
		if (part_has_own_label(text) && !strcmp(pp_table_part(a, table, i), text))
			return "again";
		others += !part_has_own_label(pp_table_part(a, table, i));
	}
	return part_has_own_label(text) ? text : names[others % 3];
}

static const char *key_labels(struct table_metrics *t, size_t table, size_t entry)
{
	const struct pp_aggregates *a = t->aggregates;
	const char *labels = t->tables[table].labels;

	for (size_t i = 0; i < pp_table_parts(a, table); i++) {
		enum pp_kind kind = pp_table_part_kind(a, table, i);
		const char *label = part_label(a, table, i), *name = pp_entry_name(a, table, entry, i), *text;
		size_t length;
		bool cut;

		if (!strcmp(label, "again"))
			continue;
		if (name) {
			labels = metrics_label(t->m, labels, label, name);
		} else if (kind == PP_STRING) {
			char value[256];

			text = pp_entry_string(a, table, entry, i, &length, &cut);
			length = length < sizeof(value) - 8 ? length : sizeof(value) - 8;
			memcpy(value, text, length);
			memcpy(value + length, "\u2026", 4);
			labels = metrics_label_n(t->m, labels, label, value, length + (cut ? 3 : 0));
		} else {
			labels = metrics_label_int(t->m, labels, label, pp_entry_int(a, table, entry, i),
			                           kind == PP_UNSIGNED || kind == PP_POINTER);
		}
	}
	return labels;
}

/* ---- tables ---- */

/* Returns the number of series of a call for a key. */
static size_t call_series(const struct table_call *call)
{
	switch (call->function) {
	case PP_COUNT: return 1;
	case PP_SUM: return 2;
	case PP_AVG: return 3;
	case PP_MIN:
	case PP_MAX: return 1;
	case PP_PCT: return call->nbounds + 3 + 5;
	default: return call->nbounds + 3;
	}
}

/* Returns true if a table before has the same labels: they differ in their sampling only. */
static bool table_is_again(const struct pp_aggregates *a, size_t table)
{
	for (size_t i = 0; i < table; i++)
		if (!strcmp(pp_table_probe(a, i), pp_table_probe(a, table)) &&
		    !strcmp(pp_table_file(a, i), pp_table_file(a, table)) &&
		    !strcmp(pp_table_text(a, i), pp_table_text(a, table)) &&
		    !strcmp(pp_table_types(a, i), pp_table_types(a, table)))
			return true;
	return false;
}

static void table_metrics_fill(struct table_metrics *t, size_t i, const char *labels)
{
	const struct pp_aggregates *a = t->aggregates;
	struct one_table *table = &t->tables[i];

	labels = metrics_label(t->m, labels, "probe", pp_table_probe(a, i));
	labels = metrics_label(t->m, labels, "file", pp_table_file(a, i));
	labels = metrics_label(t->m, labels, "build_id", pp_table_build_id(a, i));
	labels = metrics_label(t->m, labels, "expression", pp_table_text(a, i));
	if (*pp_table_types(a, i))
		labels = metrics_label(t->m, labels, "types", pp_table_types(a, i));
	if (table_is_again(a, i))
		labels = metrics_label_int(t->m, labels, "table", (int64_t)i, false);
	table->labels = labels;
	table->ncalls = pp_table_calls(a, i);
	table->calls = xcalloc(table->ncalls, sizeof(*table->calls));
	for (size_t k = 0; k < table->ncalls; k++) {
		struct table_call *call = &table->calls[k];
		struct pp_values all;

		call->function = pp_table_function(a, i, k);
		call->text = pp_table_call(a, i, k);
		if (function_is_histogram(call->function))
			bounds_make(t, i, k, call);
		pp_entry_values(a, i, PP_ALL, k, &all, sizeof(all));
		call->has_negative = values_are_signed(&all);
		call->is_signed = call->has_negative || values_may_wrap(&all);
		table->key_series += call_series(call);
	}
}

struct table_metrics *tables_new(struct metrics *m, const char *labels, const struct pp_aggregates *aggregates)
{
	struct table_metrics *t = xcalloc(1, sizeof(*t));

	t->m = m;
	t->aggregates = aggregates;
	t->n = pp_aggregates_tables(aggregates);
	t->tables = xcalloc(t->n, sizeof(*t->tables));
	for (size_t i = 0; i < t->n; i++)
		table_metrics_fill(t, i, labels);
	return t;
}

void tables_free(struct table_metrics *tables)
{
	for (size_t i = 0; i < tables->n; i++)
		free(tables->tables[i].calls);
	free(tables->tables);
	free(tables);
}

void tables_add_members(struct table_metrics *tables, struct metric_members *members, size_t group)
{
	for (size_t i = 0; i < tables->n; i++) {
		const struct one_table *table = &tables->tables[i];

		/* The series of other keys, and three of each call for values in no key. */
		members_add(members, &(struct metric_member){ .labels = table->labels,
		                                              .cost = table->key_series + 3 * table->ncalls,
		                                              .rank = i,
		                                              .group = group,
		                                              .at = i });
	}
}

void tables_add_keys(struct table_metrics *tables, struct metric_members *members)
{
	for (size_t i = 0; i < tables->n; i++) {
		if (!tables->tables[i].taken)
			continue;
		for (size_t k = 0; k < pp_table_entries(tables->aggregates, i); k++)
			members_add(members, &(struct metric_member){ .labels = key_labels(tables, i, k),
			                                              .cost = tables->tables[i].key_series,
			                                              .rank = k,
			                                              .group = i,
			                                              .at = k });
	}
}
