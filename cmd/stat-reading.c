/* SPDX-License-Identifier: MIT */
#include "cmd/stat-reading.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "cmd/alloc.h"
#include "cmd/ui.h"

/* ---- one reading of the counts ---- */

void reading_free(struct reading *reading)
{
	pp_stat_free(reading->stat);
	pp_aggregates_free(reading->aggregates);
	free(reading->rows);
	free(reading->trends);
	*reading = (struct reading){ 0 };
}

static int rows_compare_names(const void *a, const void *b)
{
	const struct count_row *x = a, *y = b;

	return pp_stat_order(x->stat, x->at, y->stat, y->at);
}

/* Orders rows by hits, the busiest first. */
static int rows_compare_hits(const void *a, const void *b)
{
	const struct count_row *x = a, *y = b;

	if (x->counts.hits != y->counts.hits)
		return x->counts.hits < y->counts.hits ? 1 : -1;
	return rows_compare_names(a, b);
}

/* Orders values in descending order, unknown ones last. */
static int values_compare(double p, double q, const void *a, const void *b)
{
	p = isnan(p) ? -1 : p;
	q = isnan(q) ? -1 : q;
	return p != q ? (p < q ? 1 : -1) : rows_compare_hits(a, b);
}

/* Rows without a rate are last. */
static int rows_compare_rates(const void *a, const void *b)
{
	const struct count_row *x = a, *y = b;
	return values_compare(x->rate, y->rate, a, b);
}

static int rows_compare_p50(const void *a, const void *b)
{
	return values_compare(((const struct count_row *)a)->p50.value, ((const struct count_row *)b)->p50.value, a, b);
}

static int rows_compare_p99(const void *a, const void *b)
{
	return values_compare(((const struct count_row *)a)->p99.value, ((const struct count_row *)b)->p99.value, a, b);
}

static int rows_compare_lost(const void *a, const void *b)
{
	const struct count_row *x = a, *y = b;

	if (x->counts.lost != y->counts.lost)
		return x->counts.lost < y->counts.lost ? 1 : -1;
	return rows_compare_hits(a, b);
}

static void row_read(struct count_row *row, const struct pp_stat *stat, size_t at)
{
	row->stat = stat;
	row->at = at;
	row->probe = pp_stat_probe(stat, at);
	row->file = pp_stat_file(stat, at);
	row->backend = pp_stat_backend(stat, at);
	row->pid = pp_stat_pid(stat, at);
	row->pid_namespace = pp_stat_pid_namespace(stat, at);
	row->life = pp_stat_life(stat, at);
	row->file_state = pp_stat_file_state(stat, at);
	row->sites = pp_stat_sites(stat, at);
	row->over_budget = pp_stat_stopped(stat, at, &row->share, &row->limit);
	pp_stat_sample(stat, at, &row->sample.every, &row->sample.rate);
	pp_stat_counts(stat, at, &row->counts, sizeof(row->counts));
}

/* Reads the counts and the aggregates of a session. */
static int reading_fill(struct reading *reading, struct pp_session *session, const struct stat_command *c)
{
	int err;

	reading->has_cost = (c->options.verbose || c->metrics) &&
	                    !pp_session_cost(session, STAT_COST_MS, &reading->cost, sizeof(reading->cost));
	/* The counts are read last, so that they include each hit that is in an aggregate. */
	err = pp_session_aggregates(session, &reading->aggregates);
	if (!err)
		err = pp_session_stat(session, &reading->stat);
	reading->limit = pp_session_limit(session, &reading->watched);
	reading->flight = pp_session_flight_recorder(session, &reading->held);
	return err;
}

/* Sets the row's percentiles from the first pct() of its probe. */
static void row_set_percentiles(struct count_row *row, const struct pp_aggregates *a)
{
	row->p50.value = row->p99.value = NAN;
	for (size_t t = 0; a && t < pp_aggregates_tables(a); t++) {
		if (strcmp(pp_table_probe(a, t), row->probe) || strcmp(pp_table_file(a, t), row->file))
			continue;
		for (size_t call = 0; call < pp_table_calls(a, t); call++) {
			if (pp_table_function(a, t, call) != PP_PCT)
				continue;
			row->p50 = quantile_read(a, t, PP_ALL, call, 0.5);
			row->p99 = quantile_read(a, t, PP_ALL, call, 0.99);
			if (!isnan(row->p50.value))
				return;
		}
	}
}

int reading_take(struct reading *reading, const struct stat_command *c)
{
	struct pp_session *session = c->session;
	int err;

	if (!session) {
		err = pp_session_open(options_session_name(&c->options), false, &session);
		if (err)
			return err;
	}
	err = reading_fill(reading, session, c);
	if (!c->session)
		pp_session_close(session);
	ui_notices(&c->options);
	if (err)
		return err;
	reading->time = clock_local_ns();
	reading->n = pp_stat_rows(reading->stat);
	reading->rows = xcalloc(reading->n, sizeof(*reading->rows));
	for (size_t i = 0; i < reading->n; i++)
		row_read(&reading->rows[i], reading->stat, i);
	for (size_t i = 0; i < reading->n; i++)
		row_set_percentiles(&reading->rows[i], c->percentiles ? reading->aggregates : NULL);
	return 0;
}

/* Makes the row's trend: that of the reading before, and the new rate. */
static void row_set_trend(struct count_row *row, const struct count_row *old, float *trend)
{
	for (size_t i = 0; i + 1 < STAT_TREND; i++)
		trend[i] = old && old->trend ? old->trend[i + 1] : -1;
	trend[STAT_TREND - 1] = isnan(row->rate) ? -1 : (float)row->rate;
	row->trend = trend;
}

void reading_set_rates(struct reading *now, const struct reading *before, bool trends)
{
	double seconds = (now->time - before->time) / 1e9;

	if (trends)
		now->trends = xcalloc(now->n, STAT_TREND * sizeof(*now->trends));
	for (size_t i = 0; i < now->n; i++) {
		struct count_row *row = &now->rows[i];
		const struct count_row *old = NULL;

		if (before->n)
			old = bsearch(row, before->rows, before->n, sizeof(*row), rows_compare_names);
		row->rate = NAN;
		if (old && seconds > 0 && row->counts.hits >= old->counts.hits)
			row->rate = (row->counts.hits - old->counts.hits) / seconds;
		if (trends)
			row_set_trend(row, old, now->trends + i * STAT_TREND);
	}
}

/* ---- words for a row's state ---- */

const char *count_row_file_word(const struct count_row *r)
{
	static const char *const words[] = { "present", "replaced", "deleted" };

	return words[r->file_state];
}

const char *count_row_state_word(const struct count_row *r)
{
	static const char *const of_process[] = { "live", "ended", "pid reused" };
	static const char *const of_file[] = { "live", "file replaced", "file deleted" };

	if (r->pid_namespace)
		return "unknown";
	return r->pid ? of_process[r->life] : of_file[r->file_state];
}

/* ---- selecting rows ---- */

static bool row_has_process(const struct count_row *row, pid_t pid)
{
	uint64_t hits;

	for (size_t i = 0; !row->pid && i < pp_stat_processes(row->stat, row->at); i++)
		if (pp_stat_process(row->stat, row->at, i, &hits) == pid)
			return true;
	return row->pid == pid;
}

/* Returns whether the row is one of those that the command line names, and marks all patterns that match. */
static bool row_is_selected(const struct stat_command *c, const struct count_row *row, bool *matched)
{
	bool by_pattern = !c->npatterns, by_pid = !c->options.npids || c->is_private;

	for (size_t i = 0; i < c->npatterns; i++)
		if (pp_name_matches(row->probe, c->patterns[i]))
			by_pattern = matched[i] = true;
	for (size_t i = 0; i < c->options.npids && !by_pid && !row->pid_namespace; i++)
		by_pid = row_has_process(row, c->options.pids[i]);
	return by_pattern && by_pid;
}

/* Returns whether the table shows the row even if neither -a nor a pattern is given. */
static bool row_is_interesting(const struct count_row *row)
{
	return row->counts.hits || row->counts.entries || row->over_budget || row->life != PP_LIVES ||
	       row->file_state != PP_FILE_PRESENT;
}

void reading_select(const struct stat_command *c, const struct reading *reading, struct reading *shown, bool *matched)
{
	static int (*const compare[])(const void *, const void *) = {
		[STAT_BY_HITS] = rows_compare_hits, [STAT_BY_RATE] = rows_compare_rates,
		[STAT_BY_LOST] = rows_compare_lost, [STAT_BY_NAME] = rows_compare_names,
		[STAT_BY_P50] = rows_compare_p50,   [STAT_BY_P99] = rows_compare_p99,
	};

	*shown = *reading;
	shown->n = shown->hidden = 0;
	shown->rows = xcalloc(reading->n, sizeof(*shown->rows));
	for (size_t i = 0; i < reading->n; i++) {
		const struct count_row *row = &reading->rows[i];

		if (!row_is_selected(c, row, matched))
			continue;
		if (c->zeros || c->options.json || c->metrics || c->npatterns || row_is_interesting(row))
			shown->rows[shown->n++] = *row;
		else
			shown->hidden++;
	}
	if (!c->options.json || c->top || c->ordered)
		qsort(shown->rows, shown->n, sizeof(*shown->rows), compare[c->order]);
	if (c->top && c->top < shown->n)
		shown->n = c->top;
}

enum status reading_report_missing(struct stat_command *c, const struct reading *shown, const bool *matched)
{
	struct options *o = &c->options;
	const char *name = options_session_name(o);
	size_t missing = 0;

	for (size_t i = 0; i < c->npatterns; i++)
		if (!matched[i]) {
			ui_error(o, "no probe in session '%s' matches '%s'", name, c->patterns[i]);
			missing++;
		}
	if (missing)
		return missing < c->npatterns ? STATUS_PART : STATUS_FAILED;
	if (!o->npids || c->is_private || shown->n || shown->hidden)
		return STATUS_DONE;
	if (o->npids == 1)
		ui_error(o, "session '%s' has no %sprobe that is armed only for pid %d or was hit by it", name,
		         c->npatterns ? "matching " : "", o->pids[0]);
	else
		ui_error(o, "session '%s' has no %sprobe that is armed only for one of the pids or was hit by it", name,
		         c->npatterns ? "matching " : "");
	return STATUS_FAILED;
}
