/* SPDX-License-Identifier: MIT */
/*
 * Arms probes, in one of three ways:
 *
 * 1. enable_arm() arms in this process and returns. The session keeps the probes armed. If the kernel backend armed
 *    them with a budget, a watcher process enforces it.
 * 2. With --for, --until-exit or --budget, enable_held() starts a holder process. The holder arms, reports, and disarms
 *    the probes when they expire or when it dies.
 * 3. With -- COMMAND, enable_command() starts a child that waits, arms in way 1 or 2, lets the child run the command,
 *    and exits with its status.
 */
#include <errno.h>
#include <fcntl.h>
#include <probepoint.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "cmd/agent-preload.h"
#include "cmd/alloc.h"
#include "cmd/arming.h"
#include "cmd/budget.h"
#include "cmd/child.h"
#include "cmd/config.h"
#include "cmd/options.h"
#include "cmd/signals.h"
#include "cmd/ui.h"

struct enable {
	struct options options;
	struct arming arming;
	double seconds; /* --for; 0: not given */
	double budget;  /* --budget, as a share of one CPU; 0: off; below 0: not given */
	bool until_exit;
	pid_t until_pid; /* --until-exit=PID; 0: not given */
	bool inject;
	const char *config; /* --config; NULL: not given */
	enum config_mode mode;
};

/* ---- the command line ---- */

enum {
	KEY_RECORD = 0x200,
	KEY_OVERWRITE,
	KEY_FLIGHT,
	KEY_FOR,
	KEY_UNTIL_EXIT,
	KEY_BUDGET,
	KEY_INJECT,
	KEY_CALLS,
	KEY_CONFIG,
	KEY_CHECK,
	KEY_FOLLOW
};

static const struct argp_option enable_options[] = {
	{ "record", KEY_RECORD, 0, 0, "record from the start, even without a reader", 1 },
	{ "overwrite", KEY_OVERWRITE, 0, 0,
	  "record from the start, and keep the newest records instead of the oldest (-b agent only)", 1 },
	{ "flight-recorder", KEY_FLIGHT, "SIZE", 0,
	  "keep the newest records of each process in SIZE of memory, from 1M to 1G, for probe-trace --snapshot", 1 },
	{ "for", KEY_FOR, "TIME", 0, "disarm after TIME, such as 500ms, 30s, 5m or 1h", 1 },
	{ "budget", KEY_BUDGET, "SHARE%", 0,
	  "disarm the busiest probes while hits take more than this share of one CPU, as in 5%; off: no budget "
	  "(default 25% for probes that the kernel arms)",
	  1 },
	{ "until-exit", KEY_UNTIL_EXIT, "PID", OPTION_ARG_OPTIONAL,
	  "disarm when PID has exited (default: the last process of -p, or the command)", 1 },
	{ "inject", KEY_INJECT, 0, 0, "load the agent into the processes of -p before arming", 1 },
	{ "system-calls", KEY_CALLS, 0, 0,
	  "let hits of the agent read memory by system calls, which all seccomp filters of the process must allow", 1 },
	{ "config", KEY_CONFIG, "FILE", 0, "arm what FILE describes, and disarm what it no longer describes", 1 },
	{ "check", KEY_CHECK, 0, 0, "with --config: print what would change, and change nothing", 1 },
	{ "follow", KEY_FOLLOW, 0, 0,
	  "with --config: stay, arm new versions of files and new processes, and disarm at SIGTERM", 1 },
	{ 0 },
};

static error_t enable_parse_time(struct argp_state *state, struct enable *e, const char *text)
{
	e->arming.hold = true;
	return options_parse_time(state, &e->options, "--for", text, &e->seconds);
}

static error_t enable_parse_budget(struct argp_state *state, struct enable *e, const char *text)
{
	e->budget = budget_parse(text);
	if (e->budget < 0)
		return options_usage_error(
			state, &e->options,
			"--budget: invalid budget '%s'; give a share of a CPU, as in 5%% or 0.5%%, or off", text);
	e->arming.hold |= e->budget > 0;
	return 0;
}

static error_t enable_parse_until_exit(struct argp_state *state, struct enable *e, const char *text)
{
	e->arming.hold = e->until_exit = true;
	return text ? options_parse_pid(state, &e->options, text, &e->until_pid) : 0;
}

/* Reports the first option that -b kernel does not support. */
static error_t enable_check_kernel(struct argp_state *state, struct enable *e)
{
	const char *option = e->arming.overwrite ? "--overwrite"
	                     : e->arming.calls   ? "--system-calls"
	                     : e->inject         ? "--inject"
	                                         : NULL;

	if (!option || !e->options.backend || strcmp(e->options.backend, "kernel"))
		return 0;
	return options_usage_error(state, &e->options, "%s cannot be used with -b kernel; use -b agent", option);
}

/* A file describes everything, so that applying it again does the same. */
static error_t enable_check_config(struct argp_state *state, struct enable *e)
{
	struct options *o = &e->options;

	if (e->arming.npatterns || e->arming.argv || o->npids || o->nfiles || o->session || o->backend ||
	    o->latency[0] || options_first_arming(o) || e->arming.hold || e->arming.record || e->arming.calls ||
	    e->inject || e->budget >= 0)
		return options_usage_error(state, o,
		                           "--config cannot be combined with what FILE describes; put it into FILE");
	return 0;
}

static error_t enable_parse_mode(struct argp_state *state, struct enable *e, enum config_mode mode)
{
	if (e->mode != CONFIG_APPLY && e->mode != mode)
		return options_usage_error(state, &e->options, "--check and --follow cannot be combined");
	e->mode = mode;
	return 0;
}

static error_t enable_check(struct argp_state *state, struct enable *e)
{
	struct options *o = &e->options;
	bool command = e->arming.argv;
	error_t err;

	if (e->config)
		return enable_check_config(state, e);
	if (e->mode != CONFIG_APPLY)
		return options_usage_error(state, o, "--check and --follow need --config FILE");
	if (e->until_exit && !e->until_pid && !command && !o->npids)
		return options_usage_error(state, o, "--until-exit: needs -p, a command, or a PID");
	err = arming_take_stack(state, o);
	if (!err)
		err = arming_take_latency(state, o, &e->arming);
	if (err)
		return err;
	if (o->latency[0] && !o->aggregate)
		o->aggregate = "pct(duration)";
	err = arming_check_target(state, o, &e->arming);
	if (err)
		return err;
	if (e->inject && !o->npids)
		return options_usage_error(state, o, "--inject needs -p PID");
	err = enable_check_kernel(state, e);
	if (err)
		return err;
	if (e->arming.flight && (e->seconds > 0 || e->until_exit))
		return options_usage_error(state, o,
		                           "%s and --flight-recorder cannot be combined, because records end when "
		                           "their probes are disarmed",
		                           e->until_exit ? "--until-exit" : "--for");
	if (e->inject && command)
		return options_usage_error(state, o, "--inject cannot be used with a command; start it with -b agent");
	return arming_check_options(state, o, &e->arming);
}

static error_t enable_parse_key(int key, char *arg, struct argp_state *state)
{
	struct enable *e = state->input;

	switch (key) {
	case ARGP_KEY_INIT: options_children(state, options_arming, &e->options); break;
	case KEY_RECORD: e->arming.record = true; break;
	case KEY_OVERWRITE: e->arming.overwrite = true; break;
	case KEY_FLIGHT: return arming_parse_flight(state, &e->options, &e->arming, arg);
	case KEY_FOR: return enable_parse_time(state, e, arg);
	case KEY_BUDGET: return enable_parse_budget(state, e, arg);
	case KEY_UNTIL_EXIT: return enable_parse_until_exit(state, e, arg);
	case KEY_CALLS: e->arming.calls = true; break;
	case KEY_CONFIG: e->config = arg; break;
	case KEY_CHECK: return enable_parse_mode(state, e, CONFIG_CHECK);
	case KEY_FOLLOW: return enable_parse_mode(state, e, CONFIG_FOLLOW);
	case KEY_INJECT: e->inject = true; break;
	case ARGP_KEY_ARG: return arming_take_argument(state, &e->options, &e->arming);
	case ARGP_KEY_END: return enable_check(state, e);
	default: return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

static const struct argp enable_argp = {
	.options = enable_options,
	.parser = enable_parse_key,
	.args_doc = "PATTERN... [-- COMMAND...]\n--config FILE [--check|--follow]",
	.doc = "Arm probes, and keep them armed in a session that outlives this command.\v"
	       "A PATTERN is PROVIDER:NAME, where both are globs; func:SYMBOL, the entry of a function; "
	       "func:SYMBOL+OFFSET, an instruction in it; or func:SYMBOL%return, its returns.",
	.children = options_arming,
};

/* ---- background processes ---- */

/* Reads a byte that another process writes to fd. Returns false if fd is closed without it. */
static bool byte_read(int fd, unsigned char *byte)
{
	ssize_t n;

	do
		n = read(fd, byte, 1);
	while (n < 0 && errno == EINTR);
	return n == 1;
}

static void standard_streams_drop(void)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		dup2(null, fd);
}

static void watcher_ready(void *arg)
{
	int *fd = arg;
	ssize_t n = write(*fd, "", 1);

	(void)n;
	close(*fd);
}

/*
 * Runs in the watcher process. It keeps no descriptor or directory of the caller, because that could keep a pipe open
 * or a file system busy. ready_fd: where it writes a byte when it watches.
 */
__attribute__((noreturn)) static void watcher_main(const struct options *o, int ready_fd)
{
	int fd = STDERR_FILENO + 1;

	standard_streams_drop();
	if (ready_fd != fd)
		dup2(ready_fd, fd);
	close_range(fd + 1, ~0u, 0);
	setsid();
	prctl(PR_SET_NAME, "probe-watch");
	if (!chdir("/"))
		pp_session_watch(options_session_name(o), watcher_ready, &fd);
	_exit(0);
}

/* Starts the process that enforces the budget after this command has ended. */
static void watcher_start(struct options *o)
{
	struct pp_session *session;
	unsigned char byte;
	bool watched = true, ready;
	int pipe[2];
	pid_t pid;

	if (pipe2(pipe, O_CLOEXEC) || (pid = child_fork_untraced()) < 0) {
		ui_info(o, "cannot start the process that enforces the budget: %s", strerror(errno));
		return;
	}
	if (!pid)
		watcher_main(o, pipe[1]);
	close(pipe[1]);
	ready = byte_read(pipe[0], &byte);
	close(pipe[0]);
	/* If it is not ready, it failed, another watcher runs, or the session has ended. */
	if (ready || pp_session_open(options_session_name(o), false, &session))
		return;
	pp_session_limit(session, &watched);
	pp_session_close(session);
	if (!watched)
		ui_info(o, "the process that enforces the budget did not start, so the cost of hits is not limited");
}

/* ---- arming ---- */

static bool status_is_armed(enum status status)
{
	return status == STATUS_DONE || status == STATUS_PART;
}

/* Arms, and reports the result. If held is not NULL, the session stays open in *held. */
static enum status enable_arm(struct enable *e, struct pp_session **held)
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
		ui_error(o, "%s", pp_error());
		status = err == -EINVAL ? STATUS_USAGE : STATUS_FAILED;
	} else {
		pp_session_interrupt(session, &interrupted);
		/* Standard output belongs to the command. */
		status = arming_run(o, &e->arming, session, request, e->arming.argv && !o->json ? stderr : stdout);
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
		watcher_start(o);
	ui_notices(o);
	return status;
}

/*
 * Opens the n processes of --until-exit as pidfds. Returns NULL, and reports an error, if one of them does not exist.
 * The caller frees the array.
 */
static int *until_open(struct enable *e, size_t *n)
{
	struct options *o = &e->options;
	pid_t *pids = xcalloc(o->npids + 2, sizeof(*pids));
	int *fds = xcalloc(o->npids + 2, sizeof(*fds));

	*n = 0;
	if (e->until_pid)
		pids[(*n)++] = e->until_pid;
	for (size_t i = 0; e->until_exit && !e->until_pid && i < o->npids; i++)
		pids[(*n)++] = o->pids[i];
	if (e->until_exit && !e->until_pid && e->arming.argv)
		pids[(*n)++] = e->arming.child.pid;
	for (size_t i = 0; i < *n; i++) {
		fds[i] = pidfd_open(pids[i], 0);
		if (fds[i] < 0) {
			ui_error(o, "pid %d: cannot open the process: %s", pids[i], strerror(errno));
			free(fds);
			fds = NULL;
			break;
		}
	}
	free(pids);
	return fds;
}

/* Runs in the holder process: arms, writes the exit status to status_fd, and disarms when the time has come. */
__attribute__((noreturn)) static void holder_main(struct enable *e, int status_fd)
{
	struct pp_session *session = NULL;
	size_t n;
	int *fds = until_open(e, &n);
	unsigned char status = STATUS_FAILED;
	uint64_t start;

	/* If the holder kept these open, the child would not notice that probe-enable died. */
	if (e->arming.argv) {
		close(e->arming.child.go_fd);
		close(e->arming.child.exec_failed_fd);
	}
	if (!fds)
		_exit(ui_finish(&e->options, STATUS_FAILED));
	status = (unsigned char)enable_arm(e, &session);
	start = clock_local_ns();
	if (interrupted)
		status = STATUS_FAILED;
	ui_finish(&e->options, status);
	if (!status_is_armed(status))
		_exit(status);
	setsid();
	standard_streams_drop();
	if (chdir("/") || write(status_fd, &status, 1) != 1)
		_exit(STATUS_FAILED);
	close(status_fd);
	if (e->budget > 0)
		pp_session_budget(session, e->budget);
	pp_session_hold(session, e->seconds ? start + (uint64_t)(e->seconds * 1e9) : 0, fds, n);
	pp_session_close(session);
	_exit(0);
}

/* Arms in a holder process, and returns when it has armed or failed. */
static enum status enable_held(struct enable *e)
{
	unsigned char status;
	int pipe[2], ended;
	bool armed;
	pid_t pid;

	if (pipe2(pipe, O_CLOEXEC) || (pid = fork()) < 0) {
		ui_error(&e->options, "cannot start a process: %s", strerror(errno));
		return STATUS_FAILED;
	}
	if (!pid) {
		close(pipe[0]);
		holder_main(e, pipe[1]);
	}
	close(pipe[1]);
	armed = byte_read(pipe[0], &status);
	close(pipe[0]);
	if (armed)
		return status;
	/* The holder has reported the error, and exits. */
	if (waitpid(pid, &ended, 0) == pid && WIFEXITED(ended))
		return WEXITSTATUS(ended);
	ui_error(&e->options, "the process that holds the probes died");
	return STATUS_FAILED;
}

static enum status enable_now(struct enable *e)
{
	return e->arming.hold ? enable_held(e) : enable_arm(e, NULL);
}

/* ---- -- COMMAND ---- */

static bool session_exists_already(const struct options *o)
{
	struct pp_session *session;
	int err = pp_session_open(options_session_name(o), false, &session);

	if (!err)
		pp_session_close(session);
	return err != -ENOENT;
}

/* Disarms the probes of a command that could not run. pid: in this process only; 0: in the whole session. */
static void command_disarm(struct enable *e, pid_t pid)
{
	struct pp_session *session;
	size_t points;

	if (pp_session_open(options_session_name(&e->options), false, &session))
		return;
	pp_session_disable(session, pid, NULL, 0, &points);
	pp_session_close(session);
}

static int enable_command(struct enable *e)
{
	struct options *o = &e->options;
	struct child *child = &e->arming.child;
	enum status status;
	char *preload;
	pid_t pid;
	int err;

	if (!preload_list(o, e->arming.argv[0], &preload))
		return ui_finish(o, STATUS_NOT_STARTED);
	err = child_start(child, e->arming.argv, preload);
	free(preload);
	if (err)
		return ui_finish(o, child_report(o, e->arming.argv[0], err));
	signals_catch();
	/* Other probes of an existing session must stay armed if the command cannot run. */
	pid = session_exists_already(o) ? child->pid : 0;
	status = enable_now(e);
	if (status_is_armed(status) && interrupted) {
		command_disarm(e, pid);
		ui_error(o, "interrupted; the command was not started");
		status = STATUS_FAILED;
	}
	if (!status_is_armed(status)) {
		child_cancel(child);
		return ui_finish(o, status == STATUS_USAGE ? status : STATUS_NOT_STARTED);
	}
	ui_finish(o, status);
	err = child_release(child);
	if (err) {
		command_disarm(e, pid);
		return ui_finish(o, child_report(o, child->path, err));
	}
	/* As time(1): signals of the terminal are for the command; other signals end this process only. */
	signal(SIGINT, SIG_IGN);
	signal(SIGQUIT, SIG_IGN);
	signals_release();
	return child_wait(child);
}

int main(int argc, char **argv)
{
	static struct enable e = { .budget = -1 }; /* not freed */

	options_parse(&enable_argp, argc, argv, &e.options, &e);
	e.arming.budget = e.budget < 0 ? budget_default(&e.options) : e.budget;
	if (e.config) {
		signals_catch();
		return ui_finish(&e.options, config_run(&e.options, e.config, e.mode, watcher_start));
	}
	if (e.arming.argv)
		return enable_command(&e);
	if (e.inject) {
		if (!preload_inject(&e.options))
			return ui_finish(&e.options, STATUS_FAILED);
		e.options.backend = "agent";
	}
	signals_catch();
	return ui_finish(&e.options, enable_now(&e));
}
