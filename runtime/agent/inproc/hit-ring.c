/* SPDX-License-Identifier: MIT */
/*
 * Rings, from the side of the thread that writes to them. The rules of hit-read.c hold
 * here, too. protocol.h has the layout of rings and records.
 *
 * Taking a ring. A thread takes a ring at its first hit of a session:
 *
 * 1. A free ring, or one that is finished and read to its end.
 * 2. Otherwise the ring of a thread that has ended. In a region that may be
 *    overwritten, also a finished ring with unread records, the next in turn, so that
 *    the oldest ring goes first.
 * 3. Otherwise the hit counts in shared cells, and the thread tries again after
 *    1, 3, 7 and finally 1024 more hits.
 *
 * Overwriting. A full ring whose region is overwritten makes room:
 *
 * 1. The thread claims the oldest records by moving `taken` forward, by compare and
 *    exchange. The reader, too, claims records by `taken`, after it has copied them.
 *    So a copy is good if the reader's exchange succeeds.
 * 2. The thread clears the claimed records. Those that had not been read are counted as
 *    lost instead of recorded.
 * 3. The thread moves `limit` forward, and may write there.
 *
 * In a flight recorder no reader takes records. A thread copies them to memory that all
 * threads share before it clears them (hit-flight.c), and they stay recorded.
 *
 * Other processes can write anything to a ring. All values are read once, checked, and
 * used as offsets within the ring's data only.
 */
#include <linux/prctl.h>
#include <pthread.h>
#include <sys/syscall.h>

#include "runtime/agent/inproc/hit-ring.h"

/* Returns the mask of positions in one of the thread's rings; 0 if it is not the thread's any more. */
static uint64_t ring_mask_of(const struct agent_ring *ring)
{
	for (unsigned i = 0; i < SHMS_MAX; i++)
		if (agent_thread.ring[i] == ring)
			return agent_thread.mask[i];
	return 0;
}

/* ---- giving back space ---- */

/*
 * The space beyond the record was never written, so it contains zeroes. A signal
 * handler may have reserved space after this record; then the rest becomes a gap that
 * readers skip.
 */
void trampoline_shrink(struct agent_ring *ring, struct shared_record *record, char *cursor, unsigned reserved)
{
	uint64_t words = (cursor - (char *)record) / 8, begin, head = shared_get(ring->head);
	uint64_t mask = ring_mask_of(ring);

	shared_set(record->words_faults, (shared_get(record->words_faults) & ~255u) | (words & 255));
	if (words > 255)
		shared_set(record->point_words,
		           (shared_get(record->point_words) & RECORD_POINT_MASK) | words >> 8 << 24);
	begin = (uint64_t)((char *)record - ((char *)ring + AGENT_DATA_IN_RING));
	if (words == reserved)
		return;
	shared_set(record->time, words);
	if (((head - 8 * reserved) & mask) == begin &&
	    cpu_exchange(&ring->head.word, head, head - 8 * (reserved - words)))
		return;
	shared_set(*(shared64 *)cursor, AGENT_WORD_SKIP + (reserved - words));
}

/* ---- making room ---- */

#define ROOM(size) ((size) / 16) /* made at once */

/* Moves n hits of the slot from recorded to lost. */
static void recorded_to_lost(struct agent_ring *ring, uint32_t slot, uint64_t n)
{
	struct shared_count *count = (struct shared_count *)((char *)ring + AGENT_COUNTS_IN_RING) + slot;

	if (!n)
		return;
	shared_add(count->recorded, -n);
	shared_add(count->lost, n);
}

/* Returns whether a record belongs to the current point of its slot. A peer may have written any point. */
static bool ring_entry_counts(const struct session_shm *shm, const struct ring_entry *found)
{
	const struct agent_slot *slots = (const struct agent_slot *)((const char *)shm->at + shm_slots_at);

	return found->time >= AGENT_WORD_TIME && found->point < AGENT_SLOTS &&
	       __atomic_load_n(&slots[found->point].since, __ATOMIC_RELAXED) <= found->time;
}

/*
 * Claims entries from `taken` up to the position before. Stops at one that is being
 * written, unless its thread has ended. Returns false if the ring's header is invalid;
 * else *taken is where `taken` was, *end where it is.
 */
static bool ring_claim(struct agent_ring *ring, uint64_t size, uint64_t tail, uint64_t head, uint64_t before,
                       bool ended, uint64_t *taken, uint64_t *end)
{
	const uint64_t used = head - tail;

	if (used > size || before - tail > used)
		return false;
	do {
		*taken = *end = shared_acquire(ring->taken);
		if (*taken - tail > used)
			return false;
		while (*end - tail < before - tail) {
			struct ring_entry entry = ring_entry_at(ring, size, *end);

			if (!entry.whole && !ended)
				break;
			*end = 8 * entry.words < head - *end ? *end + 8 * entry.words : head;
		}
	} while (*end != *taken && !shared_swap(ring->taken, taken, *end));
	return true;
}

/* Clears the entries from tail to end. Those from taken on were not read: counts them as lost. */
static void ring_clear(struct agent_ring *ring, const struct session_shm *shm, uint64_t tail, uint64_t taken,
                       uint64_t end)
{
	const bool is_flight = shared_get(shm->at->overwrite) == AGENT_FLIGHT;
	const uint64_t size = shm_ring_size(shm, ring);
	uint64_t n = 0;
	uint32_t slot = 0;

	for (uint64_t at = tail; at - tail < end - tail;) {
		struct ring_entry entry = ring_entry_at(ring, size, at);
		shared64 *word = ring_words(ring, size, at);

		if (!is_flight && at - tail >= taken - tail && ring_entry_counts(shm, &entry)) {
			if (entry.point != slot) {
				recorded_to_lost(ring, slot, n);
				n = 0;
			}
			slot = entry.point;
			n++;
		}
		for (unsigned i = 0; i < entry.words; i++)
			shared_set(word[i], 0);
		at += 8 * entry.words;
	}
	recorded_to_lost(ring, slot, n);
}

/*
 * Drops entries before a position, as far as they are whole; all of them if the ring's
 * thread has ended. Returns false if nothing was dropped.
 */
static bool ring_drop(struct agent_ring *ring, struct session_shm *shm, uint64_t limit, uint64_t before, bool ended)
{
	const uint64_t size = shm_ring_size(shm, ring), head = shared_get(ring->head), tail = limit - size;
	uint64_t taken, end;

	if (!ring_claim(ring, size, tail, head, before, ended, &taken, &end))
		return false;
	if (shared_get(shm->at->overwrite) == AGENT_FLIGHT)
		flight_store(ring, shm, tail, end);
	ring_clear(ring, shm, tail, taken, end);
	shared_release(ring->limit, end + size);
	return end != tail;
}

/* A signal handler that comes in the middle of this loses its record. */
struct hit_result trampoline_room(struct agent_ring *ring)
{
	struct hit_thread *t = &agent_thread;
	struct hit_result answer = { 0, 1 };
	uint64_t limit;

	if (t->dropping)
		return answer;
	t->dropping = 1;
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	limit = shared_get(ring->limit);
	for (unsigned i = 0; i < SHMS_MAX; i++) {
		const uint64_t size = t->mask[i] + 8;

		if (t->ring[i] == ring)
			answer.fault = !ring_drop(ring, &agent.shms[i], limit, limit - size + ROOM(size), false);
	}
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	t->dropping = 0;
	return answer;
}

/* ---- taking a ring ---- */

/* Returns the thread's id as the C library knows it (in a child of vfork(), the parent's), or 0 if it is unknown. */
static uint32_t thread_tid_learn(void)
{
	long tid;

	if (agent.tid_at)
		return *(const uint32_t *)((const char *)__builtin_thread_pointer() + (int32_t)agent.tid_at);
	tid = hit_call(SYS_gettid, 0, 0, 0, 0, 0, 0);
	return tid > 0 ? tid : 0;
}

static bool thread_is_dead(uint32_t tid)
{
	return hit_call(SYS_tgkill, agent.pid, tid, 0, 0, 0, 0) == -ESRCH;
}

/* Returns whether a ring with this state has records that no reader has read. */
static bool ring_has_unread(struct agent_ring *ring, uint32_t state, uint32_t size)
{
	return state != AGENT_RING_FREE && shared_get(ring->head) + size != shared_acquire(ring->limit);
}

/* Returns whether the thread can take the ring. See ring_take(). */
static bool ring_can_be_taken(const struct session_shm *shm, struct agent_ring *ring, const struct hit_thread *t,
                              uint32_t state, uint32_t owner, bool by_force)
{
	const uint32_t overwrite = shared_get(shm->at->overwrite);

	if (state == AGENT_RING_MOVING ||
	    (state == AGENT_RING_TAKEN && (!by_force || (owner != t->tid && !thread_is_dead(owner)))))
		return false;
	if (overwrite == AGENT_FLIGHT || !ring_has_unread(ring, state, shm_ring_size(shm, ring)))
		return true;
	return overwrite && (by_force || shared_get(ring->head) == shared_acquire(ring->taken));
}

/*
 * Owns the ring if it still has the state and the owner that were read. The old owner's id stays until its records are
 * moved. Until then the state keeps away other threads that find that this owner has ended.
 */
static bool ring_own(struct agent_ring *ring, uint32_t state, uint32_t owner, uint32_t turns)
{
	uint32_t moving = AGENT_RING_MOVING;

	if (!shared_swap(ring->state, &state, AGENT_RING_MOVING))
		return false;
	/* Other threads may have had it, and left it in the same state. */
	if (shared_get(ring->tid) == owner && shared_get(ring->turns) == turns)
		return true;
	shared_swap(ring->state, &moving, state);
	return false;
}

/*
 * Takes that ring if it is free. A ring with unread records can be taken only if they
 * may be overwritten. by_force: also the ring of a thread that has ended.
 */
static bool ring_take(struct session_shm *shm, struct agent_ring *ring, struct hit_thread *t, bool by_force)
{
	const uint32_t state = shared_acquire(ring->state), owner = shared_get(ring->tid);
	const uint32_t turns = shared_get(ring->turns), size = shm_ring_size(shm, ring);

	if (!ring_can_be_taken(shm, ring, t, state, owner, by_force) || !ring_own(ring, state, owner, turns))
		return false;
	if (ring_has_unread(ring, state, size))
		ring_drop(ring, shm, shared_acquire(ring->limit), shared_get(ring->head), true);
	if (owner)
		calls_abandon(ring);
	shared_set(ring->tid, t->tid);
	if (hit_call(SYS_prctl, PR_GET_NAME, (long)ring->comm, 0, 0, 0, 0))
		ring->comm[0] = 0;
	if (!turns)
		shared_release(ring->limit, size);
	shared_release(ring->turns, turns + 1);
	shared_release(ring->state, AGENT_RING_TAKEN);
	return true;
}

static struct agent_ring *ring_find(struct session_shm *shm, struct hit_thread *t)
{
	const uint32_t nrings = __atomic_load_n(&shm->nrings, __ATOMIC_RELAXED);

	for (unsigned force = 0; force < 2; force++) {
		uint32_t first = force ? __atomic_load_n(&shm->next_ring, __ATOMIC_RELAXED) : 0;

		for (unsigned i = 0; i < nrings; i++) {
			unsigned index = (first + i) % nrings;
			struct agent_ring *ring = region_ring(shm, shm->at, index);

			if (!ring_take(shm, ring, t, force))
				continue;
			if (force)
				__atomic_store_n(&shm->next_ring, index + 1, __ATOMIC_RELAXED);
			return ring;
		}
	}
	return NULL;
}

/* Finds out the thread's id and its mode. Returns whether it may have a ring. */
static bool thread_may_take(struct hit_thread *t)
{
	if (!t->tid) {
		t->tid = thread_tid_learn();
		for (uint32_t i = 0; i < __atomic_load_n(&agent.nmuted, __ATOMIC_ACQUIRE); i++)
			t->muted |= agent.muted[i] == t->tid;
	}
	return t->tid && clock_is_allowed(t);
}

struct agent_ring *trampoline_take(unsigned shm)
{
	struct hit_thread *t = &agent_thread;
	struct agent_ring *ring = NULL;

	if (t->busy)
		return NULL;
	t->busy = 1;
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	if (t->skip) {
		t->skip--;
	} else if (thread_may_take(t)) {
		uint32_t *flight = hit_flight();
		bool hidden;

		/* mlockall() makes free rings inaccessible for a moment: interpose.c. */
		__atomic_fetch_add(flight, 1, __ATOMIC_SEQ_CST);
		hidden = __atomic_load_n(&agent.hidden, __ATOMIC_SEQ_CST);
		if (!hidden)
			ring = ring_find(&agent.shms[shm], t);
		__atomic_fetch_sub(flight, 1, __ATOMIC_RELEASE);
		/*
		 * For keys below 32, pthread_setspecific() allocates nothing. With another key the
		 * ring is not given back, but thread_is_dead() finds it.
		 */
		if (ring && agent.key >= 0 && agent.key < 32)
			pthread_setspecific(agent.key, t);
		if (!ring && !hidden)
			t->skip = t->backoff = t->backoff < 1024 ? 2 * t->backoff + 1 : 1024;
	}
	if (ring)
		t->mask[shm] = shm_ring_size(&agent.shms[shm], ring) - 8;
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	t->ring[shm] = ring;
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	t->busy = 0;
	return ring;
}
