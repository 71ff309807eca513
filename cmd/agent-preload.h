/* SPDX-License-Identifier: MIT */
/* Gets the agent's library into processes: by LD_PRELOAD into a new one, by injection into running ones. */
#ifndef CMD_AGENT_PRELOAD_H
#define CMD_AGENT_PRELOAD_H

#include "cmd/options.h"

/*
 * Decides whether the command `name` starts with the agent, and stores its LD_PRELOAD in *list, which the caller frees:
 * the agent's library, then what LD_PRELOAD contains already. *list is NULL if the command does not start with the
 * agent. The library is the one that PROBEPOINT_AGENT names, or else the one installed with the commands.
 *
 * Returns false, and reports an error, if -b agent is given and the agent cannot be used.
 */
bool preload_list(struct options *options, const char *name, char **list);

/* Loads the agent into the processes of -p. Returns false, and reports an error, at the first failure. */
bool preload_inject(struct options *options);

#endif
