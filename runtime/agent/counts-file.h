/* SPDX-License-Identifier: MIT */
/*
 * Files with the counts of one process for one attachment: counts-N-PID-REGION, which the process or the keeper wrote when it
 * ended; last-N-PID-START, as a controller last saw them; past-N-PID-START, the sum of what was counted in regions that the
 * process has left (exec(2)). REGION is shm_id(), START the start time of the process, so that a process does not replace the
 * files of an earlier one that had the same pid.
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
/* Returns what names the file of a process for an attachment. */
struct agent_file_id counts_file_id(const struct manifest *manifest, const char *name, pid_t pid, uint64_t start_time,
                                    uint64_t region);
/* Reads a file of the attachment. Returns NULL if it does not exist or is invalid. The caller frees it. */
struct agent_counts *counts_file_read(const struct agent_dir *dir, const char *name, const struct manifest *manifest,
                                      struct agent_file_id id);
/*
 * Writes what a region has counted for an attachment. COUNTS_PAST adds to the file, and removes COUNTS_LAST, which has
 * the same counts. The others write nothing if the process has written COUNTS_ENDED itself. A file whose counts are all
 * 0 is not written. Errors are not reported.
 */
void counts_file_save(const struct agent_dir *dir, const struct mapped_shm *shm, pid_t pid, uint64_t start_time,
                      const struct manifest *manifest, const char *name);

/*
 * Moves records of each point from recorded to lost in a file, if it exists. lost: npoints numbers, from which it subtracts what it
 * has moved.
 */
void counts_file_lose(const struct agent_dir *dir, const struct manifest *manifest, const char *name,
                      struct agent_file_id id, uint64_t *lost);
/* Does the same in all files of processes that had this pid, until all are moved. The sums of the points are exact then. */
void counts_files_lose(const struct agent_dir *dir, const struct manifest *manifest, pid_t pid, uint64_t *lost);

#endif
