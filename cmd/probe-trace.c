/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <probepoint.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <time.h>
#include <unistd.h>

#include "cmd/arming.h"
#include "cmd/child.h"
#include "cmd/signals.h"
#include "cmd/options.h"
#include "cmd/ui.h"
#include "cmd/agent-preload.h"
#include "cmd/sink.h"

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
	struct sink sink;
	uint64_t records; /* that were read */
	uint64_t damaged; /* of the lost ones */
	size_t stopped;   /* sites of the session that are over the budget, of which the user knows */
	bool limited;     /* it ended with --count: what the session recorded after that was not asked for */
};

enum { TICK_MS = 100, TICKS_A_SECOND = 1000 / TICK_MS };

/* A hit that is being recorded when recording ends is waited for, so many times for so long. */
enum { LATE_TIMES = 50, LATE_NS = 2000000 };

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
	return options_check_arming(state, o, t->arming.patterns, t->arming.npatterns, t->command_argv);
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct trace *t = state->input;
	char *end;

	switch (key) {
	case ARGP_KEY_INIT: options_children(state, options_arming, &t->options); break;
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
		return options_pattern_or_command(state, &t->options, &t->arming.patterns, &t->arming.npatterns,
		                                  &t->command_argv);
	case ARGP_KEY_END: return check(state, t);
	default: return ARGP_ERR_UNKNOWN;
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

/* Takes the record into the trace or the output. -EPIPE: nobody reads that any more. */
static int one(struct trace *t, struct pp_reader *reader, struct pp_trace *out, const struct pp_event *event)
{
	struct pp_mark mark;
	int err;

	t->records++;
	if (!out)
		return sink_put(&t->sink, reader, event, t->options.json);
	err = pp_trace_write(out, event);
	if (err != -EBADMSG)
		return err;
	pp_event_mark(event, &mark);
	pp_reader_lose(reader, &mark);
	return 0;
}

static int flush(struct trace *t, struct pp_reader *reader, struct pp_trace *out)
{
	return out ? pp_trace_write(out, NULL) : sink_flush(&t->sink, reader);
}

static bool is_complete(struct trace *t)
{
	t->limited = t->limit && t->records >= t->limit;
	return t->limited;
}

/* Says which part of an existing session gives no records any more. */
static void tell_stopped(struct trace *t, struct pp_session *session)
{
	struct pp_stat *stat;
	size_t stopped = 0;

	if (t->arming.npatterns || pp_session_stat(session, &stat))
		return;
	for (size_t i = 0; i < pp_stat_rows(stat); i++)
		stopped += pp_stat_over_budget(stat, i);
	pp_stat_free(stat);
	if (stopped > t->stopped)
		remark(&t->options,
		       "%zu site%s of session '%s' %s disarmed over the budget, and no more records come from %s: "
		       "probe-stat -s %s says which",
		       stopped, plural(stopped), pp_session_name(session), stopped == 1 ? "is" : "are",
		       stopped == 1 ? "it" : "them", pp_session_name(session));
	t->stopped = stopped;
}

/* Reads while there are hits to come. */
static int read_on(struct trace *t, struct pp_session *session, struct pp_reader *reader, struct pp_trace *out)
{
	const struct pp_event *event;
	unsigned idle = 0;
	int got, err;

	while (!interrupted && !is_complete(t)) {
		got = pp_reader_next(reader, 0, &event);
		if (got == 0) {
			remark_notices(&t->options);
			err = flush(t, reader, out);
			if (err)
				return err;
			if (targets_gone(t) || (++idle % TICKS_A_SECOND == 0 && session_gone(t)))
				return 0;
			if (idle % TICKS_A_SECOND == 0)
				tell_stopped(t, session);
			if (!out && nobody_listens())
				return 0; /* writing the rest says so */
			got = pp_reader_next(reader, TICK_MS, &event);
		}
		if (got == -EBADMSG || got == -EINTR || got == 0) /* the reader counts what is damaged */
			continue;
		if (got < 0)
			return got;
		err = one(t, reader, out, event);
		if (err)
			return err;
	}
	return 0;
}

/* Reads what was recorded until recording was ended. A second interrupt ends that, too. */
static int read_rest(struct trace *t, struct pp_reader *reader, struct pp_trace *out)
{
	struct pp_reader_counts counts;
	const struct pp_event *event;
	int got, err;

	for (int late = 0; interrupted < 2 && !is_complete(t);) {
		got = pp_reader_next(reader, 0, &event);
		if (got == -EBADMSG || got == -EINTR)
			continue;
		if (got < 0)
			return got;
		if (got) {
			err = one(t, reader, out, event);
			if (err)
				return err;
			continue;
		}
		pp_reader_counts(reader, &counts, sizeof(counts));
		if (late++ == LATE_TIMES || (late > 1 && t->records + counts.damaged >= counts.recorded))
			break;
		nanosleep(&(struct timespec){ .tv_nsec = LATE_NS }, NULL);
	}
	return flush(t, reader, out);
}

static int read_all(struct trace *t, struct pp_session *session, struct pp_reader *reader, struct pp_trace *out)
{
	int err = read_on(t, session, reader, out);

	pp_reader_stop(reader);
	return err ? err : read_rest(t, reader, out);
}

/* What is recorded is written; every other record is lost. Of a session that goes on, unread ones are the next reader's. */
static void account(struct trace *t, struct pp_reader *reader, struct pp_trace *out)
{
	struct options *o = &t->options;
	struct pp_reader_counts counts;
	uint64_t all;

	if (!out)
		sink_flush(&t->sink, reader); /* of an error what is left is lost */
	/* Of our own session nobody asked for more than --count. */
	if (!t->limited || !t->arming.npatterns)
		pp_reader_drop(reader);
	pp_reader_counts(reader, &counts, sizeof(counts));
	o->recorded = out ? pp_trace_events(out) : t->sink.written;
	o->lost = counts.lost;
	t->damaged = counts.damaged;
	/* Nobody else reads or has read our own session, so that its counters tell exactly. */
	all = counts.recorded + counts.lost - counts.damaged;
	if (t->arming.npatterns && !t->limited && all > o->recorded + o->lost)
		o->lost = all - o->recorded;
	o->has_counts = true;
}

static void summarise(const struct trace *t)
{
	const struct options *o = &t->options;
	char damaged[64] = "";

	if (t->damaged)
		snprintf(damaged, sizeof(damaged), " (%" PRIu64 " of them damaged)", t->damaged);
	remark(o, "%" PRIu64 " recorded, %" PRIu64 " lost%s%s%s", o->recorded, o->lost, damaged,
	       t->directory ? " in " : "", t->directory ? t->directory : "");
}

/* Of a session that goes on, probe-stat says so. */
static void tell_uncounted(const struct trace *t, struct pp_session *session)
{
	struct pp_stat *stat;
	size_t n;

	if (!t->arming.npatterns || pp_session_stat(session, &stat))
		return;
	n = pp_stat_uncounted(stat);
	pp_stat_free(stat);
	if (n)
		remark(&t->options, "%zu process%s ended uncounted, before what %s recorded could be read", n,
		       n == 1 ? "" : "es", n == 1 ? "it" : "they");
}

/* Opens what has to be there before the first record, lets the command go, reads until the end. */
static enum status follow(struct trace *t, struct pp_session *session)
{
	struct options *o = &t->options;
	struct pp_reader *reader = NULL;
	struct pp_trace *out = NULL;
	enum status status = STATUS_FAILED;
	bool began = false;
	int err;

	if (pp_reader_open(session, &reader) || (t->directory && pp_trace_create(t->directory, session, &out))) {
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
	tell_stopped(t, session);
	err = read_all(t, session, reader, out);
	if (err && !flush_results())
		complain(o, "%s", pp_error());
	else
		status = STATUS_DONE; /* or finish() tells what is wrong with stdout */
	account(t, reader, out);
	if (out)
		pp_trace_lost(out, o->lost);
	tell_stopped(t, session);
	tell_uncounted(t, session);
out:
	if (out && pp_trace_close(out) && status == STATUS_DONE) {
		complain(o, "%s", pp_error());
		status = STATUS_FAILED;
	}
	pp_reader_free(reader);
	sink_free(&t->sink);
	if (began)
		summarise(t);
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
	int err, of_command;

	if (!preload_list(&t->options, t->command_argv[0], &preload))
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
	status = finish(&t->options, status);
	if (!t->command.running) {
		command_cancel(&t->command);
		return status == STATUS_NOT_FOUND || status == STATUS_NOT_EXECUTABLE ? status : STATUS_NOT_STARTED;
	}
	/* A second interrupt ends us, and leaves the command alone. */
	interrupt_release();
	of_command = command_wait(&t->command);
	/* A trace that is not whole is no success, whatever the command says of itself. */
	return of_command || status != STATUS_FAILED ? of_command : STATUS_FAILED;
}

int main(int argc, char **argv)
{
	static struct trace t; /* lasts as long as the program */

	options_parse(&argp, argc, argv, &t.options, &t);
	if (t.command_argv)
		return trace_command(&t);
	interrupt_catch();
	return finish(&t.options, t.arming.npatterns ? trace_own(&t) : attach(&t));
}
