/* SPDX-License-Identifier: MIT */
/* Starts the keeper, and asks it to settle counts. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/notice.h"
#include "runtime/agent/counts-file.h"
#include "runtime/agent/keeper.h"

/*
 * Seconds to wait for a reply: the keeper may be copying the memory of many processes. After it has not replied once, this thread
 * waits for a fraction of a second, until it does.
 */
#define REPLY_SECONDS 5
#define REPLY_USECONDS_SILENT 200000

static _Thread_local bool keeper_is_silent;

static struct sockaddr_un keeper_address(const struct agent_dir *dir)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	snprintf(a.sun_path, sizeof(a.sun_path), "/proc/self/fd/%d/" AGENT_KEEPER, dir->agents);
	return a;
}

/* Returns a descriptor, or a negative errno if no keeper runs. */
static int keeper_connect(const struct agent_dir *dir)
{
	struct sockaddr_un to = keeper_address(dir);
	struct timeval limit = { .tv_sec = REPLY_SECONDS };
	struct ucred owner = { 0 };
	socklen_t size = sizeof(owner);
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	if (keeper_is_silent)
		limit = (struct timeval){ .tv_usec = REPLY_USECONDS_SILENT };
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	if (!connect(fd, (struct sockaddr *)&to, sizeof(to)) &&
	    !getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &owner, &size) && owner.uid == geteuid())
		return fd;
	close(fd);
	return -ENOENT;
}

/* Notes whether the keeper has replied to a request: n is the result of recv(2). */
static void keeper_note_reply(ssize_t n)
{
	bool is_silent = n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);

	if (is_silent && !keeper_is_silent)
		notice_add(
			"the background process that holds the counts and records of processes that have ended does not reply, so "
			"some may be missing");
	keeper_is_silent = is_silent;
}

static bool keeper_is_running(const struct agent_dir *dir)
{
	int fd = keeper_connect(dir);

	if (fd < 0)
		return false;
	close(fd);
	return true;
}

/* Returns a listening socket, or a negative errno. */
static int keeper_listen(const struct agent_dir *dir)
{
	struct sockaddr_un a = keeper_address(dir);
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	unlinkat(dir->agents, AGENT_KEEPER, 0);
	if (bind(fd, (struct sockaddr *)&a, sizeof(a)) || fchmodat(dir->agents, AGENT_KEEPER, 0600, 0) ||
	    listen(fd, 4096)) {
		int err = -errno;

		close(fd);
		return err;
	}
	return fd;
}

/* Returns a descriptor that becomes readable when sessions end, or a negative errno. */
static int keeper_watch(const struct agent_dir *dir)
{
	int fd = inotify_init1(IN_CLOEXEC);
	char path[40];

	if (fd < 0)
		return -errno;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", dir->root);
	inotify_add_watch(fd, path, IN_DELETE | IN_MOVED_FROM | IN_DELETE_SELF | IN_ONLYDIR);
	return fd;
}

/* Forks twice, so that the keeper is not a child of this process. */
static int keeper_fork(const struct agent_dir *dir, int listener, int changes)
{
	pid_t pid = fork();

	if (pid < 0)
		return -errno;
	if (!pid) {
		pid = fork();
		if (!pid)
			keeper_main(dir, listener, changes);
		_exit(pid < 0);
	}
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	return 0;
}

static int keeper_start_locked(const struct agent_dir *dir)
{
	int listener, changes, err;

	if (keeper_is_running(dir))
		return 0;
	listener = keeper_listen(dir);
	if (listener < 0)
		return listener;
	changes = keeper_watch(dir);
	err = changes < 0 ? changes : keeper_fork(dir, listener, changes);
	if (changes >= 0)
		close(changes);
	close(listener);
	return err;
}

int agent_keeper_start(const struct agent_dir *dir)
{
	int err;

	if (dir->agents < 0)
		return -ENOENT;
	if (keeper_is_running(dir))
		return 0;
	if (flock(dir->agents, LOCK_EX))
		return -errno;
	err = keeper_start_locked(dir);
	flock(dir->agents, LOCK_UN);
	return err;
}

static int is_of_ended(const struct agent_file_id *id, void *found)
{
	*(bool *)found |= id->pid != 0;
	return 0;
}

bool agent_keeper_settle_records(const struct agent_dir *dir)
{
	bool ended = false;

	agent_keeper_settle(dir);
	if (dir->agents < 0 || keeper_is_running(dir))
		return true;
	agent_dir_each_file(dir, COUNTS_ENDED, is_of_ended, &ended);
	if (ended)
		notice_add(
			"the background process that holds the records of processes that have ended was killed, so their records "
			"may be missing");
	return !ended;
}

void agent_keeper_settle(const struct agent_dir *dir)
{
	struct agent_keep ask = { .magic = AGENT_KEEP_MAGIC, .version = AGENT_VERSION, .op = AGENT_KEEP_SETTLE };
	int fd = dir->agents < 0 ? -1 : keeper_connect(dir);
	char byte;

	if (fd < 0)
		return;
	/* Without a reply the counts are read as they are. */
	if (send(fd, &ask, sizeof(ask), MSG_NOSIGNAL) == sizeof(ask))
		keeper_note_reply(recv(fd, &byte, 1, 0));
	close(fd);
}

/* Asks for a region. Returns its descriptor, or -ENOENT. */
static int keeper_ask_region(const struct agent_dir *dir, const char *session, struct agent_keep *ask,
                             struct agent_kept *kept)
{
	int conn = dir->agents < 0 ? -1 : keeper_connect(dir), fd = -1;
	ssize_t n = -1;

	if (conn < 0)
		return -ENOENT;
	ask->magic = AGENT_KEEP_MAGIC;
	ask->version = AGENT_VERSION;
	snprintf(ask->session, sizeof(ask->session), "%s", session);
	if (send(conn, ask, sizeof(*ask), MSG_NOSIGNAL) == sizeof(*ask))
		keeper_note_reply(n = keeper_receive_fd(conn, kept, sizeof(*kept), &fd));
	close(conn);
	if (n == sizeof(*kept) && kept->magic == AGENT_KEEP_MAGIC && fd >= 0)
		return fd;
	if (fd >= 0)
		close(fd);
	return -ENOENT;
}

int agent_keeper_get(const struct agent_dir *dir, const char *session, uint64_t index, struct agent_kept *kept)
{
	return keeper_ask_region(dir, session, &(struct agent_keep){ .op = AGENT_KEEP_GET, .start_time = index }, kept);
}

int agent_keeper_records(const struct agent_dir *dir, const char *session, uint64_t number, struct agent_kept *kept)
{
	return keeper_ask_region(dir, session, &(struct agent_keep){ .op = AGENT_KEEP_RECORDS, .start_time = number },
	                         kept);
}

int agent_keeper_process(const struct agent_dir *dir, const char *session, pid_t pid, uint64_t start_time,
                         struct agent_kept *kept)
{
	struct agent_keep ask = { .op = AGENT_KEEP_PROCESS, .start_time = start_time, .pid = (uint32_t)pid };

	return keeper_ask_region(dir, session, &ask, kept);
}
