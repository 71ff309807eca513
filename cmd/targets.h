/* SPDX-License-Identifier: MIT */
/* The processes whose end ends a command that arms probes for itself. */
#ifndef CMD_TARGETS_H
#define CMD_TARGETS_H

#include <stdbool.h>
#include <stddef.h>

#include "cmd/arming.h"

/* Zeroed: none. */
struct target_processes {
	int *pidfds; /* of those that have not ended */
	size_t n;
	bool exist; /* the command ends with the last of them */
};

/*
 * Adds the processes of -p, if the request has no wider scope, and COMMAND. Returns false, with an error message, if a
 * process may live but cannot be waited for.
 */
bool targets_open(struct target_processes *targets, struct options *options, const struct arming *arming);
/* Returns whether there are targets and all have ended. */
bool targets_ended(struct target_processes *targets);
void targets_close(struct target_processes *targets);

#endif
