/* SPDX-License-Identifier: MIT */
/* probe-trace --snapshot: shows or stores the records that a flight recorder has in memory. */
#ifndef CMD_SNAPSHOT_H
#define CMD_SNAPSHOT_H

#include <stdbool.h>
#include <stdint.h>

#include "cmd/arming.h"
#include "cmd/options.h"
#include "cmd/sink.h"

#define SNAPSHOT_EXIT "exit" /* of --trigger: the end of the processes */

struct snapshot_command {
	struct options *options;
	struct arming *arming;
	struct sink *sink;
	const char *trigger;   /* a pattern, or SNAPSHOT_EXIT; NULL: do not wait */
	const char *directory; /* NULL: print */
	uint64_t limit;        /* records; 0: all */
};

/* Checks the command line, at ARGP_KEY_END. Adds the trigger to the patterns. */
error_t snapshot_check(struct argp_state *state, const struct snapshot_command *s);
/* Waits for the trigger, and takes one snapshot of the session. Returns the exit status. */
enum status snapshot_run(const struct snapshot_command *s);

#endif
