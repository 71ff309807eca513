/* SPDX-License-Identifier: MIT */
/* The entries of a ring, from the side of the thread that writes them: hit-ring.c. */
#ifndef RUNTIME_AGENT_INPROC_HIT_RING_H
#define RUNTIME_AGENT_INPROC_HIT_RING_H

#include "runtime/agent/inproc/hit-call.h"

static inline shared64 *ring_words(struct agent_ring *ring, uint64_t size, uint64_t position)
{
	return (shared64 *)((char *)ring + AGENT_DATA_IN_RING + (position & (size - 1) & ~7ull));
}

/* A record or a gap at a position of a ring, read once, because any process may change it. */
struct ring_entry {
	uint64_t time;  /* the first word */
	uint32_t point; /* if the first word is a time */
	uint32_t words; /* its length, at least 1; the slack after the ring has room for it */
	bool whole;     /* it is not being written */
};

static inline struct ring_entry ring_entry_at(struct agent_ring *ring, uint64_t size, uint64_t position)
{
	const struct shared_record *at = (const struct shared_record *)ring_words(ring, size, position);
	struct ring_entry found = { .time = shared_acquire(at->time) };

	found.whole = found.time >= AGENT_WORD_SKIP;
	if (found.time >= AGENT_WORD_TIME) {
		found.point = shared_get(at->point_words);
		found.words = (shared_get(at->words_faults) & 255) | found.point >> 24 << 8;
		found.point &= RECORD_POINT_MASK;
	} else {
		found.words = found.whole ? found.time - AGENT_WORD_SKIP : found.time;
	}
	if (found.words > RECORD_SIZE_MAX / 8)
		found.words = RECORD_SIZE_MAX / 8;
	if (!found.words)
		found.words = 1;
	return found;
}

/*
 * Copies the entries from a position of the ring up to another one to the flight recorder of the region, as far as it can.
 * The caller may clear them after that. hit-flight.c.
 */
void flight_store(struct agent_ring *ring, struct session_shm *shm, uint64_t from, uint64_t to);

#endif
