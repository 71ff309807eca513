/* SPDX-License-Identifier: MIT */
/*
 * Time limits for agents that do not reply, because their process is stopped, frozen or hostile. After a missing
 * reply, the controller waits for a pause before it asks the agent again, and then limits the wait for the reply to a
 * short time, so that one process does not delay the others. All state belongs to the calling thread.
 */
#ifndef RUNTIME_AGENT_BACKOFF_H
#define RUNTIME_AGENT_BACKOFF_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Records that the agent did not reply. Adds a notice the first time. Doubles the pause, up to 4 s, each time. */
void backoff_add(pid_t pid);
/* Records that the agent replied. */
void backoff_clear(pid_t pid, uint64_t start_time);
/* Returns whether the pause has not passed yet. */
bool backoff_is_active(pid_t pid);
/*
 * Returns how long to wait for a reply, in ms: limit_ms, or less after missing replies of this agent or of all agents.
 */
unsigned backoff_timeout(pid_t pid, unsigned limit_ms);
/* Adds to the time that was lost waiting for agents that did not reply. */
void backoff_spend(uint64_t ns);

#endif
