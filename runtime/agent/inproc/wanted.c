/* SPDX-License-Identifier: MIT */
/*
 * The wishes of attachments. For each point that is on and for this process:
 *
 * 1. Find the mappings of the point's file that the loader has made.
 * 2. In each that contains the point's offset, find or add the site, and check the
 *    semaphore, the shared memory region, the calls of filters and the site's place.
 * 3. Give the point a consumer on the site.
 *
 * A point without a mapping is pending. One that fails a check is refused, with the
 * reason.
 */
#include <string.h>
#include <sys/mman.h>

#include "runtime/agent/inproc/calls.h"
#include "runtime/agent/inproc/loader.h"
#include "runtime/agent/inproc/patch.h"
#include "runtime/agent/inproc/tables.h"
#include "runtime/agent/inproc/wanted.h"

#define TEXTS_MAX 256 /* mappings of one file's text: a program may change the protection of single pages */

/* A point in a mapping of its file. */
struct wanted_point {
	struct session *session;
	struct loaded_attachment *attachment;
	uint32_t index;
	const struct manifest_point *point;
	const struct manifest_file *file;
	const char *path;
	struct agent_point_state *state;
};

/* ---- a site ---- */

/* Returns the address of the semaphore in the image of that text, or NULL if it is not writable. */
static uint16_t *semaphore_find(const struct manifest_file *file, const char *path, uint64_t offset,
                                const struct map_entry *text)
{
	for (size_t i = 0; i < maps_count(); i++) {
		const struct map_entry *m = maps_get(i);

		if (m->shared || !(m->protection & PROT_WRITE) || !m->inode || offset < m->offset ||
		    offset - m->offset > m->end - m->start - 2 || !mapping_is_file(m, file, path))
			continue;
		if (mapping_is_image(text, m->start, 1))
			return (uint16_t *)(m->start + (offset - m->offset));
	}
	return NULL;
}

/* Returns why the site cannot serve the point, or AGENT_OK. *semaphore: the semaphore to raise, or NULL. */
static enum agent_reason site_check(const struct wanted_point *w, const struct patch_site *site,
                                    const struct interned_program *program, const struct map_entry *text,
                                    uint16_t **semaphore)
{
	uint64_t offset = w->point->semaphore_offset;
	enum agent_reason reason = AGENT_OK;

	if (offset && !site->semaphore_held) {
		*semaphore = offset & 1 ? NULL : semaphore_find(w->file, w->path, offset, text);
		if (!*semaphore)
			reason = AGENT_SEMAPHORE;
	}
	if (!reason)
		reason = shm_make(w->session);
	/* A filter that cannot read what it asks for would let nothing through. */
	if (program->filter_calls && !calls_allowed())
		reason = AGENT_CALLS;
	if (!site_fits(site->address))
		reason = AGENT_BLOCK;
	else if (site->nwant == CONSUMERS_MAX)
		reason = AGENT_CONSUMERS_FULL;
	return reason;
}

static void site_touch(struct patch_site *site)
{
	if (site->touched)
		return;
	site->touched = 1;
	site->failed = 0;
	site->nwant = 0;
}

static void point_arm(const struct wanted_point *w, struct patch_site *site, struct site_consumer *c)
{
	struct agent_point_state *state = w->state;

	c->taken = 1;
	c->attachment = w->attachment;
	c->point = w->index;
	site->nwant++;
	state->slot = c->slot;
	state->state = AGENT_ARMED;
	if (!agent.has_ticks && !calls_allowed())
		state->reason = AGENT_CLOCK;
	else if (c->program->argument_calls && !calls_allowed())
		state->reason = AGENT_CALLS;
	else if (c->program->filter_calls || c->program->aggregate_calls)
		state->reason = AGENT_COST;
}

static void site_want(const struct wanted_point *w, const struct map_entry *text)
{
	struct interned_program *program = attachment_program(w->attachment, w->point->spec);
	uintptr_t address = text->start + (w->point->offset - text->offset);
	struct patch_site *site;
	enum agent_reason reason;
	const struct hit_group *group = NULL;
	uint16_t *semaphore = NULL;
	int64_t consumer;

	if (w->state->state == AGENT_REFUSED)
		return;
	if (program && program->fetch.role != SITE_HIT && !calls_prepare())
		program = NULL;
	site = program ? site_get(address) : NULL;
	if (!site) {
		point_refuse(w->attachment, w->index, AGENT_MEMORY);
		return;
	}
	site_touch(site);
	reason = site_check(w, site, program, text, &semaphore);
	if (reason) {
		point_refuse(w->attachment, w->index, reason);
		return;
	}
	if (program->key_size) {
		group = table_group(w->session->shm, w->attachment, w->index);
		if (!group) {
			point_refuse(w->attachment, w->index, AGENT_TABLES_FULL);
			return;
		}
	}
	consumer = consumer_take(site, w->session->shm, w->attachment, w->index, program, group);
	if (consumer < 0) {
		point_refuse(w->attachment, w->index, AGENT_SLOTS_FULL);
		return;
	}
	if (semaphore && !site->semaphore_held)
		site->semaphore = semaphore;
	point_arm(w, site, consumer_at(consumer));
}

/* ---- a file's mappings ---- */

struct texts {
	const struct map_entry *at[TEXTS_MAX];
	unsigned n;
	bool mapped;  /* the file is mapped, perhaps not as text */
	bool looked;  /* the mappings were searched */
	bool foreign; /* the program mapped text of the file without the loader */
};

static void texts_find(struct texts *texts, const struct manifest_file *file, const char *path)
{
	texts->looked = true;
	for (size_t i = 0; i < maps_count(); i++) {
		const struct map_entry *m = maps_get(i);

		if (!mapping_is_file(m, file, path))
			continue;
		if (m->shared || (m->protection & (PROT_EXEC | PROT_READ)) != (PROT_EXEC | PROT_READ)) {
			texts->mapped = true;
			continue;
		}
		switch (loader_has(m)) {
		case LOADER_LOADED:
			texts->mapped = true;
			if (texts->n < TEXTS_MAX)
				texts->at[texts->n++] = m;
			break;
		case LOADER_NOT_LOADED: texts->mapped = texts->foreign = true; break;
		case LOADER_CHANGING: break;
		}
	}
}

/* ---- a point ---- */

/* Prepares the point's state. Returns whether it is to be armed. */
static bool point_begin(const struct wanted_point *w, enum agent_reason reason)
{
	struct agent_point_state *state = w->state;

	if (reason == AGENT_MAPS && state->state == AGENT_ARMED)
		return false; /* the mappings are unknown: the point stays armed */
	state->state = AGENT_OFF;
	state->reason = AGENT_OK;
	state->slot = ~0u;
	if (!w->attachment->on[w->index] || !attachment_concerns(w->attachment, w->point))
		return false;
	if (reason)
		point_refuse(w->attachment, w->index, reason);
	return !reason;
}

static void point_want(const struct wanted_point *w, struct texts *texts)
{
	struct agent_point_state *state = w->state;
	uint64_t offset = w->point->offset;

	if (!texts->looked)
		texts_find(texts, w->file, w->path);
	for (unsigned i = 0; i < texts->n; i++) {
		const struct map_entry *m = texts->at[i];

		if (offset >= m->offset && m->end - m->start >= SITE_AT + SITE_NOP &&
		    offset - m->offset <= m->end - m->start - SITE_AT - SITE_NOP)
			site_want(w, m);
	}
	if (state->state != AGENT_OFF)
		return;
	state->state = texts->mapped ? AGENT_REFUSED : AGENT_PENDING;
	agent.npending += !texts->mapped;
	state->reason = texts->foreign ? AGENT_NOT_LOADED : texts->mapped ? AGENT_NOT_TEXT : AGENT_OK;
}

bool attachment_want(struct session *session, struct loaded_attachment *attachment, enum agent_reason reason)
{
	const struct manifest *d = attachment->manifest;
	size_t size = (d->nfiles + 1) * sizeof(struct texts);
	struct texts *texts = pages_map(size);

	if (!texts)
		return false;
	for (uint32_t i = 0; i < d->npoints; i++) {
		const struct manifest_point *point = &manifest_points(d)[i];
		uint32_t f = manifest_probes(d)[point->probe].file;
		const struct manifest_file *file = &manifest_files(d)[f];
		struct wanted_point w = {
			.session = session,
			.attachment = attachment,
			.index = i,
			.point = point,
			.file = file,
			.path = manifest_string(d, file->path),
			.state = &attachment->points[i],
		};

		if (point_begin(&w, reason))
			point_want(&w, &texts[f]);
	}
	pages_unmap(texts, size);
	return true;
}
