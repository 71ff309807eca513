/* SPDX-License-Identifier: MIT */
/*
 * Arming, one round for each backend that got points.
 *
 * 1. Lock the session in each backend. The lock is held to the end.
 * 2. Skip the points that need not be armed (enable-skip.c).
 * 3. Refuse the call if it would arm too many sites of running processes.
 * 4. In each round, let the backend refuse points, arm the rest as one new attachment, and read back what became of
 *    them. With "auto", points that a process refused at this stage go to a later backend.
 * 5. If anything failed, disarm the attachments of all rounds.
 * 6. Remove the session where it has no attachments, and unlock it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/notice.h"
#include "base/text.h"
#include "runtime/enable.h"
#include "runtime/fetch/program.h"
#include "runtime/process.h"
#include "runtime/request.h"
#include "runtime/session.h"
#include "runtime/stacks.h"
#include "sdt/image.h"

int request_check_alive(const struct pp_request *request)
{
	for (size_t i = 0; i < request->nprocesses; i++)
		if (!process_alive(request->processes[i]))
			return error_set(ESRCH, "pid %d: the process has ended", request->processes[i]->pid);
	return 0;
}

/* ---- the manifest of a round ---- */

/* The previous point. The next point usually has the same file, probe, program and process. */
struct described {
	struct manifest_builder *builder;
	const struct pp_image *image;
	const struct pp_probe *probe;
	const struct fetch_program *program;
	const struct process *process;
	int file, probe_index, layout, group;
};

/* Returns -ENOMEM without an error message. */
static int described_add(struct described *d, struct arm_point *point, const struct backend *backend)
{
	const struct process *process = point->process;
	int err = 0;

	if (d->image != point->image)
		err = d->file = manifest_add_file(d->builder, point->image);
	if (err >= 0 && d->probe != point->site->probe)
		err = d->probe_index = manifest_add_probe(d->builder, point->site->probe, d->file);
	if (err >= 0 && (d->probe != point->site->probe || d->program != point->program))
		err = manifest_name_args(d->builder, d->probe_index, point->program);
	if (err >= 0 && d->program != point->program)
		err = d->layout = manifest_add_layout(d->builder, point->program);
	if (err >= 0 && point->program->aggregate && (d->probe != point->site->probe || d->program != point->program))
		err = d->group = manifest_add_group(d->builder, point->program, d->probe_index);
	if (err >= 0)
		err = manifest_add_point(
			d->builder, &(struct manifest_point){ .offset = point->site->offset,
		                                              .semaphore_offset = backend->semaphore_key(point->site),
		                                              .probe = d->probe_index,
		                                              .layout = d->layout,
		                                              .pid = process ? process->pid : 0,
		                                              .role = point->site->role,
		                                              .group = point->program->aggregate ? d->group + 1 : 0,
		                                              .link = ~0u });
	if (err < 0)
		return err;
	point->point = err;
	if (backend->names_processes && process && process != d->process &&
	    manifest_add_process(d->builder, (uint32_t)process->pid, process_start_time(process->pid)) < 0)
		return -ENOMEM;
	d->image = point->image;
	d->probe = point->site->probe;
	d->program = point->program;
	d->process = process;
	return 0;
}

/* Describes the points of the round, and sets their index in the manifest. */
static int round_describe(struct round *round, const char *label, struct manifest **manifest)
{
	struct described d = { 0 };
	int err = manifest_builder_new(&d.builder);

	if (err)
		return err;
	err = label ? manifest_set_label(d.builder, label) : 0;
	for (size_t i = 0; i < round->npoints && !err; i++)
		err = described_add(&d, round->points[i], round->backend);
	if (!err)
		err = manifest_build(d.builder, 0, manifest);
	manifest_builder_free(d.builder);
	if (err)
		return error_nomem();
	if (round->npoints)
		(*manifest)->sample = round->points[0]->program->sample;
	return 0;
}

/* ---- one round ---- */

int round_collect(const struct enabling *e, struct round *round)
{
	free(round->points);
	round->npoints = 0;
	round->points = calloc(e->targets.npoints + 1, sizeof(*round->points));
	if (!round->points)
		return error_nomem();
	for (size_t i = 0; i < e->targets.npoints; i++)
		if (!e->targets.points[i].error && e->targets.points[i].backend == round->backend)
			round->points[round->npoints++] = &e->targets.points[i];
	return 0;
}

static void round_undo(struct pp_session *session, struct round *round)
{
	if (!round->attachment)
		return;
	round->backend->disarm(session, round->attachment, NULL, true);
	session_forget_attachment(session, round->attachment);
	round->attachment = NULL;
}

/* Disarms the points that were refused after they were armed. Ends the attachment if no other point is left. */
static int round_disarm_refused(struct pp_session *session, struct round *round)
{
	bool *take = calloc(round->npoints + 1, sizeof(*take)), any = false, all = true;

	if (!take)
		return error_nomem();
	for (size_t i = 0; i < round->npoints; i++) {
		const struct arm_point *point = round->points[i];

		take[point->point] = point->error && round->backend->armed(round->attachment, point->point);
		any |= take[point->point];
		all &= point->error != 0;
	}
	if (all)
		round_undo(session, round);
	else if (any)
		round->backend->disarm(session, round->attachment, take, false);
	free(take);
	return 0;
}

/* Refuses a request that disagrees with the session's attachments about a flight recorder. */
static int session_check_flight(const struct pp_session *session, size_t flight)
{
	size_t before = session->nattachments ? session_flight(session) : flight;

	if (before == flight)
		return 0;
	if (!before)
		return error_set(EEXIST,
		                 "session '%s' was begun without --flight-recorder, which applies to the whole "
		                 "session; use another session (-s)",
		                 session->name);
	return error_set(EEXIST,
	                 "session '%s' is a flight recorder of %zu bytes for each process, which applies to the whole "
	                 "session; give the same --flight-recorder, or use another session (-s)",
	                 session->name, before);
}

/* Makes the attachment and arms it. */
static int round_attach(struct enabling *e, struct round *round)
{
	const struct pp_request *request = e->request;
	pid_t *pids = calloc(request->nprocesses + 1, sizeof(*pids));
	const struct scope scope = {
		.kind = request->scope, .pids = pids, .npids = request->nprocesses, .cgroup = request->cgroup
	};
	const struct arm_options options = { .scope = &scope,
		                             .record = request->record,
		                             .overwrite = request->overwrite,
		                             .cells = request->cells,
		                             .calls = request->calls,
		                             .hold = request->hold,
		                             .buffer = request->buffer,
		                             .flight = request->flight,
		                             .maxactive = request->maxactive,
		                             .budget = request->budget };
	struct manifest *manifest = NULL;
	int err;

	if (!pids)
		return error_nomem();
	err = session_check_flight(e->session, request->flight);
	if (err)
		goto out;
	for (size_t i = 0; i < request->nprocesses; i++)
		pids[i] = request->processes[i]->pid;
	err = round_describe(round, request->label, &manifest);
	if (err)
		goto out;
	round->attachment = session_add_attachment(e->session, round->backend, 0, manifest, NULL);
	if (!round->attachment) {
		free(manifest);
		err = error_nomem();
		goto out;
	}
	e->session->hold_budget = request->budget;
	err = round->backend->arm(e->session, round->attachment, round->points, round->npoints, &options);
	if (err) {
		session_forget_attachment(e->session, round->attachment);
		round->attachment = NULL;
	}
out:
	free(pids);
	return err;
}

/* Keeps what the processes map now, so that their stacks have names after they have ended. */
static int round_keep_layouts(const struct enabling *e, const struct round *round)
{
	int err = 0;

	for (size_t i = 0; i < e->request->nprocesses && !err; i++)
		err = stacks_keep(round->attachment, e->request->processes[i]->pid);
	return err;
}

/* Arms the points of the round. After an error, the caller disarms its attachment. */
static int round_arm(struct enabling *e, struct round *round)
{
	struct pp_session *session = e->session;
	int err = round_collect(e, round);

	if (err)
		return err;
	err = round->backend->check(session, round->points, round->npoints);
	if (err)
		return err;
	err = round_collect(e, round);
	if (err || !round->npoints)
		return err;
	err = round_attach(e, round);
	if (err)
		return err;
	err = round->backend->readback(session, round->attachment, round->points, round->npoints, &round->misses);
	if (err)
		return err;
	err = round_keep_layouts(e, round);
	if (err)
		return err;
	err = request_check_alive(e->request);
	if (err)
		return err;
	if (session_interrupted(session))
		return error_set(EINTR, "interrupted: everything that this command armed was disarmed");
	return round_disarm_refused(session, round);
}

/* ---- limits ---- */

/* Counts the sites that the backend is about to arm in running processes, and these processes. */
static void targets_count_running(const struct targets *t, const struct backend *backend, size_t *sites,
                                  size_t *processes)
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
static int rounds_check_many(const struct enabling *e)
{
	for (size_t i = 0; e->request->many && i < e->nrounds; i++) {
		const struct backend *backend = e->rounds[i].backend;
		size_t sites, processes;

		if (!backend->hits_trap)
			continue;
		targets_count_running(&e->targets, backend, &sites, &processes);
		if (sites > e->request->many)
			return error_set(
				EDQUOT,
				"the %s would arm %zu sites in %zu running process%s, and each hit costs about "
				"%.1f us of CPU time, so a program that hits them often becomes very slow; name "
				"fewer probes, or give --yes",
				backend->name, sites, processes, processes == 1 ? "" : "es", backend->trap_ns() / 1000);
	}
	return 0;
}

/* ---- all rounds ---- */

static bool round_has_points(const struct enabling *e, const struct round *round)
{
	for (size_t i = 0; i < e->targets.npoints; i++)
		if (e->targets.points[i].backend == round->backend)
			return true;
	return false;
}

static int round_lock(struct enabling *e, struct round *round)
{
	int err = round->locked ? 0 : session_lock(e->session, round->backend, true);

	round->locked |= !err;
	return err;
}

/*
 * Gives the points that a process refused (-EIO) in this round to the next backend that takes them: another tool may
 * have changed the bytes there, or the program has mapped its code itself. Only with "auto".
 */
static int round_hand_over(struct enabling *e, const struct round *from)
{
	for (struct round *to = e->rounds + (from - e->rounds) + 1; to < e->rounds + e->nrounds; to++) {
		bool any = false;
		int err;

		if (!to->backend->permitted() || to->backend->usable(e->request, true))
			continue;
		for (size_t i = 0; i < e->targets.npoints; i++) {
			struct arm_point *point = &e->targets.points[i];

			if (point->backend != from->backend || point->error != -EIO || !point->process ||
			    !to->backend->takes(point->site))
				continue;
			point->backend = to->backend;
			arm_point_refuse(point, 0, NULL);
			any = true;
		}
		err = any ? round_lock(e, to) : 0;
		if (err)
			return err;
		if (any)
			return rounds_check_many(e);
	}
	return 0;
}

static int rounds_prepare(struct enabling *e)
{
	int err = 0;

	for (size_t i = 0; i < e->nrounds && !err; i++)
		if (!i || round_has_points(e, &e->rounds[i]))
			err = round_lock(e, &e->rounds[i]);
	if (err)
		return err;
	err = points_skip_armed(e);
	if (err)
		return err;
	err = points_verify_armed(e);
	if (err)
		return err;
	err = points_skip_twins(&e->targets);
	return err ? err : rounds_check_many(e);
}

static int rounds_run(struct enabling *e)
{
	int err = rounds_prepare(e);

	for (size_t i = 0; i < e->nrounds && !err; i++) {
		if (!e->rounds[i].locked)
			continue;
		err = round_arm(e, &e->rounds[i]);
		if (!err)
			err = round_hand_over(e, &e->rounds[i]);
	}
	return err ? err : twins_verify(e);
}

static void round_record(struct enabling *e, const struct round *round)
{
	if (e->request->record && !e->session->is_private && round->locked &&
	    session_has_attachments(e->session, round->backend))
		round->backend->record(e->session);
}

int rounds_arm(struct enabling *e)
{
	int err = rounds_run(e);
	char *message = err ? strdup(pp_error()) : NULL; /* because disarming may replace it */

	for (size_t i = 0; i < e->nrounds; i++)
		if (err)
			round_undo(e->session, &e->rounds[i]);
		else
			round_record(e, &e->rounds[i]);
	if (session_check_disarmed(e->session))
		notice_add("%s", pp_error());
	for (size_t i = 0; i < e->nrounds; i++) {
		const struct backend *backend = e->rounds[i].backend;

		if (!e->rounds[i].locked)
			continue;
		if (!session_has_attachments(e->session, backend) && !e->session->is_private)
			backend->remove(e->session);
		backend->unlock(e->session);
	}
	if (err)
		error_set(-err, "%s", message ? message : "out of memory");
	free(message);
	return err;
}
