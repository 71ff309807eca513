/* SPDX-License-Identifier: MIT */
/*
 * Aggregates, from the side of the thread that hits. The rules of hit-read.c hold here, too.
 *
 * A table consists of the keys, numbered from 0, and a hash table of these numbers with linear probing. It only grows.
 * To add a key, a thread
 *
 * 1. takes the next number;
 * 2. writes the key there;
 * 3. stores the number in the hash table, by compare and exchange, with release. If another thread or a signal handler
 *    has stored its number there first, and that has the same key, the thread uses that cell and gives its own number
 *    back, if no other was taken since. Otherwise it tries the next place.
 *
 * So no thread waits, and none sees an incomplete key. A thread that never reaches step 3 leaves a cell that is never
 * used. If no number is left, or PROBES places are taken by others, the value goes to the cell for `other` of its
 * column.
 *
 * Each ring has cells of its own for the first AGENT_RING_CELLS numbers. Only the ring's thread writes there, so one
 * instruction without lock prefix suffices. All other values are added atomically to the cells of the region.
 */
#include <linux/prctl.h>
#include <sys/syscall.h>

#include "runtime/agent/inproc/hit-aggregate.h"
#include "runtime/agent/inproc/hit-call.h"

#define PROBES 256

/* ---- the table ---- */

static inline uint64_t key_hash(const uint64_t *key, unsigned nwords)
{
	uint64_t hash = 0;

	for (unsigned i = 0; i < nwords; i++) {
		if (i < 2 || key[i])
			hash = key_hash_word(hash, key[i]);
	}
	return key_hash_end(hash);
}

static inline shared64 *table_key(const struct hit_table *table, uint32_t cell)
{
	return (shared64 *)(table->keys + (uint64_t)cell * table->key_size);
}

static inline bool table_key_is(const struct hit_table *table, uint32_t cell, const uint64_t *key, unsigned nwords)
{
	const shared64 *at = table_key(table, cell);

	for (unsigned i = 0; i < nwords; i++)
		if (shared_get(at[i]) != key[i])
			return false;
	return true;
}

/* Takes a number and writes the key there. */
static uint32_t table_claim(const struct hit_table *table, const uint64_t *key, unsigned nwords)
{
	uint32_t cell = shared_get(*table->nused);
	shared64 *at;

	do {
		if (cell >= table->ncells)
			return HIT_NO_CELL;
	} while (!shared_swap(*table->nused, &cell, cell + 1));
	at = table_key(table, cell);
	for (unsigned i = 0; i < nwords; i++)
		shared_set(at[i], key[i]);
	return cell;
}

static void table_give_back(const struct hit_table *table, uint32_t cell)
{
	uint32_t used = cell + 1;

	if (cell != HIT_NO_CELL)
		shared_swap(*table->nused, &used, cell);
}

uint32_t table_cell(const struct hit_table *table, const uint64_t *key, unsigned nwords, unsigned distinct)
{
	uint32_t at = key_hash(key, distinct) >> table->shift, claimed = HIT_NO_CELL;

	for (unsigned i = 0; i < PROBES; i++, at = (at + 1) & table->mask) {
		uint32_t found = shared_acquire(table->index[at]);

		if (!found) {
			if (claimed == HIT_NO_CELL)
				claimed = table_claim(table, key, nwords);
			if (claimed == HIT_NO_CELL)
				return HIT_NO_CELL;
			if (shared_swap(table->index[at], &found, claimed + 1))
				return claimed;
		}
		if (found - 1 < table->ncells && table_key_is(table, found - 1, key, distinct)) {
			table_give_back(table, claimed);
			return found - 1;
		}
	}
	table_give_back(table, claimed);
	return HIT_NO_CELL;
}

/* ---- cells ---- */

/* Raises a word that only this thread writes, or its signal handlers. */
static inline void word_raise(shared64 *word, uint64_t value)
{
	uint64_t was;

	do {
		was = shared_get(*word);
	} while (value > was && !cpu_exchange(&word->word, was, value));
}

static void word_raise_shared(shared64 *word, uint64_t value)
{
	uint64_t was = shared_get(*word);

	while (value > was && !shared_swap(*word, &was, value))
		;
}

static void hit_cell_add_shared(struct shared_cell *cell, uint64_t value, uint64_t high)
{
	if (value)
		shared_add(cell->sum, value);
	word_raise_shared(&cell->low, ~high);
	word_raise_shared(&cell->high, high);
	shared_add(cell->count, 1);
}

/* Returns the thread's own cell of that number, or NULL if it has none. */
static inline struct shared_cell *thread_cell(const struct hit_table *table, uint32_t number)
{
	struct agent_ring *ring = agent_thread.ring[table->shm];
	uint32_t was;

	if (!ring || number >= AGENT_RING_CELLS)
		return NULL;
	was = shared_get(ring->ncells);
	while (number >= was && !shared_swap(ring->ncells, &was, number + 1))
		;
	return (struct shared_cell *)((char *)ring + AGENT_CELLS_IN_RING) + number;
}

/* high: see struct agent_cell. */
static inline void hit_cell_add(const struct hit_table *table, uint32_t number, uint64_t value, uint64_t high)
{
	struct shared_cell *cell = thread_cell(table, number);

	if (!cell) {
		hit_cell_add_shared(&table->cells[number], value, high);
		return;
	}
	if (value)
		cpu_add(&cell->sum.word, value);
	word_raise(&cell->low, ~high);
	word_raise(&cell->high, high);
	cpu_add(&cell->count.word, 1);
}

/* Returns how many words of a key that ends with a string distinguish it: those up to the first word of its padding. */
static inline unsigned key_distinct(const uint64_t *key, unsigned nwords)
{
	unsigned i = nwords - AGG_STRING / 8;

	while (i < nwords && key[i])
		i++;
	return i < nwords ? i + 1 : nwords;
}

void trampoline_aggregate(const struct hit_group *group, uint64_t *key, const struct agg_column *column, unsigned what,
                          uint64_t value, uintptr_t frame)
{
	const struct hit_table *table = group->table;
	const unsigned number = what & 255, nwords = (what & ~HIT_ENDS_WITH_STRING) >> 8;
	uint64_t bucket = column->histogram == AGG_PLAIN ? 0 : agg_bucket(column, value);
	uint32_t cell;

	(void)frame;
	key[0] = group->group | (uint64_t)number << 32 | bucket << 48;
	cell = table_cell(table, key, nwords, what & HIT_ENDS_WITH_STRING ? key_distinct(key, nwords) : nwords);
	hit_cell_add(table, cell == HIT_NO_CELL ? group->misfits + 2 * number : table->first + cell, value,
	             column->is_unsigned ? value : value ^ 1ull << 63);
}

void trampoline_unread(const struct hit_group *group, long rsi, unsigned n, unsigned first)
{
	(void)rsi;
	for (unsigned i = first; i < first + n; i++) {
		uint32_t number = group->misfits + 2 * i + 1;
		struct shared_cell *cell = thread_cell(group->table, number);

		if (cell)
			cpu_add(&cell->count.word, 1);
		else
			shared_add(group->table->cells[number].count, 1);
	}
}

/* ---- keys ---- */

struct hit_result trampoline_keycomm(long rdi, char *part)
{
	struct hit_result answer = { 0, 0 };
	bool ended = false;

	(void)rdi;
	answer.fault = hit_call(SYS_prctl, PR_GET_NAME, (long)part, 0, 0, 0, 0) != 0;
	for (unsigned i = 0; i < AGG_STRING; i++) {
		ended |= i >= 16 || !part[i];
		if (ended)
			part[i] = 0;
	}
	return answer;
}

/* Returns the number in the thread's struct rseq, which the kernel writes; -1 if the thread has not registered one. */
static int32_t rseq_cpu(void)
{
	const char *self = __builtin_thread_pointer();

	return agent.rseq_at ? __atomic_load_n((const int32_t *)(self + agent.rseq_at + RSEQ_CPU), __ATOMIC_RELAXED)
	                     : -1;
}

struct hit_result trampoline_cpu(void)
{
	struct hit_result answer = { 0, 0 };
	int32_t known = rseq_cpu();
	unsigned cpu = known;

	if (known < 0 && !cpu_number(&cpu))
		answer.fault = hit_call(SYS_getcpu, (long)&cpu, 0, 0, 0, 0, 0) != 0;
	if (!answer.fault)
		answer.value = cpu;
	return answer;
}
