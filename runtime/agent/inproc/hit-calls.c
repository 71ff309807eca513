/* SPDX-License-Identifier: MIT */
/*
 * Calls in flight: from the hit of a begin to the hit of its end. runtime/kernel/emit-calls.c has the rules by which an end
 * finds its begin; they are the same here. The rules of hit-read.c hold, too.
 *
 * 1. Frames (MATCH_FRAME) and starts (MATCH_THREAD) are in the thread's ring. Only the thread uses them, but a signal
 *    handler can come in the middle, with calls of its own.
 * 2. A begin claims its place, then the trampoline writes the arguments, then the time.
 * 3. An end returns the frame to the trampoline, which reads the arguments of the begin from it. Until the trampoline
 *    writes CALL_NONE, the frame stays where it is: a handler does not use it again.
 * 4. Starts with a key (MATCH_KEY) are in a table of the process, where they are claimed by compare and exchange. A
 *    start is found in one of STARTS_NEAR places. A child process gets an empty table (MADV_WIPEONFORK).
 * 5. Rings are shared memory. What is read from them is data, or checked before it is an index.
 */
#include <sys/mman.h>
#include <sys/syscall.h>

#include "runtime/agent/inproc/hit-call.h"

#define STARTS 16384u   /* places of the table, a power of two */
#define STARTS_NEAR 32u /* places that a key can have */

/* ---- counts ---- */

static struct shared_count *count_of(struct agent_ring *ring, uint32_t slot)
{
	return (struct shared_count *)((char *)ring + AGENT_COUNTS_IN_RING) + (slot < AGENT_SLOTS ? slot : 0);
}

/* Adds one to a counter of the thread's ring. A signal handler of the thread may come in between. */
static void count_up(shared64 *counter)
{
#ifdef __x86_64__
	__asm__("incq %0" : "+m"(*counter));
#else
	shared_add(*counter, 1);
#endif
}

/* Gives up a call that has not ended. */
static void call_abandon(struct agent_ring *ring, struct agent_call *call)
{
	if (shared_get(call->state) == CALL_ACTIVE)
		count_up(&count_of(ring, shared_get(call->slot))->filtered);
	shared_set(call->state, CALL_NONE);
}

static void call_fill(struct agent_call *call, uint32_t slot, uint64_t id, uint64_t place)
{
	shared_set(call->slot, slot);
	shared_set(call->words_faults, 0);
	shared_set(call->call, id);
	shared_set(call->place, place);
	shared_set(call->time, 0);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	shared_release(call->state, CALL_ACTIVE);
}

void calls_abandon(struct agent_ring *ring)
{
	struct agent_calls *calls = ring_calls(ring);

	for (unsigned i = 0; i < CALLS_DEEP && i < shared_get(calls->depth); i++)
		call_abandon(ring, &calls->frames[i]);
	for (unsigned i = 0; i < STARTS_DEEP; i++)
		call_abandon(ring, &calls->starts[i]);
	shared_set(calls->depth, 0);
	shared_set(calls->full, 0);
}

/* ---- MATCH_FRAME ---- */

static unsigned calls_depth(const struct agent_calls *calls)
{
	uint32_t depth = shared_get(calls->depth);

	return depth < CALLS_DEEP ? depth : CALLS_DEEP;
}

/*
 * Removes the frames that are over at this stack pointer. slot: of the begin that is hit; a frame that the same begin has
 * made at the same stack pointer is over, too. ~0: it is an end.
 */
static unsigned frames_trim(struct agent_ring *ring, struct agent_calls *calls, uint64_t sp, uint32_t slot)
{
	unsigned depth = calls_depth(calls);

	for (; depth; shared_set(calls->depth, --depth)) {
		struct agent_call *top = &calls->frames[depth - 1];
		uint64_t place = shared_get(top->place);
		uint32_t state = shared_get(top->state);

		if (state == CALL_ENDING && place >= sp)
			break;
		if (state == CALL_ACTIVE &&
		    (place > sp || (place == sp && (slot == ~0u || shared_get(top->slot) != slot))))
			break;
		call_abandon(ring, top);
	}
	return depth;
}

/* Returns whether the stack pointer is at or below that of a call that found no room. */
static bool frames_are_full(struct agent_calls *calls, uint64_t sp)
{
	if (!shared_get(calls->full))
		return false;
	if (sp <= shared_get(calls->full_sp))
		return true;
	shared_set(calls->full, 0);
	return false;
}

static struct agent_call *frame_begin(struct agent_ring *ring, uint32_t slot, uint64_t id, uint64_t sp)
{
	struct agent_calls *calls = ring_calls(ring);
	bool full = frames_are_full(calls, sp);
	unsigned depth = frames_trim(ring, calls, sp, slot);
	struct agent_call *call;

	if (depth == CALLS_DEEP) {
		if (!full)
			shared_set(calls->full_sp, sp);
		shared_set(calls->full, shared_get(calls->full) + 1);
		return NULL;
	}
	call = &calls->frames[depth];
	shared_set(call->state, CALL_WRITING);
	shared_set(call->place, sp);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	shared_set(calls->depth, depth + 1);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	call_fill(call, slot, id, sp);
	return call;
}

/* Returns the innermost frame of the call. Abandons the frames within it. */
static struct agent_call *frame_end(struct agent_ring *ring, uint64_t id, uint64_t sp, bool *is_missed)
{
	struct agent_calls *calls = ring_calls(ring);
	unsigned depth, at;

	*is_missed = frames_are_full(calls, sp);
	if (*is_missed) {
		shared_set(calls->full, shared_get(calls->full) - 1);
		return NULL;
	}
	depth = frames_trim(ring, calls, sp, ~0u);
	for (at = depth; at; at--) {
		const struct agent_call *call = &calls->frames[at - 1];

		if (shared_get(call->state) == CALL_ACTIVE && shared_get(call->call) == id)
			break;
	}
	if (!at)
		return NULL;
	for (unsigned i = depth; i > at; i--)
		if (shared_get(calls->frames[i - 1].state) == CALL_ACTIVE)
			call_abandon(ring, &calls->frames[i - 1]);
	return &calls->frames[at - 1];
}

/* ---- MATCH_THREAD ---- */

static struct agent_call *start_begin(struct agent_ring *ring, uint32_t slot, uint64_t id)
{
	struct agent_calls *calls = ring_calls(ring);
	uint32_t next = shared_get(calls->next);
	struct agent_call *call = &calls->starts[next % STARTS_DEEP];

	shared_set(calls->next, next + 1);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	if (shared_get(call->state) ==
	    CALL_ACTIVE) { /* the oldest one gives way: it is missed, and no longer followed */
		count_up(&count_of(ring, shared_get(call->slot))->lost);
		shared_add(count_of(ring, shared_get(call->slot))->recorded, -1ull);
	}
	call_fill(call, slot, id, 0);
	return call;
}

static struct agent_call *start_end(struct agent_ring *ring, uint64_t id)
{
	struct agent_calls *calls = ring_calls(ring);
	uint32_t next = shared_get(calls->next);
	struct agent_call *call;

	/* Places after the last start are free. */
	while (shared_get(calls->starts[(next - 1) % STARTS_DEEP].state) == CALL_NONE && next)
		next--;
	shared_set(calls->next, next);
	for (unsigned i = 1; i <= STARTS_DEEP; i++) {
		call = &calls->starts[(next - i) % STARTS_DEEP];
		if (shared_get(call->state) == CALL_ACTIVE && shared_get(call->call) == id)
			return call;
	}
	return NULL;
}

/* ---- MATCH_KEY ---- */

static uint32_t start_hash(uint64_t id, uint64_t key)
{
	uint64_t hash = (key ^ id) * FETCH_HASH_FACTOR;

	return (uint32_t)((hash ^ hash >> 29) * FETCH_HASH_FACTOR >> 40);
}

static bool state_swap(struct agent_call *call, uint32_t was, uint32_t will)
{
	return shared_swap(call->state, &was, will);
}

/* Claims the start with the key. Returns NULL if there is none. */
static struct agent_call *start_take(uint64_t id, uint64_t key, uint32_t state)
{
	struct agent_call *starts = __atomic_load_n(&agent.starts, __ATOMIC_ACQUIRE);
	uint32_t hash = start_hash(id, key);

	for (unsigned i = 0; starts && i < STARTS_NEAR; i++) {
		struct agent_call *call = &starts[(hash + i) % STARTS];

		if (shared_acquire(call->state) != CALL_ACTIVE || shared_get(call->place) != key ||
		    shared_get(call->call) != id || !shared_get(call->time))
			continue;
		if (!state_swap(call, CALL_ACTIVE, state))
			continue;
		if (shared_get(call->place) == key && shared_get(call->call) == id)
			return call;
		shared_release(call->state, CALL_ACTIVE); /* it ended, and another start took the place */
	}
	return NULL;
}

static struct agent_call *key_begin(struct agent_ring *ring, uint32_t slot, uint64_t id, uint64_t key)
{
	struct agent_call *starts = __atomic_load_n(&agent.starts, __ATOMIC_ACQUIRE);
	struct agent_call *call = start_take(id, key, CALL_WRITING);
	uint32_t hash = start_hash(id, key);

	if (call)
		count_up(&count_of(ring, shared_get(call->slot))->filtered);
	for (unsigned i = 0; starts && !call && i < STARTS_NEAR; i++)
		if (state_swap(&starts[(hash + i) % STARTS], CALL_NONE, CALL_WRITING))
			call = &starts[(hash + i) % STARTS];
	if (call)
		call_fill(call, slot, id, key);
	return call;
}

void starts_forget(unsigned shm)
{
	for (unsigned i = 0; agent.starts && i < STARTS; i++)
		if (shared_get(agent.starts[i].state) == CALL_ACTIVE && shared_get(agent.starts[i].call) >> 60 == shm)
			state_swap(&agent.starts[i], CALL_ACTIVE, CALL_NONE);
}

/* ---- time ---- */

static uint64_t time_now(void)
{
	return agent.has_ticks ? cpu_ticks() : trampoline_now();
}

static uint64_t duration_ns(uint64_t begin, uint64_t end)
{
	uint64_t ticks = end > begin ? end - begin : 0;

	if (agent.has_ticks)
		ticks = (uint64_t)((unsigned __int128)ticks * agent.tick_ns >> 32);
	return ticks ? ticks : 1;
}

/* ---- what trampolines call ---- */

struct hit_result trampoline_begin(uint64_t what, struct agent_ring *ring, uint64_t id, unsigned rcx, uint64_t place,
                                   uintptr_t frame)
{
	struct agent_call *call = NULL;
	uint32_t slot = (uint32_t)what;

	(void)rcx, (void)frame;
	switch (what >> 32) {
	case MATCH_FRAME: call = frame_begin(ring, slot, id, place); break;
	case MATCH_THREAD: call = start_begin(ring, slot, id); break;
	case MATCH_KEY: call = key_begin(ring, slot, id, place); break;
	}
	if (call)
		count_up(&count_of(ring, slot)->recorded);
	else
		count_up(&count_of(ring, slot)->lost);
	return (struct hit_result){ (uintptr_t)(call ? call : &ring_calls(ring)->spare), 0 };
}

struct hit_result trampoline_end(uint64_t what, struct agent_ring *ring, uint64_t id, unsigned rcx, uint64_t place,
                                 uintptr_t frame)
{
	const uint64_t now = time_now();
	struct agent_call *call = NULL;
	bool is_missed = false;

	(void)rcx, (void)frame;
	switch (what >> 32) {
	case MATCH_FRAME: call = frame_end(ring, id, place, &is_missed); break;
	case MATCH_THREAD: call = start_end(ring, id); break;
	case MATCH_KEY: call = start_take(id, place, CALL_ENDING); break;
	}
	if (!call) {
		if (!is_missed)
			count_up(&count_of(ring, (uint32_t)what)->unmatched);
		return (struct hit_result){ 0, 0 };
	}
	shared_set(call->state, CALL_ENDING);
	shared_set(call->time, duration_ns(shared_get(call->time), now));
	return (struct hit_result){ (uintptr_t)call, 0 };
}

/* ---- the agent's thread ---- */

static uint64_t agent_clock_ns(void)
{
	long t[2] = { 0, 0 };

	return cpu_call(SYS_clock_gettime, 1, (long)t, 0, 0, 0, 0) ? 0 : t[0] * 1000000000ull + t[1];
}

/*
 * Measures the rate of the CPU's counter over 10 ms, while the agent's thread sleeps. Hits may not read the clock yet, so
 * trampoline_now() does not serve here. Returns false if the clock cannot be read.
 */
static bool ticks_learn(void)
{
	const uint64_t ticks = cpu_ticks(), ns = agent_clock_ns();
	const long pause[2] = { 0, 10000000 };
	uint64_t end;

	cpu_call(SYS_ppoll, 0, 0, (long)pause, 0, 8, 0);
	end = agent_clock_ns();
	if (!ns || end <= ns || cpu_ticks() <= ticks)
		return false;
	agent.tick_ns = ((end - ns) << 32) / (cpu_ticks() - ticks);
	return true;
}

bool calls_prepare(void)
{
	void *table;

	if (agent.has_ticks && !agent.tick_ns && !ticks_learn())
		return false;
	if (agent.starts)
		return true;
	table = (void *)cpu_call(SYS_mmap, 0, STARTS * sizeof(struct agent_call), PROT_READ | PROT_WRITE,
	                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if ((uintptr_t)table > -4096ul)
		return false;
	cpu_call(SYS_madvise, (long)table, STARTS * sizeof(struct agent_call), MADV_WIPEONFORK, 0, 0, 0);
	__atomic_store_n(&agent.starts, table, __ATOMIC_RELEASE);
	return true;
}
