/* SPDX-License-Identifier: MIT */
/* Scanning the state directory: scan.c. */
#ifndef RUNTIME_AGENT_INPROC_SCAN_H
#define RUNTIME_AGENT_INPROC_SCAN_H

#include <stdbool.h>

/*
 * Reads the sessions' files again, and arms and disarms as they say. store: the state
 * directory, or -1. For the agent's thread, with agent.lock held. Returns false if a
 * library has been unloading for too long.
 */
bool sessions_rescan(int store);
/* Returns whether a private session that the agent knows has lost its owner, so that a scan will disarm it. */
bool sessions_have_orphan(int store);
/* Reads the sessions' files when the process begins, without arming. Returns whether any is for the process. */
bool sessions_concern_process(int store);

#endif
