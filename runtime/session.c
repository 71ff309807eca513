/* SPDX-License-Identifier: MIT */
#include "runtime/session.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/error.h"

void *session_state(const struct pp_session *session, const struct backend *backend)
{
	size_t i = backend_index(backend);

	return i < nbackends ? session->states[i] : NULL;
}

void session_set_state(struct pp_session *session, const struct backend *backend, void *state)
{
	size_t i = backend_index(backend);

	if (i < nbackends)
		session->states[i] = state;
}

bool session_has_attachments(const struct pp_session *session, const struct backend *backend)
{
	for (size_t i = 0; i < session->nattachments; i++)
		if (session->attachments[i]->backend == backend)
			return true;
	return false;
}

/* ---- attachments ------------------------------------------------------------------- */

size_t session_attachments(const struct pp_session *session)
{
	return session->nattachments;
}

const struct manifest *session_manifest(const struct pp_session *session, size_t i)
{
	return session->attachments[i]->manifest;
}

uint32_t session_attachment_id(const struct pp_session *session, size_t i)
{
	return attachment_id(session->attachments[i]);
}

struct attachment *session_add_attachment(struct pp_session *session, const struct backend *backend, uint32_t number,
                                          struct manifest *manifest, void *state)
{
	struct attachment *attachment;

	if (ALLOC_GROW(session->attachments, session->nattachments + 1, session->attachments_room))
		return NULL;
	attachment = calloc(1, sizeof(*attachment));
	if (!attachment)
		return NULL;
	*attachment = (struct attachment){ .number = number, .backend = backend, .manifest = manifest, .state = state };
	session->attachments[session->nattachments++] = attachment;
	return attachment;
}

static void attachment_free(struct attachment *attachment)
{
	if (attachment->state)
		attachment->backend->release(attachment);
	free(attachment->manifest);
	free(attachment);
}

void session_forget_attachment(struct pp_session *session, struct attachment *attachment)
{
	size_t n = 0;

	for (size_t i = 0; i < session->nattachments; i++)
		if (session->attachments[i] != attachment)
			session->attachments[n++] = session->attachments[i];
	session->nattachments = n;
	attachment_free(attachment);
}

void session_forget_attachments(struct pp_session *session, const struct backend *backend)
{
	size_t n = 0;

	for (size_t i = 0; i < session->nattachments; i++)
		if (session->attachments[i]->backend != backend)
			session->attachments[n++] = session->attachments[i];
		else
			attachment_free(session->attachments[i]);
	session->nattachments = n;
}

/* ---- opening ---------------------------------------------------------------------- */

static int session_check_name(const char *name)
{
	size_t length = strlen(name);

	if (!length || length > SESSION_NAME_MAX || name[0] == '-' ||
	    name[strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")])
		return error_set(
			EINVAL,
			"invalid session name '%s': expected 1 to %d letters, digits, '_' and '-', not starting with '-'",
			name, SESSION_NAME_MAX);
	return 0;
}

int session_open_backend(struct pp_session *session, const struct backend *backend, bool create)
{
	for (int try = 0;; try++) {
		int err = session_state(session, backend) ? 0 : backend->open(session, create);

		/* -ENOENT with create: another command removed the session before this one locked it. */
		if (err != -ENOENT || !create || try == 10)
			return err;
	}
}

/* Whether the backend has no part of the session. A directory that this user may not search has none of its sessions. */
static bool is_absent(int err)
{
	return err == -ENOENT || err == -EACCES;
}

static bool session_has_part(const struct pp_session *session)
{
	for (size_t i = 0; i < nbackends; i++)
		if (session->states[i])
			return true;
	return false;
}

int session_open_all(struct pp_session *session)
{
	char *message = NULL;
	int first = 0;

	for (size_t i = 0; i < nbackends; i++) {
		int err = session_open_backend(session, backends[i], false);

		if (err && !is_absent(err) && !first) {
			first = err;
			message = strdup(pp_error());
		}
	}
	if (first)
		error_set(-first, "%s", message ? message : "out of memory");
	free(message);
	return first;
}

int session_new(const char *name, struct pp_session **session)
{
	int err = session_check_name(name);

	if (err)
		return err;
	*session = calloc(1, sizeof(**session));
	if (!*session)
		return error_nomem();
	strcpy((*session)->name, name);
	return 0;
}

int session_open(const char *name, bool create, bool hasty, struct pp_session **session)
{
	struct pp_session *s;
	int err = session_new(name, &s);

	if (err)
		return err;
	s->hasty = hasty;
	err = session_open_all(s);
	/* With create, a backend's error is reported when that backend is to arm. */
	if (session_has_part(s) || create) {
		*session = s;
		return 0;
	}
	pp_session_close(s);
	return err ? err : error_set(ENOENT, "no session '%s'; probe-list --sessions lists the sessions", name);
}

int pp_session_open(const char *name, bool create, struct pp_session **session)
{
	return session_open(name, create, false, session);
}

int pp_session_private(struct pp_session **session)
{
	*session = calloc(1, sizeof(**session));
	if (!*session)
		return error_nomem();
	(*session)->is_private = true;
	return 0;
}

void pp_session_close(struct pp_session *session)
{
	if (!session)
		return;
	for (size_t i = 0; i < nbackends; i++)
		if (session->states[i])
			backends[i]->close(session);
	free(session->attachments);
	free(session);
}

const char *pp_session_name(const struct pp_session *session)
{
	return session->name;
}

int pp_session_interrupt(struct pp_session *session, const volatile int *flag)
{
	session->interrupt = flag;
	return 0;
}

/* ---- the sessions that there are --------------------------------------------------- */

struct session_names {
	char **names;
	size_t n, room;
};

static int session_names_add(const char *name, void *arg)
{
	struct session_names *all = arg;

	if (ALLOC_GROW(all->names, all->n + 1, all->room))
		return -ENOMEM;
	all->names[all->n] = strdup(name);
	return all->names[all->n++] ? 0 : error_nomem();
}

static int compare_session_names(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Returns an error only if it found no name, or without memory. */
static int session_names_find(struct session_names *all)
{
	int trouble = 0;

	for (size_t i = 0; i < nbackends; i++) {
		int err = backends[i]->names(session_names_add, all);

		if (err == -ENOMEM)
			return err;
		if (err && !is_absent(err))
			trouble = err;
	}
	if (all->n)
		qsort(all->names, all->n, sizeof(*all->names), compare_session_names);
	return all->n ? 0 : trouble;
}

int pp_sessions(int (*fn)(const char *name, void *arg), void *arg)
{
	struct session_names all = { 0 };
	int err = session_names_find(&all);

	for (size_t i = 0; i < all.n && !err; i++)
		if (!i || strcmp(all.names[i], all.names[i - 1]))
			err = fn(all.names[i], arg);
	for (size_t i = 0; i < all.n; i++)
		free(all.names[i]);
	free(all.names);
	return err;
}

/* ---- locking and refreshing -------------------------------------------------------- */

/* Closes a part that cannot be locked, unless a reader still reads from it. */
static void session_close_part(struct pp_session *session, const struct backend *backend)
{
	if (!session->nreaders)
		backend->close(session);
}

int session_lock(struct pp_session *session, const struct backend *backend, bool create)
{
	for (int try = 0;; try++) {
		int err = session_open_backend(session, backend, create);

		if (!err) {
			err = backend->lock(session);
			if (err)
				session_close_part(session, backend);
		}
		if (err != -ENOENT || !create || try == 10)
			return err;
	}
}

void session_open_new_parts(struct pp_session *session)
{
	for (size_t i = 0; i < nbackends && !session->is_private; i++)
		session_open_backend(session, backends[i], false);
}

int session_refresh(struct pp_session *session)
{
	bool exists = session->is_private;

	session_open_new_parts(session);
	for (size_t i = 0; i < nbackends; i++) {
		int err;

		if (!session->states[i])
			continue;
		err = backends[i]->lock(session);
		if (err && err != -ENOENT)
			return err;
		if (err) {
			session_close_part(session, backends[i]);
			continue;
		}
		backends[i]->unlock(session);
		exists = true;
	}
	return exists ? 0 : error_set(ENOENT, "session '%s' has ended", session->name);
}

static const struct attachment *session_find_attachment(const struct pp_session *session, const struct backend *backend,
                                                        uint32_t number)
{
	for (size_t i = 0; i < session->nattachments; i++)
		if (session->attachments[i]->backend == backend && session->attachments[i]->number == number)
			return session->attachments[i];
	return NULL;
}

const struct attachment *session_attachment(struct pp_session *session, const struct backend *backend, uint32_t number)
{
	const struct attachment *found = session_find_attachment(session, backend, number);

	if (found || session_refresh(session))
		return found;
	return session_find_attachment(session, backend, number);
}

/* ---- records ------------------------------------------------------------------------ */

size_t session_flight(const struct pp_session *session)
{
	for (size_t i = 0; i < session->nattachments; i++) {
		/* An attachment that is not armed yet has no state. */
		size_t flight = session->attachments[i]->state
		                        ? session->attachments[i]->backend->flight(session->attachments[i])
		                        : 0;

		if (flight)
			return flight;
	}
	return 0;
}

void session_totals(const struct pp_session *session, uint64_t *recorded, uint64_t *lost)
{
	*recorded = *lost = 0;
	for (size_t i = 0; i < session->nattachments; i++) {
		const struct attachment *attachment = session->attachments[i];

		for (uint32_t p = 0; p < attachment->manifest->npoints; p++) {
			struct pp_counts counts = { 0 };

			attachment->backend->counts(attachment, p, &counts);
			*recorded += counts.recorded;
			*lost += counts.lost;
		}
	}
	*lost += session->lost_uncounted;
}

void session_lose(struct pp_session *session, const struct pp_mark *mark)
{
	if (session->nsnapshots)
		return;
	for (size_t i = 0; i < session->nattachments; i++) {
		const struct attachment *attachment = session->attachments[i];

		if (attachment_id(attachment) == mark->attachment && mark->point < attachment->manifest->npoints &&
		    attachment->backend->lose(attachment, mark->point, mark->pid))
			return;
	}
	session->lost_uncounted++;
}
