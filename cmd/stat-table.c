/* SPDX-License-Identifier: MIT */
#include "cmd/stat-table.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "cmd/bars.h"
#include "cmd/escape.h"
#include "cmd/ui.h"

/* ---- the table ---- */

/* A count that is shown if it is not 0 in all rows (SOMETIMES, RARELY) or with -v (SOMETIMES, VERBOSE). */
struct count_column {
	const char *title;
	size_t at; /* in struct pp_counts */
	enum { SOMETIMES, VERBOSE, RARELY } shown;
};

static const struct count_column columns[] = {
	{ "FILTERED", offsetof(struct pp_counts, filtered), SOMETIMES },
	{ "UNSAMPLED", offsetof(struct pp_counts, unsampled), RARELY },
	{ "IDLE", offsetof(struct pp_counts, idle), VERBOSE },
	{ "RECORDED", offsetof(struct pp_counts, recorded), SOMETIMES },
	{ "OVERWRITTEN", offsetof(struct pp_counts, overwritten), RARELY },
	{ "LOST", offsetof(struct pp_counts, lost), SOMETIMES },
	{ "ENTRIES", offsetof(struct pp_counts, entries), RARELY },
	{ "MISSED", offsetof(struct pp_counts, missed), RARELY },
	{ "IN FLIGHT", offsetof(struct pp_counts, under_way), RARELY },
	{ "ABANDONED", offsetof(struct pp_counts, abandoned), RARELY },
	{ "UNMATCHED", offsetof(struct pp_counts, unmatched), RARELY },
};
#define NCOLUMNS (sizeof(columns) / sizeof(*columns))

/* How the table looks. */
struct table_layout {
	bool shown[NCOLUMNS];
	bool rates, percentiles, pids;
	size_t probe_width;
	size_t trend_width; /* 0: no trends */
};

static uint64_t column_value(const struct count_row *row, const struct count_column *column)
{
	return *(const uint64_t *)((const char *)&row->counts + column->at);
}

enum { TREND_LEAST = 8, TREND_MOST = 20 };

/* Gives the trends what the other columns leave, before the file. */
static void layout_set_trend(struct table_layout *layout, size_t width)
{
	size_t used = 12 + 12 * layout->rates + 24 * layout->percentiles + 2 + 8 + 2 + layout->probe_width +
	              10 * layout->pids;

	for (size_t c = 0; c < NCOLUMNS; c++)
		used += 12 * layout->shown[c];
	if (used + TREND_LEAST > width)
		return;
	layout->trend_width = width - used < TREND_MOST ? width - used : TREND_MOST;
}

static void layout_init(struct table_layout *layout, const struct options *o, const struct reading *reading,
                        const struct table_view *view)
{
	*layout = (struct table_layout){ .rates = view->rates,
		                         .percentiles = view->percentiles,
		                         .probe_width = strlen("PROBE") };
	for (size_t c = 0; c < NCOLUMNS; c++) {
		layout->shown[c] = o->verbose && columns[c].shown != RARELY;
		for (size_t i = 0; i < reading->n && columns[c].shown != VERBOSE; i++)
			layout->shown[c] |= column_value(&reading->rows[i], &columns[c]) > 0;
	}
	for (size_t i = 0; i < reading->n; i++) {
		size_t width = escape_columns(reading->rows[i].probe);

		if (width > layout->probe_width)
			layout->probe_width = width;
		layout->pids |= reading->rows[i].pid > 0;
	}
	layout_set_trend(layout, view->columns);
}

static void put_titles(FILE *out, const struct table_layout *layout)
{
	fprintf(out, "%12s", "HITS");
	if (layout->rates)
		fprintf(out, "  %10s", "HITS/S");
	if (layout->percentiles)
		fprintf(out, "  %10s  %10s", "P50", "P99");
	if (layout->trend_width)
		fprintf(out, "  %-*s", (int)layout->trend_width, "TREND");
	for (size_t c = 0; c < NCOLUMNS; c++)
		if (layout->shown[c])
			fprintf(out, "  %10s", columns[c].title);
	fprintf(out, "  %6s  %-*s", "SITES", (int)layout->probe_width, "PROBE");
	if (layout->pids)
		fprintf(out, "  %8s", "PID");
	fputs("  FILE\n", out);
}

static void put_rate(FILE *out, double rate)
{
	if (isnan(rate))
		fprintf(out, "  %10s", "-");
	else
		fprintf(out, "  %10.*f", rate < 10 ? 1 : 0, rate);
}

/* Prints, after the file, whether the row's process or file has changed, or its sites were stopped. */
static void put_row_state(FILE *out, const struct count_row *r)
{
	if (r->over_budget)
		fprintf(out, "  stopped: cost %.0f %% of a CPU (limit %g %%)", 100 * r->share, 100 * r->limit);
	if (r->pid_namespace)
		fprintf(out, "  (pid namespace %u)", r->pid_namespace);
	if (r->file_state != PP_FILE_PRESENT)
		fprintf(out, " (%s)", count_row_file_word(r));
	if (r->life == PP_ENDED)
		fputs("  process has ended", out);
	else if (r->life == PP_OTHER)
		fputs("  process has ended, another has its pid", out);
}

static void put_count_row(FILE *out, const struct table_layout *layout, const struct count_row *r)
{
	fprintf(out, "%12" PRIu64, r->counts.hits);
	if (layout->rates)
		put_rate(out, r->rate);
	if (layout->percentiles) {
		fputs("  ", out);
		quantile_put(out, &r->p50);
		fputs("  ", out);
		quantile_put(out, &r->p99);
	}
	if (layout->trend_width) {
		fputs("  ", out);
		bars_put_trend(out, r->trend + STAT_TREND - layout->trend_width, layout->trend_width);
	}
	for (size_t c = 0; c < NCOLUMNS; c++)
		if (layout->shown[c])
			fprintf(out, "  %10" PRIu64, column_value(r, &columns[c]));
	fprintf(out, "  %6zu  ", r->sites);
	escape_put_padded(out, r->probe, layout->probe_width);
	if (r->pid)
		fprintf(out, "  %8d", r->pid);
	else if (layout->pids)
		fprintf(out, "  %8s", "any");
	fputs("  ", out);
	escape_put(out, r->file);
	sample_put(out, &r->sample);
	put_row_state(out, r);
	putc('\n', out);
}

static bool is_pid_selected(const struct options *o, pid_t pid)
{
	for (size_t i = 0; i < o->npids; i++)
		if (o->pids[i] == pid)
			return true;
	return !o->npids;
}

/* Prints the hits of each process, below a row that is for all processes. */
static void put_processes(FILE *out, const struct options *o, const struct count_row *r)
{
	for (size_t i = 0; i < pp_stat_processes(r->stat, r->at); i++) {
		uint64_t hits;
		pid_t pid = pp_stat_process(r->stat, r->at, i, &hits);

		if (is_pid_selected(o, pid))
			fprintf(out, "%12" PRIu64 "  of these, pid %d\n", hits, pid);
	}
	if (r->counts.other && o->verbose)
		fprintf(out, "%12" PRIu64 "  of these, other processes\n", r->counts.other);
}

void reading_print_table(FILE *out, const struct options *o, const struct reading *reading,
                         const struct table_view *view)
{
	struct table_layout layout;

	layout_init(&layout, o, reading, view);
	if (!o->quiet)
		put_titles(out, &layout);
	for (size_t i = view->first; i < reading->n && i - view->first < view->n; i++) {
		put_count_row(out, &layout, &reading->rows[i]);
		if ((o->verbose || o->npids) && !reading->rows[i].pid)
			put_processes(out, o, &reading->rows[i]);
	}
}

/* ---- messages ---- */

enum { STOPPED_SHOWN = 5 };

static void report_stopped(const struct options *o, const struct reading *all)
{
	size_t stopped = 0;

	for (size_t i = 0; i < all->n; i++)
		stopped += all->rows[i].over_budget != 0;
	if (stopped > STOPPED_SHOWN && !o->verbose) {
		ui_info(o, "%zu probes were disarmed over the budget, and are no longer counted", stopped);
		return;
	}
	for (size_t i = 0; i < all->n; i++) {
		const struct count_row *r = &all->rows[i];

		if (r->over_budget)
			ui_info(o,
			        "%zu site%s of %s %s disarmed over the budget (cost %.0f %% of a CPU, limit %g %%), and "
			        "%s no longer counted",
			        r->over_budget, ui_plural(r->over_budget), r->probe,
			        r->over_budget == 1 ? "was" : "were", 100 * r->share, 100 * r->limit,
			        r->over_budget == 1 ? "is" : "are");
	}
}

static void report_cost(const struct options *o, const struct pp_cost *cost)
{
	if (cost->hits)
		ui_info(o,
		        "a hit costs %.0f ns (trap %.0f ns, program %.0f ns); in the last %.1f s the session took %.2f %% "
		        "of a CPU",
		        cost->trap_ns + cost->program_ns, cost->trap_ns, cost->program_ns, STAT_COST_MS / 1e3,
		        100 * cost->share);
	else
		ui_info(o, "the trap of a hit costs %.0f ns; there were no hits in the last %.1f s", cost->trap_ns,
		        STAT_COST_MS / 1e3);
	if (cost->call_ns > 0)
		ui_info(o,
		        "durations exclude the cost of the traps (up to %.0f ns per call), and include the cost of other "
		        "sessions' probes",
		        cost->call_ns);
}

void reading_report(const struct stat_command *c, const struct reading *all, const struct reading *shown)
{
	const struct options *o = &c->options;
	const char *name = options_session_name(o);
	size_t dead = 0, uncounted = pp_stat_uncounted(all->stat);

	for (size_t i = 0; i < all->n; i++)
		dead += all->rows[i].life != PP_LIVES;
	if (uncounted)
		ui_info(o, "%zu process%s ended uncounted: killed or by _exit(2), while no process kept %s counts",
		        uncounted, uncounted == 1 ? "" : "es", uncounted == 1 ? "its" : "their");
	report_stopped(o, all);
	if (all->flight)
		ui_info(o, "flight recorder of %" PRIu64 " KiB for each process; it holds %" PRIu64 " KiB",
		        all->flight >> 10, all->held >> 10);
	if (all->limit > 0 && !all->watched)
		ui_info(o,
		        "no process enforces the budget of %g %% of a CPU any longer; the next probe-enable in this "
		        "session starts one",
		        100 * all->limit);
	if (shown->hidden)
		ui_info(o, "%zu probe%s without hits %s not shown; show all with -a", shown->hidden,
		        ui_plural(shown->hidden), shown->hidden == 1 ? "is" : "are");
	if (dead && dead == all->n && !c->is_private)
		ui_info(o, "session '%s' is dead: all its processes have ended; remove it with probe-disable -s %s",
		        name, name);
	if (all->has_cost)
		report_cost(o, &all->cost);
}
