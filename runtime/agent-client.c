/* SPDX-License-Identifier: MIT */
#include "runtime/agent-client.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "runtime/process.h"
#include "sdt/error.h"

#define START_MS 1000
#define ANSWER_SECONDS 3 /* one that hangs is not to stop those who wait for others */
#define LOOK_SECONDS 10  /* arming a great many sites takes a while */

static int no_answer(pid_t pid, int err)
{
	if (err == EAGAIN || err == EWOULDBLOCK)
		return error_set(ETIMEDOUT, "the agent of process %d does not answer", pid);
	return error_set(err, "the agent of process %d: %s", pid, strerror(err));
}

static int open_socket(const struct agent_store *store, pid_t pid, int seconds)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	struct timeval limit = { .tv_sec = seconds };
	struct ucred who = { 0 };
	socklen_t size = sizeof(who);
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0), err = 0;

	if (fd < 0)
		return error_set(errno, "cannot make a socket: %s", strerror(errno));
	/* The folder's own path may be too long for an address. */
	snprintf(to.sun_path, sizeof(to.sun_path), "/proc/self/fd/%d/%d", store->agents, pid);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	if (connect(fd, (struct sockaddr *)&to, sizeof(to)))
		err = errno == ENOENT || errno == ECONNREFUSED ? -ENOENT : no_answer(pid, errno);
	else if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &size))
		err = no_answer(pid, errno);
	else if ((who.uid != geteuid() && who.uid != 0) || who.pid != pid)
		err = error_set(EPERM, "%s/agents/%d belongs to process %d of uid %u", store->path, pid, who.pid, who.uid);
	if (!err)
		return fd;
	close(fd);
	return err;
}

static int send_request(int fd, pid_t pid, enum agent_op op, const char *session, uint32_t segment, uint32_t first)
{
	struct agent_request request = { .magic = AGENT_MESSAGE_MAGIC, .version = AGENT_VERSION, .op = (uint16_t)op,
	                                 .segment = segment & ~SEGMENT_AGENT, .first = first };

	snprintf(request.session, AGENT_SESSION_MAX + 1, "%s", session);
	return send(fd, &request, sizeof(request), MSG_NOSIGNAL) == sizeof(request) ? 0 : no_answer(pid, errno);
}

static void take_descriptors(struct msghdr *message, int *fd)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
		size_t n = c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS
		                   ? (c->cmsg_len - CMSG_LEN(0)) / sizeof(int) : 0;

		for (size_t i = 0; i < n; i++) {
			int got;

			memcpy(&got, CMSG_DATA(c) + i * sizeof(int), sizeof(got));
			if (fd && *fd < 0)
				*fd = got;
			else
				close(got);
		}
	}
}

int agent_ask(struct agent_peer *peer, enum agent_op op, const char *session, uint32_t segment, uint32_t first,
              void *things, size_t n, size_t size, uint32_t *reason, int *fd)
{
	struct agent_reply reply = { 0 };
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(4 * sizeof(int))];
	struct iovec parts[2] = { { &reply, sizeof(reply) }, { things, n * size } };
	struct msghdr message = { .msg_iov = parts, .msg_iovlen = n ? 2 : 1, .msg_control = control,
	                          .msg_controllen = sizeof(control) };
	int err = send_request(peer->fd, peer->pid, op, session, segment, first), got_fd = -1;
	ssize_t got;

	if (reason)
		*reason = AGENT_OK;
	if (fd)
		*fd = -1;
	if (err)
		return err;
	do
		got = recvmsg(peer->fd, &message, MSG_CMSG_CLOEXEC);
	while (got < 0 && errno == EINTR);
	if (got < 0)
		return no_answer(peer->pid, errno);
	take_descriptors(&message, &got_fd);
	if (!got)
		err = error_set(ECONNRESET, "the agent of process %d hung up: has the process ended?", peer->pid);
	else if ((size_t)got < sizeof(reply) || reply.magic != AGENT_MESSAGE_MAGIC || reply.op != op)
		err = error_set(EPROTO, "process %d answers nothing that an agent would", peer->pid);
	else if (reply.version != AGENT_VERSION)
		err = error_set(EPROTO, "the agent of process %d speaks version %u of the protocol, and this is %u", peer->pid,
		                reply.version, AGENT_VERSION);
	else if (reply.error)
		err = reply.error < 0 && reply.error > -4096 ? reply.error : -EPROTO;
	else if (message.msg_flags & MSG_TRUNC || reply.size != got - sizeof(reply) || reply.count > n ||
	         reply.count * size != reply.size)
		err = error_set(EPROTO, "the agent of process %d answers more or less than it says", peer->pid);
	if (reason && err && (size_t)got >= sizeof(reply))
		*reason = reply.reason < AGENT_REASONS ? reply.reason : AGENT_OK;
	if (fd && !err)
		*fd = got_fd;
	else if (got_fd >= 0)
		close(got_fd);
	return err ? err : (int)reply.count;
}

bool agent_is_loaded(pid_t pid)
{
	char path[32], line[PATH_MAX + 128];
	bool mapped = false;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	f = fopen(path, "re");
	while (f && !mapped && fgets(line, sizeof(line), f))
		mapped = strstr(line, "/libprobepoint-agent.so") != NULL;
	if (f)
		fclose(f);
	return mapped;
}

int agent_connect_new(const struct agent_store *store, pid_t pid, struct agent_peer *peer)
{
	int err = agent_connect(store, pid, peer);

	for (int i = 0; err == -ENOENT && i < START_MS / 5 && agent_is_loaded(pid); i++) {
		nanosleep(&(struct timespec){ .tv_nsec = 5000000 }, NULL);
		err = agent_connect(store, pid, peer);
	}
	return err;
}

int agent_connect(const struct agent_store *store, pid_t pid, struct agent_peer *peer)
{
	struct agent_hello hello;
	int err;

	*peer = (struct agent_peer){ .fd = -1, .pid = pid, .start_time = process_start_time(pid) };
	if (store->agents < 0 || !peer->start_time)
		return -ENOENT;
	if (process_is_stopped(pid))
		return error_set(ETIMEDOUT, "process %d is stopped, and its agent with it", pid);
	peer->fd = open_socket(store, pid, ANSWER_SECONDS);
	if (peer->fd < 0)
		return peer->fd;
	err = agent_ask(peer, AGENT_HELLO, "", 0, 0, &hello, 1, sizeof(hello), NULL, NULL);
	if (err == 1 && hello.pid == (uint32_t)pid && hello.start_time == peer->start_time) {
		peer->reason = hello.reason;
		peer->behind = hello.behind == 1;
		return 0;
	}
	agent_disconnect(peer);
	return err < 0 ? err : error_set(EPROTO, "the agent of process %d says that it is another's", pid);
}

void agent_disconnect(struct agent_peer *peer)
{
	if (peer->fd >= 0)
		close(peer->fd);
	peer->fd = -1;
}

const char *agent_reason_text(uint32_t reason, const uint8_t found[10])
{
	static _Thread_local char text[160];
	int n;

	switch (reason) {
	case AGENT_BYTES:
		n = snprintf(text, sizeof(text), "no nop of 10 bytes stands behind the site, but");
		for (int i = 0; i < 10 && found; i++)
			n += snprintf(text + n, sizeof(text) - n, " %02x", found[i]);
		snprintf(text + n, sizeof(text) - n, ": -b kernel arms such a site");
		return text;
	case AGENT_BLOCK:
		return "the site is not aligned as one that can be patched while it runs: -b kernel arms it";
	case AGENT_NOT_TEXT:
		return "the site is in no private mapping of code";
	case AGENT_PROTECT:
		return "mprotect() of its code was refused: a policy such as SELinux's execmod forbids to change it";
	case AGENT_FAR:
		return "there is no room for slots as near to the site as a jump reaches";
	case AGENT_MEMORY:
		return "its agent is out of memory";
	case AGENT_SEMAPHORE:
		return "its semaphore is in no private and writable mapping, or is as high as it can be";
	case AGENT_MEMBARRIER:
		return "membarrier(SYNC_CORE) is missing, or a seccomp filter forbids it: -b kernel does without";
	case AGENT_CPU:
		return "the agent needs a CPU with lahf";
	case AGENT_PLACES_FULL:
		return "the session has more sites in it than its agent takes";
	case AGENT_SESSIONS_FULL:
		return "its agent takes no further session";
	case AGENT_CONSUMERS_FULL:
		return "too many sessions have armed this site";
	case AGENT_PROGRAM:
		return "its agent cannot run what reads the arguments";
	case AGENT_FILE:
		return "its agent finds the session's file damaged, or is of another version";
	case AGENT_FOLDER:
		return "its agent cannot read the session's folder";
	case AGENT_BUSY:
		return "a library is being unloaded, and does not end";
	case AGENT_READ_BACK:
		return "the jump was written, and is not there";
	case AGENT_LIMIT:
		return "a resource limit (file size, address space) is too small for the agent's buffers";
	case AGENT_CALLS:
		return "its filter reads memory that only a system call can read safely, and hits make none there: a thread "
		       "has a filter of system calls (seccomp), or the agent would not hear of one; -b kernel reads it, "
		       "--system-calls allows them";
	default:
		return "its agent gives no reason";
	}
}

int agent_each(const struct agent_store *store, int (*fn)(pid_t pid, uint64_t key, void *arg), void *arg)
{
	int fd = store->agents < 0 ? -1 : openat(store->agents, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), err = 0;
	DIR *d = fd < 0 ? NULL : fdopendir(fd);

	if (!d && fd >= 0)
		close(fd);
	for (struct dirent *entry; d && !err && (entry = readdir(d));) {
		unsigned long pid;
		struct stat st;
		char *end;

		if (entry->d_name[0] < '1' || entry->d_name[0] > '9')
			continue;
		pid = strtoul(entry->d_name, &end, 10);
		if (*end || pid > INT_MAX || fstatat(store->agents, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) ||
		    !S_ISSOCK(st.st_mode))
			continue;
		err = fn((pid_t)pid, (uint64_t)st.st_ino * 0x9e3779b97f4a7c15u ^ ((uint64_t)st.st_ctim.tv_sec << 30) ^
		                 (uint64_t)st.st_ctim.tv_nsec, arg);
	}
	if (d)
		closedir(d);
	return err;
}

struct look {
	const struct agent_store *store;
	const char *session;
};

static int look(pid_t pid, uint64_t key, void *arg)
{
	const struct look *l = arg;
	struct agent_segment_state states[(AGENT_MESSAGE_MAX - sizeof(struct agent_reply)) /
	                                  sizeof(struct agent_segment_state)];
	struct agent_peer peer = { .fd = open_socket(l->store, pid, LOOK_SECONDS), .pid = pid };

	(void)key;
	if (peer.fd < 0)
		return 0;
	/* One that is stopped finds the request when it runs on. */
	if (process_is_stopped(pid))
		send_request(peer.fd, pid, AGENT_LOOK, l->session, 0, 0);
	else
		agent_ask(&peer, AGENT_LOOK, l->session, 0, 0, states, sizeof(states) / sizeof(*states), sizeof(*states),
		          NULL, NULL);
	agent_disconnect(&peer);
	return 0;
}

void agent_look_all(const struct agent_store *store, const char *session, const pid_t *pids, size_t npids)
{
	struct look l = { store, session };

	if (!npids)
		agent_each(store, look, &l);
	for (size_t i = 0; i < npids; i++)
		look(pids[i], 0, &l);
}

bool agent_may_use_kernel(void)
{
	unsigned long long caps = 0;
	char line[256];
	FILE *f = fopen("/proc/self/status", "re");

	while (f && fgets(line, sizeof(line), f))
		sscanf(line, "CapEff: %llx", &caps);
	if (f)
		fclose(f);
	/* CAP_SYS_ADMIN, or CAP_PERFMON and CAP_BPF */
	return caps >> 21 & 1 || (caps >> 38 & 3) == 3;
}
