/* SPDX-License-Identifier: MIT */
#ifndef RUNTIME_KERNEL_SEMAPHORE_H
#define RUNTIME_KERNEL_SEMAPHORE_H

#include <sys/types.h>

#include "runtime/backend.h"

/* A semaphore is a 16-bit number that the kernel raises for each armed site. */
#define SEMAPHORE_MAX 32767

/*
 * Refuses, of the points that have no error yet, those that would raise a semaphore above what it
 * holds (programs take it as signed), with what is armed already in the session and in others. -ENOMEM.
 */
int semaphores_check(const struct pp_session *session, struct arm_point *const *points, size_t n);

/*
 * Which copy of a semaphore counts. The kernel has one for each process and place: the first private and writable
 * mapping that covers the semaphore's file offset. That is the wrong one, or not the only one, if
 *
 * - the last page of the RELRO segment holds the semaphore as well (ld.lld, mold). It is writable while a program is
 *   loaded, so in a process that starts after arming the kernel would raise RELRO's copy, and later find the right one.
 *   The kernel is not told of such a semaphore: it would lower what it did not raise, and a process can always start
 *   between the last look at what there is and that.
 * - the file is loaded several times (dlmopen).
 *
 * A semaphore in .bss is in no file, so the kernel raises none. Every copy of these two is raised by hand.
 *
 * A semaphore that the kernel will lower must not be 0 then: the kernel would leave its trap in the text.
 */

/* A copy that was raised by hand, and that the kernel does not lower. */
struct semaphore_raised {
	uint64_t address, offset; /* offset: see semaphore_key() */
	uint64_t start_time;      /* the process's, see process_start_time() */
	uint64_t device, inode, text,
		text_offset;   /* the file, and where the process has it: the address of a place in it */
	uint64_t exec, random; /* which program run it is: forks have the same, after exec() they are others */
	uint32_t pid, reserved;
};

/* What names the semaphore of a site in its file: its offset, or DESC_BY_HAND and its address. 0: there is none. */
uint64_t semaphore_key(const struct pp_site *site);

/* For each copy that is raised by hand: once before it is raised, so that it can be lowered. 0 or a negative errno. */
typedef int semaphore_record(const struct semaphore_raised *raised, void *arg);

/* Raises the copies that the armed points read and that the kernel did not raise. Returns 0, -ENOMEM, or record's error. */
int semaphores_raise(struct arm_point *const *points, size_t n, semaphore_record *record, void *arg);
/* The same for the points of one process, of which the kernel has told that it maps the file from now on. */
int semaphores_raise_in(const struct process *process, struct arm_point *const *points, size_t n,
                        semaphore_record *record, void *arg);
/*
 * Lowers copies by the 1 by which they were raised, in the processes that still live and in those that were forked from
 * them since: a fork inherits the raised value.
 */
struct semaphore_lowering {
	struct semaphore_raised raised;
	uint32_t tick; /* when it was recorded: see semaphore_tick() */
	bool taken;
};
/* take deletes the record, just before it is lowered; false: another process of ours has, and lowers it. */
void semaphores_lower(struct semaphore_lowering *list, size_t n, bool (*take)(const struct semaphore_raised *, void *),
                      void *arg);
/* Clock ticks since boot, as process_start_time() counts them: the value that goes with a record. */
uint32_t semaphore_tick(void);

/* True if the kernel would raise no copy, or in processes that start later another one than the site reads. */
bool semaphore_by_hand(const struct pp_site *site);

/* Points that are about to be taken out: sees to it that the kernel can lower their semaphores. */
struct semaphore_place {
	dev_t device;
	ino_t inode;
	uint64_t offset, semaphore_offset; /* places of one file and semaphore stand together */
	pid_t pid;                         /* 0: any */
};
void semaphores_settle(struct semaphore_place *places, size_t n);

#endif
