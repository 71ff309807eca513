/* SPDX-License-Identifier: MIT */
/* Takes records out of the rings of one process's shared memory region. */
#ifndef RUNTIME_AGENT_RINGS_H
#define RUNTIME_AGENT_RINGS_H

#include "runtime/agent/record-clock.h"
#include "runtime/agent/record-queue.h"

struct rings;

/*
 * Begins to read the rings of a region, which outlives *rings. `before` is the reader of an earlier region of the same
 * process, whose records the process has taken along into this one; NULL: none. number: identifies the region among those
 * of the reader, from 1 on. Returns 0 or -ENOMEM. The caller frees *rings.
 */
int rings_new(const struct mapped_shm *shm, pid_t pid, const struct rings *before, uint32_t number,
              struct rings **rings);
void rings_free(struct rings *rings);

/* One pass over all rings. */
struct rings_pass {
	const struct record_clock *clock;
	struct record_merge *merge; /* records are added here */
	uint64_t now;               /* ns; no record is later */
	bool ended;                 /* the process does not write any more */
	bool leave;                 /* records stay in the rings until rings_done() */
	/* Added to: */
	size_t nactive;    /* rings that had records */
	uint64_t ndamaged; /* records that were skipped as damaged */
	bool is_damaged;   /* set: a ring holds invalid data */
};

/* Moves complete records from the rings to their queues. Returns 0 or -ENOMEM. */
int rings_drain(struct rings *rings, struct rings_pass *pass);
/* Returns whether records of the rings are still in the merge. */
bool rings_are_queued(const struct rings *rings);

/*
 * The reader returns the first record of the queue, which is one of a ring's. Returns false if the thread has dropped the
 * record meanwhile; the caller then removes all records of the queue.
 */
bool rings_return(struct record_queue *queue);
/* Removes the records from the rings that were returned and are from before a time. */
void rings_done(struct rings *rings, uint64_t until);
/* Removes all records from the rings that were read. From now on they are removed when they are read. */
void rings_take_all(struct rings *rings);
/* Returns how many bytes of the rings were read and not removed. */
uint64_t rings_kept_bytes(const struct rings *rings);
uint32_t rings_number(const struct rings *rings);
/* Returns whether the records of the queue are still in the ring for the next reader. */
bool rings_queue_is_kept(const struct record_queue *queue);
/* Marks damaged rings as read, because the process has ended and no other reader can read them either. */
void rings_pass_over(struct rings *rings);
/* Returns how many records will never be read: those of damaged rings, by the rings' counters, and skipped ones. */
uint64_t rings_unread(const struct rings *rings);

#endif
