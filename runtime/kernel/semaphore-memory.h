/* SPDX-License-Identifier: MIT */
/* Copies of semaphores in the memory of processes. For the semaphore-*.c files. */
#ifndef RUNTIME_KERNEL_SEMAPHORE_MEMORY_H
#define RUNTIME_KERNEL_SEMAPHORE_MEMORY_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct mapping;
struct pp_image;
struct pp_site;
struct process;

/* ---- values ---- */

/*
 * Opens the memory of a process and reads its mappings. The descriptor refers to this address space only. After the
 * next exec() reads and writes by it fail, so they never reach memory that the mappings do not describe. Returns it, or
 * a negative errno.
 */
int semaphore_memory_open(struct process *process);
bool semaphore_read(int memory, uint64_t address, uint16_t *value);
/*
 * Adds n to a semaphore, up to SEMAPHORE_MAX. Not atomic, because only tracers write semaphores, each within
 * microseconds. Returns false if the result would be negative or memory cannot be accessed.
 */
bool semaphore_add(int memory, uint64_t address, int n);

/* ---- places ---- */

/* Returns true if the kernel accepts the mapping for a semaphore at this file offset: private and writable. */
bool mapping_counts(const struct mapping *m, uint64_t offset);
const struct mapping *mapping_find(const struct process *process, uint64_t address);

/* Returns the address of the copy that the kernel raises, or 0. */
uint64_t semaphore_kernel_copy(const struct process *process, dev_t device, ino_t inode, uint64_t offset);
/* Returns true if the address is a copy of the site's semaphore, in private writable memory of the process. */
bool semaphore_is_copy(const struct process *process, const struct pp_site *site, uint64_t address);
/*
 * Returns how many breakpoints there are for an offset of a file. The kernel has raised a semaphore for each and will
 * lower it. The kernel also places breakpoints in read-only mappings, because they could become executable.
 */
int semaphore_breakpoints(const struct process *process, int memory, dev_t device, ino_t inode, uint64_t offset);

/* ---- program runs ---- */

/*
 * Identifies which program run a process is: forks have the same values, until one of them calls exec(). 0: not known.
 */
struct program_run {
	uint64_t exec, random;
};

struct program_run program_run_of(pid_t pid, int memory);

#endif
