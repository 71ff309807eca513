/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <probepoint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "cmd/alloc.h"
#include "cmd/options.h"
#include "cmd/signals.h"
#include "cmd/stat-json.h"
#include "cmd/stat-reading.h"
#include "cmd/stat-table.h"
#include "cmd/ui.h"

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
		reading_print_json(&c->options, &shown);
	} else {
		reading_print_table(stdout, &c->options, &shown, c->interval > 0);
		if (!first)
			shown.hidden = 0; /* reported once */
		reading_report(&c->options, reading, &shown);
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
