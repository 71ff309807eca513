/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <probepoint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cmd/aggregates-table.h"
#include "cmd/alloc.h"
#include "cmd/arming.h"
#include "cmd/child.h"
#include "cmd/metrics-text.h"
#include "cmd/options.h"
#include "cmd/private.h"
#include "cmd/screen.h"
#include "cmd/signals.h"
#include "cmd/stacks.h"
#include "cmd/stat-json.h"
#include "cmd/stat-live.h"
#include "cmd/stat-reading.h"
#include "cmd/stat-table.h"
#include "cmd/ui.h"

/* ---- the command line ---- */

enum {
	KEY_TOP = 0x200,
	KEY_SORT,
	KEY_PLAIN,
	KEY_FOR,
	KEY_OPENMETRICS,
	KEY_PROMETHEUS,
	KEY_MAX_SERIES,
	KEY_FOLDED,
	KEY_PERCENTILES
};

static const struct argp_option stat_options[] = {
	{ "interval", 'i', "SECONDS", 0, "report every SECONDS (may be a fraction), with hits per second", 1 },
	{ "times", 'n', "TIMES", 0, "stop after TIMES reports (interval 1 s unless -i is given)", 1 },
	{ "top", KEY_TOP, "N", 0, "show only the first N probes (by hits: the busiest)", 1 },
	{ "sort", KEY_SORT, "ORDER", 0, "order by hits, rate, lost, name, p50 or p99 (default hits)", 1 },
	{ "for", KEY_FOR, "TIME", 0, "stop after TIME, such as 500ms, 30s, 5m or 1h", 1 },
	{ "percentiles", KEY_PERCENTILES, 0, 0,
	  "show P50 and P99 of the first pct() of --agg beside the counts of a probe", 1 },
	{ "plain", KEY_PLAIN, 0, 0, "print each report below the last one, also on a terminal", 1 },
	{ "openmetrics", KEY_OPENMETRICS, 0, 0, "print the counts once as OpenMetrics text", 1 },
	{ "prometheus", KEY_PROMETHEUS, 0, 0,
	  "print the counts once in the text format of Prometheus, as node_exporter's textfile collector reads it", 1 },
	{ "max-series", KEY_MAX_SERIES, "N", 0,
	  "with --openmetrics or --prometheus: print at most N series (100 to 1000000, default 10000)", 1 },
	{ "folded", KEY_FOLDED, 0, 0, "print stacks only, each on a line with its count, as flame graphs need them",
	  1 },
	{ "all", 'a', 0, 0, "show also probes without hits", 1 },
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

static error_t stat_parse_order(struct argp_state *state, struct stat_command *c, const char *text)
{
	static const char *const names[] = { "hits", "rate", "lost", "name", "p50", "p99" };

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (!strcmp(text, names[i])) {
			c->order = (enum stat_order)i;
			c->ordered = true;
			c->percentiles |= c->order == STAT_BY_P50 || c->order == STAT_BY_P99;
			return 0;
		}
	return options_usage_error(state, &c->options,
	                           "--sort: unknown order '%s'; give hits, rate, lost, name, p50 or "
	                           "p99",
	                           text);
}

/* Metrics are printed once, with all rows. */
static error_t stat_check_metrics(struct argp_state *state, struct stat_command *c)
{
	if (c->max_series && !c->metrics)
		return options_usage_error(state, &c->options, "--max-series needs --openmetrics or --prometheus");
	if (c->max_series && c->max_series < METRICS_SERIES_MIN)
		return options_usage_error(state, &c->options, "--max-series: give %d or more", METRICS_SERIES_MIN);
	if (c->metrics &&
	    (c->interval > 0 || c->times || c->top || c->ordered || c->plain || c->folded || c->options.json))
		return options_usage_error(
			state, &c->options,
			"%s cannot be combined with -i, -n, --top, --sort, --plain, --folded or --json",
			c->metrics == STAT_OPENMETRICS ? "--openmetrics" : "--prometheus");
	return 0;
}

/* Sets what the options leave open, and checks them. */
static error_t stat_check(struct argp_state *state, struct stat_command *c)
{
	struct options *o = &c->options;
	error_t err = arming_take_stack(state, o);

	if (!err)
		err = arming_take_latency(state, o, &c->arming);
	if (!err)
		err = stat_check_metrics(state, c);
	if (err)
		return err;
	if (o->latency[0] && !o->aggregate)
		o->aggregate = "count(), avg(duration), pct(duration), hist(duration)";
	if (c->folded && (c->interval || c->times || o->json))
		return options_usage_error(state, o, "--folded cannot be combined with -i, -n and --json");
	c->is_private = c->arming.argv || state->quoted || o->nfiles || o->backend || options_first_arming(o);
	if (c->percentiles && c->is_private && (!o->aggregate || !strstr(o->aggregate, "pct(")))
		return options_usage_error(state, o, "--percentiles needs pct() in --agg, as in --agg 'pct(duration)'");
	if (o->print || o->string_max)
		return options_usage_error(state, o, "%s: probe-stat shows no records; use probe-trace",
		                           o->print ? "--print" : "--strlen");
	if (c->is_private) {
		err = arming_check_target(state, o, &c->arming);
		if (!err)
			err = arming_check_options(state, o, &c->arming);
		if (err)
			return err;
		if (o->session)
			return options_usage_error(
				state, o,
				"-s cannot be combined with options that arm probes, which are armed "
				"in a session of their own");
	}
	c->patterns = c->arming.patterns;
	c->npatterns = c->is_private ? 0 : c->arming.npatterns;
	if (c->times && !c->interval)
		c->interval = 1;
	if (!c->interval && !c->is_private) {
		if (c->seconds > 0)
			return options_usage_error(state, o,
			                           "--for needs -i, or options that arm probes, such as --stack");
		c->times = 1;
	}
	return 0;
}

static error_t stat_parse_key(int key, char *arg, struct argp_state *state)
{
	struct stat_command *c = state->input;
	struct options *o = &c->options;

	switch (key) {
	case ARGP_KEY_INIT: options_children(state, options_arming, o); break;
	case 'i': return stat_parse_interval(state, c, arg);
	case 'n': return options_parse_number(state, o, "--times", arg, INT64_MAX, &c->times);
	case KEY_TOP: return options_parse_number(state, o, "--top", arg, INT64_MAX, &c->top);
	case KEY_SORT: return stat_parse_order(state, c, arg);
	case KEY_FOR: return options_parse_time(state, o, "--for", arg, &c->seconds);
	case KEY_PLAIN: c->plain = true; break;
	case KEY_OPENMETRICS: c->metrics = STAT_OPENMETRICS; break;
	case KEY_PROMETHEUS: c->metrics = STAT_PROMETHEUS; break;
	case KEY_MAX_SERIES:
		return options_parse_number(state, o, "--max-series", arg, METRICS_SERIES_MAX, &c->max_series);
	case KEY_FOLDED: c->folded = true; break;
	case KEY_PERCENTILES: c->percentiles = true; break;
	case 'a': c->zeros = true; break;
	case ARGP_KEY_ARG: return arming_take_argument(state, o, &c->arming);
	case ARGP_KEY_END: return stat_check(state, c);
	default: return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

static const struct argp stat_argp = {
	.options = stat_options,
	.parser = stat_parse_key,
	.args_doc = "[PATTERN...]\nPATTERN... [-- COMMAND...]",
	.doc = "Show how often the probes of a session were hit, the busiest first: those that match a PATTERN (default: "
	       "all that were hit). With options that arm probes, such as --agg, arm those that match while this command "
	       "runs.",
	.children = options_arming,
};

/* ---- one report ---- */

/* Returns the columns for bars. */
static size_t output_columns(void)
{
	size_t columns = AGGREGATES_WIDTH, lines;

	if (isatty(STDOUT_FILENO))
		screen_size(&columns, &lines);
	return columns;
}

static void reading_print_metrics(const struct stat_command *c, const struct reading *shown)
{
	struct metrics *m = metrics_new(c->max_series ? c->max_series : METRICS_SERIES, NULL);

	metrics_add_build(m);
	metrics_add_session(m, options_session_name(&c->options), shown);
	metrics_finish(m);
	metrics_print(stdout, m, c->metrics == STAT_OPENMETRICS ? METRICS_OPENMETRICS : METRICS_PROMETHEUS);
	metrics_free(m);
}

static enum status reading_print_folded(struct stat_command *c, const struct reading *reading)
{
	if (stacks_print_folded(stdout, reading->aggregates))
		return STATUS_DONE;
	ui_error(&c->options, "--folded: session '%s' has no stacks; arm probes with --stack",
	         options_session_name(&c->options));
	return STATUS_FAILED;
}

/* Prints one report. first: it is the first one. */
static enum status reading_show(struct stat_command *c, struct reading *reading, bool first)
{
	bool *matched = xcalloc(c->npatterns, sizeof(*matched));
	struct reading shown;
	enum status status;

	reading_select(c, reading, &shown, matched);
	status = reading_report_missing(c, &shown, matched);
	if (c->metrics) {
		reading_print_metrics(c, &shown);
	} else if (c->options.json) {
		reading_print_json(&c->options, &shown, c->top);
	} else if (c->folded) {
		status = reading_print_folded(c, &shown);
	} else {
		reading_print_table(
			stdout, &c->options, &shown,
			&(struct table_view){ .rates = c->interval > 0, .percentiles = c->percentiles, .n = shown.n });
		aggregates_print(stdout, shown.aggregates, c->top, output_columns());
		if (!first)
			shown.hidden = 0; /* reported once */
		reading_report(c, reading, &shown);
	}
	free(matched);
	free(shown.rows);
	return status;
}

/* ---- running ---- */

enum { TICK_MS = 100 };

struct stat_run {
	struct stat_command *c;
	struct private_session private;
	bool is_live;
	struct live live;
	struct reading now, before;
	struct timespec next; /* when the next report is due */
	struct timespec end;  /* when --for ends the command */
	struct timespec look; /* when the mappings of processes with stacks are read next */
	double look_after;    /* s until then; 0: no process has stacks */
	enum status status;
};

static void time_add(struct timespec *time, double seconds)
{
	time->tv_sec += (time_t)seconds;
	time->tv_nsec += (long)((seconds - (double)(time_t)seconds) * 1e9);
	if (time->tv_nsec >= 1000000000) {
		time->tv_nsec -= 1000000000;
		time->tv_sec++;
	}
}

static bool time_is_before(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec != b->tv_sec ? a->tv_sec < b->tv_sec : a->tv_nsec < b->tv_nsec;
}

/* Returns whether the time of --for has passed, or the processes of a private session have ended. */
static bool run_is_over(struct stat_run *run)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (run->c->seconds > 0 && !time_is_before(&now, &run->end)) || targets_ended(&run->private.targets);
}

/*
 * Makes the session keep the mappings of the processes that have stacks by now, which a reading does, because a process may end before
 * the next report. Waits twice as long each time, 3.2 s at most.
 */
static void run_look(struct stat_run *run, const struct timespec *now)
{
	struct reading reading = { 0 };

	if (!(run->look_after > 0) || time_is_before(now, &run->look))
		return;
	reading_take(&reading, run->c);
	reading_free(&reading);
	run->look_after = run->look_after < 1.6 ? 2 * run->look_after : 3.2;
	run->look = *now;
	time_add(&run->look, run->look_after);
}

/* Waits until the next report is due (never without an interval). Returns false if the command ends before. */
static bool run_pause(struct stat_run *run)
{
	bool endless = !(run->c->interval > 0);

	time_add(&run->next, run->c->interval);
	for (;;) {
		struct timespec tick;

		clock_gettime(CLOCK_MONOTONIC, &tick);
		if (!endless && !run->live.paused && !time_is_before(&tick, &run->next))
			return true;
		run_look(run, &tick);
		time_add(&tick, TICK_MS / 1e3);
		if (!endless && !run->live.paused && time_is_before(&run->next, &tick))
			tick = run->next;
		if (run->c->seconds > 0 && time_is_before(&run->end, &tick))
			tick = run->end;
		if (run->is_live && !live_wait(&run->live, &run->before, &tick))
			return false;
		if (!run->is_live && !interrupted)
			clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &tick, NULL);
		if (interrupted || run_is_over(run))
			return false;
	}
}

/* Reports why the session cannot be read. first: it is the first report. */
static void run_report_failure(struct stat_run *run, int err, bool first)
{
	struct options *o = &run->c->options;

	live_close(&run->live);
	if (err == -ENOENT && !first) {
		ui_info(o, "session '%s' has ended", options_session_name(o));
		return;
	}
	ui_error(o, "%s", pp_error());
	run->status = err == -EINVAL ? STATUS_USAGE : STATUS_FAILED;
}

/* Makes the report number i. Returns false if no other one follows. */
static bool run_report(struct stat_run *run, uint64_t i)
{
	struct stat_command *c = run->c;
	int err = run->is_live ? live_take(&run->live, &run->now) : reading_take(&run->now, c);

	if (err) {
		run_report_failure(run, err, !i);
		return false;
	}
	reading_set_rates(&run->now, &run->before, run->is_live);
	if (run->is_live) {
		err = live_draw(&run->live, &run->now, &run->status);
	} else {
		if (i && !c->options.json && !c->metrics)
			putchar('\n');
		run->status = reading_show(c, &run->now, !i);
		err = ui_flush();
	}
	reading_free(&run->before);
	run->before = run->now;
	run->now = (struct reading){ 0 };
	return !err;
}

/* Leaves the last table of a live view on the terminal. Does not wait for a terminal that takes nothing. */
static void run_leave_live(struct stat_run *run)
{
	struct stat_command *c = run->c;
	bool *matched = xcalloc(c->npatterns, sizeof(*matched));
	struct reading shown;
	size_t size = 0, done;
	char *text = NULL;
	FILE *out = xmemstream(&text, &size);

	reading_select(c, &run->before, &shown, matched);
	reading_print_table(out, &c->options, &shown,
	                    &(struct table_view){ .rates = true, .percentiles = c->percentiles, .n = shown.n });
	aggregates_print(out, shown.aggregates, c->top, output_columns());
	xmemstream_close(out);
	if (!ui_write(text, size, &done)) {
		run->status = reading_report_missing(c, &shown, matched);
		reading_report(c, &run->before, &shown);
	}
	free(text);
	free(shown.rows);
	free(matched);
}

/* Makes reports until the command ends. Returns the number of reports. */
static uint64_t run_reports(struct stat_run *run)
{
	struct stat_command *c = run->c;
	uint64_t i = 0;

	/* A private session has nothing to report at its begin, unless its table is drawn. The first rates begin here. */
	if (c->is_private && !run->is_live) {
		if (reading_take(&run->before, c))
			reading_free(&run->before);
		if (!run_pause(run))
			return 0;
	}
	for (; !interrupted && (!c->times || i < c->times); i++) {
		if (i && !run_pause(run))
			break;
		if (!i && run->is_live)
			live_open(&run->live, c);
		if (!run_report(run, i))
			return UINT64_MAX;
	}
	return i;
}

static void run_begin(struct stat_run *run)
{
	struct stat_command *c = run->c;
	bool on_screen = !c->options.json && !c->metrics && !c->plain && !c->folded && screen_is_possible();

	/* Without --for, a private session on a terminal is shown while it counts. */
	if (c->is_private && !c->interval && !(c->seconds > 0) && on_screen)
		c->interval = 1;
	run->is_live = c->interval > 0 && on_screen;
	clock_gettime(CLOCK_MONOTONIC, &run->next);
	run->look = run->next;
	run->look_after =
		c->is_private && c->options.aggregate && strstr(c->options.aggregate, "stack") ? TICK_MS / 1e3 : 0;
	run->end = run->next;
	time_add(&run->end, c->seconds);
}

static enum status stat_run(struct stat_run *run)
{
	struct stat_command *c = run->c;
	uint64_t reports;

	run_begin(run);
	reports = run_reports(run);
	run->is_live = run->is_live && reports; /* else nothing was drawn */
	/* The counts of a private session end with it, so they are shown once more. */
	if (c->is_private && reports != UINT64_MAX && (!c->times || reports < c->times))
		run_report(run, reports);
	live_close(&run->live);
	if (run->is_live && run->before.stat)
		run_leave_live(run);
	reading_free(&run->before);
	reading_free(&run->now);
	return run->status;
}

/* Lets the command run, and reports until it ends. */
static enum status private_report(struct stat_run *run)
{
	struct stat_command *c = run->c;
	int err = c->arming.argv ? child_release(&c->arming.child) : 0;

	if (err)
		return child_report(&c->options, c->arming.child.path, err);
	ui_verbose(&c->options, "counting");
	return stat_run(run);
}

static enum status stat_private(void *arg)
{
	struct stat_command *c = arg;
	struct stat_run run = { .c = c, .status = STATUS_DONE };
	enum status armed = private_arm(&run.private, &c->options, &c->arming), status = armed;

	if (armed == STATUS_DONE || armed == STATUS_PART) {
		c->session = run.private.session;
		c->options.session = pp_session_name(c->session);
		status = private_report(&run);
		if (status == STATUS_DONE)
			status = armed;
		c->options.session = NULL;
	}
	private_end(&run.private);
	return status;
}

int main(int argc, char **argv)
{
	static struct stat_command c; /* not freed */
	struct stat_run run = { .c = &c, .status = STATUS_DONE };

	options_parse(&stat_argp, argc, argv, &c.options, &c);
	if (c.arming.argv)
		return private_run_command(&c.options, &c.arming, stat_private, &c);
	signals_catch();
	return ui_finish(&c.options, c.is_private ? stat_private(&c) : stat_run(&run));
}
