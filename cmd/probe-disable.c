/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <probepoint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/signals.h"
#include "cmd/options.h"
#include "cmd/ui.h"
#include "cmd/escape.h"

struct disable {
	struct options options;
	const char **patterns;
	size_t npatterns;
	bool all;
	char **names; /* the sessions concerned */
	size_t n;
};

enum { KEY_ALL = 0x200 };

static const struct argp_option own[] = {
	{ "all", KEY_ALL, 0, 0, "everything, in all sessions", 1 },
	{ 0 },
};

static const struct argp_child children[] = {
	{ &options_pid, 0, NULL, 0 },
	{ &options_session, 0, NULL, 0 },
	{ &options_output, 0, NULL, 0 },
	{ 0 },
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct disable *d = state->input;

	switch (key) {
	case ARGP_KEY_INIT: options_children(state, children, &d->options); break;
	case KEY_ALL: d->all = true; break;
	case ARGP_KEY_ARG: return options_pattern(state, &d->options, &d->patterns, &d->npatterns, arg);
	case ARGP_KEY_END:
		if (d->all && (d->npatterns || d->options.npids || d->options.session))
			return options_wrong(state, &d->options, "--all takes no session, process or pattern");
		break;
	default: return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

static const struct argp argp = {
	.options = own,
	.parser = parse,
	.args_doc = "[PATTERN...]\n--all",
	.doc = "Disarm probes of a session: those that match a PATTERN, or all of them.",
	.children = children,
};

static bool is_there(const char *name)
{
	struct pp_session *session;
	int err = pp_session_open(name, false, &session);

	if (!err)
		pp_session_close(session);
	return err != -ENOENT;
}

static int disarm(struct disable *d, const char *name, size_t *points)
{
	struct pp_session *session;
	int err = pp_session_open(name, false, &session);
	size_t n;

	*points = 0;
	if (err)
		return err;
	if (!d->options.npids)
		err = pp_session_disable(session, 0, d->patterns, d->npatterns, points);
	for (size_t i = 0; !err && i < d->options.npids; i++) {
		err = pp_session_disable(session, d->options.pids[i], d->patterns, d->npatterns, &n);
		if (!err)
			*points += n;
	}
	pp_session_close(session);
	remark_notices(&d->options);
	return err;
}

static int add_name(const char *name, void *arg)
{
	struct disable *d = arg;
	char **more = reallocarray(d->names, d->n + 1, sizeof(*more));

	if (!more || !(more[d->n] = strdup(name)))
		no_memory();
	d->names = more;
	d->n++;
	return 0;
}

static enum status disable(struct disable *d, json_object *rows)
{
	size_t points, done = 0, failed = 0;
	enum status status = STATUS_FAILED;
	int err;

	if (!d->all)
		add_name(options_session_name(&d->options), d);
	else if (pp_sessions(add_name, d))
		complain(&d->options, "%s", pp_error()), failed++;
	for (size_t i = 0; i < d->n && !interrupted; i++) {
		err = disarm(d, d->names[i], &points);
		if (err) {
			complain(&d->options, "%s", pp_error());
			failed++;
			if (err == -EINVAL && !d->all)
				status = STATUS_USAGE;
		}
		if (err && !points)
			continue;
		done++;
		json_object_array_add(rows, json_of("session", text_json(d->names[i]), "points",
		                                    json_object_new_uint64(points), NULL));
		if (!d->options.json && !d->options.quiet)
			printf("disarmed %zu site%s in session '%s'\n", points, plural(points), d->names[i]);
		if (d->options.verbose)
			remark(&d->options, "session '%s' %s", d->names[i],
			       is_there(d->names[i]) ? "goes on with other probes" : "has ended");
	}
	if (d->all && !d->n && !failed)
		remark(&d->options, "there is no session, so nothing was armed");
	if (interrupted)
		complain(&d->options, "interrupted"), failed++;
	if (!failed)
		return STATUS_DONE;
	return done ? STATUS_PART : status;
}

int main(int argc, char **argv)
{
	static struct disable d; /* lasts as long as the program */
	json_object *rows = json_object_new_array(), *document;
	enum status status;

	options_parse(&argp, argc, argv, &d.options, &d);
	interrupt_catch();
	status = disable(&d, rows);
	if (d.options.json && json_object_array_length(rows) + (status == STATUS_DONE)) {
		document = json_of("disarmed", rows, NULL);
		if (d.options.complaint)
			json_object_object_add(document, "error", complaint_take(&d.options));
		text_put_json(stdout, document);
		putchar('\n');
	} else {
		json_object_put(rows);
	}
	return finish(&d.options, status);
}
