/* SPDX-License-Identifier: MIT */
/*
 * Fork.
 *
 * 1. The parent's change in flight ends first, and a new one waits for the fork, both
 *    for a limited time (change.c). No lock is held across the fork.
 * 2. In the child the pages `struct life` are wiped, so trampolines do nothing.
 * 3. If the child is in scope, a new thread replaces the parent's shared memory regions
 *    by regions of the child, at the same addresses, and writes the pages again.
 *    fork(2) returns after that, and after the readers have the child's regions.
 * 4. If the child is not in scope, trampolines continue to do nothing.
 * 5. A child that was forked in the middle of a change arms nothing any more.
 *
 * A child that was made without the C library stays in state 2. If a controller wakes the agent in it later, the agent refuses
 * all points (lifecycle.raw), because its regions are those of the parent.
 */
#include <string.h>
#include <unistd.h>

#include "runtime/agent/inproc/agent.h"
#include "runtime/agent/inproc/agent-thread.h"
#include "runtime/agent/inproc/calls.h"
#include "runtime/agent/inproc/change.h"
#include "runtime/agent/inproc/fork.h"
#include "runtime/agent/inproc/lifecycle.h"
#include "runtime/agent/inproc/readers.h"
#include "runtime/agent/inproc/regions.h"
#include "runtime/agent/inproc/thread.h"

/* Forks of this thread that are in flight: a signal handler may fork, too. */
static __thread uint32_t forks;

void fork_before(void)
{
	if (!change_active() || calls_sealed())
		return;
	forks++;
	change_fork_begin();
}

void fork_after_parent(void)
{
	if (!forks)
		return;
	forks--;
	change_fork_end();
}

/* Returns whether a point of the attachment is on and for the child. */
static bool attachment_has_child(struct loaded_attachment *attachment)
{
	if (!attachment->manifest)
		return false;
	if (attachment->header->flags & AGENT_ATTACHMENT_CHILDREN && !attachment->inherited &&
	    attachment_names(attachment, agent.pid, agent.start_time))
		attachment->inherited = agent.pid;
	for (uint32_t i = 0; i < attachment->manifest->npoints; i++) {
		const struct manifest_point *point = &manifest_points(attachment->manifest)[i];

		if (attachment->on[i] && (!point->pid || point->pid == attachment->inherited))
			return true;
	}
	return false;
}

/* agent.pid is still the parent's. Sets `inherited` of all attachments, so it does not stop at the first. */
static bool child_is_in_scope(void)
{
	bool in_scope = false;

	for (unsigned i = 0; i < SESSIONS_MAX; i++)
		for (size_t k = 0; k < nattachments(&agent.sessions[i]); k++)
			in_scope |= attachment_has_child(attachments_of(&agent.sessions[i])[k]);
	return in_scope;
}

static void child_reset(void)
{
	thread_forget();
	lifecycle.broken |= change_forked();
	lifecycle.forked = getpid();
	lifecycle.raw = false;
	agent.lock.word = 0;
	agent.unloading = 0;
	forks = 0;
	agent_forked();
	memset(agent.flight, 0, sizeof(agent.flight));
}

void fork_after_child(void)
{
	bool in_scope;

	if (!lifecycle.begun)
		calls_forked();
	if (!lifecycle.begun && !thread_tid())
		return;
	child_reset();
	if (calls_sealed()) {
		regions_close();
		agent.pid = 0; /* the agent does nothing in this child */
		return;
	}
	/* Also if no session is active: a later session reuses the regions of those that have ended. */
	memset(&agent_thread, 0, sizeof(agent_thread));
	regions_close();
	if (!change_active())
		return;
	in_scope = !lifecycle.broken && child_is_in_scope();
	if (in_scope && agent_start(false)) {
		word_wait_until(&lifecycle.ready, 1, 1000);
		if (agent.narmed)
			readers_wait();
	}
}
