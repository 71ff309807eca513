/* SPDX-License-Identifier: MIT */
/*
 * The keeper. What a process counts lies in a memfd that ends with its last holder. A
 * process that ends by exit(3) writes its counts down itself; one that ends by
 * _exit(2) or a signal, or goes on by exec(2), cannot. So there is one small process
 * for each state folder, which the first command that arms something starts, and to
 * which agents hand their shared memory regions. It sleeps in poll(2).
 *
 * An agent keeps its connection as long as its shared memory region is in use. When the connection
 * ends, the keeper looks at the process: one that has ended leaves its counts in
 * counts-N-PID, unless it wrote them itself; one that no longer maps the memory has
 * called exec(2), and they are added to past-N-PID; any other still counts, and is
 * looked at until it does one or the other. Commands that read counts ask for this to
 * be done first; what such a process has counted so far is then in last-N-PID.
 *
 * It ends when it holds nothing and there is no session, or when the state folder goes.
 */
#include "runtime/agent/keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "runtime/process.h"
#include "base/error.h"

#define SETTLE_NS 300000000ull /* what is not clear by then is answered as it is */
#define SOON_NS 100000000ull   /* a process whose connection has ended is looked at often for so long */

struct kept {
	int conn;  /* -1: it has ended */
	bool left; /* the process has left the session */
	uint64_t since;
	ino_t inode; /* of the memory */
	char session[AGENT_SESSION_MAX + 1];
	struct member member;
};

struct keeper {
	struct agent_store store;
	int listener, changes;
	struct kept *kept;
	size_t n;
	bool ends;
};

static struct sockaddr_un address(const struct agent_store *store)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	snprintf(a.sun_path, sizeof(a.sun_path), "/proc/self/fd/%d/" AGENT_KEEPER, store->agents);
	return a;
}

static int open_connection(const struct agent_store *store)
{
	struct sockaddr_un to = address(store);
	struct timeval limit = { .tv_sec = 1 };
	struct ucred who = { 0 };
	socklen_t size = sizeof(who);
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	if (!connect(fd, (struct sockaddr *)&to, sizeof(to)) && !getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &size) &&
	    who.uid == geteuid())
		return fd;
	close(fd);
	return -ENOENT;
}

/* ---- one process's ---- */

static bool has_ended(const struct kept *k)
{
	struct pollfd p = { .fd = k->member.pidfd, .events = POLLIN };

	return poll(&p, 1, 0) > 0;
}

static bool maps_it(const struct kept *k)
{
	struct process *process;
	bool mapped = true;

	if (process_open(k->member.peer.pid, &process))
		return true; /* about to end */
	if (!process_read_maps(process)) {
		mapped = !process->nmaps; /* on its way out */
		for (size_t i = 0; i < process->nmaps && !mapped; i++)
			mapped =
				process->maps[i].inode == k->inode && strstr(process->maps[i].path, "memfd:probepoint");
	}
	process_free(process);
	return mapped;
}

struct saving {
	const struct agent_store *store;
	const struct kept *kept;
	const char *name;
};

static int save_attachment(uint32_t number, pid_t pid, void *arg)
{
	const struct saving *s = arg;
	struct agent_file file;

	if (pid || agent_file_read(s->store, number, &file))
		return 0;
	member_save(s->store, &s->kept->member, number, file.manifest->npoints, s->name);
	agent_file_release(&file);
	return 0;
}

static void save(const struct kept *k, const char *name)
{
	struct saving s = { .kept = k, .name = name };
	struct agent_store store;

	if (agent_store_open(&store, k->session, false))
		return;
	s.store = &store;
	agent_store_each(&store, "segment", save_attachment, &s);
	if (strcmp(name, "last"))
		agent_store_unlink(&store, "unkept", 0, k->member.peer.pid);
	agent_store_close(&store);
}

static void forget(struct keeper *keeper, size_t i)
{
	struct kept *k = &keeper->kept[i];

	if (k->conn >= 0)
		close(k->conn);
	close(k->member.pidfd);
	shm_unmap(&k->member.shm);
	*k = keeper->kept[--keeper->n];
}

/* false: it is not clear what has become of it. */
static bool settle_one(struct keeper *keeper, size_t i)
{
	const struct kept *k = &keeper->kept[i];
	bool moved = __atomic_load_n(&k->member.shm.header->moved, __ATOMIC_ACQUIRE) == 1;

	if (k->conn >= 0)
		return true;
	if (k->left) {
		forget(keeper, i);
		return true;
	}
	if (!moved && !has_ended(k) && maps_it(k))
		return false;
	/* It may have ended while we looked. */
	if (!moved && has_ended(k))
		save(k, "counts");
	else if (!moved && member_claim(&k->member))
		save(k, "past");
	forget(keeper, i);
	return true;
}

static bool settle(struct keeper *keeper)
{
	bool clear = true;

	for (size_t i = 0; i < keeper->n;) {
		size_t n = keeper->n;

		if (!settle_one(keeper, i) && clock_ns() - keeper->kept[i].since < SETTLE_NS)
			clear = false;
		i += n == keeper->n;
	}
	return clear;
}

/* ---- who comes ---- */

static bool receive(int conn, struct agent_keep *keep, int *fd)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))];
	struct iovec part = { keep, sizeof(*keep) };
	struct msghdr message = {
		.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)
	};
	ssize_t n = recvmsg(conn, &message, MSG_CMSG_CLOEXEC);

	*fd = -1;
	for (struct cmsghdr *c = n >= 0 ? CMSG_FIRSTHDR(&message) : NULL; c; c = CMSG_NXTHDR(&message, c))
		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS && c->cmsg_len >= CMSG_LEN(sizeof(int)))
			memcpy(fd, CMSG_DATA(c), sizeof(*fd));
	return n == sizeof(*keep) && keep->magic == AGENT_KEEP_MAGIC && keep->version == AGENT_VERSION &&
	       !keep->session[AGENT_SESSION_MAX];
}

static bool take(struct keeper *keeper, int conn, const struct agent_keep *keep, int fd, pid_t pid)
{
	struct kept *more = realloc(keeper->kept, (keeper->n + 1) * sizeof(*more)), *k;
	struct stat st;

	if (more)
		keeper->kept = more;
	if (!more || fstat(fd, &st)) {
		close(fd);
		return false;
	}
	k = &more[keeper->n];
	*k = (struct kept){ .conn = conn, .inode = st.st_ino };
	memcpy(k->session, keep->session, AGENT_SESSION_MAX);
	k->member.peer = (struct agent_peer){ .fd = -1, .pid = pid, .start_time = keep->start_time };
	k->member.pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (k->member.pidfd < 0 || process_start_time(pid) != keep->start_time) {
		if (k->member.pidfd >= 0)
			close(k->member.pidfd);
		close(fd);
		return false;
	}
	if (shm_map(&k->member.shm, fd, pid)) {
		close(k->member.pidfd);
		return false;
	}
	keeper->n++;
	return true;
}

static void hear(struct keeper *keeper);

/* What has come in so far, and what has become of those whose connections have ended. */
static void settle_all(struct keeper *keeper)
{
	uint64_t until = clock_ns() + SETTLE_NS;

	do {
		hear(keeper);
		if (settle(keeper))
			break;
		poll(NULL, 0, 1);
	} while (clock_ns() < until);
	/* A process whose agent has left it, for a filter of system calls, counts on, and cannot be asked. */
	for (size_t i = 0; i < keeper->n; i++)
		if (keeper->kept[i].conn < 0)
			save(&keeper->kept[i], "last");
}

static void meet(struct keeper *keeper)
{
	int conn = accept4(keeper->listener, NULL, NULL, SOCK_CLOEXEC), fd = -1;
	struct timeval limit = { .tv_usec = 200000 };
	struct agent_keep keep = { 0 };
	struct ucred who = { 0 };
	socklen_t size = sizeof(who);
	bool kept = false;

	if (conn < 0)
		return;
	setsockopt(conn, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	if (!getsockopt(conn, SOL_SOCKET, SO_PEERCRED, &who, &size) && (!who.uid || who.uid == geteuid()) &&
	    receive(conn, &keep, &fd)) {
		if (keep.op == AGENT_KEEP_SETTLE) {
			settle_all(keeper);
			send(conn, "", 1, MSG_NOSIGNAL | MSG_DONTWAIT);
		} else if (keep.op == AGENT_KEEP_SHM && fd >= 0 && who.pid > 0) {
			kept = take(keeper, conn, &keep, fd, who.pid);
			fd = -1;
			send(conn, kept ? "1" : "0", 1, MSG_NOSIGNAL | MSG_DONTWAIT);
		}
	}
	if (fd >= 0)
		close(fd);
	if (!kept)
		close(conn);
}

/* Marks those whose connections have ended. */
static void hear(struct keeper *keeper)
{
	for (size_t i = 0; i < keeper->n; i++) {
		struct pollfd p = { .fd = keeper->kept[i].conn, .events = POLLIN };
		char byte;

		if (p.fd < 0 || poll(&p, 1, 0) <= 0)
			continue;
		/* One byte comes before the end if the process leaves the session. */
		keeper->kept[i].left = recv(p.fd, &byte, 1, MSG_DONTWAIT) == 1;
		close(p.fd);
		keeper->kept[i].conn = -1;
		keeper->kept[i].since = clock_ns();
	}
}

static int found(const char *name, void *arg)
{
	(void)name;
	*(bool *)arg = true;
	return 1;
}

/* Under the lock by which one is started, so that nobody finds one that is about to end. */
static bool may_end(struct keeper *keeper)
{
	bool sessions = false;
	struct stat st;

	if (keeper->n)
		return false;
	flock(keeper->store.agents, LOCK_EX);
	if (!fstat(keeper->store.root, &st) && st.st_nlink)
		agent_store_names(found, &sessions);
	if (!sessions)
		unlinkat(keeper->store.agents, AGENT_KEEPER, 0);
	flock(keeper->store.agents, LOCK_UN);
	return !sessions;
}

static void keep(struct keeper *keeper)
{
	char events[4096] __attribute__((aligned(8)));
	struct pollfd *polled = NULL;

	do {
		size_t n = 2;
		int wait = -1;
		struct pollfd *more = realloc(polled, (2 * keeper->n + 2) * sizeof(*polled));

		if (!more)
			break;
		polled = more;
		polled[0] = (struct pollfd){ .fd = keeper->listener, .events = POLLIN };
		polled[1] = (struct pollfd){ .fd = keeper->changes, .events = POLLIN };
		for (size_t i = 0; i < keeper->n; i++) {
			const struct kept *k = &keeper->kept[i];

			polled[n++] =
				(struct pollfd){ .fd = k->conn >= 0 ? k->conn : k->member.pidfd, .events = POLLIN };
			if (k->conn < 0 && wait != 2)
				wait = clock_ns() - k->since < SOON_NS ? 2 : 1000;
		}
		if (poll(polled, n, wait) < 0 && errno != EINTR)
			break;
		if (polled[1].revents && read(keeper->changes, events, sizeof(events)) < 0)
			break;
		hear(keeper);
		settle(keeper);
		if (polled[0].revents)
			meet(keeper);
	} while (!may_end(keeper));
	free(polled);
}

/* ---- starting it ---- */

static void raise_limit(void)
{
	struct rlimit limit;

	if (!getrlimit(RLIMIT_NOFILE, &limit)) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

/* Of what it inherits it keeps four descriptors. */
static void become_keeper(struct keeper *keeper)
{
	int *own[] = { &keeper->listener, &keeper->changes, &keeper->store.root, &keeper->store.agents };
	int null = open("/dev/null", O_RDWR | O_CLOEXEC), high[4];
	sigset_t none;

	setsid();
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	for (int sig = 1; sig < 32; sig++)
		signal(sig, SIG_DFL);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	for (int i = 0; i < 4; i++)
		high[i] = fcntl(*own[i], F_DUPFD_CLOEXEC, 64);
	for (int i = 0; i < 3; i++)
		dup2(null, i);
	syscall(SYS_close_range, 3, 63, 0);
	for (int i = 0; i < 4; i++) {
		*own[i] = fcntl(high[i], F_DUPFD_CLOEXEC, 3);
		if (*own[i] < 0)
			_exit(1);
	}
	syscall(SYS_close_range, 7, ~0u, 0);
	raise_limit();
	if (chdir("/"))
		_exit(1);
	keep(keeper);
	_exit(0);
}

static int make_socket(const struct agent_store *store)
{
	struct sockaddr_un a = address(store);
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	unlinkat(store->agents, AGENT_KEEPER, 0);
	if (bind(fd, (struct sockaddr *)&a, sizeof(a)) || fchmodat(store->agents, AGENT_KEEPER, 0600, 0) ||
	    listen(fd, 4096)) {
		int err = -errno;

		close(fd);
		return err;
	}
	return fd;
}

int agent_keeper_start(const struct agent_store *store)
{
	struct keeper keeper = { .store = *store, .listener = -1, .changes = -1 };
	int fd, err = 0;
	pid_t pid;

	if (store->agents < 0)
		return -ENOENT;
	fd = open_connection(store);
	if (fd >= 0) {
		close(fd);
		return 0;
	}
	if (flock(store->agents, LOCK_EX))
		return -errno;
	fd = open_connection(store);
	if (fd >= 0) {
		close(fd);
		goto out;
	}
	keeper.listener = err = make_socket(store);
	if (err < 0)
		goto out;
	keeper.changes = inotify_init1(IN_CLOEXEC);
	if (keeper.changes >= 0) {
		char path[40];

		snprintf(path, sizeof(path), "/proc/self/fd/%d", store->root);
		inotify_add_watch(keeper.changes, path, IN_DELETE | IN_MOVED_FROM | IN_DELETE_SELF | IN_ONLYDIR);
	}
	/* Twice, so that it is nobody's child who waits here. */
	pid = keeper.changes < 0 ? -1 : fork();
	err = pid < 0 ? -errno : 0;
	if (!pid) {
		pid = fork();
		if (!pid)
			become_keeper(&keeper);
		_exit(pid < 0);
	}
	if (pid > 0)
		while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			;
out:
	if (keeper.listener >= 0)
		close(keeper.listener);
	if (keeper.changes >= 0)
		close(keeper.changes);
	flock(store->agents, LOCK_UN);
	return err;
}

void agent_keeper_settle(const struct agent_store *store)
{
	struct agent_keep ask = { .magic = AGENT_KEEP_MAGIC, .version = AGENT_VERSION, .op = AGENT_KEEP_SETTLE };
	int fd = store->agents < 0 ? -1 : open_connection(store);
	char byte;

	if (fd < 0)
		return;
	if (send(fd, &ask, sizeof(ask), MSG_NOSIGNAL) == sizeof(ask) && recv(fd, &byte, 1, 0) < 0) {}
	close(fd);
}
