/* SPDX-License-Identifier: MIT */
/* Holding, cost, budgets and disarming. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/notice.h"
#include "runtime/session.h"
#include "runtime/sized.h"

/* ---- holding, cost and budgets ------------------------------------------------------ */

int pp_session_hold(struct pp_session *session, uint64_t deadline, const int *pidfds, size_t npidfds)
{
	/* The caller's clock may be that of another time namespace. */
	const struct hold_options options = { .deadline = deadline ? deadline - (uint64_t)clock_shift(0) : 0,
		                              .pidfds = pidfds,
		                              .npidfds = npidfds,
		                              .budget = session->hold_budget,
		                              .strict = session->hold_strict };
	int err = 0;

	for (size_t i = 0; i < nbackends && !err; i++)
		if (session->states[i])
			err = backends[i]->hold(session, &options);
	return err;
}

int pp_session_budget(struct pp_session *session, double share)
{
	if (!(share >= 0))
		return error_set(EINVAL, "invalid budget %g: expected a share of one CPU, 0 or more", share);
	session->hold_budget = share;
	session->hold_strict = true;
	return 0;
}

int pp_session_watch(const char *name, void (*ready)(void *arg), void *arg)
{
	struct pp_session *session;
	int err = session_new(name, &session);

	if (err)
		return err;
	for (size_t i = 0; i < nbackends && !err; i++) {
		if (!backends[i]->has_budgets)
			continue;
		err = session_open_backend(session, backends[i], false);
		if (!err)
			err = backends[i]->watch(session, ready, arg);
	}
	pp_session_close(session);
	if (err == -EINTR)
		return error_set(EINTR, "interrupted by a signal");
	if (err == -ENOENT)
		return error_set(ENOENT, "no session '%s' that other processes can see", name);
	return err;
}

double pp_session_limit(const struct pp_session *session, bool *watched)
{
	double limit = 0;

	*watched = true;
	for (size_t i = 0; i < nbackends && !limit; i++)
		if (session->states[i])
			limit = backends[i]->limit(session, watched);
	return limit;
}

int pp_session_unlimit(struct pp_session *session)
{
	for (size_t i = 0; i < nbackends; i++)
		if (session->states[i])
			backends[i]->unlimit(session);
	return 0;
}

int pp_session_cost(struct pp_session *session, int ms, struct pp_cost *cost, size_t size)
{
	struct pp_cost measured = { 0 };

	sized_copy(cost, size, &measured, sizeof(measured));
	for (size_t i = 0; i < nbackends; i++) {
		int err = session->states[i] ? backends[i]->cost(session, ms, &measured) : -ENOSYS;

		if (err == -ENOSYS)
			continue;
		sized_copy(cost, size, &measured, sizeof(measured));
		return err;
	}
	return error_set(EOPNOTSUPP, "cannot measure the cost of session '%s'", session->name);
}

/* ---- disarming ---------------------------------------------------------------------- */

/* Which points pp_session_disable() was asked for. */
struct selection {
	pid_t pid;           /* 0: any */
	uint32_t attachment; /* attachment_id(), if is_attachment */
	bool is_attachment;
	const char *const *patterns;
	size_t npatterns; /* 0: all */
};

/* A point that was disarmed because of a budget is still in the session. */
static bool point_is_in_session(const struct attachment *attachment, uint32_t i)
{
	return attachment->backend->armed(attachment, i) || attachment->backend->over_budget(attachment, i);
}

static bool selection_has(const struct selection *selection, const struct attachment *attachment, uint32_t i)
{
	const struct manifest *manifest = attachment->manifest;
	const struct manifest_point *point = &manifest_points(manifest)[i];
	const char *probe = manifest_string(manifest, manifest_probes(manifest)[point->probe].name);

	if (selection->pid && attachment->backend->pid_namespace(attachment))
		return false;
	if (selection->pid && point->pid != (uint32_t)selection->pid)
		return false;
	for (size_t k = 0; k < selection->npatterns; k++)
		if (pp_name_matches(probe, selection->patterns[k]))
			return true;
	return !selection->npatterns;
}

/* Disarms the selected points. Ends the attachment if no other point is left. Adds to *points. */
static int attachment_disarm(struct pp_session *session, struct attachment *attachment,
                             const struct selection *selection, size_t *points)
{
	uint32_t n = attachment->manifest->npoints;
	bool *take = calloc(n + 1, sizeof(*take)), all = true;
	size_t count = 0;
	int err = 0;

	if (!take)
		return error_nomem();
	for (uint32_t i = 0; i < n; i++) {
		bool is_in = point_is_in_session(attachment, i);

		take[i] = is_in && selection_has(selection, attachment, i);
		count += take[i];
		all &= take[i] || !is_in;
	}
	if (count || all)
		err = attachment->backend->disarm(session, attachment, take, all);
	free(take);
	if (err)
		return err;
	if (all)
		session_forget_attachment(session, attachment);
	*points += count;
	return 0;
}

static bool session_is_of_other_namespace(const struct pp_session *session)
{
	for (size_t i = 0; i < session->nattachments; i++)
		if (session->attachments[i]->backend->pid_namespace(session->attachments[i]))
			return true;
	return false;
}

/* Under the backend's lock. */
static int session_disarm_locked(struct pp_session *session, const struct backend *backend,
                                 const struct selection *selection, size_t *points)
{
	for (size_t i = session->nattachments; i > 0; i--) {
		struct attachment *attachment = session->attachments[i - 1];
		int err;

		if (attachment->backend != backend ||
		    (selection->is_attachment && selection->attachment != attachment_id(attachment)))
			continue;
		err = attachment_disarm(session, attachment, selection, points);
		if (err)
			return err;
	}
	if (session->is_private || session_has_attachments(session, backend))
		return 0;
	return backend->remove(session);
}

int session_check_disarmed(struct pp_session *session)
{
	const struct unverified u = session->unverified;
	char pid[32] = "";

	session->unverified = (struct unverified){ 0 };
	if (u.pid)
		snprintf(pid, sizeof(pid), "pid %d: ", u.pid);
	if (u.processes)
		notice_add("%snot verified: %zu process%s could not be read after disarming", pid, u.processes,
		           u.processes == 1 ? "" : "es");
	if (!u.sites)
		return 0;
	return error_set(session_interrupted(session) ? EINTR : ETIMEDOUT,
	                 "%snot verified: %zu site%s disarmed, but still had a trap when %s; the kernel removes it "
	                 "late, or another tool has armed it",
	                 pid, u.sites, u.sites == 1 ? " was" : "s were",
	                 session_interrupted(session) ? "the command was interrupted" : "the command gave up waiting");
}

static int selection_disarm(struct pp_session *session, const struct selection *selection, size_t *points)
{
	*points = 0;
	for (size_t b = 0; b < nbackends; b++) {
		int err;

		if (!session->states[b])
			continue;
		err = session_lock(session, backends[b], false);
		/* Another command has ended this part of the session. */
		if (err == -ENOENT && !session->states[b])
			continue;
		if (!err)
			err = session_disarm_locked(session, backends[b], selection, points);
		if (session->states[b])
			backends[b]->unlock(session);
		if (err)
			return err;
	}
	return session_check_disarmed(session);
}

int pp_session_disable_attachment(struct pp_session *session, uint32_t attachment, size_t *points)
{
	const struct selection selection = { .attachment = attachment, .is_attachment = true };
	int err = selection_disarm(session, &selection, points);

	if (err || *points)
		return err;
	return error_set(ENOENT, "session '%s' has no attachment %u", session->name, attachment);
}

int pp_session_disable(struct pp_session *session, pid_t pid, const char *const *patterns, size_t npatterns,
                       size_t *points)
{
	const struct selection selection = { .pid = pid, .patterns = patterns, .npatterns = npatterns };
	int err = selection_disarm(session, &selection, points);

	if (err)
		return err;
	if (!*points && pid && session_is_of_other_namespace(session))
		return error_set(EXDEV,
		                 "session '%s' has process ids of another pid namespace; disarm without -p, or there",
		                 session->name);
	if (!*points && (npatterns || pid))
		return error_set(ENOENT, "no probe in session '%s' matches", session->name);
	return 0;
}
