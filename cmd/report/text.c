/* SPDX-License-Identifier: MIT */
#include "cmd/report/text.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cmd/alloc.h"
#include "cmd/bars.h"
#include "cmd/escape.h"
#include "cmd/json.h"
#include "cmd/ui.h"

enum { TREND_COLUMNS = 32, NAME_COLUMNS_MOST = 48, VALUES_SHOWN = 5, VALUES_SHOWN_ALL = 20, BAR_COLUMNS = 40 };

/* ---- numbers ---- */

/* Prints a time with three digits and its unit, in 7 columns. */
static void text_put_ns(FILE *out, double ns)
{
	static const char *const units[] = { "ns", "us", "ms", "s" };
	size_t unit = 0;

	while (ns >= 999.5 && unit < 3) {
		ns /= 1000;
		unit++;
	}
	fprintf(out, "%*.*f%-2s", unit == 3 && ns >= 100000 ? 0 : 6, unit && ns < 99.95 ? (ns < 9.995 ? 2 : 1) : 0, ns,
	        units[unit]);
}

static void text_put_rate(FILE *out, double rate)
{
	fprintf(out, " %10.*f", rate < 10 ? 2 : 0, rate);
}

static double run_seconds(const struct run *run)
{
	return (double)(run->end - run->begin) / 1e9;
}

/* ---- the head ---- */

static void text_put_time(FILE *out, int64_t ns)
{
	time_t second = (time_t)(ns / 1000000000);
	struct tm tm;
	char text[64];

	if (!gmtime_r(&second, &tm) || !strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", &tm))
		snprintf(text, sizeof(text), "%" PRId64 " s", ns / 1000000000);
	fprintf(out, "%s.%06u UTC", text, (unsigned)(ns >= 0 ? ns / 1000 % 1000000 : 0));
}

static void text_put_head(FILE *out, const struct run *run, const struct stats *stats)
{
	size_t threads = 0, processes = names_processes(run->names);

	for (size_t i = 0; i < stats->nthreads; i++)
		threads += stats->thread_records[i] != 0;
	fprintf(out, "%" PRIu64 " records of %zu thread%s in %zu process%s", stats->records, threads,
	        ui_plural(threads), processes, processes == 1 ? "" : "es");
	if (stats->records) {
		fprintf(out, ", %.6f s from ", run_seconds(run));
		text_put_time(out, run->begin);
	}
	fprintf(out, "\n%" PRIu64 " records were lost", stats->lost);
	if (stats->is_lost_unknown)
		fputs(stats->lost ? ", and more, whose number is unknown" : ", or more: parts of the trace are missing",
		      out);
	putc('\n', out);
	for (size_t i = 0; i < run->input->nnotices; i++) {
		escape_put(out, run->input->notices[i]);
		putc('\n', out);
	}
}

/* ---- tables ---- */

/* The columns of names: as wide as the longest, in a limit. */
static size_t name_columns(size_t columns, const char *name)
{
	size_t n = escape_columns(name);

	n = n > NAME_COLUMNS_MOST ? NAME_COLUMNS_MOST : n;
	return n > columns ? n : columns;
}

static void text_put_rest(FILE *out, size_t rows, size_t shown)
{
	if (rows > shown)
		fprintf(out, "... %zu more; --rows=0 shows all\n", rows - shown);
}

static size_t rows_shown(const struct text_style *style, size_t rows)
{
	return style->rows && style->rows < rows ? style->rows : rows;
}

static int probe_stats_compare(const void *a, const void *b, void *stats)
{
	const struct probe_stats *probes = ((const struct stats *)stats)->probes;
	uint64_t x = probes[*(const size_t *)a].records, y = probes[*(const size_t *)b].records;

	if (x != y)
		return x > y ? -1 : 1;
	return *(const size_t *)a < *(const size_t *)b ? -1 : 1;
}

/* Joins the intervals of a series to at most TREND_COLUMNS values. */
static size_t series_trend(const struct series *series, size_t intervals, float values[TREND_COLUMNS])
{
	size_t each = (intervals + TREND_COLUMNS - 1) / TREND_COLUMNS, n = 0;

	for (size_t i = 0; each && i < intervals; i += each) {
		values[n] = 0;
		for (size_t j = i; j < i + each && j < series->n; j++)
			values[n] += (float)series->counts[j];
		n++;
	}
	return n;
}

static void text_put_probes(FILE *out, const struct run *run, struct stats *stats, const struct text_style *style)
{
	size_t *order = xcalloc(stats->nprobes, sizeof(*order)), n = 0, columns = 5, shown;
	float trend[TREND_COLUMNS];

	for (size_t i = 0; i < stats->nprobes; i++)
		if (stats->probes[i].records)
			order[n++] = i;
	qsort_r(order, n, sizeof(*order), probe_stats_compare, stats);
	shown = rows_shown(style, n);
	for (size_t i = 0; i < shown; i++)
		columns = name_columns(columns, names_probe_at(stats->names, order[i])->name);
	if (n)
		fprintf(out, "\n%-*s %12s %10s  OVER TIME\n", (int)columns, "PROBE", "RECORDS", "PER SECOND");
	for (size_t i = 0; i < shown; i++) {
		const struct probe_stats *probe = &stats->probes[order[i]];

		escape_put_padded(out, names_probe_at(stats->names, order[i])->name, columns);
		fprintf(out, " %12" PRIu64, probe->records);
		if (run_seconds(run) > 0)
			text_put_rate(out, (double)probe->records / run_seconds(run));
		else
			fprintf(out, " %10s", "-");
		fputs("  ", out);
		bars_put_trend(out, trend, series_trend(&probe->rate, stats->rate.n, trend));
		putc('\n', out);
	}
	text_put_rest(out, n, shown);
	free(order);
}

/* ---- calls ---- */

static int call_stats_compare(const void *a, const void *b)
{
	const struct call_stats *x = *(const struct call_stats *const *)a, *y = *(const struct call_stats *const *)b;
	uint64_t p = call_stats_calls(x) + x->unmatched, q = call_stats_calls(y) + y->unmatched;

	if (x->durations.sum != y->durations.sum)
		return x->durations.sum > y->durations.sum ? -1 : 1;
	if (p != q)
		return p > q ? -1 : 1;
	if (x->function != y->function)
		return x->function < y->function ? -1 : 1;
	return x->group < y->group ? -1 : x->group > y->group;
}

/* Returns the rows that have calls, sorted. The caller frees the list. */
static const struct call_stats **calls_sorted(const struct stats *stats, enum report_by by, size_t *n)
{
	const struct call_stats *all = by == BY_PROBE    ? stats->functions
	                               : by == BY_THREAD ? stats->threads.cells
	                                                 : stats->processes.cells;
	size_t nall = by == BY_PROBE ? stats->nfunctions : by == BY_THREAD ? stats->threads.n : stats->processes.n;
	const struct call_stats **rows = xcalloc(nall, sizeof(*rows));

	*n = 0;
	for (size_t i = 0; i < nall; i++)
		if (call_stats_calls(&all[i]) || all[i].unmatched)
			rows[(*n)++] = &all[i];
	qsort(rows, *n, sizeof(*rows), call_stats_compare);
	return rows;
}

/* Returns the name of a row, which the caller frees: the function, and the thread or process. */
static char *calls_name(const struct stats *stats, const struct call_stats *calls, enum report_by by)
{
	const char *function = names_function_at(stats->names, calls->function)->name;
	const struct report_thread *thread;
	const struct report_process *process;

	if (by == BY_PROBE)
		return xstrdup(function);
	if (by == BY_THREAD) {
		thread = names_thread_at(stats->names, calls->group);
		return xasprintf("%s %" PRId64 "/%" PRId64 " %s", function, thread->process->pid, thread->tid,
		                 thread->comm);
	}
	process = names_process_at(stats->names, calls->group);
	return xasprintf("%s %" PRId64 " %s", function, process->pid, process->comm);
}

static void text_put_histogram(FILE *out, const struct histogram *histogram)
{
	uint64_t octaves[HISTOGRAM_OCTAVES] = { 0 }, most = 0, lo, hi, ignored;
	size_t first = HISTOGRAM_OCTAVES, last = 0;

	for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++)
		octaves[i / HISTOGRAM_STEPS] += histogram_at(histogram, i);
	for (size_t i = 0; i < HISTOGRAM_OCTAVES; i++) {
		if (!octaves[i])
			continue;
		first = first < i ? first : i;
		last = i;
		most = octaves[i] > most ? octaves[i] : most;
	}
	for (size_t i = first; i <= last && most; i++) {
		histogram_limits(i * HISTOGRAM_STEPS, &lo, &ignored);
		histogram_limits((i + 1) * HISTOGRAM_STEPS - 1, &ignored, &hi);
		fputs("    ", out);
		text_put_ns(out, (double)lo);
		fputs(" - ", out);
		text_put_ns(out, (double)hi);
		fprintf(out, " %12" PRIu64 " ", octaves[i]);
		bars_put(out, (double)octaves[i], (double)most, BAR_COLUMNS);
		putc('\n', out);
	}
}

static void text_put_call_row(FILE *out, const struct call_stats *calls)
{
	static const double shares[] = { 0.5, 0.9, 0.99 };
	const struct histogram *durations = &calls->durations;

	fprintf(out, " %10" PRIu64 " %9" PRIu64 " %9" PRIu64, durations->count, calls->uncertain,
	        calls->unended + calls->in_flight + calls->unmatched);
	if (!durations->count) {
		fprintf(out, " %8s %8s %8s %8s %8s %8s", "-", "-", "-", "-", "-", "-");
		return;
	}
	for (size_t i = 0; i < sizeof(shares) / sizeof(*shares); i++) {
		putc(' ', out);
		text_put_ns(out, (double)histogram_quantile(durations, shares[i]));
	}
	putc(' ', out);
	text_put_ns(out, (double)durations->max);
	putc(' ', out);
	text_put_ns(out, durations->sum);
	putc(' ', out);
	text_put_ns(out, calls->self);
}

static void text_put_calls(FILE *out, const struct stats *stats, const struct text_style *style)
{
	static const char *const heads[] = { "FUNCTION", "FUNCTION PID/TID COMM", "FUNCTION PID COMM" };
	size_t n, columns = strlen(heads[style->by]), shown;
	const struct call_stats **rows = calls_sorted(stats, style->by, &n);
	uint64_t other = style->by == BY_THREAD    ? stats->threads.other
	                 : style->by == BY_PROCESS ? stats->processes.other
	                                           : 0;

	shown = rows_shown(style, n);
	for (size_t i = 0; i < shown; i++) {
		char *name = calls_name(stats, rows[i], style->by);

		columns = name_columns(columns, name);
		free(name);
	}
	if (n)
		fprintf(out, "\n%-*s %10s %9s %9s %8s %8s %8s %8s %8s   %s\n", (int)columns, heads[style->by], "CALLS",
		        "UNCERTAIN", "UNPAIRED", "P50  ", "P90  ", "P99  ", "MAX  ", "TOTAL  ", "SELF");
	for (size_t i = 0; i < shown; i++) {
		char *name = calls_name(stats, rows[i], style->by);

		escape_put_padded(out, name, columns);
		text_put_call_row(out, rows[i]);
		putc('\n', out);
		if (style->histograms)
			text_put_histogram(out, &rows[i]->durations);
		free(name);
	}
	text_put_rest(out, n, shown);
	if (other)
		fprintf(out, "%" PRIu64 " more calls, of other threads or processes, have no row\n", other);
	free(rows);
}

/* ---- values ---- */

static void text_put_value(FILE *out, const struct top_value *value)
{
	char number[32];
	uint64_t u = 0;
	double d;

	if (value->kind != VALUE_TEXT && value->kind != VALUE_FAULT)
		memcpy(&u, value->bytes, sizeof(u));
	switch (value->kind) {
	case VALUE_SIGNED: fprintf(out, "%" PRId64, (int64_t)u); break;
	case VALUE_UNSIGNED: fprintf(out, "%" PRIu64, u); break;
	case VALUE_HEX: fprintf(out, "0x%" PRIx64, u); break;
	case VALUE_FAULT: fputs("<fault>", out); break;
	case VALUE_REAL:
		memcpy(&d, &u, sizeof(d));
		json_format_double(number, d);
		fputs(number, out);
		break;
	case VALUE_TEXT:
		putc('"', out);
		escape_put_n(out, value->bytes, value->length, '"');
		fputs(value->cut ? "\"..." : "\"", out);
		break;
	}
	if (value->label) {
		putc(' ', out);
		escape_put_n(out, value->bytes + value->label, value->length - value->label, 0);
	}
}

/* Prints an integer of 64 bits exactly, another number with as many digits as distinguish it. */
static void text_put_number(FILE *out, long double number)
{
	char digits[32];

	json_format_double(digits, (double)number);
	if (number >= 0 && number < 0x1p64L && (long double)(uint64_t)number == number)
		fprintf(out, "%" PRIu64, (uint64_t)number);
	else if (number < 0 && number >= -0x1p63L && (long double)(int64_t)number == number)
		fprintf(out, "%" PRId64, (int64_t)number);
	else
		fputs(digits, out);
}

static void text_put_argument(FILE *out, const char *probe, const struct argument_stats *argument, bool all)
{
	const struct top *top = &argument->top;
	size_t shown = all ? VALUES_SHOWN_ALL : VALUES_SHOWN;
	uint64_t rest = top->total;

	shown = shown < top->n ? shown : top->n;
	putc('\n', out);
	escape_put(out, probe);
	putc(' ', out);
	escape_put(out, argument->name);
	if (argument->numbers) {
		fputs(": ", out);
		text_put_number(out, argument->min);
		fputs(" to ", out);
		text_put_number(out, argument->max);
		fprintf(out, ", average %.6g", argument->sum / (double)argument->numbers);
	}
	putc('\n', out);
	for (size_t i = 0; i < shown; i++) {
		const struct top_value *value = &top->values[i];
		uint64_t certain = value->count - value->error;

		rest -= certain;
		fprintf(out, "  %12" PRIu64 "%s %5.1f%%  ", certain, value->error ? "+" : " ",
		        100 * (double)certain / (double)top->total);
		text_put_value(out, value);
		putc('\n', out);
	}
	if (rest)
		fprintf(out, "  %12" PRIu64 "  %5.1f%%  (other)\n", rest, 100 * (double)rest / (double)top->total);
}

static void text_put_values(FILE *out, struct stats *stats, const struct text_style *style)
{
	size_t *order = xcalloc(stats->nprobes, sizeof(*order)), shown;

	for (size_t i = 0; i < stats->nprobes; i++)
		order[i] = i;
	qsort_r(order, stats->nprobes, sizeof(*order), probe_stats_compare, stats);
	shown = rows_shown(style, stats->nprobes);
	for (size_t i = 0; i < shown; i++) {
		const struct probe_stats *probe = &stats->probes[order[i]];

		for (size_t j = 0; j < probe->narguments; j++)
			text_put_argument(out, names_probe_at(stats->names, order[i])->name, &probe->arguments[j],
			                  !style->rows);
	}
	free(order);
}

void text_print(FILE *out, const struct run *run, const struct stats *stats, const struct text_style *style)
{
	struct stats *sorted = (struct stats *)stats;

	text_put_head(out, run, stats);
	text_put_probes(out, run, sorted, style);
	text_put_calls(out, stats, style);
	if (run->left_out)
		fprintf(out, "%" PRIu64 " calls are left out: too many are in flight\n", run->left_out);
	text_put_values(out, sorted, style);
}
