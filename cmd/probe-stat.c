/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <probepoint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cmd/aggregates.h"
#include "cmd/alloc.h"
#include "cmd/escape.h"
#include "cmd/options.h"
#include "cmd/signals.h"
#include "cmd/ui.h"

struct stat_command {
	struct options options;
	double interval; /* seconds; 0: not given */
	uint64_t times;  /* reports; 0: no limit */
	uint64_t top;    /* rows; 0: all */
	bool zeros;      /* -a */
	const char **patterns;
	size_t npatterns;
};

/* ---- the command line ---- */

enum { KEY_TOP = 0x200 };

static const struct argp_option stat_options[] = {
	{ "interval", 'i', "SECONDS", 0, "report every SECONDS (may be a fraction), with hits per second", 1 },
	{ "times", 'n', "TIMES", 0, "stop after TIMES reports (interval 1 s unless -i is given)", 1 },
	{ "top", KEY_TOP, "N", 0, "show only the N busiest probes", 1 },
	{ "all", 'a', 0, 0, "show also probes without hits", 1 },
	{ 0 },
};

static const struct argp_child stat_children[] = {
	{ &options_pid, 0, NULL, 0 },
	{ &options_session, 0, NULL, 0 },
	{ &options_output, 0, NULL, 0 },
	{ 0 },
};

static error_t stat_parse_interval(struct argp_state *state, struct stat_command *c, const char *text)
{
	char *end;

	c->interval = strtod(text, &end);
	if (end == text || *end || !(c->interval >= 0.001 && c->interval <= 1e6))
		return options_usage_error(state, &c->options,
		                           "--interval: invalid interval '%s'; give seconds, 0.001 or more", text);
	return 0;
}

static error_t stat_parse_key(int key, char *arg, struct argp_state *state)
{
	struct stat_command *c = state->input;
	struct options *o = &c->options;

	switch (key) {
	case ARGP_KEY_INIT: options_children(state, stat_children, o); break;
	case 'i': return stat_parse_interval(state, c, arg);
	case 'n': return options_parse_number(state, o, "--times", arg, INT64_MAX, &c->times);
	case KEY_TOP: return options_parse_number(state, o, "--top", arg, INT64_MAX, &c->top);
	case 'a': c->zeros = true; break;
	case ARGP_KEY_ARG: return options_add_pattern(state, o, &c->patterns, &c->npatterns, arg);
	case ARGP_KEY_END:
		if (c->times && !c->interval)
			c->interval = 1;
		else if (!c->interval)
			c->times = 1;
		break;
	default: return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

static const struct argp stat_argp = {
	.options = stat_options,
	.parser = stat_parse_key,
	.args_doc = "[PATTERN...]",
	.doc = "Show how often the probes of a session were hit, the busiest first: those that match a PATTERN (default: "
	       "all that were hit).",
	.children = stat_children,
};

/* ---- one reading of the counts ---- */

struct count_row {
	const struct pp_stat *stat;
	size_t at; /* the row in stat */
	const char *probe, *file, *backend;
	pid_t pid;
	size_t sites, over_budget;
	double share, limit;    /* why sites are over the budget */
	uint32_t pid_namespace; /* 0: this process's */
	enum pp_life life;
	enum pp_file_state file_state;
	struct pp_counts counts;
	double rate; /* hits per second since the reading before; NAN: unknown */
};

struct reading {
	struct pp_stat *stat;
	struct pp_aggregates *aggregates;
	struct count_row *rows; /* their strings belong to stat */
	size_t n;
	uint64_t time; /* ns of CLOCK_MONOTONIC */
	bool has_cost;
	struct pp_cost cost;
	double limit;  /* the budget, as a share of one CPU; 0: none */
	bool watched;  /* a process enforces the budget */
	size_t hidden; /* rows that reading_show() left out because they have no hits */
};

static void reading_free(struct reading *reading)
{
	pp_stat_free(reading->stat);
	pp_aggregates_free(reading->aggregates);
	free(reading->rows);
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
	pp_stat_counts(stat, at, &row->counts, sizeof(row->counts));
}

#define COST_MS 200 /* how long the cost is measured */

static int reading_take(struct reading *reading, const struct options *options)
{
	struct pp_session *session;
	struct timespec now;
	int err = pp_session_open(options_session_name(options), false, &session);

	if (err)
		return err;
	reading->has_cost =
		options->verbose && !pp_session_cost(session, COST_MS, &reading->cost, sizeof(reading->cost));
	err = pp_session_stat(session, &reading->stat);
	if (!err)
		err = pp_session_aggregates(session, &reading->aggregates);
	reading->limit = pp_session_limit(session, &reading->watched);
	pp_session_close(session);
	ui_notices(options);
	if (err)
		return err;
	clock_gettime(CLOCK_MONOTONIC, &now);
	reading->time = now.tv_sec * 1000000000ull + now.tv_nsec;
	reading->n = pp_stat_rows(reading->stat);
	reading->rows = xcalloc(reading->n, sizeof(*reading->rows));
	for (size_t i = 0; i < reading->n; i++)
		row_read(&reading->rows[i], reading->stat, i);
	return 0;
}

/* Computes the rates. The rows of both readings must be ordered by name. */
static void reading_set_rates(struct reading *now, const struct reading *before)
{
	double seconds = (now->time - before->time) / 1e9;

	for (size_t i = 0; i < now->n; i++) {
		struct count_row *row = &now->rows[i];
		const struct count_row *old = NULL;

		if (before->n)
			old = bsearch(row, before->rows, before->n, sizeof(*row), rows_compare_names);
		row->rate = NAN;
		if (old && seconds > 0 && row->counts.hits >= old->counts.hits)
			row->rate = (row->counts.hits - old->counts.hits) / seconds;
	}
}

/* ---- words for a row's state ---- */

static const char *file_word(const struct count_row *r)
{
	static const char *const words[] = { "present", "replaced", "deleted" };

	return words[r->file_state];
}

/* Returns the state of the row's process or, if it is for all processes, of its file. "live": it can be hit. */
static const char *state_word(const struct count_row *r)
{
	static const char *const of_process[] = { "live", "ended", "pid reused" };
	static const char *const of_file[] = { "live", "file replaced", "file deleted" };

	if (r->pid_namespace)
		return "unknown";
	return r->pid ? of_process[r->life] : of_file[r->file_state];
}

/* ---- JSON ---- */

/* Adds the hits of each process to a row that is for all processes. */
static void json_add_processes(json_object *to, const struct count_row *r)
{
	json_object *processes = json_new_array();

	for (size_t i = 0; i < pp_stat_processes(r->stat, r->at); i++) {
		json_object *process = json_new_object();
		uint64_t hits;

		json_add_int(process, "pid", pp_stat_process(r->stat, r->at, i, &hits));
		json_add_uint(process, "hits", hits);
		json_append(processes, process);
	}
	json_add(to, "processes", processes);
	json_add_uint(to, "other", r->counts.other);
}

static void json_add_stopped(json_object *to, const struct count_row *r)
{
	json_object *stopped = json_new_object();

	json_add_double(stopped, "cpu_share", r->share);
	json_add_double(stopped, "limit", r->limit);
	json_add_uint(to, "over_budget", r->over_budget);
	json_add(to, "stopped", stopped);
}

static json_object *count_row_json(const struct count_row *r)
{
	json_object *row = json_new_object();

	json_add_text(row, "probe", r->probe);
	json_add(row, "pid", r->pid ? json_int(r->pid) : NULL);
	if (r->pid_namespace)
		json_add_uint(row, "pid_namespace", r->pid_namespace);
	json_add_text(row, "file", r->file);
	json_add_text(row, "backend", r->backend);
	json_add_text(row, "state", state_word(r));
	json_add_text(row, "file_state", file_word(r));
	json_add_uint(row, "sites", r->sites);
	json_add_uint(row, "hits", r->counts.hits);
	json_add_uint(row, "filtered", r->counts.filtered);
	json_add_uint(row, "idle", r->counts.idle);
	json_add_uint(row, "recorded", r->counts.recorded);
	json_add_uint(row, "lost", r->counts.lost);
	json_add_uint(row, "missed", r->counts.missed);
	json_add_uint(row, "entries", r->counts.entries);
	json_add_uint(row, "under_way", r->counts.under_way);
	json_add_uint(row, "abandoned", r->counts.abandoned);
	json_add_uint(row, "unmatched", r->counts.unmatched);
	if (!r->pid)
		json_add_processes(row, r);
	if (r->over_budget)
		json_add_stopped(row, r);
	return row;
}

static json_object *budget_json(const struct reading *reading)
{
	json_object *budget = json_new_object();

	json_add_double(budget, "cpu_share", reading->limit);
	json_add_bool(budget, "watched", reading->watched);
	return budget;
}

static json_object *cost_json(const struct pp_cost *cost)
{
	json_object *object = json_new_object();

	json_add_uint(object, "hits", cost->hits);
	json_add_double(object, "trap_ns", cost->trap_ns);
	json_add_double(object, "program_ns", cost->program_ns);
	json_add_double(object, "cpu_share", cost->share);
	json_add_double(object, "call_ns", cost->call_ns);
	return object;
}

static void reading_print_json(struct options *o, const struct reading *reading, uint64_t top)
{
	json_object *document = json_new_object(), *probes = json_new_array();

	for (size_t i = 0; i < reading->n; i++)
		json_append(probes, count_row_json(&reading->rows[i]));
	json_add_text(document, "session", options_session_name(o));
	json_add_uint(document, "time", reading->time);
	json_add(document, "probes", probes);
	json_add_uint(document, "uncounted", pp_stat_uncounted(reading->stat));
	if (pp_aggregates_tables(reading->aggregates))
		json_add(document, "aggregates", aggregates_json(reading->aggregates, top));
	if (reading->limit > 0 && (o->verbose || !reading->watched))
		json_add(document, "budget", budget_json(reading));
	if (reading->has_cost)
		json_add(document, "cost", cost_json(&reading->cost));
	ui_print_document(o, stdout, document);
}

/* ---- the table ---- */

/* A count that is shown if it is not 0 in all rows (SOMETIMES, RETURNS) or with -v (SOMETIMES, VERBOSE). */
struct count_column {
	const char *title;
	size_t at; /* in struct pp_counts */
	enum { SOMETIMES, VERBOSE, RETURNS } shown;
};

static const struct count_column columns[] = {
	{ "FILTERED", offsetof(struct pp_counts, filtered), SOMETIMES },
	{ "IDLE", offsetof(struct pp_counts, idle), VERBOSE },
	{ "RECORDED", offsetof(struct pp_counts, recorded), SOMETIMES },
	{ "LOST", offsetof(struct pp_counts, lost), SOMETIMES },
	{ "ENTRIES", offsetof(struct pp_counts, entries), RETURNS },
	{ "MISSED", offsetof(struct pp_counts, missed), RETURNS },
	{ "IN FLIGHT", offsetof(struct pp_counts, under_way), RETURNS },
	{ "ABANDONED", offsetof(struct pp_counts, abandoned), RETURNS },
	{ "UNMATCHED", offsetof(struct pp_counts, unmatched), RETURNS },
};
#define NCOLUMNS (sizeof(columns) / sizeof(*columns))

/* How the table looks. */
struct table_layout {
	bool shown[NCOLUMNS];
	bool rates, pids;
	size_t probe_width;
};

static uint64_t column_value(const struct count_row *row, const struct count_column *column)
{
	return *(const uint64_t *)((const char *)&row->counts + column->at);
}

static void layout_init(struct table_layout *layout, const struct options *o, const struct reading *reading, bool rates)
{
	*layout = (struct table_layout){ .rates = rates, .probe_width = strlen("PROBE") };
	for (size_t c = 0; c < NCOLUMNS; c++) {
		layout->shown[c] = o->verbose && columns[c].shown != RETURNS;
		for (size_t i = 0; i < reading->n && columns[c].shown != VERBOSE; i++)
			layout->shown[c] |= column_value(&reading->rows[i], &columns[c]) > 0;
	}
	for (size_t i = 0; i < reading->n; i++) {
		size_t width = escape_columns(reading->rows[i].probe);

		if (width > layout->probe_width)
			layout->probe_width = width;
		layout->pids |= reading->rows[i].pid > 0;
	}
}

static void put_titles(const struct table_layout *layout)
{
	printf("%12s", "HITS");
	if (layout->rates)
		printf("  %10s", "HITS/S");
	for (size_t c = 0; c < NCOLUMNS; c++)
		if (layout->shown[c])
			printf("  %10s", columns[c].title);
	printf("  %6s  %-*s", "SITES", (int)layout->probe_width, "PROBE");
	if (layout->pids)
		printf("  %8s", "PID");
	puts("  FILE");
}

static void put_rate(double rate)
{
	if (isnan(rate))
		printf("  %10s", "-");
	else
		printf("  %10.*f", rate < 10 ? 1 : 0, rate);
}

/* Prints, after the file, whether the row's process or file has changed, or its sites were stopped. */
static void put_row_state(const struct count_row *r)
{
	if (r->over_budget)
		printf("  stopped: cost %.0f %% of a CPU (limit %g %%)", 100 * r->share, 100 * r->limit);
	if (r->pid_namespace)
		printf("  (pid namespace %u)", r->pid_namespace);
	if (r->file_state != PP_FILE_PRESENT)
		printf(" (%s)", file_word(r));
	if (r->life == PP_ENDED)
		fputs("  process has ended", stdout);
	else if (r->life == PP_OTHER)
		fputs("  process has ended, another has its pid", stdout);
}

static void put_count_row(const struct table_layout *layout, const struct count_row *r)
{
	printf("%12" PRIu64, r->counts.hits);
	if (layout->rates)
		put_rate(r->rate);
	for (size_t c = 0; c < NCOLUMNS; c++)
		if (layout->shown[c])
			printf("  %10" PRIu64, column_value(r, &columns[c]));
	printf("  %6zu  ", r->sites);
	escape_put_padded(stdout, r->probe, layout->probe_width);
	if (r->pid)
		printf("  %8d", r->pid);
	else if (layout->pids)
		printf("  %8s", "any");
	fputs("  ", stdout);
	escape_put(stdout, r->file);
	put_row_state(r);
	putchar('\n');
}

static bool is_pid_selected(const struct options *o, pid_t pid)
{
	for (size_t i = 0; i < o->npids; i++)
		if (o->pids[i] == pid)
			return true;
	return !o->npids;
}

/* Prints the hits of each process, below a row that is for all processes. */
static void put_processes(const struct options *o, const struct count_row *r)
{
	for (size_t i = 0; i < pp_stat_processes(r->stat, r->at); i++) {
		uint64_t hits;
		pid_t pid = pp_stat_process(r->stat, r->at, i, &hits);

		if (is_pid_selected(o, pid))
			printf("%12" PRIu64 "  of these, pid %d\n", hits, pid);
	}
	if (r->counts.other && o->verbose)
		printf("%12" PRIu64 "  of these, other processes\n", r->counts.other);
}

static void reading_print_table(const struct options *o, const struct reading *reading, bool rates)
{
	struct table_layout layout;

	layout_init(&layout, o, reading, rates);
	if (!o->quiet)
		put_titles(&layout);
	for (size_t i = 0; i < reading->n; i++) {
		put_count_row(&layout, &reading->rows[i]);
		if ((o->verbose || o->npids) && !reading->rows[i].pid)
			put_processes(o, &reading->rows[i]);
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
		        cost->trap_ns + cost->program_ns, cost->trap_ns, cost->program_ns, COST_MS / 1e3,
		        100 * cost->share);
	else
		ui_info(o, "the trap of a hit costs %.0f ns; there were no hits in the last %.1f s", cost->trap_ns,
		        COST_MS / 1e3);
	if (cost->call_ns > 0)
		ui_info(o,
		        "durations exclude the cost of the traps (up to %.0f ns per call), and include the cost of other "
		        "sessions' probes",
		        cost->call_ns);
}

/* Prints the messages that follow the table. all: every row, also those that the table does not show. */
static void report_reading(const struct options *o, const struct reading *all, const struct reading *shown)
{
	const char *name = options_session_name(o);
	size_t dead = 0, uncounted = pp_stat_uncounted(all->stat);

	for (size_t i = 0; i < all->n; i++)
		dead += all->rows[i].life != PP_LIVES;
	if (uncounted)
		ui_info(o, "%zu process%s ended uncounted: killed or by _exit(2), while no process kept %s counts",
		        uncounted, uncounted == 1 ? "" : "es", uncounted == 1 ? "its" : "their");
	report_stopped(o, all);
	if (all->limit > 0 && !all->watched)
		ui_info(o,
		        "no process enforces the budget of %g %% of a CPU any longer; the next probe-enable in this "
		        "session starts one",
		        100 * all->limit);
	if (shown->hidden)
		ui_info(o, "%zu probe%s without hits %s not shown; show all with -a", shown->hidden,
		        ui_plural(shown->hidden), shown->hidden == 1 ? "is" : "are");
	if (dead && dead == all->n)
		ui_info(o, "session '%s' is dead: all its processes have ended; remove it with probe-disable -s %s",
		        name, name);
	if (all->has_cost)
		report_cost(o, &all->cost);
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
	bool by_pattern = !c->npatterns, by_pid = !c->options.npids;

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

/* Copies the selected rows to shown, the busiest first, and marks the patterns that match. */
static void reading_select(const struct stat_command *c, const struct reading *reading, struct reading *shown,
                           bool *matched)
{
	*shown = *reading;
	shown->n = shown->hidden = 0;
	shown->rows = xcalloc(reading->n, sizeof(*shown->rows));
	for (size_t i = 0; i < reading->n; i++) {
		const struct count_row *row = &reading->rows[i];

		if (!row_is_selected(c, row, matched))
			continue;
		if (c->zeros || c->options.json || c->npatterns || row_is_interesting(row))
			shown->rows[shown->n++] = *row;
		else
			shown->hidden++;
	}
	if (!c->options.json || c->top)
		qsort(shown->rows, shown->n, sizeof(*shown->rows), rows_compare_hits);
	if (c->top && c->top < shown->n)
		shown->n = c->top;
}

/* Reports patterns and processes for which there is no row. Returns the exit status. */
static enum status report_missing(struct stat_command *c, const struct reading *shown, const bool *matched)
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
	if (!o->npids || shown->n || shown->hidden)
		return STATUS_DONE;
	if (o->npids == 1)
		ui_error(o, "session '%s' has no %sprobe that is armed only for pid %d or was hit by it", name,
		         c->npatterns ? "matching " : "", o->pids[0]);
	else
		ui_error(o, "session '%s' has no %sprobe that is armed only for one of the pids or was hit by it", name,
		         c->npatterns ? "matching " : "");
	return STATUS_FAILED;
}

/* Prints one report. first: it is the first one. */
static enum status reading_show(struct stat_command *c, struct reading *reading, bool first)
{
	bool *matched = xcalloc(c->npatterns, sizeof(*matched));
	struct reading shown;
	enum status status;

	reading_select(c, reading, &shown, matched);
	status = report_missing(c, &shown, matched);
	if (c->options.json) {
		reading_print_json(&c->options, &shown, c->top);
	} else {
		reading_print_table(&c->options, &shown, c->interval > 0);
		aggregates_print(shown.aggregates, c->top);
		if (!first)
			shown.hidden = 0; /* reported once */
		report_reading(&c->options, reading, &shown);
	}
	free(matched);
	free(shown.rows);
	return status;
}

/* ---- running ---- */

/* Sleeps until the next report is due. */
static void pause_until(struct timespec *next, double interval)
{
	next->tv_sec += (time_t)interval;
	next->tv_nsec += (interval - (time_t)interval) * 1e9;
	if (next->tv_nsec >= 1000000000) {
		next->tv_nsec -= 1000000000;
		next->tv_sec++;
	}
	while (!interrupted && clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, next, NULL) == EINTR)
		;
}

static enum status stat_run(struct stat_command *c)
{
	struct reading before = { 0 }, now = { 0 };
	enum status status = STATUS_DONE;
	struct timespec next;
	int err;

	clock_gettime(CLOCK_MONOTONIC, &next);
	for (uint64_t i = 0; !interrupted && (!c->times || i < c->times); i++) {
		if (i)
			pause_until(&next, c->interval);
		if (interrupted)
			break;
		err = reading_take(&now, &c->options);
		if (err == -ENOENT && i) {
			ui_info(&c->options, "session '%s' has ended", options_session_name(&c->options));
			break;
		}
		if (err) {
			ui_error(&c->options, "%s", pp_error());
			status = err == -EINVAL ? STATUS_USAGE : STATUS_FAILED;
			break;
		}
		reading_set_rates(&now, &before);
		if (i && !c->options.json)
			putchar('\n');
		status = reading_show(c, &now, !i);
		if (ui_flush())
			break;
		reading_free(&before);
		before = now;
		now = (struct reading){ 0 };
	}
	reading_free(&before);
	reading_free(&now);
	return status;
}

int main(int argc, char **argv)
{
	static struct stat_command c; /* not freed */

	options_parse(&stat_argp, argc, argv, &c.options, &c);
	signals_catch();
	return ui_finish(&c.options, stat_run(&c));
}
