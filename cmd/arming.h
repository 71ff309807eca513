/* SPDX-License-Identifier: MIT */
/* What probe-enable and probe-trace have in common: arm what the command line asks for, and tell what became of it. */
#ifndef CMD_ARMING_H
#define CMD_ARMING_H

#include <probepoint.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "cmd/status.h"

struct options;
struct command;

struct arming {
	const char **patterns;
	size_t npatterns;
	const struct command *command; /* NULL: none */
	bool record, overwrite, calls;
	double budget; /* a share of one CPU; 0: none */
	bool hold;     /* what is armed is to end with this process */
};

/*
 * The request that the command line stands for. NULL: it is told what is wrong, and *status is set.
 * What can be wrong with the words alone ends the process (STATUS_USAGE) if usage is asked for.
 */
struct pp_request *arming_request(struct options *options, const struct arming *arming, enum status *status);

/*
 * Arms and reports: a line for each probe (or the JSON document) to out, NULL for none; a summary of what was
 * refused in any case.
 */
enum status arming_run(struct options *options, const struct arming *arming, struct pp_session *session,
                       struct pp_request *request, FILE *out);

#endif
