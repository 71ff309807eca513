/* SPDX-License-Identifier: MIT */
/*
 * Sessions: what their files say, and what this process leaves there for others.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "runtime/agent/inproc/agent.h"

struct session *agent_session(const char *name)
{
	for (unsigned i = 0; i < SESSIONS_MAX; i++)
		if (agent.sessions[i].name[0] && !strcmp(agent.sessions[i].name, name))
			return &agent.sessions[i];
	return NULL;
}

static struct session *session_new(const char *name)
{
	for (unsigned i = 0; i < SESSIONS_MAX; i++)
		if (!agent.sessions[i].name[0]) {
			strcpy(agent.sessions[i].name, name);
			return &agent.sessions[i];
		}
	return NULL;
}

static bool same(const struct identity *a, const struct identity *b)
{
	return !memcmp(a, b, sizeof(*a));
}

static void identify(struct identity *id, const struct stat *st, bool file)
{
	memset(id, 0, sizeof(*id));
	id->device = st->st_dev;
	id->inode = st->st_ino;
	if (file) {
		id->size = st->st_size;
		id->changed = st->st_ctim.tv_sec;
		id->changed_ns = st->st_ctim.tv_nsec;
	}
}

static struct segment *segment_get(struct session *session, uint32_t number)
{
	struct segment *segment, **added;

	for (size_t i = 0; i < nsegments(session); i++)
		if (segments_of(session)[i]->number == number)
			return segments_of(session)[i];
	segment = pages_get(sizeof(*segment));
	added = segment ? vector_add(&session->segments, sizeof(*added)) : NULL;
	if (!added) {
		pages_put(segment, sizeof(*segment));
		return NULL;
	}
	segment->session = session;
	segment->number = number;
	*added = segment;
	return segment;
}

/* ---- children, of those that are meant with theirs ---- */

static void child_name(char name[64], uint32_t number, uint32_t pid)
{
	strcpy(name, "child-");
	format_number(name + strlen(name), number);
	strcat(name, "-");
	format_number(name + strlen(name), pid);
}

/* For whose sake that process is armed; 0. */
static uint32_t child_read(int dir, uint32_t number, uint32_t pid, uint64_t start_time)
{
	struct agent_child child;
	char name[64];
	ssize_t n;
	int fd;

	child_name(name, number, pid);
	fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return 0;
	n = read(fd, &child, sizeof(child));
	close(fd);
	return n == sizeof(child) && child.magic == AGENT_CHILD_MAGIC && child.version == AGENT_VERSION &&
	                       child.pid == pid && child.start_time == start_time
	               ? child.ancestor
	               : 0;
}

static void child_write(int dir, const struct segment *segment)
{
	struct agent_child child = {
		.magic = AGENT_CHILD_MAGIC,
		.version = AGENT_VERSION,
		.pid = agent.pid,
		.ancestor = segment->inherited,
		.start_time = agent.start_time,
	};
	char name[64];

	child_name(name, segment->number, agent.pid);
	store_write(dir, name, &child, sizeof(child));
}

/* Whether this process began after a file was written, in the clock's 10 ms. */
static bool began_after(const struct stat *st)
{
	struct timespec real, boot;
	int64_t written, began;

	clock_gettime(CLOCK_REALTIME, &real);
	clock_gettime(CLOCK_BOOTTIME, &boot);
	written = (st->st_ctim.tv_sec - real.tv_sec + boot.tv_sec) * 100 +
	          (st->st_ctim.tv_nsec - real.tv_nsec + boot.tv_nsec) / 10000000;
	began = agent.start_time * 100 / (getauxval(AT_CLKTCK) ? getauxval(AT_CLKTCK) : 100);
	return began + 1 >= written;
}

/*
 * A process that has just begun to run its program: armed before it did so, or the
 * child of somebody who is meant. (vfork and posix_spawn run nothing of ours in the
 * child before exec.)
 */
static void child_of_whom(int dir, struct segment *segment, const struct stat *st)
{
	uint32_t parent = getppid();
	uint64_t start_time;

	segment->inherited = child_read(dir, segment->number, agent.pid, agent.start_time);
	if (segment->inherited || !began_after(st))
		return;
	start_time = process_start_time(parent);
	segment->inherited = segment_names(segment, parent, start_time)
	                             ? parent
	                             : child_read(dir, segment->number, parent, start_time);
	if (segment->inherited)
		child_write(dir, segment);
}

static int look_file(int dir, const char *name, void *arg)
{
	const size_t prefix = sizeof("segment-") - 1;
	struct session *session = arg;
	struct segment *segment;
	struct identity id;
	struct stat st;
	int64_t number;
	int fd;

	if (strncmp(name, "segment-", prefix) || (number = parse_number(name + prefix)) < 0 || number > UINT32_MAX)
		return 0;
	fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT)
		return 0;
	segment = segment_get(session, number);
	if (segment) {
		segment->seen = true;
		if (fd < 0 || fstat(fd, &st) || !S_ISREG(st.st_mode) || (st.st_uid && st.st_uid != geteuid()) ||
		    st.st_mode & 022) {
			segment_release(segment);
			segment->reason = AGENT_FOLDER;
			memset(&segment->identity, 0, sizeof(id));
		} else {
			identify(&id, &st, true);
			if (!same(&id, &segment->identity)) {
				segment_release(segment);
				segment->identity = id;
				segment->reason = segment_read(segment, fd, st.st_size);
				if (!segment->reason && segment->header->flags & AGENT_SEGMENT_CHILDREN && agent.begins)
					child_of_whom(dir, segment, &st);
			}
		}
	}
	if (fd >= 0)
		close(fd);
	return 0;
}

static void forget_segment(struct session *session, size_t i)
{
	struct segment **segments = segments_of(session);
	size_t n = nsegments(session);

	segment_release(segments[i]);
	pages_put(segments[i], sizeof(*segments[i]));
	segments[i] = segments[n - 1];
	session->segments.n -= sizeof(*segments);
}

static void forget_unseen(struct session *session)
{
	for (size_t i = 0; i < nsegments(session);)
		if (segments_of(session)[i]->seen)
			i++;
		else
			forget_segment(session, i);
}

/* Segments whose points are armed because an ancestor of ours was meant cannot be found again once let go. */
static int look_session(int dir, const char *name, void *arg)
{
	bool *gone = arg;
	struct session *session;
	struct identity id;
	struct stat st;
	int fd;

	if (!store_session_ok(name))
		return 0;
	fd = store_folder(dir, name, false);
	session = agent_session(name);
	/* A process that has given up its rights may not read it any more: what is armed stays, until the folder goes. */
	if (fd < 0 && session && errno == EACCES)
		session->seen = true;
	if (fd < 0)
		return 0;
	if (!session)
		session = session_new(name);
	if (session && !fstat(fd, &st)) {
		identify(&id, &st, false);
		/* Another of this name: what was armed by the one before is to go first. */
		if (session->folder.inode && !same(&id, &session->folder)) {
			*gone = true;
		} else {
			session->folder = id;
			session->seen = true;
			for (size_t i = 0; i < nsegments(session); i++)
				segments_of(session)[i]->seen = false;
			store_list(fd, look_file, session);
			forget_unseen(session);
			session->records = session->overwrites = false;
			for (size_t i = 0; i < nsegments(session); i++) {
				const struct segment *s = segments_of(session)[i];

				session->records |= s->desc && s->header->flags & AGENT_SEGMENT_RECORD;
				session->overwrites |= s->desc && s->header->flags & AGENT_SEGMENT_OVERWRITE;
			}
			area_records(session);
		}
	}
	close(fd);
	return 0;
}

/* Reads what there is; true: a session was there under the name of another, and is to be looked at again. */
static bool read_sessions(int store)
{
	bool again = false;

	for (unsigned i = 0; i < SESSIONS_MAX; i++)
		agent.sessions[i].seen = false;
	store_list(store, look_session, &again);
	for (unsigned i = 0; i < SESSIONS_MAX; i++)
		if (agent.sessions[i].name[0] && !agent.sessions[i].seen)
			while (nsegments(&agent.sessions[i]))
				forget_segment(&agent.sessions[i], 0);
	return again;
}

static void forget_session(struct session *session)
{
	area_leave(session);
	while (nsegments(session))
		forget_segment(session, 0);
	if (session->segments.at)
		munmap(session->segments.at, session->segments.room);
	memset(session, 0, sizeof(*session));
}

bool sessions_concern(int store)
{
	bool concern = false;

	read_sessions(store);
	for (unsigned i = 0; i < SESSIONS_MAX; i++)
		for (size_t k = 0; k < nsegments(&agent.sessions[i]); k++) {
			const struct segment *segment = segments_of(&agent.sessions[i])[k];

			for (uint32_t p = 0; segment->desc && p < segment->desc->npoints && !concern; p++)
				concern = segment->on[p] && segment_concerns(segment, &desc_points(segment->desc)[p]);
		}
	for (unsigned i = 0; i < SESSIONS_MAX && !concern; i++)
		if (agent.sessions[i].name[0])
			forget_session(&agent.sessions[i]);
	return concern;
}

static bool look_once(int store)
{
	bool again = read_sessions(store);

	sites_apply();
	for (unsigned i = 0; i < SESSIONS_MAX; i++)
		if (agent.sessions[i].name[0] && !agent.sessions[i].seen)
			forget_session(&agent.sessions[i]);
	return again;
}

/* A library that is being unloaded is not to be written to. */
static bool wait_for_unloading(void)
{
	for (unsigned i = 0; i < 20; i++) {
		uint32_t n = __atomic_load_n(&agent.unloading, __ATOMIC_ACQUIRE);

		if (!n)
			return true;
		word_wait(&agent.unloading, n, 50);
	}
	return false;
}

bool agent_look(int store)
{
	if (!wait_for_unloading())
		return false;
	if (store < 0)
		sites_apply();
	else if (look_once(store))
		look_once(store);
	return true;
}

void sessions_inherit(int store)
{
	for (unsigned i = 0; i < SESSIONS_MAX; i++) {
		const struct session *session = &agent.sessions[i];
		int dir = -1;

		for (size_t k = 0; k < nsegments(session); k++) {
			if (!segments_of(session)[k]->desc || !segments_of(session)[k]->inherited)
				continue;
			if (dir < 0)
				dir = store_folder(store, session->name, false);
			if (dir >= 0)
				child_write(dir, segments_of(session)[k]);
		}
		if (dir >= 0)
			close(dir);
	}
}

static void unkept_name(char name[64], uint32_t pid)
{
	strcpy(name, "unkept-0-");
	format_number(name + strlen(name), pid);
}

void session_unkept(int store, const struct session *session, bool unkept)
{
	struct agent_child child = {
		.magic = AGENT_CHILD_MAGIC,
		.version = AGENT_VERSION,
		.pid = agent.pid,
		.start_time = agent.start_time,
	};
	int dir = store < 0 ? -1 : store_folder(store, session->name, false);
	char name[64];

	if (dir < 0)
		return;
	unkept_name(name, agent.pid);
	if (unkept)
		store_write(dir, name, &child, sizeof(child));
	else
		unlinkat(dir, name, 0);
	close(dir);
}

static void write_segment_counts(int dir, const struct area *area, const struct segment *segment)
{
	uint32_t n = segment->desc->npoints;
	size_t size = sizeof(struct agent_counts) + n * sizeof(struct agent_count);
	struct agent_counts *h = pages_get(size);
	struct agent_count *counts = (struct agent_count *)(h + 1), c;
	const struct agent_place *places = area->places.at;
	char name[64] = "counts-";

	if (!h)
		return;
	for (size_t i = 0; i < area->places.n / sizeof(*places); i++) {
		if (places[i].segment != segment->number || places[i].point >= n)
			continue;
		area_count(area, i, &c);
		counts[places[i].point].recorded += c.recorded;
		counts[places[i].point].filtered += c.filtered;
		counts[places[i].point].idle += c.idle;
		counts[places[i].point].lost += c.lost;
	}
	h->magic = AGENT_COUNTS_MAGIC;
	h->version = AGENT_VERSION;
	h->size = size;
	h->segment = segment->number;
	h->npoints = n;
	h->pid = agent.pid;
	h->start_time = agent.start_time;
	format_number(name + strlen(name), segment->number);
	strcat(name, "-");
	format_number(name + strlen(name), agent.pid);
	store_write(dir, name, h, size);
	pages_put(h, size);
}

static void leave_session(int dir, const struct session *session)
{
	for (size_t i = 0; i < nsegments(session); i++) {
		const struct segment *segment = segments_of(session)[i];
		char name[64];

		if (!segment->desc)
			continue;
		if (session->area)
			write_segment_counts(dir, session->area, segment);
		child_name(name, segment->number, agent.pid);
		if (segment->inherited)
			unlinkat(dir, name, 0);
		unkept_name(name, agent.pid);
		if (session->area)
			unlinkat(dir, name, 0);
	}
}

void sessions_leave(void)
{
	int store = store_open(false), dir;

	for (unsigned i = 0; store >= 0 && i < SESSIONS_MAX; i++) {
		if (!nsegments(&agent.sessions[i]))
			continue;
		dir = store_folder(store, agent.sessions[i].name, false);
		if (dir >= 0) {
			leave_session(dir, &agent.sessions[i]);
			close(dir);
		}
	}
	if (store >= 0) {
		control_close(store);
		close(store);
	}
}
