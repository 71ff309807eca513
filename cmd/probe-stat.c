/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <probepoint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cmd/aggregates.h"
#include "cmd/alloc.h"
#include "cmd/options.h"
#include "cmd/screen.h"
#include "cmd/signals.h"
#include "cmd/stat-json.h"
#include "cmd/stat-live.h"
#include "cmd/stat-reading.h"
#include "cmd/stat-table.h"
#include "cmd/ui.h"

/* ---- the command line ---- */

enum { KEY_TOP = 0x200, KEY_SORT, KEY_PLAIN };

static const struct argp_option stat_options[] = {
	{ "interval", 'i', "SECONDS", 0, "report every SECONDS (may be a fraction), with hits per second", 1 },
	{ "times", 'n', "TIMES", 0, "stop after TIMES reports (interval 1 s unless -i is given)", 1 },
	{ "top", KEY_TOP, "N", 0, "show only the first N probes (by hits: the busiest)", 1 },
	{ "sort", KEY_SORT, "ORDER", 0, "order by hits, rate, lost or name (default hits)", 1 },
	{ "plain", KEY_PLAIN, 0, 0, "print each report below the last one, also on a terminal", 1 },
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

static error_t stat_parse_order(struct argp_state *state, struct stat_command *c, const char *text)
{
	static const char *const names[] = { "hits", "rate", "lost", "name" };

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (!strcmp(text, names[i])) {
			c->order = (enum stat_order)i;
			c->ordered = true;
			return 0;
		}
	return options_usage_error(state, &c->options, "--sort: unknown order '%s'; give hits, rate, lost or name",
	                           text);
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
	case KEY_SORT: return stat_parse_order(state, c, arg);
	case KEY_PLAIN: c->plain = true; break;
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

/* ---- one report ---- */

/* Prints one report. first: it is the first one. */
static enum status reading_show(struct stat_command *c, struct reading *reading, bool first)
{
	bool *matched = xcalloc(c->npatterns, sizeof(*matched));
	struct reading shown;
	enum status status;

	reading_select(c, reading, &shown, matched);
	status = reading_report_missing(c, &shown, matched);
	if (c->options.json) {
		reading_print_json(&c->options, &shown, c->top);
	} else {
		reading_print_table(stdout, &c->options, &shown,
		                    &(struct table_view){ .rates = c->interval > 0, .n = shown.n });
		aggregates_print(shown.aggregates, c->top);
		if (!first)
			shown.hidden = 0; /* reported once */
		reading_report(&c->options, reading, &shown);
	}
	free(matched);
	free(shown.rows);
	return status;
}

/* ---- running ---- */

struct stat_run {
	struct stat_command *c;
	bool is_live;
	struct live live;
	struct reading now, before;
	struct timespec next; /* when the next report is due */
	enum status status;
};

/* Waits until the next report is due. Returns false if there is none. */
static bool run_pause(struct stat_run *run)
{
	struct timespec *next = &run->next;
	double interval = run->c->interval;

	next->tv_sec += (time_t)interval;
	next->tv_nsec += (interval - (time_t)interval) * 1e9;
	if (next->tv_nsec >= 1000000000) {
		next->tv_nsec -= 1000000000;
		next->tv_sec++;
	}
	if (run->is_live)
		return live_wait(&run->live, &run->before, next);
	while (!interrupted && clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, next, NULL) == EINTR)
		;
	return !interrupted;
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
	int err = run->is_live ? live_take(&run->live, &run->now) : reading_take(&run->now, &c->options);

	if (err) {
		run_report_failure(run, err, !i);
		return false;
	}
	reading_set_rates(&run->now, &run->before, run->is_live);
	if (run->is_live) {
		err = live_draw(&run->live, &run->now, &run->status);
	} else {
		if (i && !c->options.json)
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
	reading_print_table(out, &c->options, &shown, &(struct table_view){ .rates = true, .n = shown.n });
	xmemstream_close(out);
	if (!ui_write(text, size, &done)) {
		run->status = reading_report_missing(c, &shown, matched);
		reading_report(&c->options, &run->before, &shown);
	}
	free(text);
	free(shown.rows);
	free(matched);
}

static enum status stat_run(struct stat_command *c)
{
	struct stat_run run = { .c = c, .status = STATUS_DONE };

	run.is_live = c->interval > 0 && !c->options.json && !c->plain && screen_is_possible();
	clock_gettime(CLOCK_MONOTONIC, &run.next);
	for (uint64_t i = 0; !interrupted && (!c->times || i < c->times); i++) {
		if (i && !run_pause(&run))
			break;
		if (!i && run.is_live)
			live_open(&run.live, c);
		if (!run_report(&run, i))
			break;
	}
	live_close(&run.live);
	if (run.is_live && run.before.stat)
		run_leave_live(&run);
	reading_free(&run.before);
	reading_free(&run.now);
	return run.status;
}

int main(int argc, char **argv)
{
	static struct stat_command c; /* not freed */

	options_parse(&stat_argp, argc, argv, &c.options, &c);
	signals_catch();
	return ui_finish(&c.options, stat_run(&c));
}
