/* SPDX-License-Identifier: MIT */
#include <limits.h>
#include <linux/futex.h>
#include <linux/mman.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "runtime/agent/inproc/agent.h"

#define CHUNK (256u << 10)
#define PAGE 4096u
#define ZONE_STEP 65536u

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

/*
 * Where the agent's memory goes if nothing is there: far from where the kernel puts mappings of its own choice, and from
 * the fixed places of sanitizers and of Java's and Go's heaps. A program that unmaps a range, and then maps it again by
 * MAP_FIXED, must not find that the agent's thread has taken it meanwhile.
 */
#define ZONE 0x3a0000000000u
#define ZONE_SIZE (4ull << 40)

static void *zone_take(size_t size)
{
	static uint64_t used;
	uint64_t length = (size + 2 * ZONE_STEP - 1) & -(uint64_t)ZONE_STEP, at;
	const unsigned char *random = (const unsigned char *)getauxval(AT_RANDOM);

	if (!__atomic_load_n(&used, __ATOMIC_RELAXED) && random)
		__atomic_store_n(&used, (uint64_t)(random[0] | random[1] << 8 | random[2] << 16) * ZONE_STEP,
		                 __ATOMIC_RELAXED);
	at = __atomic_fetch_add(&used, length, __ATOMIC_RELAXED);
	return (void *)(ZONE + at % ZONE_SIZE);
}

void *map_apart(size_t size, int protection, int flags, int fd)
{
	return mmap(zone_take(size), size, protection, flags, fd, 0);
}

void *pages_get(size_t size)
{
	void *at =
		map_apart((size + PAGE - 1) & -(size_t)PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);

	if (at == MAP_FAILED)
		return NULL;
	munlock(at, size); /* what the process may lock is its own */
	return at;
}

/*
 * A process that locks all that it maps (mlockall(2) with MCL_FUTURE) would get every
 * page of a large mapping at once, or the mapping would be refused for RLIMIT_MEMLOCK.
 * So one page is mapped, unlocked, and then grown: what grows stays unlocked.
 */
void *memory_map(int fd, void *at, size_t size, int protection)
{
	const int fixed = at ? MAP_FIXED_NOREPLACE : 0;
	const size_t page = getauxval(AT_PAGESZ);
	char *one = mmap(at ? at : zone_take(size), page, PROT_NONE, MAP_SHARED | fixed, fd, 0), *all;

	if (one == MAP_FAILED)
		return NULL;
	if (at && one != at) {
		munmap(one, page);
		return NULL;
	}
	munlock(one, page);
	all = mremap(one, page, size, at ? 0 : MREMAP_MAYMOVE);
	if (all == MAP_FAILED) {
		munmap(one, page);
		return NULL;
	}
	if (mprotect(all, size, protection)) {
		munmap(all, size);
		return NULL;
	}
	return all;
}

void memory_hide(uintptr_t from, uintptr_t to, int protection)
{
	const uintptr_t page = getauxval(AT_PAGESZ);

	from = (from + page - 1) & -page;
	to &= -page;
	if (from < to)
		mprotect((void *)from, to - from, protection);
}

/* Whether RLIMIT_AS then leaves the program at least as much as this takes. */
bool memory_allowed(size_t size)
{
	struct rlimit limit;
	uint64_t used;

	if (getrlimit(RLIMIT_AS, &limit) || limit.rlim_cur == RLIM_INFINITY)
		return true;
	used = modules_size();
	return limit.rlim_cur > used && size <= (limit.rlim_cur - used) / 2;
}

void pages_put(void *at, size_t size)
{
	if (at)
		munmap(at, (size + PAGE - 1) & -(size_t)PAGE);
}

/* A page fault for each page would cost the most of all where there are thousands of sites. */
void pages_ready(const void *at, size_t had, size_t used, size_t room)
{
	const size_t step = 16 * PAGE;
	size_t first = (had + step - 1) / step, behind = (used + step - 1) / step;

	if (behind > first && behind * step <= room && used > 4 * step)
		madvise((char *)at + first * step, (behind - first) * step, MADV_POPULATE_WRITE);
}

void *arena_get(size_t size)
{
	static char *chunk;
	static size_t left;
	void *at;

	size = (size + 15) & ~(size_t)15;
	if (size > CHUNK / 4)
		return pages_get(size);
	if (size > left) {
		chunk = pages_get(CHUNK);
		left = chunk ? CHUNK : 0;
		if (!chunk)
			return NULL;
	}
	at = chunk;
	chunk += size;
	left -= size;
	return at;
}

void *vector_add(struct vector *v, size_t size)
{
	void *at;

	if (v->n + size > v->room) {
		size_t room = v->room ? 2 * v->room : 16 * PAGE;
		void *grown;

		while (room < v->n + size)
			room *= 2;
		grown = pages_get(room);
		if (!grown)
			return NULL;
		if (v->at && mremap(v->at, v->room, room, MREMAP_MAYMOVE | MREMAP_FIXED, grown) == MAP_FAILED) {
			pages_put(grown, room);
			return NULL;
		}
		v->at = grown;
		v->room = room;
	}
	at = (char *)v->at + v->n;
	pages_ready(v->at, v->n, v->n + size, v->room);
	v->n += size;
	memset(at, 0, size);
	return at;
}

/* ---- locks ---- */

void word_wait(uint32_t *word, uint32_t value, unsigned ms)
{
	struct timespec t = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 };

	syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, ms == UINT_MAX ? NULL : &t, NULL, 0);
}

void word_wake(uint32_t *word)
{
	syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

/* 0: free; 1: held; 2: held, and somebody waits. */
bool lock_try(struct lock *lock, unsigned ms)
{
	struct timespec from, t;
	uint32_t was = 0;

	if (__atomic_compare_exchange_n(&lock->word, &was, 1, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
		return true;
	clock_gettime(CLOCK_MONOTONIC, &from);
	for (;;) {
		uint64_t passed;

		if (!__atomic_exchange_n(&lock->word, 2, __ATOMIC_ACQUIRE))
			return true;
		clock_gettime(CLOCK_MONOTONIC, &t);
		passed = (t.tv_sec - from.tv_sec) * 1000 + (t.tv_nsec - from.tv_nsec) / 1000000;
		if (ms != UINT_MAX && passed >= ms)
			return false;
		word_wait(&lock->word, 2, ms == UINT_MAX ? ms : ms - passed);
	}
}

void lock_get(struct lock *lock)
{
	lock_try(lock, UINT_MAX);
}

void lock_put(struct lock *lock)
{
	if (__atomic_exchange_n(&lock->word, 0, __ATOMIC_RELEASE) == 2)
		word_wake(&lock->word);
}
