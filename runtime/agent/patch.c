/* SPDX-License-Identifier: MIT */
/*
 * Sites: from what the segments want to bytes in the text.
 *
 * The kernel's byte of a site, if it has one, is not looked at. Changing the rest
 * while other threads run through it is the CPU's matter: patch-CPU.c has the steps,
 * behind each of which all processors serialize, by membarrier(2). They are made for
 * all sites at once. They lead from the nop to a jump to a slot, back, and from one
 * slot to another; at each step all is well, and if this process ends there is
 * nothing to repair.
 *
 * The text is writable for just that long, and the pages are given back as they
 * were.
 *
 * Slots are never freed, for nobody can say that no thread is inside. But a site
 * remembers its last one, so that arming the same again costs nothing.
 */
#include <errno.h>
#include <linux/membarrier.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "runtime/agent/slot.h"

#define PAGE ((uintptr_t)getauxval(AT_PAGESZ))
#define REGIONS_MAX 64
#define SERVED ((SITE_REACH + (1u << 20)) / 4) /* of text, by one region */
#define SEMAPHORE_MAX 32767
#define TEXTS_MAX 16 /* mappings of one file's text */

#ifndef MFD_EXEC
#define MFD_EXEC 0x10u
#endif

/* ---- tables ---- */

static struct vector sites, consumers, hash; /* hash: u32 site index + 1 */
static size_t hash_used;

static struct site *site_at(uint32_t i)
{
	return (struct site *)sites.at + i;
}

static struct consumer *consumer_at(uint32_t i)
{
	return (struct consumer *)consumers.at + i;
}

static size_t nsites(void)
{
	return sites.n / sizeof(struct site);
}

static uint32_t *hash_slot(uintptr_t address)
{
	size_t mask = hash.n / sizeof(uint32_t) - 1;
	uint32_t *slots = hash.at;
	size_t at = (address * 0x9e3779b97f4a7c15ull >> 20) & mask;

	while (slots[at] && site_at(slots[at] - 1)->address != address)
		at = (at + 1) & mask;
	return &slots[at];
}

static bool hash_grow(void)
{
	size_t n = hash.n ? 2 * hash.n : 4096 * sizeof(uint32_t);
	struct vector grown = { 0 };

	if (!vector_add(&grown, n))
		return false;
	pages_put(hash.at, hash.room);
	hash = grown;
	for (uint32_t i = 0; i < nsites(); i++)
		*hash_slot(site_at(i)->address) = i + 1;
	return true;
}

static struct site *site_get(uintptr_t address)
{
	uint32_t *slot;
	struct site *site;

	if (2 * hash_used >= hash.n / sizeof(uint32_t) && !hash_grow())
		return NULL;
	slot = hash_slot(address);
	if (*slot)
		return site_at(*slot - 1);
	site = vector_add(&sites, sizeof(*site));
	if (!site)
		return NULL;
	site->address = address;
	*slot = nsites();
	hash_used++;
	return site;
}

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
static const struct image *image_of(const struct mapping *text)
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

/* ---- regions of slots ---- */

struct region {
	uint8_t *write, *run; /* the same memory */
	struct life *life;    /* the page before run */
	size_t used;
	bool closed;
};

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
	void *page = mmap((void *)at, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

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
	r->run = mmap((void *)(at + PAGE), REGION_SIZE, PROT_READ | PROT_EXEC, MAP_SHARED | MAP_FIXED_NOREPLACE, fd, 0);
	if (r->run == (void *)(at + PAGE)) {
		r->write = mmap(NULL, REGION_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		if (r->write != MAP_FAILED)
			return true;
	}
	if (r->run != MAP_FAILED)
		munmap(r->run, REGION_SIZE);
	munmap(r->life, PAGE);
	return false;
}

static struct region *region_get(uintptr_t low, uintptr_t high)
{
	struct region *r;
	uintptr_t at;
	int fd;

	for (unsigned i = 0; i < nregions; i++)
		if (!regions[i].closed && regions[i].used + SLOT_MAX <= REGION_SIZE && reaches(&regions[i], low, high))
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
				close(fd);
				slot_table_fill((struct slot_table *)r->write);
				r->used = (sizeof(struct slot_table) + 63) & ~63ul;
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

/* ---- what is wanted ---- */

static void refuse(struct segment *segment, uint32_t point, enum agent_reason reason)
{
	struct agent_point_state *state = &segment->points[point];

	state->state = AGENT_REFUSED;
	state->reason = reason;
}

/* A slot that has this consumer in it is not to be used again. */
static void slot_forget(struct site *site, uint32_t consumer)
{
	for (unsigned i = 0; i < site->nslot_places; i++)
		if (site->slot_places[i] == consumer) {
			site->slot = 0;
			site->nslot_places = 0;
		}
}

static int64_t consumer_new(struct site *site, struct area *area)
{
	int64_t place = area_place(area);
	struct consumer *c = place < 0 ? NULL : vector_add(&consumers, sizeof(*c));

	if (!c)
		return -1;
	c->place = place;
	c->area = area->index;
	c->next = site->consumers;
	site->consumers = c - consumer_at(0) + 1;
	return c - consumer_at(0);
}

/* A consumer of the site for this point: the one that serves it, or one at rest, best with the same program, or a new one. */
static int64_t consumer_get(struct site *site, struct area *area, const struct segment *segment, uint32_t point,
                            struct program *program)
{
	const struct agent_place *places = area->places.at;
	struct consumer *c;
	int64_t found = -1;

	for (uint32_t i = site->consumers; i; i = c->next) {
		c = consumer_at(i - 1);
		if (c->area != area->index || c->taken)
			continue;
		if (c->live && c->program == program && places[c->place].segment == segment->number &&
		    places[c->place].point == point)
			return i - 1;
		if (!c->live && (found < 0 || c->program == program))
			found = i - 1;
	}
	if (found < 0)
		found = consumer_new(site, area);
	if (found < 0)
		return -1;
	c = consumer_at(found);
	if (c->program != program)
		slot_forget(site, found);
	c->program = program;
	area_name_place(area, c->place, segment->number, point);
	return found;
}

static uint16_t *semaphore_find(const struct desc_file *file, const char *path, uint64_t offset, const struct mapping *text)
{
	for (size_t i = 0; i < modules_count(); i++) {
		const struct mapping *m = modules_get(i);

		if (m->shared || !(m->protection & PROT_WRITE) || !m->inode || offset < m->offset ||
		    offset - m->offset > m->end - m->start - 2 || !modules_is_file(m, file, path))
			continue;
		if (modules_is_image(text, m->start, 1))
			return (uint16_t *)(m->start + (offset - m->offset));
	}
	return NULL;
}

static void want_site(struct session *session, struct segment *segment, uint32_t point, const struct desc_file *file,
                      const char *path, const struct mapping *text)
{
	const struct desc_point *p = &desc_points(segment->desc)[point];
	struct agent_point_state *state = &segment->points[point];
	struct program *program = segment_program(segment, p->spec);
	uintptr_t address = text->start + (p->offset - text->offset);
	enum agent_reason reason = AGENT_OK;
	uint16_t *semaphore = NULL;
	struct site *site;
	int64_t consumer;

	if (state->state == AGENT_REFUSED)
		return;
	if (!program || !(site = site_get(address))) {
		refuse(segment, point, AGENT_MEMORY);
		return;
	}
	if (!site->touched) {
		site->touched = 1;
		site->failed = 0;
		site->reason = AGENT_OK;
		site->nwant = 0;
	}
	if (p->semaphore_offset && !site->semaphore_held) {
		semaphore = p->semaphore_offset & 1 ? NULL : semaphore_find(file, path, p->semaphore_offset, text);
		if (!semaphore)
			reason = AGENT_SEMAPHORE;
	}
	if (!reason)
		reason = area_make(session);
	if (!site_fits(address))
		reason = AGENT_BLOCK;
	else if (site->nwant == CONSUMERS_MAX)
		reason = AGENT_CONSUMERS_FULL;
	if (reason) {
		refuse(segment, point, reason);
		return;
	}
	consumer = consumer_get(site, session->area, segment, point, program);
	if (consumer < 0) {
		refuse(segment, point, AGENT_PLACES_FULL);
		return;
	}
	if (semaphore && !site->semaphore_held)
		site->semaphore = semaphore;
	consumer_at(consumer)->taken = 1;
	state->place = consumer_at(consumer)->place;
	state->state = AGENT_ARMED;
	site->want[site->nwant] = consumer;
	site->wanted_by[site->nwant].segment = segment;
	site->wanted_by[site->nwant++].point = point;
}

struct texts {
	const struct mapping *at[TEXTS_MAX];
	unsigned n;
	bool mapped, looked;
};

static void find_texts(struct texts *texts, const struct desc_file *file, const char *path)
{
	texts->looked = true;
	for (size_t i = 0; i < modules_count(); i++) {
		const struct mapping *m = modules_get(i);

		if (!modules_is_file(m, file, path))
			continue;
		texts->mapped = true;
		if (!m->shared && (m->protection & (PROT_EXEC | PROT_READ)) == (PROT_EXEC | PROT_READ) &&
		    texts->n < TEXTS_MAX)
			texts->at[texts->n++] = m;
	}
}

static void want_point(struct session *session, struct segment *segment, uint32_t point, struct texts *texts,
                       enum agent_reason reason)
{
	const struct desc *d = segment->desc;
	const struct desc_point *p = &desc_points(d)[point];
	uint32_t f = desc_probes(d)[p->probe].file;
	const struct desc_file *file = &desc_files(d)[f];
	const char *path = desc_string(d, file->path);
	struct agent_point_state *state = &segment->points[point];

	if (reason == AGENT_MAPS && state->state == AGENT_ARMED)
		return; /* it still is */
	state->state = AGENT_OFF;
	state->reason = AGENT_OK;
	state->place = ~0u;
	if (!segment->on[point] || !segment_concerns(segment, p))
		return;
	if (reason) {
		refuse(segment, point, reason);
		return;
	}
	if (!texts[f].looked)
		find_texts(&texts[f], file, path);
	for (unsigned i = 0; i < texts[f].n; i++) {
		const struct mapping *m = texts[f].at[i];

		if (p->offset >= m->offset && m->end - m->start >= SITE_AT + SITE_NOP &&
		    p->offset - m->offset <= m->end - m->start - SITE_AT - SITE_NOP)
			want_site(session, segment, point, file, path, m);
	}
	if (state->state == AGENT_OFF) {
		state->state = texts[f].mapped ? AGENT_REFUSED : AGENT_PENDING;
		agent.npending += !texts[f].mapped;
		state->reason = texts[f].mapped ? AGENT_NOT_TEXT : AGENT_OK;
	}
}

static bool want_segment(struct session *session, struct segment *segment, enum agent_reason reason)
{
	size_t size = (segment->desc->nfiles + 1) * sizeof(struct texts);
	struct texts *texts = pages_get(size);

	if (!texts)
		return false;
	for (uint32_t i = 0; i < segment->desc->npoints; i++)
		want_point(session, segment, i, texts, reason);
	pages_put(texts, size);
	return true;
}

/* ---- making it so ---- */

static void site_refuse(struct site *site, enum agent_reason reason)
{
	site->failed = 1;
	site->reason = reason;
	for (unsigned i = 0; i < site->nwant; i++) {
		refuse(site->wanted_by[i].segment, site->wanted_by[i].point, reason);
		if (reason == AGENT_BYTES)
			memcpy(site->wanted_by[i].segment->points[site->wanted_by[i].point].found, site->found, SITE_NOP);
	}
	site->nwant = 0;
}

static bool same_places(const struct site *site)
{
	if (site->nwant != site->nslot_places)
		return false;
	for (unsigned i = 0; i < site->nwant; i++)
		if (site->slot_places[i] != site->want[i])
			return false;
	return true;
}

static void sort_wanted(struct site *site)
{
	for (unsigned i = 1; i < site->nwant; i++)
		for (unsigned k = i; k && site->want[k] < site->want[k - 1]; k--) {
			uint32_t c = site->want[k];
			typeof(site->wanted_by[0]) by = site->wanted_by[k];

			site->want[k] = site->want[k - 1];
			site->wanted_by[k] = site->wanted_by[k - 1];
			site->want[k - 1] = c;
			site->wanted_by[k - 1] = by;
		}
}

static enum agent_reason slot_get(struct site *site, const struct mapping *text, const struct image *image)
{
	static uint8_t code[SLOT_MAX];
	struct slot_consumer list[CONSUMERS_MAX];
	struct region *r;
	uintptr_t at;
	size_t n;

	if (site->slot && same_places(site) && site->slot_base == text->start - text->offset && site->slot_device == text->device &&
	    site->slot_inode == text->inode)
		return AGENT_OK;
	if (text->end - text->start > SERVED)
		r = region_get(site->address & -SERVED, (site->address & -SERVED) + SERVED);
	else
		r = region_get(text->start, text->end);
	if (!r)
		return AGENT_FAR;
	for (unsigned i = 0; i < site->nwant; i++) {
		const struct consumer *c = consumer_at(site->want[i]);

		list[i] = (struct slot_consumer){ c->program, agent.areas[c->area].at, c->area, c->place };
	}
	at = (uintptr_t)r->run + r->used;
	n = slot_make(code, at, site->address, list, site->nwant, image, (const struct slot_table *)r->run, r->life);
	if (!n)
		return AGENT_PROGRAM;
	pages_ready(r->write, r->used, r->used + n, REGION_SIZE);
	memcpy(r->write + r->used, code, n);
	cpu_code_written((const void *)at, n);
	r->used += (n + SLOT_ALIGN - 1) & ~(size_t)(SLOT_ALIGN - 1);
	site->slot = at;
	site->nslot_places = site->nwant;
	memcpy(site->slot_places, site->want, sizeof(site->want));
	site->slot_base = text->start - text->offset;
	site->slot_device = text->device;
	site->slot_inode = text->inode;
	return AGENT_OK;
}

/* What is there against what should be: unmapped and mapped again since, or somebody else's by now? */
static void site_look(struct site *site, const struct mapping *text)
{
	const uint8_t *bytes = (const uint8_t *)site->address + SITE_AT;
	uint8_t now[SITE_NOP];

	if (!text) {
		site->armed = 0;
		site->semaphore_held = 0;
		return;
	}
	memcpy(now, bytes, sizeof(now));
	if (!memcmp(now, site_nop, SITE_NOP)) {
		site->armed = 0;
		site->semaphore_held = 0;
	} else if (!site->armed || memcmp(now, site->was, JUMP) || memcmp(now + JUMP, site_nop + JUMP, SITE_NOP - JUMP)) {
		memcpy(site->found, now, sizeof(now));
		site_refuse(site, AGENT_BYTES);
	}
}

static bool serialize(void)
{
	return !syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE, 0, 0);
}

struct batched {
	uintptr_t address;
	uint32_t site;
};

static struct vector batch; /* struct batched, in the order of their addresses */

/* Heap sort: no memory, no recursion, no luck. */
static void sort_batch(struct batched *at, size_t n)
{
	for (size_t i = n / 2, end = n; end > 1;) {
		struct batched moved;
		size_t k, child;

		if (i) {
			moved = at[--i];
		} else {
			moved = at[--end];
			at[end] = at[0];
		}
		for (k = i; (child = 2 * k + 1) < end; k = child) {
			if (child + 1 < end && at[child].address < at[child + 1].address)
				child++;
			if (moved.address >= at[child].address)
				break;
			at[k] = at[child];
		}
		at[k] = moved;
	}
}

/* From the site i of the batch on: how many are in the same mapping, and that mapping. */
static size_t group(const struct batched *at, size_t i, size_t n, const struct mapping **text)
{
	size_t k = i;

	*text = modules_at(at[i].address);
	while (k < n && *text && at[k].address + SITE_AT + SITE_NOP <= (*text)->end)
		k++;
	return k > i ? k - i : 1;
}

static bool group_protect(const struct batched *at, size_t n, int protection)
{
	uintptr_t start = at[0].address & -PAGE;
	uintptr_t end = (at[n - 1].address + SITE_AT + SITE_NOP - 1 + PAGE) & -PAGE;

	return !mprotect((void *)start, end - start, protection);
}

static void batch_protect(bool writable)
{
	const struct batched *at = batch.at;
	size_t n = batch.n / sizeof(*at), len;

	for (size_t i = 0; i < n; i += len) {
		const struct mapping *text;

		len = group(at, i, n, &text);
		if (writable && (!text || !group_protect(at + i, len, text->protection | PROT_WRITE)))
			for (size_t k = i; k < i + len; k++)
				site_refuse(site_at(at[k].site), AGENT_PROTECT);
		if (!writable && !(text->protection & PROT_WRITE))
			group_protect(at + i, len, text->protection);
	}
}

static bool semaphore_add(struct site *site)
{
	uint16_t now;

	if (!site->semaphore || site->semaphore_held)
		return true;
	now = __atomic_load_n(site->semaphore, __ATOMIC_RELAXED);
	if (now >= SEMAPHORE_MAX)
		return false;
	__atomic_fetch_add(site->semaphore, 1, __ATOMIC_RELAXED);
	site->semaphore_held = 1;
	return true;
}

static void semaphore_drop(struct site *site)
{
	if (site->semaphore && site->semaphore_held)
		__atomic_fetch_sub(site->semaphore, 1, __ATOMIC_RELAXED);
	site->semaphore_held = 0;
	site->semaphore = NULL;
}

/* The steps. false: nothing was changed. */
static bool batch_write(void)
{
	const struct batched *at = batch.at;
	size_t n = batch.n / sizeof(*at);

	if (!serialize())
		return false;
	for (unsigned step = 0; step < SITE_STEPS; step++) {
		for (size_t i = 0; i < n; i++)
			if (!site_at(at[i].site)->failed)
				site_write(at[i].address, site_at(at[i].site)->will, step);
		serialize();
	}
	return true;
}

static void consumers_rest(struct site *site)
{
	struct consumer *c;

	for (uint32_t i = site->consumers; i; i = c->next) {
		c = consumer_at(i - 1);
		c->live = 0;
	}
}

static void batch_done(struct site *site)
{
	bool armed = memcmp(site->will, site_nop, JUMP);

	if (memcmp((const void *)(site->address + SITE_AT), site->will, JUMP)) {
		site_refuse(site, AGENT_READ_BACK);
		return;
	}
	site->armed = armed;
	memcpy(site->was, site->will, JUMP);
	consumers_rest(site);
	for (unsigned i = 0; i < site->nwant; i++)
		consumer_at(site->want[i])->live = 1;
	site->nlive = site->nwant;
	if (!armed)
		semaphore_drop(site);
}

static bool batch_run(void)
{
	const struct batched *at = batch.at;
	size_t n = batch.n / sizeof(*at);
	bool written;

	if (!n)
		return true;
	sort_batch(batch.at, n);
	batch_protect(true);
	written = batch_write();
	batch_protect(false);
	for (size_t i = 0; i < n; i++) {
		struct site *site = site_at(at[i].site);

		if (!written)
			site_refuse(site, AGENT_MEMBARRIER);
		else if (!site->failed)
			batch_done(site);
		if (site->failed && !site->armed)
			semaphore_drop(site);
	}
	return written;
}

/* Puts the site in the batch if it is not as it should be. */
static void site_plan(struct site *site, const struct mapping **text_of_image, const struct image **image)
{
	const struct mapping *text = modules_at(site->address);
	enum agent_reason reason;
	struct batched *added;

	if (text && (text->shared || !text->inode || !(text->protection & PROT_EXEC) || !(text->protection & PROT_READ) ||
	             text->end - site->address < SITE_AT + SITE_NOP))
		text = NULL;
	site_look(site, text);
	if (!text || site->failed)
		return;
	memcpy(site->will, site_nop, JUMP);
	if (site->nwant) {
		sort_wanted(site);
		if (*text_of_image != text)
			*image = image_of(text);
		*text_of_image = text;
		reason = *image ? slot_get(site, text, *image) : AGENT_MEMORY;
		if (reason) {
			site_refuse(site, reason);
			if (!site->armed)
				return;
			site->failed = 0; /* what was there before goes */
		} else {
			site_jump(site->address, site->slot, site->will);
		}
	}
	if (!site->armed)
		memcpy(site->was, site_nop, JUMP);
	if (!memcmp(site->was, site->will, JUMP))
		return;
	if (site->nwant && !semaphore_add(site)) {
		site_refuse(site, AGENT_SEMAPHORE);
		return;
	}
	added = vector_add(&batch, sizeof(*added));
	if (added)
		*added = (struct batched){ site->address, site - site_at(0) };
	else
		site_refuse(site, AGENT_MEMORY);
}

/* Whether the point that the place is for may be armed there again, when its module comes back. */
static bool place_waits(const struct area *area, uint32_t place)
{
	const struct agent_place *p = (const struct agent_place *)area->places.at + place;
	struct segment **segments = area->session ? area->session->segments.at : NULL;

	for (size_t i = 0; segments && i < area->session->segments.n / sizeof(*segments); i++)
		if (segments[i]->number == p->segment && segments[i]->desc && p->point < segments[i]->desc->npoints)
			return segments[i]->on[p->point];
	return false;
}

/* What served an image that is gone keeps its counts as long as its segment is there. */
static void sites_end(void)
{
	agent.narmed = 0;
	for (size_t i = 0; i < nsites(); i++) {
		struct consumer *c;

		agent.narmed += site_at(i)->armed;
		for (uint32_t k = site_at(i)->armed ? 0 : site_at(i)->consumers; k; k = c->next) {
			c = consumer_at(k - 1);
			c->live &= place_waits(&agent.areas[c->area], c->place);
		}
	}
}

static void sites_begin(void)
{
	struct consumer *c = consumers.at;
	size_t n = consumers.n / sizeof(*c);

	for (size_t i = 0; i < n; i++)
		c[i].taken = 0;
	for (size_t i = 0; i < nsites(); i++) {
		struct site *site = site_at(i);

		site->touched = 0;
		site->nwant = 0;
		site->failed = 0;
	}
}

void sites_apply(void)
{
	const struct mapping *text = NULL;
	const struct image *image = NULL;
	enum agent_reason reason = modules_read() ? AGENT_MAPS : agent.reason;

	for (size_t i = 0; i < modules_count() && !agent.heap; i++)
		if (modules_get(i)->is_heap)
			agent.heap = modules_get(i)->start;
	sites_begin();
	vector_clear(&batch);
	agent.npending = 0;
	for (unsigned i = 0; i < SESSIONS_MAX; i++) {
		struct session *session = &agent.sessions[i];
		struct segment **segments = session->segments.at;

		for (size_t k = 0; k < session->segments.n / sizeof(*segments); k++)
			if (segments[k]->desc && !want_segment(session, segments[k], reason))
				segments[k]->reason = AGENT_MEMORY;
	}
	if (reason == AGENT_MAPS)
		return;
	for (size_t i = 0; i < nsites(); i++)
		if (site_at(i)->armed || site_at(i)->nwant)
			site_plan(site_at(i), &text, &image);
	batch_run();
	sites_end();
}
