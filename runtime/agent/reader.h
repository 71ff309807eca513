/* SPDX-License-Identifier: MIT */
/* The agent's reader: reader.c orders records, rings.c takes them out of their rings. */
#ifndef RUNTIME_AGENT_READER_H
#define RUNTIME_AGENT_READER_H

#include <time.h>

#include "runtime/agent/session.h"

/* What both clocks said at once. */
struct sample {
	uint64_t ticks, ns;
};

struct queued {
	uint64_t time;
	uint32_t attachment, tid, size;
	char comm[16];
	_Alignas(8) char record[];
};

struct ring_state {
	const struct member *member;
	uint32_t index;
	bool bad;        /* what stands in it cannot be: it is read no more */
	uint64_t joined; /* records that had been read, by its counters, when it was first seen */
	uint64_t nread;  /* records taken out, or passed over, since */
	uint64_t tail;
	uint64_t stuck_at, stuck_since; /* where, and since when, a record is waited for */
	char *bytes;                    /* struct queued, each at a multiple of 8 */
	size_t from, to, room;
	bool in_heap;
	uint32_t tid; /* whose it is, as it was last looked at */
	char comm[16];
};

struct agent_reader {
	struct agent_session *session;
	int lock;
	uint64_t said;   /* when record_until was last moved on */
	uint64_t passed; /* the last pass */
	struct timespec agents_changed;
	struct ring_state **heap;
	size_t nheap, heap_room;
	size_t queued;       /* bytes */
	uint64_t good_until; /* records of a time before this have no earlier ones coming */
	uint64_t damaged;    /* records that were passed over; of rings that are bad, see ring_unread() */
	bool complaint;      /* something is damaged, and pp_reader_next() has not said so yet */
	bool stopped;
	struct sample last;
	double slope;   /* ns per tick, of late */
	size_t nactive; /* rings that gave something in this pass */
	_Alignas(8) char taken[sizeof(struct record_thread) + RECORD_SIZE_MAX];
};

/* ---- reader.c ---- */

/* Puts a record at the end of the ring's queue. -EBADMSG: it means nothing, and is left out. */
int reader_queue_put(struct agent_reader *r, struct ring_state *ring, uint64_t time, const unsigned char *at,
                     uint32_t words);
/* The ring's queue is not empty any more. */
int reader_heap_put(struct agent_reader *r, struct ring_state *ring);

/* ---- rings.c ---- */

/* Moves what is whole into the ring's queue. gone: its process writes no more. */
int ring_drain(struct agent_reader *r, struct ring_state *ring, bool gone);
/* The same, of a ring whose thread overwrites what it finds no room for. */
int ring_drain_overwritten(struct agent_reader *r, struct ring_state *ring, bool gone);
/* How many records of a bad ring will never be read, by its own counters. */
uint64_t ring_unread(const struct ring_state *ring);
/* How many records wait in it to be read, as far as they are whole. */
uint64_t ring_waiting(const struct ring_state *ring);
/* Such a ring has been read up to there already, if that is in it. */
void ring_take_over(struct ring_state *ring, uint64_t read);

#endif
