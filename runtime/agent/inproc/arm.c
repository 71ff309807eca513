/* SPDX-License-Identifier: MIT */
/*
 * One pass over all sites:
 *
 * 1. Read the mappings, the loader's list and the filters of all threads.
 * 2. Find the points that each attachment wants to be armed (wanted.c).
 * 3. For each site that is armed or wanted, compare its bytes with what they should be:
 *    its library may have been unloaded and loaded again, or another tool may use the
 *    site. Plan a change if the site is not as it should be.
 * 4. Change all such sites at once (patch.c).
 */
#include <string.h>
#include <sys/mman.h>

#include "runtime/agent/inproc/arm.h"
#include "runtime/agent/inproc/calls.h"
#include "runtime/agent/inproc/loader.h"
#include "runtime/agent/inproc/patch.h"
#include "runtime/agent/inproc/trampolines.h"
#include "runtime/agent/inproc/wanted.h"

/* ---- the plan for a site ---- */

/* Compares the site's bytes with what they should be. text, now: NULL if they do not exist. */
static void site_compare(struct patch_site *site, const struct map_entry *text, const uint8_t *now)
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

/* Returns the mapping of the site if it can be patched there, or NULL. */
static const struct map_entry *site_text(const struct patch_site *site)
{
	const struct map_entry *text = maps_at(site->address);

	if (!text || text->shared || !text->inode || !(text->protection & PROT_EXEC) ||
	    !(text->protection & PROT_READ) || text->end - site->address < SITE_AT + SITE_NOP ||
	    !batch_text_is_loaded(text))
		return NULL;
	return text;
}

/* The image of the last site's text: sites of one image are mostly planned one after the other. */
struct planned_image {
	const struct map_entry *text;
	const struct image_ranges *ranges;
};

/* Makes the trampoline, and sets site->will to the jump. Returns AGENT_OK, or the reason why it cannot. */
static enum agent_reason site_plan_jump(struct patch_site *site, const struct map_entry *text,
                                        struct planned_image *image)
{
	enum agent_reason reason;

	if (image->text != text)
		image->ranges = image_get(text);
	image->text = text;
	if (!image->ranges)
		return AGENT_MEMORY;
	reason = trampoline_get(site, text, image->ranges);
	if (!reason)
		site_jump(site->address, site->trampoline, site->will);
	return reason;
}

/* Puts the site in the batch if it is not as it should be. */
static void site_plan(struct patch_site *site, const uint8_t *now, struct planned_image *image)
{
	const struct map_entry *text = site_text(site);
	enum agent_reason reason;

	site_compare(site, text, now);
	if (!text || site->failed)
		return;
	memcpy(site->will, site_nop, JUMP);
	reason = site->nwant ? site_plan_jump(site, text, image) : AGENT_OK;
	if (reason) {
		site_refuse(site, reason);
		if (!site->armed)
			return;
		site->failed = 0; /* so that the batch disarms the site, if it was armed before */
	}
	if (site->armed ? !memcmp(site->was, site->will, JUMP) : !site->nwant)
		return;
	if (site->nwant && !semaphore_raise(site)) {
		site_refuse(site, AGENT_SEMAPHORE);
		return;
	}
	if (!batch_add(site, text))
		site_refuse(site, AGENT_MEMORY);
}

static struct patch_site *site_nth(size_t i)
{
	return site_at(i);
}

static void sites_plan(void)
{
	struct planned_image image = { 0 };

	for (size_t i = 0; i < nsites(); i++) {
		if (i % BYTES_READ_MAX == 0)
			bytes_read(site_nth, i, nsites() - i);
		if (site_at(i)->armed || site_at(i)->nwant)
			site_plan(site_at(i), bytes_of(i), &image);
	}
}

/* ---- a pass ---- */

static void pass_begin(void)
{
	struct site_consumer *c = consumers.at;
	size_t n = consumers.n / sizeof(*c);

	for (size_t i = 0; i < n; i++)
		c[i].taken = 0;
	for (size_t i = 0; i < nsites(); i++) {
		struct patch_site *site = site_at(i);

		site->touched = 0;
		site->nwant = 0;
		site->failed = 0;
	}
}

/* Returns whether the slot's point may be armed there again when its library comes back. */
static bool slot_is_wanted(const struct session_shm *shm, uint32_t slot)
{
	const struct agent_slot *p = (const struct agent_slot *)shm->slots.at + slot;
	struct loaded_attachment **attachments = shm->session ? shm->session->attachments.at : NULL;

	for (size_t i = 0; attachments && i < shm->session->attachments.n / sizeof(*attachments); i++)
		if (attachments[i]->number == p->attachment && attachments[i]->manifest &&
		    p->point < attachments[i]->manifest->npoints)
			return attachments[i]->on[p->point];
	return false;
}

/* A consumer of an image that is gone keeps its counts as long as its attachment exists. */
static void pass_end(void)
{
	agent.narmed = 0;
	for (size_t i = 0; i < nsites(); i++) {
		struct site_consumer *c;

		agent.narmed += site_at(i)->armed;
		for (uint32_t k = site_at(i)->armed ? 0 : site_at(i)->consumers; k; k = c->next) {
			c = consumer_at(k - 1);
			c->live &= slot_is_wanted(&agent.shms[c->shm], c->slot);
		}
	}
}

static void heap_find(void)
{
	for (size_t i = 0; i < maps_count() && !agent.heap; i++)
		if (maps_get(i)->is_heap)
			agent.heap = maps_get(i)->start;
}

static void sessions_want(enum agent_reason reason)
{
	agent.npending = 0;
	for (unsigned i = 0; i < SESSIONS_MAX; i++) {
		struct session *session = &agent.sessions[i];

		for (size_t k = 0; k < nattachments(session); k++) {
			struct loaded_attachment *attachment = attachments_of(session)[k];

			if (attachment->manifest && !attachment_want(session, attachment, reason))
				attachment->reason = AGENT_MEMORY;
		}
	}
}

void sites_arm(void)
{
	enum agent_reason reason = maps_read() || loader_read() ? AGENT_MAPS : agent.reason;

	heap_find();
	if (reason != AGENT_MAPS && !batch_begin())
		reason = AGENT_MAPS;
	calls_rescan();
	pass_begin();
	sessions_want(reason);
	if (reason == AGENT_MAPS)
		return;
	sites_plan();
	trampolines_finish();
	batch_run();
	pass_end();
}
