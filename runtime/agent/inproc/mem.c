/* SPDX-License-Identifier: MIT */
/*
 * The agent's memory is far from where the kernel places mappings of its own choice,
 * and from the fixed places of sanitizers and of the heaps of Java and Go. The reason
 * is a program that unmaps a range and then maps it again by MAP_FIXED: the agent's
 * thread must not have taken that range in between.
 */
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "runtime/agent/inproc/mem.h"

#define CHUNK (256u << 10)
#define PAGE 4096u
#define ZONE 0x3a0000000000u
#define ZONE_SIZE (4ull << 40)
#define ZONE_STEP LARGEST_PAGE

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

/* Returns an address for a new mapping. The first one is random, by AT_RANDOM. */
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

void *map_private(size_t size, int protection, int flags, int fd)
{
	return mmap(zone_take(size), size, protection, flags, fd, 0);
}

void *pages_map(size_t size)
{
	void *at =
		map_private((size + PAGE - 1) & -(size_t)PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);

	if (at == MAP_FAILED)
		return NULL;
	munlock(at, size); /* RLIMIT_MEMLOCK is the program's */
	return at;
}

void pages_unmap(void *at, size_t size)
{
	if (at)
		munmap(at, (size + PAGE - 1) & -(size_t)PAGE);
}

/*
 * A process that locks all future mappings (mlockall(2) with MCL_FUTURE) would get
 * every page of a large mapping at once, or RLIMIT_MEMLOCK would forbid it. Therefore
 * one page is mapped, unlocked, and then grown; a mapping stays unlocked when it
 * grows.
 */
void *map_shared(int fd, void *at, size_t size, int protection, uint64_t offset)
{
	const int fixed = at ? MAP_FIXED_NOREPLACE : 0;
	const size_t page = getauxval(AT_PAGESZ);
	char *one = mmap(at ? at : zone_take(size), page, PROT_NONE, MAP_SHARED | fixed, fd, offset), *all;

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

void memory_protect(uintptr_t from, uintptr_t to, int protection)
{
	const uintptr_t page = getauxval(AT_PAGESZ);

	from = (from + page - 1) & -page;
	to &= -page;
	if (from < to)
		mprotect((void *)from, to - from, protection);
}

bool memory_allowed(size_t size, uint64_t used)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_AS, &limit) || limit.rlim_cur == RLIM_INFINITY)
		return true;
	return limit.rlim_cur > used && size <= (limit.rlim_cur - used) / 2;
}

/* With thousands of sites, a page fault for each page would be the largest part of the cost of arming. */
void pages_populate(const void *at, size_t had, size_t used, size_t room)
{
	const size_t step = 16 * PAGE;
	size_t first = (had + step - 1) / step, behind = (used + step - 1) / step;

	if (behind > first && behind * step <= room && used > 4 * step)
		madvise((char *)at + first * step, (behind - first) * step, MADV_POPULATE_WRITE);
}

void *arena_alloc(size_t size)
{
	static char *chunk;
	static size_t left;
	void *at;

	size = (size + 15) & ~(size_t)15;
	if (size > CHUNK / 4)
		return pages_map(size);
	if (size > left) {
		chunk = pages_map(CHUNK);
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
		grown = pages_map(room);
		if (!grown)
			return NULL;
		if (v->at && mremap(v->at, v->room, room, MREMAP_MAYMOVE | MREMAP_FIXED, grown) == MAP_FAILED) {
			pages_unmap(grown, room);
			return NULL;
		}
		v->at = grown;
		v->room = room;
	}
	at = (char *)v->at + v->n;
	pages_populate(v->at, v->n, v->n + size, v->room);
	v->n += size;
	memset(at, 0, size);
	return at;
}
