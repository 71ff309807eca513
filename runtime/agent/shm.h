/* SPDX-License-Identifier: MIT */
/*
 * The shared memory region of a process and session, as the controller maps it. The process can change its contents at
 * any moment: shm_map() checks a copy of the header and keeps the bounds, and readers load each word once.
 */
#ifndef RUNTIME_AGENT_SHM_H
#define RUNTIME_AGENT_SHM_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "runtime/agent/protocol.h"

struct mapped_shm {
	struct agent_shm *header;
	size_t size;
	uint64_t slots_at, rings_at, ring_stride, counts_in_ring, data_in_ring, overflow_at;
	uint64_t tables_at, cells_at, cells_in_ring;
	uint64_t ring_size; /* of the first nlarge rings, a power of two; others have AGENT_RING_SIZE */
	uint32_t nlarge;
	int64_t shift; /* ns that the process's time namespace adds to CLOCK_MONOTONIC */
	uint32_t nslots, nrings, clock, ntables, ncells, ncells_in_ring;
	uint64_t base_ticks, base_ns; /* base_ns without shift */
	uint64_t flight_at;
	uint32_t flight_slots; /* 0: the session is not a flight recorder */
	uint32_t pid;
};

/* A copy of a struct agent_table, checked: its parts lie within the region. */
struct mapped_table {
	uint32_t attachment, ngroups, ncolumns, first_cell, ncells, key_size;
	uint64_t keys_at;
	uint32_t number;
};

/* Maps the region of the descriptor fd. Closes fd. Returns 0 or an error with a message. */
int shm_map(struct mapped_shm *shm, int fd, pid_t pid);
void shm_unmap(struct mapped_shm *shm);
/* Returns how much memory a region has. */
uint64_t shm_file_bytes(int fd);
/*
 * Returns the number that names the region among all that processes with its pid ever had: base_ns of its header. Start times of
 * processes are not enough for that, because they have steps of 10 ms.
 */
uint64_t shm_id(const struct mapped_shm *shm);
/* Returns whether both are the same region, or one is a copy of the other. */
bool shm_is_same(const struct mapped_shm *a, const struct mapped_shm *b);

/* These functions are inline because readers call them for each record. */
static inline unsigned char *shm_at(const struct mapped_shm *shm, uint64_t offset)
{
	return (unsigned char *)shm->header + offset;
}

static inline struct agent_ring *shm_ring(const struct mapped_shm *shm, uint32_t i)
{
	return (struct agent_ring *)shm_at(shm, shm->rings_at + i * shm->ring_stride);
}

/* Returns the records of a ring. */
static inline unsigned char *shm_data(const struct mapped_shm *shm, uint32_t ring)
{
	return (unsigned char *)shm_ring(shm, ring) + shm->data_in_ring;
}

/* Returns whether a thread has ever taken the ring. A read of a ring without one would allocate its pages. */
static inline bool shm_ring_is_used(const struct mapped_shm *shm, uint32_t ring)
{
	return __atomic_load_n(&shm_ring(shm, ring)->turns, __ATOMIC_ACQUIRE);
}

/* Returns the size of the ring's records, a power of two. */
static inline uint64_t shm_size_of_ring(const struct mapped_shm *shm, uint32_t ring)
{
	return ring < shm->nlarge ? shm->ring_size : AGENT_RING_SIZE;
}

/* Returns the number of slots used so far. */
static inline uint32_t shm_used(const struct mapped_shm *shm)
{
	uint32_t n = __atomic_load_n(&shm->header->nused, __ATOMIC_ACQUIRE);

	return n < shm->nslots ? n : shm->nslots;
}

static inline struct agent_slot shm_slot(const struct mapped_shm *shm, uint32_t slot)
{
	return ((const volatile struct agent_slot *)shm_at(shm, shm->slots_at))[slot];
}

/* Returns a slot of the flight recorder. */
const struct agent_flight_slot *shm_flight_slot(const struct mapped_shm *shm, uint32_t i);
/* Returns how many rings can have been taken: rings are taken from the first on. A read of the others would allocate pages. */
uint32_t shm_known_rings(const struct mapped_shm *shm);
/* Returns whether a ring has anything that no reader has read. */
bool shm_has_unread(const struct mapped_shm *shm);
/* Calls fn with each complete record of a ring between two positions. Ends at what is not valid. */
void shm_ring_each(const struct mapped_shm *shm, uint32_t ring, uint64_t from, uint64_t to,
                   void (*fn)(uint32_t slot, void *arg), void *arg);
/* Adds the number of records that no reader has read to unread[npoints], in the order of the attachment's points. */
void shm_count_unread(const struct mapped_shm *shm, uint32_t attachment, uint64_t *unread, uint32_t npoints);
/* Returns the number of records that the ring's own counters have. */
uint64_t shm_ring_recorded(const struct mapped_shm *shm, uint32_t ring);
/* Moves one record of the point from recorded to lost. Returns false if the region does not have the point. */
bool shm_lose(const struct mapped_shm *shm, uint32_t attachment, uint32_t point);
/* Adds the counts of an attachment to counts[npoints], in the order of its points. */
void shm_count(const struct mapped_shm *shm, uint32_t attachment, struct agent_count *counts, uint32_t npoints);
/* Copies table number i. Returns false if it is not in use, or invalid. */
bool shm_table(const struct mapped_shm *shm, uint32_t i, struct mapped_table *table);
/* Returns how many cells of keys the table has in use, at most. */
uint32_t shm_table_used(const struct mapped_shm *shm, const struct mapped_table *table);
/* Adds n cells, from number first on, of all threads to sums[n]. */
void shm_cells(const struct mapped_shm *shm, uint32_t first, uint32_t n, struct agent_cell *sums);
/* Copies a key of the table. `to` has room for table->key_size. */
void shm_table_key(const struct mapped_shm *shm, const struct mapped_table *table, uint32_t cell, struct agg_key *to);
/* Returns whether the process continues in another region, which has taken over the counts and records. */
bool shm_has_moved(const struct mapped_shm *shm);
/* Returns whether new records replace the oldest ones. */
bool shm_is_overwritten(const struct mapped_shm *shm);
/*
 * Claims the right to write the region's counts to past-N-PID-START, once per region. Returns true to the first
 * process that calls it (the keeper or a controller), false to all others.
 */
bool shm_claim(const struct mapped_shm *shm);
/* Returns whether a process has claimed it. */
bool shm_is_claimed(const struct mapped_shm *shm);

#endif
