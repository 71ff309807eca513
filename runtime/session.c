/* SPDX-License-Identifier: MIT */
#include "runtime/session.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "runtime/manifest.h"
#include "runtime/resolve.h"
#include "base/error.h"

const struct backend *const backends[NBACKENDS] = { &backend_agent, &backend_kernel };

static void *state_of(const struct pp_session *session, const struct backend *backend)
{
	return backend == &backend_kernel ? session->kernel : session->agent;
}

bool session_has_segments(const struct pp_session *session, const struct backend *backend)
{
	for (size_t i = 0; i < session->nsegments; i++)
		if (session->segments[i]->backend == backend)
			return true;
	return false;
}

/* ---- segments ------------------------------------------------------------------- */

size_t session_segments(const struct pp_session *session)
{
	return session->nsegments;
}

const struct desc *session_desc(const struct pp_session *session, size_t i)
{
	return session->segments[i]->desc;
}

struct segment *session_add_segment(struct pp_session *session, const struct backend *backend, uint32_t number,
                                    struct desc *desc, void *state)
{
	struct segment **more = realloc(session->segments, (session->nsegments + 1) * sizeof(*more));
	struct segment *segment = more ? calloc(1, sizeof(*segment)) : NULL;

	if (more)
		session->segments = more;
	if (!segment)
		return NULL;
	*segment = (struct segment){ .number = number, .backend = backend, .desc = desc, .state = state };
	session->segments[session->nsegments++] = segment;
	return segment;
}

void session_forget_segment(struct pp_session *session, struct segment *segment)
{
	size_t n = 0;

	for (size_t i = 0; i < session->nsegments; i++)
		if (session->segments[i] != segment)
			session->segments[n++] = session->segments[i];
	session->nsegments = n;
	if (segment->state)
		segment->backend->release(segment);
	free(segment->desc);
	free(segment);
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
		return error_set(ENOMEM, "out of memory");
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
		return error_set(ENOMEM, "out of memory");
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
	free(session->segments);
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
		return error_set(ENOMEM, "out of memory");
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

const struct segment *session_segment(struct pp_session *session, uint32_t number)
{
	for (int again = 0; again < 2; again++) {
		for (size_t i = 0; i < session->nsegments; i++)
			if (session->segments[i]->number == number)
				return session->segments[i];
		if (again || session_refresh(session))
			break;
	}
	return NULL;
}

/* ---- records ------------------------------------------------------------------------ */

void session_totals(const struct pp_session *session, uint64_t *recorded, uint64_t *lost)
{
	*recorded = *lost = 0;
	for (size_t i = 0; i < session->nsegments; i++) {
		const struct segment *segment = session->segments[i];

		for (uint32_t p = 0; p < segment->desc->npoints; p++) {
			struct pp_counts counts = { 0 };

			segment->backend->counts(segment, p, &counts);
			*recorded += counts.recorded;
			*lost += counts.lost;
		}
	}
	*lost += session->lost_aside;
}

void session_lose(struct pp_session *session, const struct pp_mark *mark)
{
	for (size_t i = 0; i < session->nsegments; i++) {
		const struct segment *segment = session->segments[i];

		if (segment->number == mark->segment && mark->point < segment->desc->npoints &&
		    segment->backend->lose && segment->backend->lose(segment, mark->point, mark->pid))
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
	free(session.segments);
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

static bool wanted(const struct segment *segment, uint32_t i, pid_t pid, const char *const *patterns, size_t npatterns)
{
	const struct desc *d = segment->desc;
	const struct desc_point *point = &desc_points(d)[i];

	/* A point that was stopped is still in the session. */
	if ((!segment->backend->armed(segment, i) &&
	     !(segment->backend->over_budget && segment->backend->over_budget(segment, i))) ||
	    (pid && point->pid != (uint32_t)pid))
		return false;
	for (size_t k = 0; k < npatterns; k++)
		if (target_matches(desc_string(d, desc_probes(d)[point->probe].name), patterns[k]))
			return true;
	return !npatterns;
}

static int disable_in(struct pp_session *session, struct segment *segment, pid_t pid, const char *const *patterns,
                      size_t npatterns, size_t *points)
{
	uint32_t n = segment->desc->npoints;
	bool *take = calloc(n + 1, sizeof(*take)), all = true;
	size_t count = 0;
	int err = 0;

	if (!take)
		return error_set(ENOMEM, "out of memory");
	for (uint32_t i = 0; i < n; i++) {
		take[i] = wanted(segment, i, pid, patterns, npatterns);
		count += take[i];
		all &= take[i] || (!segment->backend->armed(segment, i) &&
		                   !(segment->backend->over_budget && segment->backend->over_budget(segment, i)));
	}
	if (count || all)
		err = segment->backend->disarm(session, segment, take, all);
	if (!err && all)
		session_forget_segment(session, segment);
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
		for (size_t i = session->nsegments; i > 0 && !err; i--)
			if (session->segments[i - 1]->backend == backends[b])
				err = disable_in(session, session->segments[i - 1], pid, patterns, npatterns, points);
		if (err == -ENOENT && !state_of(session, backends[b])) {
			err = 0;
			continue;
		}
		if (!err && !session_has_segments(session, backends[b]) && !session->is_private)
			err = backends[b]->remove(session);
		if (state_of(session, backends[b]))
			backends[b]->unlock(session);
	}
	if (!err && !*points && (npatterns || pid))
		return error_set(ENOENT, "nothing in session '%s' matches", session->name);
	return err;
}
