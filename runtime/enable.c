/* SPDX-License-Identifier: MIT */
/* Enabling: from a request to points that are armed, and to a report that says of each what became of it. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/agent/client.h"
#include "runtime/manifest.h"
#include "runtime/fetch/program.h"
#include "runtime/function.h"
#include "runtime/point.h"
#include "runtime/process.h"
#include "runtime/report.h"
#include "runtime/request.h"
#include "runtime/kernel/semaphore.h"
#include "runtime/session.h"
#include "runtime/resolve.h"
#include "runtime/kernel/verify.h"
#include "base/error.h"
#include "sdt/image.h"

static int choose(const struct pp_request *request, const struct backend **backend)
{
	bool any = !strcmp(request->backend, "auto");
	int err = 0;

	for (size_t i = 0; i < NBACKENDS; i++) {
		if (!any && strcmp(request->backend, backends[i]->name))
			continue;
		err = backends[i]->usable(request, any);
		if (!err) {
			*backend = backends[i];
			return 0;
		}
	}
	return err ? err : error_set(EOPNOTSUPP, "this version has no backend '%s'", request->backend);
}

/* Of one enabling, what one backend does. */
struct round {
	const struct backend *backend;
	struct attachment *attachment; /* NULL: nothing was armed */
	struct verify_misses misses;   /* by index in the targets' points */
	bool locked;
};

#define ROUNDS 2

/* With auto, the kernel gets the sites that the agent cannot arm, where it may be used. */
static void share_out(struct targets *t, const struct pp_request *request, struct round rounds[ROUNDS])
{
	bool shared =
		rounds[0].backend->takes && !strcmp(request->backend, "auto") && !backend_kernel.usable(request, true);

	for (size_t i = 0; i < t->npoints; i++) {
		struct arm_point *point = &t->points[i];

		point->backend = rounds[0].backend;
		if (shared && !point->error &&
		    (!rounds[0].backend->takes(point->site) || point->site->semaphore_in_bss))
			rounds[1].backend = point->backend = &backend_kernel;
		if (point->error || point->backend != &backend_agent || !point->site->semaphore_in_bss)
			continue;
		point->error = -EOPNOTSUPP;
		free(point->reason);
		point->reason = error_format(
			"its semaphore, at %#llx, is in .bss, where the agent cannot raise it: use -b kernel",
			(unsigned long long)point->site->semaphore);
	}
}

/* The start time of the process that was asked for last; points of one process stand together. */
struct start {
	pid_t pid;
	uint64_t time;
};

static uint64_t started(struct start *of, pid_t pid)
{
	if (of->pid != pid)
		*of = (struct start){ pid, process_start_time(pid) };
	return of->time;
}

/* The option of the request that changes how hits are treated, so that it has no effect on what is armed already. */
static const char *option_of_hits(const struct pp_request *request, const struct backend *backend)
{
	return request->filter                           ? "--if"
	       : request->nstrings                       ? "--string"
	       : request->naddresses                     ? "--no-string"
	       : request->scope == SCOPE_CHILDREN        ? "--children"
	       : request->scope == SCOPE_PGRP            ? "--pgrp"
	       : request->scope == SCOPE_CGROUP          ? "--cgroup"
	       : request->maxactive != MAXACTIVE_DEFAULT ? "--maxactive"
	       : request->overwrite                      ? "--overwrite"
	       : request->record && !backend->record     ? "--record"
	       : request->hold                           ? "the time or budget of this request"
	                                                 : NULL;
}

/* A session counts a hit once: points that it has armed already for the process, or for all, are left out. */
static int leave_out_armed(struct pp_session *session, const struct pp_request *request, struct targets *t)
{
	struct registry registry = { 0 };
	struct start of = { 0 };
	int err = registry_add_session(&registry, session, 0);

	for (size_t i = 0; i < t->npoints && !err; i++) {
		struct arm_point *point = &t->points[i];
		pid_t pid = point->process ? point->process->pid : 0;
		const struct point_consumer *c;
		const char *option;
		size_t n;

		if (point->error)
			continue;
		option = option_of_hits(request, point->backend);
		c = registry_find(&registry, point->image->real_device, point->image->real_inode, point->site->offset,
		                  &n);
		for (size_t k = 0; k < n && !point->error; k++) {
			char reason[160];

			if (c[k].role != point->site->role || (c[k].pid && pid && c[k].pid != (uint32_t)pid))
				continue;
			/* The session may still have what it armed in an earlier process with this pid, or in one that ended. */
			if (c[k].pid && c[k].start_time &&
			    (pid ? c[k].start_time != started(&of, pid)
			         : process_life((pid_t)c[k].pid, c[k].start_time) != PROCESS_LIVES))
				continue;
			if (c[k].pid && !pid)
				snprintf(reason, sizeof(reason),
				         "armed in this session for pid %u alone: take that out first, "
				         "or use another session (-s)",
				         c[k].pid);
			else
				snprintf(reason, sizeof(reason), "armed in this session already%s%s%s",
				         option ? "; " : "", option ? option : "",
				         option ? " has no effect on it: disarm it first" : "");
			free(point->reason);
			/* What is asked for all processes is not done by what is armed for one. */
			point->error = c[k].pid && !pid ? -EBUSY : -EALREADY;
			point->reason = strdup(reason);
		}
	}
	registry_release(&registry);
	return err;
}

/* By inode, place, role and process; of one place, those in the order of the targets. */
static int by_place(const void *a, const void *b)
{
	const struct arm_point *x = *(struct arm_point *const *)a, *y = *(struct arm_point *const *)b;
	const uint64_t keys[][2] = {
		{ x->image->real_device, y->image->real_device },
		{ x->image->real_inode, y->image->real_inode },
		{ x->site->offset, y->site->offset },
		{ x->site->role, y->site->role },
		{ (uintptr_t)x->process, (uintptr_t)y->process },
		{ (uintptr_t)x, (uintptr_t)y },
	};

	for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++)
		if (keys[i][0] != keys[i][1])
			return keys[i][0] < keys[i][1] ? -1 : 1;
	return 0;
}

/* True if two images of the targets are one file, named by two paths of overlays or their layers. */
static bool any_twins(const struct targets *t)
{
	for (size_t i = 0; i < t->nimages; i++)
		for (size_t k = 0; k < i; k++)
			if (t->images[i]->real_inode == t->images[k]->real_inode &&
			    t->images[i]->real_device == t->images[k]->real_device)
				return true;
	return false;
}

/* A request may name one file by several paths: the kernel arms each of its places for all of them, so once is enough. */
static int find_twins(struct targets *t)
{
	struct arm_point **sorted;
	size_t n = 0;

	if (!any_twins(t))
		return 0;
	sorted = calloc(t->npoints + 1, sizeof(*sorted));
	if (!sorted)
		return error_nomem();
	for (size_t i = 0; i < t->npoints; i++)
		if (!t->points[i].error && t->points[i].backend == &backend_kernel)
			sorted[n++] = &t->points[i];
	qsort(sorted, n, sizeof(*sorted), by_place);
	for (size_t i = 1, first = 0; i < n; i++) {
		const struct arm_point *x = sorted[first], *y = sorted[i];

		if (x->image->real_inode != y->image->real_inode || x->image->real_device != y->image->real_device ||
		    x->site->offset != y->site->offset || x->site->role != y->site->role || x->process != y->process ||
		    x->image == y->image) {
			first = i;
			continue;
		}
		sorted[i]->error = -EALREADY;
		sorted[i]->twin = x;
		sorted[i]->backend = x->backend;
		free(sorted[i]->reason);
		sorted[i]->reason =
			error_format("the same file as %s, which counts the hits", pp_image_path(x->image));
	}
	free(sorted);
	return 0;
}

static void take_misses(struct arm_point *points, struct verify_misses *misses)
{
	for (size_t i = 0; i < misses->n; i++) {
		struct arm_point *point = &points[misses->list[i].point];

		free(point->reason);
		point->reason = misses->list[i].reason;
		misses->list[i].reason = NULL;
		point->verified = false;
	}
	verify_misses_release(misses);
}

/* What became of the points that are armed by another path. */
static int verify_twins(struct targets *t)
{
	struct verify_misses misses = { 0 };
	int err = 0;

	for (size_t i = 0; i < t->npoints && !err; i++) {
		struct arm_point *point = &t->points[i];
		char *reason;

		if (!point->twin)
			continue;
		point->error = point->twin->error == -EALREADY ? 0 : point->twin->error;
		if (point->error) {
			free(point->reason);
			point->reason = point->twin->reason ? strdup(point->twin->reason) : NULL;
			continue;
		}
		reason = point->reason;
		point->reason = NULL;
		err = verify_armed(point, 1, &misses);
		take_misses(point, &misses);
		if (point->reason)
			free(reason);
		else
			point->reason = reason;
		if (!point->error)
			point->error = -EALREADY;
	}
	return err;
}

/* Whether the attachment has it; *at: where to begin to look, then its index. They stand in one order mostly. */
static bool attachment_has(const struct attachment *attachment, const struct arm_point *point, uint32_t *at)
{
	const struct manifest *d = attachment->manifest;

	for (uint32_t n = 0; n < d->npoints; n++) {
		uint32_t i = (*at + n) % d->npoints;
		const struct manifest_point *p = &manifest_points(d)[i];
		const struct manifest_file *f = &manifest_files(d)[manifest_probes(d)[p->probe].file];

		if (p->offset != point->site->offset || f->inode != point->image->inode ||
		    f->device != point->image->device ||
		    (p->pid && (!point->process || p->pid != (uint32_t)point->process->pid)) ||
		    !attachment->backend->armed(attachment, i))
			continue;
		*at = i;
		return true;
	}
	return false;
}

/* Looks anew at what was armed before: the agent's points of that attachment, or NULL: what is left, the kernel's. */
static int verify_part(struct pp_session *session, struct attachment *attachment, struct targets *t, bool *seen)
{
	struct arm_point *points = calloc(t->npoints + 1, sizeof(*points));
	size_t *from = calloc(t->npoints + 1, sizeof(*from)), n = 0;
	struct verify_misses misses = { 0 };
	uint32_t at = 0;
	int err = points && from ? 0 : error_nomem();

	for (size_t i = 0; i < t->npoints && !err; i++) {
		if (t->points[i].error != -EALREADY || t->points[i].twin || seen[i] ||
		    (attachment && !attachment_has(attachment, &t->points[i], &at)))
			continue;
		seen[i] = true;
		points[n] = t->points[i];
		points[n].error = 0;
		points[n].point = at;
		from[n++] = i;
	}
	if (n && attachment)
		err = attachment->backend->readback(session, attachment, points, n, &misses);
	else if (n)
		err = verify_armed(points, n, &misses);
	take_misses(points, &misses);
	for (size_t k = 0; k < n; k++) {
		t->points[from[k]] = points[k];
		t->points[from[k]].error = points[k].error ? points[k].error : -EALREADY;
	}
	free(points);
	free(from);
	return err;
}

static int verify_already(struct pp_session *session, struct targets *t)
{
	bool *seen = calloc(t->npoints + 1, sizeof(*seen));
	int err = seen ? 0 : error_nomem();

	for (size_t i = 0; i < session->nattachments && !err; i++)
		if (session->attachments[i]->backend == &backend_agent)
			err = verify_part(session, session->attachments[i], t, seen);
	if (!err)
		err = verify_part(session, NULL, t, seen);
	free(seen);
	return err;
}

/* The description of the backend's points that have no error yet; sets their index in it. */
static int describe(struct targets *t, const struct backend *backend, struct manifest **manifest,
                    struct arm_point **points, size_t *npoints)
{
	struct manifest_builder *builder = NULL;
	const struct pp_probe *probe = NULL;
	const struct fetch_program *program = NULL;
	const struct process *process = NULL;
	int err = manifest_builder_new(&builder), file = 0, probe_index = 0, layout = 0;

	*npoints = 0;
	*points = calloc(t->npoints + 1, sizeof(**points));
	if (!*points)
		err = -ENOMEM;
	for (size_t i = 0; i < t->npoints && err >= 0; i++) {
		struct arm_point *point = &t->points[i];

		if (point->error || point->backend != backend)
			continue;
		if (!probe || probe->image != point->image)
			err = file = manifest_add_file(builder, point->image);
		if (err >= 0 && point->site->probe != probe) {
			probe = point->site->probe;
			err = probe_index = manifest_add_probe(builder, probe, file);
		}
		if (err >= 0 && point->program != program) {
			program = point->program;
			err = layout = manifest_add_layout(builder, program);
		}
		if (err >= 0)
			err = manifest_add_point(
				builder,
				&(struct manifest_point){
					.offset = point->site->offset,
					.semaphore_offset = backend == &backend_kernel   ? semaphore_key(point->site)
			                                    : point->site->has_semaphore ? point->site->semaphore_offset
			                                                                 : 0,
					.probe = probe_index,
					.layout = layout,
					.pid = point->process ? point->process->pid : 0,
					.role = point->site->role,
					.link = ~0u,
				});
		if (err >= 0 && point->process && backend == &backend_kernel && point->process != process) {
			process = point->process;
			if (manifest_add_process(builder, (uint32_t)process->pid, process_start_time(process->pid)) <
			    0) {
				err = -ENOMEM;
				break;
			}
		}
		if (err >= 0) {
			point->point = err;
			(*points)[(*npoints)++] = *point;
		}
	}
	if (err >= 0)
		err = manifest_build(builder, 0, manifest);
	manifest_builder_free(builder);
	if (err < 0) {
		free(*points);
		*points = NULL;
		return error_set(-err, "out of memory");
	}
	return 0;
}

static int add_row(struct pp_report *report, const struct arm_point *first, enum pp_state state, size_t sites,
                   bool verified, int64_t offset, const char *reason, pid_t pid)
{
	const struct pp_probe *probe = first->site->probe;
	char *name = NULL;
	int err;

	if (asprintf(&name, "%s:%s", probe->provider, probe->name) < 0)
		return error_nomem();
	err = report_add(report,
	                 &(struct report_row){ .state = state,
	                                       .probe = name,
	                                       .backend = first->backend->name,
	                                       .reason = (char *)reason,
	                                       .pid = pid,
	                                       .sites = sites,
	                                       .verified = verified,
	                                       .offset = offset,
	                                       .calls_per_thread = state == PP_REFUSED ? 0 : first->calls_per_thread },
	                 first->image);
	free(name);
	return err;
}

/* One row for what was armed of a probe in a process, one for what is pending, one for each site refused. */
static int report_points(struct pp_report *report, const struct targets *t)
{
	int err = 0;

	for (size_t i = 0, end; i < t->npoints && !err; i = end) {
		const struct arm_point *first = &t->points[i];
		size_t count[2] = { 0 };
		bool verified[2] = { true, true };
		const char *reason[2] = { NULL, NULL };

		for (end = i; end < t->npoints && t->points[end].site->probe == first->site->probe &&
		              t->points[end].process == first->process && t->points[end].backend == first->backend;
		     end++) {
			const struct arm_point *point = &t->points[end];
			bool armed = !point->error || point->error == -EALREADY;
			int which = point->pending;

			if (!armed)
				continue;
			count[which]++;
			verified[which] &= point->verified;
			if (point->reason)
				reason[which] = point->reason;
		}

		pid_t pid = first->process ? first->process->pid : 0;

		if (count[0])
			err = add_row(report, first, PP_ARMED, count[0], verified[0], -1, reason[0], pid);
		if (count[1] && !err)
			err = add_row(report, first, PP_PENDING, count[1], false, -1, reason[1], pid);
		for (size_t k = i; k < end && !err; k++) {
			const struct arm_point *point = &t->points[k];

			if (point->error && point->error != -EALREADY && point->error != -ECANCELED)
				err = add_row(report, point, PP_REFUSED, 1, false, (int64_t)point->site->offset,
				              point->reason ? point->reason : strerror(-point->error), pid);
		}
	}
	return err;
}

static int report_misses(struct pp_report *report, const struct targets *t, const struct round *round)
{
	int err = 0;

	for (size_t i = 0; i < round->misses.n && !err; i++) {
		const struct arm_point *point = &t->points[round->misses.list[i].point];

		err = add_row(report, point, PP_REFUSED, 1, false, (int64_t)point->site->offset,
		              round->misses.list[i].reason, round->misses.list[i].pid);
	}
	return err;
}

static bool is_refused(const struct targets *t, size_t pattern)
{
	for (size_t i = 0; i < t->nrefusals; i++)
		if (t->refusals[i].pattern == pattern)
			return true;
	return false;
}

static int report_unmatched(struct pp_report *report, const struct targets *t, const struct pp_request *request)
{
	int err = 0;

	for (size_t i = 0; i < t->nrefusals && !err; i++)
		err = report_add(report,
		                 &(struct report_row){ .state = PP_REFUSED,
		                                       .probe = request->patterns[t->refusals[i].pattern],
		                                       .backend = "",
		                                       .reason = t->refusals[i].reason,
		                                       .offset = -1 },
		                 t->refusals[i].image);
	for (size_t i = 0; i < request->npatterns && !err; i++)
		if (!t->matched[i] && !is_refused(t, i))
			err = report_add(report,
			                 &(struct report_row){ .state = PP_REFUSED,
			                                       .probe = request->patterns[i],
			                                       .backend = "",
			                                       .reason = "no probe matches",
			                                       .offset = -1 },
			                 NULL);
	return err;
}

/* What became of the points that the backend was given goes back to where it is reported from. */
static void results_back(struct targets *t, struct arm_point *points, size_t npoints)
{
	size_t n = 0;

	for (size_t i = 0; i < t->npoints && n < npoints; i++)
		if (t->points[i].site == points[n].site && t->points[i].process == points[n].process) {
			bool untouched = !t->points[i].error;

			if (untouched)
				t->points[i] = points[n++];
		}
}

static bool all_alive(const struct pp_request *request)
{
	for (size_t i = 0; i < request->nprocesses; i++)
		if (!process_alive(request->processes[i]))
			return error_set(ESRCH, "process %d has ended", request->processes[i]->pid), false;
	return true;
}

static int scope_pids(struct scope *scope, const struct pp_request *request)
{
	scope->pids = calloc(request->nprocesses + 1, sizeof(*scope->pids));
	if (!scope->pids)
		return error_nomem();
	for (size_t i = 0; i < request->nprocesses; i++)
		scope->pids[scope->npids++] = request->processes[i]->pid;
	return 0;
}

/* Takes out again what a round armed. */
static void undo(struct pp_session *session, struct round *round)
{
	if (!round->attachment)
		return;
	round->backend->disarm(session, round->attachment, NULL, true);
	session_forget_attachment(session, round->attachment);
	round->attachment = NULL;
}

/* What was not to be had of the round's points is taken out; where that is all, the attachment. */
static int take_out_failed(struct pp_session *session, struct round *round, const struct arm_point *points, size_t n)
{
	bool *take = calloc(n + 1, sizeof(*take)), any = false, all = true;

	if (!take)
		return error_nomem();
	for (size_t i = 0; i < n; i++) {
		take[points[i].point] = points[i].error && round->backend->armed(round->attachment, points[i].point);
		any |= take[points[i].point];
		all &= points[i].error != 0;
	}
	if (all)
		undo(session, round);
	else if (any)
		round->backend->disarm(session, round->attachment, take, false);
	free(take);
	return 0;
}

/* The misses name points by their place among those armed. */
static void number_misses(const struct targets *t, struct round *round, const struct arm_point *points)
{
	for (size_t i = 0; i < round->misses.n; i++) {
		const struct arm_point *missed = &points[round->misses.list[i].point];

		for (size_t k = 0; k < t->npoints; k++)
			if (t->points[k].site == missed->site && t->points[k].process == missed->process) {
				round->misses.list[i].point = k;
				break;
			}
	}
}

/* Under the lock: arms the round's points. After an error what is armed is the caller's to undo. */
static int arm(struct pp_session *session, const struct pp_request *request, struct targets *t, struct round *round)
{
	struct arm_point *points = NULL;
	struct manifest *manifest = NULL;
	size_t npoints = 0;
	struct scope scope = { .kind = request->scope, .cgroup = request->cgroup };
	int err = scope_pids(&scope, request);

	if (!err)
		err = describe(t, round->backend, &manifest, &points, &npoints);
	if (!err && npoints) {
		round->attachment = session_add_attachment(session, round->backend, 0, manifest, NULL);
		if (!round->attachment)
			err = error_nomem();
	}
	if (err || !npoints) {
		free(scope.pids);
		free(manifest);
		free(points);
		return err;
	}
	session->record = request->record;
	session->overwrite = request->overwrite;
	session->calls = request->calls;
	session->maxactive = request->maxactive;
	session->hold = request->hold;
	session->budget = request->budget;
	session->scope = &scope;
	err = round->backend->arm(session, round->attachment, points, npoints);
	session->scope = NULL;
	free(scope.pids);
	if (err) {
		session_forget_attachment(session, round->attachment);
		round->attachment = NULL;
	} else {
		err = round->backend->readback(session, round->attachment, points, npoints, &round->misses);
		if (!err && !all_alive(request))
			err = -ESRCH;
		if (!err && session_interrupted(session))
			err = error_set(EINTR, "interrupted: what was begun is undone");
		if (!err)
			err = take_out_failed(session, round, points, npoints);
		number_misses(t, round, points);
	}
	results_back(t, points, npoints);
	free(points);
	return err;
}

/* Counts what the backend is about to arm in running processes: sites, and processes. */
static void count_running(const struct targets *t, const struct backend *backend, size_t *sites, size_t *processes)
{
	const struct pp_image *image = NULL;
	const struct process *process = NULL;
	size_t mapping = 0, named = 0, most = 0;

	*sites = 0;
	for (size_t i = 0; i < t->npoints; i++) {
		const struct arm_point *point = &t->points[i];

		if (point->error || point->backend != backend || (point->process && point->process->is_command))
			continue;
		if (!point->process && point->image != image) {
			struct process **found = NULL;

			image = point->image;
			mapping = 0;
			if (!processes_mapping(image->device, image->inode, &found, &mapping))
				for (size_t k = 0; k < mapping; k++)
					process_free(found[k]);
			free(found);
			most = mapping > most ? mapping : most;
		}
		named += point->process && point->process != process;
		process = point->process;
		*sites += point->process || mapping;
	}
	*processes = named + most;
}

/* Refuses to arm more sites than the request allows in running processes by a backend whose hits are expensive. */
static int refuse_many(const struct targets *t, const struct pp_request *request, const struct round rounds[ROUNDS])
{
	for (size_t i = 0; request->many && i < ROUNDS && rounds[i].backend; i++) {
		size_t sites, processes;

		if (!rounds[i].backend->trap_ns)
			continue;
		count_running(t, rounds[i].backend, &sites, &processes);
		if (sites > request->many)
			return error_set(
				EDQUOT,
				"the %s would arm %zu sites in %zu running process%s, and each hit costs about "
				"%.1f us of CPU time, so a program that hits them often becomes very slow: name "
				"fewer probes, or give --yes",
				rounds[i].backend->name, sites, processes, processes == 1 ? "" : "es",
				rounds[i].backend->trap_ns() / 1000);
	}
	return 0;
}

/*
 * With auto, the kernel gets the sites that an agent refused when it looked at them: another tool may have changed the
 * bytes for the jump, or the program has mapped the code itself.
 */
static int hand_over(struct pp_session *session, const struct pp_request *request, struct targets *t,
                     struct round rounds[ROUNDS])
{
	bool any = false;
	int err = 0;

	if (!rounds[0].backend->takes || strcmp(request->backend, "auto") || !agent_may_use_kernel() ||
	    backend_kernel.usable(request, true))
		return 0;
	for (size_t i = 0; i < t->npoints; i++) {
		struct arm_point *point = &t->points[i];

		if (point->backend != rounds[0].backend || point->error != -EIO || !point->process)
			continue;
		point->backend = &backend_kernel;
		point->error = 0;
		free(point->reason);
		point->reason = NULL;
		any = true;
	}
	if (!any)
		return 0;
	rounds[1].backend = &backend_kernel;
	if (!rounds[1].locked) {
		err = session_lock(session, &backend_kernel, true);
		rounds[1].locked = !err;
	}
	if (!err)
		err = refuse_many(t, request, rounds);
	if (!err)
		err = semaphores_check(session, t->points, t->npoints);
	return err ? err : verify_unchanged(t->points, t->npoints, session);
}

/* All or, on an error, nothing. */
static int arm_all(struct pp_session *session, const struct pp_request *request, struct targets *t,
                   struct round rounds[ROUNDS])
{
	char *sentence = NULL;
	bool by_kernel = false;
	int err = 0;

	for (size_t i = 0; i < ROUNDS && rounds[i].backend && !err; i++) {
		err = session_lock(session, rounds[i].backend, true);
		rounds[i].locked = !err;
		by_kernel |= rounds[i].backend == &backend_kernel;
	}
	if (!err)
		err = leave_out_armed(session, request, t);
	if (!err)
		err = verify_already(session, t);
	if (!err)
		err = find_twins(t);
	if (!err)
		err = refuse_many(t, request, rounds);
	if (!err && by_kernel)
		err = semaphores_check(session, t->points, t->npoints);
	if (!err && by_kernel)
		err = verify_unchanged(t->points, t->npoints, session);
	for (size_t i = 0; i < ROUNDS && rounds[i].backend && !err; i++) {
		err = arm(session, request, t, &rounds[i]);
		if (!err && !i)
			err = hand_over(session, request, t, rounds);
	}
	if (!err)
		err = verify_twins(t);
	for (size_t i = 0; i < ROUNDS && !err && request->record && !session->is_private; i++)
		if (rounds[i].locked && rounds[i].backend->record &&
		    session_has_attachments(session, rounds[i].backend))
			rounds[i].backend->record(session);
	if (err)
		sentence = strdup(pp_error()); /* which undoing would replace */
	for (size_t i = 0; i < ROUNDS && err; i++)
		undo(session, &rounds[i]);
	for (size_t i = 0; i < ROUNDS; i++) {
		if (!rounds[i].locked)
			continue;
		if (!session_has_attachments(session, rounds[i].backend) && !session->is_private)
			rounds[i].backend->remove(session);
		rounds[i].backend->unlock(session);
	}
	if (err)
		error_set(-err, "%s", sentence ? sentence : "out of memory");
	free(sentence);
	return err;
}

static bool names_image(const struct targets *t, const struct pp_image *image)
{
	for (size_t i = 0; i < t->npoints; i++)
		if (t->points[i].image == image)
			return true;
	return false;
}

/* Notes that were left out are a reason why a pattern matches nothing, or fewer sites than there are. */
static int report_warnings(struct pp_report *report, const struct targets *t, const struct pp_request *request)
{
	bool missing = false;
	int err = 0;

	for (size_t i = 0; i < request->npatterns; i++)
		missing |= !t->matched[i] && !function_name(request->patterns[i]);
	for (size_t i = 0; i < t->nimages; i++) {
		const struct pp_image *image = t->images[i];

		if (!image->nwarnings || (!missing && !names_image(t, image)))
			continue;
		for (size_t k = 0; k < image->nwarnings && !err; k++)
			if (missing || image->warnings[k] != image->dropped)
				err = report_warn(report, image->warnings[k]);
	}
	return err;
}

static int report_all(const struct targets *t, const struct pp_request *request, const struct round rounds[ROUNDS],
                      struct pp_report **report)
{
	struct pp_report *made = calloc(1, sizeof(*made));
	int err = made ? report_points(made, t) : error_nomem();

	for (size_t i = 0; i < ROUNDS && !err; i++)
		err = report_misses(made, t, &rounds[i]);
	if (!err)
		err = report_unmatched(made, t, request);
	if (!err)
		err = report_warnings(made, t, request);
	*report = made;
	return err;
}

int pp_session_enable(struct pp_session *session, const struct pp_request *request, struct pp_report **report)
{
	struct targets targets = { 0 };
	struct round rounds[ROUNDS] = { 0 };
	int err = choose(request, &rounds[0].backend), bad = 0;

	*report = NULL;
	if (err)
		return err;
	err = targets_find(&targets, request);
	if (!err) {
		share_out(&targets, request, rounds);
		if (targets.npoints)
			err = arm_all(session, request, &targets, rounds);
		/* Nothing was armed: what has no reason of its own has that of the whole. */
		for (size_t i = 0; err && i < targets.npoints; i++)
			if (!targets.points[i].error)
				targets.points[i].error = -ECANCELED;
		bad = report_all(&targets, request, rounds, report);
		if (!err)
			err = bad;
		if (!err && !targets.npoints && targets.nrefusals)
			err = error_set(EOPNOTSUPP, "%s", targets.refusals[0].reason);
		else if (!err && !targets.npoints)
			err = all_alive(request) ? error_set(ENOENT, "no probe matches '%s'", request->patterns[0])
			                         : -ESRCH;
	}
	for (size_t i = 0; i < ROUNDS; i++)
		verify_misses_release(&rounds[i].misses);
	targets_release(&targets);
	return err;
}
