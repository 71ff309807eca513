/* SPDX-License-Identifier: MIT */
/*
 * Sessions of the agent backend. The session's files say what is armed; agents only read them on request. So the files
 * are complete whenever a command is killed, and a process that starts later reads the same.
 *
 *  1. A mark exists while files have changed and agents have not read them. The next command that opens the session
 *     makes agents read them.
 *  2. The session directory is removed when nothing is armed in it any more.
 *  3. A private session is a directory, too. Its owner holds a lock on it. The next command removes the directory of an
 *     owner that was killed, which it finds by the lock being free.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/array.h"
#include "base/error.h"
#include "runtime/agent/session.h"

#define PRIVATE_TRIES 1000

/* ---- attachments ---- */

void agent_loaded_free(struct agent_loaded *loaded)
{
	if (!loaded)
		return;
	agent_file_release(&loaded->file);
	free(loaded->counts);
	free(loaded);
}

struct agent_loaded *agent_loaded_new(struct agent_session *session, uint32_t npoints)
{
	struct agent_loaded *loaded = calloc(1, sizeof(*loaded));

	if (!loaded)
		return NULL;
	loaded->session = session;
	loaded->counts = calloc(npoints + 1, sizeof(*loaded->counts));
	if (!loaded->counts) {
		free(loaded);
		return NULL;
	}
	return loaded;
}

void agent_release(struct attachment *attachment)
{
	agent_loaded_free(attachment->state);
	attachment->state = NULL;
}

static struct manifest *manifest_copy(const struct manifest *from, uint32_t number)
{
	struct manifest *d = malloc((from->size + 7) & ~7ull);

	if (d) {
		memcpy(d, from, from->size);
		d->attachment = number;
	}
	return d;
}

/* Adds the attachment of a file to the session. */
static int session_load_attachment(const struct agent_file_id *id, void *arg)
{
	struct pp_session *session = arg;
	struct agent_session *s = agent_of(session);
	struct agent_loaded *loaded;
	struct agent_file file;
	struct manifest *d;
	int err;

	if (id->pid)
		return 0;
	err = agent_file_read(&s->dir, id->number, &file);
	if (err)
		return err;
	loaded = agent_loaded_new(s, file.manifest->npoints);
	d = manifest_copy(file.manifest, id->number);
	if (!loaded) {
		agent_file_release(&file);
		free(d);
		return error_nomem();
	}
	loaded->file = file;
	if (!d || !session_add_attachment(session, &backend_agent, id->number, d, loaded)) {
		agent_loaded_free(loaded);
		free(d);
		return error_nomem();
	}
	return 0;
}

/* ---- the processes that a session concerns ---- */

/* A growing array of pids. */
struct pid_list {
	pid_t *pids;
	size_t n, room;
};

/* Adds the processes that an attachment concerns. Returns 1 if it concerns every process, 0 or -ENOMEM. */
static int loaded_add_pids(const struct agent_loaded *loaded, struct pid_list *list)
{
	const struct agent_attachment *a = loaded->file.attachment;
	const struct agent_process *processes = agent_file_processes(&loaded->file);
	int err;

	if (a->flags & AGENT_ATTACHMENT_CHILDREN || manifest_has_global_point(loaded->file.manifest))
		return 1;
	err = ALLOC_GROW(list->pids, list->n + a->nprocesses + 1, list->room);
	if (err)
		return err;
	for (uint32_t i = 0; i < a->nprocesses; i++)
		list->pids[list->n++] = (pid_t)processes[i].pid;
	return 0;
}

bool manifest_has_global_point(const struct manifest *d)
{
	for (uint32_t i = 0; i < d->npoints; i++)
		if (!manifest_points(d)[i].pid)
			return true;
	return false;
}

int agent_session_find_pids(struct agent_session *session)
{
	const struct pp_session *s = session->session;
	struct pid_list list = { 0 };
	int err = 0;

	for (size_t i = 0; i < s->nattachments && !err; i++)
		if (s->attachments[i]->backend == &backend_agent && agent_loaded(s->attachments[i]))
			err = loaded_add_pids(agent_loaded(s->attachments[i]), &list);
	free(session->pids);
	session->pids = list.pids;
	session->npids = err ? 0 : list.n;
	return err < 0 ? err : 0;
}

void agent_session_rescan(const struct agent_session *session, const struct agent_loaded *loaded)
{
	struct pid_list list = { 0 };
	int err = loaded_add_pids(loaded, &list);

	agent_rescan_all(&session->dir, session->name, list.pids, err ? 0 : list.n);
	free(list.pids);
}

/* ---- ending ---- */

static int session_unlink_attachment(const struct agent_file_id *id, void *arg)
{
	if (!id->pid)
		agent_dir_unlink(arg, "segment", *id);
	return 0;
}

/* Disarms and removes a session. The directory goes last, because without it no command would disarm what is left. */
static int session_end(struct agent_dir *dir, const char *name, const pid_t *pids, size_t npids)
{
	int err;

	agent_dir_each_file(dir, "segment", session_unlink_attachment, dir);
	agent_rescan_all(dir, name, pids, npids);
	err = agent_dir_remove(dir);
	/* This makes agents forget the session. */
	if (!err)
		agent_rescan_all(dir, name, pids, npids);
	return err;
}

/* Removes the private session of an owner that has died. */
static int session_end_orphan(const char *name, void *arg)
{
	struct agent_dir dir;

	(void)arg;
	if (agent_dir_open(&dir, name, false))
		return 0;
	session_end(&dir, name, NULL, 0);
	agent_dir_close(&dir);
	return 0;
}

void agent_close(struct pp_session *session)
{
	struct agent_session *s = agent_of(session);

	if (!s)
		return;
	session_forget_attachments(session, &backend_agent);
	agent_targets_release(s);
	if (s->owner >= 0) {
		session_end(&s->dir, s->name, s->pids, s->npids);
		close(s->owner);
	}
	agent_dir_close(&s->dir);
	agent_sleepers_free(&s->sleepers);
	free(s->pids);
	free(s);
	session_set_state(session, &backend_agent, NULL);
}

int agent_remove(struct pp_session *session)
{
	struct agent_session *s = agent_of(session);

	return session_end(&s->dir, s->name, s->pids, s->npids);
}

/* ---- opening ---- */

/* Reads the session's files. The caller holds the lock. */
static int session_load_files(struct pp_session *session)
{
	struct agent_session *s = agent_of(session);
	int err;

	/* A command was killed after it had changed files and before it had notified the agents. */
	if (agent_dir_is_marked(&s->dir)) {
		agent_rescan_all(&s->dir, s->name, NULL, 0);
		agent_dir_tidy(&s->dir);
		agent_dir_unmark(&s->dir);
	}
	session_forget_attachments(session, &backend_agent);
	err = agent_dir_each_file(&s->dir, "segment", session_load_attachment, session);
	return err ? err : agent_session_find_pids(s);
}

/*
 * Makes a private session. Its directory has a hidden name until it is locked, so that no other command takes it for an
 * orphan.
 */
static int session_open_private(struct agent_session *s)
{
	static unsigned made;
	char hidden[AGENT_SESSION_MAX + 2];
	int err;

	for (int try = 0; try < PRIVATE_TRIES; try++) {
		snprintf(s->name, sizeof(s->name), "private-%d-%u", getpid(), made++);
		snprintf(hidden, sizeof(hidden), ".%s", s->name);
		err = agent_dir_open(&s->dir, hidden, true);
		if (err)
			return err;
		s->owner = agent_dir_hold_file(&s->dir, "private");
		if (s->owner < 0)
			return error_set(-s->owner, "cannot lock '%s/private': %s", s->dir.path, strerror(-s->owner));
		if (!agent_dir_rename(&s->dir, s->name))
			return 0;
		/* The name belongs to an earlier process of this pid, which was killed. */
		agent_dir_remove(&s->dir);
		close(s->owner);
		s->owner = -1;
		agent_dir_close(&s->dir);
	}
	return error_set(EEXIST, "cannot create a private session: '%s' exists", s->name);
}

static int session_open_shared(struct agent_session *s, bool create)
{
	struct pp_session *session = s->session;
	int err;

	snprintf(s->name, sizeof(s->name), "%s", session->name);
	err = agent_dir_open(&s->dir, session->name, create);
	if (err)
		return err;
	err = agent_dir_lock(&s->dir, session->hasty);
	if (err)
		return err;
	err = session_load_files(session);
	if (err || create)
		goto unlock;
	/* An empty session is left by a command that was killed before it armed, or after it disarmed. */
	if (!session_has_attachments(session, &backend_agent))
		err = session_end(&s->dir, s->name, NULL, 0) ? 0 : -ENOENT;
unlock:
	agent_dir_unlock(&s->dir);
	return err;
}

int agent_open(struct pp_session *session, bool create)
{
	struct agent_session *s = calloc(1, sizeof(*s));
	int err;

	if (!s)
		return error_nomem();
	*s = (struct agent_session){ .session = session, .dir = AGENT_DIR_CLOSED, .owner = -1 };
	agent_each_orphan(session_end_orphan, NULL);
	session_set_state(session, &backend_agent, s);
	err = session->is_private ? session_open_private(s) : session_open_shared(s, create);
	if (err)
		agent_close(session);
	return err;
}

int agent_lock(struct pp_session *session)
{
	struct agent_session *s = agent_of(session);
	int err;

	if (session->is_private)
		return 0;
	err = agent_dir_lock(&s->dir, session->hasty);
	if (err)
		return err;
	err = session_load_files(session);
	if (err)
		agent_dir_unlock(&s->dir);
	return err;
}

void agent_unlock(struct pp_session *session)
{
	if (!session->is_private)
		agent_dir_unlock(&agent_of(session)->dir);
}

int agent_names(int (*fn)(const char *name, void *arg), void *arg)
{
	agent_each_orphan(session_end_orphan, NULL);
	return agent_each_session(fn, arg);
}
