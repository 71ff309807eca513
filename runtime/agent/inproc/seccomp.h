/* SPDX-License-Identifier: MIT */
/* System calls of the program that set filters: seccomp.c. */
#ifndef RUNTIME_AGENT_INPROC_SECCOMP_H
#define RUNTIME_AGENT_INPROC_SECCOMP_H

#include <stdbool.h>

/*
 * Prepares for a system call that the program is about to make. Returns whether the
 * agent's thread was stopped for it; the caller then calls
 * agent_restart() or agent_stay_stopped() after the system call.
 */
bool seccomp_before_call(long number, unsigned long a, unsigned long b, unsigned long c);

#endif
