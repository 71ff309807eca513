/* SPDX-License-Identifier: MIT */
/*
 * The keeper. A process's counts are in a memfd, which ends with its last holder. A process that ends by exit(3) writes
 * its counts to a file. One that ends by _exit(2) or a signal, or that calls exec(2), cannot. So there is one small
 * process per state directory, which the first command that arms something starts. Agents hand their regions to it. It
 * sleeps in poll(2).
 *
 * An agent keeps its connection for as long as it uses its region. When the connection ends, the keeper looks at the
 * process:
 *
 *  1. If the process has ended, the keeper writes counts-N-PID-REGION, unless the process wrote it.
 *  2. If the process does not map the region any more, it has called exec(2). The keeper adds the counts to
 *     past-N-PID-START.
 *  3. Otherwise the process still counts. The keeper looks again until 1 or 2 holds.
 *
 * Commands that read counts ask the keeper to do this first, and to write what a process of case 3 has counted so far
 * to last-N-PID-START.
 *
 * In cases 1 and 2 the keeper goes on to hold a region that has records ("retired"). Commands that read the records get
 * its descriptor.
 *
 *  - The regions of a flight recorder: the last FLIGHTS_MAX of a session, until the session ends.
 *  - Other regions that have unread records, until a reader has read them or the session ends. A session may have RECORDS_MAX of
 *    them, or fewer if few descriptors are permitted. Together they may have RECORDS_SIZE_MAX bytes or those of RECORDS_RINGS
 *    full rings, whichever is more. The limits are READER_FACTOR times as high while the session has a reader. If a session
 *    exceeds a limit, the keeper drops the region of the process that ended last, or that ended first if the session
 *    overwrites, and counts its records as lost.
 *
 * Commands also get the region of a process whose agent does not reply.
 *
 * The keeper may get the CPU late. Then the session may have ended, and another one may have its name. So the keeper
 * identifies a session by its directory.
 *
 * The keeper ends when it holds no region and no session exists (private ones count while their owner lives), or when
 * the state directory is removed.
 */
#include "runtime/agent/keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/array.h"
#include "base/clock.h"
#include "runtime/agent/attachment-file.h"
#include "runtime/agent/counts-file.h"
#include "runtime/process.h"

#define SETTLE_NS 300000000ull /* a process that is in none of the cases by then is not waited for */
#define SOON_NS 100000000ull   /* a process whose connection has ended is looked at often for this long */
#define SOON_MS 2
#define LATER_MS 1000
#define FLIGHTS_MAX 8 /* of one session */
#define RECORDS_MAX 512
#define RECORDS_SIZE_MAX (UINT64_C(64) << 20)
#define RECORDS_RINGS 4
#define RECORDS_FDS 2   /* descriptors of each */
#define READER_FACTOR 4 /* times the limits, while the session has a reader, so that the reader can come first */

/* A region that the keeper holds. */
struct kept_region {
	int conn;       /* -1: the connection has ended */
	bool left;      /* the process has left the session */
	bool past;      /* the process has called exec(2) */
	uint64_t since; /* ns: when the connection ended */
	ino_t inode;    /* of the memfd */
	char session[AGENT_SESSION_MAX + 1];
	int dir; /* of the session */
	pid_t pid;
	uint64_t start_time;
	int pidfd;
	int fd; /* of the region; -1: too many descriptors are open, and its records are lost when the process ends */
	uint64_t number;  /* of retired ones, in the order in which they ended */
	uint64_t ended;   /* ns: when it was retired */
	uint64_t dropped; /* ns: see struct agent_kept */
	bool retired; /* its process does not use it any more, and its counts are saved: only its records are kept */
	bool copied;  /* it is memory of this process, if that is possible */
	bool given;   /* a reader got it, and may have read all since */
	struct mapped_shm shm;
};

struct keeper {
	struct agent_dir dir;
	int listener, changes;
	struct kept_region *regions;
	size_t n, room;
	struct pollfd *polled;
	size_t polled_room;
	uint64_t retired; /* how many regions were retired so far */
	uint64_t tended;  /* ns: when keeper_tend() last ran */
	size_t records_max;
};

/* ---- one region ---- */

/* Whether the process maps the region, or is about to end. */
static bool region_is_mapped(const struct kept_region *k)
{
	struct process *process;
	bool mapped = true;

	if (process_open(k->pid, &process))
		return true;
	if (!process_read_maps(process)) {
		mapped = !process->nmaps;
		for (size_t i = 0; i < process->nmaps && !mapped; i++)
			mapped =
				process->maps[i].inode == k->inode && strstr(process->maps[i].path, "memfd:probepoint");
	}
	process_free(process);
	return mapped;
}

/* Returns whether the session exists. Its directory is open, so another one has another inode. */
static bool region_has_session(const struct keeper *keeper, const struct kept_region *k)
{
	struct stat own, named;

	return !fstat(k->dir, &own) && !fstatat(keeper->dir.root, k->session, &named, AT_SYMLINK_NOFOLLOW) &&
	       own.st_dev == named.st_dev && own.st_ino == named.st_ino;
}

struct region_save {
	const struct agent_dir *dir;
	const struct kept_region *region;
	const char *name;
};

static int region_save_attachment(const struct agent_file_id *id, void *arg)
{
	const struct region_save *s = arg;
	struct agent_file file;

	if (id->pid || agent_file_read(s->dir, id->number, &file))
		return 0;
	counts_file_save(s->dir, &s->region->shm, s->region->pid, s->region->start_time, file.manifest, s->name);
	agent_file_release(&file);
	return 0;
}

/* Writes the counts of all attachments of the session. name: see counts-file.h. */
static void region_save_counts(const struct kept_region *k, const char *name)
{
	struct region_save s = { .region = k, .name = name };
	struct agent_dir dir;

	if (agent_dir_open(&dir, k->session, false))
		return;
	s.dir = &dir;
	agent_dir_each_file(&dir, "segment", region_save_attachment, &s);
	if (strcmp(name, COUNTS_LAST))
		agent_dir_unlink(&dir, "unkept", (struct agent_file_id){ 0, k->pid, k->start_time });
	agent_dir_close(&dir);
}

/* Adds the counts of a process that has called exec(2), unless a command has done it. */
static void region_save_past(struct kept_region *k)
{
	k->past = true;
	if (shm_claim(&k->shm))
		region_save_counts(k, COUNTS_PAST);
}

static void region_fd_close(int fd)
{
	if (fd >= 0)
		close(fd);
}

static void keeper_drop(struct keeper *keeper, size_t i)
{
	struct kept_region *k = &keeper->regions[i];

	region_fd_close(k->conn);
	region_fd_close(k->fd);
	region_fd_close(k->pidfd);
	region_fd_close(k->dir);
	shm_unmap(&k->shm);
	*k = keeper->regions[--keeper->n];
}

/* ---- copies of regions ---- */

/* Returns 0 or -1. */
static int pwrite_all(int fd, const char *bytes, size_t n, off_t at)
{
	while (n) {
		ssize_t done = pwrite(fd, bytes, n, at);

		if (done <= 0)
			return -1;
		bytes += done;
		at += done;
		n -= (size_t)done;
	}
	return 0;
}

/*
 * Copies the used pages of the region to memory of this process, because those that the process has touched count in its
 * control group, which its successor may need. Keeps the region itself if that fails.
 */
static void region_copy(struct kept_region *k)
{
	int fd = memfd_create("probepoint", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	const char *from = (const char *)k->shm.header;
	struct mapped_shm copy;
	int mapped;

	if (fd < 0)
		return;
	if (ftruncate(fd, (off_t)k->shm.size))
		goto failed;
	for (off_t at = 0, end; (at = lseek(k->fd, at, SEEK_DATA)) >= 0; at = end) {
		end = lseek(k->fd, at, SEEK_HOLE);
		if (end < 0 || pwrite_all(fd, from + at, (size_t)(end - at), at))
			goto failed;
	}
	if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL))
		goto failed;
	mapped = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (mapped < 0 || shm_map(&copy, mapped, k->pid))
		goto failed;
	close(k->fd);
	shm_unmap(&k->shm);
	k->fd = fd;
	k->shm = copy;
	return;
failed:
	close(fd);
}

static bool region_is_flight(const struct kept_region *k)
{
	return k->shm.flight_slots;
}

/* ---- records that no reader has read ---- */

static int region_lose_attachment(const struct agent_file_id *id, void *arg)
{
	const struct region_save *s = arg;
	const struct kept_region *k = s->region;
	struct agent_file file;
	uint64_t *unread;

	if (id->pid || agent_file_read(s->dir, id->number, &file))
		return 0;
	unread = calloc(file.manifest->npoints + (size_t)1, sizeof(*unread));
	if (unread) {
		shm_count_unread(&k->shm, id->number, unread, file.manifest->npoints);
		counts_file_lose(s->dir, file.manifest, s->name,
		                 counts_file_id(file.manifest, s->name, k->pid, k->start_time, shm_id(&k->shm)),
		                 unread);
	}
	free(unread);
	agent_file_release(&file);
	return 0;
}

/* Counts the unread records of a process that does not use the region any more as lost. */
static void region_lose_records(const struct keeper *keeper, const struct kept_region *k)
{
	struct region_save s = { .region = k, .name = k->past ? COUNTS_PAST : COUNTS_ENDED };
	struct agent_dir dir;

	if (!shm_has_unread(&k->shm) || !region_has_session(keeper, k) || agent_dir_open(&dir, k->session, false))
		return;
	s.dir = &dir;
	agent_dir_each_file(&dir, "segment", region_lose_attachment, &s);
	agent_dir_close(&dir);
}

/* Returns whether the session has a reader, which may have got regions from their processes. */
static bool region_has_reader(const struct kept_region *k)
{
	struct agent_dir dir;
	bool read;

	if (agent_dir_open(&dir, k->session, false))
		return false;
	read = agent_dir_is_read(&dir);
	agent_dir_close(&dir);
	return read;
}

/*
 * Drops regions that were read. Copies a region when the session has no reader: a reader that has mapped the region
 * itself would read the copy again.
 */
static void keeper_tend(struct keeper *keeper)
{
	keeper->tended = clock_ns();
	for (size_t i = 0; i < keeper->n;) {
		struct kept_region *k = &keeper->regions[i];

		if (k->retired && !region_is_flight(k) && !shm_has_unread(&k->shm)) {
			keeper_drop(keeper, i);
			continue;
		}
		i++;
		if (!k->retired || (k->copied && !k->given) || region_has_reader(k))
			continue;
		if (!k->copied)
			region_copy(k);
		k->copied = true;
		k->given = false;
	}
}

/* The regions of a session that are retired for their records. */
struct retired_records {
	size_t n, first, last; /* first and last: indices of the processes that ended first and last */
	uint64_t bytes, bytes_max;
};

static struct retired_records keeper_sum_records(const struct keeper *keeper, const char *session)
{
	struct retired_records sum = { .bytes_max = RECORDS_SIZE_MAX };

	for (size_t i = 0; i < keeper->n; i++) {
		const struct kept_region *k = &keeper->regions[i];

		if (!k->retired || region_is_flight(k) || strcmp(k->session, session))
			continue;
		sum.first = !sum.n || k->number < keeper->regions[sum.first].number ? i : sum.first;
		sum.last = !sum.n || k->number > keeper->regions[sum.last].number ? i : sum.last;
		sum.bytes += shm_file_bytes(k->fd);
		if (RECORDS_RINGS * k->shm.ring_size > sum.bytes_max)
			sum.bytes_max = RECORDS_RINGS * k->shm.ring_size;
		sum.n++;
	}
	return sum;
}

/* Drops regions of the session while there are too many, and counts their records as lost. */
static void keeper_limit_records(struct keeper *keeper, const char *session)
{
	uint64_t factor = 1;

	for (;;) {
		struct retired_records sum = keeper_sum_records(keeper, session);
		size_t i = sum.n && shm_is_overwritten(&keeper->regions[sum.last].shm) ? sum.first : sum.last;

		if (sum.n <= factor * keeper->records_max && sum.bytes <= factor * sum.bytes_max)
			return;
		if (factor == 1 && region_has_reader(&keeper->regions[i])) {
			factor = READER_FACTOR;
			continue;
		}
		region_lose_records(keeper, &keeper->regions[i]);
		keeper_drop(keeper, i);
	}
}

/*
 * Drops a flight recorder. The other regions of its session keep the time when its process ended, because snapshots are
 * complete only after it.
 */
static void keeper_drop_flight(struct keeper *keeper, size_t i)
{
	const struct kept_region *gone = &keeper->regions[i];
	const uint64_t until = gone->ended > gone->dropped ? gone->ended : gone->dropped;

	for (size_t k = 0; k < keeper->n; k++)
		if (!strcmp(keeper->regions[k].session, gone->session) && keeper->regions[k].dropped < until)
			keeper->regions[k].dropped = until;
	keeper_drop(keeper, i);
}

/* Drops the flight recorder of the process that ended first if the session has too many. */
static void keeper_limit_flights(struct keeper *keeper, const char *session)
{
	size_t first = 0, n = 0;

	for (size_t i = 0; i < keeper->n; i++) {
		const struct kept_region *k = &keeper->regions[i];

		if (!k->retired || !region_is_flight(k) || strcmp(k->session, session))
			continue;
		first = !n || k->number < keeper->regions[first].number ? i : first;
		n++;
	}
	if (n > FLIGHTS_MAX)
		keeper_drop_flight(keeper, first);
}

/* Keeps the records of a process that does not use the region any more and whose counts are saved, or drops the region. */
static void keeper_retire(struct keeper *keeper, size_t i)
{
	struct kept_region *k = &keeper->regions[i];
	char session[sizeof(k->session)];

	k->ended = clock_ns();
	if (k->fd < 0 || (!region_is_flight(k) && !shm_has_unread(&k->shm))) {
		if (region_is_flight(k)) {
			keeper_drop_flight(keeper, i);
		} else {
			region_lose_records(keeper, k);
			keeper_drop(keeper, i);
		}
		return;
	}
	memcpy(session, k->session, sizeof(session));
	k->retired = true;
	k->number = keeper->retired++;
	close(k->pidfd);
	k->pidfd = -1;
	if (region_is_flight(k)) {
		region_copy(k);
		k->copied = true;
		keeper_limit_flights(keeper, session);
	} else {
		keeper_limit_records(keeper, session);
	}
}

/*
 * Drops the regions of sessions that have ended, except those that processes still use. The directory of their session
 * stays open, so that the directory of another session of this name has another inode. A process that was stopped
 * meanwhile would otherwise take the new session for the old one.
 */
static void keeper_forget_sessions(struct keeper *keeper)
{
	for (size_t i = 0; i < keeper->n;) {
		if (keeper->regions[i].conn < 0 && !region_has_session(keeper, &keeper->regions[i]))
			keeper_drop(keeper, i);
		else
			i++;
	}
}

/* Reads the events of sessions that have ended. Returns false if that fails. */
static bool keeper_read_changes(struct keeper *keeper)
{
	char events[4096] __attribute__((aligned(8)));
	ssize_t n = read(keeper->changes, events, sizeof(events));

	keeper_forget_sessions(keeper);
	return n >= 0;
}

/* ---- settling ---- */

/* Saves and drops a region whose connection has ended. Returns false in case 3 of the comment at the top. */
static bool keeper_settle_region(struct keeper *keeper, size_t i)
{
	struct kept_region *k = &keeper->regions[i];
	bool mapped, moved;

	if (k->conn >= 0 || k->retired)
		return true;
	if (k->left || !region_has_session(keeper, k)) {
		keeper_drop(keeper, i);
		return true;
	}
	mapped = !pidfd_has_ended(k->pidfd) && region_is_mapped(k);
	/* `moved` is read last, because an agent sets it before it unmaps the region. */
	moved = shm_has_moved(&k->shm);
	if (!moved && mapped)
		return false;
	/* The process may have ended meanwhile. */
	if (!moved && pidfd_has_ended(k->pidfd))
		region_save_counts(k, COUNTS_ENDED);
	else if (!moved)
		region_save_past(k);
	if (moved)
		keeper_drop(keeper, i);
	else
		keeper_retire(keeper, i);
	return true;
}

/* Returns whether no region has to be waited for. */
static bool keeper_settle_regions(struct keeper *keeper)
{
	bool settled = true;

	for (size_t i = 0; i < keeper->n;) {
		size_t n = keeper->n;

		if (!keeper_settle_region(keeper, i) && clock_ns() - keeper->regions[i].since < SETTLE_NS)
			settled = false;
		i += n == keeper->n;
	}
	return settled;
}

/* Notes which connections have ended. */
static void keeper_check_connections(struct keeper *keeper)
{
	for (size_t i = 0; i < keeper->n; i++) {
		struct kept_region *k = &keeper->regions[i];
		struct pollfd p = { .fd = k->conn, .events = POLLIN };
		char byte;

		if (p.fd < 0 || poll(&p, 1, 0) <= 0)
			continue;
		/* A process that leaves the session sends a byte before it closes the connection. */
		k->left = recv(p.fd, &byte, 1, MSG_DONTWAIT) == 1;
		close(p.fd);
		k->conn = -1;
		k->since = clock_ns();
	}
}

/* Settles all regions, and waits a little for those of case 3. */
static void keeper_settle(struct keeper *keeper)
{
	uint64_t until = clock_ns() + SETTLE_NS;

	do {
		keeper_check_connections(keeper);
		if (keeper_settle_regions(keeper))
			break;
		poll(NULL, 0, 1);
	} while (clock_ns() < until);
	/*
	 * The agent has left a process of case 3 because of a seccomp filter: the process counts, but cannot be asked.
	 */
	for (size_t i = 0; i < keeper->n; i++)
		if (keeper->regions[i].conn < 0 && !keeper->regions[i].retired)
			region_save_counts(&keeper->regions[i], COUNTS_LAST);
}

/* ---- requests ---- */

ssize_t keeper_receive_fd(int conn, void *data, size_t size, int *fd)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))];
	struct iovec part = { data, size };
	struct msghdr message = {
		.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)
	};
	ssize_t n = recvmsg(conn, &message, MSG_CMSG_CLOEXEC);

	*fd = -1;
	for (struct cmsghdr *c = n >= 0 ? CMSG_FIRSTHDR(&message) : NULL; c; c = CMSG_NXTHDR(&message, c))
		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS && c->cmsg_len >= CMSG_LEN(sizeof(int)))
			memcpy(fd, CMSG_DATA(c), sizeof(*fd));
	return n;
}

/* Receives a request and its descriptor (-1: none). Returns whether the request is valid. */
static bool keeper_receive(int conn, struct agent_keep *keep, int *fd)
{
	return keeper_receive_fd(conn, keep, sizeof(*keep), fd) == sizeof(*keep) && keep->magic == AGENT_KEEP_MAGIC &&
	       keep->version == AGENT_VERSION && !keep->session[AGENT_SESSION_MAX];
}

/* Returns the region that the request asks for; NULL: there is none. */
static struct kept_region *keeper_find(struct keeper *keeper, const struct agent_keep *keep)
{
	struct kept_region *found = NULL;
	uint64_t index = keep->start_time;

	for (size_t i = 0; i < keeper->n; i++) {
		struct kept_region *k = &keeper->regions[i];

		if (k->fd < 0 || k->left || shm_has_moved(&k->shm) || strcmp(k->session, keep->session) ||
		    !region_has_session(keeper, k))
			continue;
		if (keep->op == AGENT_KEEP_GET && region_is_flight(k) && !index--)
			return k;
		if (keep->op == AGENT_KEEP_PROCESS && !k->retired && k->pid == (pid_t)keep->pid &&
		    k->start_time == keep->start_time)
			return k;
		if (keep->op == AGENT_KEEP_RECORDS && k->retired && !region_is_flight(k) &&
		    k->number >= keep->start_time && (!found || k->number < found->number) && shm_has_unread(&k->shm))
			found = k;
	}
	return found;
}

/* Replies with a region, or with a byte if there is none. */
static void keeper_give(struct keeper *keeper, int conn, const struct agent_keep *keep)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))] = { 0 };
	struct agent_kept kept = { .magic = AGENT_KEEP_MAGIC };
	struct iovec part = { &kept, sizeof(kept) };
	struct msghdr message = {
		.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)
	};
	struct cmsghdr *c = CMSG_FIRSTHDR(&message);
	struct kept_region *k = keeper_find(keeper, keep);

	if (!k) {
		send(conn, "", 1, MSG_NOSIGNAL | MSG_DONTWAIT);
		return;
	}
	k->given = true;
	kept.pid = (uint32_t)k->pid;
	kept.start_time = k->start_time;
	kept.number = k->number;
	kept.dropped = k->dropped;
	*c = (struct cmsghdr){ .cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS };
	memcpy(CMSG_DATA(c), &k->fd, sizeof(int));
	sendmsg(conn, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/*
 * Finds a region that the process offers again because it has not waited for the reply, and stores the new connection.
 * Returns false if there is none.
 */
static bool keeper_renew(struct keeper *keeper, int conn, const struct agent_keep *keep, ino_t inode, pid_t pid)
{
	for (size_t i = 0; i < keeper->n; i++) {
		struct kept_region *k = &keeper->regions[i];

		if (k->retired || k->inode != inode || k->pid != pid || k->start_time != keep->start_time ||
		    strcmp(k->session, keep->session) || !region_has_session(keeper, k))
			continue;
		region_fd_close(k->conn);
		k->conn = conn;
		k->left = false;
		return true;
	}
	return false;
}

/* Opens what belongs to a region. Takes over fd. Returns false if the process or the session has ended. */
static bool region_open(struct kept_region *k, const struct keeper *keeper, int fd)
{
	k->pidfd = (int)syscall(SYS_pidfd_open, k->pid, 0);
	k->dir = openat(keeper->dir.root, k->session, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (k->pidfd < 0 || k->dir < 0 || process_start_time(k->pid) != k->start_time) {
		close(fd);
		return false;
	}
	/* shm_map() closes it. */
	k->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	return !shm_map(&k->shm, fd, k->pid);
}

/* Adds a region. Closes fd. Returns whether it is kept; conn then belongs to it. */
static bool keeper_add(struct keeper *keeper, int conn, const struct agent_keep *keep, int fd, pid_t pid)
{
	struct kept_region *k;
	struct stat st;

	if (fstat(fd, &st) || ALLOC_GROW(keeper->regions, keeper->n + 1, keeper->room)) {
		close(fd);
		return false;
	}
	if (keeper_renew(keeper, conn, keep, st.st_ino, pid)) {
		close(fd);
		return true;
	}
	k = &keeper->regions[keeper->n];
	*k = (struct kept_region){
		.conn = conn, .inode = st.st_ino, .pid = pid, .start_time = keep->start_time, .fd = -1
	};
	memcpy(k->session, keep->session, AGENT_SESSION_MAX);
	if (!region_open(k, keeper, fd)) {
		region_fd_close(k->fd);
		region_fd_close(k->dir);
		region_fd_close(k->pidfd);
		return false;
	}
	keeper->n++;
	return true;
}

static bool peer_is_permitted(int conn, struct ucred *peer)
{
	socklen_t size = sizeof(*peer);

	return !getsockopt(conn, SOL_SOCKET, SO_PEERCRED, peer, &size) && (!peer->uid || peer->uid == geteuid());
}

/* Accepts a connection and serves its request. */
static void keeper_accept(struct keeper *keeper)
{
	int conn = accept4(keeper->listener, NULL, NULL, SOCK_CLOEXEC), fd = -1;
	struct timeval limit = { .tv_usec = 200000 };
	struct agent_keep keep = { 0 };
	struct ucred peer = { 0 };
	bool kept = false;

	if (conn < 0)
		return;
	setsockopt(conn, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	if (!peer_is_permitted(conn, &peer) || !keeper_receive(conn, &keep, &fd))
		goto out;
	if (keep.op == AGENT_KEEP_SETTLE) {
		keeper_settle(keeper);
		send(conn, "", 1, MSG_NOSIGNAL | MSG_DONTWAIT);
	} else if (keep.op == AGENT_KEEP_GET || keep.op == AGENT_KEEP_RECORDS || keep.op == AGENT_KEEP_PROCESS) {
		keeper_give(keeper, conn, &keep);
	} else if (keep.op == AGENT_KEEP_SHM && fd >= 0 && peer.pid > 0) {
		kept = keeper_add(keeper, conn, &keep, fd, peer.pid);
		fd = -1;
		send(conn, kept ? "1" : "0", 1, MSG_NOSIGNAL | MSG_DONTWAIT);
	}
out:
	if (fd >= 0)
		close(fd);
	if (!kept)
		close(conn);
}

/* ---- the process ---- */

/*
 * Whether the keeper may end; it then does not listen any more. Holds the lock under which a keeper is started, so that
 * no command finds one that is about to end.
 */
static bool keeper_may_end(struct keeper *keeper)
{
	bool sessions = false;
	struct stat st;

	if (keeper->n)
		return false;
	flock(keeper->dir.agents, LOCK_EX);
	if (!fstat(keeper->dir.root, &st) && st.st_nlink)
		sessions = agent_any_session();
	if (!sessions)
		unlinkat(keeper->dir.agents, AGENT_KEEPER, 0);
	flock(keeper->dir.agents, LOCK_UN);
	return !sessions;
}

/* Waits for something to do. Returns whether a connection waits in *connected; false: the keeper has to end. */
static bool keeper_wait(struct keeper *keeper, bool *connected)
{
	struct pollfd *polled;
	size_t n = 2;
	int wait = -1;

	if (ALLOC_GROW(keeper->polled, keeper->n + 2, keeper->polled_room))
		return false;
	polled = keeper->polled;
	polled[0] = (struct pollfd){ .fd = keeper->listener, .events = POLLIN };
	polled[1] = (struct pollfd){ .fd = keeper->changes, .events = POLLIN };
	for (size_t i = 0; i < keeper->n; i++) {
		const struct kept_region *k = &keeper->regions[i];

		if (k->retired) {
			if (wait < 0 && (!k->copied || k->given))
				wait = LATER_MS;
			continue;
		}
		polled[n++] = (struct pollfd){ .fd = k->conn >= 0 ? k->conn : k->pidfd, .events = POLLIN };
		if (k->conn < 0 && wait != SOON_MS)
			wait = clock_ns() - k->since < SOON_NS ? SOON_MS : LATER_MS;
	}
	if (poll(polled, n, wait) < 0 && errno != EINTR)
		return false;
	if (polled[1].revents && !keeper_read_changes(keeper))
		return false;
	*connected = polled[0].revents;
	return true;
}

static void keeper_serve(struct keeper *keeper)
{
	bool connected = false;

	do {
		if (!keeper_wait(keeper, &connected))
			break;
		keeper_check_connections(keeper);
		keeper_settle_regions(keeper);
		if (clock_ns() - keeper->tended > LATER_MS * 1000000ull)
			keeper_tend(keeper);
		if (connected)
			keeper_accept(keeper);
	} while (!keeper_may_end(keeper));
}

/* Raises the limit of descriptors. Most of them are for processes that run. */
static void keeper_raise_limit(struct keeper *keeper)
{
	struct rlimit limit;

	keeper->records_max = RECORDS_MAX;
	if (getrlimit(RLIMIT_NOFILE, &limit))
		return;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	if (limit.rlim_max / 4 / RECORDS_FDS / READER_FACTOR < RECORDS_MAX)
		keeper->records_max = limit.rlim_max / 4 / RECORDS_FDS / READER_FACTOR;
}

static void keeper_reset_signals(void)
{
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	for (int sig = 1; sig < 32; sig++)
		signal(sig, SIG_DFL);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
}

/* Closes all descriptors except the keeper's four, which become 3 to 6; 0 to 2 become /dev/null. */
static void keeper_close_others(struct keeper *keeper)
{
	int *own[] = { &keeper->listener, &keeper->changes, &keeper->dir.root, &keeper->dir.agents };
	int null = open("/dev/null", O_RDWR | O_CLOEXEC), high[4];

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
}

void keeper_main(const struct agent_dir *dir, int listener, int changes)
{
	struct keeper keeper = { .dir = *dir, .listener = listener, .changes = changes };

	setsid();
	keeper_reset_signals();
	keeper_close_others(&keeper);
	keeper_raise_limit(&keeper);
	if (chdir("/"))
		_exit(1);
	keeper_serve(&keeper);
	_exit(0);
}
