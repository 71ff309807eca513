/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <probepoint.h>
#include <signal.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <time.h>
#include <unistd.h>

#include "cmd/arming.h"
#include "cmd/command.h"
#include "cmd/event.h"
#include "cmd/interrupt.h"
#include "cmd/options.h"
#include "cmd/output.h"
#include "cmd/preload.h"

struct trace {
	struct options options;
	struct arming arming;
	char **command_argv;
	const char *directory;
	uint64_t limit; /* records; 0: none */

	struct command command;
	bool targeted; /* with the last of the targets the trace ends */
	int *targets;  /* pidfds */
	size_t ntargets;
	uint64_t records, damaged;
};

enum { TICK_MS = 100, TICKS_A_SECOND = 1000 / TICK_MS, BUFFER = 1 << 16 };

#define SLACK_NS 1000000 /* records of several CPUs come in the order of their times but for this */

static const struct argp_option own[] = {
	{ "output", 'o', "DIR", 0, "write a CTF trace into the new folder DIR instead of printing", 1 },
	{ "count", 'n', "COUNT", 0, "end after so many records", 1 },
	{ 0 },
};

static error_t check(struct argp_state *state, struct trace *t)
{
	struct options *o = &t->options;

	if (state->quoted && !t->command_argv)
		return options_wrong(state, o, "there is no command behind --");
	if (!t->arming.npatterns && (o->npids || o->nfiles || t->command_argv || o->backend))
		return options_wrong(state, o, "which probes? give a PATTERN; '*' is all of them");
	if (t->arming.npatterns && o->session)
		return options_wrong(state, o, "a PATTERN makes a session of its own; -s is for one that is there");
	if (t->arming.npatterns && !t->command_argv && !o->npids && !o->nfiles)
		return options_wrong(state, o, "where? give -p PID, -f FILE or -- COMMAND");
	return 0;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct trace *t = state->input;
	char *end;

	switch (key) {
	case ARGP_KEY_INIT:
		options_children(state, options_arming, &t->options);
		break;
	case 'o':
		if (!*arg)
			return options_wrong(state, &t->options, "-o needs a folder; the name is empty");
		t->directory = arg;
		break;
	case 'n':
		errno = 0;
		t->limit = strtoull(arg, &end, 10);
		if (errno || end == arg || *end || *arg == '-' || !t->limit)
			return options_wrong(state, &t->options, "'%s' is no number of records", arg);
		break;
	case ARGP_KEY_ARG:
		return options_pattern_or_command(state, &t->options, &t->arming.patterns, &t->arming.npatterns, &t->command_argv);
	case ARGP_KEY_END:
		return check(state, t);
	default:
		return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

static const struct argp argp = {
	.options = own,
	.parser = parse,
	.args_doc = "PATTERN... [-- COMMAND...]\n[-s SESSION]",
	.doc = "Show each hit of probes with its arguments, as it happens: those of a session that is there, or of "
	       "PATTERNs that are armed only as long as this runs.",
	.children = options_arming,
};

/* ---- who is traced ---- */

static void add_target(struct trace *t, pid_t pid)
{
	int fd = pidfd_open(pid, 0), *more;

	t->targeted = true;
	if (fd < 0)
		return;
	more = reallocarray(t->targets, t->ntargets + 1, sizeof(*more));
	if (!more)
		no_memory();
	t->targets = more;
	more[t->ntargets++] = fd;
}

/* All that were named have ended. */
static bool targets_gone(struct trace *t)
{
	if (!t->targeted)
		return false;
	for (size_t i = 0; i < t->ntargets; i++) {
		struct pollfd p = { .fd = t->targets[i], .events = POLLIN };

		if (poll(&p, 1, 0) <= 0)
			return false;
		close(t->targets[i]);
		t->targets[i--] = t->targets[--t->ntargets];
	}
	return true;
}

/* ---- reading ---- */

static bool nobody_listens(void)
{
	struct pollfd p = { .fd = STDOUT_FILENO, .events = 0 };

	return poll(&p, 1, 0) > 0 && (p.revents & POLLERR);
}

static int is_name(const char *name, void *arg)
{
	return !strcmp(name, arg);
}

/* A session that somebody has taken down meanwhile. */
static bool session_gone(const struct trace *t)
{
	const char *name = options_session_name(&t->options);

	return !t->arming.npatterns && !pp_sessions(is_name, (void *)name);
}

/* 0, or why not: -EPIPE where nobody listens any more. */
static int one(struct trace *t, struct pp_trace *out, const struct pp_event *event)
{
	if (out)
		return pp_trace_write(out, event);
	(t->options.json ? event_put_json : event_put_text)(stdout, event);
	return __fpending(stdout) > BUFFER / 2 || ferror(stdout) ? flush_results() : 0;
}

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static int read_all(struct trace *t, struct pp_reader *reader, struct pp_trace *out)
{
	const struct pp_event *event;
	uint64_t until = 0; /* 0: not interrupted */
	bool last = false;
	unsigned idle = 0;
	int got, err = 0;

	/* What was hit before an interrupt was recorded for us, and comes out; a second one ends that. */
	while (interrupted < 2 && !(t->limit && t->records >= t->limit)) {
		if (interrupted && !until)
			until = now() + SLACK_NS;
		got = pp_reader_next(reader, 0, &event);
		if (got == 0 && (last || until))
			break;
		if (got == 0) {
			remark_notices(&t->options);
			err = out ? pp_trace_write(out, NULL) : flush_results();
			if (err)
				return err;
			/* what was recorded before they ended is read after it is known that they have */
			last = targets_gone(t) || (++idle % TICKS_A_SECOND == 0 && session_gone(t));
			if (last)
				continue;
			if (!out && nobody_listens())
				return -EPIPE;
			got = pp_reader_next(reader, TICK_MS, &event);
		}
		if (got == -EBADMSG) {
			t->damaged++;
			continue;
		}
		if (got == -EINTR || got == 0)
			continue;
		if (got < 0)
			return got;
		err = one(t, out, event);
		if (err == -EBADMSG)
			t->damaged++;
		else if (err)
			return err;
		else
			t->records++;
		if (until && pp_event_time(event) > until)
			break;
	}
	return out ? 0 : flush_results();
}

static int lost(struct pp_session *session, uint64_t *sum)
{
	struct pp_stat *stat;
	struct pp_counts counts;
	int err = pp_session_stat(session, &stat);

	*sum = 0;
	if (err)
		return err;
	for (size_t i = 0; i < pp_stat_rows(stat); i++) {
		pp_stat_counts(stat, i, &counts);
		*sum += counts.lost;
	}
	pp_stat_free(stat);
	return 0;
}

static void summarise(const struct trace *t, struct pp_session *session, uint64_t lost_before)
{
	uint64_t lost_now;
	char lost_text[48] = "", damaged[48] = "";

	if (!lost(session, &lost_now))
		snprintf(lost_text, sizeof(lost_text), ", %" PRIu64 " lost", lost_now - lost_before);
	if (t->damaged)
		snprintf(damaged, sizeof(damaged), ", %" PRIu64 " damaged", t->damaged);
	remark(&t->options, "%" PRIu64 " recorded%s%s%s%s", t->records, lost_text, damaged, t->directory ? " in " : "",
	       t->directory ? t->directory : "");
}

/* Opens what has to be there before the first record, lets the command go, reads until the end. */
static enum status follow(struct trace *t, struct pp_session *session)
{
	struct options *o = &t->options;
	struct pp_reader *reader = NULL;
	struct pp_trace *out = NULL;
	enum status status = STATUS_FAILED;
	uint64_t lost_before;
	bool began = false;
	int err;

	if (lost(session, &lost_before) || pp_reader_open(session, &reader) ||
	    (t->directory && pp_trace_create(t->directory, session, &out))) {
		complain(o, "%s", pp_error());
		goto out;
	}
	if (t->command_argv) {
		err = command_release(&t->command);
		if (err) {
			complain(o, "cannot run '%s': %s", t->command.path, strerror(-err));
			status = err == -ENOENT ? STATUS_NOT_FOUND : STATUS_NOT_EXECUTABLE;
			goto out;
		}
	}
	began = true;
	remark_verbose(o, "recording");
	err = read_all(t, reader, out);
	if (err && !flush_results())
		complain(o, "%s", pp_error());
	else
		status = STATUS_DONE; /* or finish() tells what is wrong with stdout */
out:
	if (out && pp_trace_close(out) && status == STATUS_DONE) {
		complain(o, "%s", pp_error());
		status = STATUS_FAILED;
	}
	pp_reader_free(reader);
	if (began)
		summarise(t, session, lost_before);
	remark_notices(o);
	return status;
}

static enum status attach(struct trace *t)
{
	struct pp_session *session;
	enum status status;
	int err = pp_session_open(options_session_name(&t->options), false, &session);

	if (err) {
		complain(&t->options, "%s", pp_error());
		return err == -EINVAL ? STATUS_USAGE : STATUS_FAILED;
	}
	status = follow(t, session);
	pp_session_close(session);
	return status;
}

static enum status trace_own(struct trace *t)
{
	struct options *o = &t->options;
	struct pp_session *session = NULL;
	struct pp_request *request;
	enum status status, armed;

	request = arming_request(o, &t->arming, &status);
	if (!request)
		return status;
	/* those that filters take in may outlive the processes named */
	for (size_t i = 0; i < o->npids && !o->children && !o->pgrp && !o->cgroup; i++)
		add_target(t, o->pids[i]);
	if (t->command_argv)
		add_target(t, t->command.pid);
	if (pp_session_private(&session)) {
		complain(o, "%s", pp_error());
		status = STATUS_FAILED;
		goto out;
	}
	pp_session_interrupt(session, &interrupted);
	armed = arming_run(o, &t->arming, session, request, o->verbose && !o->json ? stderr : NULL);
	status = armed;
	if (armed == STATUS_DONE || armed == STATUS_PART) {
		status = follow(t, session);
		if (status == STATUS_DONE)
			status = armed;
	}
out:
	pp_session_close(session);
	pp_request_free(request);
	return status;
}

static int trace_command(struct trace *t)
{
	enum status status;
	char *preload;
	int err;

	if (!preload_list(&t->options, &preload))
		return finish(&t->options, STATUS_NOT_STARTED);
	err = command_start(&t->command, t->command_argv, preload);
	free(preload);
	if (err) {
		complain(&t->options, "cannot run '%s': %s", t->command_argv[0], strerror(-err));
		return finish(&t->options, err == -ENOENT ? STATUS_NOT_FOUND : STATUS_NOT_EXECUTABLE);
	}
	interrupt_catch();
	t->arming.command = &t->command;
	status = trace_own(t);
	finish(&t->options, status);
	if (!t->command.running) {
		command_cancel(&t->command);
		return status == STATUS_NOT_FOUND || status == STATUS_NOT_EXECUTABLE ? status : STATUS_NOT_STARTED;
	}
	/* A second interrupt ends us, and leaves the command alone. */
	interrupt_release();
	return command_wait(&t->command);
}

int main(int argc, char **argv)
{
	static struct trace t; /* lasts as long as the program */

	options_parse(&argp, argc, argv, &t.options, &t);
	setvbuf(stdout, NULL, _IOFBF, BUFFER);
	if (t.command_argv)
		return trace_command(&t);
	interrupt_catch();
	return finish(&t.options, t.arming.npatterns ? trace_own(&t) : attach(&t));
}
