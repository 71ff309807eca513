/* SPDX-License-Identifier: MIT */
/* Whether hits may make system calls: calls.c. */
#ifndef RUNTIME_AGENT_INPROC_CALLS_H
#define RUNTIME_AGENT_INPROC_CALLS_H

#include <stdbool.h>

/* Call this once, in a thread of the C library. */
void calls_init(void);
/* Call this in a child whose parent's agent had no thread yet. */
void calls_forked(void);
/* Call this in the agent's first thread, before anything is armed. */
void calls_settle(void);
/* Reads the filters of all threads from /proc, before anything is armed; sets agent.calls. */
void calls_rescan(void);
/* Returns whether hits may make system calls. */
bool calls_allowed(void);
/* Returns whether the calling thread has a filter. */
bool calls_filtered(void);
/* Returns whether a filter may be in force, so that the agent must not make system calls in the program's threads. */
bool calls_sealed(void);

#endif
