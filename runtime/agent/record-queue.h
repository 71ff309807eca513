/* SPDX-License-Identifier: MIT */
/*
 * Records that were taken out of rings: a queue per ring, and a merge of all queues in the order of the records' times.
 * A ring's own records are in order.
 */
#ifndef RUNTIME_AGENT_RECORD_QUEUE_H
#define RUNTIME_AGENT_RECORD_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/record.h"

struct queued_record {
	uint64_t time; /* ns of CLOCK_MONOTONIC */
	struct record_thread thread;
	uint32_t size;             /* of the record */
	_Alignas(8) char record[]; /* struct record */
};

/* Zeroed: empty. */
struct record_queue {
	char *bytes; /* struct queued_record, each at a multiple of 8 */
	size_t from, to, room;
	bool in_merge;
};

static inline const struct queued_record *record_queue_first(const struct record_queue *queue)
{
	return (const struct queued_record *)(queue->bytes + queue->from);
}

/* Returns whether the first record is the only one. */
bool record_queue_is_last(const struct record_queue *queue);

/* A heap of the queues that are not empty, by the time of their first records. Zeroed: empty. */
struct record_merge {
	struct record_queue **heap;
	size_t nheap, room;
	size_t nbytes; /* in all queues */
};

/*
 * Returns room at the end of the queue for a record of size bytes, which the caller fills in and commits; NULL if
 * memory allocation fails. Without the commit, the queue does not change.
 */
struct queued_record *record_queue_reserve(struct record_queue *queue, size_t size);
void record_queue_commit(struct record_queue *queue, struct record_merge *merge);
void record_queue_release(struct record_queue *queue);

/* Adds a queue that is not empty and not in the merge; record_merge_sort() follows. Returns 0 or -ENOMEM. */
int record_merge_add(struct record_merge *merge, struct record_queue *queue);
void record_merge_sort(struct record_merge *merge);
/* Returns the earliest record of all queues; NULL: all are empty. The pointer is valid until the record is removed or its queue grows. */
static inline const struct queued_record *record_merge_first(const struct record_merge *merge)
{
	return merge->nheap ? record_queue_first(merge->heap[0]) : NULL;
}
/* Removes the earliest record. */
void record_merge_pop(struct record_merge *merge);
void record_merge_release(struct record_merge *merge);

#endif
