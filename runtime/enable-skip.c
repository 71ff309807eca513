/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "runtime/enable.h"
#include "runtime/function.h"
#include "runtime/point.h"
#include "runtime/process.h"
#include "runtime/request.h"
#include "runtime/session.h"
#include "sdt/image.h"

/* ---- points that the session has armed already ---- */

/* Caches the start time of the last process, because points of one process are adjacent. */
struct last_start {
	pid_t pid;
	uint64_t time;
};

static uint64_t last_start_time(struct last_start *last, pid_t pid)
{
	if (last->pid != pid)
		*last = (struct last_start){ pid, process_start_time(pid) };
	return last->time;
}

/* Returns the option of the request that changes how hits are treated. It has no effect on points armed before. */
static const char *request_hit_option(const struct pp_request *request, const struct backend *backend)
{
	return request->filter                                 ? "--if"
	       : request->aggregate                            ? "--agg"
	       : request->sample.every                         ? "--every"
	       : request->sample.rate                          ? "--rate"
	       : request->nstrings                             ? "--string"
	       : request->naddresses                           ? "--no-string"
	       : request->scope == SCOPE_CHILDREN              ? "--children"
	       : request->scope == SCOPE_PGRP                  ? "--pgrp"
	       : request->scope == SCOPE_CGROUP                ? "--cgroup"
	       : request->maxactive                            ? "--maxactive"
	       : request->buffer                               ? "--buffer"
	       : request->flight                               ? "--flight-recorder"
	       : request->overwrite                            ? "--overwrite"
	       : request->record && !backend->records_sessions ? "--record"
	       : request->fast                                 ? "--fast"
	       : request->uretprobe                            ? "--uretprobe"
	       : request->hold                                 ? "the time or budget of this request"
	                                                       : NULL;
}

/* Returns whether the consumer belongs to the same call. A probe can begin or end several. */
static bool consumer_is_of_call(const struct point_consumer *c, const struct pp_probe *probe)
{
	const struct manifest *d = c->attachment->manifest;
	const char *name = manifest_string(d, manifest_probes(d)[manifest_points(d)[c->point].probe].name);
	size_t length = strlen(probe->provider);

	return !strncmp(name, probe->provider, length) && name[length] == ':' &&
	       !strcmp(name + length + 1, probe->name);
}

/* Returns true if the consumer is armed for the point's process, or for every process. */
static bool consumer_covers(const struct point_consumer *c, const struct arm_point *point, struct last_start *last)
{
	pid_t pid = point->process ? point->process->pid : 0;

	if (c->role != point->site->role || (c->pid && pid && c->pid != (uint32_t)pid))
		return false;
	if (c->role != SITE_HIT && !consumer_is_of_call(c, point->site->probe))
		return false;
	if (!c->pid || !c->start_time)
		return true;
	/* The session may still have points of an earlier process with this pid, or of a process that has ended. */
	return pid ? c->start_time == last_start_time(last, pid)
	           : process_life((pid_t)c->pid, c->start_time) == PROCESS_LIVES;
}

/* Points that were armed for one process do not serve a request for every process. */
static void point_skip(struct arm_point *point, const struct point_consumer *c, const struct pp_request *request)
{
	const char *option = request_hit_option(request, point->backend);

	if (c->pid && !point->process) {
		arm_point_refuse(
			point, -EBUSY,
			error_format("armed in this session for pid %u only; disarm that first, or use another "
		                     "session (-s)",
		                     c->pid));
		return;
	}
	point->already = c->attachment;
	point->fast = c->fast;
	point->point = c->point;
	arm_point_refuse(point, -EALREADY,
	                 error_format("armed in this session already%s%s%s", option ? "; " : "", option ? option : "",
	                              option ? " has no effect on it; disarm it first" : ""));
}

/* A pid of another namespace would be taken for one of this. */
static int session_check_namespace(const struct pp_session *session)
{
	for (size_t i = 0; i < session->nattachments; i++)
		if (session->attachments[i]->backend->pid_namespace(session->attachments[i]))
			return error_set(
				EXDEV,
				"session '%s' was made in another pid namespace, whose process ids it has; use "
				"another session (-s)",
				session->name);
	return 0;
}

/* A session counts a hit once. */
int points_skip_armed(struct enabling *e)
{
	struct registry registry = { 0 };
	struct last_start last = { 0 };
	int err = session_check_namespace(e->session);

	if (!err)
		err = registry_add_session(&registry, e->session, 0);

	for (size_t i = 0; i < e->targets.npoints && !err; i++) {
		struct arm_point *point = &e->targets.points[i];
		const struct point_consumer *c;
		size_t n;

		if (point->error)
			continue;
		c = registry_find(&registry, point->image->real_device, point->image->real_inode, point->site->offset,
		                  &n);
		for (size_t k = 0; k < n && !point->error; k++)
			if (consumer_covers(&c[k], point, &last))
				point_skip(point, &c[k], e->request);
	}
	registry_release(&registry);
	return err;
}

/* Gives the points the reasons of their misses. */
static void misses_take(struct arm_misses *misses)
{
	for (size_t i = 0; i < misses->n; i++) {
		struct arm_miss *miss = &misses->list[i];

		free(miss->point->reason);
		miss->point->reason = miss->reason;
		miss->reason = NULL;
		miss->point->verified = false;
	}
	arm_misses_release(misses);
}

/* Verifies points whose error is 0, and sets those that are armed to -EALREADY again. */
static int points_verify(struct pp_session *session, struct attachment *attachment, struct arm_point *const *points,
                         size_t n)
{
	struct arm_misses misses = { 0 };
	int err = attachment->backend->verify(session, attachment, points, n, &misses);

	misses_take(&misses);
	for (size_t i = 0; i < n; i++)
		if (!points[i]->error)
			points[i]->error = -EALREADY;
	return err;
}

int points_verify_armed(struct enabling *e)
{
	struct arm_point **points = calloc(e->targets.npoints + 1, sizeof(*points));
	int err = 0;

	if (!points)
		return error_nomem();
	for (size_t a = 0; a < e->session->nattachments && !err; a++) {
		struct attachment *attachment = e->session->attachments[a];
		size_t n = 0;

		for (size_t i = 0; i < e->targets.npoints; i++) {
			struct arm_point *point = &e->targets.points[i];

			if (point->already != attachment)
				continue;
			point->error = 0;
			points[n++] = point;
		}
		if (n)
			err = points_verify(e->session, attachment, points, n);
	}
	free(points);
	return err;
}

/* ---- one file by several paths ---- */

static int compare_u64(uint64_t a, uint64_t b)
{
	return (a > b) - (a < b);
}

/* Compares file, offset, role and process. Returns 0 for twins. */
static int compare_site(const struct arm_point *x, const struct arm_point *y)
{
	int order = compare_u64(x->image->real_device, y->image->real_device);

	if (!order)
		order = compare_u64(x->image->real_inode, y->image->real_inode);
	if (!order)
		order = compare_u64(x->site->offset, y->site->offset);
	if (!order)
		order = compare_u64(x->site->role, y->site->role);
	return order ? order : compare_u64((uintptr_t)x->process, (uintptr_t)y->process);
}

/* Twins are in the order of the targets. */
static int compare_twins(const void *a, const void *b)
{
	const struct arm_point *x = *(struct arm_point *const *)a, *y = *(struct arm_point *const *)b;
	int order = compare_site(x, y);

	return order ? order : (x > y) - (x < y);
}

/* True if two images of the targets are one file, named by two paths of overlays or their layers. */
static bool targets_have_twins(const struct targets *t)
{
	for (size_t i = 0; i < t->nimages; i++)
		for (size_t k = 0; k < i; k++)
			if (t->images[i]->real_inode == t->images[k]->real_inode &&
			    t->images[i]->real_device == t->images[k]->real_device)
				return true;
	return false;
}

int points_skip_twins(struct targets *t)
{
	struct arm_point **sorted;
	size_t n = 0;

	if (!targets_have_twins(t))
		return 0;
	sorted = calloc(t->npoints + 1, sizeof(*sorted));
	if (!sorted)
		return error_nomem();
	for (size_t i = 0; i < t->npoints; i++)
		if (!t->points[i].error && t->points[i].backend->arms_inodes)
			sorted[n++] = &t->points[i];
	qsort(sorted, n, sizeof(*sorted), compare_twins);
	for (size_t i = 1, first = 0; i < n; i++) {
		const struct arm_point *twin = sorted[first];

		if (compare_site(twin, sorted[i]) || twin->image == sorted[i]->image) {
			first = i;
			continue;
		}
		sorted[i]->twin = twin;
		sorted[i]->backend = twin->backend;
		arm_point_refuse(
			sorted[i], -EALREADY,
			error_format("the same file as '%s', which counts the hits", pp_image_path(twin->image)));
	}
	free(sorted);
	return 0;
}

static struct attachment *round_attachment(const struct enabling *e, const struct backend *backend)
{
	for (size_t i = 0; i < e->nrounds; i++)
		if (e->rounds[i].backend == backend)
			return e->rounds[i].attachment;
	return NULL;
}

int twins_verify(struct enabling *e)
{
	int err = 0;

	for (size_t i = 0; i < e->targets.npoints && !err; i++) {
		struct arm_point *point = &e->targets.points[i];
		struct attachment *attachment = round_attachment(e, point->backend);
		char *reason = point->reason;
		int error;

		if (!point->twin)
			continue;
		error = point->twin->error == -EALREADY ? 0 : point->twin->error;
		if (error) {
			arm_point_refuse(point, error, point->twin->reason ? strdup(point->twin->reason) : NULL);
			continue;
		}
		if (!attachment)
			continue;
		point->error = 0;
		point->reason = NULL;
		err = points_verify(e->session, attachment, &point, 1);
		if (point->reason)
			free(reason);
		else
			point->reason = reason;
	}
	return err;
}
