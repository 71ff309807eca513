/* SPDX-License-Identifier: MIT */
/*
 * The flight recorder of a region: memory that keeps what full rings drop. The rules of
 * hit-read.c hold here, too. protocol.h has the layout.
 *
 * 1. A full ring makes room for some KiB at a time (hit-ring.c). Its thread copies the
 *    entries to its current slot before it clears them. So a record costs one more copy
 *    of its bytes, and trampolines are those of every session.
 * 2. If the slot has no room, the thread takes the next slot in turn, which has the
 *    oldest entries of all threads. The next thread of the ring goes on with the slot,
 *    so that threads that hit a few times do not take a slot each.
 * 3. A thread owns a slot while the low bit of `turn` is set. It sets the bit by compare
 *    and exchange, so a thread that lost the CPU in the middle of a copy keeps its slot,
 *    and other threads pass over it.
 * 4. Entries that find no slot are dropped. They count as overwritten.
 */
#include "runtime/agent/inproc/hit-ring.h"

#define TRIES 8

#define SLOT_ROOM (AGENT_FLIGHT_SLOT - (uint32_t)sizeof(struct agent_flight_slot))
_Static_assert(SLOT_ROOM >= RECORD_SIZE_MAX + sizeof(struct agent_flight_part), "each record fits into a slot");

static struct agent_flight_slot *flight_slot(const struct flight_memory *memory, uint32_t i)
{
	return (struct agent_flight_slot *)((char *)memory->at + (uint64_t)i * AGENT_FLIGHT_SLOT);
}

static uint32_t slot_used(const struct agent_flight_slot *slot)
{
	const uint32_t used = shared_get(slot->used);

	return used < SLOT_ROOM ? used & ~7u : SLOT_ROOM;
}

/* Owns the slot that a thread of the ring wrote to last. Returns NULL if it has another turn since. */
static struct agent_flight_slot *slot_continue(const struct flight_memory *memory, struct agent_ring *ring)
{
	const uint32_t i = shared_get(ring->flight_slot);
	uint64_t turn = shared_get(ring->flight_turn);
	struct agent_flight_slot *slot;

	if (!turn || turn & 1 || i >= memory->nslots)
		return NULL;
	slot = flight_slot(memory, i);
	return shared_swap(slot->turn, &turn, turn | 1) ? slot : NULL;
}

/* Owns the slot that is next in turn, for the ring. Returns NULL if the next ones have owners. */
static struct agent_flight_slot *slot_take(const struct flight_memory *memory, const struct session_shm *shm,
                                           struct agent_ring *ring)
{
	for (unsigned try = 0; try < TRIES; try++) {
		const uint64_t number = shared_add(shm->at->flight_next, 1);
		const uint32_t i = number % memory->nslots;
		struct agent_flight_slot *slot = flight_slot(memory, i);
		uint64_t was = shared_get(slot->turn);

		/* The slot may have had later turns, if the thread has lost the CPU. */
		if (was & 1 || was > 2 * (number + 1) || !shared_swap(slot->turn, &was, 2 * (number + 1) | 1))
			continue;
		/* A reader that sees what follows sees the turn. */
		__atomic_thread_fence(__ATOMIC_SEQ_CST);
		shared_release(slot->used, 0);
		shared_release(slot->described, 2 * (number + 1));
		shared_set(ring->flight_slot, i);
		shared_set(ring->flight_turn, 2 * (number + 1));
		return slot;
	}
	return NULL;
}

/* Returns the end of the entries from a position on that fit into room bytes. */
static uint64_t entries_end(struct agent_ring *ring, uint64_t size, uint64_t from, uint64_t to, uint32_t room)
{
	uint64_t end = from;

	while (end != to) {
		struct ring_entry entry = ring_entry_at(ring, size, end);
		uint64_t next = 8 * (uint64_t)entry.words < to - end ? end + 8 * (uint64_t)entry.words : to;

		if (next - from > room)
			break;
		end = next;
	}
	return end;
}

/* Copies entry by entry, because one that ends in the slack after the ring's data is followed by one at its beginning. */
static void entries_copy(struct agent_ring *ring, uint64_t size, shared64 *to, uint64_t from, uint64_t end)
{
	while (from != end) {
		const shared64 *words = ring_words(ring, size, from);
		uint64_t n = (end - from) / 8, left = ring_entry_at(ring, size, from).words;

		if (left < n)
			n = left;
		for (uint64_t i = 0; i < n; i++)
			shared_set(to[i], shared_get(words[i]));
		to += n;
		from += 8 * n;
	}
}

/* Adds a part to a slot: as many of the entries as fit. Returns their end. */
static uint64_t part_add(struct agent_flight_slot *slot, struct agent_ring *ring, const struct session_shm *shm,
                         uint64_t from, uint64_t to)
{
	const uint32_t used = slot_used(slot);
	struct agent_flight_part *part = (struct agent_flight_part *)((char *)slot + sizeof(*slot) + used);
	uint64_t end;

	if (used + sizeof(*part) > SLOT_ROOM)
		return from;
	end = entries_end(ring, shm->ring_size, from, to, SLOT_ROOM - used - (uint32_t)sizeof(*part));
	if (end == from)
		return from;
	shared_set(part->begin, from);
	shared_set(part->size, (uint32_t)(end - from));
	shared_set(part->ring, shm_ring_number(shm, ring));
	shared_set(part->tid, shared_get(ring->tid));
	for (unsigned k = 0; k < sizeof(part->comm); k++)
		((volatile char *)part->comm)[k] = ((volatile char *)ring->comm)[k];
	entries_copy(ring, shm->ring_size, (shared64 *)(part + 1), from, end);
	shared_release(slot->used, used + (uint32_t)(sizeof(*part) + (end - from)));
	return end;
}

static void flight_store_in(const struct flight_memory *memory, struct agent_ring *ring, struct session_shm *shm,
                            uint64_t from, uint64_t to)
{
	while (from != to) {
		struct agent_flight_slot *slot = slot_continue(memory, ring);
		uint64_t end;

		if (!slot)
			slot = slot_take(memory, shm, ring);
		if (!slot)
			return;
		end = part_add(slot, ring, shm, from, to);
		if (end == from)
			shared_set(ring->flight_turn, 0);
		shared_release(slot->turn, shared_get(slot->turn) & ~1ull);
		from = end;
	}
}

void flight_store(struct agent_ring *ring, struct session_shm *shm, uint64_t from, uint64_t to)
{
	uint32_t *flight = hit_flight();
	const struct flight_memory *memory;

	/* mlockall() makes unused slots inaccessible for a moment, and the memory may be about to be unmapped. */
	__atomic_fetch_add(flight, 1, __ATOMIC_SEQ_CST);
	memory = __atomic_load_n(&shm->flight, __ATOMIC_SEQ_CST);
	if (memory && !__atomic_load_n(&agent.hidden, __ATOMIC_SEQ_CST))
		flight_store_in(memory, ring, shm, from, to);
	__atomic_fetch_sub(flight, 1, __ATOMIC_RELEASE);
	shared_release(ring->kept, to);
}
