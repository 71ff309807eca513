/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <probepoint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/alloc.h"
#include "cmd/options.h"
#include "cmd/signals.h"
#include "cmd/ui.h"

struct disable {
	struct options options;
	const char **patterns;
	size_t npatterns;
	bool all;
	char **names; /* the sessions */
	size_t n;
	json_object *rows;
	size_t done, failed;
	enum status failure; /* the status if nothing was done */
};

enum { KEY_ALL = 0x200 };

static const struct argp_option disable_options[] = {
	{ "all", KEY_ALL, 0, 0, "disarm all probes of all sessions", 1 },
	{ 0 },
};

static const struct argp_child disable_children[] = {
	{ &options_pid, 0, NULL, 0 },
	{ &options_session, 0, NULL, 0 },
	{ &options_output, 0, NULL, 0 },
	{ 0 },
};

static error_t disable_parse_key(int key, char *arg, struct argp_state *state)
{
	struct disable *d = state->input;

	switch (key) {
	case ARGP_KEY_INIT: options_children(state, disable_children, &d->options); break;
	case KEY_ALL: d->all = true; break;
	case ARGP_KEY_ARG: return options_add_pattern(state, &d->options, &d->patterns, &d->npatterns, arg);
	case ARGP_KEY_END:
		if (d->all && (d->npatterns || d->options.npids || d->options.session))
			return options_usage_error(state, &d->options,
			                           "--all cannot be combined with -p, -s or a PATTERN");
		break;
	default: return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

static const struct argp disable_argp = {
	.options = disable_options,
	.parser = disable_parse_key,
	.args_doc = "[PATTERN...]\n--all",
	.doc = "Disarm the probes of a session that match a PATTERN (default: all of them).",
	.children = disable_children,
};

static bool session_exists(const char *name)
{
	struct pp_session *session;
	int err = pp_session_open(name, false, &session);

	if (!err)
		pp_session_close(session);
	return err != -ENOENT;
}

/* Disarms in one session. *points is how many sites were disarmed, even if that failed for some of the processes. */
static int session_disarm(struct disable *d, const char *name, size_t *points)
{
	struct pp_session *session;
	int err = pp_session_open(name, false, &session);

	*points = 0;
	if (err)
		return err;
	pp_session_interrupt(session, &interrupted);
	if (!d->options.npids)
		err = pp_session_disable(session, 0, d->patterns, d->npatterns, points);
	for (size_t i = 0; i < d->options.npids; i++) {
		size_t n;

		err = pp_session_disable(session, d->options.pids[i], d->patterns, d->npatterns, &n);
		*points += n;
		if (err)
			break;
	}
	pp_session_close(session);
	ui_notices(&d->options);
	return err;
}

static int disable_add_name(const char *name, void *arg)
{
	struct disable *d = arg;

	d->names = xreallocarray(d->names, d->n + 1, sizeof(*d->names));
	d->names[d->n++] = xstrdup(name);
	return 0;
}

static void disable_report(struct disable *d, const char *name, size_t points)
{
	json_object *row = json_new_object();

	json_add_text(row, "session", name);
	json_add_uint(row, "points", points);
	json_append(d->rows, row);
	if (!d->options.json && !d->options.quiet)
		printf("disarmed %zu site%s in session '%s'\n", points, ui_plural(points), name);
	if (d->options.verbose)
		ui_info(&d->options, "session '%s' %s", name,
		        session_exists(name) ? "continues with other probes" : "has ended");
}

static void disable_session(struct disable *d, const char *name)
{
	size_t points;
	int err = session_disarm(d, name, &points);

	if (err) {
		ui_error(&d->options, "%s", pp_error());
		d->failed++;
		if (err == -EINVAL && !d->all)
			d->failure = STATUS_USAGE;
	}
	if (err && !points)
		return;
	d->done++;
	disable_report(d, name, points);
}

static enum status disable_run(struct disable *d)
{
	if (!d->all) {
		disable_add_name(options_session_name(&d->options), d);
	} else if (pp_sessions(disable_add_name, d)) {
		ui_error(&d->options, "%s", pp_error());
		d->failed++;
	}
	for (size_t i = 0; i < d->n && !interrupted; i++)
		disable_session(d, d->names[i]);
	if (d->all && !d->n && !d->failed)
		ui_info(&d->options, "no sessions, so nothing is armed");
	if (interrupted) {
		ui_error(&d->options, "interrupted");
		d->failed++;
	}
	if (!d->failed)
		return STATUS_DONE;
	return d->done ? STATUS_PART : d->failure;
}

int main(int argc, char **argv)
{
	static struct disable d = { .failure = STATUS_FAILED }; /* not freed */
	enum status status;

	options_parse(&disable_argp, argc, argv, &d.options, &d);
	signals_catch();
	d.rows = json_new_array();
	status = disable_run(&d);
	if (d.options.json && (d.done || status == STATUS_DONE)) {
		json_object *document = json_new_object();

		json_add(document, "disarmed", d.rows);
		ui_print_document(&d.options, stdout, document);
	}
	return ui_finish(&d.options, status);
}
