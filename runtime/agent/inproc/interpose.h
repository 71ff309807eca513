/* SPDX-License-Identifier: MIT */
/* The functions of the C library that the agent interposes: interpose.c. */
#ifndef RUNTIME_AGENT_INPROC_INTERPOSE_H
#define RUNTIME_AGENT_INPROC_INTERPOSE_H

#include <stdbool.h>

/* Finds the C library's functions. */
void interpose_begin(void);
/* Returns whether the program's calls reach the agent's functions. */
bool interpose_works(void);

#endif
