/* SPDX-License-Identifier: MIT */
/*
 * Reads back whether points are armed.
 *
 *  1. Asks each agent for the state of the attachment's points.
 *  2. Reads the sites of points that the agent reports as armed, and looks for the jump.
 *  3. A point that is armed in no process is pending.
 *
 * A point of one process is refused if it is not armed there. A point of every process gets a miss for each process
 * that maps the file and does not have it armed.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "runtime/agent/session.h"
#include "runtime/cpu.h"
#include "runtime/process.h"
#include "sdt/image.h"

#define STATES ((AGENT_MESSAGE_MAX - sizeof(struct agent_reply)) / sizeof(struct agent_point_state))

struct readback {
	struct agent_session *session;
	struct attachment *attachment;
	struct arm_point *const *points;
	size_t npoints;
	struct arm_misses *misses;
	struct agent_point_state *states; /* of the current process, by the manifest's points */
	bool *armed;                      /* by points: armed in a process */
};

/* The points from..to-1, in one process. */
struct readback_range {
	size_t from, to;
	const struct process *process;
	bool named; /* the points are for this process; otherwise for every process */
};

/* ---- states ---- */

static int readback_ask_states(struct readback *v, struct agent_peer *peer)
{
	uint32_t npoints = v->attachment->manifest->npoints;
	struct agent_query query = { AGENT_STATE, v->session->name, v->attachment->number, 0 };
	struct agent_answer answer = { .item_size = sizeof(*v->states) };

	while (query.first < npoints) {
		int n;

		answer.items = v->states + query.first;
		answer.max = npoints - query.first < STATES ? npoints - query.first : STATES;
		n = agent_ask(peer, &query, &answer);
		if (n < 0 && answer.reason)
			return error_set(-n, "pid %d: %s", peer->pid, agent_reason_text(answer.reason, NULL));
		if (n < 0)
			return n;
		if (!n)
			return error_set(EPROTO, "pid %d: malformed reply from the agent: no points", peer->pid);
		query.first += (uint32_t)n;
	}
	return 0;
}

static int readback_read_states(struct readback *v, pid_t pid)
{
	struct agent_peer peer;
	int err = agent_connect(&v->session->dir, pid, &peer);

	if (err)
		return err;
	err = readback_ask_states(v, &peer);
	agent_disconnect(&peer);
	return err;
}

static int readback_miss(struct readback *v, size_t i, pid_t pid, char *reason)
{
	return arm_misses_add(v->misses, v->points[i], pid, reason);
}

/* Adds a remark to an armed point. Remarks that begin with "cost: " are printed on request only. */
static int point_remark(struct arm_point *point, pid_t pid, uint8_t reason)
{
	if (point->reason || (reason != AGENT_CALLS && reason != AGENT_COST && reason != AGENT_CLOCK))
		return 0;
	if (reason == AGENT_CLOCK)
		point->reason = error_format("hits in pid %d make no system calls, and this CPU has no invariant "
		                             "counter: they count, but their records are lost, unless "
		                             "--system-calls allows them",
		                             pid);
	else if (reason == AGENT_CALLS)
		point->reason =
			error_format("hits in pid %d make no system calls: values that are neither on the thread's "
		                     "stack nor in the program's file are <fault>, unless --system-calls allows "
		                     "them",
		                     pid);
	else
		point->reason =
			error_format("cost: the filter or aggregate follows a pointer, or asks for the thread's name, "
		                     "which may take a system call in each hit "
		                     "(1 to 5 us if the process has other threads)");
	return point->reason ? 0 : -ENOMEM;
}

static int readback_take_state(struct readback *v, size_t i, const struct readback_range *range)
{
	const struct agent_point_state *state = &v->states[v->points[i]->point];
	pid_t pid = range->process->pid;

	switch (state->state) {
	case AGENT_ARMED: v->armed[i] = true; return point_remark(v->points[i], pid, state->reason);
	case AGENT_PENDING: return 0;
	case AGENT_REFUSED:
		return readback_miss(v, i, pid,
		                     error_format("pid %d: %s", pid, agent_reason_text(state->reason, state->found)));
	default:
		if (!range->named)
			return 0;
		return readback_miss(
			v, i, pid,
			error_format("pid %d: the agent reports that the point belongs to another process", pid));
	}
}

/* ---- bytes ---- */

static const struct mapping *process_find_site(const struct process *process, const struct arm_point *point)
{
	const struct mapping *m = NULL;

	while ((m = process_mapping(process, point->image->device, point->image->inode, point->site->offset, m)) &&
	       !m->exec)
		;
	return m;
}

static bool mapping_has_site(const struct mapping *m, const struct arm_point *point)
{
	uint64_t offset = point->site->offset;

	return offset >= m->offset && offset - m->offset < m->end - m->start;
}

/* The sites of armed points in one process, and what was read there. */
struct site_bytes {
	size_t n;
	size_t *index; /* of the point */
	uint64_t *addresses;
	uint8_t *bytes; /* size for each */
	size_t size;
	bool *got;
};

static int site_bytes_new(struct site_bytes *s, size_t npoints, size_t size)
{
	*s = (struct site_bytes){ .size = size };
	s->index = calloc(npoints + 1, sizeof(*s->index));
	s->addresses = calloc(npoints + 1, sizeof(*s->addresses));
	s->bytes = calloc(npoints + 1, size);
	s->got = calloc(npoints + 1, sizeof(*s->got));
	return s->index && s->addresses && s->bytes && s->got ? 0 : error_nomem();
}

static void site_bytes_release(struct site_bytes *s)
{
	free(s->index);
	free(s->addresses);
	free(s->bytes);
	free(s->got);
}

/* Finds the sites of the points that the agent reports as armed. */
static void readback_find_sites(const struct readback *v, const struct readback_range *range, struct site_bytes *sites)
{
	const struct mapping *m = NULL;

	for (size_t i = range->from; i < range->to; i++) {
		const struct arm_point *point = v->points[i];

		if (point->error || v->states[point->point].state != AGENT_ARMED)
			continue;
		if (i == range->from || !m || point->image != v->points[i - 1]->image || !mapping_has_site(m, point))
			m = process_find_site(range->process, point);
		if (!m)
			continue;
		sites->index[sites->n] = i;
		sites->addresses[sites->n++] =
			m->start + point->site->offset - m->offset + cpu_code(point->image->machine)->jump_at;
	}
}

/* Checks what was read at site k. denied: an error of reading the process. */
static int readback_check_site(struct readback *v, const struct site_bytes *sites, size_t k, pid_t pid, int denied)
{
	size_t i = sites->index[k];
	struct arm_point *point = v->points[i];
	bool read = !denied && sites->got[k];

	if (read && cpu_code(point->image->machine)->is_jump(sites->bytes + k * sites->size))
		return 0;
	if (read) {
		v->armed[i] = false;
		return readback_miss(
			v, i, pid,
			error_format("pid %d: the agent reports the point as armed, but the site does not have "
		                     "a jump",
		                     pid));
	}
	point->verified = false;
	if (!point->reason)
		point->reason =
			error_format("not verified: pid %d: cannot read the process%s; the agent reports the point "
		                     "as armed",
		                     pid, denied == -EPERM ? " without CAP_SYS_PTRACE" : "");
	return 0;
}

static int readback_check_bytes(struct readback *v, const struct readback_range *range)
{
	const struct cpu_code *cpu = NULL;
	struct site_bytes sites;
	int err, denied;

	for (size_t i = range->from; i < range->to && !cpu; i++)
		if (!v->points[i]->error && v->states[v->points[i]->point].state == AGENT_ARMED)
			cpu = cpu_code(v->points[i]->image->machine);
	if (!cpu)
		return 0;
	/* All points that an agent arms are code of its CPU. */
	err = site_bytes_new(&sites, range->to - range->from, cpu->jump_size);
	if (err)
		goto out;
	readback_find_sites(v, range, &sites);
	denied = process_read_spans(range->process, sites.addresses, sites.n, sites.size, sites.bytes, sites.got);
	for (size_t k = 0; k < sites.n && !err; k++)
		err = readback_check_site(v, &sites, k, range->process->pid, denied);
out:
	site_bytes_release(&sites);
	return err;
}

/* ---- processes ---- */

static int readback_process(struct readback *v, const struct readback_range *range)
{
	pid_t pid = range->process->pid;
	int err = readback_read_states(v, pid);

	if (err == -ENOMEM)
		return err;
	if (err && range->named) {
		for (size_t i = range->from; i < range->to; i++)
			if (!v->points[i]->error)
				readback_miss(
					v, i, pid,
					strdup(err == -ENOENT ? "the agent does not exist any more" : pp_error()));
		return 0;
	}
	for (size_t i = range->from; i < range->to && !err; i++)
		if (!v->points[i]->error)
			err = readback_take_state(v, i, range);
	return err ? err : readback_check_bytes(v, range);
}

/* Marks all points as not verified, because descriptors or privileges are missing to look at a process. */
static void readback_note_unread(struct readback *v, pid_t pid, int err)
{
	if (err == -ESRCH || err == -ENOENT)
		return;
	for (size_t i = 0; i < v->npoints; i++) {
		struct arm_point *point = v->points[i];

		if (point->error)
			continue;
		point->verified = false;
		if (!point->reason)
			point->reason =
				error_format("not verified: pid %d: cannot read the process: %s", pid, strerror(-err));
	}
}

/* Verifies the points of every process in a process with an agent's socket. */
static int readback_any_process(pid_t pid, uint64_t key, void *arg)
{
	struct readback *v = arg;
	struct process *process;
	int err = process_open(pid, &process);

	(void)key;
	if (err) {
		if (err != -ENOMEM)
			readback_note_unread(v, pid, err);
		return err == -ENOMEM ? err : 0;
	}
	err = process_read_maps(process);
	if (!err)
		err = readback_process(v, &(struct readback_range){ .to = v->npoints, .process = process });
	else if (err != -ENOMEM)
		readback_note_unread(v, pid, err);
	process_free(process);
	return err == -ENOMEM ? err : 0;
}

/* Adds a miss for each point whose file a process maps that could not be woken. */
static int readback_sleeper(struct readback *v, const struct agent_sleeper *sleeper)
{
	struct process *process;
	int err;

	if (process_open(sleeper->pid, &process))
		return 0;
	err = process_read_maps(process);
	for (size_t i = 0; i < v->npoints && !err; i++)
		if (!v->points[i]->error && process_find_site(process, v->points[i]))
			err = readback_miss(v, i, sleeper->pid,
			                    strdup(sleeper->reason ? sleeper->reason : "out of memory"));
	process_free(process);
	return err == -ENOMEM ? err : 0;
}

/* ---- all points ---- */

/* Verifies points of every process: an attachment has either those or points of named processes. */
static int readback_global_points(struct readback *v)
{
	int err = agent_each_socket(&v->session->dir, readback_any_process, v);

	for (size_t i = 0; i < v->session->sleepers.n && !err; i++)
		err = readback_sleeper(v, &v->session->sleepers.at[i]);
	return err;
}

static int readback_named_points(struct readback *v)
{
	int err = 0;

	for (size_t from = 0, to; from < v->npoints && !err; from = to) {
		const struct process *process = v->points[from]->process;

		for (to = from; to < v->npoints && v->points[to]->process == process; to++)
			;
		if (process && !process->is_command)
			err = readback_process(v, &(struct readback_range){ from, to, process, true });
	}
	return err;
}

static int readback_run(struct readback *v)
{
	int err = 0;

	for (size_t i = 0; i < v->npoints; i++)
		v->points[i]->verified = !v->points[i]->error;
	if (v->npoints && !v->points[0]->process)
		err = readback_global_points(v);
	if (!err)
		err = readback_named_points(v);
	if (err)
		return err;
	for (size_t i = 0; i < v->npoints; i++)
		if (!v->points[i]->error && !v->armed[i]) {
			v->points[i]->pending = true;
			v->points[i]->verified = false;
		}
	return 0;
}

/* Takes --fast from the points that are armed: it is for the kernel's traps. The kernel may still arm the others. */
static int points_clear_fast(struct arm_point *const *points, size_t npoints)
{
	for (size_t i = 0; i < npoints; i++) {
		char *before = points[i]->reason;

		if (!points[i]->fast || points[i]->error)
			continue;
		points[i]->fast = false;
		points[i]->reason = error_format("--fast: no effect, because the agent arms without traps%s%s",
		                                 before ? "; " : "", before ? before : "");
		free(before);
		if (!points[i]->reason)
			return -ENOMEM;
	}
	return 0;
}

int agent_readback(struct pp_session *session, struct attachment *attachment, struct arm_point *const *points,
                   size_t npoints, struct arm_misses *misses)
{
	struct readback v = { .session = agent_of(session),
		              .attachment = attachment,
		              .points = points,
		              .npoints = npoints,
		              .misses = misses };
	int err;

	v.states = calloc(attachment->manifest->npoints + STATES, sizeof(*v.states));
	v.armed = calloc(npoints + 1, sizeof(*v.armed));
	err = v.states && v.armed ? readback_run(&v) : error_nomem();
	free(v.states);
	free(v.armed);
	return err ? err : points_clear_fast(points, npoints);
}
