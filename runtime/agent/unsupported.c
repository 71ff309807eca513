/* SPDX-License-Identifier: MIT */
/* What needs calls in threads of other processes, on CPUs for which there is no tracee-CPU.c. */
#include <errno.h>

#include "base/error.h"
#include "runtime/agent/inject.h"
#include "runtime/agent/tracee.h"
#include "runtime/agent/wake.h"

#ifndef TRACEE_SUPPORTED

int wake_call(struct process *process)
{
	struct agent_wake_entry entry;
	uint64_t at;
	int err = wake_entry_find(process, &at, &entry);

	if (err || entry.tid)
		return err;
	return error_set(EOPNOTSUPP,
	                 "pid %d: the agent sleeps, and cannot be woken from outside on this CPU: start the process by "
	                 "-b agent -- COMMAND, or with PROBEPOINT_LISTEN=1 in its environment",
	                 process->pid);
}

int agent_inject(pid_t pid, const char *library)
{
	(void)library;
	return error_set(EOPNOTSUPP, "pid %d: the agent cannot be loaded into a running process on this CPU", pid);
}

#endif
