/* SPDX-License-Identifier: MIT */
/*
 * Time limits for agents that do not reply, because their process is stopped, frozen or hostile. The controller does
 * not ask one of these again before a pause has passed, and then waits for a short time only, so that one process does
 * not delay the others. All state belongs to the calling thread.
 */
#ifndef RUNTIME_AGENT_BACKOFF_H
#define RUNTIME_AGENT_BACKOFF_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Notes that the agent did not reply, and adds a notice the first time. Each time doubles the pause, up to 4 s. */
void backoff_add(pid_t pid);
/* Notes that the agent replied. */
void backoff_clear(pid_t pid, uint64_t start_time);
/* Whether the pause has not passed yet. */
bool backoff_is_active(pid_t pid);
/*
 * Returns how long to wait for a reply, in ms: limit_ms, or less if this agent or all agents together have cost time.
 */
unsigned backoff_timeout(pid_t pid, unsigned limit_ms);
/* Adds to the time that was spent in vain on all agents. */
void backoff_spend(uint64_t ns);

#endif
