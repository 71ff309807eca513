/* SPDX-License-Identifier: MIT */
/* The process that holds what agents have counted, so that it outlives them: keeper.c. */
#ifndef RUNTIME_AGENT_KEEPER_H
#define RUNTIME_AGENT_KEEPER_H

#include "runtime/agent/session.h"

/* Sees to it that there is one: 0, or -errno, and then counts of processes that are killed are lost. */
int agent_keeper_start(const struct agent_store *store);
/* Has it write down what is left of processes that have ended. */
void agent_keeper_settle(const struct agent_store *store);

#endif
