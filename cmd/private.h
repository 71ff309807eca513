/* SPDX-License-Identifier: MIT */
/* Commands that arm probes for themselves, in a private session, which ends with the command. */
#ifndef CMD_PRIVATE_H
#define CMD_PRIVATE_H

#include "cmd/arming.h"
#include "cmd/options.h"
#include "cmd/targets.h"

struct private_session {
	struct pp_session *session;
	struct pp_request *request;
	struct target_processes targets;
};

/*
 * Arms the probes of the command line and reports what was refused. Returns the exit status: the session exists if it is
 * STATUS_DONE or STATUS_PART. The caller calls private_end().
 */
enum status private_arm(struct private_session *private, struct options *options, struct arming *arming);
void private_end(struct private_session *private);

/*
 * Starts COMMAND as a child that waits, calls run, which arms probes and lets the child run (child_release()), and waits for the
 * child. Returns the exit status.
 */
int private_run_command(struct options *options, struct arming *arming, enum status (*run)(void *arg), void *arg);

#endif
