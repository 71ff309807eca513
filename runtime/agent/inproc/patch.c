/* SPDX-License-Identifier: MIT */
/*
 * Sites: from what the attachments want to bytes in the text.
 *
 * The kernel's byte of a site, if it has one, is not looked at. Changing the rest
 * while other threads run through it is the CPU's matter: patch-CPU.c has the steps,
 * behind each of which all processors serialize, by membarrier(2). They are made for
 * all sites at once. They lead from the nop to a jump to a trampoline, back, and from one
 * trampoline to another; at each step all is well, and if this process ends there is
 * nothing to repair.
 *
 * The text is writable for just that long, and the pages are given back as they
 * were.
 *
 * The program may unmap text at any moment, and map something else in its place.
 * So the agent
 *
 *     patches only what the C library's loader has mapped (modules_loaded()), which
 *         dlclose() alone unmaps, and that waits for the agent
 *     reads text by process_vm_readv(2), and has the kernel write it (patch-CPU.c),
 *         so that it gets an error where nothing is mapped
 *     compares the mapping with what it was before it makes the text writable,
 *         before it writes, and before it takes the permission away again
 *
 * What is left is a program that unmaps by itself what the loader has mapped, within
 * the microseconds between such a comparison and the system call after it.
 */
#include <errno.h>
#include <linux/membarrier.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "runtime/agent/inproc/sites.h"

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
		point_refuse(c->attachment, c->point, reason);
		if (reason == AGENT_BYTES)
			modules_copy(c->attachment->points[c->point].found, site->address + SITE_AT, SITE_NOP);
		c->taken = 0;
	}
	site->nwant = 0;
}

#define SEEN_MAX 512

/* The bytes of some sites, read by one system call. */
static struct {
	uint8_t bytes[SEEN_MAX][SITE_NOP];
	bool got[SEEN_MAX];
} seen;

/* Reads sites from first on, at most SEEN_MAX, as at() has them. */
static void seen_read(struct site *(*at)(size_t i), size_t first, size_t n)
{
	static struct iovec here[SEEN_MAX], there[SEEN_MAX];

	n = n < SEEN_MAX ? n : SEEN_MAX;
	for (size_t i = 0; i < n; i++) {
		here[i] = (struct iovec){ seen.bytes[i], SITE_NOP };
		there[i] = (struct iovec){ (void *)(at(first + i)->address + SITE_AT), SITE_NOP };
		seen.got[i] = false;
	}
	/* It ends before what is not there. */
	for (size_t i = 0; i < n; i++) {
		ssize_t got = process_vm_readv(agent.tid, here + i, n - i, there + i, n - i, 0);

		for (; got >= SITE_NOP; got -= SITE_NOP)
			seen.got[i++] = true;
	}
}

static struct site *site_nth(size_t i)
{
	return site_at(i);
}

/* Compares what is there with what should be: the module may have gone and come back, or another tool may be at the site. */
static void site_look(struct site *site, const struct mapping *text, const uint8_t *now)
{
	if (!text || !now) {
		site->armed = 0;
		site->semaphore_held = 0;
		if (text)
			site_refuse(site, AGENT_GONE);
		return;
	}
	memcpy(site->tail, now + JUMP, SITE_NOP - JUMP);
	if (site_is_nop(now)) {
		site->armed = 0;
		site->semaphore_held = 0;
		memcpy(site->was, now, JUMP);
	} else if (!site->armed || memcmp(now, site->was, JUMP)) {
		site_refuse(site, AGENT_BYTES);
	}
}

static bool serialize(void)
{
	return !syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE, 0, 0);
}

struct range {
	uintptr_t first, last; /* of the sites in the batch; 0: none */
	enum agent_reason failed;
	bool asked, loaded; /* see text_is_loaded() */
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

static void range_bounds(const struct range *range, uintptr_t *start, uintptr_t *end)
{
	*start = range->first & -PAGE;
	*end = (range->last + SITE_AT + SITE_NOP - 1 + PAGE) & -PAGE;
}

/* Gives up the ranges that are not mapped any more as they were, with that permission to write. */
static void batch_check(int writable)
{
	bool unread = modules_reread() != 0;

	for (size_t i = 0; i < modules_count(); i++) {
		const struct mapping *text = modules_get(i);
		struct range *range = range_of(text);
		uintptr_t start, end;

		if (!range->first || range->failed)
			continue;
		range_bounds(range, &start, &end);
		range->failed = unread                                                             ? AGENT_MAPS
		                : modules_unchanged(text, start, end, text->protection | writable) ? AGENT_OK
		                                                                                   : AGENT_GONE;
	}
}

static void batch_refuse(void)
{
	for (size_t i = 0; i < nbatch(); i++) {
		const struct range *range = range_of(modules_at(batch_at(i)->address));

		if (range->failed && !batch_at(i)->failed)
			site_refuse(batch_at(i), range->failed);
	}
}

static void batch_protect(bool writable)
{
	batch_check(writable ? 0 : PROT_WRITE);
	for (size_t i = 0; i < modules_count(); i++) {
		const struct mapping *text = modules_get(i);
		struct range *range = range_of(text);
		uintptr_t start, end;

		if (!range->first || text->protection & PROT_WRITE || range->failed)
			continue;
		range_bounds(range, &start, &end);
		if (mprotect((void *)start, end - start, site_protection(text) | (writable ? PROT_WRITE : 0)) &&
		    writable)
			range->failed = errno == ENOMEM ? AGENT_GONE : AGENT_PROTECT;
	}
	if (writable) {
		batch_check(PROT_WRITE);
		batch_refuse();
	}
}

static bool semaphore_add(struct site *site)
{
	uint16_t now;

	if (!site->semaphore || site->semaphore_held)
		return true;
	if (!modules_copy(&now, (uintptr_t)site->semaphore, sizeof(now)) || now >= SEMAPHORE_MAX)
		return false;
	__atomic_fetch_add(site->semaphore, 1, __ATOMIC_RELAXED);
	site->semaphore_held = 1;
	return true;
}

static void semaphore_drop(struct site *site)
{
	uint16_t now;

	if (site->semaphore && site->semaphore_held && modules_copy(&now, (uintptr_t)site->semaphore, sizeof(now)) &&
	    now)
		__atomic_fetch_sub(site->semaphore, 1, __ATOMIC_RELAXED);
	site->semaphore_held = 0;
	site->semaphore = NULL;
}

static void batch_flush(void)
{
	struct site *gone;

	while ((gone = site_write_flush()))
		site_refuse(gone, AGENT_GONE);
}

/* Makes the steps. Returns why nothing was changed, or AGENT_OK. */
static enum agent_reason batch_write(void)
{
	if (!serialize())
		return AGENT_MEMBARRIER;
	if (!site_write_begin())
		return AGENT_STORE;
	for (unsigned step = 0; step < SITE_STEPS; step++) {
		for (size_t i = 0; i < nbatch(); i++) {
			if (!batch_at(i)->failed && !site_write(batch_at(i), step))
				site_refuse(batch_at(i), AGENT_GONE);
			if (site_write_full() || i + 1 == nbatch())
				batch_flush();
		}
		serialize();
	}
	site_write_end();
	return AGENT_OK;
}

static void batch_done(struct site *site, const uint8_t *now)
{
	bool armed = memcmp(site->will, site_nop, JUMP);
	struct consumer *c;

	if (!now || memcmp(now, site->will, JUMP)) {
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
	enum agent_reason reason;

	if (!nbatch())
		return;
	trampolines_finish();
	batch_protect(true);
	reason = batch_write();
	batch_protect(false);
	for (size_t i = 0; i < nbatch(); i++) {
		struct site *site = batch_at(i);

		if (i % SEEN_MAX == 0)
			seen_read(batch_at, i, nbatch() - i);
		if (reason)
			site_refuse(site, reason);
		else if (!site->failed)
			batch_done(site, seen.got[i % SEEN_MAX] ? seen.bytes[i % SEEN_MAX] : NULL);
		if (site->failed && !site->armed)
			semaphore_drop(site);
	}
}

static bool text_is_loaded(const struct mapping *text)
{
	struct range *range = range_of(text);

	if (!range->asked) {
		range->asked = true;
		range->loaded = modules_loaded(text) == MODULES_LOADED;
	}
	return range->loaded;
}

/* Puts the site in the batch if it is not as it should be. */
static void site_plan(struct site *site, const uint8_t *now, const struct mapping **text_of_image,
                      const struct image **image)
{
	const struct mapping *text = modules_at(site->address);
	enum agent_reason reason;

	if (text &&
	    (text->shared || !text->inode || !(text->protection & PROT_EXEC) || !(text->protection & PROT_READ) ||
	     text->end - site->address < SITE_AT + SITE_NOP || !text_is_loaded(text)))
		text = NULL;
	site_look(site, text, now);
	if (!text || site->failed)
		return;
	memcpy(site->will, site_nop, JUMP);
	if (site->nwant) {
		if (*text_of_image != text)
			*image = trampolines_image(text);
		*text_of_image = text;
		reason = *image ? trampolines_get(site, text, *image) : AGENT_MEMORY;
		if (reason) {
			site_refuse(site, reason);
			if (!site->armed)
				return;
			site->failed = 0; /* what was there before goes */
		} else {
			site_jump(site->address, site->trampoline, site->will);
		}
	}
	if (site->armed ? !memcmp(site->was, site->will, JUMP) : !site->nwant)
		return;
	if (site->nwant && !semaphore_add(site)) {
		site_refuse(site, AGENT_SEMAPHORE);
		return;
	}
	if (!batch_add(site, text))
		site_refuse(site, AGENT_MEMORY);
}

/* Whether the point that the place is for may be armed there again, when its module comes back. */
static bool slot_waits(const struct shm *shm, uint32_t slot)
{
	const struct agent_slot *p = (const struct agent_slot *)shm->slots.at + slot;
	struct loaded_attachment **attachments = shm->session ? shm->session->attachments.at : NULL;

	for (size_t i = 0; attachments && i < shm->session->attachments.n / sizeof(*attachments); i++)
		if (attachments[i]->number == p->attachment && attachments[i]->manifest &&
		    p->point < attachments[i]->manifest->npoints)
			return attachments[i]->on[p->point];
	return false;
}

/* What served an image that is gone keeps its counts as long as its attachment is there. */
static void sites_end(void)
{
	agent.narmed = 0;
	for (size_t i = 0; i < nsites(); i++) {
		struct consumer *c;

		agent.narmed += site_at(i)->armed;
		for (uint32_t k = site_at(i)->armed ? 0 : site_at(i)->consumers; k; k = c->next) {
			c = consumer_at(k - 1);
			c->live &= slot_waits(&agent.shms[c->shm], c->slot);
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
		struct loaded_attachment **attachments = session->attachments.at;

		for (size_t k = 0; k < session->attachments.n / sizeof(*attachments); k++)
			if (attachments[k]->manifest && !sites_want(session, attachments[k], reason))
				attachments[k]->reason = AGENT_MEMORY;
	}
	if (reason == AGENT_MAPS)
		return;
	for (size_t i = 0; i < nsites(); i++) {
		if (i % SEEN_MAX == 0)
			seen_read(site_nth, i, nsites() - i);
		if (site_at(i)->armed || site_at(i)->nwant)
			site_plan(site_at(i), seen.got[i % SEEN_MAX] ? seen.bytes[i % SEEN_MAX] : NULL, &text, &image);
	}
	batch_run();
	sites_end();
}
