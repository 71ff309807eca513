/* SPDX-License-Identifier: MIT */
/* The agent's library, for a command that is to be started with it. */
#ifndef CMD_PRELOAD_H
#define CMD_PRELOAD_H

#include "cmd/options.h"

/*
 * The list that LD_PRELOAD is to be for a command, in *list (freed by free()): the agent, PROBEPOINT_AGENT or
 * else the one installed beside the commands, before what stands there already. NULL where no agent was asked
 * for. False: it is not to be found, and that was told.
 */
bool preload_list(struct options *options, char **list);

/* Loads it into the running processes that were named. False: not into all of them, and that was told. */
bool preload_inject(struct options *options);

#endif
