/* SPDX-License-Identifier: MIT */
/* Aggregates in a hit: hit-aggregate.c. protocol.h has the layout of tables and cells. */
#ifndef RUNTIME_AGENT_INPROC_HIT_AGGREGATE_H
#define RUNTIME_AGENT_INPROC_HIT_AGGREGATE_H

#include "runtime/agent/inproc/hit.h"

struct shared_cell {
	shared64 count, sum, low, high;
};

_Static_assert(sizeof(struct shared_cell) == sizeof(struct agent_cell), "shared layout");

/*
 * The agent's own copy of what struct agent_table describes. All numbers and addresses that a hit uses come from here,
 * because other processes can write to the region. It is never freed, because trampolines contain its address.
 */
struct hit_table {
	shared32 *index, *nused;
	char *keys;
	struct shared_cell *cells; /* of the region */
	uint32_t mask, shift;      /* of the hash table */
	uint32_t ncells, key_size;
	uint32_t first; /* number of the first key's cell */
	uint32_t shm;   /* index of the region */
};

/* A group of the attachment's manifest. Trampolines contain its address. */
struct hit_group {
	const struct hit_table *table;
	uint32_t group;
	uint32_t misfits; /* number of the cell for `other` of column 0 */
};

/*
 * The hash of a key, word by word: hash = key_hash_word(hash, word), from 0, and key_hash_end(hash) at the end, whose
 * highest bits are the place in the hash table. From the third word on, words that are 0 are left out, as most of a short
 * string. Trampolines contain the same for keys of at most two words.
 */
#define KEY_HASH_FACTOR 0x9e3779b97f4a7c15ull
#define KEY_HASH_SHIFT 29

static inline uint64_t key_hash_word(uint64_t hash, uint64_t word)
{
	hash = (hash ^ word) * KEY_HASH_FACTOR;
	return hash ^ hash >> KEY_HASH_SHIFT;
}

static inline uint64_t key_hash_end(uint64_t hash)
{
	return hash * KEY_HASH_FACTOR;
}

#define RSEQ_CPU 4 /* offset of the CPU's number in struct rseq */
#define HIT_COLUMN(column, nwords) ((column) | (nwords) << 8)
#define HIT_ENDS_WITH_STRING (1u << 31) /* the last part of the key is a string or the name of a thread */

/*
 * Called by trampolines, as the functions in hit.h. key: a struct agg_key whose parts are complete. what:
 * HIT_COLUMN() of the column's number and the length of the key in words of 8 bytes. HIT_ENDS_WITH_STRING is added if it applies.
 */
void trampoline_aggregate(const struct hit_group *group, uint64_t *key, const struct agg_column *column, unsigned what,
                          uint64_t value, uintptr_t frame);
/* Counts the hit as unread in n columns, from the first on. */
void trampoline_unread(const struct hit_group *group, long rsi, unsigned n, unsigned first);
/* Write a string, and the thread's name, into a key. */
struct hit_result trampoline_keystr(const struct image_ranges *image, char *part, long rdx, long rcx, uint64_t address,
                                    uintptr_t frame);
struct hit_result trampoline_keycomm(long rdi, char *part);
/* Walks the stack of calls, whose first words are in place. The program's memory is only read where that is sure to work. */
struct hit_result trampoline_keystack(long rdi, uint64_t *words, long rdx, long rcx, long rax, uintptr_t frame);
/* Returns the number of the CPU that the thread runs on. */
struct hit_result trampoline_cpu(void);

void entry_aggregate(void), entry_unread(void), entry_keystr(void), entry_keycomm(void), entry_keystack(void),
	entry_cpu(void);

/* ---- for the agent's thread ---- */

/*
 * Returns the number of the key's cell in the table, or HIT_NO_CELL if there is no room. The key has nwords words. The first
 * `distinct` words are hashed and compared: if they are equal in two keys, so are the others.
 */
#define HIT_NO_CELL UINT32_MAX
uint32_t table_cell(const struct hit_table *table, const uint64_t *key, unsigned nwords, unsigned distinct);

#endif
