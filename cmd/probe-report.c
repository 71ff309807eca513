/* SPDX-License-Identifier: MIT */
/*
 * Reports what is in a trace. report/model.h lists the parts. All outputs of one command line are made while the trace is read
 * once, or twice.
 */
#include <argp.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/alloc.h"
#include "cmd/options.h"
#include "cmd/report/folded.h"
#include "cmd/report/html.h"
#include "cmd/report/perfetto.h"
#include "cmd/report/progress.h"
#include "cmd/report/report-json.h"
#include "cmd/report/run.h"
#include "cmd/report/stats.h"
#include "cmd/report/text.h"
#include "cmd/signals.h"
#include "cmd/ui.h"

struct report_command {
	struct options options;
	const char *directory;
	const char *perfetto_path; /* NULL: not given */
	const char *html_path;     /* NULL: not given */
	bool is_folded;
	struct text_style style;

	struct input input;
	struct report_consumer consumers[5];
	struct run run;
	struct stats stats;
	struct folded folded;
	struct perfetto perfetto;
	struct html html;
};

enum { KEY_BY = 0x200, KEY_HISTOGRAMS, KEY_PERFETTO, KEY_FOLDED, KEY_HTML, ROWS_DEFAULT = 20 };

static const struct argp_option report_options[] = {
	{ "by", KEY_BY, "WHAT", 0, "print the durations of calls by probe (default), thread or process", 1 },
	{ "histograms", KEY_HISTOGRAMS, 0, 0, "print the histogram of each row's durations", 1 },
	{ "perfetto", KEY_PERFETTO, "FILE", 0,
	  "write the trace to FILE in Chrome's JSON format, for ui.perfetto.dev and chrome://tracing", 1 },
	{ "folded", KEY_FOLDED, 0, 0,
	  "print call stacks and the ns spent in each, for flame graphs, instead of the report", 1 },
	{ "html", KEY_HTML, "FILE", 0, "write the report to FILE as a page for a browser, which needs no network", 1 },
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

static error_t report_check(struct argp_state *state, struct report_command *r)
{
	bool to_stdout = r->perfetto_path && !strcmp(r->perfetto_path, "-");

	if (r->options.json && r->is_folded)
		return options_usage_error(state, &r->options, "--folded cannot be combined with --json");
	if (r->is_folded && to_stdout)
		return options_usage_error(state, &r->options, "--folded cannot be combined with --perfetto=-");
	if (r->options.json && to_stdout)
		return options_usage_error(state, &r->options, "--json cannot be combined with --perfetto=-");
	if (r->html_path && !strcmp(r->html_path, "-"))
		return options_usage_error(state, &r->options, "--html needs the name of a file, not '-'");
	return 0;
}

static error_t report_parse_key(int key, char *arg, struct argp_state *state)
{
	struct report_command *r = state->input;

	switch (key) {
	case ARGP_KEY_INIT: options_children(state, report_children, &r->options); break;
	case KEY_BY: return report_parse_by(state, r, arg);
	case KEY_PERFETTO: r->perfetto_path = arg; break;
	case KEY_FOLDED: r->is_folded = true; break;
	case KEY_HTML: r->html_path = arg; break;
	case KEY_HISTOGRAMS: r->style.histograms = true; break;
	case 'n': return report_parse_rows(state, r, arg);
	case ARGP_KEY_ARG:
		if (r->directory)
			return options_usage_error(state, &r->options, "more than one DIR: '%s'", arg);
		r->directory = arg;
		break;
	case ARGP_KEY_END: return report_check(state, r);
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

/* Prepares the outputs. Returns the exit status. */
static enum status report_open(struct report_command *r)
{
	struct run *run = &r->run;
	int err;

	run->consumers = r->consumers;
	stats_init(&r->stats, run->names);
	r->consumers[run->nconsumers++] = stats_consumer(&r->stats);
	if (r->is_folded || r->html_path) {
		run->paths = paths_new();
		r->consumers[run->nconsumers++] = folded_consumer(&r->folded);
	}
	if (r->html_path) {
		err = html_open(&r->html, r->html_path);
		if (err) {
			ui_error(&r->options, "cannot create '%s': %s", r->html_path, strerror(-err));
			return STATUS_FAILED;
		}
		r->consumers[run->nconsumers++] = html_consumer(&r->html);
	}
	if (!r->perfetto_path)
		return STATUS_DONE;
	err = perfetto_open(&r->perfetto, r->perfetto_path, run);
	if (err) {
		ui_error(&r->options, "cannot create '%s': %s", r->perfetto_path, strerror(-err));
		return STATUS_FAILED;
	}
	r->consumers[run->nconsumers++] = perfetto_consumer(&r->perfetto);
	run->is_careful = !r->perfetto.is_seekable;
	run->needs_earliest = true;
	return STATUS_DONE;
}

static void report_print_json(struct report_command *r)
{
	putchar('{');
	report_json_print_members(stdout, &r->run, &r->stats, json_print);
	ui_print_error_key(&r->options, stdout);
	puts("}");
}

/* Prints what was read. Returns the exit status. */
static enum status report_print(struct report_command *r)
{
	int err = 0, html_err = 0;

	stats_finish(&r->stats);
	if (r->perfetto.file)
		err = perfetto_close(&r->perfetto, &r->run, &r->stats);
	if (err)
		ui_error(&r->options, "cannot write '%s': %s", r->perfetto_path, strerror(-err));
	if (r->html.file)
		html_err = html_close(&r->html, &r->run, &r->stats, &r->folded);
	if (html_err)
		ui_error(&r->options, "cannot write '%s': %s", r->html_path, strerror(-html_err));
	if (r->run.interrupted)
		ui_error(&r->options, "interrupted: the report is of the first %" PRIu64 " records", r->run.records);
	if (r->is_folded)
		folded_print(stdout, &r->folded, &r->run);
	else if (r->options.json)
		report_print_json(r);
	else if (r->perfetto.file != stdout || !r->perfetto.file)
		text_print(stdout, &r->run, &r->stats, &r->style);
	return err || html_err ? STATUS_FAILED : r->run.interrupted ? STATUS_PART : STATUS_DONE;
}

/* Says on standard error what the other outputs do not show. */
static void report_losses(const struct report_command *r)
{
	const struct stats *stats = &r->stats;

	if (r->options.json || (!r->is_folded && r->perfetto.file != stdout))
		return;
	if (stats->lost || stats->is_lost_unknown)
		ui_info(&r->options, "%" PRIu64 " records were lost%s", stats->lost,
		        stats->is_lost_unknown ? ", and more, whose number is unknown" : "");
	for (size_t i = 0; i < r->input.nnotices; i++)
		ui_info(&r->options, "%s", r->input.notices[i]);
}

static enum status report_run(struct report_command *r)
{
	enum status status = STATUS_DONE, printed;

	if (input_find(&r->input, r->directory)) {
		ui_error(&r->options, "%s", r->input.error);
		return STATUS_FAILED;
	}
	status = report_open(r);
	if (status)
		return status;
	if (!r->options.quiet)
		r->run.progress = progress_show;
	if (run_read(&r->run)) {
		ui_error(&r->options, "%s", r->run.error);
		status = r->run.opened ? STATUS_PART : STATUS_FAILED;
	} else if (r->input.nnotices) {
		status = STATUS_PART;
	}
	progress_end();
	if (r->run.is_second)
		ui_verbose(
			&r->options,
			"the trace was read a second time, because some calls are uncertain or began before the first "
			"record, or because the output is a pipe");
	if (!r->run.opened)
		return status;
	report_losses(r);
	printed = report_print(r);
	return status == STATUS_DONE || printed == STATUS_FAILED ? printed : status;
}

int main(int argc, char **argv)
{
	static struct report_command r = { .style.rows = ROWS_DEFAULT };
	enum status status;

	options_parse(&report_argp, argc, argv, &r.options, &r);
	signals_catch();
	r.run.input = &r.input;
	r.run.names = names_new();
	status = report_run(&r);
	stats_release(&r.stats);
	folded_release(&r.folded);
	html_release(&r.html);
	paths_free(r.run.paths);
	free(r.run.error);
	input_release(&r.input);
	names_free(r.run.names);
	return ui_finish(&r.options, status);
}
