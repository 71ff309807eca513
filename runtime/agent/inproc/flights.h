/* SPDX-License-Identifier: MIT */
/* What hits do that other threads have to wait for: agent.flight. */
#ifndef RUNTIME_AGENT_INPROC_FLIGHTS_H
#define RUNTIME_AGENT_INPROC_FLIGHTS_H

#include <stdbool.h>

/*
 * Waits until the system calls of hits, the rings being taken and the copies to flight recorders that are in flight have
 * ended, for a limited time. Returns whether they have.
 */
bool flights_wait(void);

#endif
