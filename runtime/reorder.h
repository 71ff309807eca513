/* SPDX-License-Identifier: MIT */
/* Records that a reader holds back to give them out in the order of their times. */
#ifndef RUNTIME_REORDER_H
#define RUNTIME_REORDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/record.h"

struct backend;

struct held_record {
	uint64_t sequence; /* the order of equal times */
	const struct backend *backend;
	struct record_thread thread;
	uint32_t size;
	_Alignas(8) char record[]; /* struct record, size bytes */
};

/* A heap. Zeroed: empty. */
struct reorder {
	struct reorder_entry {
		uint64_t time;
		struct held_record *record;
	} * heap;
	size_t n, room;
	size_t nbytes; /* of all records */
	uint64_t sequence;
};

/* Copies a record of size bytes. Returns 0 or -ENOMEM. */
int reorder_add(struct reorder *reorder, const struct backend *backend, const struct record_thread *thread,
                const struct record *record, size_t size);

/* Returns the time of the earliest record. The heap must not be empty. */
static inline uint64_t reorder_time(const struct reorder *reorder)
{
	return reorder->heap[0].time;
}

/* Takes the earliest record out. The caller frees it. */
struct held_record *reorder_take(struct reorder *reorder);
void reorder_release(struct reorder *reorder);

#endif
