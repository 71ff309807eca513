/* SPDX-License-Identifier: MIT */
/*
 * probe-enable --config FILE --follow is the main process of a service. It applies the file, and applies it again when a file or
 * process that an entry means has changed.
 *
 * 1. inotify reports changes in the directories of the files, so that a new version is armed within milliseconds.
 * 2. Every POLL_MS, config_targets_hash() sees what inotify does not: processes, control groups, symbolic links, new
 *    directories, file systems of other machines.
 * 3. After SIGHUP it reads the configuration again. If that is not valid, the old one stays.
 * 4. After SIGTERM or SIGINT it disarms what the file has armed, and ends. If it is killed, everything stays armed, and the next
 *    process continues with that.
 */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cmd/alloc.h"
#include "cmd/config.h"
#include "cmd/ui.h"

enum { POLL_MS = 1000, SETTLE_MS = 20 };

/* Tells the service manager the state of this service, as sd_notify(3) does. */
static void manager_notify(const char *state)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	socklen_t size;
	int fd;

	if (!path || (path[0] != '/' && path[0] != '@') || strlen(path) >= sizeof(to.sun_path))
		return;
	strcpy(to.sun_path, path);
	size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));
	if (path[0] == '@')
		to.sun_path[0] = 0;
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	if (sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&to, size) < 0) {
		/* The manager then ends the service after its start timeout, and says why. */
	}
	close(fd);
}

/* Returns a descriptor that is readable after a change in the directories of the files. */
static int directories_watch(const struct config *config)
{
	int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);

	for (size_t i = 0; fd >= 0 && i < config->n; i++)
		for (size_t k = 0; k < config->sessions[i].n; k++) {
			const struct options *o = &config->sessions[i].entries[k].options;

			for (size_t f = 0; f < o->nfiles; f++) {
				char *dir = xstrdup(o->files[f]);

				*(strrchr(dir, '/') + 1) = 0;
				/* A glob or a missing directory is seen by the poll. */
				inotify_add_watch(fd, dir,
				                  IN_CREATE | IN_MOVED_TO | IN_CLOSE_WRITE | IN_DELETE | IN_MOVED_FROM |
				                          IN_ATTRIB);
				free(dir);
			}
		}
	return fd;
}

static void events_drain(int fd)
{
	char events[4096];

	while (read(fd, events, sizeof(events)) > 0)
		;
}

/* Waits for a change or a signal. Returns the signal, 0 if there was none. */
static int change_wait(int changes, int signals)
{
	struct pollfd fds[] = { { .fd = signals, .events = POLLIN }, { .fd = changes, .events = POLLIN } };
	struct signalfd_siginfo info;

	poll(fds, 2, POLL_MS);
	if ((fds[1].revents & POLLIN) && poll(fds, 1, SETTLE_MS) == 0)
		events_drain(changes);
	return read(signals, &info, sizeof(info)) == sizeof(info) ? (int)info.ssi_signo : 0;
}

static void follow_apply(struct config *config, config_watch_fn *watch, bool only_changes)
{
	struct config_result result;

	config_apply(config, false, watch, &result);
	if (!only_changes || result.changes || result.partly || config->options->errors)
		config_report(config, &result, false, only_changes);
	config_result_free(&result);
}

/* Reads the file again. Returns whether it is valid. If it is not, the old configuration stays. */
static bool config_reload(struct config *config)
{
	struct config read;
	bool valid = config_read(&read, config->path, config->options) == STATUS_DONE;

	if (valid && strcmp(read.real_path, config->real_path)) {
		ui_error(config->options, "%s: the path leads to another file now, '%s'; restart to use it",
		         config->path, read.real_path);
		valid = false;
	}
	if (!valid) {
		ui_info(config->options, "%s: the configuration is as before", config->path);
		config_free(&read);
		return false;
	}
	read.unread = config->unread;
	config->unread = (struct config_unread){ 0 };
	config_free(config);
	*config = read;
	return true;
}

enum status config_follow(struct config *config, config_watch_fn *watch)
{
	struct config_result result;
	uint64_t hash, seen;
	int signals, changes, signal;
	enum status status;
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	changes = directories_watch(config);
	if (signals < 0 || changes < 0) {
		ui_error(config->options, "cannot watch files: %s", strerror(errno));
		return STATUS_FAILED;
	}
	hash = config_targets_hash(config);
	follow_apply(config, watch, false);
	manager_notify("READY=1");
	for (;;) {
		signal = change_wait(changes, signals);
		while (waitpid(-1, NULL, WNOHANG) > 0) /* watchers that have ended */
			;
		if (signal == SIGINT || signal == SIGTERM || ui_flush())
			break;
		if (signal == SIGHUP) {
			manager_notify("RELOADING=1");
			if (config_reload(config)) {
				close(changes);
				changes = directories_watch(config);
				hash = config_targets_hash(config);
				follow_apply(config, watch, false);
			}
			manager_notify("READY=1");
			continue;
		}
		seen = config_targets_hash(config);
		if (seen == hash)
			continue;
		hash = seen;
		follow_apply(config, watch, true);
	}
	manager_notify("STOPPING=1");
	config_disarm(config, &result);
	config_report(config, &result, false, true);
	status = config_status(&result);
	config_result_free(&result);
	close(changes);
	close(signals);
	return status;
}

enum status config_run(struct options *options, const char *path, enum config_mode mode, config_watch_fn *watch)
{
	struct config_result result;
	struct config config;
	enum status status = config_read(&config, path, options);

	if (status == STATUS_DONE && mode == CONFIG_FOLLOW) {
		status = config_follow(&config, watch);
	} else if (status == STATUS_DONE) {
		config_apply(&config, mode == CONFIG_CHECK, watch, &result);
		config_report(&config, &result, mode == CONFIG_CHECK, false);
		status = config_status(&result);
		config_result_free(&result);
	}
	config_free(&config);
	return status;
}
