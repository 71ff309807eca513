/* SPDX-License-Identifier: MIT */
#include "runtime/session.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "runtime/manifest.h"
#include "base/error.h"

const struct backend *const backends[NBACKENDS] = { &backend_agent, &backend_kernel };

static void *state_of(const struct pp_session *session, const struct backend *backend)
{
	return backend == &backend_kernel ? session->kernel : session->agent;
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

struct attachment *session_add_attachment(struct pp_session *session, const struct backend *backend, uint32_t number,
                                          struct manifest *manifest, void *state)
{
	struct attachment **more = realloc(session->attachments, (session->nattachments + 1) * sizeof(*more));
	struct attachment *attachment = more ? calloc(1, sizeof(*attachment)) : NULL;

	if (more)
		session->attachments = more;
	if (!attachment)
		return NULL;
	*attachment = (struct attachment){ .number = number, .backend = backend, .manifest = manifest, .state = state };
	session->attachments[session->nattachments++] = attachment;
	return attachment;
}

void session_forget_attachment(struct pp_session *session, struct attachment *attachment)
{
	size_t n = 0;

	for (size_t i = 0; i < session->nattachments; i++)
		if (session->attachments[i] != attachment)
			session->attachments[n++] = session->attachments[i];
	session->nattachments = n;
	if (attachment->state)
		attachment->backend->release(attachment);
	free(attachment->manifest);
	free(attachment);
}

/* ---- opening ---------------------------------------------------------------------- */

static int check_name(const char *name)
{
	size_t length = strlen(name);

	if (!length || length > SESSION_NAME_MAX || name[0] == '-' ||
	    name[strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")])
		return error_set(EINVAL,
		                 "'%s' is no session name: it takes 1 to %d letters, digits, '_' and '-', and starts "
		                 "with no '-'",
		                 name, SESSION_NAME_MAX);
	return 0;
}

static int open_backend(struct pp_session *session, const struct backend *backend, bool create)
{
	for (int try = 0;; try++) {
		int err = state_of(session, backend) ? 0 : backend->open(session, create);

		/* -ENOENT under create: somebody removed it between our making and our locking it. */
		if (err != -ENOENT || !create || try == 10)
			return err;
	}
}

/* A backend's store that we may not even look into holds nothing of ours. */
static bool absent(int err)
{
	return err == -ENOENT || err == -EACCES;
}

int session_open(const char *name, bool create, bool hasty, struct pp_session **session)
{
	struct pp_session *s;
	int err = check_name(name), trouble = 0;
	char *sentence = NULL;

	if (err)
		return err;
	s = calloc(1, sizeof(*s));
	if (!s)
		return error_nomem();
	strcpy(s->name, name);
	s->hasty = hasty;
	for (size_t i = 0; i < NBACKENDS; i++) {
		err = open_backend(s, backends[i], false);
		if (err && !absent(err) && !trouble) {
			trouble = err;
			sentence = strdup(pp_error());
		}
	}
	/* Whoever creates it hears of a backend's trouble when that backend is to arm. */
	if (s->kernel || s->agent || create) {
		*session = s;
		trouble = 0;
	} else {
		pp_session_close(s);
		if (trouble)
			error_set(-trouble, "%s", sentence ? sentence : "out of memory");
		else
			trouble =
				error_set(ENOENT, "no session '%s': probe-list --sessions shows those there are", name);
	}
	free(sentence);
	return trouble;
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
	for (size_t i = 0; i < NBACKENDS; i++)
		if (state_of(session, backends[i]))
			backends[i]->close(session);
	free(session->attachments);
	free(session);
}

const char *pp_session_name(const struct pp_session *session)
{
	return session->name;
}

void pp_session_interrupt(struct pp_session *session, const volatile int *flag)
{
	session->interrupt = flag;
}

struct names {
	char **names;
	size_t n;
};

static int add_name(const char *name, void *arg)
{
	struct names *all = arg;
	char **more = realloc(all->names, (all->n + 1) * sizeof(*more));

	if (more)
		all->names = more;
	if (!more || !(more[all->n] = strdup(name)))
		return error_nomem();
	all->n++;
	return 0;
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

int pp_sessions(int (*fn)(const char *name, void *arg), void *arg)
{
	struct names all = { 0 };
	int err = 0, trouble = 0;

	for (size_t i = 0; i < NBACKENDS && trouble != -ENOMEM; i++) {
		err = backends[i]->names(add_name, &all);
		if (err && !absent(err))
			trouble = err;
	}
	err = all.n ? 0 : trouble;
	if (all.n)
		qsort(all.names, all.n, sizeof(*all.names), compare_names);
	for (size_t i = 0; i < all.n && !err; i++)
		if (!i || strcmp(all.names[i], all.names[i - 1]))
			err = fn(all.names[i], arg);
	for (size_t i = 0; i < all.n; i++)
		free(all.names[i]);
	free(all.names);
	return err;
}

/* The backend's part cannot be had; a reader may still look at what it has of it. */
static void drop(struct pp_session *session, const struct backend *backend)
{
	if (!session->nreaders)
		backend->close(session);
}

int session_lock(struct pp_session *session, const struct backend *backend, bool create)
{
	for (int try = 0;; try++) {
		int err = open_backend(session, backend, create);

		if (!err) {
			err = backend->lock(session);
			if (err)
				drop(session, backend);
		}
		if (err != -ENOENT || !create || try == 10)
			return err;
	}
}

void session_look(struct pp_session *session)
{
	for (size_t i = 0; i < NBACKENDS && !session->is_private; i++)
		open_backend(session, backends[i], false);
}

int session_refresh(struct pp_session *session)
{
	bool lives = session->is_private;

	session_look(session);
	for (size_t i = 0; i < NBACKENDS; i++) {
		int err;

		if (!state_of(session, backends[i]))
			continue;
		err = backends[i]->lock(session);
		if (!err)
			backends[i]->unlock(session);
		else if (err != -ENOENT)
			return err;
		else
			drop(session, backends[i]);
		lives |= !err;
	}
	return lives ? 0 : error_set(ENOENT, "session '%s' has ended", session->name);
}

const struct attachment *session_attachment(struct pp_session *session, uint32_t number)
{
	for (int again = 0; again < 2; again++) {
		for (size_t i = 0; i < session->nattachments; i++)
			if (session->attachments[i]->number == number)
				return session->attachments[i];
		if (again || session_refresh(session))
			break;
	}
	return NULL;
}

/* ---- records ------------------------------------------------------------------------ */

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
	*lost += session->lost_aside;
}

void session_lose(struct pp_session *session, const struct pp_mark *mark)
{
	for (size_t i = 0; i < session->nattachments; i++) {
		const struct attachment *attachment = session->attachments[i];

		if (attachment->number == mark->attachment && mark->point < attachment->manifest->npoints &&
		    attachment->backend->lose && attachment->backend->lose(attachment, mark->point, mark->pid))
			return;
	}
	session->lost_aside++;
}

/* ---- holding ------------------------------------------------------------------------ */

void pp_session_budget(struct pp_session *session, double share)
{
	session->budget = share;
	session->strict = true;
}

int pp_session_watch(const char *name, void (*ready)(void *arg), void *arg)
{
	struct pp_session session = { 0 };
	int err = check_name(name);

	if (err)
		return err;
	strcpy(session.name, name);
	for (size_t i = 0; i < NBACKENDS && !err; i++) {
		if (!backends[i]->watch)
			continue;
		err = open_backend(&session, backends[i], false);
		if (!err)
			err = backends[i]->watch(&session, ready, arg);
		if (state_of(&session, backends[i]))
			backends[i]->close(&session);
	}
	free(session.attachments);
	return err;
}

double pp_session_limit(const struct pp_session *session, bool *watched)
{
	double limit = 0;

	*watched = true;
	for (size_t i = 0; i < NBACKENDS && !limit; i++)
		if (state_of(session, backends[i]) && backends[i]->limit)
			limit = backends[i]->limit(session, watched);
	return limit;
}

void pp_session_unlimit(struct pp_session *session)
{
	for (size_t i = 0; i < NBACKENDS; i++)
		if (state_of(session, backends[i]) && backends[i]->unlimit)
			backends[i]->unlimit(session);
}

int pp_session_cost(struct pp_session *session, int ms, struct pp_cost *cost)
{
	*cost = (struct pp_cost){ 0 };
	for (size_t i = 0; i < NBACKENDS; i++)
		if (state_of(session, backends[i]) && backends[i]->cost)
			return backends[i]->cost(session, ms, cost);
	return error_set(EOPNOTSUPP, "what session '%s' costs is not measured", session->name);
}

int pp_session_hold(struct pp_session *session, uint64_t deadline, const int *pidfds, size_t npidfds)
{
	int err = 0;

	if (deadline) /* by the caller's clock, which a time namespace may have moved */
		deadline -= (uint64_t)clock_shift(0);
	for (size_t i = 0; i < NBACKENDS && !err; i++)
		if (state_of(session, backends[i]) && backends[i]->hold)
			err = backends[i]->hold(session, deadline, pidfds, npidfds);
	return err;
}

/* ---- disabling ---------------------------------------------------------------------- */

static bool wanted(const struct attachment *attachment, uint32_t i, pid_t pid, const char *const *patterns,
                   size_t npatterns)
{
	const struct manifest *d = attachment->manifest;
	const struct manifest_point *point = &manifest_points(d)[i];

	/* A point that was stopped is still in the session. */
	if ((!attachment->backend->armed(attachment, i) &&
	     !(attachment->backend->over_budget && attachment->backend->over_budget(attachment, i))) ||
	    (pid && point->pid != (uint32_t)pid))
		return false;
	for (size_t k = 0; k < npatterns; k++)
		if (pp_name_matches(manifest_string(d, manifest_probes(d)[point->probe].name), patterns[k]))
			return true;
	return !npatterns;
}

static int disable_in(struct pp_session *session, struct attachment *attachment, pid_t pid, const char *const *patterns,
                      size_t npatterns, size_t *points)
{
	uint32_t n = attachment->manifest->npoints;
	bool *take = calloc(n + 1, sizeof(*take)), all = true;
	size_t count = 0;
	int err = 0;

	if (!take)
		return error_nomem();
	for (uint32_t i = 0; i < n; i++) {
		take[i] = wanted(attachment, i, pid, patterns, npatterns);
		count += take[i];
		all &= take[i] ||
		       (!attachment->backend->armed(attachment, i) &&
		        !(attachment->backend->over_budget && attachment->backend->over_budget(attachment, i)));
	}
	if (count || all)
		err = attachment->backend->disarm(session, attachment, take, all);
	if (!err && all)
		session_forget_attachment(session, attachment);
	if (!err)
		*points += count;
	free(take);
	return err;
}

int pp_session_disable(struct pp_session *session, pid_t pid, const char *const *patterns, size_t npatterns,
                       size_t *points)
{
	int err = 0;

	*points = 0;
	for (size_t b = 0; b < NBACKENDS && !err; b++) {
		if (!state_of(session, backends[b]))
			continue;
		err = session_lock(session, backends[b], false);
		for (size_t i = session->nattachments; i > 0 && !err; i--)
			if (session->attachments[i - 1]->backend == backends[b])
				err = disable_in(session, session->attachments[i - 1], pid, patterns, npatterns,
				                 points);
		if (err == -ENOENT && !state_of(session, backends[b])) {
			err = 0;
			continue;
		}
		if (!err && !session_has_attachments(session, backends[b]) && !session->is_private)
			err = backends[b]->remove(session);
		if (state_of(session, backends[b]))
			backends[b]->unlock(session);
	}
	if (!err && !*points && (npatterns || pid))
		return error_set(ENOENT, "nothing in session '%s' matches", session->name);
	return err;
}
