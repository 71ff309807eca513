/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <probepoint.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cmd/arming.h"
#include "cmd/child.h"
#include "cmd/signals.h"
#include "cmd/options.h"
#include "cmd/ui.h"
#include "cmd/agent-preload.h"

struct enable {
	struct options options;
	struct arming arming;
	char **command;
	double seconds; /* --for; 0: not given */
	double budget;  /* of --budget: CPUs; 0: off; below 0: not given */
	bool until_exit;
	pid_t until; /* the process of --until-exit=PID */
	bool inject;
};

enum { KEY_RECORD = 0x200, KEY_OVERWRITE, KEY_FOR, KEY_UNTIL_EXIT, KEY_BUDGET, KEY_INJECT, KEY_CALLS };

static const struct argp_option own[] = {
	{ "record", KEY_RECORD, 0, 0, "record from the start, reader or not: a flight recorder", 1 },
	{ "overwrite", KEY_OVERWRITE, 0, 0, "the same, and keep the newest records, not the oldest; -b agent only", 1 },
	{ "for", KEY_FOR, "TIME", 0, "disarm after TIME: 30s, 5m, 1h, 500ms", 1 },
	{ "budget", KEY_BUDGET, "SHARE%", 0,
	  "while hits take more than this share of one CPU, as in 5%, disarm the probes that are "
	  "hit most; off: no budget (default 25% for what the kernel arms)",
	  1 },
	{ "until-exit", KEY_UNTIL_EXIT, "PID", OPTION_ARG_OPTIONAL,
	  "disarm when PID has ended; where none is given, the last of -p's, or the command", 1 },
	{ "inject", KEY_INJECT, 0, 0, "load the agent into the processes of -p first", 1 },
	{ "system-calls", KEY_CALLS, 0, 0,
	  "allow the agent's hits to read memory by system calls; no seccomp filter may forbid them", 1 },
	{ 0 },
};

/* "30s": 30; 0 where it is no time. */
static double take_time(const char *text)
{
	static const struct {
		const char *unit;
		double seconds;
	} units[] = {
		{ "", 1 }, { "s", 1 }, { "ms", 1e-3 }, { "m", 60 }, { "min", 60 }, { "h", 3600 }, { "d", 86400 },
	};
	char *end;
	double n = strtod(text, &end);

	for (size_t i = 0; end != text && i < sizeof(units) / sizeof(*units); i++)
		if (!strcmp(end, units[i].unit) && n * units[i].seconds >= 0.001 && n * units[i].seconds <= 1e9)
			return n * units[i].seconds;
	return 0;
}

/* "5%": 0.05; "off": 0; below 0 if it is neither. */
static double take_budget(const char *text)
{
	char *end;
	double n;

	if (!strcmp(text, "off"))
		return 0;
	n = strtod(text, &end) / 100;
	return end != text && !strcmp(end, "%") && n >= 0.0001 && n <= 1000 ? n : -1;
}

/* The budget without --budget: of PROBEPOINT_BUDGET, or 25 % of a CPU. */
static double default_budget(struct options *o)
{
	const char *text = getenv("PROBEPOINT_BUDGET");
	double budget = text && *text ? take_budget(text) : 0.25;

	if (budget < 0)
		options_reject(o, "PROBEPOINT_BUDGET: invalid budget '%s': a share of a CPU, as in 5%%, or off", text);
	return budget;
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct enable *e = state->input;

	switch (key) {
	case ARGP_KEY_INIT: options_children(state, options_arming, &e->options); break;
	case KEY_RECORD: e->arming.record = true; break;
	case KEY_OVERWRITE: e->arming.overwrite = true; break;
	case KEY_FOR:
		e->seconds = take_time(arg);
		if (!e->seconds)
			return options_wrong(state, &e->options, "'%s' is no time: 30s, 5m, 1h, 500ms", arg);
		e->arming.hold = true;
		break;
	case KEY_BUDGET:
		e->budget = take_budget(arg);
		if (e->budget < 0)
			return options_wrong(state, &e->options,
			                     "invalid budget '%s': a share of a CPU, as in 5%% or 0.5%%, or off", arg);
		e->arming.hold |= e->budget > 0;
		break;
	case KEY_UNTIL_EXIT:
		e->arming.hold = e->until_exit = true;
		if (!arg)
			break;
		return options_take_pid(state, &e->options, arg, &e->until);
	case KEY_CALLS: e->arming.calls = true; break;
	case KEY_INJECT: e->inject = true; break;
	case ARGP_KEY_ARG:
		return options_pattern_or_command(state, &e->options, &e->arming.patterns, &e->arming.npatterns,
		                                  &e->command);
	case ARGP_KEY_END:
		if (!e->arming.npatterns)
			return options_wrong(state, &e->options, "which probes? give a PATTERN; '*' is all of them");
		if (state->quoted && !e->command)
			return options_wrong(state, &e->options, "there is no command behind --");
		if (e->until_exit && !e->until && !e->command && !e->options.npids)
			return options_wrong(state, &e->options, "until whose exit? give --until-exit=PID, or -p PID");
		if (!e->command && !e->options.npids && !e->options.nfiles)
			return options_wrong(state, &e->options, "where? give -p PID, -f FILE or -- COMMAND");
		if (e->inject && !e->options.npids)
			return options_wrong(state, &e->options, "--inject needs -p PID");
		if (e->arming.overwrite && e->options.backend && !strcmp(e->options.backend, "kernel"))
			return options_wrong(state, &e->options, "--overwrite is for -b agent");
		if (e->arming.calls && e->options.backend && !strcmp(e->options.backend, "kernel"))
			return options_wrong(state, &e->options, "--system-calls is for -b agent");
		if (e->inject && e->options.backend && !strcmp(e->options.backend, "kernel"))
			return options_wrong(state, &e->options, "--inject is for -b agent");
		if (e->inject && e->command)
			return options_wrong(state, &e->options,
			                     "--inject is for running processes; a command gets the agent by -b agent");
		return options_check_arming(state, &e->options, e->arming.patterns, e->arming.npatterns, e->command);
	default: return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

static const struct argp argp = {
	.options = own,
	.parser = parse,
	.args_doc = "PATTERN... [-- COMMAND...]",
	.doc = "Arm probes and keep them armed, in a session that outlives this command.\v"
	       "A PATTERN is PROVIDER:NAME, both globs, or func:SYMBOL, the entry of a function, "
	       "func:SYMBOL+OFFSET, an instruction in it, or func:SYMBOL%return, its returns.",
	.children = options_arming,
};

static void say_ready(void *arg)
{
	int *fd = arg;
	ssize_t n = write(*fd, "", 1);

	(void)n;
	close(*fd);
}

/* fork(2), but no tracer of this process follows the child. */
static pid_t fork_untraced(void)
{
	return (pid_t)syscall(SYS_clone, CLONE_UNTRACED | SIGCHLD, 0, 0, 0, 0);
}

/*
 * Starts the process that keeps the budget of what stays armed. It inherits nothing: a descriptor or a directory of the
 * caller's must not stay busy because of it.
 */
static void start_watcher(struct options *o)
{
	struct pp_session *session;
	int pipe[2], null;
	bool watched = true;
	char byte;
	pid_t pid;
	ssize_t n;

	if (pipe2(pipe, O_CLOEXEC) || (pid = fork_untraced()) < 0) {
		remark(o, "cannot start the process that keeps the budget: %s", strerror(errno));
		return;
	}
	if (!pid) {
		null = open("/dev/null", O_RDWR);
		for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
			dup2(null, fd);
		if (pipe[1] != STDERR_FILENO + 1)
			dup2(pipe[1], STDERR_FILENO + 1);
		close_range(STDERR_FILENO + 2, ~0u, 0);
		pipe[1] = STDERR_FILENO + 1;
		setsid();
		prctl(PR_SET_NAME, "probe-watch");
		if (!chdir("/"))
			pp_session_watch(options_session_name(o), say_ready, &pipe[1]);
		_exit(0);
	}
	close(pipe[1]);
	do
		n = read(pipe[0], &byte, 1);
	while (n < 0 && errno == EINTR);
	close(pipe[0]);
	/* Either it failed, or another one was faster, or the session has ended. */
	if (n == 1 || pp_session_open(options_session_name(o), false, &session))
		return;
	pp_session_limit(session, &watched);
	pp_session_close(session);
	if (!watched)
		remark(o, "the process that keeps the budget did not start: nothing limits what hits cost");
}

/* A session that stays open is left in *held. */
static enum status enable(struct enable *e, struct pp_session **held)
{
	struct options *o = &e->options;
	struct pp_session *session = NULL;
	struct pp_request *request;
	enum status status;
	bool watched = true;
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
		status = arming_run(o, &e->arming, session, request, e->arming.command && !o->json ? stderr : stdout);
		if (!e->budget)
			pp_session_unlimit(session);
		pp_session_limit(session, &watched);
	}
	if (held)
		*held = session;
	else
		pp_session_close(session);
	pp_request_free(request);
	if (!watched)
		start_watcher(o);
	remark_notices(o);
	return status;
}

/* The processes of --until-exit, as pidfds, n of them; NULL where one is not to be had, which is said. */
static int *waited_for(struct enable *e, size_t *n)
{
	struct options *o = &e->options;
	pid_t *pids = calloc(o->npids + 2, sizeof(*pids));
	int *fds = calloc(o->npids + 2, sizeof(*fds));

	if (!pids || !fds)
		no_memory();
	*n = 0;
	if (e->until)
		pids[(*n)++] = e->until;
	for (size_t i = 0; e->until_exit && !e->until && i < o->npids; i++)
		pids[(*n)++] = o->pids[i];
	if (e->until_exit && !e->until && e->arming.command)
		pids[(*n)++] = e->arming.command->pid;
	for (size_t i = 0; i < *n; i++) {
		fds[i] = pidfd_open(pids[i], 0);
		if (fds[i] < 0) {
			complain(o, "process %d: %s", pids[i], strerror(errno));
			free(pids);
			free(fds);
			return NULL;
		}
	}
	free(pids);
	return fds;
}

/* The process that goes on: says how arming went, and is nobody's then. */
static void hold(struct enable *e, int say)
{
	struct pp_session *session = NULL;
	struct timespec start;
	size_t n;
	int *fds = waited_for(e, &n), null;
	unsigned char status = STATUS_FAILED;

	/* Whether the command runs is not this process's to keep open. */
	if (e->arming.command)
		close(e->arming.command->go), close(e->arming.command->failed);
	if (!fds)
		_exit(finish(&e->options, STATUS_FAILED));
	status = (unsigned char)enable(e, &session);
	clock_gettime(CLOCK_MONOTONIC, &start);
	if (interrupted)
		status = STATUS_FAILED;
	finish(&e->options, status);
	if (status != STATUS_DONE && status != STATUS_PART)
		_exit(status);
	setsid();
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		dup2(null, fd);
	if (chdir("/") || write(say, &status, 1) != 1)
		_exit(STATUS_FAILED);
	close(say);
	if (e->budget > 0)
		pp_session_budget(session, e->budget);
	pp_session_hold(session,
	                e->seconds ? start.tv_sec * 1000000000ull + start.tv_nsec + (uint64_t)(e->seconds * 1e9) : 0,
	                fds, n);
	pp_session_close(session);
	_exit(0);
}

/* Arms in a process of its own that stays as long as --for and --until-exit say. */
static enum status enable_held(struct enable *e)
{
	unsigned char status = STATUS_FAILED;
	int pipe[2], ended;
	pid_t pid;
	ssize_t n;

	if (pipe2(pipe, O_CLOEXEC) || (pid = fork()) < 0) {
		complain(&e->options, "cannot make a process: %s", strerror(errno));
		return STATUS_FAILED;
	}
	if (!pid) {
		close(pipe[0]);
		hold(e, pipe[1]);
	}
	close(pipe[1]);
	do
		n = read(pipe[0], &status, 1);
	while (n < 0 && errno == EINTR);
	close(pipe[0]);
	if (n == 1)
		return status;
	/* It has said why, and ended. */
	if (waitpid(pid, &ended, 0) == pid && WIFEXITED(ended))
		return WEXITSTATUS(ended);
	complain(&e->options, "the process that was to hold what is armed died");
	return STATUS_FAILED;
}

static enum status enable_somehow(struct enable *e)
{
	return e->arming.hold ? enable_held(e) : enable(e, NULL);
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

	if (!preload_list(&e->options, e->command[0], &preload))
		return finish(&e->options, STATUS_NOT_STARTED);
	err = command_start(&command, e->command, preload);
	free(preload);
	if (err)
		return cannot_run(&e->options, e->command[0], err);
	interrupt_catch();
	e->arming.command = &command;
	status = enable_somehow(e);
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
	static struct enable e = { .budget = -1 }; /* lasts as long as the program */

	options_parse(&argp, argc, argv, &e.options, &e);
	e.arming.budget = e.budget < 0 ? default_budget(&e.options) : e.budget;
	if (e.command)
		return enable_command(&e);
	if (e.inject && !preload_inject(&e.options))
		return finish(&e.options, STATUS_FAILED);
	if (e.inject)
		e.options.backend = "agent";
	interrupt_catch();
	return finish(&e.options, enable_somehow(&e));
}
