/* SPDX-License-Identifier: MIT */
/*
 * pp_session_enable(): from a request to armed points and a report.
 *
 * 1. Choose the preferred backend: the one that the request names, or with "auto" the first usable one of the list.
 * 2. Resolve the request into points (resolve.c).
 * 3. Assign each point to a backend. With "auto", later backends of the list get the sites that the preferred one
 *    cannot arm. Each backend that got points has a round.
 * 4. Arm the points, round after round (enable-rounds.c). An error disarms everything that this call armed.
 * 5. Report what became of each point (enable-report.c).
 */
#include "runtime/enable.h"

#include <errno.h>
#include <stdlib.h>

#include "base/error.h"
#include "runtime/request.h"
#include "runtime/session.h"
#include "sdt/image.h"

/* Makes a round for the preferred backend and, with "auto", for each one after it in the list. */
static int rounds_choose(struct enabling *e)
{
	int err = 0, usable;

	for (size_t i = 0; i < nbackends; i++) {
		if (!e->any && e->request->backend != backends[i])
			continue;
		usable = backends[i]->usable(e->request, e->any);
		if (!e->nrounds && usable) {
			err = usable;
			continue;
		}
		e->rounds[e->nrounds++] = (struct round){ .backend = backends[i], .usable = !usable };
	}
	return e->nrounds ? 0 : err;
}

/* A backend finds the begin of a call only if it has armed it: calls of which it cannot take a point go to the next one. */
static void calls_assign(struct enabling *e)
{
	struct arm_point *points = e->targets.points;

	for (size_t i = 0, end; i < e->targets.npoints; i = end) {
		const struct backend *last = points[i].backend;

		for (end = i + 1;
		     end < e->targets.npoints && points[end].site->call &&
		     points[end].site->call == points[i].site->call && points[end].process == points[i].process;
		     end++)
			if (backend_index(points[end].backend) > backend_index(last))
				last = points[end].backend;
		for (size_t k = i; k < end; k++)
			points[k].backend = last;
	}
}

/* Assigns each point to the first usable backend that takes its site, to the preferred one if none does. */
static void points_assign(struct enabling *e)
{
	for (size_t i = 0; i < e->targets.npoints; i++) {
		struct arm_point *point = &e->targets.points[i];

		point->backend = e->rounds[0].backend;
		for (size_t r = 0; r < e->nrounds && !point->error; r++)
			if (e->rounds[r].usable && e->rounds[r].backend->takes(point->site)) {
				point->backend = e->rounds[r].backend;
				break;
			}
	}
	calls_assign(e);
}

/* Sets the error of a call that found no probe to arm. */
static int no_targets(const struct enabling *e)
{
	int err = request_check_alive(e->request);

	if (e->targets.nrefusals)
		return error_set(EOPNOTSUPP, "%s", e->targets.refusals[0].reason);
	if (err)
		return err;
	if (e->request->latency && e->targets.matched[0] && e->targets.matched[1])
		return error_set(EOPNOTSUPP,
		                 "'%s' and '%s' are in different files, and a latency is measured within one",
		                 e->request->patterns[0], e->request->patterns[1]);
	return error_set(ENOENT, "no probe matches '%s'",
	                 e->request->patterns[e->request->latency && e->targets.matched[0]]);
}

static int targets_arm_and_report(struct enabling *e, struct pp_report **report)
{
	int err = 0, bad;

	points_assign(e);
	if (e->targets.npoints)
		err = rounds_arm(e);
	/* If the call failed, nothing is armed. The report then shows only points with an error of their own. */
	for (size_t i = 0; err && i < e->targets.npoints; i++)
		if (!e->targets.points[i].error)
			e->targets.points[i].error = -ECANCELED;
	bad = enabling_report(e, report);
	if (err || bad)
		return err ? err : bad;
	return e->targets.npoints ? 0 : no_targets(e);
}

/*
 * Chooses all backends that can serve the request, even if this user cannot arm through them. Returns 0, or the error of a backend if
 * none can.
 */
static int rounds_choose_all(struct enabling *e)
{
	int err = 0;

	for (size_t i = 0; i < nbackends; i++) {
		if (!e->any && e->request->backend != backends[i])
			continue;
		err = backends[i]->foresee(e->request, NULL, 0);
		if (!err)
			e->rounds[e->nrounds++] = (struct round){ .backend = backends[i], .usable = true };
	}
	return e->nrounds ? 0 : err;
}

/* Refuses points that their backend can never arm. */
static int points_foresee(struct enabling *e)
{
	int err = 0;

	for (size_t r = 0; r < e->nrounds && !err; r++) {
		err = round_collect(e, &e->rounds[r]);
		if (!err)
			err = e->rounds[r].backend->foresee(e->request, e->rounds[r].points, e->rounds[r].npoints);
	}
	return err;
}

static void enabling_release(struct enabling *e)
{
	for (size_t i = 0; i < e->nrounds; i++) {
		arm_misses_release(&e->rounds[i].misses);
		free(e->rounds[i].points);
	}
	targets_release(&e->targets);
}

int pp_request_check(const struct pp_request *request, struct pp_report **report)
{
	struct enabling e = { .request = request, .any = !request->backend };
	int err;

	*report = NULL;
	err = rounds_choose_all(&e);
	if (err)
		return err;
	err = targets_find(&e.targets, request);
	if (err)
		goto out;
	points_assign(&e);
	err = points_foresee(&e);
	if (err)
		goto out;
	for (size_t i = 0; i < e.targets.npoints; i++)
		e.targets.points[i].pending = !e.targets.points[i].error;
	err = enabling_report(&e, report);
	if (err)
		goto out;
	err = e.targets.npoints ? 0 : no_targets(&e);
out:
	enabling_release(&e);
	return err;
}

int pp_session_enable(struct pp_session *session, const struct pp_request *request, struct pp_report **report)
{
	struct enabling e = { .session = session, .request = request, .any = !request->backend };
	int err = rounds_choose(&e);

	*report = NULL;
	if (err)
		return err;
	/* A flight recorder does not use the ring. */
	session->buffer = request->flight ? PP_BUFFER_MIN : request->buffer;
	err = targets_find(&e.targets, request);
	if (!err)
		err = targets_arm_and_report(&e, report);
	enabling_release(&e);
	return err;
}
