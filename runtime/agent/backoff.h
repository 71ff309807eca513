/* SPDX-License-Identifier: MIT */
/*
 * Time limits for agents that do not reply, because their process is stopped, frozen or hostile. The controller asks
 * such an agent again only after a pause, and then waits for a short time only, so that one process does not delay the
 * others. All state belongs to the calling thread.
 */
#ifndef RUNTIME_AGENT_BACKOFF_H
#define RUNTIME_AGENT_BACKOFF_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Returns whether this is the first call for the process, so that a caller reports it once. */
bool backoff_is_new(pid_t pid);
/* Records that the agent did not reply. Each call doubles the pause, up to 4 s. */
void backoff_add(pid_t pid);
/* Records that the agent replied, and ends its pause. */
void backoff_clear(pid_t pid, uint64_t start_time);
/* Returns true if the pause of the agent has not passed yet. */
bool backoff_is_active(pid_t pid);
/*
 * Returns how long to wait for a reply, in ms: limit_ms, or less if time was already spent in vain on this agent or on
 * all agents together.
 */
unsigned backoff_timeout(pid_t pid, unsigned limit_ms);
/* Adds to the time that was lost waiting for agents that did not reply. */
void backoff_spend(uint64_t ns);

#endif
