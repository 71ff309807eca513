/* SPDX-License-Identifier: MIT */
/* Checks whether this command can reach an agent. */
#ifndef RUNTIME_AGENT_REACH_H
#define RUNTIME_AGENT_REACH_H

#include "runtime/agent/session-files.h"

/* Returns the namespace ("pid" or "mount") of the process that differs from this command's; NULL: both are the same. */
const char *agent_other_namespace(pid_t pid);
/*
 * Returns 0, or an error with a message if the agent of the process makes its socket where this command does not look:
 * a process in another pid namespace has another number there, and the state directory depends on the root directory
 * and the environment of the process.
 */
int agent_check_reach(const struct agent_dir *dir, pid_t pid);
/* Returns the inode number of this process's pid namespace, 0 if it is not known. */
uint32_t agent_pid_namespace(void);
/*
 * Whether the agent of the process uses another state directory for certain: the process has had one XDG_RUNTIME_DIR since it
 * began. If the variable is missing or has changed, this is not certain.
 */
bool agent_is_elsewhere(const struct agent_dir *dir, pid_t pid);

#endif
