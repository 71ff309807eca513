/* SPDX-License-Identifier: MIT */
/*
 * Reports what is in a trace. report/model.h lists the parts. All outputs of one command line are made while the trace is read
 * once, or twice.
 */
#include <argp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/alloc.h"
#include "cmd/options.h"
#include "cmd/report/run.h"
#include "cmd/report/stats.h"
#include "cmd/report/text.h"
#include "cmd/signals.h"
#include "cmd/ui.h"

struct report_command {
	struct options options;
	const char *directory;
	struct text_style style;
};

enum { KEY_BY = 0x200, KEY_HISTOGRAMS, ROWS_DEFAULT = 20, CONSUMERS_MOST = 8 };

static const struct argp_option report_options[] = {
	{ "by", KEY_BY, "WHAT", 0, "print the durations of calls by probe (default), thread or process", 1 },
	{ "histograms", KEY_HISTOGRAMS, 0, 0, "print the histogram of each row's durations", 1 },
	{ "rows", 'n', "N", 0, "print at most N rows of each table, 0 for all (default 20)", 1 },
	{ 0 },
};

static const struct argp_child report_children[] = {
	{ &options_output, 0, NULL, 0 },
	{ 0 },
};

static error_t report_parse_by(struct argp_state *state, struct report_command *r, const char *text)
{
	static const char *const words[] = { [BY_PROBE] = "probe", [BY_THREAD] = "thread", [BY_PROCESS] = "process" };

	for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++)
		if (!strcmp(text, words[i])) {
			r->style.by = (enum report_by)i;
			return 0;
		}
	return options_usage_error(state, &r->options, "--by: unknown word '%s'; give probe, thread or process", text);
}

static error_t report_parse_rows(struct argp_state *state, struct report_command *r, const char *text)
{
	uint64_t rows = 0;
	error_t err = strcmp(text, "0") ? options_parse_number(state, &r->options, "--rows", text, SIZE_MAX, &rows) : 0;

	r->style.rows = (size_t)rows;
	return err;
}

static error_t report_parse_key(int key, char *arg, struct argp_state *state)
{
	struct report_command *r = state->input;

	switch (key) {
	case ARGP_KEY_INIT: options_children(state, report_children, &r->options); break;
	case KEY_BY: return report_parse_by(state, r, arg);
	case KEY_HISTOGRAMS: r->style.histograms = true; break;
	case 'n': return report_parse_rows(state, r, arg);
	case ARGP_KEY_ARG:
		if (r->directory)
			return options_usage_error(state, &r->options, "more than one DIR: '%s'", arg);
		r->directory = arg;
		break;
	case ARGP_KEY_NO_ARGS: return options_usage_error(state, &r->options, "no DIR is given");
	default: return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

static const struct argp report_argp = {
	.options = report_options,
	.parser = report_parse_key,
	.args_doc = "DIR",
	.doc = "Report what is in the traces below DIR, which probe-trace -o has written: rates, values, and the durations of "
	       "calls.",
	.children = report_children,
};

int main(int argc, char **argv)
{
	static struct report_command r = { .style.rows = ROWS_DEFAULT };
	struct report_consumer consumers[CONSUMERS_MOST];
	struct input input = { 0 };
	struct report_names *names = names_new();
	struct stats stats;
	struct run run = { .input = &input, .names = names, .consumers = consumers };
	enum status status = STATUS_DONE;

	options_parse(&report_argp, argc, argv, &r.options, &r);
	signals_catch();
	stats_init(&stats, names);
	consumers[run.nconsumers++] = stats_consumer(&stats);
	if (input_find(&input, r.directory)) {
		ui_error(&r.options, "%s", input.error);
		status = STATUS_FAILED;
	} else if (run_read(&run)) {
		ui_error(&r.options, "%s", run.error);
		status = run.opened ? STATUS_PART : STATUS_FAILED;
	}
	if (run.opened) {
		stats_finish(&stats);
		text_print(stdout, &run, &stats, &r.style);
	}
	stats_release(&stats);
	free(run.error);
	input_release(&input);
	names_free(names);
	return ui_finish(&r.options, status);
}
