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
 */
#include <linux/membarrier.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "runtime/agent/sites.h"

#define PAGE ((uintptr_t)getauxval(AT_PAGESZ))
#define SEMAPHORE_MAX 32767

static void site_refuse(struct site *site, enum agent_reason reason)
{
	struct consumer *c;

	site->failed = 1;
	for (uint32_t i = site->consumers; i; i = c->next) {
		c = consumer_at(i - 1);
		if (!c->taken)
			continue;
		point_refuse(c->segment, c->point, reason);
		if (reason == AGENT_BYTES)
			memcpy(c->segment->points[c->point].found, (const char *)site->address + SITE_AT, SITE_NOP);
		c->taken = 0;
	}
	site->nwant = 0;
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
		site_refuse(site, AGENT_BYTES);
	}
}

static bool serialize(void)
{
	return !syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE, 0, 0);
}

struct range {
	uintptr_t first, last; /* of the sites in the batch; 0: none */
	bool failed;
};

static struct vector batch;  /* u32, sites */
static struct vector ranges; /* struct range, one for each module */

static struct range *range_of(const struct mapping *text)
{
	return (struct range *)ranges.at + (text - modules_get(0));
}

static bool batch_add(const struct site *site, const struct mapping *text)
{
	uint32_t *added = vector_add(&batch, sizeof(*added));
	struct range *range = range_of(text);

	if (!added)
		return false;
	*added = site - site_at(0);
	if (!range->first || site->address < range->first)
		range->first = site->address;
	if (site->address > range->last)
		range->last = site->address;
	return true;
}

static size_t nbatch(void)
{
	return batch.n / sizeof(uint32_t);
}

static struct site *batch_at(size_t i)
{
	return site_at(((const uint32_t *)batch.at)[i]);
}

static void batch_protect(bool writable)
{
	bool failed = false;

	for (size_t i = 0; i < modules_count(); i++) {
		const struct mapping *text = modules_get(i);
		struct range *range = range_of(text);
		uintptr_t start = range->first & -PAGE, end = (range->last + SITE_AT + SITE_NOP - 1 + PAGE) & -PAGE;

		if (!range->first || text->protection & PROT_WRITE || range->failed)
			continue;
		range->failed = mprotect((void *)start, end - start, site_protection(text) | (writable ? PROT_WRITE : 0)) && writable;
		failed |= range->failed;
	}
	for (size_t i = 0; failed && i < nbatch(); i++)
		if (range_of(modules_at(batch_at(i)->address))->failed)
			site_refuse(batch_at(i), AGENT_PROTECT);
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
	if (!serialize())
		return false;
	for (unsigned step = 0; step < SITE_STEPS; step++) {
		for (size_t i = 0; i < nbatch(); i++)
			if (!batch_at(i)->failed)
				site_write(batch_at(i)->address, batch_at(i)->will, step);
		serialize();
	}
	return true;
}

static void batch_done(struct site *site)
{
	bool armed = memcmp(site->will, site_nop, JUMP);
	struct consumer *c;

	if (memcmp((const void *)(site->address + SITE_AT), site->will, JUMP)) {
		site_refuse(site, AGENT_READ_BACK);
		return;
	}
	site->armed = armed;
	memcpy(site->was, site->will, JUMP);
	for (uint32_t i = site->consumers; i; i = c->next) {
		c = consumer_at(i - 1);
		c->live = c->taken;
	}
	if (!armed)
		semaphore_drop(site);
}

static void batch_run(void)
{
	bool written;

	if (!nbatch())
		return;
	slots_finish();
	batch_protect(true);
	written = batch_write();
	batch_protect(false);
	for (size_t i = 0; i < nbatch(); i++) {
		struct site *site = batch_at(i);

		if (!written)
			site_refuse(site, AGENT_MEMBARRIER);
		else if (!site->failed)
			batch_done(site);
		if (site->failed && !site->armed)
			semaphore_drop(site);
	}
}

/* Puts the site in the batch if it is not as it should be. */
static void site_plan(struct site *site, const struct mapping **text_of_image, const struct image **image)
{
	const struct mapping *text = modules_at(site->address);
	enum agent_reason reason;

	if (text && (text->shared || !text->inode || !(text->protection & PROT_EXEC) || !(text->protection & PROT_READ) ||
	             text->end - site->address < SITE_AT + SITE_NOP))
		text = NULL;
	site_look(site, text);
	if (!text || site->failed)
		return;
	memcpy(site->will, site_nop, JUMP);
	if (site->nwant) {
		if (*text_of_image != text)
			*image = slots_image(text);
		*text_of_image = text;
		reason = *image ? slots_get(site, text, *image) : AGENT_MEMORY;
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
	if (!batch_add(site, text))
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
	vector_clear(&ranges);
	if (reason != AGENT_MAPS && !vector_add(&ranges, modules_count() * sizeof(struct range)))
		reason = AGENT_MAPS;
	calls_look();
	sites_begin();
	vector_clear(&batch);
	agent.npending = 0;
	for (unsigned i = 0; i < SESSIONS_MAX; i++) {
		struct session *session = &agent.sessions[i];
		struct segment **segments = session->segments.at;

		for (size_t k = 0; k < session->segments.n / sizeof(*segments); k++)
			if (segments[k]->desc && !sites_want(session, segments[k], reason))
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
