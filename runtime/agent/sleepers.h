/* SPDX-License-Identifier: MIT */
/* Connections to agents that may be asleep: an agent sleeps while nothing is armed in its process (wake.h). */
#ifndef RUNTIME_AGENT_SLEEPERS_H
#define RUNTIME_AGENT_SLEEPERS_H

#include "runtime/agent/client.h"

/*
 * Connects as agent_connect() does, and wakes the agent first if it sleeps. Waits for up to a second for the agent of a
 * process that has just started. Returns -EAGAIN, with a message, if that agent is not ready after this time.
 */
int agent_wake_and_connect(const struct agent_dir *dir, pid_t pid, struct agent_peer *peer);

/* Processes whose agents could not be woken. Zeroed: none. */
struct agent_sleepers {
	struct agent_sleeper {
		pid_t pid;
		char *reason; /* NULL: out of memory */
	} * at;
	size_t n, room;
};
/* Wakes all agents of this user that sleep. Adds those that it cannot wake to failed. Returns 0 or -ENOMEM. */
int agent_wake_all(const struct agent_dir *dir, struct agent_sleepers *failed);
void agent_sleepers_free(struct agent_sleepers *sleepers);

#endif
