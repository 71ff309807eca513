/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/agent/session.h"
#include "runtime/process.h"
#include "base/error.h"
#include "sdt/image.h"

#define JUMP 0xe9 /* the second byte of an armed site: see facts of the nop in agent/state.h */
#define STATES ((AGENT_MESSAGE_MAX - sizeof(struct agent_reply)) / sizeof(struct agent_point_state))

struct readback {
	struct agent_session *session;
	struct attachment *attachment;
	struct arm_point *const *points;
	size_t npoints;
	struct agent_point_state *states; /* of the process at work */
	bool *seen;                       /* armed somewhere */
	struct arm_misses *misses;
	bool named; /* the process was, else it is one of all */
};

static int ask_states(struct readback *r, pid_t pid)
{
	uint32_t npoints = r->attachment->manifest->npoints, reason = AGENT_OK;
	struct agent_peer peer;
	int err = agent_connect(&r->session->store, pid, &peer), n = 0;

	if (err)
		return err;
	for (uint32_t first = 0; first < npoints && !err; first += (uint32_t)n) {
		n = agent_ask(&peer, AGENT_STATE, r->session->name, r->attachment->number, first, r->states + first,
		              npoints - first < STATES ? npoints - first : STATES, sizeof(*r->states), &reason, NULL);
		err = n < 0 ? n : n ? 0 : -EPROTO;
	}
	agent_disconnect(&peer);
	if (err && reason)
		return error_set(-err, "pid %d: %s", pid, agent_reason_text(reason, NULL));
	return err;
}

static int refuse(struct readback *r, size_t i, pid_t pid, char *reason)
{
	return arm_misses_add(r->misses, r->points[i], pid, reason);
}

/* What an armed point does not do, or costs. "cost: " is for those who want to know more. */
static int remark(struct readback *r, size_t i, pid_t pid, uint8_t reason)
{
	struct arm_point *point = r->points[i];

	if (point->reason || (reason != AGENT_CALLS && reason != AGENT_COST))
		return 0;
	if (reason == AGENT_CALLS)
		point->reason = error_format(
			"hits in pid %d make no system calls: what is neither on the thread's stack nor in "
			"the program's file is <fault>, unless --system-calls allows them",
			pid);
	else
		point->reason = error_format(
			"cost: the filter follows a pointer, which can take a system call in each hit (1 to 5 us if the "
			"process has other threads)");
	return point->reason ? 0 : -ENOMEM;
}

static int take_state(struct readback *r, size_t i, pid_t pid)
{
	const struct agent_point_state *state = &r->states[r->points[i]->point];

	switch (state->state) {
	case AGENT_ARMED: r->seen[i] = true; return remark(r, i, pid, state->reason);
	case AGENT_PENDING: return 0;
	case AGENT_REFUSED:
		return refuse(r, i, pid,
		              error_format("pid %d: %s", pid, agent_reason_text(state->reason, state->found)));
	default:
		return r->named ? refuse(r, i, pid,
		                         error_format("pid %d: its agent takes it for another process's", pid))
		                : 0;
	}
}

static const struct mapping *code(const struct process *process, const struct arm_point *point)
{
	const struct mapping *m = NULL;

	while ((m = process_mapping(process, point->image->device, point->image->inode, point->site->offset, m)) &&
	       !m->exec)
		;
	return m;
}

/* Looks at the bytes of the points from..to that the agent says it has armed. */
static int look_at_bytes(struct readback *r, size_t from, size_t to, const struct process *process)
{
	size_t n = 0, *which = calloc(to - from + 1, sizeof(*which));
	uint64_t *addresses = calloc(to - from + 1, sizeof(*addresses));
	uint8_t *bytes = calloc(to - from + 1, 1);
	bool *got = calloc(to - from + 1, sizeof(*got));
	const struct mapping *m = NULL;
	int err = 0, denied;

	if (!which || !addresses || !bytes || !got) {
		err = error_nomem();
		goto out;
	}
	for (size_t i = from; i < to; i++) {
		const struct arm_point *point = r->points[i];
		uint64_t offset = point->site->offset;

		if (point->error || r->states[point->point].state != AGENT_ARMED)
			continue;
		if (i == from || !m || point->image != r->points[i - 1]->image || offset < m->offset ||
		    offset - m->offset >= m->end - m->start)
			m = code(process, point);
		if (!m)
			continue;
		which[n] = i;
		addresses[n++] = m->start + offset - m->offset + 1;
	}
	denied = process_read_bytes(process, addresses, n, bytes, got);
	for (size_t k = 0; k < n && !err; k++) {
		struct arm_point *point = r->points[which[k]];

		if (!denied && got[k] && bytes[k] == JUMP)
			continue;
		if (!denied && got[k]) {
			r->seen[which[k]] = false;
			err = refuse(r, which[k], process->pid,
			             error_format("pid %d: the agent says that it is armed, but there "
			                          "is no jump",
			                          process->pid));
			continue;
		}
		point->verified = false;
		if (!point->reason)
			point->reason =
				error_format("not verified: pid %d cannot be read%s; its agent says that it is armed",
			                     process->pid, denied == -EPERM ? " without CAP_SYS_PTRACE" : "");
	}
out:
	free(which);
	free(addresses);
	free(bytes);
	free(got);
	return err;
}

static int read_process(struct readback *r, size_t from, size_t to, const struct process *process)
{
	int err = ask_states(r, process->pid);

	if (err == -ENOMEM)
		return err;
	if (err && r->named) {
		for (size_t i = from; i < to && err != -ENOMEM; i++)
			if (!r->points[i]->error)
				refuse(r, i, process->pid, strdup(err == -ENOENT ? "its agent is gone" : pp_error()));
		return 0;
	}
	for (size_t i = from; i < to && !err; i++)
		if (!r->points[i]->error)
			err = take_state(r, i, process->pid);
	return err ? err : look_at_bytes(r, from, to, process);
}

/* For want of descriptors or rights: nothing is known of the process, so the points are not verified. */
static int tell_unread(struct readback *r, pid_t pid, int err)
{
	for (size_t i = 0; i < r->npoints && err != -ESRCH && err != -ENOENT; i++) {
		if (r->points[i]->error)
			continue;
		r->points[i]->verified = false;
		if (!r->points[i]->reason)
			r->points[i]->reason =
				error_format("not verified: pid %d could not be looked at: %s", pid, strerror(-err));
	}
	return 0;
}

static int read_stranger(pid_t pid, uint64_t key, void *arg)
{
	struct readback *r = arg;
	struct process *process;
	int err = process_open(pid, &process);

	(void)key;
	if (err)
		return err == -ENOMEM ? err : tell_unread(r, pid, err);
	err = process_read_maps(process);
	if (err && err != -ENOMEM)
		tell_unread(r, pid, err);
	else if (!err)
		err = read_process(r, 0, r->npoints, process);
	process_free(process);
	return err == -ENOMEM ? err : 0;
}

/* Who maps a file and could not be woken is not armed: of that it is told why. */
static int read_sleeper(struct readback *r, const struct agent_sleeper *sleeper)
{
	struct process *process;
	int err;

	if (process_open(sleeper->pid, &process))
		return 0;
	err = process_read_maps(process);
	for (size_t i = 0; i < r->npoints && !err; i++)
		if (!r->points[i]->error && code(process, r->points[i]))
			err = refuse(r, i, sleeper->pid, strdup(sleeper->reason ? sleeper->reason : "out of memory"));
	process_free(process);
	return err == -ENOMEM ? err : 0;
}

int agent_readback(struct pp_session *session, struct attachment *attachment, struct arm_point *const *points,
                   size_t npoints, struct arm_misses *misses)
{
	struct readback r = { .session = agent_of(session),
		              .attachment = attachment,
		              .points = points,
		              .npoints = npoints,
		              .misses = misses };
	int err = 0;

	r.states = calloc(attachment->manifest->npoints + STATES, sizeof(*r.states));
	r.seen = calloc(npoints + 1, sizeof(*r.seen));
	if (!r.states || !r.seen)
		err = error_nomem();
	for (size_t i = 0; i < npoints && !err; i++)
		points[i]->verified = !points[i]->error;
	/* Of every process: none is named in any of the points. */
	if (!err && npoints && !points[0]->process)
		err = agent_each(&r.session->store, read_stranger, &r);
	for (size_t i = 0; i < r.session->sleepers.n && !err && !points[0]->process; i++)
		err = read_sleeper(&r, &r.session->sleepers.at[i]);
	r.named = true;
	for (size_t from = 0, to; from < npoints && !err; from = to) {
		const struct process *process = points[from]->process;

		for (to = from; to < npoints && points[to]->process == process; to++)
			;
		if (process && !process->is_command)
			err = read_process(&r, from, to, process);
	}
	for (size_t i = 0; i < npoints && !err; i++)
		if (!points[i]->error && !r.seen[i]) {
			points[i]->pending = true;
			points[i]->verified = false;
		}
	free(r.states);
	free(r.seen);
	return err;
}
