/* SPDX-License-Identifier: MIT */
/* A copy of the records in the memory of a flight recorder, in the order of their times. */
#ifndef RUNTIME_SNAPSHOT_H
#define RUNTIME_SNAPSHOT_H

#include <stddef.h>
#include <stdint.h>

struct attachment;
struct backend;
struct pp_session;
struct record;
struct record_thread;
struct snapshot;

/* Copies the records of all backends. Returns 0, or a negative errno with an error message. The caller frees *snapshot. */
int snapshot_take(struct pp_session *session, struct snapshot **snapshot);
void snapshot_free(struct snapshot *snapshot);
/* Returns the number of records, and how many could not be copied. */
uint64_t snapshot_records(const struct snapshot *snapshot);
uint64_t snapshot_passed(const struct snapshot *snapshot);
/* Returns since when no record was overwritten: struct snapshot_gaps. */
uint64_t snapshot_since(const struct snapshot *snapshot);
/* Returns 1 and the next record, which is valid as long as the snapshot; 0: there are no more. */
int snapshot_next(struct snapshot *snapshot, const struct backend **backend, const struct record_thread **thread,
                  const struct record **record, size_t *size);

struct snapshot_counts;

/*
 * Counts the recorded hits of each point of the session, and then the records in memory. Returns NULL if the session is not a flight recorder, or
 * without memory. The caller frees it before the session's attachments change.
 */
struct snapshot_counts *snapshot_count(struct pp_session *session);
void snapshot_counts_free(struct snapshot_counts *counts);
/*
 * Returns how many of the point's records were not in memory any more; 0 if counts is NULL. A hit that is recorded meanwhile does not
 * count. While the memory is not full yet, each record that was written meanwhile hides one that was overwritten.
 */
uint64_t snapshot_overwritten(const struct snapshot_counts *counts, const struct attachment *attachment,
                              uint32_t point);

#endif
