/* SPDX-License-Identifier: MIT */
/*
 * Where trampolines are: in regions within reach of the text they serve, each a memfd that
 * is mapped twice, to be written and to be run. They are never freed, for nobody can
 * say that no thread is inside. But a site remembers its last one, so that arming
 * the same again costs nothing.
 *
 * New trampolines are put together and written to the file, which costs half of what
 * writing to its mapping does, for there the kernel has a page fault for each page.
 */
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <unistd.h>

#include "runtime/agent/inproc/sites.h"

#define PAGE ((uintptr_t)getauxval(AT_PAGESZ))
#define REGIONS_MAX 64
#define FRESH_MAX (4 * TRAMPOLINE_MAX)
#define SERVED ((SITE_REACH + (1u << 20)) / 4) /* of text, by one region */

#ifndef MFD_EXEC
#define MFD_EXEC 0x10u
#endif

/* ---- images ---- */

static struct image *images;

static void image_add(struct image *image, const struct mapping *text)
{
	for (size_t i = 0; text && i < modules_count() && image->n < IMAGE_RANGES; i++) {
		const struct mapping *m = modules_get(i);

		if (!modules_is_image(text, m->start, 1))
			continue;
		if (image->n && image->range[image->n - 1].end == m->start) {
			image->range[image->n - 1].end = m->end;
			continue;
		}
		image->range[image->n].start = m->start;
		image->range[image->n++].end = m->end;
	}
}

/* The image around that text, and the program's own, which nobody unloads. */
const struct image *trampolines_image(const struct mapping *text)
{
	const struct mapping *program = modules_at(getauxval(AT_ENTRY));
	struct image made = { 0 }, *image;

	image_add(&made, text);
	if (program && !modules_is_image(text, program->start, 1))
		image_add(&made, program);
	for (image = images; image; image = image->next)
		if (image->n == made.n && !memcmp(image->range, made.range, sizeof(made.range)))
			return image;
	image = arena_get(sizeof(*image));
	if (image) {
		*image = made;
		image->next = images;
		images = image;
	}
	return image;
}

/* ---- regions of trampolines ---- */

struct region {
	uint8_t *write, *run; /* the same memory */
	struct life *life;    /* the page before run */
	int fd;               /* in the agent's thread; -1 */
	size_t used;
	bool closed;
};

/* What is not yet in its region, the last of it. */
static struct {
	struct region *region;
	size_t n;
	uint8_t bytes[FRESH_MAX];
} fresh;

static struct region regions[REGIONS_MAX];
static unsigned nregions;

static bool reaches(const struct region *r, uintptr_t low, uintptr_t high)
{
	const uintptr_t reach = SITE_REACH;
	uintptr_t start = (uintptr_t)r->life, end = (uintptr_t)r->run + REGION_SIZE;

	return (end < low || end - low < reach) && (start > high || high - start < reach) &&
	       (start < low || end - low < reach);
}

static struct life *life_map(uintptr_t at)
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

static bool region_map(struct region *r, int fd, uintptr_t at)
{
	r->life = life_map(at);
	if (!r->life)
		return false;
	r->run = memory_map(fd, (void *)(at + PAGE), REGION_SIZE, PROT_READ | PROT_EXEC);
	if (r->run) {
		r->write = memory_map(fd, NULL, REGION_SIZE, PROT_READ | PROT_WRITE);
		if (r->write)
			return true;
		munmap(r->run, REGION_SIZE);
	}
	munmap(r->life, PAGE);
	return false;
}

static struct region *region_get(uintptr_t low, uintptr_t high)
{
	struct region *r;
	uintptr_t at;
	int fd;

	for (unsigned i = 0; i < nregions; i++)
		if (!regions[i].closed && regions[i].used + TRAMPOLINE_MAX <= REGION_SIZE &&
		    reaches(&regions[i], low, high))
			return &regions[i];
	if (nregions == REGIONS_MAX)
		return NULL;
	fd = memfd_create("probepoint-slots", MFD_CLOEXEC | MFD_EXEC);
	if (fd < 0)
		fd = memfd_create("probepoint-slots", MFD_CLOEXEC);
	if (fd < 0)
		return NULL;
	r = &regions[nregions];
	if (!ftruncate(fd, REGION_SIZE))
		for (unsigned nth = 0; nth < 16 && (at = modules_gap(low, high, REGION_SIZE + PAGE, nth)); nth++)
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

void regions_alive(bool alive)
{
	for (unsigned i = 0; i < nregions; i++) {
		regions[i].fd = -1;
		regions[i].life->pid = agent.pid;
		__atomic_store_n(&regions[i].life->alive, alive, __ATOMIC_RELEASE);
	}
}

/* The memory is shared with the parent, which goes on filling it. */
void regions_close(void)
{
	for (unsigned i = 0; i < nregions; i++)
		regions[i].closed = true;
}

void regions_hide(bool hide)
{
	for (unsigned i = 0; i < nregions; i++) {
		const struct region *r = &regions[i];

		if (!hide) {
			munlock(r->run, REGION_SIZE);
			munlock(r->write, REGION_SIZE);
		}
		memory_hide((uintptr_t)r->run + r->used, (uintptr_t)r->run + REGION_SIZE,
		            hide ? PROT_NONE : PROT_READ | PROT_EXEC);
		memory_hide((uintptr_t)r->write + r->used, (uintptr_t)r->write + REGION_SIZE,
		            hide ? PROT_NONE : PROT_READ | PROT_WRITE);
	}
}

/* ---- a site's ---- */

/* Whether what is wanted is what is in the trampoline. */
static bool trampoline_serves(const struct site *site, const struct mapping *text)
{
	const struct consumer *c;

	if (!site->trampoline || site->trampoline_base != text->start - text->offset ||
	    site->trampoline_device != text->device || site->trampoline_inode != text->inode)
		return false;
	for (uint32_t i = site->consumers; i; i = c->next) {
		c = consumer_at(i - 1);
		if (c->in_trampoline != c->taken)
			return false;
	}
	return true;
}

void trampolines_finish(void)
{
	struct region *r = fresh.region;
	size_t at = r ? r->used - fresh.n : 0;

	if (r && (r->fd < 0 || pwrite(r->fd, fresh.bytes, fresh.n, at) != (ssize_t)fresh.n))
		memcpy(r->write + at, fresh.bytes, fresh.n);
	if (r)
		cpu_code_written(r->run + at, fresh.n);
	fresh.region = NULL;
	fresh.n = 0;
}

enum agent_reason trampolines_get(struct site *site, const struct mapping *text, const struct image *image)
{
	struct trampoline_consumer list[CONSUMERS_MAX];
	unsigned first = CONSUMERS_MAX;
	struct consumer *c;
	struct region *r;
	uintptr_t at;
	size_t n;

	if (trampoline_serves(site, text))
		return AGENT_OK;
	if (text->end - text->start > SERVED)
		r = region_get(site->address & -SERVED, (site->address & -SERVED) + SERVED);
	else
		r = region_get(text->start, text->end);
	if (!r)
		return AGENT_FAR;
	/* The oldest first. */
	for (uint32_t i = site->consumers; i; i = c->next) {
		c = consumer_at(i - 1);
		if (c->taken)
			list[--first] =
				(struct trampoline_consumer){ c->program, agent.shms[c->shm].at, c->shm, c->slot };
	}
	at = (uintptr_t)r->run + r->used;
	if (fresh.region != r || fresh.n + TRAMPOLINE_MAX > sizeof(fresh.bytes))
		trampolines_finish();
	n = trampoline_make(fresh.bytes + fresh.n, at, site->address, list + first, site->nwant, image,
	                    (const struct trampoline_table *)r->run, r->life);
	if (!n)
		return AGENT_PROGRAM;
	n = (n + TRAMPOLINE_ALIGN - 1) & ~(size_t)(TRAMPOLINE_ALIGN - 1);
	fresh.region = r;
	fresh.n += n;
	r->used += n;
	site->trampoline = at;
	for (uint32_t i = site->consumers; i; i = c->next) {
		c = consumer_at(i - 1);
		c->in_trampoline = c->taken;
	}
	site->trampoline_base = text->start - text->offset;
	site->trampoline_device = text->device;
	site->trampoline_inode = text->inode;
	return AGENT_OK;
}
