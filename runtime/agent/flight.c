/* SPDX-License-Identifier: MIT */
/*
 * Reads the records of a flight recorder. protocol.h describes it. The region's process goes on writing, or has ended at any
 * instruction.
 *
 *  1. Rings come first. The reader copies the entries from `kept` to `head`. Its thread moves `kept` on before it clears
 *     entries, so after the copy those from `kept` on are valid. The others are in slots by then, which are read later.
 *  2. A thread that has reserved more than its record needs moves `head` back. What follows an entry that is not finished
 *     is therefore valid only if the entry is unchanged after the copy.
 *  3. Parts of slots have entries with the ring and the position that they had. Those from the position on at which the ring
 *     was read are skipped, so no record is returned twice.
 *
 * Positions show which entries are missing. Backwards from where a ring was read, the entries that are found follow
 * each other up to a gap. Entries before the gap were overwritten, so the ring is complete from the first entry after
 * the gap on. The time of that entry can be earlier than that of an entry before the gap, because a signal handler with
 * hits takes its times after that of the hit that it interrupts, but its entries come first. If fewer than FIRST of
 * these handlers are nested, the latest of the first FIRST entries after the gap is later than all entries before it.
 *
 * All that is read is another process's data, which is checked after it was copied.
 */
#include "runtime/agent/flight.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "runtime/record.h"

#define SLOT_ROOM (AGENT_FLIGHT_SLOT - sizeof(struct agent_flight_slot))
_Static_assert(SLOT_ROOM <= AGENT_RING_SIZE_MIN, "memory for the entries of a ring has room for those of a slot");

/* The entries of a ring or of a part of a slot; or the parts of a slot, without a position. */
struct entries {
	uint64_t begin; /* the position of the first byte */
	size_t size;
	unsigned char *bytes; /* room for those of a ring, and of a slot */
};

enum { FIRST = 8 };

/* The times of the first records of some entries, in the region's clock. */
struct first_times {
	uint64_t times[FIRST];
	size_t n;
};

/* What was found of a ring. */
struct ring_run {
	uint64_t read_from; /* entries from here on were read in the ring */
	uint64_t begin;     /* all entries from here up to `read_from` were found in slots */
	bool broken;        /* entries before `begin` are not there */
	bool cut;           /* entries of the ring could not be read */
	struct first_times first;
};

/* Entries of a ring that follow each other in a slot. */
struct slot_run {
	uint32_t ring;
	uint64_t begin, end; /* end == begin: none */
	struct first_times first;
};

/* What the flight recorder is read into. */
struct flight_work {
	const struct mapped_shm *shm;
	const struct flight_reading *reading;
	uint64_t now;   /* ns; no record that was copied is later */
	uint64_t *ring; /* a copy of a ring's memory */
	struct entries entries;
	struct ring_run runs[]; /* of each ring */
};

/* ---- what was overwritten ---- */

static void first_times_add(struct first_times *first, uint64_t time)
{
	if (first->n < FIRST)
		first->times[first->n++] = time;
}

/* Adds the entries of a slot to the run of their ring. Callers add the last entries first. */
static void ring_run_add(struct flight_work *w, struct slot_run *found)
{
	struct ring_run *run = &w->runs[found->ring];

	if (found->begin == found->end || run->broken || found->begin >= run->begin)
		return;
	run->broken = found->end < run->begin;
	if (run->broken)
		return;
	run->begin = found->begin;
	for (size_t i = 0; i < run->first.n; i++)
		first_times_add(&found->first, run->first.times[i]);
	run->first = found->first;
}

/* Returns since when the ring is complete, in the region's clock. 0: nothing was overwritten; UINT64_MAX: not yet. */
static uint64_t ring_run_since(const struct flight_work *w, uint32_t ring)
{
	const struct ring_run *run = &w->runs[ring];
	uint64_t since = run->first.n && !run->cut ? 0 : UINT64_MAX;

	if (!run->cut && run->begin == __atomic_load_n(&shm_ring(w->shm, ring)->origin, __ATOMIC_RELAXED))
		return 0;
	for (size_t i = 0; i < run->first.n; i++)
		since = run->first.times[i] > since ? run->first.times[i] : since;
	return since;
}

static void flight_find_gaps(const struct flight_work *w, uint32_t nrings)
{
	for (uint32_t i = 0; i < nrings; i++) {
		uint64_t since = ring_run_since(w, i), now = clock_ns();

		if (since && since != UINT64_MAX)
			since = record_clock_to_ns(w->reading->clock, w->shm, since, &now);
		snapshot_gaps_until(w->reading->gaps, since == UINT64_MAX ? now : since);
	}
}

/* ---- records ---- */

static int record_give(struct flight_work *w, const struct record *from, size_t words, uint32_t tid,
                       const char comm[16])
{
	const struct flight_reading *r = w->reading;
	_Alignas(8) unsigned char bytes[RECORD_SIZE_MAX];
	struct record *record = (struct record *)bytes;
	struct record_thread thread = { .pid = w->shm->pid, .tid = tid };
	struct agent_slot slot;

	memcpy(record, from, 8 * words);
	record_set_words(record, (uint32_t)words);
	if (record->point >= shm_used(w->shm))
		return 0;
	slot = shm_slot(w->shm, record->point);
	/* The slot has been given to another point since, or has none. */
	if (slot.attachment == AGENT_NO_ATTACHMENT || !slot.since || slot.since > record->time)
		return 0;
	thread.attachment = slot.attachment;
	memcpy(thread.comm, comm, sizeof(thread.comm));
	thread.comm[sizeof(thread.comm) - 1] = 0;
	record->point = slot.point & RECORD_POINT_MASK;
	record->time = record_clock_to_ns(r->clock, w->shm, record->time, &w->now);
	return r->fn(&thread, record, 8 * words, r->arg);
}

/*
 * Gives the records among the entries with positions from `from` up to `until`. Adds the times of the first ones to
 * *first.
 */
static int entries_give(struct flight_work *w, const struct entries *e, uint64_t from, uint64_t until, uint32_t tid,
                        const char comm[16], struct first_times *first)
{
	/* Times are limited to now, so now has to be after the copy. Else the last records of a thread have one time. */
	w->now = clock_ns();
	for (size_t at = 0; at < e->size;) {
		const struct record *record = (const struct record *)(e->bytes + at);
		size_t left = (e->size - at) / 8, words = 0;
		uint64_t word = record->time;
		int err = 0;

		if (word >= AGENT_WORD_TIME)
			words = left >= sizeof(*record) / 8 ? record_words(record) : 0;
		else if (word >= AGENT_WORD_SKIP)
			words = word - AGENT_WORD_SKIP;
		else
			words = word ? word : 1; /* a record that its thread has not finished */
		if (!words || words > left || (word >= AGENT_WORD_TIME && words < sizeof(*record) / 8))
			break;
		if (e->begin + at >= until)
			break;
		if (word < AGENT_WORD_SKIP)
			w->reading->gaps->passed += word != 0;
		else if (word >= AGENT_WORD_TIME)
			first_times_add(first, word);
		if (word >= AGENT_WORD_TIME && e->begin + at >= from && words <= RECORD_SIZE_MAX / 8)
			err = record_give(w, record, words, tid, comm);
		if (err)
			return err;
		at += 8 * words;
	}
	return 0;
}

/* ---- rings ---- */

static size_t ring_bytes(const struct mapped_shm *shm)
{
	return (size_t)shm->ring_size + AGENT_RING_SLACK;
}

static size_t ring_offset(const struct mapped_shm *shm, uint64_t position)
{
	return position & (shm->ring_size - 1) & ~7ull;
}

/*
 * Copies all of a ring's memory, from the first word to the last. A thread writes the time of a record last, so a copy that
 * has the time has the whole record.
 */
static void ring_copy(const struct mapped_shm *shm, uint32_t ring, uint64_t *to)
{
	const uint64_t *from = (const uint64_t *)shm_data(shm, ring);

	for (size_t i = 0; i < ring_bytes(shm) / 8; i++)
		to[i] = __atomic_load_n(&from[i], __ATOMIC_ACQUIRE);
}

/*
 * Takes the entries between two positions out of a copy. Ends at one that is not valid, and at one that was not
 * finished and has changed since, because its thread may have given back what it did not need, and then written there.
 * Returns false if more entries follow, which are those of a signal handler that interrupted a hit.
 */
static bool ring_take_entries(struct flight_work *w, uint32_t ring, uint64_t from, uint64_t head)
{
	struct entries *to = &w->entries;

	to->begin = from;
	to->size = 0;
	while (from != head) {
		const unsigned char *at = (const unsigned char *)w->ring + ring_offset(w->shm, from);
		uint64_t word = w->ring[ring_offset(w->shm, from) / 8], left = (head - from) / 8, words;

		if (word >= AGENT_WORD_TIME)
			words = record_words((const struct record *)at);
		else if (word >= AGENT_WORD_SKIP)
			words = word - AGENT_WORD_SKIP;
		else
			words = word ? word : 1;
		if (!words || words > left || words > RECORD_SIZE_MAX / 8)
			return false;
		if (word < AGENT_WORD_SKIP &&
		    __atomic_load_n((const uint64_t *)(shm_data(w->shm, ring) + ring_offset(w->shm, from)),
		                    __ATOMIC_ACQUIRE) != word)
			return words == left;
		memcpy(to->bytes + to->size, at, 8 * words);
		to->size += 8 * words;
		from += 8 * words;
	}
	return true;
}

/* Reads a ring, and gives its records. Begins its run. */
static int flight_read_ring(struct flight_work *w, uint32_t ring)
{
	const struct agent_ring *header = shm_ring(w->shm, ring);
	struct ring_run *run = &w->runs[ring];
	uint64_t kept = __atomic_load_n(&header->kept, __ATOMIC_ACQUIRE), head;
	uint32_t tid;
	char comm[16];

	run->read_from = run->begin = kept;
	if (!shm_ring_is_used(w->shm, ring))
		return 0;
	head = __atomic_load_n(&header->head, __ATOMIC_ACQUIRE);
	tid = __atomic_load_n(&header->tid, __ATOMIC_RELAXED);
	memcpy(comm, header->comm, sizeof(comm));
	ring_copy(w->shm, ring, w->ring);
	kept = __atomic_load_n(&header->kept, __ATOMIC_ACQUIRE);
	run->read_from = run->begin = kept;
	/* The thread may have dropped all of these meanwhile. */
	if (head - kept > w->shm->ring_size || (head | kept) & 7)
		return 0;
	run->cut = !ring_take_entries(w, ring, kept, head);
	return entries_give(w, &w->entries, kept, head, tid, comm, &run->first);
}

/* ---- slots ---- */

static uint64_t slot_number(uint64_t turn)
{
	return turn / 2 - 1;
}

/*
 * Copies the parts of the slot that was taken with that number. Returns 1, 0 if it does not have that number yet or was
 * passed over, -1 if it was taken again.
 */
static int slot_copy(const struct agent_flight_slot *slot, uint64_t number, struct entries *to)
{
	uint64_t turn = __atomic_load_n(&slot->turn, __ATOMIC_ACQUIRE);
	uint64_t described = __atomic_load_n(&slot->described, __ATOMIC_ACQUIRE);

	if (!turn || slot_number(turn) != number)
		return turn && slot_number(turn) > number ? -1 : 0;
	if (described != (turn & ~1ull))
		return 0;
	to->size = __atomic_load_n(&slot->used, __ATOMIC_ACQUIRE);
	if (to->size > SLOT_ROOM || to->size & 7)
		return 0;
	memcpy(to->bytes, slot + 1, to->size);
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	return (__atomic_load_n(&slot->turn, __ATOMIC_ACQUIRE) & ~1ull) == described ? 1 : -1;
}

/* Gives the records of the parts of a slot. Ends at a part that is not valid. */
static int parts_give(struct flight_work *w)
{
	struct slot_run found = { .ring = 0 };
	struct agent_flight_part part;
	int err = 0;

	for (size_t at = 0; !err && w->entries.size - at >= sizeof(part);) {
		struct entries entries;

		memcpy(&part, w->entries.bytes + at, sizeof(part));
		at += sizeof(part);
		if (!part.size || part.size & 7 || part.size > w->entries.size - at || part.ring >= w->shm->nrings)
			break;
		if (part.ring != found.ring || part.begin != found.end) {
			ring_run_add(w, &found);
			found = (struct slot_run){ .ring = part.ring, .begin = part.begin };
		}
		found.end = part.begin + part.size;
		entries = (struct entries){ part.begin, part.size, w->entries.bytes + at };
		err = entries_give(w, &entries, part.begin, w->runs[part.ring].read_from, part.tid, part.comm,
		                   &found.first);
		at += part.size;
	}
	ring_run_add(w, &found);
	return err;
}

struct slot_turn {
	uint64_t number;
	uint32_t slot;
};

/* Orders the newest first. */
static int slot_turn_compare(const void *a, const void *b)
{
	uint64_t x = ((const struct slot_turn *)a)->number, y = ((const struct slot_turn *)b)->number;

	return (x < y) - (x > y);
}

/*
 * Reads the slots from the newest to the oldest. Threads overwrite the oldest slot first, but pass over one that a thread
 * writes to, however old it is. So the reader ends at the first slot that is taken again, and has all records of a thread
 * from some time on.
 */
static int flight_read_slots(struct flight_work *w)
{
	const struct mapped_shm *shm = w->shm;
	uint64_t next = shm->flight_slots ? __atomic_load_n(&shm->header->flight_next, __ATOMIC_ACQUIRE) : 0;
	struct slot_turn *turns = calloc(shm->flight_slots + (size_t)1, sizeof(*turns));
	size_t n = 0;
	int err = 0;

	if (!turns)
		return error_nomem();
	/* Slots that were never used are not read, because that would allocate their pages. */
	for (uint32_t i = 0; i < shm->flight_slots && i < next; i++) {
		uint64_t turn = __atomic_load_n(&shm_flight_slot(shm, i)->turn, __ATOMIC_ACQUIRE);

		if (turn)
			turns[n++] = (struct slot_turn){ slot_number(turn), i };
	}
	qsort(turns, n, sizeof(*turns), slot_turn_compare);
	for (size_t i = 0; i < n && !err; i++) {
		int copied = slot_copy(shm_flight_slot(shm, turns[i].slot), turns[i].number, &w->entries);

		if (copied < 0)
			break;
		if (copied)
			err = parts_give(w);
	}
	free(turns);
	return err;
}

int flight_read(const struct mapped_shm *shm, const struct flight_reading *reading)
{
	struct flight_work *w = calloc(1, sizeof(*w) + shm->nrings * sizeof(*w->runs));
	const uint32_t known = shm_known_rings(shm);
	int err = 0;

	if (!w)
		return error_nomem();
	w->shm = shm;
	w->reading = reading;
	w->ring = malloc(ring_bytes(shm));
	w->entries.bytes = malloc(ring_bytes(shm));
	if (!w->ring || !w->entries.bytes)
		err = error_nomem();
	for (uint32_t i = 0; i < known && !err; i++)
		err = flight_read_ring(w, i);
	if (!err)
		err = flight_read_slots(w);
	if (!err)
		flight_find_gaps(w, known);
	free(w->entries.bytes);
	free(w->ring);
	free(w);
	return err;
}
