/* SPDX-License-Identifier: MIT */
#include "cmd/targets.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <unistd.h>

#include "cmd/alloc.h"
#include "cmd/ui.h"

void targets_close(struct target_processes *targets)
{
	for (size_t i = 0; i < targets->n; i++)
		close(targets->pidfds[i]);
	free(targets->pidfds);
	*targets = (struct target_processes){ 0 };
}

/* Adds a process. Returns false, with an error message, if it may live but cannot be waited for. */
static bool target_add(struct target_processes *targets, struct options *o, pid_t pid)
{
	int fd = pidfd_open(pid, 0), err = errno;
	bool is_thread = fd < 0 && (err == EINVAL || err == ENOENT);

	targets->exist = true;
	if (fd >= 0) {
		targets->pidfds = xreallocarray(targets->pidfds, targets->n + 1, sizeof(*targets->pidfds));
		targets->pidfds[targets->n++] = fd;
		return true;
	}
	if (err == ESRCH || (is_thread && kill(pid, 0) && errno == ESRCH)) /* it has ended */
		return true;
	if (is_thread)
		ui_error(o, "pid %d: this is a thread, not a process; name its process", pid);
	else
		ui_error(o, "pid %d: cannot open the process: %s", pid, strerror(err));
	return false;
}

bool targets_open(struct target_processes *targets, struct options *o, const struct arming *arming)
{
	/* Processes in a wider scope can outlive those of -p. */
	bool is_wider = o->children || o->pgrp || o->cgroup, added = true;

	for (size_t i = 0; i < o->npids && !is_wider && added; i++)
		added = target_add(targets, o, o->pids[i]);
	if (added && arming->argv)
		added = target_add(targets, o, arming->child.pid);
	if (!added)
		targets_close(targets);
	return added;
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
