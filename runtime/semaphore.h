/* SPDX-License-Identifier: MIT */
#ifndef RUNTIME_SEMAPHORE_H
#define RUNTIME_SEMAPHORE_H

#include "runtime/backend.h"

/* A semaphore is a 16-bit number that the kernel raises for each armed site. */
#define SEMAPHORE_MAX 32767

/*
 * Refuses, of the points that have no error yet, those that would raise a semaphore above what it
 * holds (programs take it as signed), with what is armed already in the session and in others. -ENOMEM.
 */
int semaphores_check(const struct pp_session *session, struct arm_point *points, size_t n);

#endif
