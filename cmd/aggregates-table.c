/* SPDX-License-Identifier: MIT */
/*
 * A table has the columns COUNT, those of the calls without bars (a call of pct() has five), and the parts of the key. Each row is
 * a key; further rows are
 *
 *     (other keys)   keys that are not shown
 *     (no room)      values that found no room in the session's table
 *     (unread)       hits whose key or value could not be read
 *     (total)        the sum of all rows
 *
 * A value that is not known exactly for one of these rows is "-". Histograms follow, for each key that is shown.
 */
#include "cmd/aggregates-table.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/aggregates.h"
#include "cmd/alloc.h"
#include "cmd/bars.h"
#include "cmd/escape.h"
#include "cmd/sample.h"
#include "cmd/stacks.h"

static const double shares[] = { 0.5, 0.9, 0.99, 0.999 };

#define NSHARES (sizeof(shares) / sizeof(*shares))

enum { COLUMNS_MOST = 8 * (NSHARES + 1), CELL_WIDTH = 10, GAP_MOST = 8 };

/* The value that a column shows. */
enum column_kind { COLUMN_SUM, COLUMN_MIN, COLUMN_MAX, COLUMN_AVG, COLUMN_SHARE };

struct table_column {
	enum column_kind kind;
	size_t call, share;
	char title[64];
};

struct agg_view {
	FILE *out;
	const struct pp_aggregates *aggregates;
	size_t table, shown, columns;
	struct table_column column[COLUMNS_MOST];
	size_t ncolumns;
};

/* A row other than a key. */
enum rest_row { REST_HIDDEN, REST_NO_ROOM, REST_UNREAD, REST_TOTAL };

/* ---- values ---- */

/* Returns whether the values of a call are durations in ns. */
static bool call_is_duration(const struct agg_view *v, size_t call)
{
	const char *text = pp_table_call(v->aggregates, v->table, call), *from = strchr(text, '(');

	return from && (!strncmp(from, "(duration)", 10) || !strncmp(from, "(duration,", 10));
}

/* Formats ns with a unit and three digits. */
static void duration_format(char *text, size_t size, double ns)
{
	static const char *const units[] = { "ns", "us", "ms", "s" };
	size_t unit = 0;

	while (unit < 3 && fabs(ns) >= 999.5) {
		ns /= 1000;
		unit++;
	}
	snprintf(text, size, unit && fabs(ns) < 99.95 ? fabs(ns) < 9.995 ? "%.2f %s" : "%.1f %s" : "%.0f %s", ns,
	         units[unit]);
}

static void integer_format(const struct agg_view *v, size_t call, char *text, size_t size, int64_t value,
                           bool is_unsigned)
{
	if (call_is_duration(v, call))
		duration_format(text, size, is_unsigned ? (double)(uint64_t)value : (double)value);
	else if (is_unsigned)
		snprintf(text, size, "%" PRIu64, (uint64_t)value);
	else
		snprintf(text, size, "%" PRId64, value);
}

static void real_format(const struct agg_view *v, size_t call, char *text, size_t size, double value)
{
	if (isnan(value))
		snprintf(text, size, "-");
	else if (call_is_duration(v, call))
		duration_format(text, size, value);
	else
		snprintf(text, size, fabs(value) < 1e6 && value != (double)(int64_t)value ? "%.2f" : "%.0f", value);
}

/* Returns NAN if the values are so large that their sum may have wrapped. */
static double values_average(const struct pp_values *values)
{
	bool is_unsigned = values->is_unsigned;
	double sum = is_unsigned ? (double)(uint64_t)values->sum : (double)values->sum;
	double low = fabs((double)values->min), high = fabs((double)values->max);
	double most = is_unsigned ? (double)(uint64_t)values->max : low > high ? low : high;

	if (most * (double)values->count >= (is_unsigned ? 0x1p64 : 0x1p63))
		return NAN;
	return values->count ? sum / (double)values->count : 0;
}

static void quantile_format(const struct agg_view *v, size_t entry, const struct table_column *c, char *text,
                            size_t size)
{
	struct quantile q = quantile_read(v->aggregates, v->table, entry, c->call, shares[c->share]);

	if (q.is_integer)
		integer_format(v, c->call, text, size, q.integer, q.is_unsigned);
	else
		real_format(v, c->call, text, size, q.value);
}

/* Formats a cell of a key, or of all keys together (PP_ALL). */
static void cell_format(const struct agg_view *v, const struct table_column *c, size_t entry,
                        const struct pp_values *values, char *text, size_t size)
{
	switch (c->kind) {
	case COLUMN_SUM: integer_format(v, c->call, text, size, values->sum, values->is_unsigned); break;
	case COLUMN_MIN: integer_format(v, c->call, text, size, values->min, values->is_unsigned); break;
	case COLUMN_MAX: integer_format(v, c->call, text, size, values->max, values->is_unsigned); break;
	case COLUMN_AVG: real_format(v, c->call, text, size, values_average(values)); break;
	case COLUMN_SHARE: quantile_format(v, entry, c, text, size); break;
	}
}

/* ---- columns ---- */

static bool function_has_bars(enum pp_function function)
{
	return function == PP_HIST || function == PP_LHIST;
}

static struct table_column *view_add_column(struct agg_view *v, enum column_kind kind, size_t call)
{
	struct table_column *c = &v->column[v->ncolumns++];

	*c = (struct table_column){ .kind = kind, .call = call };
	snprintf(c->title, sizeof(c->title), "%s", pp_table_call(v->aggregates, v->table, call));
	return c;
}

/* Sets the columns of a call of pct(). several: there are more such calls, so the titles have the argument. */
static void view_add_shares(struct agg_view *v, size_t call, bool several)
{
	const char *text = pp_table_call(v->aggregates, v->table, call), *inner = strchr(text, '(');

	for (size_t i = 0; i <= NSHARES; i++) {
		struct table_column *c = view_add_column(v, i < NSHARES ? COLUMN_SHARE : COLUMN_MAX, call);
		char name[16] = "max";

		c->share = i;
		if (i < NSHARES)
			snprintf(name, sizeof(name), "p%g", 100 * shares[i]);
		snprintf(c->title, sizeof(c->title), "%s%.40s", name, several && inner ? inner : "");
	}
}

static void view_set_columns(struct agg_view *v)
{
	size_t n = pp_table_calls(v->aggregates, v->table), npct = 0;

	for (size_t i = 0; i < n; i++)
		npct += pp_table_function(v->aggregates, v->table, i) == PP_PCT;
	for (size_t i = 0; i < n && v->ncolumns + NSHARES + 1 <= COLUMNS_MOST; i++) {
		switch (pp_table_function(v->aggregates, v->table, i)) {
		case PP_SUM: view_add_column(v, COLUMN_SUM, i); break;
		case PP_MIN: view_add_column(v, COLUMN_MIN, i); break;
		case PP_MAX: view_add_column(v, COLUMN_MAX, i); break;
		case PP_AVG: view_add_column(v, COLUMN_AVG, i); break;
		case PP_PCT: view_add_shares(v, i, npct > 1); break;
		case PP_COUNT:
		case PP_HIST:
		case PP_LHIST: break;
		}
	}
}

static int column_width(const struct table_column *c)
{
	size_t n = escape_columns(c->title);

	return n > CELL_WIDTH ? (int)n : CELL_WIDTH;
}

static void put_cell(const struct agg_view *v, const struct table_column *c, const char *text)
{
	fprintf(v->out, "  %*s", column_width(c), text);
}

/* ---- keys ---- */

static void put_part(const struct agg_view *v, FILE *out, size_t entry, size_t part)
{
	enum pp_kind kind = pp_table_part_kind(v->aggregates, v->table, part);
	const char *name = pp_entry_name(v->aggregates, v->table, entry, part), *text;
	int64_t value = pp_entry_int(v->aggregates, v->table, entry, part);
	size_t length;
	bool cut;

	if (name) {
		escape_put(out, name);
	} else if (kind == PP_STACK) {
		stack_put_frame(out, v->aggregates, v->table, entry, part, 0);
	} else if (kind == PP_STRING) {
		text = pp_entry_string(v->aggregates, v->table, entry, part, &length, &cut);
		putc('"', out);
		escape_put_n(out, text, length, '"');
		fputs(cut ? "\"..." : "\"", out);
	} else if (kind == PP_POINTER) {
		fprintf(out, "0x%" PRIx64, (uint64_t)value);
	} else if (kind == PP_UNSIGNED) {
		fprintf(out, "%" PRIu64, (uint64_t)value);
	} else {
		fprintf(out, "%" PRId64, value);
	}
}

/* Returns the text of a part, which the caller frees. */
static char *part_text(const struct agg_view *v, size_t entry, size_t part)
{
	char *text = NULL;
	size_t size = 0;
	FILE *out = xmemstream(&text, &size);

	put_part(v, out, entry, part);
	xmemstream_close(out);
	return text;
}

/* Returns the width of a part's column: of its widest value that is shown. */
static size_t part_width(const struct agg_view *v, size_t part)
{
	size_t width = escape_columns(pp_table_part(v->aggregates, v->table, part));

	for (size_t i = 0; i < v->shown; i++) {
		char *text = part_text(v, i, part);
		size_t columns = escape_printed_columns(text, strlen(text));

		width = columns > width ? columns : width;
		free(text);
	}
	return width;
}

/* Prints the titles (entry PP_ALL) or the values of the key's parts. */
static void put_key(const struct agg_view *v, size_t entry, const size_t *widths)
{
	size_t n = pp_table_parts(v->aggregates, v->table);

	for (size_t i = 0; i < n; i++) {
		char *text = NULL;
		size_t used;

		fputs("  ", v->out);
		if (entry == PP_ALL) {
			escape_put(v->out, pp_table_part(v->aggregates, v->table, i));
			used = escape_columns(pp_table_part(v->aggregates, v->table, i));
		} else {
			text = part_text(v, entry, i);
			fputs(text, v->out);
			used = escape_printed_columns(text, strlen(text));
		}
		if (i + 1 < n && used < widths[i])
			fprintf(v->out, "%*s", (int)(widths[i] - used), "");
		free(text);
	}
}

/* ---- rows ---- */

static void view_values(const struct agg_view *v, size_t entry, size_t call, struct pp_values *values)
{
	pp_entry_values(v->aggregates, v->table, entry, call, values, sizeof(*values));
}

static void table_put_titles(const struct agg_view *v, const size_t *widths)
{
	fprintf(v->out, "%12s", "COUNT");
	for (size_t i = 0; i < v->ncolumns; i++) {
		fprintf(v->out, "  %*s", column_width(&v->column[i]) - (int)escape_columns(v->column[i].title), "");
		escape_put(v->out, v->column[i].title);
	}
	put_key(v, PP_ALL, widths);
	putc('\n', v->out);
}

/* Prints the callers of a key with a stack, below its first frame. */
static void put_callers(const struct agg_view *v, size_t entry, const size_t *widths)
{
	size_t stack = stack_part(v->aggregates, v->table), used = 12 + 2;

	if (stack == pp_table_parts(v->aggregates, v->table))
		return;
	for (size_t i = 0; i < v->ncolumns; i++)
		used += 2 + (size_t)column_width(&v->column[i]);
	for (size_t i = 0; i < stack; i++)
		used += widths[i] + 2;
	stack_put_callers(v->out, v->aggregates, v->table, entry, stack, used);
}

static void put_entry(const struct agg_view *v, size_t entry, const size_t *widths)
{
	struct pp_values values;
	char text[40];

	view_values(v, entry, 0, &values);
	fprintf(v->out, "%12" PRIu64, values.count);
	for (size_t i = 0; i < v->ncolumns; i++) {
		view_values(v, entry, v->column[i].call, &values);
		cell_format(v, &v->column[i], entry, &values, text, sizeof(text));
		put_cell(v, &v->column[i], values.count ? text : "-");
	}
	put_key(v, entry, widths);
	putc('\n', v->out);
	put_callers(v, entry, widths);
}

/* Stores the values of a call of a row other than a key. The minimum and maximum are those of the keys only. */
static void rest_values(const struct agg_view *v, enum rest_row row, size_t call, struct pp_values *values)
{
	struct pp_values one;
	struct pp_rest rest;

	pp_table_rest(v->aggregates, v->table, call, &rest, sizeof(rest));
	view_values(v, PP_ALL, call, values);
	switch (row) {
	case REST_HIDDEN:
		for (size_t i = 0; i < v->shown; i++) {
			view_values(v, i, call, &one);
			values->count -= one.count;
			values->sum = (int64_t)((uint64_t)values->sum - (uint64_t)one.sum);
		}
		break;
	case REST_NO_ROOM:
		values->count = rest.other;
		values->sum = rest.other_sum;
		break;
	case REST_UNREAD:
		values->count = rest.unread;
		values->sum = 0;
		break;
	case REST_TOTAL:
		values->count += rest.other + rest.unread;
		values->sum = (int64_t)((uint64_t)values->sum + (uint64_t)rest.other_sum);
		break;
	}
}

/* Returns whether a column of the row is known: sums always, other values only if every value is in a key. */
static bool rest_is_known(const struct agg_view *v, enum rest_row row, const struct table_column *c)
{
	struct pp_rest rest;

	pp_table_rest(v->aggregates, v->table, c->call, &rest, sizeof(rest));
	if (row == REST_UNREAD)
		return false;
	if (c->kind == COLUMN_SUM)
		return true;
	if (c->kind == COLUMN_AVG)
		return row != REST_TOTAL || !rest.unread;
	return row == REST_TOTAL && !rest.other && !rest.unread;
}

static void put_rest(const struct agg_view *v, enum rest_row row, const char *name)
{
	struct pp_values values;
	char text[40];

	rest_values(v, row, 0, &values);
	if (!values.count && row != REST_TOTAL)
		return;
	fprintf(v->out, "%12" PRIu64, values.count);
	for (size_t i = 0; i < v->ncolumns; i++) {
		const struct table_column *c = &v->column[i];

		rest_values(v, row, c->call, &values);
		cell_format(v, c, PP_ALL, &values, text, sizeof(text));
		put_cell(v, c, values.count && rest_is_known(v, row, c) ? text : "-");
	}
	fprintf(v->out, "  (%s)\n", name);
}

/* Prints the rows other than keys. A table without a key has them only if something is missing. */
static void put_rests(const struct agg_view *v)
{
	size_t hidden = pp_table_entries(v->aggregates, v->table) - v->shown;
	char name[64];
	struct pp_rest rest;
	bool missing;

	pp_table_rest(v->aggregates, v->table, 0, &rest, sizeof(rest));
	missing = hidden || rest.other || rest.unread;
	snprintf(name, sizeof(name), "%zu other key%s", hidden, hidden == 1 ? "" : "s");
	if (hidden)
		put_rest(v, REST_HIDDEN, name);
	put_rest(v, REST_NO_ROOM, "no room for more keys: --agg-size");
	put_rest(v, REST_UNREAD, "unread: bad memory");
	if (missing || v->shown > 1)
		put_rest(v, REST_TOTAL, "total");
}

/*
 * Prints what the values of a call lack, if the rows do not say so: the rows have the counts of the first call. Without room,
 * buckets of keys that are shown may be missing, too.
 */
static void put_lacks(const struct agg_view *v)
{
	struct pp_rest first, rest;

	pp_table_rest(v->aggregates, v->table, 0, &first, sizeof(first));
	for (size_t i = 0; i < pp_table_calls(v->aggregates, v->table); i++) {
		enum pp_function function = pp_table_function(v->aggregates, v->table, i);
		bool has_buckets = function == PP_PCT || function_has_bars(function);

		pp_table_rest(v->aggregates, v->table, i, &rest, sizeof(rest));
		if (rest.other && (has_buckets || rest.other != first.other)) {
			escape_put(v->out, pp_table_call(v->aggregates, v->table, i));
			fprintf(v->out, " lacks %" PRIu64 " values that found no room: --agg-size\n", rest.other);
		}
		if (rest.unread != first.unread) {
			escape_put(v->out, pp_table_call(v->aggregates, v->table, i));
			fprintf(v->out, " lacks %" PRIu64 " values that could not be read: bad memory\n", rest.unread);
		}
	}
}

/* ---- histograms ---- */

static void put_bucket(const struct agg_view *v, size_t call, const struct pp_bucket *b, bool is_unsigned,
                       uint64_t most)
{
	char low[40], high[40], range[96];
	size_t used = 2 + 31 + 1 + 10 + 2, width = v->columns > used + 10 ? v->columns - used : 10;

	integer_format(v, call, low, sizeof(low), b->low, is_unsigned);
	integer_format(v, call, high, sizeof(high), b->high, is_unsigned);
	if (b->low == b->high)
		snprintf(range, sizeof(range), "%s", low);
	else if (!is_unsigned && b->low == INT64_MIN)
		snprintf(range, sizeof(range), "up to %s", high);
	else if (b->high == (is_unsigned ? -1 : INT64_MAX))
		snprintf(range, sizeof(range), "%s or more", low);
	else
		snprintf(range, sizeof(range), "%s to %s", low, high);
	fprintf(v->out, "  %31s %10" PRIu64 "%s", range, b->count, b->count ? "  " : "");
	bars_put(v->out, (double)b->count, (double)most, width);
	putc('\n', v->out);
}

/*
 * Prints the empty buckets between two: those of a histogram of powers of two above 0 or of steps if they are few, else a
 * line with dots.
 */
static void put_gap(const struct agg_view *v, size_t call, const struct pp_bucket *from, const struct pp_bucket *to,
                    bool is_unsigned, uint64_t most)
{
	bool is_log = pp_table_function(v->aggregates, v->table, call) == PP_HIST;
	uint64_t step = (uint64_t)from->high - (uint64_t)from->low + 1,
		 gap = (uint64_t)to->low - (uint64_t)from->high - 1;
	struct pp_bucket empty[GAP_MOST];
	uint64_t low = (uint64_t)from->high + 1;
	size_t n = 0;

	if (!gap)
		return;
	while (n < GAP_MOST && low != (uint64_t)to->low && (!is_log || (from->low >= 0 && low))) {
		uint64_t next = is_log ? 2 * low : low + step;

		empty[n++] = (struct pp_bucket){ .low = (int64_t)low, .high = (int64_t)(next - 1) };
		low = next;
		if (low - (uint64_t)from->high > gap + 1)
			break;
	}
	if (low != (uint64_t)to->low) {
		fprintf(v->out, "  %31s\n", "...");
		return;
	}
	for (size_t i = 0; i < n; i++)
		put_bucket(v, call, &empty[i], is_unsigned, most);
}

static void put_histogram(const struct agg_view *v, size_t entry, size_t call)
{
	size_t n = pp_entry_buckets(v->aggregates, v->table, entry, call);
	struct pp_bucket bucket, before = { 0 };
	struct pp_values values;
	uint64_t most = 0;

	view_values(v, entry, call, &values);
	for (size_t i = 0; i < n; i++) {
		pp_entry_bucket(v->aggregates, v->table, entry, call, i, &bucket, sizeof(bucket));
		most = bucket.count > most ? bucket.count : most;
	}
	for (size_t i = 0; i < n; i++) {
		pp_entry_bucket(v->aggregates, v->table, entry, call, i, &bucket, sizeof(bucket));
		if (i)
			put_gap(v, call, &before, &bucket, values.is_unsigned, most);
		put_bucket(v, call, &bucket, values.is_unsigned, most);
		before = bucket;
	}
}

static void put_histograms(const struct agg_view *v)
{
	size_t ncalls = pp_table_calls(v->aggregates, v->table), nparts = pp_table_parts(v->aggregates, v->table);

	for (size_t entry = 0; entry < v->shown; entry++)
		for (size_t call = 0; call < ncalls; call++) {
			if (!function_has_bars(pp_table_function(v->aggregates, v->table, call)))
				continue;
			fputs("\n  ", v->out);
			escape_put(v->out, pp_table_call(v->aggregates, v->table, call));
			for (size_t part = 0; part < nparts; part++) {
				fputs(part ? ", " : " of ", v->out);
				put_part(v, v->out, entry, part);
			}
			fputs(":\n", v->out);
			put_histogram(v, entry, call);
		}
}

/* ---- tables ---- */

/* Returns whether another file has a table of a probe with this name. Tables are sorted by the probe. */
static bool table_has_twin(const struct pp_aggregates *a, size_t table)
{
	const char *probe = pp_table_probe(a, table), *file = pp_table_file(a, table);

	for (size_t i = 0; i < pp_aggregates_tables(a); i++)
		if (!strcmp(pp_table_probe(a, i), probe) && strcmp(pp_table_file(a, i), file))
			return true;
	return false;
}

/* Prints the types that distinguish the table from others with its heading. */
static void put_types(const struct agg_view *v)
{
	const char *types = pp_table_types(v->aggregates, v->table);

	if (!*types)
		return;
	fputs("  (", v->out);
	escape_put(v->out, types);
	putc(')', v->out);
}

static void table_print(struct agg_view *v)
{
	size_t nparts = pp_table_parts(v->aggregates, v->table), *widths = xcalloc(nparts + 1, sizeof(*widths));
	struct sampling sample;

	view_set_columns(v);
	for (size_t i = 0; i < nparts; i++)
		widths[i] = part_width(v, i);
	putc('\n', v->out);
	escape_put(v->out, pp_table_probe(v->aggregates, v->table));
	fputs("  ", v->out);
	escape_put(v->out, pp_table_text(v->aggregates, v->table));
	put_types(v);
	if (stack_part(v->aggregates, v->table) < nparts)
		fputs("  (stacks by frame pointers)", v->out);
	if (table_has_twin(v->aggregates, v->table)) {
		fputs("  ", v->out);
		escape_put(v->out, pp_table_file(v->aggregates, v->table));
	}
	pp_table_sample(v->aggregates, v->table, &sample.every, &sample.rate);
	sample_put(v->out, &sample);
	putc('\n', v->out);
	table_put_titles(v, widths);
	for (size_t i = 0; i < v->shown; i++)
		put_entry(v, i, widths);
	put_rests(v);
	put_lacks(v);
	put_histograms(v);
	free(widths);
}

void aggregates_print(FILE *out, const struct pp_aggregates *aggregates, uint64_t top, size_t columns)
{
	for (size_t i = 0; i < pp_aggregates_tables(aggregates); i++) {
		size_t n = pp_table_entries(aggregates, i);
		struct agg_view v = { .out = out, .aggregates = aggregates, .table = i, .columns = columns };

		if (!top && stack_part(aggregates, i) < pp_table_parts(aggregates, i))
			v.shown = n < STACKS_SHOWN ? n : STACKS_SHOWN;
		else
			v.shown = top && top < n ? top : n;
		table_print(&v);
	}
}
