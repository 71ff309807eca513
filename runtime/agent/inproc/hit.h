/* SPDX-License-Identifier: MIT */
/*
 * The path of a hit: functions that trampolines call, and the state of a
 * thread. hit-read.c has the rules for all of this code.
 */
#ifndef RUNTIME_AGENT_INPROC_HIT_H
#define RUNTIME_AGENT_INPROC_HIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/agent/inproc/cpu.h"
#include "runtime/agent/inproc/shared-word.h"
#include "runtime/agent/protocol.h"

#define SHMS_MAX 8
#define FLIGHTS 16

/* ---- a thread ---- */

#define MUTED_CLOCK 1u  /* it would be killed when it reads the CPU's counter (seccomp's strict mode) */
#define MUTED_SHARED 2u /* another task has the same thread-local data */

/* The state of a thread. Trampolines reach it by the thread pointer. All zero before the first hit. */
struct hit_thread {
	struct agent_ring *ring[SHMS_MAX];
	uint32_t mask[SHMS_MAX]; /* of positions in ring[]: its size - 8. Valid only if ring[] is not NULL */
	uintptr_t sure_low,
		sure_last; /* the part of its stack known to be readable; last is 8 below the end. 0: none */
	uintptr_t stack_low, stack_end; /* the stack that the C library gave it; end 1: unknown */
	uint32_t tid;
	uint32_t busy;          /* it is taking a ring */
	uint32_t skip, backoff; /* hits until it tries to take a ring again */
	uint32_t dropping;      /* it is dropping old records */
	uint32_t muted;         /* MUTED_*: it takes no ring */
};

extern __thread struct hit_thread agent_thread __attribute__((tls_model("initial-exec")));

/*
 * A page next to each region of trampolines, which fork(2) wipes. If alive is 0, a
 * trampoline does nothing. So a child process that was made without the C library
 * runs the sites but does not count.
 */
struct life {
	uint32_t alive;
	uint32_t pid;
};

/* ---- the memory of rings ---- */

/* Offsets in a shared memory region and in a ring. They are constants, because trampolines contain them. */
#define AGENT_CALLS_IN_RING 4096u
#define AGENT_CALLS_SIZE 20480u
#define AGENT_COUNTS_IN_RING (AGENT_CALLS_IN_RING + AGENT_CALLS_SIZE)
#define AGENT_CELLS_IN_RING (AGENT_COUNTS_IN_RING + AGENT_SLOTS * sizeof(struct agent_count))
#define AGENT_DATA_IN_RING (AGENT_CELLS_IN_RING + AGENT_RING_CELLS * sizeof(struct agent_cell))
#define shm_slots_at 4096ull
#define shm_overflow_at (shm_slots_at + AGENT_SLOTS * sizeof(struct agent_slot))
#define shm_tables_at (shm_overflow_at + AGENT_SLOTS * sizeof(struct agent_count))
#define shm_cells_at (shm_tables_at + 4096)
#define shm_keys_at (shm_cells_at + AGENT_CELLS * sizeof(struct agent_cell))
#define shm_rings_at (shm_keys_at + AGENT_KEYS_SIZE)
/* The records come last, because regions have rings of different sizes. */
#define shm_ring_stride(ring_size) (AGENT_DATA_IN_RING + (uint64_t)(ring_size) + AGENT_RING_SLACK)

/* The records and counts of runtime/record.h and protocol.h, as words that others can write. */
struct shared_record {
	shared64 time;
	shared32 point_words;  /* the high-order byte of words in the high 8 bits */
	shared32 words_faults; /* the low-order byte in the low 8 bits */
	shared64 value[];
};
struct shared_count {
	shared64 recorded, filtered, idle, lost, unmatched, unsampled;
};

_Static_assert(sizeof(struct shared_record) == sizeof(struct record) &&
                       sizeof(struct shared_count) == sizeof(struct agent_count),
               "shared layout");

/* The memory of a flight recorder. It does not change; session_shm.flight does. */
struct flight_memory {
	void *at;
	uint32_t nslots;
};

/* ---- calls in flight ---- */

#define CALLS_DEEP 128 /* frames of a thread */
#define STARTS_DEEP 64 /* of MATCH_THREAD */

enum call_state { CALL_NONE, CALL_WRITING, CALL_ACTIVE, CALL_ENDING };

/* A call in flight. The begin is laid out as struct shared_record, so that arguments are written in the same way. */
struct agent_call {
	shared64 time;         /* of the begin; from the end on, the duration in ns */
	shared32 slot;         /* of the begin's point */
	shared32 words_faults; /* bit 8 + i: argument i could not be read */
	shared64 value[FETCH_ENTRY_MAX];
	shared64 place; /* the stack pointer, or the key */
	shared64 call;  /* which begins and ends belong together: call_id() */
	shared32 state; /* enum call_state */
	uint32_t reserved;
};

/* The calls of a thread, in its ring. */
struct agent_calls {
	shared32 depth; /* frames of MATCH_FRAME */
	shared32 next;  /* where the next start of MATCH_THREAD goes, modulo STARTS_DEEP */
	shared32 full;  /* calls in flight that found no room */
	uint32_t reserved;
	shared64 full_sp; /* the stack pointer at the first of them */
	struct agent_call frames[CALLS_DEEP], starts[STARTS_DEEP];
	struct agent_call spare; /* for a begin that cannot be kept */
};

_Static_assert(sizeof(struct agent_calls) <= AGENT_CALLS_SIZE, "room for calls");
_Static_assert(offsetof(struct agent_call, value) == offsetof(struct shared_record, value) &&
                       offsetof(struct agent_call, words_faults) == offsetof(struct shared_record, words_faults),
               "calls are written like records");

static inline struct agent_calls *ring_calls(struct agent_ring *ring)
{
	return (struct agent_calls *)((char *)ring + AGENT_CALLS_IN_RING);
}

/* Abandons the calls in flight of a ring, whose thread has ended. */
void calls_abandon(struct agent_ring *ring);
/* Makes the table of MATCH_KEY and finds out the rate of the clock. Call it in the agent's thread. Returns false without memory. */
bool calls_prepare(void);
/* Forgets the starts of MATCH_KEY of a session whose region has this index. */
void starts_forget(unsigned shm);

/* ---- sampling ---- */

/* The token bucket of a probe in this process. Times are those of the rings' clock. Never freed: trampolines contain its address. */
struct hit_bucket {
	uint64_t next; /* the first field: see rate_interval() */
	uint64_t interval, tolerance;
	uint64_t call; /* trampoline_consumer.call of the points that share it */
	uint32_t rate;
	struct hit_bucket *after;
};

/* The readable parts of the images that exist as long as a site does: the site's image, and the program's. */
#define IMAGE_RANGES 8
struct image_ranges {
	struct image_ranges *next;
	uint32_t n;
	struct {
		uintptr_t start, end;
	} range[IMAGE_RANGES];
};

/* ---- C functions for trampolines ---- */

struct hit_result {
	uint64_t value, fault;
};

/*
 * Trampolines call them through entry_*(), which save registers (entry-CPU.c).
 * frame: the entry's frame pointer, see FRAME_TO_STACK. Parameters are named after the
 * register of x86-64 if they are not used.
 */
struct hit_result trampoline_load(long rdi, long rsi, long rdx, unsigned size, uint64_t address, uintptr_t frame);
/* How trampoline_string() writes argument number i, a string of at most max bytes. sized: its length is its value so far. */
static inline uint32_t string_how(unsigned i, bool sized, unsigned max)
{
	return i | sized << 8 | max << 16;
}

/* Writes the string after the values of the record. how: string_how(). Returns the new end of the record. */
char *trampoline_string(const struct image_ranges *image, struct shared_record *record, char *cursor, uint32_t how,
                        uint64_t address, uintptr_t frame);
/* Where a literal has to be in a string. */
enum literal_place { LITERAL_ALL, LITERAL_BEGIN, LITERAL_PART, LITERAL_END };

/* Compare a string, or the thread's name, with a literal. how: enum literal_place; of the name only the first two. */
struct hit_result trampoline_match(const struct fetch_literal *literal, const struct image_ranges *image, long rdx,
                                   unsigned how, uint64_t address, uintptr_t frame);
struct hit_result trampoline_comm(const struct fetch_literal *literal, long rsi, long rdx, unsigned how);
/* Returns CLOCK_MONOTONIC, or UINT64_MAX if the hit must not make system calls, so that it counts as idle. */
uint64_t trampoline_now(void);
/* Returns the time for a thread without a ring, or 1 if it must not take the time, so that the hit counts as lost. */
uint64_t trampoline_late(void);
/* Gives back the words that a record did not need. */
void trampoline_shrink(struct agent_ring *ring, struct shared_record *record, char *cursor, unsigned reserved);
/* Takes a ring for the thread. Returns NULL if all are taken. */
struct agent_ring *trampoline_take(unsigned shm);
/* Makes room in a ring that may be overwritten. */
struct hit_result trampoline_room(struct agent_ring *ring);

/*
 * Adds the begin of a call. what: its slot, and its enum site_match in the high half. place: the stack pointer or the key.
 * Returns the struct agent_call to write its arguments and then its time to.
 */
struct hit_result trampoline_begin(uint64_t what, struct agent_ring *ring, uint64_t call, unsigned rcx, uint64_t place,
                                   uintptr_t frame);
/* Finds the call that ends and computes its duration. Returns its struct agent_call, or 0 if it was not seen. */
struct hit_result trampoline_end(uint64_t what, struct agent_ring *ring, uint64_t call, unsigned rcx, uint64_t place,
                                 uintptr_t frame);
/* Returns a hash of the string at the address. */
struct hit_result trampoline_hash(const struct image_ranges *image, long rsi, long rdx, unsigned rcx, uint64_t address,
                                  uintptr_t frame);

/* Takes a token of the bucket. Returns a fault if it has none. time: of the hit. */
struct hit_result trampoline_token(uint64_t time, struct hit_bucket *bucket);

void entry_token(void), entry_load(void), entry_begin(void), entry_end(void), entry_hash(void), entry_string(void),
	entry_match(void), entry_comm(void), entry_now(void), entry_shrink(void), entry_take(void), entry_room(void),
	entry_late(void);
/* Call this once before the first trampoline is made. */
void entry_prepare(void);

#endif
