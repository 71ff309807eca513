/* SPDX-License-Identifier: MIT */
/*
 * Checks of the targets' memory before and after arming, and after disarming.
 *
 * The registration of a uprobe can succeed without arming anything (a shared or writable mapping, an instruction that
 * the kernel rejects later). So a point is reported as armed only after its bytes were read back.
 *
 * All functions expect points of one image and process to be adjacent.
 */
#ifndef RUNTIME_KERNEL_VERIFY_H
#define RUNTIME_KERNEL_VERIFY_H

#include "runtime/backend.h"

struct pp_session;

/*
 * Before arming: compares memory with the file in each process that will get the breakpoint, which is the point's
 * process or every process that maps the file. Refuses points where the memory differs, because the kernel executes the
 * file's instruction after a hit, and writes the file's bytes when it disarms: a program that changed its own code
 * would crash, and a debugger would lose its breakpoint. The breakpoint of another session, or of a uprobe of another
 * tool, is accepted. The caller holds the lock of the session. Returns 0 or a negative errno.
 */
int verify_unchanged(struct arm_point *const *points, size_t npoints, const struct pp_session *session);

/*
 * After arming: sets verified, pending, error and reason of the points that do not have an error yet, and adds the
 * processes in which points for every process are not armed to the misses. Returns 0 or a negative errno.
 */
int verify_armed(struct arm_point *const *points, size_t npoints, struct arm_misses *misses);

struct verify_place {
	dev_t device;
	ino_t inode;
	uint64_t offset;
	const struct manifest_file *file; /* the registry knows the point by this file and this offset */
	uint64_t site_offset;
};

/* How verify_disarmed() waits. */
struct verify_wait {
	uint64_t give_up_ns;           /* gives up if no breakpoint disappears for so long ... */
	const volatile int *interrupt; /* ... or if this is set; may be NULL */
	/* Returns whether another session has armed the place, whose breakpoint therefore stays; may be NULL. */
	bool (*is_armed)(const struct verify_place *place, void *arg);
	void *arg;
};

/* What verify_disarmed() has not seen disarmed. */
struct verify_rest {
	size_t sites;  /* that still have a breakpoint, in each process */
	size_t unread; /* processes whose memory could not be read */
	pid_t pid;     /* one of these processes */
};

/* After disarming: waits until no process has a breakpoint at the places. Places of one file are adjacent. */
struct verify_rest verify_disarmed(const struct verify_place *places, size_t n, const struct verify_wait *wait);

#endif
