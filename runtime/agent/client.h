/* SPDX-License-Identifier: MIT */
/*
 * Talking to agents, and what they share. All that comes from there is another
 * process's word: checked before any use, and copied where it could change between
 * the look and the use.
 */
#ifndef RUNTIME_AGENT_CLIENT_H
#define RUNTIME_AGENT_CLIENT_H

#include "runtime/agent/session-files.h"

/* ---- conversations ---- */

struct agent_peer {
	int fd;
	pid_t pid;
	uint64_t start_time;
	uint32_t reason; /* enum agent_reason: why it can arm nothing at all */
	bool behind;     /* it does not hear of dlopen() */
	uint64_t until;  /* ns of CLOCK_MONOTONIC: the conversation takes no longer */
};

/*
 * -ENOENT: pid has no agent; -ETIMEDOUT: one that does not answer (it is stopped,
 * or another command talks to it); others with a sentence.
 */
int agent_connect(const struct agent_store *store, pid_t pid, struct agent_peer *peer);
/* The same, but the agent has only so long for each answer. */
int agent_connect_within(const struct agent_store *store, pid_t pid, struct agent_peer *peer, unsigned ms);
/*
 * Whether an agent that did not answer is not to be asked yet: the pause grows to some seconds, so that a frozen or
 * hostile process does not hold up those who wait for others. agent_connect() keeps to it.
 */
bool agent_is_silent(pid_t pid);
/* The same, of a process whose agent may sleep, and is woken, or that has begun a moment ago: a second's patience. */
int agent_connect_new(const struct agent_store *store, pid_t pid, struct agent_peer *peer);
/* Processes whose agents could not be woken, with why. */
struct agent_sleepers {
	struct agent_sleeper {
		pid_t pid;
		char *reason;
	} * at;
	size_t n;
};
/* Wakes every agent of this user's that sleeps. */
int agent_wake_all(const struct agent_store *store, struct agent_sleepers *failed);
void agent_sleepers_free(struct agent_sleepers *sleepers);
/* Whether the library is mapped. */
bool agent_is_loaded(pid_t pid);
void agent_disconnect(struct agent_peer *peer);

/*
 * Asks, and takes in at most n things of size bytes each; their number, or a
 * negative errno. *reason (may be NULL) is what the agent gave for its error. fd
 * (may be NULL) takes a descriptor.
 */
int agent_ask(struct agent_peer *peer, enum agent_op op, const char *session, uint32_t attachment, uint32_t first,
              void *things, size_t n, size_t size, uint32_t *reason, int *fd);

/* Why, as a sentence that follows "pid N: ". found: see struct agent_point_state. */
const char *agent_reason_text(uint32_t reason, const uint8_t found[10]);

/* Calls fn for each process that has an agent's socket, in the order of the ids. key tells one socket from the next. */
int agent_each(const struct agent_store *store, int (*fn)(pid_t pid, uint64_t key, void *arg), void *arg);

/* Has each agent concerned look again: those of pids, or all. Says nothing of those that do not answer. */
void agent_look_all(const struct agent_store *store, const char *session, const pid_t *pids, size_t npids);

/*
 * Loads the agent, that library, into a process that runs without: inject.c.
 * -EBUSY: no thread could be used; -ETIMEDOUT: it is still being loaded, and may be
 * yet; others with a sentence. As it was, if it failed otherwise.
 */
int agent_inject(pid_t pid, const char *library);

/* The namespace ("pid", "mount") of the process that is not this command's; NULL: both are. */
const char *agent_other_namespace(pid_t pid);
/* 0, or an error: its agent would make its socket where this command does not look. */
int agent_check_reach(const struct agent_store *store, pid_t pid);

/* ---- shared memory regions ---- */

/* A mapped shared memory region, with the bounds that were checked. */
struct shm {
	struct agent_shm *header;
	size_t size;
	uint64_t slots_at, rings_at, ring_stride, counts_in_ring, data_in_ring, overflow_at;
	int64_t shift; /* what the process's time namespace adds to CLOCK_MONOTONIC */
	uint32_t nslots, nrings, clock;
	uint64_t base_ticks, base_ns;
};

/* Takes fd over. */
int shm_map(struct shm *shm, int fd, pid_t pid);
void shm_unmap(struct shm *shm);

struct agent_ring *shm_ring(const struct shm *shm, uint32_t i);
unsigned char *shm_data(const struct shm *shm, uint32_t ring);
/* Places in use so far. */
uint32_t shm_used(const struct shm *shm);
struct agent_slot shm_slot(const struct shm *shm, uint32_t slot);
/* The records that the ring's own counters have. */
uint64_t shm_ring_recorded(const struct shm *shm, uint32_t ring);
/* Moves one record of the point from recorded to lost. false: the shared memory region has no such point. */
bool shm_lose(const struct shm *shm, uint32_t attachment, uint32_t point);
/* Adds to counts[] (npoints of them) what was counted for an attachment, by its points. */
void shm_count(const struct shm *shm, uint32_t attachment, struct agent_count *counts, uint32_t npoints);

#endif
