/* SPDX-License-Identifier: MIT */
/*
 * The path of a hit, and how it reads memory.
 *
 * A trampoline may run anywhere: in a leaf function, in a signal handler that came in
 * the middle of malloc or of another trampoline, on a stack of 2 KiB. Therefore the
 * code here and in hit-ring.c
 *
 * 1. uses no vector register (build.mk);
 * 2. takes no lock that it would wait for;
 * 3. calls nothing of the C library but pthread_setspecific(3);
 * 4. does not change errno;
 * 5. uses little stack.
 *
 * System calls. A hit makes no call that uses a descriptor. It makes a call only while
 * calls.c knows that no thread has a filter that could kill it; all calls go through
 * hit_call(). Without calls a hit still counts and records. Memory that it cannot
 * read is a fault.
 *
 * Reading memory. A trampoline reads directly only memory that is mapped and stays so:
 *
 * 1. The pages that the trampoline itself has pushed to, and the page of the last byte
 *    below the program's stack pointer. The thread is using them.
 * 2. From there upward, pages of the stack that the C library gave the thread (or of
 *    the first thread's stack), if the stack pointer is in that stack. At the first
 *    access to a page the agent asks the kernel whether it is readable. sure_low and
 *    sure_last remember the answers. The stack of a coroutine, a signal stack and a
 *    guard page are outside of this part, or end it.
 * 3. The image of the site.
 *
 * All other memory is read by process_vm_readv(2) on the own process. The pointer may
 * be anything, and only that call can neither crash nor race with munmap() in another
 * thread. If the process has no other thread but the agent's, a string between the beginning
 * and the end of the heap is read directly after the agent has found that its page is
 * readable.
 *
 * With other threads nothing cheaper is safe:
 *
 * - A pipe, or writing to a memfd, would cost half as much. But the descriptors would
 *   be in the program's table, where they can be closed and become another file's.
 * - malloc gives back pages of the heap at any moment, by a call that no library can
 *   interpose.
 * - Nothing can be remembered of a page, because it changes.
 *
 * The same holds for memory operands (8@16(%rbx)) and for fields that a filter follows
 * a pointer to. In a process without other threads the agent finds out whether they
 * are readable by rt_sigprocmask(2) with an invalid operation: it reads 8 bytes and
 * fails, in a sixth of the time of process_vm_readv(2).
 */
#include <linux/prctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "runtime/agent/inproc/hit-aggregate.h"
#include "runtime/agent/inproc/hit-call.h"

#define SMALL_PAGE ((uintptr_t)4096) /* on every CPU a page is a multiple of this */
#define STACK_PAGES 64               /* of the stack, probed in one hit */

__thread struct hit_thread agent_thread;

/* ---- the kernel's answers ---- */

/* Reads by the kernel. Returns how many bytes it could read, or -ENOSYS if calls are off or the call is missing. */
static long memory_read(uint64_t address, void *to, size_t size)
{
	struct iovec here = { to, size }, there = { (void *)address, size };
	/* By the thread's id, because a first thread that has ended has no memory. */
	long n = hit_call(SYS_process_vm_readv, agent_thread.tid ? agent_thread.tid : agent.pid, (long)&here, 1,
	                  (long)&there, 1, 0);

	return n > 0 || n == -ENOSYS ? n : 0;
}

/* Returns whether the 8 bytes at the address, a multiple of 8, are readable. false without calls. */
static bool memory_is_readable(uint64_t address)
{
	return hit_call(SYS_rt_sigprocmask, -1, address, 0, sizeof(uint64_t), 0, 0) == -EINVAL;
}

/* ---- the stack ---- */

/*
 * Finds the thread's stack in the C library's descriptor of the thread, whose layout
 * depends on the version. It looks for three words in a row that are the begin, the
 * size and the guard size of a stack. That stack has to contain both the stack pointer
 * and, near its end, the descriptor.
 */
static void stack_learn(struct hit_thread *t, uintptr_t sp)
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

/* Returns the end of the thread's own stack if the thread is on it; else 0. */
static uintptr_t stack_end(struct hit_thread *t, uintptr_t sp)
{
	if (sp >= agent.main_low && sp < agent.main_end)
		return agent.main_end;
	if (!t->stack_end)
		stack_learn(t, sp);
	return sp >= t->stack_low && sp < t->stack_end ? t->stack_end : 0;
}

/*
 * Adds the pages from the stack pointer's to the address's to the part that is sure.
 * In a signal handler this can run in the middle of itself. Then the deeper call's
 * pages are a part of what was sure before.
 */
static bool stack_probe(uint64_t address, uintptr_t frame)
{
	struct hit_thread *t = &agent_thread;
	const uintptr_t sp = frame + FRAME_TO_STACK, end = stack_end(t, sp);
	uintptr_t known = ((sp - 1) & -SMALL_PAGE) + SMALL_PAGE, low = frame & -SMALL_PAGE, high;

	if (address < sp || address >= end || address - sp > STACK_PAGES * SMALL_PAGE)
		return false;
	for (high = known; high <= address; high += SMALL_PAGE)
		if (!(high >= t->sure_low && high < t->sure_last) && !memory_is_readable(high))
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

/* Returns how many bytes from the address on are readable and stay so. image: NULL for the stack alone. */
static size_t bytes_sure(uint64_t address, uintptr_t frame, const struct image_ranges *image)
{
	const struct hit_thread *t = &agent_thread;
	const uintptr_t sp = frame + FRAME_TO_STACK, known = ((sp - 1) & -SMALL_PAGE) + SMALL_PAGE;

	if (address >= (frame & -SMALL_PAGE) && address < known)
		return known - address;
	if (address >= sp && address <= t->sure_last && frame >= t->sure_low)
		return t->sure_last + 8 - address;
	for (unsigned i = 0; image && i < image->n; i++)
		if (address >= image->range[i].start && address < image->range[i].end)
			return image->range[i].end - address;
	return stack_probe(address, frame) ? t->sure_last + 8 - address : 0;
}

/* ---- values ---- */

/* Returns whether no other thread can change what is mapped. The agent's thread does not. */
static bool process_is_single(void)
{
	const unsigned *n = agent.nthreads;

	return n && !agent.shares_memory &&
	       __atomic_load_n(n, __ATOMIC_ACQUIRE) <= 1 + __atomic_load_n(&agent.own_threads, __ATOMIC_ACQUIRE);
}

struct hit_result trampoline_load(long rdi, long rsi, long rdx, unsigned size, uint64_t address, uintptr_t frame)
{
	struct hit_result answer = { 0, 1 };
	uint64_t first = address & ~7ull, last = (address + size - 1) & ~7ull;
	long n;

	(void)rdi, (void)rsi, (void)rdx;
	if (bytes_sure(address, frame, NULL) < size) {
		n = process_is_single() ? -ENOSYS : memory_read(address, &answer.value, size);
		answer.fault = n != size;
		if (n != -ENOSYS)
			return answer;
		/* No other thread can unmap it. (An emulator may lack the call.) */
		if (!memory_is_readable(first) || (last != first && !memory_is_readable(last)))
			return answer;
	}
	for (unsigned i = 0; i < size; i++)
		answer.value |= (uint64_t) * (const uint8_t *)(address + i) << 8 * i;
	answer.fault = 0;
	return answer;
}

/* ---- strings ---- */

/* Returns how many bytes from the address on are in a page of the heap that is readable and stays so. */
static size_t heap_bytes_sure(uint64_t address)
{
	uintptr_t end;
	size_t n;

	if (!process_is_single() || !agent.heap || address < agent.heap || !agent.heap_end)
		return 0;
	end = *(uintptr_t *)agent.heap_end;
	if (address >= end || !memory_is_readable(address & ~7ull))
		return 0;
	n = 4096 - (address & 4095);
	return n < end - address ? n : end - address;
}

typedef uint64_t any_word __attribute__((may_alias, aligned(1)));

/* Returns a mask whose lowest bit is in the first byte that is 0, or 0 if no byte is 0. */
static uint64_t word_zeroes(uint64_t word)
{
	return (word - 0x0101010101010101ull) & ~word & 0x8080808080808080ull;
}

/* Returns the word with its bytes from number n on cleared. n is at most 7. */
static uint64_t word_head(uint64_t word, unsigned n)
{
	return word & ((1ull << 8 * n) - 1);
}

/* Copies n bytes that are sure. Returns the position of the first NUL, or n. */
static unsigned string_copy(uint64_t address, char *to, unsigned at, unsigned n)
{
	for (; at + 8 <= n; at += 8) {
		uint64_t word = *(const any_word *)(address + at), zeroes = word_zeroes(word);

		if (zeroes) {
			unsigned length = (unsigned)__builtin_ctzll(zeroes) / 8;

			*(any_word *)(to + at) = word_head(word, length);
			return at + length;
		}
		*(any_word *)(to + at) = word;
	}
	for (; at < n; at++) {
		to[at] = *(const char *)(address + at);
		if (!to[at])
			break;
	}
	return at;
}

/*
 * Reads at most max bytes of the string into to, which has room for max + 7. Returns
 * the length; max if no NUL is among them; -1 if it is not readable.
 */
static int string_read(uint64_t address, char *to, unsigned max, const struct image_ranges *image, uintptr_t frame)
{
	unsigned at = 0;
	size_t n, known;
	long got;

	while (at < max &&
	       ((known = bytes_sure(address + at, frame, image)) || (known = heap_bytes_sure(address + at)))) {
		n = known < max - at ? at + known : max;
		at = string_copy(address, to, at, n);
		if (at < n)
			return at;
	}
	if (at == max)
		return max;
	got = memory_read(address, to, max);
	for (at = 0; (long)at < got; at++)
		if (!to[at])
			return at;
	return got == max ? (int)max : -1;
}

/* Reads n bytes into to, which has room for n + 7. Returns n, or -1 if they are not readable. */
static int bytes_read(uint64_t address, char *to, unsigned n, const struct image_ranges *image, uintptr_t frame)
{
	unsigned at = 0;
	size_t known;

	while (at < n && ((known = bytes_sure(address + at, frame, image)) || (known = heap_bytes_sure(address + at))))
		for (unsigned end = known < n - at ? at + known : n; at < end; at++)
			to[at] = *(const char *)(address + at);
	return at == n || memory_read(address, to, n) == (long)n ? (int)n : -1;
}

/* Sets bytes to 0 by words, up to a position that is a multiple of 8. */
static void bytes_clear(char *bytes, unsigned from, unsigned to)
{
	any_word *word = (any_word *)(bytes + (from & ~7u));

	if (from & 7)
		*word = word_head(*word, from & 7);
	for (from = (from + 7) & ~7u; from < to; from += 8)
		*(any_word *)(bytes + from) = 0;
}

/* Returns how many bytes of an argument with a length are to be read, at most max + 1; -1 if the length is negative. */
static int sized_bytes(uint64_t length, unsigned max)
{
	if (length >> 63)
		return -1;
	return length > max ? (int)max + 1 : (int)length;
}

#define STRING_BUFFER (RECORD_STRING_DEFAULT + 1 + 8)

/*
 * A string of the default length is read to the stack, and then copied, so that the space after it stays zero. The stack
 * may be too small for a longer one, which is read to the ring. What was written there beyond its end is cleared; the
 * record has RECORD_SPARE bytes for that (compile.c).
 */
char *trampoline_string(const struct image_ranges *image, struct shared_record *record, char *cursor, uint32_t how,
                        uint64_t address, uintptr_t frame)
{
	const unsigned argument = how & 255, max = how >> 16;
	const bool is_short = max <= RECORD_STRING_DEFAULT;
	char buffer[STRING_BUFFER];
	char *bytes = is_short ? buffer : cursor;
	int n;

	if (how >> 8 & 1) {
		n = sized_bytes(shared_get(record->value[argument]), max);
		n = n > 0 ? bytes_read(address, bytes, n, image, frame) : n;
	} else {
		n = string_read(address, bytes, max + 2, image, frame);
	}
	shared_set(record->value[argument], 0);
	if (n > (int)max + 1)
		n = max + 1;
	if (!is_short)
		bytes_clear(bytes, n < 0 ? 0 : n, RECORD_STRING_ROOM(max) + 8);
	if (n < 0) {
		shared_set(record->words_faults, shared_get(record->words_faults) | 1u << (8 + argument));
		return cursor;
	}
	shared_set(record->value[argument], n);
	if (is_short) {
		bytes_clear(bytes, n, (n + 7) & ~7);
		for (int i = 0; i < n; i += 8)
			*(any_word *)(cursor + i) = *(any_word *)(bytes + i);
	}
	return cursor + ((n + 7) & ~7);
}

struct hit_result trampoline_keystr(const struct image_ranges *image, char *part, long rdx, long rcx, uint64_t address,
                                    uintptr_t frame)
{
	int n = string_read(address, part, AGG_STRING, image, frame);
	struct hit_result answer = { 0, n < 0 };

	(void)rdx, (void)rcx;
	if (n < 0)
		return answer;
	if (n == AGG_STRING)
		part[AGG_STRING - 1] = AGG_CUT;
	bytes_clear(part, n, AGG_STRING);
	return answer;
}

/* Returns whether both words of a frame are readable. They may be in different pages. */
static bool frame_is_sure(uint64_t at, uintptr_t frame)
{
	size_t known = bytes_sure(at, frame, NULL);

	return known >= 16 || (known >= 8 && bytes_sure(at + 8, frame, NULL) >= 8);
}

struct hit_result trampoline_keystack(long rdi, uint64_t *words, long rdx, long rcx, long rax, uintptr_t frame)
{
	const struct hit_result answer = { 0, 0 };
	uint64_t at = words[AGG_WORD_FRAME], lowest = words[AGG_WORD_SP];
	uint64_t *frames = words + AGG_WORD_SITE;
	unsigned n = frames[1] ? 2 : 1;

	(void)rdi, (void)rdx, (void)rcx, (void)rax;
	words[1] = agent.exec;
	while (n < AGG_FRAMES && at >= lowest && at - lowest <= AGG_FRAME_SIZE_MAX && !(at & 7) &&
	       frame_is_sure(at, frame)) {
		const uint64_t *record = (const uint64_t *)at;

		if (record[1] < AGG_CODE_MIN || record[1] - lowest <= AGG_FRAME_SIZE_MAX)
			break;
		frames[n++] = record[1];
		lowest = at + 16;
		at = record[0];
	}
	for (; n < AGG_FRAMES; n++)
		frames[n] = 0;
	return answer;
}

static bool literal_matches(const struct fetch_literal *literal, const char *string, unsigned length, bool prefix)
{
	if (prefix ? length < literal->length : length != literal->length)
		return false;
	for (unsigned i = 0; i < literal->length; i++)
		if (string[i] != literal->bytes[i])
			return false;
	return true;
}

/* Returns whether the literal is in a string, or at its end. */
static bool literal_is_in(const struct fetch_literal *literal, const char *string, unsigned length, bool at_end)
{
	if (length > FETCH_SEARCH_MAX) {
		if (at_end)
			return false;
		length = FETCH_SEARCH_MAX;
	}
	for (unsigned i = at_end && length >= literal->length ? length - literal->length : 0;
	     i + literal->length <= length; i++)
		if (literal_matches(literal, string + i, length - i, true))
			return true;
	return false;
}

struct hit_result trampoline_match(const struct fetch_literal *literal, const struct image_ranges *image, long rdx,
                                   unsigned how, uint64_t address, uintptr_t frame)
{
	char bytes[FETCH_SEARCH_MAX + 2 + 8];
	unsigned max = how >= LITERAL_PART ? FETCH_SEARCH_MAX + 2 : literal->length + (how == LITERAL_BEGIN ? 1 : 2);
	int n = string_read(address, bytes, max, image, frame);
	struct hit_result answer = { 0, n < 0 };

	(void)rdx;
	if (n >= 0)
		answer.value = how >= LITERAL_PART ? literal_is_in(literal, bytes, n, how == LITERAL_END)
		                                   : literal_matches(literal, bytes, n, how == LITERAL_BEGIN);
	return answer;
}

struct hit_result trampoline_hash(const struct image_ranges *image, long rsi, long rdx, unsigned rcx, uint64_t address,
                                  uintptr_t frame)
{
	char bytes[FETCH_HASH_BYTES + 8];
	int n = string_read(address, bytes, FETCH_HASH_BYTES, image, frame);
	struct hit_result answer = { FETCH_HASH_SEED, n < 0 };

	(void)rsi, (void)rdx, (void)rcx;
	if (n >= 0)
		bytes_clear(bytes, n, FETCH_HASH_BYTES);
	for (int i = 0; n >= 0 && i < FETCH_HASH_BYTES; i += 8) {
		answer.value = (answer.value ^ *(any_word *)(bytes + i)) * FETCH_HASH_FACTOR;
		answer.value ^= answer.value >> 32;
	}
	return answer;
}

struct hit_result trampoline_comm(const struct fetch_literal *literal, long rsi, long rdx, unsigned how)
{
	struct hit_result answer = { 0, 0 };
	char comm[16] = "";
	unsigned length = 0;

	(void)rsi, (void)rdx;
	if (hit_call(SYS_prctl, PR_GET_NAME, (long)comm, 0, 0, 0, 0)) {
		answer.fault = 1;
		return answer;
	}
	while (length < sizeof(comm) - 1 && comm[length])
		length++;
	answer.value = literal_matches(literal, comm, length, how == LITERAL_BEGIN);
	return answer;
}

/* ---- time ---- */

uint64_t trampoline_now(void)
{
	struct {
		long sec, nsec;
	} t = { 0, 0 };

	if (hit_call(SYS_clock_gettime, 1, (long)&t, 0, 0, 0, 0))
		return UINT64_MAX;
	return t.sec * 1000000000ull + t.nsec;
}

uint64_t trampoline_late(void)
{
	if (!clock_is_allowed(&agent_thread))
		return 1;
	return agent.has_ticks ? cpu_ticks() : trampoline_now();
}
