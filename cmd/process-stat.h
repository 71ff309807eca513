/* SPDX-License-Identifier: MIT */
#ifndef CMD_PROCESS_STAT_H
#define CMD_PROCESS_STAT_H

#include <stdint.h>
#include <sys/types.h>

enum { PROCESS_COMM = 32 };

/* Returns the start time of a process, 0 if there is none. Sets comm, which has PROCESS_COMM bytes, unless it is NULL. */
uint64_t process_stat_start(pid_t pid, char *comm);

#endif
