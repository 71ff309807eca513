/* SPDX-License-Identifier: MIT */
/* Changes by the agent's thread, and fork(2) in the program's threads: change.c. */
#ifndef RUNTIME_AGENT_INPROC_CHANGE_H
#define RUNTIME_AGENT_INPROC_CHANGE_H

#include <stdbool.h>

/* Surround what the agent's thread changes. Between them agent.lock is held, and no thread forks. */
void change_begin(void);
void change_end(void);

/* Returns whether something was armed or counted at the end of the last change. */
bool change_active(void);

/* Surround fork(2) in the parent. */
void change_fork_begin(void);
void change_fork_end(void);
/* In a child: forgets the parent's changes. Returns whether one was not finished. */
bool change_forked(void);

#endif
