/* SPDX-License-Identifier: MIT */
/*
 * Scanning the state directory, and arming by what is there:
 *
 * 1. Each subdirectory with a valid name is a session; each of its files segment-N is
 *    an attachment. A file is read only if it differs from the last scan, by inode,
 *    size and time of change.
 * 2. Attachments and sessions that are gone are forgotten. A session is forgotten only
 *    after its points are disarmed (sites_arm()).
 * 3. A private session ends when its owner has died. The owner holds a lock on the session's file `private`, so the thread
 *    also looks every second whether the lock is free (sessions_have_orphan()).
 * 4. If a directory was replaced by another directory of the same name, the points of the
 *    old one are disarmed first, and a second scan reads the new one.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/agent/inproc/agent.h"
#include "runtime/agent/inproc/arm.h"
#include "runtime/agent/inproc/child.h"
#include "runtime/agent/inproc/files.h"
#include "runtime/agent/inproc/layout.h"
#include "runtime/agent/inproc/scan.h"
#include "runtime/agent/inproc/session.h"
#include "runtime/agent/inproc/state-dir.h"

static bool identity_same(const struct identity *a, const struct identity *b)
{
	return !memcmp(a, b, sizeof(*a));
}

/* file: compare size and time of change, too. */
static void identity_set(struct identity *id, const struct stat *st, bool file)
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

/* ---- attachments ---- */

static void attachments_forget_unseen(struct session *session)
{
	for (size_t i = 0; i < nattachments(session);)
		if (attachments_of(session)[i]->seen)
			i++;
		else
			attachment_forget(session, i);
}

/* Returns whether the file may be read: it belongs to the user or root, and only that user can write it. */
static bool attachment_file_ok(int fd, struct stat *st)
{
	return fd >= 0 && !fstat(fd, st) && S_ISREG(st->st_mode) && (!st->st_uid || st->st_uid == geteuid()) &&
	       !(st->st_mode & 022);
}

/* Reads the attachment's file if it is not the one that was read last. fd may be -1. */
static void attachment_refresh(struct loaded_attachment *attachment, int dir, int fd)
{
	struct identity id;
	struct stat st;

	attachment->seen = true;
	if (!attachment_file_ok(fd, &st)) {
		attachment_release(attachment);
		attachment->reason = AGENT_DIRECTORY;
		memset(&attachment->identity, 0, sizeof(id));
		return;
	}
	identity_set(&id, &st, true);
	if (identity_same(&id, &attachment->identity))
		return;
	attachment_release(attachment);
	attachment->identity = id;
	attachment->reason = attachment_read(attachment, fd, st.st_size);
	if (!attachment->reason && attachment->header->flags & AGENT_ATTACHMENT_CHILDREN && agent.begins)
		child_find_ancestor(dir, attachment, &st);
}

static int attachment_file_read(int dir, const char *name, void *arg)
{
	const size_t prefix = sizeof("segment-") - 1;
	struct session *session = arg;
	struct loaded_attachment *attachment;
	int64_t number;
	int fd;

	if (strncmp(name, "segment-", prefix))
		return 0;
	number = parse_number(name + prefix);
	if (number < 0 || number > UINT32_MAX)
		return 0;
	fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT)
		return 0;
	attachment = session_attachment(session, number);
	if (attachment)
		attachment_refresh(attachment, dir, fd);
	if (fd >= 0)
		close(fd);
	return 0;
}

/* ---- sessions ---- */

static void session_read_attachments(struct session *session, int dir)
{
	for (size_t i = 0; i < nattachments(session); i++)
		attachments_of(session)[i]->seen = false;
	dir_list(dir, attachment_file_read, session);
	attachments_forget_unseen(session);
	session->records = session->overwrites = false;
	session->flight = 0;
	session->ring_size = 0;
	for (size_t i = 0; i < nattachments(session); i++) {
		const struct loaded_attachment *s = attachments_of(session)[i];

		session->records |= s->manifest && s->header->flags & AGENT_ATTACHMENT_RECORD;
		session->overwrites |= s->manifest && s->header->flags & AGENT_ATTACHMENT_OVERWRITE;
		if (s->manifest)
			session->ring_size = s->header->ring_size;
		if (s->manifest && s->header->flight)
			session->flight = s->header->flight;
	}
	shm_records(session);
}

/* Returns whether the session's owner has died. Sets *has_owner if the session is private. */
static bool session_is_orphan(int dir, bool *has_owner)
{
	int fd = openat(dir, "private", O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	bool dead;

	*has_owner = fd >= 0;
	if (fd < 0)
		return false;
	dead = !flock(fd, LOCK_SH | LOCK_NB);
	close(fd);
	return dead;
}

bool sessions_have_orphan(int store)
{
	bool found = false;

	for (unsigned i = 0; i < SESSIONS_MAX && !found; i++) {
		const struct session *session = &agent.sessions[i];
		bool has_owner;
		int dir;

		if (!session->name[0] || !session->has_owner)
			continue;
		dir = dir_open(store, session->name, false);
		if (dir < 0)
			continue;
		found = session_is_orphan(dir, &has_owner);
		close(dir);
	}
	return found;
}

/* *arg becomes true if another directory of that name was read before. */
static int session_dir_read(int store, const char *name, void *arg)
{
	bool *replaced = arg;
	struct session *session;
	struct identity id;
	bool has_owner = false;
	struct stat st;
	int dir;

	if (!session_name_ok(name))
		return 0;
	dir = dir_open(store, name, false);
	if (dir >= 0 && session_is_orphan(dir, &has_owner)) {
		close(dir);
		return 0;
	}
	session = session_find(name);
	/*
	 * A process that has given up its rights may not be able to read the directory any
	 * more. Then all that is armed stays armed, until the directory is gone.
	 * An attachment that is armed because of an ancestor could not be found again.
	 */
	if (dir < 0 && session && errno == EACCES)
		session->seen = true;
	if (dir < 0)
		return 0;
	if (!session)
		session = session_new(name);
	if (session && !fstat(dir, &st)) {
		identity_set(&id, &st, false);
		if (session->directory.inode && !identity_same(&id, &session->directory)) {
			*replaced = true;
		} else {
			session->directory = id;
			session->seen = true;
			session->has_owner = has_owner;
			session_read_attachments(session, dir);
		}
	}
	close(dir);
	return 0;
}

/* Scans the state directory. Returns whether another scan is needed after disarming. */
static bool sessions_read(int store)
{
	bool again = false;

	for (unsigned i = 0; i < SESSIONS_MAX; i++)
		agent.sessions[i].seen = false;
	dir_list(store, session_dir_read, &again);
	for (unsigned i = 0; i < SESSIONS_MAX; i++)
		if (agent.sessions[i].name[0] && !agent.sessions[i].seen)
			attachments_forget(&agent.sessions[i]);
	return again;
}

static bool attachment_concerns_process(const struct loaded_attachment *attachment)
{
	if (!attachment->manifest)
		return false;
	for (uint32_t i = 0; i < attachment->manifest->npoints; i++)
		if (attachment->on[i] && attachment_concerns(attachment, &manifest_points(attachment->manifest)[i]))
			return true;
	return false;
}

bool sessions_concern_process(int store)
{
	sessions_read(store);
	for (unsigned i = 0; i < SESSIONS_MAX; i++)
		for (size_t k = 0; k < nattachments(&agent.sessions[i]); k++)
			if (attachment_concerns_process(attachments_of(&agent.sessions[i])[k]))
				return true;
	for (unsigned i = 0; i < SESSIONS_MAX; i++)
		if (agent.sessions[i].name[0])
			session_forget(&agent.sessions[i]);
	return false;
}

/* ---- rescanning ---- */

static bool sessions_rescan_once(int store)
{
	bool again = sessions_read(store);

	sites_arm();
	for (unsigned i = 0; i < SESSIONS_MAX; i++)
		if (agent.sessions[i].name[0] && !agent.sessions[i].seen)
			session_forget(&agent.sessions[i]);
	layouts_write(store);
	return again;
}

/* The agent must not write to a library that is being unloaded. */
static bool unloading_wait(void)
{
	for (unsigned i = 0; i < 20; i++) {
		uint32_t n = __atomic_load_n(&agent.unloading, __ATOMIC_ACQUIRE);

		if (!n)
			return true;
		word_wait(&agent.unloading, n, 50);
	}
	return false;
}

bool sessions_rescan(int store)
{
	if (!unloading_wait())
		return false;
	if (store < 0)
		sites_arm();
	else if (sessions_rescan_once(store))
		sessions_rescan_once(store);
	return true;
}
