/* SPDX-License-Identifier: MIT */
/* Takes records out of the rings of one process's shared memory region. */
#ifndef RUNTIME_AGENT_RINGS_H
#define RUNTIME_AGENT_RINGS_H

#include "runtime/agent/record-clock.h"
#include "runtime/agent/record-queue.h"

struct rings;

/*
 * Begins to read the rings of a region, which outlives *rings. `before` is the reader of an earlier region of the same
 * process, whose records the process has taken along into this one; NULL: none. Returns 0 or -ENOMEM. The caller frees
 * *rings.
 */
int rings_new(const struct mapped_shm *shm, pid_t pid, const struct rings *before, struct rings **rings);
void rings_free(struct rings *rings);

/* One pass over all rings. */
struct rings_pass {
	const struct record_clock *clock;
	struct record_merge *merge; /* records are added here */
	uint64_t now;               /* ns; no record is later */
	bool ended;                 /* the process does not write any more */
	/* Added to: */
	size_t nactive;    /* rings that had records */
	uint64_t ndamaged; /* records that were skipped as damaged */
	bool is_damaged;   /* set: a ring holds invalid data */
};

/* Moves complete records from the rings to their queues. Returns 0 or -ENOMEM. */
int rings_drain(struct rings *rings, struct rings_pass *pass);
/* Returns whether records of the rings are still in the merge. */
bool rings_are_queued(const struct rings *rings);
/* Marks damaged rings as read, because the process has ended and no other reader can read them either. */
void rings_pass_over(struct rings *rings);
/* Returns how many records of damaged rings will never be read, by the rings' own counters. */
uint64_t rings_unread(const struct rings *rings);

#endif
