/* SPDX-License-Identifier: MIT */
#include "cmd/targets.h"

#include <poll.h>
#include <sys/pidfd.h>
#include <unistd.h>

#include "cmd/alloc.h"

static void target_add(struct target_processes *targets, pid_t pid)
{
	int fd = pidfd_open(pid, 0);

	targets->exist = true;
	if (fd < 0)
		return;
	targets->pidfds = xreallocarray(targets->pidfds, targets->n + 1, sizeof(*targets->pidfds));
	targets->pidfds[targets->n++] = fd;
}

void targets_open(struct target_processes *targets, const struct options *o, const struct arming *arming)
{
	/* Processes in a wider scope can outlive those of -p. */
	bool is_wider = o->children || o->pgrp || o->cgroup;

	for (size_t i = 0; i < o->npids && !is_wider; i++)
		target_add(targets, o->pids[i]);
	if (arming->argv)
		target_add(targets, arming->child.pid);
}

bool targets_ended(struct target_processes *targets)
{
	if (!targets->exist)
		return false;
	for (size_t i = 0; i < targets->n; i++) {
		struct pollfd p = { .fd = targets->pidfds[i], .events = POLLIN };

		if (poll(&p, 1, 0) <= 0)
			return false;
		close(targets->pidfds[i]);
		targets->pidfds[i--] = targets->pidfds[--targets->n];
	}
	return true;
}
