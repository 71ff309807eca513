/* SPDX-License-Identifier: MIT */
/*
 * Semaphores: 16-bit numbers in targets, which the kernel increments ("raises") for each armed site and decrements
 * ("lowers") when the site is disarmed.
 *
 * 1. The kernel raises one copy of a semaphore per process and offset: the first private, writable mapping that covers
 *    the semaphore's file offset (its ref_ctr). In two cases that is the wrong copy, or not the only one:
 *    - The last page of the RELRO segment contains the semaphore as well (ld.lld, mold). This page is writable while a
 *      program is loaded. So in a process that starts after arming, the kernel would raise RELRO's copy, and later
 *      lower the other copy. The link is created without this semaphore, because a process can always start between the
 *      last check and the creation of the link, and the kernel would then lower a copy that it has not raised.
 *    - The file is loaded several times (dlmopen).
 * 2. A semaphore in .bss is not in the file, so the kernel cannot raise it.
 * 3. This backend therefore raises by hand the semaphores of RELRO pages and of .bss (semaphore_by_hand()), and the
 *    other copies of a file that is loaded several times: semaphores_raise(). The semaphore owner (semaphore-owner.c)
 *    does the same in processes that start later.
 * 4. Semaphores that were raised by hand are recorded (semaphore-raised.c) and lowered by hand: semaphores_lower().
 * 5. A semaphore that the kernel lowers must not be 0 at that time: the kernel would then leave its breakpoint in the
 *    text. semaphores_settle() ensures this before links are removed.
 */
#ifndef RUNTIME_KERNEL_SEMAPHORE_H
#define RUNTIME_KERNEL_SEMAPHORE_H

#include <sys/types.h>

#include "runtime/backend.h"

/* Returns true if the kernel cannot raise the semaphore of the site, or would raise the wrong copy of it. */
bool semaphore_by_hand(const struct pp_site *site);
/*
 * Identifies the semaphore of a site in its file: its file offset, or MANIFEST_BY_HAND and its address. 0: no
 * semaphore.
 */
uint64_t semaphore_key(const struct pp_site *site);

/*
 * Before arming: refuses points that would raise a semaphore above SEMAPHORE_MAX, together with the sites that this
 * session and others have armed. Ignores points that have an error. Returns 0 or -ENOMEM.
 */
int semaphores_check(const struct pp_session *session, struct arm_point *const *points, size_t n);

/* ---- raising by hand ---- */

/* A copy of a semaphore that was raised by hand. */
struct semaphore_raised {
	uint64_t address;
	uint64_t offset;     /* semaphore_key() */
	uint64_t start_time; /* process_start_time() of the process */
	uint64_t device, inode;
	uint64_t text, text_offset; /* where the process maps the file: the address of an offset */
	uint64_t exec, random;      /* identify the program run: a fork has the same values, until it calls exec() */
	uint32_t pid, reserved;
};

/* Called before a copy is raised. Returns 0, -EEXIST if the copy is recorded already, or another negative errno. */
typedef int semaphore_record(const struct semaphore_raised *raised, void *arg);

/*
 * After arming: raises by hand the copies that armed points read and that the kernel has not raised. Returns 0,
 * -ENOMEM, or the error of record.
 */
int semaphores_raise(struct arm_point *const *points, size_t n, semaphore_record *record, void *arg);
/* Does the same in one process. */
int semaphores_raise_in(const struct process *process, struct arm_point *const *points, size_t n,
                        semaphore_record *record, void *arg);

/* Returns the clock ticks since boot, in the unit of process_start_time(). */
uint32_t semaphore_tick(void);

struct semaphore_lowering {
	struct semaphore_raised raised;
	uint32_t tick; /* semaphore_tick() when it was recorded */
	bool taken;    /* take() has succeeded */
};

/*
 * Lowers copies by 1, in the processes in which they were raised and in those that were forked from them since: a fork
 * inherits the raised value. take deletes the record just before; it returns false if another process has deleted it
 * and lowers the copy.
 */
void semaphores_lower(struct semaphore_lowering *list, size_t n, bool (*take)(const struct semaphore_raised *, void *),
                      void *arg);

/* ---- before links are removed ---- */

struct semaphore_place {
	dev_t device;
	ino_t inode;
	uint64_t offset, semaphore_offset;
	pid_t pid; /* 0: every process */
};

/*
 * Raises the semaphores of the places to the number of breakpoints, so that the kernel can lower them. Sorts the
 * places.
 */
void semaphores_settle(struct semaphore_place *places, size_t n);

#endif
