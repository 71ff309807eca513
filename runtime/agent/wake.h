/* SPDX-License-Identifier: MIT */
/*
 * Agents that sleep. A process that maps the agent's library and in which nothing is armed has neither a thread nor a
 * socket of the agent.
 */
#ifndef RUNTIME_AGENT_WAKE_H
#define RUNTIME_AGENT_WAKE_H

#include "runtime/agent/protocol.h"
#include "runtime/process.h"

/* Returns whether the process maps the agent's library. */
bool agent_is_mapped(pid_t pid);
/* Calls fn for each process of this user that maps the library. Stops when fn does not return 0, and returns that. */
int agent_each_mapped(int (*fn)(pid_t pid, void *arg), void *arg);

/*
 * Returns whether the loader of a process is about to map libraries, so that the agent may follow. The maps of the
 * process have been read. The loader maps the libraries of LD_PRELOAD before the C library.
 */
bool wake_is_loading(const struct process *process);

/* Returns whether the process belongs to this user: agents reply only to their own user. */
bool wake_is_own(pid_t pid);

/*
 * Finds the wake entry of a process whose maps have been read. Stores its address and a copy. Returns -ENOENT if the
 * process has no agent, -EAGAIN, with a message, if the agent is not ready yet or the library is not an agent, or
 * another error with a message.
 */
int wake_entry_find(const struct process *process, uint64_t *at, struct agent_wake_entry *entry);
/* Reports that this user may not trace the process. Returns -EPERM. */
int wake_fail_trace(pid_t pid);
/* Reports that the process uses its parent's memory (process_is_in_vfork()). Returns -EAGAIN. */
int wake_fail_vfork(pid_t pid);

/*
 * Makes a thread of a process whose maps have been read start the agent's thread, unless it runs already. The process
 * continues as before. Returns 0 if the agent is awake; its socket appears soon. Returns errors as wake_entry_find().
 */
int wake_call(struct process *process);

#endif
