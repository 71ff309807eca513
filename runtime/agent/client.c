/* SPDX-License-Identifier: MIT */
#include "runtime/agent/client.h"

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

#include "runtime/agent/wake.h"
#include "base/clock.h"
#include "runtime/agent/environment.h"
#include "base/notice.h"
#include "runtime/process.h"
#include "base/error.h"

#define START_MS 1000
#define ANSWER_MS 3000       /* one that hangs is not to stop those who wait for others */
#define HURRIED_MS 200       /* after so much waiting in vain */
#define WAITED_MS 6000       /* by this thread, for all agents together */
#define LOOK_MS 10000        /* arming a great many sites takes a while */
#define TALK_NS 20000000000u /* of a whole conversation */
#define PAUSE_NS 500000000u  /* until one that did not answer is asked again; doubled each time, up to 8 times that */

/* ---- agents that do not answer ---- */

struct silence {
	pid_t pid;
	uint64_t start_time;
	uint64_t until, pause; /* ns */
};

#define SILENT_MAX 64

static _Thread_local struct silence silences[SILENT_MAX];
static _Thread_local unsigned nsilences; /* the oldest of more are forgotten */
static _Thread_local uint64_t waited;    /* ns, in vain */

static struct silence *silence_of(pid_t pid, uint64_t start_time)
{
	for (unsigned i = 0; i < nsilences && i < SILENT_MAX; i++)
		if (silences[i].pid == pid && silences[i].start_time == start_time)
			return &silences[i];
	return NULL;
}

static void silence_note(pid_t pid)
{
	uint64_t start_time = process_start_time(pid), now = clock_ns();
	struct silence *s = silence_of(pid, start_time);

	if (!s) {
		s = &silences[nsilences++ % SILENT_MAX];
		*s = (struct silence){ .pid = pid, .start_time = start_time, .pause = PAUSE_NS / 2 };
		notice_add(
			"process %d: its agent does not answer, so what it counts and records is missing, and what is armed "
			"or disarmed there waits until it does",
			pid);
	}
	if (s->pause < 8ull * PAUSE_NS)
		s->pause *= 2;
	s->until = now + s->pause;
}

static void silence_end(pid_t pid, uint64_t start_time)
{
	struct silence *s = silence_of(pid, start_time);

	if (s)
		s->until = s->pause = 0;
}

bool agent_is_silent(pid_t pid)
{
	const struct silence *s = silence_of(pid, process_start_time(pid));

	return s && clock_ns() < s->until;
}

static unsigned patience(pid_t pid, unsigned ms)
{
	const struct silence *s = silence_of(pid, process_start_time(pid));
	bool hurried = waited > WAITED_MS * 1000000ull || (s && s->pause);

	return hurried && ms > HURRIED_MS ? HURRIED_MS : ms;
}

static int no_answer(pid_t pid, int err)
{
	if (err == EAGAIN || err == EWOULDBLOCK) {
		silence_note(pid);
		return error_set(ETIMEDOUT, "the agent of process %d does not answer", pid);
	}
	return error_set(err, "the agent of process %d: %s", pid, strerror(err));
}

/* ---- conversations ---- */

static void set_patience(int fd, unsigned ms)
{
	struct timeval limit = { .tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000 };

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
}

static int open_socket(const struct agent_store *store, pid_t pid, unsigned ms)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	struct ucred who = { 0 };
	socklen_t size = sizeof(who);
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0), err = 0;

	if (fd < 0)
		return error_set(errno, "cannot make a socket: %s", strerror(errno));
	/* The folder's own path may be too long for an address. */
	snprintf(to.sun_path, sizeof(to.sun_path), "/proc/self/fd/%d/%d", store->agents, pid);
	set_patience(fd, ms);
	if (connect(fd, (struct sockaddr *)&to, sizeof(to)))
		err = errno == ENOENT || errno == ECONNREFUSED ? -ENOENT : no_answer(pid, errno);
	else if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &size))
		err = no_answer(pid, errno);
	else if ((who.uid != geteuid() && who.uid != 0) || who.pid != pid)
		err = error_set(EPERM, "%s/agents/%d belongs to process %d of uid %u", store->path, pid, who.pid,
		                who.uid);
	if (!err)
		return fd;
	close(fd);
	return err;
}

static int send_request(int fd, pid_t pid, enum agent_op op, const char *session, uint32_t attachment, uint32_t first)
{
	struct agent_request request = { .magic = AGENT_MESSAGE_MAGIC,
		                         .version = AGENT_VERSION,
		                         .op = (uint16_t)op,
		                         .attachment = attachment,
		                         .first = first };

	snprintf(request.session, AGENT_SESSION_MAX + 1, "%s", session);
	return send(fd, &request, sizeof(request), MSG_NOSIGNAL) == sizeof(request) ? 0 : no_answer(pid, errno);
}

static void take_descriptors(struct msghdr *message, int *fd)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
		size_t n = c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS
		                   ? (c->cmsg_len - CMSG_LEN(0)) / sizeof(int)
		                   : 0;

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

int agent_ask(struct agent_peer *peer, enum agent_op op, const char *session, uint32_t attachment, uint32_t first,
              void *things, size_t n, size_t size, uint32_t *reason, int *fd)
{
	struct agent_reply reply = { 0 };
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(4 * sizeof(int))];
	struct iovec parts[2] = { { &reply, sizeof(reply) }, { things, n * size } };
	struct msghdr message = {
		.msg_iov = parts, .msg_iovlen = n ? 2 : 1, .msg_control = control, .msg_controllen = sizeof(control)
	};
	uint64_t began = clock_ns();
	int err = began > peer->until ? no_answer(peer->pid, EAGAIN)
	                              : send_request(peer->fd, peer->pid, op, session, attachment, first),
	    got_fd = -1;
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
	if (got < 0) {
		waited += errno == EAGAIN ? clock_ns() - began : 0;
		return no_answer(peer->pid, errno);
	}
	take_descriptors(&message, &got_fd);
	if (!got)
		err = error_set(ECONNRESET, "the agent of process %d hung up: has the process ended?", peer->pid);
	else if ((size_t)got < sizeof(reply) || reply.magic != AGENT_MESSAGE_MAGIC || reply.op != op)
		err = error_set(EPROTO, "process %d answers nothing that an agent would", peer->pid);
	else if (reply.version != AGENT_VERSION)
		err = error_set(EPROTO, "the agent of process %d speaks version %u of the protocol, and this is %u",
		                peer->pid, reply.version, AGENT_VERSION);
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
	char path[64], line[PATH_MAX + 128];
	bool mapped = false;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/maps", pid, process_thread(pid));
	f = fopen(path, "re");
	while (f && !mapped && fgets(line, sizeof(line), f))
		mapped = strstr(line, "/libprobepoint-agent.so") != NULL;
	if (f)
		fclose(f);
	return mapped;
}

int agent_connect_new(const struct agent_store *store, pid_t pid, struct agent_peer *peer)
{
	const struct timespec pause = { .tv_nsec = 2000000 };
	int err = agent_connect(store, pid, peer), woken = -EAGAIN;

	/* One in a container answers in there. */
	if (err == -ENOENT && agent_other_namespace(pid) && agent_check_reach(store, pid))
		return -ENOENT;
	for (int i = 0; err == -ENOENT && i < START_MS / 2; i++) {
		if (woken == -EAGAIN)
			woken = agent_wake(pid);
		if (woken && woken != -EAGAIN)
			return woken;
		if (i)
			nanosleep(&pause, NULL);
		err = agent_connect(store, pid, peer);
	}
	if (err == -ENOENT && !woken)
		return error_set(
			ESRCH,
			"process %d: its agent is awake, but not heard of in %s/agents: is XDG_RUNTIME_DIR another "
			"there, or has its first thread other rights?",
			pid, store->path);
	return err == -ENOENT && woken == -EAGAIN && agent_is_mapped(pid) ? -EAGAIN : err;
}

struct waking {
	const struct agent_store *store;
	struct agent_sleepers *failed;
};

static int wake_one(pid_t pid, void *arg)
{
	struct waking *w = arg;
	struct agent_sleeper *more;
	struct agent_peer peer;
	int err = agent_connect_new(w->store, pid, &peer);

	if (!err)
		agent_disconnect(&peer);
	/* One that ended meanwhile is nobody's concern. */
	if (!err || err == -ENOENT || !process_start_time(pid))
		return 0;
	more = realloc(w->failed->at, (w->failed->n + 1) * sizeof(*more));
	if (!more)
		return error_nomem();
	w->failed->at = more;
	more[w->failed->n++] = (struct agent_sleeper){ pid, strdup(pp_error()) };
	return 0;
}

int agent_wake_all(const struct agent_store *store, struct agent_sleepers *failed)
{
	struct waking w = { store, failed };

	return agent_each_mapped(wake_one, &w);
}

void agent_sleepers_free(struct agent_sleepers *sleepers)
{
	for (size_t i = 0; i < sleepers->n; i++)
		free(sleepers->at[i].reason);
	free(sleepers->at);
	*sleepers = (struct agent_sleepers){ 0 };
}

int agent_connect(const struct agent_store *store, pid_t pid, struct agent_peer *peer)
{
	return agent_connect_within(store, pid, peer, ANSWER_MS);
}

int agent_connect_within(const struct agent_store *store, pid_t pid, struct agent_peer *peer, unsigned ms)
{
	struct agent_hello hello;
	int err;

	*peer = (struct agent_peer){
		.fd = -1, .pid = pid, .start_time = process_start_time(pid), .until = clock_ns() + TALK_NS
	};
	if (store->agents < 0 || !peer->start_time)
		return -ENOENT;
	if (process_is_stopped(pid))
		return error_set(ETIMEDOUT, "process %d is stopped, and its agent with it", pid);
	if (agent_is_silent(pid))
		return error_set(ETIMEDOUT, "the agent of process %d does not answer", pid);
	peer->fd = open_socket(store, pid, patience(pid, ms));
	if (peer->fd < 0)
		return peer->fd;
	err = agent_ask(peer, AGENT_HELLO, "", 0, 0, &hello, 1, sizeof(hello), NULL, NULL);
	if (err == 1 && hello.pid == (uint32_t)pid && hello.start_time == peer->start_time) {
		peer->reason = hello.reason;
		peer->behind = hello.behind == 1;
		silence_end(pid, peer->start_time);
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
	case AGENT_BLOCK: return "the site is not aligned as one that can be patched while it runs: -b kernel arms it";
	case AGENT_NOT_TEXT: return "the site is in no private mapping of code";
	case AGENT_PROTECT:
		return "mprotect() of its code was refused: a policy such as SELinux's execmod forbids to change it";
	case AGENT_FAR: return "there is no room for slots as near to the site as a jump reaches";
	case AGENT_MEMORY: return "its agent is out of memory";
	case AGENT_SEMAPHORE: return "its semaphore is in no private and writable mapping, or is as high as it can be";
	case AGENT_MEMBARRIER:
		return "membarrier(SYNC_CORE) is missing, or a seccomp filter forbids it: -b kernel does without";
	case AGENT_CPU: return "the agent needs a CPU with lahf";
	case AGENT_SLOTS_FULL: return "the session has more sites in it than its agent takes";
	case AGENT_SESSIONS_FULL: return "its agent takes no further session";
	case AGENT_CONSUMERS_FULL: return "too many sessions have armed this site";
	case AGENT_PROGRAM: return "its agent cannot run what reads the arguments";
	case AGENT_FILE: return "its agent finds the session's file damaged, or is of another version";
	case AGENT_FOLDER: return "its agent cannot read the session's folder";
	case AGENT_BUSY: return "a library is being unloaded, and does not end";
	case AGENT_READ_BACK: return "the jump was written, and is not there";
	case AGENT_LIMIT: return "a resource limit (file size, address space) is too small for the agent's buffers";
	case AGENT_MAPS: return "its agent cannot read /proc/self/maps";
	case AGENT_NOT_LOADED:
		return "the program mapped this code itself, and may unmap it at any moment; the agent patches only what the C "
		       "library's loader mapped: -b kernel arms it";
	case AGENT_GONE:
		return "its code was unmapped, or changed its protection, while the agent was about to write to it";
	case AGENT_STORE:
		return "set_robust_list() or process_vm_writev() is missing or forbidden, by which the agent writes to code: "
		       "-b kernel does without";
	case AGENT_CALLS:
		return "its filter reads memory that only a system call can read safely, and hits make none there: a thread "
		       "has a filter of system calls (seccomp), or the agent would not hear of one; -b kernel reads it, "
		       "--system-calls allows them";
	default: return "its agent gives no reason";
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
		err = fn((pid_t)pid,
		         (uint64_t)st.st_ino * 0x9e3779b97f4a7c15u ^ ((uint64_t)st.st_ctim.tv_sec << 30) ^
		                 (uint64_t)st.st_ctim.tv_nsec,
		         arg);
	}
	if (d)
		closedir(d);
	return err;
}

struct look {
	const struct agent_store *store;
	const char *session;
};

/* An agent that cannot answer now finds the request when it can. */
static void look_later(const struct look *l, pid_t pid)
{
	int fd = open_socket(l->store, pid, HURRIED_MS);

	if (fd < 0)
		return;
	send_request(fd, pid, AGENT_LOOK, l->session, 0, 0);
	close(fd);
}

static int look(pid_t pid, uint64_t key, void *arg)
{
	const struct look *l = arg;
	struct agent_attachment_state
		states[(AGENT_MESSAGE_MAX - sizeof(struct agent_reply)) / sizeof(struct agent_attachment_state)];
	struct agent_peer peer;
	int err = agent_connect(l->store, pid, &peer);

	(void)key;
	if (err == -ETIMEDOUT)
		look_later(l, pid);
	if (err)
		return 0;
	set_patience(peer.fd, patience(pid, LOOK_MS));
	agent_ask(&peer, AGENT_LOOK, l->session, 0, 0, states, sizeof(states) / sizeof(*states), sizeof(*states), NULL,
	          NULL);
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

const char *agent_other_namespace(pid_t pid)
{
	static const char *const names[][2] = { { "pid", "pid" }, { "mnt", "mount" } };
	char path[64];
	struct stat own, its;

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		snprintf(path, sizeof(path), "/proc/self/ns/%s", names[i][0]);
		if (stat(path, &own))
			continue;
		snprintf(path, sizeof(path), "/proc/%d/task/%d/ns/%s", pid, process_thread(pid), names[i][0]);
		if (!stat(path, &its) && its.st_ino != own.st_ino)
			return names[i][1];
	}
	return NULL;
}

/* The value of XDG_RUNTIME_DIR in the process; "": none. */
static void read_runtime_dir(pid_t pid, char *value, size_t size)
{
	static const char name[] = "XDG_RUNTIME_DIR=";
	char path[64], *text = NULL;
	size_t room = 0;
	ssize_t n;
	FILE *f;

	if (!environment_read(pid, "XDG_RUNTIME_DIR", value, size))
		return;
	*value = 0;
	snprintf(path, sizeof(path), "/proc/%d/task/%d/environ", pid, process_thread(pid));
	f = fopen(path, "re");
	while (f && (n = getdelim(&text, &room, 0, f)) > 0)
		if (!strncmp(text, name, sizeof(name) - 1))
			snprintf(value, size, "%s", text + sizeof(name) - 1);
	free(text);
	if (f)
		fclose(f);
}

/*
 * Refuses a process whose agent would make its socket where this command does not look: in another pid namespace the
 * process has another number, and the state directory depends on its root and environment.
 */
int agent_check_reach(const struct agent_store *store, pid_t pid)
{
	const char *other = agent_other_namespace(pid);
	char value[PATH_MAX], path[2 * PATH_MAX];
	const pid_t tid = process_thread(pid);
	struct stat ours, dir;
	bool runtime;

	if (other && !strcmp(other, "pid"))
		return error_set(EOPNOTSUPP,
		                 "process %d is in another pid namespace (a container), and its agent would answer to "
		                 "commands in there only: run this one inside, or use -b kernel",
		                 pid);
	read_runtime_dir(pid, value, sizeof(value));
	snprintf(path, sizeof(path), "/proc/%d/task/%d/root%s", pid, tid, value);
	runtime = value[0] == '/' && !stat(path, &dir) && S_ISDIR(dir.st_mode) && dir.st_uid == geteuid() &&
	          !(dir.st_mode & 022);
	if (runtime)
		snprintf(path, sizeof(path), "/proc/%d/task/%d/root%s/probepoint", pid, tid, value);
	else
		snprintf(path, sizeof(path), "/proc/%d/task/%d/root/tmp/probepoint-%u", pid, tid, geteuid());
	if (fstat(store->root, &ours) || (!stat(path, &dir) && dir.st_ino == ours.st_ino && dir.st_dev == ours.st_dev))
		return 0;
	if (other)
		return error_set(EOPNOTSUPP,
		                 "process %d is in another mount namespace (a container), and its agent would answer "
		                 "to commands in there only: run this one inside, or use -b kernel",
		                 pid);
	return error_set(EOPNOTSUPP,
	                 "process %d has %s%s, and its agent would be looked for there, not in %s: run this "
	                 "command with the same",
	                 pid, *value ? "XDG_RUNTIME_DIR=" : "no XDG_RUNTIME_DIR", value, store->path);
}
