/* SPDX-License-Identifier: MIT */
#include "runtime/agent/sleepers.h"

#include <errno.h>
#include <probepoint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/array.h"
#include "base/error.h"
#include "runtime/agent/reach.h"
#include "runtime/agent/wake.h"

#define TRIES 500      /* with a pause of 2 ms: a second */
#define TRIES_AWAKE 50 /* after so many the agent is woken again */

/*
 * Wakes the agent of a process if it sleeps. Returns as wake_call(), or -EAGAIN if the process may still load an agent.
 */
static int sleeper_wake(pid_t pid)
{
	struct process *process;
	int err;

	if (!wake_is_own(pid))
		return -ENOENT;
	err = process_open(pid, &process);
	if (err)
		return err;
	err = process_read_maps(process);
	if (!err)
		err = wake_call(process);
	if (err == -ENOENT && wake_is_loading(process))
		err = error_set(EAGAIN,
		                "pid %d: the process is just starting, and has not loaded its libraries; try again",
		                pid);
	process_free(process);
	return err;
}

int agent_wake_and_connect(const struct agent_dir *dir, pid_t pid, struct agent_peer *peer)
{
	const struct timespec pause = { .tv_nsec = 2000000 };
	int err = agent_connect(dir, pid, peer), woken = -EAGAIN;

	/* The agent of a process in a container makes its socket in there. */
	if (err == -ENOENT && agent_other_namespace(pid) && agent_check_reach(dir, pid))
		return -ENOENT;
	for (int i = 0; err == -ENOENT && i < TRIES; i++) {
		/* An agent that was about to fall asleep counts as awake, and sleeps now. */
		if (woken == -EAGAIN || i % TRIES_AWAKE == TRIES_AWAKE - 1)
			woken = sleeper_wake(pid);
		if (woken && woken != -EAGAIN)
			return woken;
		if (i)
			nanosleep(&pause, NULL);
		err = agent_connect(dir, pid, peer);
	}
	if (err != -ENOENT)
		return err;
	if (!woken)
		return error_set(
			ESRCH,
			"pid %d: the agent is awake, but has no socket in '%s/agents': XDG_RUNTIME_DIR may differ "
			"there, or the first thread may have other privileges",
			pid, dir->path);
	return woken;
}

struct wake_pass {
	const struct agent_dir *dir;
	struct agent_sleepers *failed;
};

static int wake_one(pid_t pid, void *arg)
{
	const struct wake_pass *w = arg;
	struct agent_sleepers *failed = w->failed;
	struct agent_peer peer;
	int err;

	/* Its hits are those of its parent, whose memory it uses. */
	if (process_is_in_vfork(pid))
		return 0;
	/* An agent that would not see the session is not woken. */
	if (agent_is_elsewhere(w->dir, pid)) {
		err = agent_check_reach(w->dir, pid);
	} else {
		err = agent_wake_and_connect(w->dir, pid, &peer);
		if (!err)
			agent_disconnect(&peer);
	}
	if (!err)
		return 0;
	/* A process that has ended meanwhile does not matter. */
	if (err == -ENOENT || !process_start_time(pid))
		return 0;
	err = ALLOC_GROW(failed->at, failed->n + 1, failed->room);
	if (err)
		return err;
	failed->at[failed->n++] = (struct agent_sleeper){ pid, strdup(pp_error()) };
	return 0;
}

int agent_wake_all(const struct agent_dir *dir, struct agent_sleepers *failed)
{
	return agent_each_mapped(wake_one, &(struct wake_pass){ dir, failed });
}

void agent_sleepers_free(struct agent_sleepers *sleepers)
{
	for (size_t i = 0; i < sleepers->n; i++)
		free(sleepers->at[i].reason);
	free(sleepers->at);
	*sleepers = (struct agent_sleepers){ 0 };
}
