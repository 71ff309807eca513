/* SPDX-License-Identifier: MIT */
/*
 * The trampolines of sites. A site remembers its last trampoline, so that arming the
 * same consumers again costs nothing.
 *
 * New trampolines are collected in a buffer and written to the region's memfd by
 * pwrite(2). That costs half of what writing to the mapping does, where the kernel has
 * a page fault for each page.
 */
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

#include "runtime/agent/inproc/regions.h"
#include "runtime/agent/inproc/trampoline.h"
#include "runtime/agent/inproc/trampolines.h"

#define FRESH_MAX (4 * TRAMPOLINE_MAX)
#define SERVED ((SITE_REACH + (1u << 20)) / 4) /* bytes of text that one region serves */

/* ---- images ---- */

static struct image_ranges *images;

static void image_add_ranges(struct image_ranges *image, const struct map_entry *text)
{
	for (size_t i = 0; text && i < maps_count() && image->n < IMAGE_RANGES; i++) {
		const struct map_entry *m = maps_get(i);

		if (!mapping_is_image(text, m->start, 1))
			continue;
		if (image->n && image->range[image->n - 1].end == m->start) {
			image->range[image->n - 1].end = m->end;
			continue;
		}
		image->range[image->n].start = m->start;
		image->range[image->n++].end = m->end;
	}
}

/* The program's own image is never unloaded. */
const struct image_ranges *image_get(const struct map_entry *text)
{
	const struct map_entry *program = maps_at(getauxval(AT_ENTRY));
	struct image_ranges made = { 0 }, *image;

	image_add_ranges(&made, text);
	if (program && !mapping_is_image(text, program->start, 1))
		image_add_ranges(&made, program);
	for (image = images; image; image = image->next)
		if (image->n == made.n && !memcmp(image->range, made.range, sizeof(made.range)))
			return image;
	image = arena_alloc(sizeof(*image));
	if (image) {
		*image = made;
		image->next = images;
		images = image;
	}
	return image;
}

/* ---- a site's trampoline ---- */

/* The last trampolines of a region, which are not written to it yet. */
static struct {
	struct code_region *region;
	size_t n;
	uint8_t bytes[FRESH_MAX];
} fresh;

/* Returns whether the last trampoline has the consumers of this pass, for the same image at the same place. */
static bool trampoline_is_current(const struct patch_site *site, const struct map_entry *text)
{
	const struct site_consumer *c;

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
	struct code_region *r = fresh.region;
	size_t at = r ? r->used - fresh.n : 0;

	if (r && (r->fd < 0 || pwrite(r->fd, fresh.bytes, fresh.n, at) != (ssize_t)fresh.n))
		memcpy(r->write + at, fresh.bytes, fresh.n);
	if (r)
		cpu_code_written(r->run + at, fresh.n);
	fresh.region = NULL;
	fresh.n = 0;
}

/* Finds a region within reach of the text, or of the part of a large text that has the site. */
static struct code_region *trampoline_region(const struct patch_site *site, const struct map_entry *text)
{
	uintptr_t part = site->address & -SERVED;

	if (text->end - text->start > SERVED)
		return region_find(part, part + SERVED);
	return region_find(text->start, text->end);
}

/* Fills in the end of the list with the site's consumers, the oldest first. Returns the index of the first. */
static unsigned consumers_list(const struct patch_site *site, struct trampoline_consumer list[CONSUMERS_MAX])
{
	unsigned first = CONSUMERS_MAX;
	struct site_consumer *c;

	for (uint32_t i = site->consumers; i; i = c->next) {
		c = consumer_at(i - 1);
		if (c->taken)
			list[--first] = (struct trampoline_consumer){ .program = c->program,
				                                      .shm = agent.shms[c->shm].at,
				                                      .index = c->shm,
				                                      .slot = c->slot,
				                                      .group = c->group,
				                                      .bucket = c->bucket,
				                                      .call = c->call };
	}
	return first;
}

static void trampoline_note(struct patch_site *site, const struct map_entry *text, uintptr_t at)
{
	struct site_consumer *c;

	site->trampoline = at;
	site->trampoline_base = text->start - text->offset;
	site->trampoline_device = text->device;
	site->trampoline_inode = text->inode;
	for (uint32_t i = site->consumers; i; i = c->next) {
		c = consumer_at(i - 1);
		c->in_trampoline = c->taken;
	}
}

enum agent_reason trampoline_get(struct patch_site *site, const struct map_entry *text,
                                 const struct image_ranges *image)
{
	struct trampoline_consumer list[CONSUMERS_MAX];
	struct code_region *r;
	unsigned first;
	uintptr_t at;
	size_t n;

	if (trampoline_is_current(site, text))
		return AGENT_OK;
	r = trampoline_region(site, text);
	if (!r)
		return AGENT_FAR;
	first = consumers_list(site, list);
	at = (uintptr_t)r->run + r->used;
	if (fresh.region != r || fresh.n + TRAMPOLINE_MAX > sizeof(fresh.bytes))
		trampolines_finish();
	n = trampoline_compile(fresh.bytes + fresh.n, at, site->address, list + first, site->nwant, image,
	                       (const struct trampoline_table *)r->run, r->life);
	if (!n)
		return AGENT_PROGRAM;
	n = (n + TRAMPOLINE_ALIGN - 1) & ~(size_t)(TRAMPOLINE_ALIGN - 1);
	fresh.region = r;
	fresh.n += n;
	r->used += n;
	trampoline_note(site, text, at);
	return AGENT_OK;
}
