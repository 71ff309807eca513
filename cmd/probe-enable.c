/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <probepoint.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/arming.h"
#include "cmd/command.h"
#include "cmd/interrupt.h"
#include "cmd/options.h"
#include "cmd/output.h"
#include "cmd/preload.h"

struct enable {
	struct options options;
	struct arming arming;
	char **command;
	bool inject;
};

enum { KEY_RECORD = 0x200, KEY_INJECT };

static const struct argp_option own[] = {
	{ "record", KEY_RECORD, 0, 0, "record from the start, reader or not: a flight recorder", 1 },
	{ "inject", KEY_INJECT, 0, 0, "load the agent into the processes of -p first", 1 },
	{ 0 },
};

static const struct argp_child children[] = {
	{ &options_pid, 0, NULL, 0 },
	{ &options_file, 0, NULL, 0 },
	{ &options_filter, 0, NULL, 0 },
	{ &options_session, 0, NULL, 0 },
	{ &options_backend, 0, NULL, 0 },
	{ &options_output, 0, NULL, 0 },
	{ 0 },
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct enable *e = state->input;

	switch (key) {
	case ARGP_KEY_INIT:
		options_children(state, children, &e->options);
		break;
	case KEY_RECORD:
		e->arming.record = true;
		break;
	case KEY_INJECT:
		e->inject = true;
		break;
	case ARGP_KEY_ARG:
		if (!state->quoted)
			return options_pattern(state, &e->options, &e->arming.patterns, &e->arming.npatterns, arg);
		e->command = state->argv + state->next - 1;
		state->next = state->argc;
		break;
	case ARGP_KEY_END:
		if (!e->arming.npatterns)
			return options_wrong(state, &e->options, "which probes? give a PATTERN; '*' is all of them");
		if (state->quoted && !e->command)
			return options_wrong(state, &e->options, "there is no command behind --");
		if (!e->command && !e->options.npids && !e->options.nfiles)
			return options_wrong(state, &e->options, "where? give -p PID, -f FILE or -- COMMAND");
		if (e->inject && !e->options.npids)
			return options_wrong(state, &e->options, "--inject needs -p PID");
		if (e->inject && e->options.backend && !strcmp(e->options.backend, "kernel"))
			return options_wrong(state, &e->options, "--inject is for -b agent");
		break;
	default:
		return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

static const struct argp argp = {
	.options = own,
	.parser = parse,
	.args_doc = "PATTERN... [-- COMMAND...]",
	.doc = "Arm probes and keep them armed, in a session that outlives this command.\v"
	       "A PATTERN is PROVIDER:NAME, both globs, or func:SYMBOL, the entry of a function.",
	.children = children,
};

static enum status enable(struct enable *e)
{
	struct options *o = &e->options;
	struct pp_session *session = NULL;
	struct pp_request *request;
	enum status status;
	int err;

	request = arming_request(o, &e->arming, &status);
	if (!request)
		return status;
	err = pp_session_open(options_session_name(o), true, &session);
	if (err) {
		complain(o, "%s", pp_error());
		status = err == -EINVAL ? STATUS_USAGE : STATUS_FAILED;
	} else {
		pp_session_interrupt(session, &interrupted);
		/* stdout is the command's */
		status = arming_run(o, &e->arming, session, request,
		                    e->arming.command && !o->json ? stderr : stdout);
	}
	pp_session_close(session);
	pp_request_free(request);
	return status;
}

/* What was armed for a command that could not become one. */
static void take_back(struct enable *e, pid_t pid)
{
	struct pp_session *session;
	size_t points;

	if (pp_session_open(options_session_name(&e->options), false, &session))
		return;
	pp_session_disable(session, pid, NULL, 0, &points);
	pp_session_close(session);
}

static int cannot_run(struct options *o, const char *name, int err)
{
	complain(o, "cannot run '%s': %s", name, strerror(-err));
	return finish(o, err == -ENOENT ? STATUS_NOT_FOUND : STATUS_NOT_EXECUTABLE);
}

static int enable_command(struct enable *e)
{
	static struct command command;
	enum status status;
	char *preload;
	int err;

	if (!preload_list(&e->options, &preload))
		return finish(&e->options, STATUS_NOT_STARTED);
	err = command_start(&command, e->command, preload);
	free(preload);
	if (err)
		return cannot_run(&e->options, e->command[0], err);
	interrupt_catch();
	e->arming.command = &command;
	status = enable(e);
	if (status == STATUS_DONE || status == STATUS_PART) {
		if (interrupted) {
			take_back(e, command.pid);
			complain(&e->options, "interrupted: the command was not started");
			status = STATUS_FAILED;
		} else {
			finish(&e->options, status);
		}
	}
	if (status != STATUS_DONE && status != STATUS_PART) {
		command_cancel(&command);
		return finish(&e->options, status == STATUS_USAGE ? status : STATUS_NOT_STARTED);
	}
	err = command_release(&command);
	if (err) {
		take_back(e, command.pid);
		return cannot_run(&e->options, command.path, err);
	}
	/* As time(1): the terminal's signals are the command's; others end us and leave it alone. */
	signal(SIGINT, SIG_IGN);
	signal(SIGQUIT, SIG_IGN);
	interrupt_release();
	return command_wait(&command);
}

int main(int argc, char **argv)
{
	static struct enable e; /* lasts as long as the program */

	options_parse(&argp, argc, argv, &e.options, &e);
	if (e.command)
		return enable_command(&e);
	if (e.inject && !preload_inject(&e.options))
		return finish(&e.options, STATUS_FAILED);
	if (e.inject)
		e.options.backend = "agent";
	interrupt_catch();
	return finish(&e.options, enable(&e));
}
