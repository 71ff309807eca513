/* SPDX-License-Identifier: MIT */
/*
 * Regions are never freed, because nothing can prove that no thread is inside of a
 * trampoline.
 */
#include <sys/auxv.h>
#include <sys/mman.h>
#include <unistd.h>

#include "runtime/agent/inproc/maps.h"
#include "runtime/agent/inproc/regions.h"
#include "runtime/agent/inproc/trampoline.h"

#define PAGE ((uintptr_t)getauxval(AT_PAGESZ))
#define REGIONS_MAX 64

#ifndef MFD_EXEC
#define MFD_EXEC 0x10u
#endif

static struct code_region regions[REGIONS_MAX];
static unsigned nregions;

static bool region_reaches(const struct code_region *r, uintptr_t low, uintptr_t high)
{
	const uintptr_t reach = SITE_REACH;
	uintptr_t start = (uintptr_t)r->life, end = (uintptr_t)r->run + REGION_SIZE;

	return (end < low || end - low < reach) && (start > high || high - start < reach) &&
	       (start < low || end - low < reach);
}

/* Maps a page that fork(2) wipes. Returns NULL if the address is taken. */
static struct life *life_page_map(uintptr_t at)
{
	void *page = mmap((void *)at, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE,
	                  -1, 0);

	if (page == MAP_FAILED)
		return NULL;
	if (page != (void *)at || madvise(page, PAGE, MADV_WIPEONFORK)) {
		munmap(page, PAGE);
		return NULL;
	}
	return page;
}

static bool region_map(struct code_region *r, int fd, uintptr_t at)
{
	r->life = life_page_map(at);
	if (!r->life)
		return false;
	r->run = map_shared(fd, (void *)(at + PAGE), REGION_SIZE, PROT_READ | PROT_EXEC, 0);
	if (r->run) {
		r->write = map_shared(fd, NULL, REGION_SIZE, PROT_READ | PROT_WRITE, 0);
		if (r->write)
			return true;
		munmap(r->run, REGION_SIZE);
	}
	munmap(r->life, PAGE);
	return false;
}

/* Older kernels do not know MFD_EXEC, newer ones may require it. */
static int region_file_create(void)
{
	int fd = memfd_create("probepoint-slots", MFD_CLOEXEC | MFD_EXEC);

	return fd >= 0 ? fd : memfd_create("probepoint-slots", MFD_CLOEXEC);
}

static struct code_region *region_make(uintptr_t low, uintptr_t high)
{
	struct code_region *r = &regions[nregions];
	uintptr_t at;
	int fd;

	if (nregions == REGIONS_MAX)
		return NULL;
	fd = region_file_create();
	if (fd < 0)
		return NULL;
	if (!ftruncate(fd, REGION_SIZE))
		for (unsigned nth = 0; nth < 16 && (at = maps_gap(low, high, REGION_SIZE + PAGE, nth)); nth++)
			if (region_map(r, fd, at)) {
				r->fd = fd;
				trampoline_table_fill((struct trampoline_table *)r->write);
				r->used = (sizeof(struct trampoline_table) + 63) & ~63ul;
				r->closed = false;
				r->life->pid = agent.pid;
				__atomic_store_n(&r->life->alive, 1, __ATOMIC_RELEASE);
				nregions++;
				return r;
			}
	close(fd);
	return NULL;
}

struct code_region *region_find(uintptr_t low, uintptr_t high)
{
	for (unsigned i = 0; i < nregions; i++)
		if (!regions[i].closed && regions[i].used + TRAMPOLINE_MAX <= REGION_SIZE &&
		    region_reaches(&regions[i], low, high))
			return &regions[i];
	return region_make(low, high);
}

void regions_revive(void)
{
	for (unsigned i = 0; i < nregions; i++) {
		regions[i].fd = -1;
		regions[i].life->pid = agent.pid;
		__atomic_store_n(&regions[i].life->alive, 1, __ATOMIC_RELEASE);
	}
}

void regions_close(void)
{
	for (unsigned i = 0; i < nregions; i++)
		regions[i].closed = true;
}

void regions_hide(bool hide)
{
	for (unsigned i = 0; i < nregions; i++) {
		const struct code_region *r = &regions[i];

		if (!hide) {
			munlock(r->run, REGION_SIZE);
			munlock(r->write, REGION_SIZE);
		}
		memory_protect((uintptr_t)r->run + r->used, (uintptr_t)r->run + REGION_SIZE,
		               hide ? PROT_NONE : PROT_READ | PROT_EXEC);
		memory_protect((uintptr_t)r->write + r->used, (uintptr_t)r->write + REGION_SIZE,
		               hide ? PROT_NONE : PROT_READ | PROT_WRITE);
	}
}
