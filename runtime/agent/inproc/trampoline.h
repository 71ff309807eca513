/* SPDX-License-Identifier: MIT */
/*
 * Trampolines: the code an armed site jumps to, one for a site, made from the programs
 * of all the points on it. trampoline-CPU.c makes it, entry.c has what it calls, by way of
 * entry-CPU.c.
 */
#ifndef RUNTIME_AGENT_INPROC_TRAMPOLINE_H
#define RUNTIME_AGENT_INPROC_TRAMPOLINE_H

#include "runtime/agent/inproc/agent.h"

#define TRAMPOLINE_MAX 65536u /* bytes of code of one */
#define TRAMPOLINE_ALIGN 16u

/* Where the parts of a shared memory region and a ring are: fixed, and known to trampolines as numbers. */
#define AGENT_DATA_IN_RING 4096u
#define AGENT_COUNTS_IN_RING (AGENT_DATA_IN_RING + AGENT_RING_SIZE + AGENT_RING_SLACK)
#define shm_slots_at 4096ull
#define shm_overflow_at (shm_slots_at + AGENT_SLOTS * sizeof(struct agent_slot))
#define shm_rings_at (shm_overflow_at + AGENT_SLOTS * sizeof(struct agent_count))
#define shm_ring_stride (AGENT_COUNTS_IN_RING + AGENT_SLOTS * sizeof(struct agent_count))
#define shm_size (shm_rings_at + AGENT_RINGS * shm_ring_stride)

/* The readable pieces of the images that stay as long as a site does: its own, and the program's. */
#define IMAGE_RANGES 8
struct image {
	struct image *next;
	uint32_t n;
	struct {
		uintptr_t start, end;
	} range[IMAGE_RANGES];
};

/* At the start of a region's executable part: what its trampolines call. */
struct trampoline_table {
	void *load, *string, *match, *comm, *now, *shrink, *take, *room, *late;
};

struct trampoline_consumer {
	const struct program *program;
	const struct agent_shm *shm;
	unsigned index; /* the shared memory region's */
	uint32_t slot;
};

/*
 * Writes the trampoline for a site to code, from which it will be copied to the address
 * at. Its length; 0: it cannot be made (a reason to refuse the last consumer).
 */
size_t trampoline_make(uint8_t code[TRAMPOLINE_MAX], uintptr_t at, uintptr_t site,
                       const struct trampoline_consumer *consumers, size_t n, const struct image *image,
                       const struct trampoline_table *table, const struct life *life);

/* Whether this CPU has what trampolines need, and a clock by itself. */
bool trampoline_cpu_ok(void);
bool trampoline_clock_invariant(void);
/* What a trampoline adds to the thread pointer for this part of struct thread. */
int32_t trampoline_tls(size_t offset);
void trampoline_table_fill(struct trampoline_table *table);

/* runtime/record.h's record and its counts, where they lie in the shared memory region. */
struct shared_record {
	shared64 time;
	shared32 point;
	shared32 words_faults; /* words in the low 8 bits */
	shared64 value[];
};
struct shared_count {
	shared64 recorded, filtered, idle, lost;
};

_Static_assert(sizeof(struct shared_record) == sizeof(struct record) &&
                       sizeof(struct shared_count) == sizeof(struct agent_count),
               "shared layout");

/* The C side of the entries. */
struct answer {
	uint64_t value, fault;
};

/* frame: the entry's frame pointer, see FRAME_TO_STACK. */
struct answer trampoline_load(long rdi, long rsi, long rdx, unsigned size, uint64_t address, uintptr_t frame);
char *trampoline_string(const struct image *image, struct shared_record *record, char *cursor, unsigned argument,
                        uint64_t address, uintptr_t frame);
struct answer trampoline_match(const struct fetch_literal *literal, const struct image *image, long rdx,
                               unsigned prefix, uint64_t address, uintptr_t frame);
struct answer trampoline_comm(const struct fetch_literal *literal, long rsi, long rdx, unsigned prefix);
uint64_t trampoline_now(void);
uint64_t trampoline_late(void); /* the time, for hits of a thread without a ring; 1: it may not ask for it */
uint64_t clock_ns(void);        /* CLOCK_MONOTONIC; not for hits */
void trampoline_shrink(struct agent_ring *ring, struct shared_record *record, char *cursor, unsigned reserved);
struct agent_ring *trampoline_take(unsigned shm);
struct answer trampoline_room(struct agent_ring *ring);

void entry_load(void), entry_string(void), entry_match(void), entry_comm(void), entry_now(void), entry_shrink(void),
	entry_take(void), entry_room(void), entry_late(void);
void entry_prepare(void); /* before the first trampoline is made */
bool image_has(const struct image *image, uint64_t address, size_t size);

#endif
