/* SPDX-License-Identifier: MIT */
/* The agent's socket, for controllers: control.c. */
#ifndef RUNTIME_AGENT_INPROC_CONTROL_H
#define RUNTIME_AGENT_INPROC_CONTROL_H

#include <stdbool.h>

/* Makes the socket STATE/agents/PID, and listens. Returns -1 on errors. */
int control_open(int store);
/* Removes the socket's name. */
void control_close(int store);
/*
 * Serves one peer until it leaves, is silent for too long, or wake becomes readable.
 * Returns false if there was no peer.
 */
bool control_serve(int listener, int wake, int store);

#endif
