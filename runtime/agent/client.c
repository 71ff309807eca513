/* SPDX-License-Identifier: MIT */
#include "runtime/agent/client.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <probepoint.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/notice.h"
#include "runtime/agent/backoff.h"
#include "runtime/process.h"

#define REPLY_MS 3000              /* time limit of a reply: an agent that hangs must not delay the others for long */
#define SEND_MS 200                /* time limit of sending a request whose reply is not read */
#define RESCAN_MS 10000            /* time limit of AGENT_RESCAN, because arming many sites takes longer */
#define DEAD_SECONDS 2             /* a socket is not removed before it has this age */
#define CONNECTION_NS 20000000000u /* time limit of all requests of one connection */

/* ---- connections ---- */

static int fail_reply(pid_t pid, int err)
{
	if (err == EAGAIN || err == EWOULDBLOCK) {
		backoff_add(pid);
		return error_set(ETIMEDOUT, "pid %d: the agent does not reply", pid);
	}
	return error_set(err, "pid %d: cannot reach the agent: %s", pid, strerror(err));
}

static void socket_set_timeout(int fd, unsigned ms)
{
	struct timeval limit = { .tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000 };

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
}

static struct sockaddr_un socket_address(const struct agent_dir *dir, pid_t pid)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };

	/* The path of the directory may be too long for an address. */
	snprintf(to.sun_path, sizeof(to.sun_path), "/proc/self/fd/%d/%d", dir->agents, pid);
	return to;
}

static int socket_connect(int fd, const struct agent_dir *dir, pid_t pid)
{
	struct sockaddr_un to = socket_address(dir, pid);
	struct ucred owner = { 0 };
	socklen_t size = sizeof(owner);

	if (connect(fd, (struct sockaddr *)&to, sizeof(to)))
		return errno == ENOENT || errno == ECONNREFUSED ? -ENOENT : fail_reply(pid, errno);
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &owner, &size))
		return fail_reply(pid, errno);
	if ((owner.uid != geteuid() && owner.uid != 0) || owner.pid != pid)
		return error_set(EPERM, "'%s/agents/%d': the socket belongs to pid %d of uid %u", dir->path, pid,
		                 owner.pid, owner.uid);
	return 0;
}

/* Returns a descriptor, or a negative errno as agent_connect(). */
static int socket_open(const struct agent_dir *dir, pid_t pid, unsigned ms)
{
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0), err;

	if (fd < 0)
		return error_set(errno, "cannot create a socket: %s", strerror(errno));
	socket_set_timeout(fd, ms);
	err = socket_connect(fd, dir, pid);
	if (err) {
		close(fd);
		return err;
	}
	return fd;
}

int agent_connect(const struct agent_dir *dir, pid_t pid, struct agent_peer *peer)
{
	return agent_connect_within(dir, pid, peer, REPLY_MS);
}

int agent_connect_within(const struct agent_dir *dir, pid_t pid, struct agent_peer *peer, unsigned ms)
{
	struct agent_hello hello;
	struct agent_answer answer = { .items = &hello, .max = 1, .item_size = sizeof(hello) };
	int n;

	*peer = (struct agent_peer){
		.fd = -1, .pid = pid, .start_time = process_start_time(pid), .until = clock_ns() + CONNECTION_NS
	};
	if (dir->agents < 0 || !peer->start_time)
		return -ENOENT;
	if (process_is_stopped(pid))
		return error_set(ETIMEDOUT, "pid %d: the process is stopped, so its agent does not reply", pid);
	if (backoff_is_active(pid))
		return error_set(ETIMEDOUT, "pid %d: the agent does not reply", pid);
	peer->fd = socket_open(dir, pid, backoff_timeout(pid, ms));
	if (peer->fd < 0)
		return peer->fd;
	n = agent_ask(peer, &(struct agent_query){ .op = AGENT_HELLO, .session = "" }, &answer);
	if (n == 1 && hello.pid == (uint32_t)pid && hello.start_time == peer->start_time) {
		peer->reason = hello.reason;
		peer->not_interposed = hello.not_interposed == 1;
		backoff_clear(pid, peer->start_time);
		return 0;
	}
	agent_disconnect(peer);
	return n < 0 ? n : error_set(EPROTO, "pid %d: malformed reply from the agent: it names another process", pid);
}

void agent_disconnect(struct agent_peer *peer)
{
	if (peer->fd >= 0)
		close(peer->fd);
	peer->fd = -1;
}

/* ---- requests ---- */

static int request_send(int fd, pid_t pid, const struct agent_query *query)
{
	struct agent_request request = { .magic = AGENT_MESSAGE_MAGIC,
		                         .version = AGENT_VERSION,
		                         .op = (uint16_t)query->op,
		                         .attachment = query->attachment,
		                         .first = query->first };

	snprintf(request.session, AGENT_SESSION_MAX + 1, "%s", query->session);
	return send(fd, &request, sizeof(request), MSG_NOSIGNAL) == sizeof(request) ? 0 : fail_reply(pid, errno);
}

/* Returns the first descriptor of the message and closes the others; -1: it has no descriptor. */
static int message_take_fd(struct msghdr *message)
{
	int fd = -1;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
		size_t n = c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS
		                   ? (c->cmsg_len - CMSG_LEN(0)) / sizeof(int)
		                   : 0;

		for (size_t i = 0; i < n; i++) {
			int got;

			memcpy(&got, CMSG_DATA(c) + i * sizeof(int), sizeof(got));
			if (fd < 0)
				fd = got;
			else
				close(got);
		}
	}
	return fd;
}

/* Checks `size` bytes of a reply. Returns the number of items, or a negative errno. */
static int reply_check(const struct agent_peer *peer, const struct agent_query *query,
                       const struct agent_answer *answer, const struct agent_reply *reply, size_t size, bool truncated)
{
	if (!size)
		return error_set(ECONNRESET, "pid %d: the agent closed the connection; the process may have ended",
		                 peer->pid);
	if (size < sizeof(*reply) || reply->magic != AGENT_MESSAGE_MAGIC || reply->op != query->op)
		return error_set(EPROTO, "pid %d: malformed reply from the agent", peer->pid);
	if (reply->version != AGENT_VERSION)
		return error_set(EPROTO, "pid %d: the agent uses version %u of the protocol, this command version %u",
		                 peer->pid, reply->version, AGENT_VERSION);
	if (reply->error)
		return reply->error < 0 && reply->error > -4096 ? reply->error : -EPROTO;
	if (truncated || reply->size != size - sizeof(*reply) || reply->count > answer->max ||
	    reply->count * answer->item_size != reply->size)
		return error_set(EPROTO, "pid %d: malformed reply from the agent: wrong size", peer->pid);
	return (int)reply->count;
}

int agent_ask(struct agent_peer *peer, const struct agent_query *query, struct agent_answer *answer)
{
	struct agent_reply reply = { 0 };
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(4 * sizeof(int))];
	struct iovec parts[2] = { { &reply, sizeof(reply) }, { answer->items, answer->max * answer->item_size } };
	struct msghdr message = { .msg_iov = parts,
		                  .msg_iovlen = answer->max ? 2 : 1,
		                  .msg_control = control,
		                  .msg_controllen = sizeof(control) };
	uint64_t began = clock_ns();
	ssize_t size;
	int err, fd;

	answer->reason = AGENT_OK;
	answer->fd = -1;
	if (began > peer->until)
		return fail_reply(peer->pid, EAGAIN);
	err = request_send(peer->fd, peer->pid, query);
	if (err)
		return err;
	do
		size = recvmsg(peer->fd, &message, MSG_CMSG_CLOEXEC);
	while (size < 0 && errno == EINTR);
	if (size < 0) {
		err = errno;
		if (err == EAGAIN)
			backoff_spend(clock_ns() - began);
		return fail_reply(peer->pid, err);
	}
	fd = message_take_fd(&message);
	err = reply_check(peer, query, answer, &reply, (size_t)size, message.msg_flags & MSG_TRUNC);
	if (err < 0 && (size_t)size >= sizeof(reply) && reply.reason < AGENT_REASONS)
		answer->reason = reply.reason;
	if (answer->wants_fd && err >= 0)
		answer->fd = fd;
	else if (fd >= 0)
		close(fd);
	return err;
}

/* ---- all agents ---- */

/* Returns a number that distinguishes a socket from a later socket of the same name. */
static uint64_t socket_key(const struct stat *st)
{
	return (uint64_t)st->st_ino * 0x9e3779b97f4a7c15u ^ ((uint64_t)st->st_ctim.tv_sec << 30) ^
	       (uint64_t)st->st_ctim.tv_nsec;
}

/*
 * Returns whether no process of this pid exists and none listens at the socket: the pid may be one of another pid namespace. A
 * new socket may have a process that does not listen yet.
 */
static bool socket_is_dead(const struct agent_dir *dir, pid_t pid, const struct stat *st)
{
	struct sockaddr_un to = socket_address(dir, pid);
	struct timespec now;
	bool dead;
	int fd;

	clock_gettime(CLOCK_REALTIME, &now);
	if (now.tv_sec - st->st_mtim.tv_sec < DEAD_SECONDS || !kill(pid, 0) || errno != ESRCH)
		return false;
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return false;
	dead = connect(fd, (struct sockaddr *)&to, sizeof(to)) && errno == ECONNREFUSED;
	close(fd);
	return dead;
}

/* Removes the socket of a process that ended without removing it. Returns false if it is not one. */
static bool socket_remove_dead(const struct agent_dir *dir, const char *name, pid_t pid, const struct stat *st)
{
	struct stat now;

	if (!socket_is_dead(dir, pid, st))
		return false;
	/* Another process may have the pid by now. */
	if (!fstatat(dir->agents, name, &now, AT_SYMLINK_NOFOLLOW) && socket_key(&now) == socket_key(st))
		unlinkat(dir->agents, name, 0);
	return true;
}

int agent_each_socket(const struct agent_dir *dir, int (*fn)(pid_t pid, uint64_t key, void *arg), void *arg)
{
	int fd = dir->agents < 0 ? -1 : openat(dir->agents, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), err = 0;
	DIR *d = fd < 0 ? NULL : fdopendir(fd);

	if (!d) {
		if (fd >= 0)
			close(fd);
		return 0;
	}
	for (struct dirent *entry; !err && (entry = readdir(d));) {
		unsigned long pid;
		struct stat st;
		char *end;

		if (entry->d_name[0] < '1' || entry->d_name[0] > '9')
			continue;
		pid = strtoul(entry->d_name, &end, 10);
		if (*end || pid > INT_MAX || fstatat(dir->agents, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) ||
		    !S_ISSOCK(st.st_mode) || socket_remove_dead(dir, entry->d_name, (pid_t)pid, &st))
			continue;
		err = fn((pid_t)pid, socket_key(&st), arg);
	}
	closedir(d);
	return err;
}

struct rescan {
	const struct agent_dir *dir;
	const char *session;
};

static int rescan_one(pid_t pid, uint64_t key, void *arg)
{
	const struct rescan *r = arg;
	const struct agent_query query = { .op = AGENT_RESCAN, .session = r->session };
	struct agent_attachment_state
		states[(AGENT_MESSAGE_MAX - sizeof(struct agent_reply)) / sizeof(struct agent_attachment_state)];
	struct agent_answer answer = { .items = states,
		                       .max = sizeof(states) / sizeof(*states),
		                       .item_size = sizeof(*states) };
	struct agent_peer peer;
	int err = agent_connect(r->dir, pid, &peer);
	bool silent = err == -ETIMEDOUT;

	(void)key;
	if (!err) {
		socket_set_timeout(peer.fd, backoff_timeout(pid, RESCAN_MS));
		err = agent_ask(&peer, &query, &answer);
		agent_disconnect(&peer);
	}
	if (err == -ETIMEDOUT)
		notice_add("%s; its points are armed or disarmed when it does", pp_error());
	if (silent) {
		/* The request stays in the socket, and the agent reads it when it runs again. */
		int fd = socket_open(r->dir, pid, SEND_MS);

		if (fd >= 0) {
			request_send(fd, pid, &query);
			close(fd);
		}
	}
	return 0;
}

void agent_rescan_all(const struct agent_dir *dir, const char *session, const pid_t *pids, size_t npids)
{
	struct rescan r = { dir, session };

	if (!npids)
		agent_each_socket(dir, rescan_one, &r);
	for (size_t i = 0; i < npids; i++)
		rescan_one(pids[i], 0, &r);
}
