/* SPDX-License-Identifier: MIT */
/*
 * Agents that sleep: in a process that maps the agent's library and for which nothing
 * is armed there is neither a thread nor a socket of it.
 */
#ifndef RUNTIME_AGENT_WAKE_H
#define RUNTIME_AGENT_WAKE_H

#include <stdbool.h>
#include <sys/types.h>

/*
 * Has a thread of the process make the agent's. 0: it is awake, or was, and its
 * socket will come; -ENOENT: it has no agent; -EAGAIN: it is about to be ready, or has
 * none; others too with a sentence. The process goes on as if nothing had been.
 */
int agent_wake(pid_t pid);
/* Whether the library is mapped there. */
bool agent_is_mapped(pid_t pid);
/* Calls fn for each process of this user that maps the library; stops with what is not 0. */
int agent_each_mapped(int (*fn)(pid_t pid, void *arg), void *arg);

#endif
