/* SPDX-License-Identifier: MIT */
/*
 * The table of sites, and what the attachments want of each of them.
 */
#include <string.h>
#include <sys/mman.h>

#include "runtime/agent/inproc/sites.h"

#define TEXTS_MAX 256 /* mappings of one file's text: a program may change the protection of single pages */

/* ---- tables ---- */

struct vector sites, consumers;
static struct vector hash; /* u32 site index + 1 */
static size_t hash_used;

static uint32_t *hash_slot(uintptr_t address)
{
	size_t mask = hash.n / sizeof(uint32_t) - 1;
	uint32_t *trampolines = hash.at;
	size_t at = (address * 0x9e3779b97f4a7c15ull >> 20) & mask;

	while (trampolines[at] && site_at(trampolines[at] - 1)->address != address)
		at = (at + 1) & mask;
	return &trampolines[at];
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
	uint32_t *trampoline;
	struct site *site;

	if (2 * hash_used >= hash.n / sizeof(uint32_t) && !hash_grow())
		return NULL;
	trampoline = hash_slot(address);
	if (*trampoline)
		return site_at(*trampoline - 1);
	site = vector_add(&sites, sizeof(*site));
	if (!site)
		return NULL;
	site->address = address;
	*trampoline = nsites();
	hash_used++;
	return site;
}

/* ---- what is wanted ---- */

void point_refuse(struct loaded_attachment *attachment, uint32_t point, enum agent_reason reason)
{
	struct agent_point_state *state = &attachment->points[point];

	state->state = AGENT_REFUSED;
	state->reason = reason;
}

/* A trampoline that has this consumer in it is not to be used again. */
static void trampoline_forget(struct site *site, const struct consumer *consumer)
{
	if (consumer->in_trampoline)
		site->trampoline = 0;
}

static int64_t consumer_new(struct site *site, struct shm *shm)
{
	int64_t slot = shm_slot(shm);
	struct consumer *c = slot < 0 ? NULL : vector_add(&consumers, sizeof(*c));

	if (!c)
		return -1;
	c->slot = slot;
	c->shm = shm->index;
	c->next = site->consumers;
	site->consumers = c - consumer_at(0) + 1;
	return c - consumer_at(0);
}

/* A consumer of the site for this point: the one that serves it, or one at rest, best with the same program, or a new one. */
static int64_t consumer_get(struct site *site, struct shm *shm, const struct loaded_attachment *attachment, uint32_t point,
                            struct program *program)
{
	const struct agent_slot *slots = shm->slots.at;
	struct consumer *c;
	int64_t found = -1;

	for (uint32_t i = site->consumers; i; i = c->next) {
		c = consumer_at(i - 1);
		if (c->shm != shm->index || c->taken)
			continue;
		if (c->live && c->program == program && slots[c->slot].attachment == attachment->number &&
		    slots[c->slot].point == point)
			return i - 1;
		if (!c->live && (found < 0 || c->program == program))
			found = i - 1;
	}
	if (found < 0)
		found = consumer_new(site, shm);
	if (found < 0)
		return -1;
	c = consumer_at(found);
	if (c->program != program)
		trampoline_forget(site, c);
	c->program = program;
	shm_name_slot(shm, c->slot, attachment->number, point);
	return found;
}

static uint16_t *semaphore_find(const struct manifest_file *file, const char *path, uint64_t offset,
                                const struct mapping *text)
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

static void want_site(struct session *session, struct loaded_attachment *attachment, uint32_t point,
                      const struct manifest_file *file, const char *path, const struct mapping *text)
{
	const struct manifest_point *p = &manifest_points(attachment->manifest)[point];
	struct agent_point_state *state = &attachment->points[point];
	struct program *program = attachment_program(attachment, p->spec);
	uintptr_t address = text->start + (p->offset - text->offset);
	enum agent_reason reason = AGENT_OK;
	uint16_t *semaphore = NULL;
	struct site *site;
	struct consumer *c;
	int64_t consumer;

	if (state->state == AGENT_REFUSED)
		return;
	if (!program || !(site = site_get(address))) {
		point_refuse(attachment, point, AGENT_MEMORY);
		return;
	}
	if (!site->touched) {
		site->touched = 1;
		site->failed = 0;
		site->nwant = 0;
	}
	if (p->semaphore_offset && !site->semaphore_held) {
		semaphore = p->semaphore_offset & 1 ? NULL : semaphore_find(file, path, p->semaphore_offset, text);
		if (!semaphore)
			reason = AGENT_SEMAPHORE;
	}
	if (!reason)
		reason = shm_make(session);
	/* A filter that cannot read what it asks for would let nothing through. */
	if (program->filter_calls && !calls_allowed())
		reason = AGENT_CALLS;
	if (!site_fits(address))
		reason = AGENT_BLOCK;
	else if (site->nwant == CONSUMERS_MAX)
		reason = AGENT_CONSUMERS_FULL;
	if (reason) {
		point_refuse(attachment, point, reason);
		return;
	}
	consumer = consumer_get(site, session->shm, attachment, point, program);
	if (consumer < 0) {
		point_refuse(attachment, point, AGENT_SLOTS_FULL);
		return;
	}
	if (semaphore && !site->semaphore_held)
		site->semaphore = semaphore;
	c = consumer_at(consumer);
	c->taken = 1;
	c->attachment = attachment;
	c->point = point;
	site->nwant++;
	state->slot = c->slot;
	state->state = AGENT_ARMED;
	if (program->argument_calls && !calls_allowed())
		state->reason = AGENT_CALLS;
	else if (program->filter_calls)
		state->reason = AGENT_COST;
}

struct texts {
	const struct mapping *at[TEXTS_MAX];
	unsigned n;
	bool mapped, looked;
	bool foreign; /* some are not the loader's */
};

static void find_texts(struct texts *texts, const struct manifest_file *file, const char *path)
{
	texts->looked = true;
	for (size_t i = 0; i < modules_count(); i++) {
		const struct mapping *m = modules_get(i);

		if (!modules_is_file(m, file, path))
			continue;
		if (m->shared || (m->protection & (PROT_EXEC | PROT_READ)) != (PROT_EXEC | PROT_READ)) {
			texts->mapped = true;
			continue;
		}
		switch (modules_loaded(m)) {
		case MODULES_LOADED:
			texts->mapped = true;
			if (texts->n < TEXTS_MAX)
				texts->at[texts->n++] = m;
			break;
		case MODULES_NOT_LOADED: texts->mapped = texts->foreign = true; break;
		case MODULES_LOADING: break;
		}
	}
}

static void want_point(struct session *session, struct loaded_attachment *attachment, uint32_t point, struct texts *texts,
                       enum agent_reason reason)
{
	const struct manifest *d = attachment->manifest;
	const struct manifest_point *p = &manifest_points(d)[point];
	uint32_t f = manifest_probes(d)[p->probe].file;
	const struct manifest_file *file = &manifest_files(d)[f];
	const char *path = manifest_string(d, file->path);
	struct agent_point_state *state = &attachment->points[point];

	if (reason == AGENT_MAPS && state->state == AGENT_ARMED)
		return; /* it still is */
	state->state = AGENT_OFF;
	state->reason = AGENT_OK;
	state->slot = ~0u;
	if (!attachment->on[point] || !attachment_concerns(attachment, p))
		return;
	if (reason) {
		point_refuse(attachment, point, reason);
		return;
	}
	if (!texts[f].looked)
		find_texts(&texts[f], file, path);
	for (unsigned i = 0; i < texts[f].n; i++) {
		const struct mapping *m = texts[f].at[i];

		if (p->offset >= m->offset && m->end - m->start >= SITE_AT + SITE_NOP &&
		    p->offset - m->offset <= m->end - m->start - SITE_AT - SITE_NOP)
			want_site(session, attachment, point, file, path, m);
	}
	if (state->state == AGENT_OFF) {
		state->state = texts[f].mapped ? AGENT_REFUSED : AGENT_PENDING;
		agent.npending += !texts[f].mapped;
		state->reason = texts[f].foreign ? AGENT_NOT_LOADED : texts[f].mapped ? AGENT_NOT_TEXT : AGENT_OK;
	}
}

bool sites_want(struct session *session, struct loaded_attachment *attachment, enum agent_reason reason)
{
	size_t size = (attachment->manifest->nfiles + 1) * sizeof(struct texts);
	struct texts *texts = pages_get(size);

	if (!texts)
		return false;
	for (uint32_t i = 0; i < attachment->manifest->npoints; i++)
		want_point(session, attachment, i, texts, reason);
	pages_put(texts, size);
	return true;
}
