/* SPDX-License-Identifier: MIT */
/*
 * What really stands in memory. Registering a uprobe can succeed and arm nothing
 * (a shared or writable mapping, an instruction that the kernel refuses later), so
 * nothing is called armed before its bytes were read back.
 */
#ifndef RUNTIME_KERNEL_VERIFY_H
#define RUNTIME_KERNEL_VERIFY_H

#include "runtime/backend.h"

struct pp_session;

/*
 * Compares memory with the file in every process that is going to get the trap: in the point's process, or in all that
 * map the file. Refuses points where they differ, because the kernel runs the file's instruction after a hit and puts the
 * file's byte back at the end: a program that changed its own code would crash, and a debugger would lose its breakpoint.
 * A trap that a session of ours or another tool's uprobe put there is no difference. session is the one whose lock is
 * held. Points of one image and process stand together.
 */
int verify_unchanged(struct arm_point *const *points, size_t npoints, const struct pp_session *session);

/*
 * Sets verified, pending, error and reason of the points that have no error yet.
 * Points of one image and process stand together. The misses are added.
 */
int verify_armed(struct arm_point *const *points, size_t npoints, struct arm_misses *misses);

/* Waits until no process has a trap at these points any more, none went for 20 s, or *interrupt (may be NULL) is set. */
struct verify_place {
	dev_t device;
	ino_t inode;
	uint64_t offset;
};
void verify_disarmed(const struct verify_place *places, size_t n, const volatile int *interrupt);

#endif
