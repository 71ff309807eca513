/* SPDX-License-Identifier: MIT */
/*
 * What trampolines call, and the way in.
 *
 * A trampoline may stand anywhere: in a leaf function, in a signal handler that came in
 * the middle of malloc or of another trampoline, on a stack of 2 KiB. What is here uses
 * no vector register (see build.mk), takes no lock that it would wait for, calls
 * nothing of the C library but pthread_setspecific(), leaves errno alone, and
 * keeps off the stack.
 *
 * System calls. No hit makes a call that uses a descriptor, and a hit makes a call
 * at all only while calls.c knows that no thread has a filter that could kill it. Every call goes through hit_call(). Without calls a hit still counts
 * and records; what cannot be read is a fault.
 *
 * Reading memory. A trampoline reads directly only what is certainly mapped, and stays so:
 *
 * 1. The pages that the trampoline itself has pushed to, and the page of the last byte
 *    below the program's stack pointer. The thread is using them.
 * 2. From there up, pages of the stack that the C library gave the thread (or of the
 *    first thread's), if the stack pointer is inside it. The first access to such a
 *    page asks the kernel whether it can be read; sure_low and sure_last remember
 *    the answers. A coroutine's stack, a stack for signals and a guard page are
 *    outside, or end this part.
 * 3. The image of the site.
 *
 * All else is read by process_vm_readv(2) on oneself: its pointer may be anything,
 * and that call alone can neither crash nor be overtaken by another thread's
 * munmap(). Where there is no other thread but the agent's, a string between the
 * beginning of the heap and its break is read directly once its page is known to be
 * there.
 *
 * With other threads nothing cheaper is safe. A pipe, or a memfd written to, would
 * cost half as much, but its descriptors would stand in the program's table, where
 * they can be closed and become another file's. malloc gives pages below the break
 * back at any moment, by a call of its own that nobody can stand before. And nothing
 * can be remembered of a page, for it changes.
 *
 * The same holds for memory operands (8@16(%rbx)) and for fields that a filter
 * follows a pointer to. In a process without other threads rt_sigprocmask(2) with an
 * operation that does not exist tells whether they can be read: it reads 8 bytes and
 * fails, in a sixth of the time.
 */
#include <errno.h>
#include <linux/prctl.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "runtime/agent/inproc/agent.h"
#include "runtime/agent/inproc/trampoline.h"

#define SMALL_PAGE ((uintptr_t)4096) /* on every CPU a page is a multiple of this */
#define STACK_PAGES 64               /* of the stack, looked at in one hit */

__thread struct thread agent_thread;

/* calls_allowed(), here because this file calls no other. */
static bool may_call(void)
{
	return __atomic_load_n(&agent.calls, __ATOMIC_SEQ_CST) > __atomic_load_n(&agent.sealed, __ATOMIC_SEQ_CST);
}

static uint32_t *own_flight(void)
{
	uintptr_t self = (uintptr_t)__builtin_thread_pointer();

	return &agent.flight[(self >> 12 ^ self >> 20) % FLIGHTS].n;
}

/*
 * A system call of a hit. -ENOSYS without one, if calls are off. A thread that sets a
 * filter for all threads turns them off, then waits for those in flight.
 */
static long hit_call(long number, long a, long b, long c, long d, long e, long f)
{
	uint32_t *flight = own_flight();
	long result = -ENOSYS;

	if (!may_call())
		return result;
	__atomic_fetch_add(flight, 1, __ATOMIC_SEQ_CST);
	if (may_call())
		result = cpu_call(number, a, b, c, d, e, f);
	__atomic_fetch_sub(flight, 1, __ATOMIC_RELEASE);
	return result;
}

/* ---- reading ---- */

/* How many of size bytes could be read; -ENOSYS: none can be read so. */
static long read_safely(uint64_t address, void *to, size_t size)
{
	struct iovec here = { to, size }, there = { (void *)address, size };
	/* A first thread that has ended has no memory. */
	long n = hit_call(SYS_process_vm_readv, agent_thread.tid ? agent_thread.tid : agent.pid, (long)&here, 1,
	                  (long)&there, 1, 0);

	return n > 0 || n == -ENOSYS ? n : 0;
}

/* Whether the 8 bytes there, at a multiple of 8, can be read. false without calls. */
static bool can_read(uint64_t address)
{
	return hit_call(SYS_rt_sigprocmask, -1, address, 0, sizeof(uint64_t), 0, 0) == -EINVAL;
}

/*
 * Finds the stack in the C library's descriptor of the thread, whose layout differs
 * by version: three words in a row that are its begin, its size and its guard's size,
 * of a stack that holds both the stack pointer and the descriptor, near its end.
 */
static void learn_stack(struct thread *t, uintptr_t sp)
{
	uintptr_t self = PTHREAD_AT((uintptr_t)__builtin_thread_pointer(), agent.pthread_size);
	const uintptr_t *word = (const uintptr_t *)self;

	t->stack_end = 1;
	if (self <= sp)
		return;
	for (unsigned i = 0; i + 2 < agent.pthread_size / sizeof(*word); i++) {
		uintptr_t low = word[i], size = word[i + 1], guard = word[i + 2];

		if (low > sp || size < 2 * SMALL_PAGE || low + size < low || low + size < self + agent.pthread_size ||
		    low + size - self > 1u << 20 || guard % SMALL_PAGE || guard >= size || low + guard > sp)
			continue;
		t->stack_low = low + guard;
		__atomic_signal_fence(__ATOMIC_SEQ_CST);
		t->stack_end = low + size;
		return;
	}
}

/* The end of the stack that the thread is on, if it is its own; else 0. */
static uintptr_t own_stack_end(struct thread *t, uintptr_t sp)
{
	if (sp >= agent.main_low && sp < agent.main_end)
		return agent.main_end;
	if (!t->stack_end)
		learn_stack(t, sp);
	return sp >= t->stack_low && sp < t->stack_end ? t->stack_end : 0;
}

/*
 * Adds the pages from the stack pointer's to the address's to what is sure. In a
 * signal handler this can run in the middle of itself: the deeper one's pages then
 * are a part of what was sure before.
 */
static bool stack_ask(uint64_t address, uintptr_t frame)
{
	struct thread *t = &agent_thread;
	const uintptr_t sp = frame + FRAME_TO_STACK, end = own_stack_end(t, sp);
	uintptr_t known = ((sp - 1) & -SMALL_PAGE) + SMALL_PAGE, low = frame & -SMALL_PAGE, high;

	if (address < sp || address >= end || address - sp > STACK_PAGES * SMALL_PAGE)
		return false;
	for (high = known; high <= address; high += SMALL_PAGE)
		if (!(high >= t->sure_low && high < t->sure_last) && !can_read(high))
			return false;
	if (t->sure_last >= high && t->sure_low <= high)
		high = t->sure_last + 8;
	__atomic_store_n(&t->sure_last, 0, __ATOMIC_RELAXED);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	__atomic_store_n(&t->sure_low, low, __ATOMIC_RELAXED);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	__atomic_store_n(&t->sure_last, (high < end ? high : end) - 8, __ATOMIC_RELAXED);
	return true;
}

/* How many bytes from there on are sure to stay. */
static size_t stays(uint64_t address, uintptr_t frame, const struct image *image)
{
	const struct thread *t = &agent_thread;
	const uintptr_t sp = frame + FRAME_TO_STACK, known = ((sp - 1) & -SMALL_PAGE) + SMALL_PAGE;

	if (address >= (frame & -SMALL_PAGE) && address < known)
		return known - address;
	if (address >= sp && address <= t->sure_last && frame >= t->sure_low)
		return t->sure_last + 8 - address;
	for (unsigned i = 0; image && i < image->n; i++)
		if (address >= image->range[i].start && address < image->range[i].end)
			return image->range[i].end - address;
	return stack_ask(address, frame) ? t->sure_last + 8 - address : 0;
}

/* Nobody else can change what is mapped. The agent's own thread does not. */
static bool is_alone(void)
{
	const unsigned *n = agent.nthreads;

	return n && !agent.shares_memory &&
	       __atomic_load_n(n, __ATOMIC_ACQUIRE) <= 1 + __atomic_load_n(&agent.own_threads, __ATOMIC_ACQUIRE);
}

struct answer trampoline_load(long rdi, long rsi, long rdx, unsigned size, uint64_t address, uintptr_t frame)
{
	struct answer answer = { 0, 1 };
	uint64_t first = address & ~7ull, last = (address + size - 1) & ~7ull;
	long n;

	(void)rdi, (void)rsi, (void)rdx;
	if (stays(address, frame, NULL) < size) {
		n = is_alone() ? -ENOSYS : read_safely(address, &answer.value, size);
		answer.fault = n != size;
		if (n != -ENOSYS)
			return answer;
		/* Nobody else unmaps it now. (An emulator may lack the call.) */
		if (!can_read(first) || (last != first && !can_read(last)))
			return answer;
	}
	for (unsigned i = 0; i < size; i++)
		answer.value |= (uint64_t) * (const uint8_t *)(address + i) << 8 * i;
	answer.fault = 0;
	return answer;
}

/* How many bytes from there on are in a page of the heap that can be read, and stays. */
static size_t stays_in_heap(uint64_t address)
{
	uintptr_t end;
	size_t n;

	if (!is_alone() || !agent.heap || address < agent.heap || !agent.heap_end)
		return 0;
	end = *(uintptr_t *)agent.heap_end;
	if (address >= end || !can_read(address & ~7ull))
		return 0;
	n = 4096 - (address & 4095);
	return n < end - address ? n : end - address;
}

typedef uint64_t any_word __attribute__((may_alias, aligned(1)));

static bool has_zero(uint64_t word)
{
	return (word - 0x0101010101010101ull) & ~word & 0x8080808080808080ull;
}

/*
 * Reads at most max bytes of the string into to (room for max + 7). How long it
 * is; max where there is no NUL among them; -1: it cannot be read.
 */
static int read_string(uint64_t address, char *to, unsigned max, const struct image *image, uintptr_t frame)
{
	unsigned at = 0;
	size_t n, known;
	long got;

	while (at < max && ((known = stays(address + at, frame, image)) || (known = stays_in_heap(address + at)))) {
		n = known < max - at ? at + known : max;
		for (; at + 8 <= n; at += 8) {
			uint64_t word = *(const any_word *)(address + at);

			if (has_zero(word))
				break;
			*(any_word *)(to + at) = word;
		}
		for (; at < n; at++) {
			to[at] = *(const char *)(address + at);
			if (!to[at])
				return at;
		}
	}
	if (at == max)
		return max;
	got = read_safely(address, to, max);
	for (at = 0; (long)at < got; at++)
		if (!to[at])
			return at;
	return got == max ? (int)max : -1;
}

char *trampoline_string(const struct image *image, struct shared_record *record, char *cursor, unsigned argument,
                        uint64_t address, uintptr_t frame)
{
	char bytes[RECORD_STRING_CUT + 8];
	int n = read_string(address, bytes, RECORD_STRING_CUT + 1, image, frame);

	shared_set(record->value[argument], 0);
	if (n < 0) {
		shared_set(record->words_faults, shared_get(record->words_faults) | 1u << (8 + argument));
		return cursor;
	}
	if (n > RECORD_STRING_CUT)
		n = RECORD_STRING_CUT;
	shared_set(record->value[argument], n);
	for (int i = n; i & 7; i++)
		bytes[i] = 0;
	for (int i = 0; i < n; i += 8)
		*(any_word *)(cursor + i) = *(any_word *)(bytes + i);
	return cursor + ((n + 7) & ~7);
}

static bool matches(const struct fetch_literal *literal, const char *string, unsigned length, bool prefix)
{
	if (prefix ? length < literal->length : length != literal->length)
		return false;
	for (unsigned i = 0; i < literal->length; i++)
		if (string[i] != literal->bytes[i])
			return false;
	return true;
}

struct answer trampoline_match(const struct fetch_literal *literal, const struct image *image, long rdx,
                               unsigned prefix, uint64_t address, uintptr_t frame)
{
	char bytes[FETCH_LITERAL_MAX + 2 + 8];
	int n = read_string(address, bytes, literal->length + (prefix ? 1 : 2), image, frame);
	struct answer answer = { 0, n < 0 };

	(void)rdx;
	if (n >= 0)
		answer.value = matches(literal, bytes, n, prefix);
	return answer;
}

struct answer trampoline_comm(const struct fetch_literal *literal, long rsi, long rdx, unsigned prefix)
{
	struct answer answer = { 0, 0 };
	char comm[16] = "";
	unsigned length = 0;

	(void)rsi, (void)rdx;
	if (hit_call(SYS_prctl, PR_GET_NAME, (long)comm, 0, 0, 0, 0)) {
		answer.fault = 1;
		return answer;
	}
	while (length < sizeof(comm) - 1 && comm[length])
		length++;
	answer.value = matches(literal, comm, length, prefix);
	return answer;
}

uint64_t clock_ns(void)
{
	struct {
		long sec, nsec;
	} t = { 0, 0 };

	cpu_call(SYS_clock_gettime, 1, (long)&t, 0, 0, 0, 0);
	return t.sec * 1000000000ull + t.nsec;
}

/* Without calls the end of time, so that the hit counts as idle. */
uint64_t trampoline_now(void)
{
	struct {
		long sec, nsec;
	} t = { 0, 0 };

	if (hit_call(SYS_clock_gettime, 1, (long)&t, 0, 0, 0, 0))
		return UINT64_MAX;
	return t.sec * 1000000000ull + t.nsec;
}

static bool may_have_clock(const struct thread *t)
{
	return !t->muted && !__atomic_load_n(&agent.clockless, __ATOMIC_RELAXED) && (agent.has_ticks || may_call());
}

/* Without a clock the beginning of time, so that the hit counts as lost if anything records. */
uint64_t trampoline_late(void)
{
	if (!may_have_clock(&agent_thread))
		return 1;
	return agent.has_ticks ? cpu_ticks() : trampoline_now();
}

/*
 * Gives back what the record did not need of the words reserved for it. The space
 * beyond was never written, so it holds zeroes. A signal handler may have reserved
 * behind it: then the rest is to be skipped.
 */
void trampoline_shrink(struct agent_ring *ring, struct shared_record *record, char *cursor, unsigned reserved)
{
	uint64_t words = (cursor - (char *)record) / 8, begin, head = shared_get(ring->head);
	uint64_t mask = AGENT_RING_SIZE - 1;

	shared_set(record->words_faults, (shared_get(record->words_faults) & ~255u) | words);
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

#define ROOM (AGENT_RING_SIZE / 16) /* made at once */

static shared64 *words_of(struct agent_ring *ring, uint64_t position)
{
	return (shared64 *)((char *)ring + AGENT_DATA_IN_RING + (position & (AGENT_RING_SIZE - 1) & ~7ull));
}

/* What begins at a position of a ring, read once: anybody may change it meanwhile. */
struct found {
	uint64_t time;  /* the first word */
	uint32_t point; /* if that is a time */
	uint32_t words; /* how many it takes, 1 to 255 */
	bool whole;     /* it is not being written */
};

static struct found found_at(struct agent_ring *ring, uint64_t position)
{
	const struct shared_record *at = (const struct shared_record *)words_of(ring, position);
	struct found found = { .time = shared_acquire(at->time) };

	found.whole = found.time >= AGENT_WORD_SKIP;
	if (found.time >= AGENT_WORD_TIME) {
		found.point = shared_get(at->point);
		found.words = shared_get(at->words_faults) & 255;
	} else {
		found.words = found.whole ? found.time - AGENT_WORD_SKIP : found.time;
	}
	if (!found.words)
		found.words = 1;
	return found;
}

static void move_counts(struct agent_ring *ring, uint32_t slot, uint64_t n)
{
	struct shared_count *count = (struct shared_count *)((char *)ring + AGENT_COUNTS_IN_RING) + slot;

	if (!n)
		return;
	shared_add(count->recorded, -n);
	shared_add(count->lost, n);
}

/* Whether a record counts for what its place means now. Any point that a peer makes up is no place. */
static bool counts_still(const struct shm *shm, const struct found *found)
{
	const struct agent_slot *slots = (const struct agent_slot *)((const char *)shm->at + shm_slots_at);

	return found->time >= AGENT_WORD_TIME && found->point < AGENT_SLOTS &&
	       __atomic_load_n(&slots[found->point].since, __ATOMIC_RELAXED) <= found->time;
}

/*
 * Drops what is before the position, as far as it is whole; ended: all of it. What
 * nobody has read is lost then. The records that are dropped are taken from the
 * reader first, then cleared, then given to the thread to write in. false: there
 * was nothing to drop.
 */
static bool ring_drop(struct agent_ring *ring, const struct shm *shm, uint64_t limit, uint64_t before, bool ended)
{
	const uint64_t head = shared_get(ring->head), tail = limit - AGENT_RING_SIZE, used = head - tail;
	uint64_t taken, end, n = 0;
	uint32_t slot = 0;

	if (used > AGENT_RING_SIZE || before - tail > used)
		return false;
	do {
		taken = end = shared_acquire(ring->taken);
		if (taken - tail > used)
			return false;
		while (end - tail < before - tail) {
			struct found found = found_at(ring, end);

			if (!found.whole && !ended)
				break;
			end = 8 * found.words < head - end ? end + 8 * found.words : head;
		}
	} while (end != taken && !shared_swap(ring->taken, &taken, end));
	for (uint64_t at = tail; at - tail < end - tail;) {
		struct found found = found_at(ring, at);
		shared64 *word = words_of(ring, at);

		if (at - tail >= taken - tail && counts_still(shm, &found)) {
			if (found.point != slot) {
				move_counts(ring, slot, n);
				n = 0;
			}
			slot = found.point;
			n++;
		}
		for (unsigned i = 0; i < found.words; i++)
			shared_set(word[i], 0);
		at += 8 * found.words;
	}
	move_counts(ring, slot, n);
	shared_release(ring->limit, end + AGENT_RING_SIZE);
	return end != tail;
}

/*
 * A ring that may be overwritten is full. Not from a signal handler that came in the
 * middle of just this: it has to lose what it would have recorded.
 */
struct answer trampoline_room(struct agent_ring *ring)
{
	struct thread *t = &agent_thread;
	struct answer answer = { 0, 1 };
	uint64_t limit;

	if (t->dropping)
		return answer;
	t->dropping = 1;
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	limit = shared_get(ring->limit);
	for (unsigned i = 0; i < SHMS_MAX; i++)
		if (t->ring[i] == ring)
			answer.fault = !ring_drop(ring, &agent.shms[i], limit, limit - AGENT_RING_SIZE + ROOM, false);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	t->dropping = 0;
	return answer;
}

/* ---- taking a ring ---- */

/* The calling thread's id, as the C library knows it: in a child of vfork() its parent's. 0: unknown. */
static uint32_t own_tid(void)
{
	long tid;

	if (agent.tid_at)
		return *(const uint32_t *)((const char *)__builtin_thread_pointer() + (int32_t)agent.tid_at);
	tid = hit_call(SYS_gettid, 0, 0, 0, 0, 0, 0);
	return tid > 0 ? tid : 0;
}

static bool is_dead(uint32_t tid)
{
	return hit_call(SYS_tgkill, agent.pid, tid, 0, 0, 0, 0) == -ESRCH;
}

/*
 * A ring with records in it goes to another thread only where they may be
 * overwritten: then if they have been read, or if there is no other.
 */
static bool ring_take(const struct shm *shm, struct agent_ring *ring, struct thread *t, bool by_force)
{
	uint32_t state = shared_acquire(ring->state), owner = shared_get(ring->tid), turns;
	uint64_t head = shared_get(ring->head), limit = shared_acquire(ring->limit);
	bool full = state != AGENT_RING_FREE && head + AGENT_RING_SIZE != limit;

	if (state == AGENT_RING_TAKEN && (!by_force || (owner != t->tid && !is_dead(owner))))
		return false;
	if (full && (!shared_get(shm->at->overwrite) || (!by_force && head != shared_acquire(ring->taken))))
		return false;
	if (!shared_swap(ring->state, &state, AGENT_RING_TAKEN))
		return false;
	if (full)
		ring_drop(ring, shm, limit, head, true);
	shared_set(ring->tid, t->tid);
	if (hit_call(SYS_prctl, PR_GET_NAME, (long)ring->comm, 0, 0, 0, 0))
		ring->comm[0] = 0;
	turns = shared_get(ring->turns);
	if (!turns)
		shared_release(ring->limit, AGENT_RING_SIZE);
	shared_release(ring->turns, turns + 1);
	return true;
}

/* By force the next in turn, so that of rings that are overwritten the oldest goes first. */
static struct agent_ring *find_ring(struct shm *shm, struct thread *t)
{
	for (unsigned force = 0; force < 2; force++) {
		uint32_t first = force ? __atomic_load_n(&shm->next_ring, __ATOMIC_RELAXED) : 0;

		for (unsigned i = 0; i < AGENT_RINGS; i++) {
			unsigned index = (first + i) % AGENT_RINGS;
			struct agent_ring *ring = (void *)((char *)shm->at + shm_rings_at + index * shm_ring_stride);

			if (!ring_take(shm, ring, t, force))
				continue;
			if (force)
				__atomic_store_n(&shm->next_ring, index + 1, __ATOMIC_RELAXED);
			return ring;
		}
	}
	return NULL;
}

/* Learns what the thread is; whether it may have a ring. */
static bool may_take(struct thread *t)
{
	if (!t->tid) {
		t->tid = own_tid();
		for (uint32_t i = 0; i < __atomic_load_n(&agent.nmuted, __ATOMIC_ACQUIRE); i++)
			t->muted |= agent.muted[i] == t->tid;
	}
	return t->tid && may_have_clock(t);
}

struct agent_ring *trampoline_take(unsigned shm)
{
	struct thread *t = &agent_thread;
	struct agent_ring *ring = NULL;

	if (t->busy)
		return NULL;
	t->busy = 1;
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	if (t->skip) {
		t->skip--;
	} else if (may_take(t)) {
		uint32_t *flight = own_flight();
		bool hidden;

		/* mlockall() hides free rings for a moment: wrap.c. */
		__atomic_fetch_add(flight, 1, __ATOMIC_SEQ_CST);
		hidden = __atomic_load_n(&agent.hidden, __ATOMIC_SEQ_CST);
		if (!hidden)
			ring = find_ring(&agent.shms[shm], t);
		__atomic_fetch_sub(flight, 1, __ATOMIC_RELEASE);
		/* Below 32 nothing is allocated. Other keys do without: is_dead() finds the ring again. */
		if (ring && agent.key >= 0 && agent.key < 32)
			pthread_setspecific(agent.key, t);
		if (!ring && !hidden)
			t->skip = t->patience = t->patience < 1024 ? 2 * t->patience + 1 : 1024;
	}
	t->ring[shm] = ring;
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	t->busy = 0;
	return ring;
}
