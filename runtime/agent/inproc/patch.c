/* SPDX-License-Identifier: MIT */
/*
 * Changes a batch of sites while the program runs through them.
 *
 * batch_run() does the following for all sites of the batch at once:
 *
 * 1. Compare the mappings with those that maps_read() found, and make the text
 *    writable.
 * 2. Compare again, and refuse sites whose mappings have changed.
 * 3. Serialize all processors by membarrier(2) (SYNC_CORE).
 * 4. Perform each of the SITE_STEPS of patch-CPU.c for all sites, and serialize all
 *    processors after each step. The steps replace the nop by a jump to a trampoline,
 *    the jump by the nop, or the jump by a jump to another trampoline. The code is
 *    correct after each step, so there is nothing to repair if the process ends in
 *    between.
 * 5. Compare again, and restore the protection of the pages.
 * 6. Read the sites, and refuse those that do not have the bytes that were written.
 *
 * On x86-64, the first byte of a site belongs to the kernel. The agent neither reads nor
 * writes it.
 *
 * The program may unmap text at any moment, and map something else in its place.
 * Therefore the agent
 *
 * - patches only text that the C library's loader has mapped (loader.c), because only
 *   dlclose(3) unmaps this text, and dlclose(3) waits for the agent;
 * - reads text by process_vm_readv(2), and lets the kernel write it (patch-CPU.c), so
 *   that the agent gets an error if nothing is mapped;
 * - compares the mapping before it makes the text writable, before it writes, and before
 *   it restores the protection.
 *
 * One case is not covered: a program that itself unmaps text of the loader, in the
 * microseconds between a comparison and the next system call.
 */
#include <errno.h>
#include <linux/membarrier.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "runtime/agent/inproc/loader.h"
#include "runtime/agent/inproc/patch.h"

#define PAGE ((uintptr_t)getauxval(AT_PAGESZ))
#define SEMAPHORE_MAX 32767

/* ---- reading sites ---- */

static struct {
	uint8_t bytes[BYTES_READ_MAX][SITE_NOP];
	bool got[BYTES_READ_MAX];
} seen;

void bytes_read(struct patch_site *(*at)(size_t i), size_t first, size_t n)
{
	static struct iovec here[BYTES_READ_MAX], there[BYTES_READ_MAX];

	n = n < BYTES_READ_MAX ? n : BYTES_READ_MAX;
	for (size_t i = 0; i < n; i++) {
		here[i] = (struct iovec){ seen.bytes[i], SITE_NOP };
		there[i] = (struct iovec){ (void *)(at(first + i)->address + SITE_AT), SITE_NOP };
		seen.got[i] = false;
	}
	/* The call ends before the first site that is not readable. */
	for (size_t i = 0; i < n; i++) {
		ssize_t got = process_vm_readv(agent.tid, here + i, n - i, there + i, n - i, 0);

		for (; got >= SITE_NOP; got -= SITE_NOP)
			seen.got[i++] = true;
	}
}

const uint8_t *bytes_of(size_t i)
{
	i %= BYTES_READ_MAX;
	return seen.got[i] ? seen.bytes[i] : NULL;
}

/* ---- the batch ---- */

/* The sites of the batch in one mapping. */
struct text_range {
	uintptr_t first, last; /* addresses of sites; 0: none */
	enum agent_reason failed;
	bool asked, loaded; /* see batch_text_is_loaded() */
};

static struct vector batch;  /* u32, sites */
static struct vector ranges; /* struct text_range, one for each mapping */

static struct text_range *text_range_of(const struct map_entry *text)
{
	return (struct text_range *)ranges.at + (text - maps_get(0));
}

bool batch_begin(void)
{
	vector_clear(&batch);
	vector_clear(&ranges);
	return vector_add(&ranges, maps_count() * sizeof(struct text_range));
}

bool batch_text_is_loaded(const struct map_entry *text)
{
	struct text_range *range = text_range_of(text);

	if (!range->asked) {
		range->asked = true;
		range->loaded = loader_has(text) == LOADER_LOADED;
	}
	return range->loaded;
}

bool batch_add(const struct patch_site *site, const struct map_entry *text)
{
	uint32_t *added = vector_add(&batch, sizeof(*added));
	struct text_range *range = text_range_of(text);

	if (!added)
		return false;
	*added = site - site_at(0);
	if (!range->first || site->address < range->first)
		range->first = site->address;
	if (site->address > range->last)
		range->last = site->address;
	return true;
}

static size_t batch_count(void)
{
	return batch.n / sizeof(uint32_t);
}

static struct patch_site *batch_at(size_t i)
{
	return site_at(((const uint32_t *)batch.at)[i]);
}

/* ---- semaphores ---- */

bool semaphore_raise(struct patch_site *site)
{
	uint16_t now;

	if (!site->semaphore || site->semaphore_held)
		return true;
	if (!memory_copy(&now, (uintptr_t)site->semaphore, sizeof(now)) || now >= SEMAPHORE_MAX)
		return false;
	__atomic_fetch_add(site->semaphore, 1, __ATOMIC_RELAXED);
	site->semaphore_held = 1;
	return true;
}

static void semaphore_drop(struct patch_site *site)
{
	uint16_t now;

	if (site->semaphore && site->semaphore_held && memory_copy(&now, (uintptr_t)site->semaphore, sizeof(now)) &&
	    now)
		__atomic_fetch_sub(site->semaphore, 1, __ATOMIC_RELAXED);
	site->semaphore_held = 0;
	site->semaphore = NULL;
}

/* ---- protection ---- */

/* Returns the pages of the sites. */
static void text_range_bounds(const struct text_range *range, uintptr_t *start, uintptr_t *end)
{
	*start = range->first & -PAGE;
	*end = (range->last + SITE_AT + SITE_NOP - 1 + PAGE) & -PAGE;
}

/*
 * Sets the failure of ranges whose mapping has changed since maps_read(). writable: the
 * protection that is expected in addition, PROT_WRITE or 0.
 */
static void batch_check(int writable)
{
	bool unread = maps_reread() != 0;

	for (size_t i = 0; i < maps_count(); i++) {
		const struct map_entry *text = maps_get(i);
		struct text_range *range = text_range_of(text);
		uintptr_t start, end;

		if (!range->first || range->failed)
			continue;
		text_range_bounds(range, &start, &end);
		if (unread)
			range->failed = AGENT_MAPS;
		else if (!maps_unchanged(text, start, end, text->protection | writable))
			range->failed = AGENT_GONE;
	}
}

static void batch_refuse(void)
{
	for (size_t i = 0; i < batch_count(); i++) {
		const struct text_range *range = text_range_of(maps_at(batch_at(i)->address));

		if (range->failed && !batch_at(i)->failed)
			site_refuse(batch_at(i), range->failed);
	}
}

static void batch_protect(bool writable)
{
	batch_check(writable ? 0 : PROT_WRITE);
	for (size_t i = 0; i < maps_count(); i++) {
		const struct map_entry *text = maps_get(i);
		struct text_range *range = text_range_of(text);
		uintptr_t start, end;

		if (!range->first || text->protection & PROT_WRITE || range->failed)
			continue;
		text_range_bounds(range, &start, &end);
		if (mprotect((void *)start, end - start, site_protection(text) | (writable ? PROT_WRITE : 0)) &&
		    writable)
			range->failed = errno == ENOMEM ? AGENT_GONE : AGENT_PROTECT;
	}
	if (writable) {
		batch_check(PROT_WRITE);
		batch_refuse();
	}
}

/* ---- writing ---- */

static bool processors_serialize(void)
{
	return !syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE, 0, 0);
}

static void batch_flush(void)
{
	struct patch_site *gone;

	while ((gone = site_write_flush()))
		site_refuse(gone, AGENT_GONE);
}

/* Performs the steps. Returns AGENT_OK, or the reason why nothing was changed. */
static enum agent_reason batch_write(void)
{
	if (!processors_serialize())
		return AGENT_MEMBARRIER;
	if (!site_write_begin())
		return AGENT_ROBUST_LIST;
	for (unsigned step = 0; step < SITE_STEPS; step++) {
		for (size_t i = 0; i < batch_count(); i++) {
			if (!batch_at(i)->failed && !site_write(batch_at(i), step))
				site_refuse(batch_at(i), AGENT_GONE);
			if (site_write_full() || i + 1 == batch_count())
				batch_flush();
		}
		processors_serialize();
	}
	site_write_end();
	return AGENT_OK;
}

/* Stores the new state of a site. now: the bytes that were read back, or NULL. */
static void batch_done(struct patch_site *site, const uint8_t *now)
{
	bool armed = memcmp(site->will, site_nop, JUMP);
	struct site_consumer *c;

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

void batch_run(void)
{
	enum agent_reason reason;

	if (!batch_count())
		return;
	batch_protect(true);
	reason = batch_write();
	batch_protect(false);
	for (size_t i = 0; i < batch_count(); i++) {
		struct patch_site *site = batch_at(i);

		if (i % BYTES_READ_MAX == 0)
			bytes_read(batch_at, i, batch_count() - i);
		if (reason)
			site_refuse(site, reason);
		else if (!site->failed)
			batch_done(site, bytes_of(i));
		if (site->failed && !site->armed)
			semaphore_drop(site);
	}
}
