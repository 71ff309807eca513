/* SPDX-License-Identifier: MIT */
#ifndef RUNTIME_AGENT_INPROC_KEEPER_H
#define RUNTIME_AGENT_INPROC_KEEPER_H

/*
 * Sends those shared memory regions to the keeper that it does not have yet, and notes in
 * the directory of each session whether the keeper has its region. The caller holds
 * agent.lock.
 */
void shms_keep(int store);

#endif
