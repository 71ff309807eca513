/* SPDX-License-Identifier: MIT */
/* The agent's library, for a command that is to be started with it. */
#ifndef CMD_AGENT_PRELOAD_H
#define CMD_AGENT_PRELOAD_H

#include "cmd/options.h"

/*
 * The list that LD_PRELOAD is to be for a command, in *list (freed by free()): the agent, PROBEPOINT_AGENT or
 * else the one installed beside the commands, before what stands there already. NULL where no agent was asked
 * for, or where the command NAME is for another C library or loader than the agent, so that it could not
 * start with it. False: the agent was asked for and cannot be had, and that was told.
 */
bool preload_list(struct options *options, const char *name, char **list);

/* Loads it into the running processes that were named. False: not into all of them, and that was told. */
bool preload_inject(struct options *options);

#endif
