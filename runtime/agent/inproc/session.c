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

static struct loaded_attachment *attachment_get(struct session *session, uint32_t number)
{
	struct loaded_attachment *attachment, **added;

	for (size_t i = 0; i < nattachments(session); i++)
		if (attachments_of(session)[i]->number == number)
			return attachments_of(session)[i];
	attachment = pages_get(sizeof(*attachment));
	added = attachment ? vector_add(&session->attachments, sizeof(*added)) : NULL;
	if (!added) {
		pages_put(attachment, sizeof(*attachment));
		return NULL;
	}
	attachment->session = session;
	attachment->number = number;
	*added = attachment;
	return attachment;
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

static void child_write(int dir, const struct loaded_attachment *attachment)
{
	struct agent_child child = {
		.magic = AGENT_CHILD_MAGIC,
		.version = AGENT_VERSION,
		.pid = agent.pid,
		.ancestor = attachment->inherited,
		.start_time = agent.start_time,
	};
	char name[64];

	child_name(name, attachment->number, agent.pid);
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
static void child_of_whom(int dir, struct loaded_attachment *attachment, const struct stat *st)
{
	uint32_t parent = getppid();
	uint64_t start_time;

	attachment->inherited = child_read(dir, attachment->number, agent.pid, agent.start_time);
	if (attachment->inherited || !began_after(st))
		return;
	start_time = process_start_time(parent);
	attachment->inherited = attachment_names(attachment, parent, start_time)
	                                ? parent
	                                : child_read(dir, attachment->number, parent, start_time);
	if (attachment->inherited)
		child_write(dir, attachment);
}

static int look_file(int dir, const char *name, void *arg)
{
	const size_t prefix = sizeof("segment-") - 1;
	struct session *session = arg;
	struct loaded_attachment *attachment;
	struct identity id;
	struct stat st;
	int64_t number;
	int fd;

	if (strncmp(name, "segment-", prefix) || (number = parse_number(name + prefix)) < 0 || number > UINT32_MAX)
		return 0;
	fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT)
		return 0;
	attachment = attachment_get(session, number);
	if (attachment) {
		attachment->seen = true;
		if (fd < 0 || fstat(fd, &st) || !S_ISREG(st.st_mode) || (st.st_uid && st.st_uid != geteuid()) ||
		    st.st_mode & 022) {
			attachment_release(attachment);
			attachment->reason = AGENT_DIRECTORY;
			memset(&attachment->identity, 0, sizeof(id));
		} else {
			identify(&id, &st, true);
			if (!same(&id, &attachment->identity)) {
				attachment_release(attachment);
				attachment->identity = id;
				attachment->reason = attachment_read(attachment, fd, st.st_size);
				if (!attachment->reason && attachment->header->flags & AGENT_ATTACHMENT_CHILDREN &&
				    agent.begins)
					child_of_whom(dir, attachment, &st);
			}
		}
	}
	if (fd >= 0)
		close(fd);
	return 0;
}

static void forget_attachment(struct session *session, size_t i)
{
	struct loaded_attachment **attachments = attachments_of(session);
	size_t n = nattachments(session);

	attachment_release(attachments[i]);
	pages_put(attachments[i], sizeof(*attachments[i]));
	attachments[i] = attachments[n - 1];
	session->attachments.n -= sizeof(*attachments);
}

static void forget_unseen(struct session *session)
{
	for (size_t i = 0; i < nattachments(session);)
		if (attachments_of(session)[i]->seen)
			i++;
		else
			forget_attachment(session, i);
}

/* Attachments whose points are armed because an ancestor of ours was meant cannot be found again once let go. */
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
			for (size_t i = 0; i < nattachments(session); i++)
				attachments_of(session)[i]->seen = false;
			store_list(fd, look_file, session);
			forget_unseen(session);
			session->records = session->overwrites = false;
			for (size_t i = 0; i < nattachments(session); i++) {
				const struct loaded_attachment *s = attachments_of(session)[i];

				session->records |= s->manifest && s->header->flags & AGENT_ATTACHMENT_RECORD;
				session->overwrites |= s->manifest && s->header->flags & AGENT_ATTACHMENT_OVERWRITE;
			}
			shm_records(session);
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
			while (nattachments(&agent.sessions[i]))
				forget_attachment(&agent.sessions[i], 0);
	return again;
}

static void forget_session(struct session *session)
{
	shm_leave(session);
	while (nattachments(session))
		forget_attachment(session, 0);
	if (session->attachments.at)
		munmap(session->attachments.at, session->attachments.room);
	memset(session, 0, sizeof(*session));
}

bool sessions_concern(int store)
{
	bool concern = false;

	read_sessions(store);
	for (unsigned i = 0; i < SESSIONS_MAX; i++)
		for (size_t k = 0; k < nattachments(&agent.sessions[i]); k++) {
			const struct loaded_attachment *attachment = attachments_of(&agent.sessions[i])[k];

			for (uint32_t p = 0; attachment->manifest && p < attachment->manifest->npoints && !concern; p++)
				concern = attachment->on[p] &&
				          attachment_concerns(attachment, &manifest_points(attachment->manifest)[p]);
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

		for (size_t k = 0; k < nattachments(session); k++) {
			if (!attachments_of(session)[k]->manifest || !attachments_of(session)[k]->inherited)
				continue;
			if (dir < 0)
				dir = store_folder(store, session->name, false);
			if (dir >= 0)
				child_write(dir, attachments_of(session)[k]);
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

static void write_attachment_counts(int dir, const struct shm *shm, const struct loaded_attachment *attachment)
{
	uint32_t n = attachment->manifest->npoints;
	size_t size = sizeof(struct agent_counts) + n * sizeof(struct agent_count);
	struct agent_counts *h = pages_get(size);
	struct agent_count *counts = (struct agent_count *)(h + 1), c;
	const struct agent_slot *slots = shm->slots.at;
	char name[64] = "counts-";

	if (!h)
		return;
	for (size_t i = 0; i < shm->slots.n / sizeof(*slots); i++) {
		if (slots[i].attachment != attachment->number || slots[i].point >= n)
			continue;
		shm_count(shm, i, &c);
		counts[slots[i].point].recorded += c.recorded;
		counts[slots[i].point].filtered += c.filtered;
		counts[slots[i].point].idle += c.idle;
		counts[slots[i].point].lost += c.lost;
	}
	h->magic = AGENT_COUNTS_MAGIC;
	h->version = AGENT_VERSION;
	h->size = size;
	h->attachment = attachment->number;
	h->npoints = n;
	h->pid = agent.pid;
	h->start_time = agent.start_time;
	format_number(name + strlen(name), attachment->number);
	strcat(name, "-");
	format_number(name + strlen(name), agent.pid);
	store_write(dir, name, h, size);
	pages_put(h, size);
}

static void leave_session(int dir, const struct session *session)
{
	for (size_t i = 0; i < nattachments(session); i++) {
		const struct loaded_attachment *attachment = attachments_of(session)[i];
		char name[64];

		if (!attachment->manifest)
			continue;
		if (session->shm)
			write_attachment_counts(dir, session->shm, attachment);
		child_name(name, attachment->number, agent.pid);
		if (attachment->inherited)
			unlinkat(dir, name, 0);
		unkept_name(name, agent.pid);
		if (session->shm)
			unlinkat(dir, name, 0);
	}
}

void sessions_leave(void)
{
	int store = store_open(false), dir;

	for (unsigned i = 0; store >= 0 && i < SESSIONS_MAX; i++) {
		if (!nattachments(&agent.sessions[i]))
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
