/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "runtime/agent/inproc/buckets.h"
#include "runtime/agent/inproc/maps.h"
#include "runtime/agent/inproc/site-table.h"

struct vector sites, consumers;
static struct vector hash; /* u32 site index + 1 */
static size_t site_hash_used;

/* ---- sites ---- */

/* Returns the entry of the site, or the free one where it belongs. */
static uint32_t *site_hash_slot(uintptr_t address)
{
	size_t mask = hash.n / sizeof(uint32_t) - 1;
	uint32_t *entries = hash.at;
	size_t at = (address * 0x9e3779b97f4a7c15ull >> 20) & mask;

	while (entries[at] && site_at(entries[at] - 1)->address != address)
		at = (at + 1) & mask;
	return &entries[at];
}

static bool site_hash_grow(void)
{
	size_t n = hash.n ? 2 * hash.n : 4096 * sizeof(uint32_t);
	struct vector grown = { 0 };

	if (!vector_add(&grown, n))
		return false;
	pages_unmap(hash.at, hash.room);
	hash = grown;
	for (uint32_t i = 0; i < nsites(); i++)
		*site_hash_slot(site_at(i)->address) = i + 1;
	return true;
}

struct patch_site *site_get(uintptr_t address)
{
	struct patch_site *site;
	uint32_t *entry;

	if (2 * site_hash_used >= hash.n / sizeof(uint32_t) && !site_hash_grow())
		return NULL;
	entry = site_hash_slot(address);
	if (*entry)
		return site_at(*entry - 1);
	site = vector_add(&sites, sizeof(*site));
	if (!site)
		return NULL;
	site->address = address;
	*entry = nsites();
	site_hash_used++;
	return site;
}

/* ---- consumers ---- */

/* A trampoline that contains the consumer must not be used again. */
static void site_forget_trampoline(struct patch_site *site, const struct site_consumer *consumer)
{
	if (consumer->in_trampoline)
		site->trampoline = 0;
}

static int64_t consumer_new(struct patch_site *site, struct session_shm *shm)
{
	int64_t slot = shm_slot(shm);
	struct site_consumer *c = slot < 0 ? NULL : vector_add(&consumers, sizeof(*c));

	if (!c)
		return -1;
	c->slot = slot;
	c->shm = shm->index;
	c->next = site->consumers;
	site->consumers = c - consumer_at(0) + 1;
	return c - consumer_at(0);
}

int64_t consumer_take(struct patch_site *site, struct session_shm *shm, const struct loaded_attachment *attachment,
                      uint32_t point, struct interned_program *program, const struct hit_group *group)
{
	const struct agent_slot *slots = shm->slots.at;
	/* The begins and the ends of a call are points of one probe. */
	const uint64_t call = (uint64_t)shm->index << 60 | (uint64_t)(attachment->number & 0xfffffff) << 32 |
	                      manifest_points(attachment->manifest)[point].probe;
	struct hit_bucket *bucket = NULL;
	struct site_consumer *c;
	int64_t found = -1;

	if (program->fetch.sample.rate) {
		bucket = bucket_get(call, program->fetch.sample.rate);
		if (!bucket)
			return -1;
	}
	for (uint32_t i = site->consumers; i; i = c->next) {
		c = consumer_at(i - 1);
		if (c->shm != shm->index || c->taken)
			continue;
		if (c->live && c->program == program && c->group == group &&
		    slots[c->slot].attachment == attachment->number && slots[c->slot].point == point)
			return i - 1;
		if (!c->live && (found < 0 || (c->program == program && c->group == group)))
			found = i - 1;
	}
	if (found < 0)
		found = consumer_new(site, shm);
	if (found < 0)
		return -1;
	c = consumer_at(found);
	if (c->program != program || c->group != group || c->call != call)
		site_forget_trampoline(site, c);
	c->program = program;
	c->group = group;
	c->call = call;
	c->bucket = bucket;
	shm_name_slot(shm, c->slot, attachment->number, point);
	return found;
}

/* ---- refusals ---- */

void point_refuse(struct loaded_attachment *attachment, uint32_t point, enum agent_reason reason)
{
	struct agent_point_state *state = &attachment->points[point];

	state->state = AGENT_REFUSED;
	state->reason = reason;
}

void site_refuse(struct patch_site *site, enum agent_reason reason)
{
	struct site_consumer *c;

	site->failed = 1;
	for (uint32_t i = site->consumers; i; i = c->next) {
		c = consumer_at(i - 1);
		if (!c->taken)
			continue;
		point_refuse(c->attachment, c->point, reason);
		if (reason == AGENT_BYTES)
			memory_copy(c->attachment->points[c->point].found, site->address + SITE_AT, SITE_NOP);
		c->taken = 0;
	}
	site->nwant = 0;
}
