/* SPDX-License-Identifier: MIT */
/* Loads the agent into a process that runs without it. */
#ifndef RUNTIME_AGENT_INJECT_H
#define RUNTIME_AGENT_INJECT_H

#include <sys/types.h>

/*
 * Makes a thread of the process load the agent's library; does nothing if the process has an agent. Returns -EBUSY if
 * no thread could be used, -ETIMEDOUT if the library is still being loaded and may be loaded later, or another error.
 * All errors have a message. The process is as it was before after any error other than -ETIMEDOUT.
 */
int agent_inject(pid_t pid, const char *library);

#endif
