/* SPDX-License-Identifier: MIT */
#ifndef RUNTIME_AGENT_INPROC_KEEPER_H
#define RUNTIME_AGENT_INPROC_KEEPER_H

/*
 * Sends the shared memory regions to the keeper that it does not have yet, and notes in
 * the directory of each session whether it has a keeper. agent.lock is held.
 */
void shms_keep(int store);

#endif
