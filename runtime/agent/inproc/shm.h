/* SPDX-License-Identifier: MIT */
/* Shared memory regions: slots, rings and counters of a session in this process. */
#ifndef RUNTIME_AGENT_INPROC_SHM_H
#define RUNTIME_AGENT_INPROC_SHM_H

#include "runtime/agent/inproc/hit.h"
#include "runtime/agent/inproc/mem.h"

struct session;

/* One of SHMS_MAX regions. A session gets one when its first point is armed in this process. */
struct session_shm {
	unsigned index;
	struct session *session; /* NULL: free */
	struct agent_shm *at;    /* mapped once, at one address; NULL before the first use */
	uint32_t ring_size;      /* bytes of records of each of the first nlarge rings */
	uint32_t nlarge;         /* the others have AGENT_RING_SIZE */
	uint32_t nrings;         /* rings that are mapped */
	int fd;                  /* the memfd, in the agent's thread; -1 */
	int keep;                /* a connection to the keeper, in the agent's thread; -1 */
	bool asked;              /* a controller has the memfd */
	bool inherited;          /* the memory is shared with the parent, which may use it */
	/* The memory of the flight recorder; NULL: the session is not one. */
	const struct flight_memory *flight;
	uint32_t next_ring;   /* where to begin the search for a ring to take by force */
	struct vector slots;  /* struct agent_slot: the agent's own copy */
	struct vector tables; /* struct region_table *: the agent's own copies (tables.c) */
	uint32_t ncells;      /* cells of the tables */
	uint64_t keys_size;   /* bytes for keys that the tables take */
};

/* Returns ring number i of a region whose memory is mapped there. */
static inline struct agent_ring *region_ring(const struct session_shm *shm, const struct agent_shm *at, unsigned i)
{
	return (struct agent_ring *)((char *)at + shm_rings_at + i * shm_ring_stride(shm->ring_size));
}

/* Returns the bytes of records of ring number i. */
static inline uint32_t region_ring_size(const struct session_shm *shm, uint64_t i)
{
	return i < shm->nlarge ? shm->ring_size : AGENT_RING_SIZE;
}

/* Returns the number of a ring of the region's memory. */
static inline uint32_t shm_ring_number(const struct session_shm *shm, const struct agent_ring *ring)
{
	return (uint32_t)((uint64_t)((const char *)ring - (const char *)shm->at - shm_rings_at) /
	                  shm_ring_stride(shm->ring_size));
}

/* Returns the bytes of records of a ring of the region's memory. */
static inline uint32_t shm_ring_size(const struct session_shm *shm, const struct agent_ring *ring)
{
	return region_ring_size(shm, shm_ring_number(shm, ring));
}

/* Gives the session a region, if it has none. */
enum agent_reason shm_make(struct session *session);
/*
 * Places another memfd at the region's address: in a forked child, or when the agent's
 * thread starts again. keep: with the contents of the old one. Returns 0 or a negative
 * errno.
 */
int shm_renew(struct session_shm *shm, bool keep);
/* Takes the region from the session. */
void shm_leave(struct session *session);
/* Sets record_until as the session's attachments ask for: always record, or only with a reader. */
void shm_records(struct session *session);
/* Does what regions_hide() does for shared memory regions. The caller holds agent.lock. */
void shms_hide(bool hide);
/* Returns whether the region has rings that were never taken beyond what a limit of address space allows: fit.h. */
bool shm_is_too_large(const struct session_shm *shm, uint64_t limit);
/* Unmaps these rings. The caller holds agent.lock, and no thread looks for a ring (agent.hidden). */
void shm_cut(struct session_shm *shm, uint64_t limit);

/* Returns a new slot, or -1. */
int64_t shm_slot(struct session_shm *shm);
/* Lets the slot stand for a point from now on. Sets its counters to 0. */
void shm_name_slot(struct session_shm *shm, uint32_t slot, uint32_t attachment, uint32_t point);
void shm_count(const struct session_shm *shm, uint32_t slot, struct agent_count *count);
/* Returns the time by the region's clock. */
uint64_t agent_now(void);
/* Gives back the rings of the calling thread, without a system call. */
void rings_release(void *unused);

#endif
