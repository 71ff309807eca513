/* SPDX-License-Identifier: MIT */
#include "cmd/aggregates.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

#include "cmd/json.h"
#include "cmd/sample.h"
#include "cmd/stacks.h"

static const double quantiles[] = { 0.5, 0.9, 0.99, 0.999 };

#define NQUANTILES (sizeof(quantiles) / sizeof(*quantiles))

/* A cell of the tables: an entry, or all of them, of one table. */
struct agg_place {
	const struct pp_aggregates *aggregates;
	size_t table, entry;
};

static bool function_has_buckets(enum pp_function function)
{
	return function == PP_HIST || function == PP_LHIST || function == PP_PCT;
}

static json_object *number_json(int64_t value, bool is_unsigned)
{
	return is_unsigned ? json_uint((uint64_t)value) : json_int(value);
}

static json_object *part_json(const struct agg_place *at, size_t part)
{
	enum pp_kind kind = pp_table_part_kind(at->aggregates, at->table, part);
	const char *name = pp_entry_name(at->aggregates, at->table, at->entry, part), *text;
	size_t length;

	if (name)
		return json_text(name);
	if (kind == PP_STRING) {
		text = pp_entry_string(at->aggregates, at->table, at->entry, part, &length, NULL);
		return json_text_n(text, length);
	}
	if (kind == PP_STACK)
		return stack_json(at->aggregates, at->table, at->entry, part);
	return number_json(pp_entry_int(at->aggregates, at->table, at->entry, part),
	                   kind == PP_UNSIGNED || kind == PP_POINTER);
}

static json_object *buckets_json(const struct agg_place *at, size_t call, bool is_unsigned)
{
	json_object *list = json_new_array();
	size_t n = pp_entry_buckets(at->aggregates, at->table, at->entry, call);
	struct pp_bucket b;

	for (size_t i = 0; i < n; i++) {
		json_object *bucket = json_new_object();

		pp_entry_bucket(at->aggregates, at->table, at->entry, call, i, &b, sizeof(b));
		json_add(bucket, "low", number_json(b.low, is_unsigned));
		json_add(bucket, "high", number_json(b.high, is_unsigned));
		json_add_uint(bucket, "count", b.count);
		json_append(list, bucket);
	}
	return list;
}

static bool quantile_to_integer(double quantile, const struct pp_values *values, int64_t *integer)
{
	if (fabs(quantile) < 0x1p53)
		return false;
	if (values->is_unsigned) {
		uint64_t low = (uint64_t)values->min, high = (uint64_t)values->max;
		uint64_t u = quantile >= 0x1p64 ? UINT64_MAX : (uint64_t)quantile;

		*integer = (int64_t)(u < low ? low : u > high ? high : u);
	} else {
		int64_t i = quantile >= 0x1p63 ? INT64_MAX : (int64_t)quantile;

		*integer = i < values->min ? values->min : i > values->max ? values->max : i;
	}
	return true;
}

struct quantile quantile_read(const struct pp_aggregates *aggregates, size_t table, size_t entry, size_t call, double q)
{
	struct quantile quantile = { .value = NAN };
	struct pp_values v;

	pp_entry_values(aggregates, table, entry, call, &v, sizeof(v));
	if (!v.count)
		return quantile;
	quantile.value = pp_entry_quantile(aggregates, table, entry, call, q);
	quantile.is_unsigned = v.is_unsigned;
	quantile.is_integer = quantile_to_integer(quantile.value, &v, &quantile.integer);
	return quantile;
}

void quantile_put(FILE *out, const struct quantile *quantile)
{
	if (isnan(quantile->value))
		fprintf(out, "%10s", "-");
	else if (!quantile->is_integer)
		fprintf(out, "%10.0f", quantile->value);
	else if (quantile->is_unsigned)
		fprintf(out, "%10" PRIu64, (uint64_t)quantile->integer);
	else
		fprintf(out, "%10" PRId64, quantile->integer);
}

json_object *quantile_json(const struct quantile *quantile)
{
	return quantile->is_integer ? number_json(quantile->integer, quantile->is_unsigned)
	                            : json_double(isnan(quantile->value) ? 0 : quantile->value);
}

static json_object *call_json(const struct agg_place *at, size_t call)
{
	static const char *const names[NQUANTILES] = { "p50", "p90", "p99", "p99.9" };
	enum pp_function function = pp_table_function(at->aggregates, at->table, call);
	json_object *to = json_new_object();
	struct pp_values v;

	pp_entry_values(at->aggregates, at->table, at->entry, call, &v, sizeof(v));
	json_add_text(to, "call", pp_table_call(at->aggregates, at->table, call));
	json_add_uint(to, "count", v.count);
	if (function == PP_COUNT)
		return to;
	json_add(to, "sum", number_json(v.sum, v.is_unsigned));
	json_add(to, "min", number_json(v.min, v.is_unsigned));
	json_add(to, "max", number_json(v.max, v.is_unsigned));
	for (size_t i = 0; function == PP_PCT && i < NQUANTILES; i++) {
		struct quantile quantile = quantile_read(at->aggregates, at->table, at->entry, call, quantiles[i]);

		json_add(to, names[i], quantile_json(&quantile));
	}
	if (function_has_buckets(function))
		json_add(to, "buckets", buckets_json(at, call, v.is_unsigned));
	return to;
}

/* Returns the names of the parts that were longer in the process, or NULL if there are none. */
static json_object *cut_json(const struct agg_place *at)
{
	json_object *names = NULL;

	for (size_t i = 0; at->entry != PP_ALL && i < pp_table_parts(at->aggregates, at->table); i++) {
		bool cut = false;

		if (pp_table_part_kind(at->aggregates, at->table, i) == PP_STRING)
			pp_entry_string(at->aggregates, at->table, at->entry, i, NULL, &cut);
		if (cut && !names)
			names = json_new_array();
		if (cut)
			json_append(names, json_text(pp_table_part(at->aggregates, at->table, i)));
	}
	return names;
}

static json_object *entry_json(const struct agg_place *at)
{
	json_object *to = json_new_object(), *key = json_new_array(), *calls = json_new_array(), *cut;

	for (size_t i = 0; at->entry != PP_ALL && i < pp_table_parts(at->aggregates, at->table); i++)
		json_append(key, part_json(at, i));
	for (size_t i = 0; i < pp_table_calls(at->aggregates, at->table); i++)
		json_append(calls, call_json(at, i));
	json_add(to, "key", key);
	cut = cut_json(at);
	if (cut)
		json_add(to, "cut", cut);
	json_add(to, "values", calls);
	return to;
}

static json_object *rest_json(const struct pp_aggregates *a, size_t table, size_t call)
{
	json_object *to = json_new_object();
	struct pp_rest rest;

	pp_table_rest(a, table, call, &rest, sizeof(rest));
	json_add_text(to, "call", pp_table_call(a, table, call));
	json_add_uint(to, "other", rest.other);
	json_add_int(to, "other_sum", rest.other_sum);
	json_add_uint(to, "unread", rest.unread);
	return to;
}

static json_object *table_json(const struct pp_aggregates *a, size_t table, uint64_t top)
{
	json_object *to = json_new_object(), *list;
	size_t n = pp_table_entries(a, table), shown = top && top < n ? top : n;
	struct sampling sample;

	json_add_text(to, "probe", pp_table_probe(a, table));
	json_add_text(to, "file", pp_table_file(a, table));
	json_add_text(to, "expression", pp_table_text(a, table));
	if (*pp_table_types(a, table))
		json_add_text(to, "types", pp_table_types(a, table));
	pp_table_sample(a, table, &sample.every, &sample.rate);
	sample_add_json(to, &sample);
	list = json_new_array();
	for (size_t i = 0; i < pp_table_parts(a, table); i++)
		json_append(list, json_text(pp_table_part(a, table, i)));
	json_add(to, "key", list);
	if (stack_part(a, table) < pp_table_parts(a, table))
		json_add_text(to, "unwinder", "frame pointers");
	json_add_uint(to, "keys", n);
	list = json_new_array();
	for (size_t i = 0; i < shown; i++)
		json_append(list, entry_json(&(struct agg_place){ a, table, i }));
	json_add(to, "entries", list);
	json_add(to, "total", entry_json(&(struct agg_place){ a, table, PP_ALL }));
	list = json_new_array();
	for (size_t i = 0; i < pp_table_calls(a, table); i++)
		json_append(list, rest_json(a, table, i));
	json_add(to, "rest", list);
	return to;
}

json_object *aggregates_json(const struct pp_aggregates *aggregates, uint64_t top)
{
	size_t n = pp_aggregates_tables(aggregates);
	json_object *list = n ? json_new_array() : NULL;

	for (size_t i = 0; i < n; i++)
		json_append(list, table_json(aggregates, i, top));
	return list;
}
