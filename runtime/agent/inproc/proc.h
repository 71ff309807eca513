/* SPDX-License-Identifier: MIT */
/* What /proc says about the process and its threads. */
#ifndef RUNTIME_AGENT_INPROC_PROC_H
#define RUNTIME_AGENT_INPROC_PROC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Opens /proc for the agent's thread, before a chroot() can hide it. */
void proc_open(void);
/* The directory of the calling thread in /proc, for openat(); -1 before proc_open(). */
int proc_dir(void);
/* Opens the directory of all threads of the process. Returns -1 on errors. */
int proc_threads(void);
bool proc_has_thread(uint32_t tid);
/* Returns whether the process has no thread but the calling one. */
bool proc_is_last_thread(uint32_t pid);
/* Returns field 22 of /proc/PID/stat, or 0. pid 0: the calling process. */
uint64_t process_start_time(uint32_t pid);

/* Returns field 48, which struct agg_stack calls exec, of the calling process, or 0. */
uint64_t process_exec(void);

/*
 * Rights are users, groups, capabilities, no_new_privs and filters of system calls.
 * Without /proc both functions return false, so that nothing is armed.
 */
/* Returns whether thread `one` has all rights of thread `other`. */
bool rights_cover(uint32_t one, uint32_t other);
/* Returns whether some thread of the process pid, other than tid, has all rights of tid. */
bool rights_covered(uint32_t pid, uint32_t tid);

#endif
