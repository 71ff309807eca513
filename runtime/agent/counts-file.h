/* SPDX-License-Identifier: MIT */
/*
 * Files with the counts of one process for one attachment: counts-N-PID, which the process or the keeper wrote when it
 * ended; last-N-PID, as a controller last saw them; past-N-PID, the sum of what was counted in regions that the process
 * has left (exec(2)).
 */
#ifndef RUNTIME_AGENT_COUNTS_FILE_H
#define RUNTIME_AGENT_COUNTS_FILE_H

#include "runtime/agent/cells.h"
#include "runtime/agent/session-files.h"
#include "runtime/agent/shm.h"

#define COUNTS_ENDED "counts"
#define COUNTS_LAST "last"
#define COUNTS_PAST "past"

/* Adds the counts of n points. */
void counts_add(struct agent_count *to, const struct agent_count *from, uint32_t n);
/* Returns the counts in a file. */
struct agent_count *counts_of(const struct agent_counts *file);
/* Returns the misfits and cells in a file, as agent_cells_add_stored() takes them. */
const void *counts_cells(const struct agent_counts *file);
/* Reads the file of a process for an attachment. Returns NULL if it does not exist or is invalid. The caller frees it. */
struct agent_counts *counts_file_read(const struct agent_dir *dir, const char *name, const struct manifest *manifest,
                                      pid_t pid);
/*
 * Writes what a region has counted for an attachment. COUNTS_PAST adds to the file, and removes COUNTS_LAST, which has
 * the same counts. The others write nothing if the process has written COUNTS_ENDED itself. A file whose counts are all
 * 0 is not written. Errors are not reported.
 */
void counts_file_save(const struct agent_dir *dir, const struct mapped_shm *shm, pid_t pid, uint64_t start_time,
                      const struct manifest *manifest, const char *name);

/*
 * Moves records of each point from recorded to lost in the file of the process, if there is one. start_time 0: of any process with
 * this pid. lost: npoints numbers, from which it subtracts what it has moved.
 */
void counts_file_lose(const struct agent_dir *dir, pid_t pid, uint64_t start_time, const struct manifest *manifest,
                      const char *name, uint64_t *lost);

#endif
