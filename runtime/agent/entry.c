/* SPDX-License-Identifier: MIT */
/*
 * What slots call, and the way in.
 *
 * A slot may stand anywhere: in a leaf function, in a signal handler that came in
 * the middle of malloc or of another slot, on a stack of 2 KiB. What is here uses
 * no vector register (see build.mk), takes no lock that it would wait for, calls
 * nothing of the C library but pthread_setspecific(), leaves errno alone, and
 * keeps off the stack.
 *
 * The thread's own stack and the image of the site are read directly. A string
 * elsewhere is read by process_vm_readv(2) on oneself: its pointer may be anything,
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
 * A memory operand (8@16(%rbx)) is what the program evaluates at its site, so nobody
 * unmaps it there; but it may be bad from the start, in a program that had it
 * optimised away. rt_sigprocmask(2) with an operation that does not exist tells: it
 * reads 8 bytes and fails, in a sixth of the time.
 */
#include <fcntl.h>
#include <linux/prctl.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <errno.h>

#include "runtime/agent/agent.h"
#include "runtime/agent/slot.h"

__thread struct thread agent_thread;

/* ---- reading ---- */

/* How many of size bytes could be read. */
static size_t read_safely(uint64_t address, void *to, size_t size)
{
	struct iovec here = { to, size }, there = { (void *)address, size };
	long n = cpu_call(SYS_process_vm_readv, agent.pid, (long)&here, 1, (long)&there, 1, 0);

	return n > 0 ? n : 0;
}

/* How many bytes from there on are sure to stay. */
static size_t stays(uint64_t address, const struct image *image)
{
	const struct thread *t = &agent_thread;
	uintptr_t sp = (uintptr_t)__builtin_frame_address(0);

	if (t->stack_low && sp >= t->stack_low && address >= sp && address <= t->stack_last)
		return t->stack_last + 8 - address;
	for (unsigned i = 0; i < image->n; i++)
		if (address >= image->range[i].start && address < image->range[i].end)
			return image->range[i].end - address;
	return 0;
}

static bool can_read(uint64_t address)
{
	return cpu_call(SYS_rt_sigprocmask, -1, address, 0, sizeof(uint64_t), 0, 0) == -EINVAL;
}

struct answer slot_load(long rdi, long rsi, long rdx, unsigned size, uint64_t address)
{
	struct answer answer = { 0, 1 };
	uint64_t first = address & ~7ull, last = (address + size - 1) & ~7ull;

	(void)rdi, (void)rsi, (void)rdx;
	if (!can_read(first) || (last != first && !can_read(last)))
		return answer;
	for (unsigned i = 0; i < size; i++)
		answer.value |= (uint64_t)*(const uint8_t *)(address + i) << 8 * i;
	answer.fault = 0;
	return answer;
}

/* Nobody else can change what is mapped. The agent's own thread does not. */
static bool is_alone(void)
{
	const unsigned *n = agent.nthreads;

	return n && !agent.shares_memory &&
	       __atomic_load_n(n, __ATOMIC_ACQUIRE) <= 1 + __atomic_load_n(&agent.own_threads, __ATOMIC_ACQUIRE);
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
static int read_string(uint64_t address, char *to, unsigned max, const struct image *image)
{
	unsigned at = 0;
	size_t n, known;

	while (at < max && ((known = stays(address + at, image)) || (known = stays_in_heap(address + at)))) {
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
	n = read_safely(address, to, max);
	for (at = 0; at < n; at++)
		if (!to[at])
			return at;
	return n == max ? (int)max : -1;
}

char *slot_string(const struct image *image, struct record *record, char *cursor, unsigned argument, uint64_t address)
{
	char bytes[RECORD_STRING_CUT + 8];
	int n = read_string(address, bytes, RECORD_STRING_CUT + 1, image);

	record->value[argument] = 0;
	if (n < 0) {
		record->faults |= 1u << argument;
		return cursor;
	}
	if (n > RECORD_STRING_CUT)
		n = RECORD_STRING_CUT;
	record->value[argument] = n;
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

struct answer slot_match(const struct fetch_literal *literal, const struct image *image, long rdx, unsigned prefix,
                         uint64_t address)
{
	char bytes[FETCH_LITERAL_MAX + 2 + 8];
	int n = read_string(address, bytes, literal->length + (prefix ? 1 : 2), image);
	struct answer answer = { 0, n < 0 };

	(void)rdx;
	if (n >= 0)
		answer.value = matches(literal, bytes, n, prefix);
	return answer;
}

struct answer slot_comm(const struct fetch_literal *literal, long rsi, long rdx, unsigned prefix)
{
	struct answer answer = { 0, 0 };
	char comm[16] = "";
	unsigned length = 0;

	(void)rsi, (void)rdx;
	cpu_call(SYS_prctl, PR_GET_NAME, (long)comm, 0, 0, 0, 0);
	while (length < sizeof(comm) - 1 && comm[length])
		length++;
	answer.value = matches(literal, comm, length, prefix);
	return answer;
}

uint64_t slot_now(void)
{
	struct { long sec, nsec; } t = { 0, 0 };

	cpu_call(SYS_clock_gettime, 1, (long)&t, 0, 0, 0, 0);
	return t.sec * 1000000000ull + t.nsec;
}

/*
 * Gives back what the record did not need of the words reserved for it. The space
 * beyond was never written, so it holds zeroes. A signal handler may have reserved
 * behind it: then the rest is to be skipped.
 */
void slot_shrink(struct agent_ring *ring, struct record *record, char *cursor, unsigned reserved)
{
	uint64_t words = (cursor - (char *)record) / 8, begin, head = ring->head;
	uint64_t mask = AGENT_RING_SIZE - 1;

	record->words = words;
	begin = (uint64_t)((char *)record - ((char *)ring + AGENT_DATA_IN_RING));
	if (words == reserved)
		return;
	*(volatile uint64_t *)&record->time = words;
	if (((head - 8 * reserved) & mask) == begin && cpu_exchange(&ring->head, head, head - 8 * (reserved - words)))
		return;
	*(volatile uint64_t *)cursor = AGENT_WORD_SKIP + (reserved - words);
}

/* ---- making room ---- */

#define ROOM (AGENT_RING_SIZE / 16) /* made at once */

static uint64_t *words_of(struct agent_ring *ring, uint64_t position)
{
	return (uint64_t *)((char *)ring + AGENT_DATA_IN_RING + (position & (AGENT_RING_SIZE - 1) & ~7ull));
}

/* How many words what begins there takes. *whole: it is not being written. */
static unsigned words_at(struct agent_ring *ring, uint64_t position, bool *whole)
{
	const uint64_t *at = words_of(ring, position);
	uint64_t word = __atomic_load_n(at, __ATOMIC_ACQUIRE), words;

	*whole = word >= AGENT_WORD_SKIP;
	if (word >= AGENT_WORD_TIME)
		words = ((const struct record *)at)->words;
	else
		words = *whole ? word - AGENT_WORD_SKIP : word;
	return words ? words : 1;
}

static void move_counts(struct agent_ring *ring, uint32_t place, uint64_t n)
{
	struct agent_count *count = (struct agent_count *)((char *)ring + AGENT_COUNTS_IN_RING) + place;

	if (!n)
		return;
	__atomic_fetch_sub(&count->recorded, n, __ATOMIC_RELAXED);
	__atomic_fetch_add(&count->lost, n, __ATOMIC_RELAXED);
}

/*
 * Drops what is before the position, as far as it is whole; ended: all of it. What
 * nobody has read is lost then. The records that are dropped are taken from the
 * reader first, then cleared, then given to the thread to write in. false: there
 * was nothing to drop.
 */
static bool ring_drop(struct agent_ring *ring, const struct agent_area *area, uint64_t before, bool ended)
{
	const struct agent_place *places = (const struct agent_place *)((const char *)area + area_places_at);
	const uint64_t head = ring->head, tail = ring->limit - AGENT_RING_SIZE, used = head - tail;
	uint64_t taken, end, n = 0;
	uint32_t place = 0;
	bool whole;

	if (used > AGENT_RING_SIZE || before - tail > used)
		return false;
	do {
		taken = end = __atomic_load_n(&ring->taken, __ATOMIC_ACQUIRE);
		if (taken - tail > used)
			return false;
		while (end - tail < before - tail) {
			unsigned words = words_at(ring, end, &whole);

			if (!whole && !ended)
				break;
			end = 8 * words < head - end ? end + 8 * words : head;
		}
	} while (end != taken && !__atomic_compare_exchange_n(&ring->taken, &taken, end, false, __ATOMIC_ACQ_REL,
	                                                      __ATOMIC_RELAXED));
	for (uint64_t at = tail; at - tail < end - tail;) {
		unsigned words = words_at(ring, at, &whole);
		uint64_t *word = words_of(ring, at);
		const struct record *record = (const struct record *)word;

		if (*word >= AGENT_WORD_TIME && at - tail >= taken - tail && record->point < AGENT_PLACES &&
		    places[record->point].since <= record->time) {
			if (record->point != place) {
				move_counts(ring, place, n);
				n = 0;
			}
			place = record->point;
			n++;
		}
		for (unsigned i = 0; i < words; i++)
			word[i] = 0;
		at += 8 * words;
	}
	move_counts(ring, place, n);
	__atomic_store_n(&ring->limit, end + AGENT_RING_SIZE, __ATOMIC_RELEASE);
	return end != tail;
}

/*
 * A ring that may be overwritten is full. Not from a signal handler that came in the
 * middle of just this: it has to lose what it would have recorded.
 */
struct answer slot_room(struct agent_ring *ring)
{
	struct thread *t = &agent_thread;
	struct answer answer = { 0, 1 };

	if (t->dropping)
		return answer;
	t->dropping = 1;
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	for (unsigned i = 0; i < AREAS_MAX; i++)
		if (t->ring[i] == ring)
			answer.fault = !ring_drop(ring, agent.areas[i].at, ring->limit - AGENT_RING_SIZE + ROOM, false);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	t->dropping = 0;
	return answer;
}

/* ---- taking a ring ---- */

static uint64_t take_hex(const char **at)
{
	uint64_t n = 0;

	for (;; ++*at) {
		unsigned digit = **at >= '0' && **at <= '9' ? **at - '0' : **at >= 'a' && **at <= 'f' ? **at - 'a' + 10 : 16;

		if (digit > 15)
			return n;
		n = n << 4 | digit;
	}
}

/*
 * The mapping around the stack pointer, if it is the stack that belongs to this
 * thread: the first thread's, or one whose top the C library has put the thread's
 * descriptor on. It stays while the thread lives. Others (of signals, of coroutines)
 * may go at any time.
 */
static void learn_stack(struct thread *t)
{
	static char text[4096];
	static uint32_t used;
	uintptr_t sp = (uintptr_t)__builtin_frame_address(0), self = (uintptr_t)__builtin_thread_pointer();
	size_t had = 0, at;
	long fd, n;
	bool found = false;

	if (__atomic_exchange_n(&used, 1, __ATOMIC_ACQUIRE))
		return;
	fd = cpu_call(SYS_openat, AT_FDCWD, (long)"/proc/self/maps", O_RDONLY | O_CLOEXEC, 0, 0, 0);
	while (fd >= 0 && !found && (n = cpu_call(SYS_read, fd, (long)(text + had), sizeof(text) - 1 - had, 0, 0, 0)) > 0) {
		size_t line = 0;

		had += n;
		for (at = 0; at < had && !found; at++) {
			const char *from = text + line;
			uintptr_t start, end;

			if (text[at] != '\n')
				continue;
			start = take_hex(&from);
			from++;
			end = take_hex(&from);
			if (start <= sp && sp < end) {
				bool first = at - line > 7 && text[at - 1] == ']' && text[at - 7] == '[' && text[at - 6] == 's' &&
				             text[at - 2] == 'k';

				if (first || (self > sp && self < end)) {
					t->stack_low = start;
					t->stack_last = (first ? end : self) - 8;
				}
				found = true;
			}
			line = at + 1;
		}
		for (at = line; at < had; at++)
			text[at - line] = text[at];
		had -= line;
		if (had == sizeof(text) - 1)
			had = 0;
	}
	if (fd >= 0)
		cpu_call(SYS_close, fd, 0, 0, 0, 0, 0);
	__atomic_store_n(&used, 0, __ATOMIC_RELEASE);
}

static bool is_dead(uint32_t tid)
{
	return cpu_call(SYS_tgkill, agent.pid, tid, 0, 0, 0, 0) == -ESRCH;
}

/*
 * A ring with records in it goes to another thread only where they may be
 * overwritten: then if they have been read, or if there is no other.
 */
static bool ring_take(const struct agent_area *at, struct agent_ring *ring, struct thread *t, bool by_force)
{
	uint32_t state = __atomic_load_n(&ring->state, __ATOMIC_ACQUIRE);
	bool full = state != AGENT_RING_FREE &&
	            ring->head + AGENT_RING_SIZE != __atomic_load_n(&ring->limit, __ATOMIC_ACQUIRE);

	if (state == AGENT_RING_TAKEN && (!by_force || (ring->tid != t->tid && !is_dead(ring->tid))))
		return false;
	if (full && (!at->overwrite || (!by_force && ring->head != __atomic_load_n(&ring->taken, __ATOMIC_ACQUIRE))))
		return false;
	if (!__atomic_compare_exchange_n(&ring->state, &state, AGENT_RING_TAKEN, false, __ATOMIC_ACQ_REL,
	                                 __ATOMIC_RELAXED))
		return false;
	if (full)
		ring_drop(ring, at, ring->head, true);
	ring->tid = t->tid;
	cpu_call(SYS_prctl, PR_GET_NAME, (long)ring->comm, 0, 0, 0, 0);
	if (!ring->turns)
		__atomic_store_n(&ring->limit, AGENT_RING_SIZE, __ATOMIC_RELEASE);
	__atomic_store_n(&ring->turns, ring->turns + 1, __ATOMIC_RELEASE);
	return true;
}

/* By force the next in turn, so that of rings that are overwritten the oldest goes first. */
static struct agent_ring *find_ring(struct area *area, struct thread *t)
{
	for (unsigned force = 0; force < 2; force++) {
		uint32_t first = force ? __atomic_load_n(&area->next_ring, __ATOMIC_RELAXED) : 0;

		for (unsigned i = 0; i < AGENT_RINGS; i++) {
			unsigned index = (first + i) % AGENT_RINGS;
			struct agent_ring *ring = (void *)((char *)area->at + area_rings_at + index * area_ring_stride);

			if (!ring_take(area->at, ring, t, force))
				continue;
			if (force)
				__atomic_store_n(&area->next_ring, index + 1, __ATOMIC_RELAXED);
			return ring;
		}
	}
	return NULL;
}

struct agent_ring *slot_take(unsigned area)
{
	struct thread *t = &agent_thread;
	struct agent_ring *ring = NULL;

	if (t->busy)
		return NULL;
	t->busy = 1;
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	if (!t->tid) {
		t->tid = cpu_call(SYS_gettid, 0, 0, 0, 0, 0, 0);
		learn_stack(t);
	}
	if (t->skip) {
		t->skip--;
	} else {
		ring = find_ring(&agent.areas[area], t);
		/* Below 32 nothing is allocated. Other keys do without: is_dead() finds the ring again. */
		if (ring && agent.key >= 0 && agent.key < 32)
			pthread_setspecific(agent.key, t);
		if (!ring)
			t->skip = t->patience = t->patience < 1024 ? 2 * t->patience + 1 : 1024;
	}
	t->ring[area] = ring;
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	t->busy = 0;
	return ring;
}
