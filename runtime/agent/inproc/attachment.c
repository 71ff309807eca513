/* SPDX-License-Identifier: MIT */
/*
 * Segment files: read into memory of our own (a file that somebody cuts short is
 * an error then, and no SIGBUS) and looked at once, here. What has passed is taken
 * at its word by everybody else.
 */
#include <errno.h>
#include <probepoint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "runtime/agent/inproc/agent.h"

_Static_assert(sizeof(struct desc) == 48 && sizeof(struct desc_point) == 40 && sizeof(struct desc_file) == 40 &&
                       sizeof(struct desc_layout) == 52 && sizeof(struct desc_probe) == 16 &&
                       sizeof(struct desc_arg) == 8,
               "description layout");

/* ---- programs ---- */

static bool program_ok(const struct fetch_program *p, uint8_t *depths)
{
	size_t at;

	return !fetch_fault(p, REGISTERS, depths, &at);
}

static uint64_t hash_bytes(uint64_t hash, const void *bytes, size_t n)
{
	for (const unsigned char *at = bytes; n--; at++)
		hash = (hash ^ *at) * 0x100000001b3ull;
	return hash;
}

static bool program_is(const struct program *p, uint64_t hash, const struct fetch_program *f)
{
	return p->hash == hash && p->fetch.nsteps == f->nsteps && p->fetch.npredicate == f->npredicate &&
	       p->fetch.nliterals == f->nliterals && p->fetch.nargs == f->nargs &&
	       !memcmp(p->fetch.steps, f->steps, f->nsteps * sizeof(*f->steps)) &&
	       !memcmp(p->fetch.literals, f->literals, f->nliterals * sizeof(*f->literals)) &&
	       !memcmp(p->fetch.kind, f->kind, f->nargs) && !memcmp(p->fetch.size, f->size, f->nargs);
}

/* Whether a step may read what is neither on the stack nor in the image. */
static bool step_may_call(const struct fetch_program *p, size_t i)
{
	const struct fetch_step *s = &p->steps[i];

	switch (s->op) {
	case FETCH_STRING:
	case FETCH_STREQ:
	case FETCH_PREFIX:
	case FETCH_COMMEQ:
	case FETCH_COMMPREFIX: return true;
	case FETCH_LOAD:
		if (i >= 3 && s[-1].op == FETCH_ADD && s[-2].op == FETCH_IMM)
			s -= 2;
		return !(i >= 1 && s[-1].op == FETCH_REG && is_frame_register(s[-1].a));
	default: return false;
	}
}

#define BUCKETS 4096u

static struct program *program_intern(const struct fetch_program *f)
{
	static struct program *buckets[BUCKETS];
	uint64_t hash = 0xcbf29ce484222325ull ^ f->npredicate ^ f->nargs << 32;
	struct program **bucket, *p;
	char *room;

	hash = hash_bytes(hash, f->steps, f->nsteps * sizeof(*f->steps));
	hash = hash_bytes(hash, f->literals, f->nliterals * sizeof(*f->literals));
	bucket = &buckets[(hash ^ hash >> 32) % BUCKETS];
	for (p = *bucket; p; p = p->next)
		if (program_is(p, hash, f))
			return p;
	room = arena_get(sizeof(*p) + f->nsteps * (sizeof(*f->steps) + 1) + f->nliterals * sizeof(*f->literals));
	if (!room)
		return NULL;
	p = (struct program *)room;
	room += sizeof(*p);
	p->fetch = *f;
	p->fetch.steps = memcpy(room, f->steps, f->nsteps * sizeof(*f->steps));
	room += f->nsteps * sizeof(*f->steps);
	p->fetch.literals = memcpy(room, f->literals, f->nliterals * sizeof(*f->literals));
	room += f->nliterals * sizeof(*f->literals);
	p->depths = (uint8_t *)room;
	program_ok(&p->fetch, p->depths);
	for (size_t i = 0; i < p->fetch.nsteps; i++)
		if (step_may_call(&p->fetch, i))
			*(i < p->fetch.npredicate ? &p->filter_calls : &p->argument_calls) = true;
	p->hash = hash;
	p->next = *bucket;
	*bucket = p;
	return p;
}

static void program_view(const struct agent_segment *h, uint32_t spec, struct fetch_program *f)
{
	const struct agent_program *p = (const struct agent_program *)((const char *)h + h->programs_at) + spec;

	memset(f, 0, sizeof(*f));
	f->steps = (struct fetch_step *)((char *)h + h->steps_at) + p->step;
	f->nsteps = p->nsteps;
	f->npredicate = p->npredicate;
	f->literals = (struct fetch_literal *)((char *)h + h->literals_at) + p->literal;
	f->nliterals = p->nliterals;
	f->nargs = p->nargs;
	memcpy(f->kind, p->kind, sizeof(f->kind));
	memcpy(f->size, p->size, sizeof(f->size));
}

struct program *segment_program(struct segment *segment, uint32_t spec)
{
	struct fetch_program f;

	if (!segment->programs[spec]) {
		program_view(segment->header, spec, &f);
		segment->programs[spec] = program_intern(&f);
	}
	return segment->programs[spec];
}

/* ---- files ---- */

static bool part_ok(uint64_t *end, uint64_t at, uint64_t n, uint64_t each, uint64_t size)
{
	if (at % 8 || at < *end || at > size || n * each > size - at)
		return false;
	*end = at + n * each;
	return true;
}

static bool desc_ok(const struct agent_segment *h, uint64_t *end)
{
	const struct desc *d;
	uint64_t size;

	if (!part_ok(end, h->desc_at, 1, sizeof(*d), h->size))
		return false;
	d = (const struct desc *)((const char *)h + h->desc_at);
	if (d->magic != DESC_MAGIC || d->version != DESC_VERSION)
		return false;
	size = sizeof(*d) + sizeof(struct desc_point) * (uint64_t)d->npoints +
	       sizeof(struct desc_file) * (uint64_t)d->nfiles + sizeof(struct desc_layout) * (uint64_t)d->nlayouts +
	       sizeof(struct desc_probe) * (uint64_t)d->nprobes + sizeof(struct desc_arg) * (uint64_t)d->nargs +
	       d->npool;
	if (d->size != size || size > h->size - h->desc_at || d->segment != h->number)
		return false;
	*end = h->desc_at + size;
	if (!d->npool || desc_string(d, 0)[d->npool - 1])
		return false;
	for (uint32_t i = 0; i < d->nfiles; i++)
		if (desc_files(d)[i].path >= d->npool)
			return false;
	for (uint32_t i = 0; i < d->npoints; i++) {
		const struct desc_point *p = &desc_points(d)[i];

		if (p->probe >= d->nprobes || p->spec >= h->nprograms || desc_probes(d)[p->probe].file >= d->nfiles)
			return false;
	}
	return true;
}

static bool programs_ok(const struct agent_segment *h)
{
	const struct agent_program *p = (const struct agent_program *)((const char *)h + h->programs_at);
	struct fetch_program f;
	bool ok = true;
	uint8_t *depths = pages_get((size_t)h->nsteps + 1);

	if (!depths)
		return false;
	for (uint32_t i = 0; ok && i < h->nprograms; i++) {
		ok = p[i].step <= h->nsteps && p[i].nsteps <= h->nsteps - p[i].step && p[i].literal <= h->nliterals &&
		     p[i].nliterals <= h->nliterals - p[i].literal;
		if (ok) {
			program_view(h, i, &f);
			ok = program_ok(&f, depths);
		}
	}
	pages_put(depths, (size_t)h->nsteps + 1);
	return ok;
}

static enum agent_reason segment_check(const struct agent_segment *h, size_t size)
{
	uint64_t end = sizeof(*h);

	if (size < sizeof(*h) || h->magic != AGENT_SEGMENT_MAGIC || h->version != AGENT_VERSION || h->size != size)
		return AGENT_FILE;
	if (!desc_ok(h, &end) || !part_ok(&end, h->processes_at, h->nprocesses, sizeof(struct agent_process), size) ||
	    !part_ok(&end, h->programs_at, h->nprograms, sizeof(struct agent_program), size) ||
	    !part_ok(&end, h->steps_at, h->nsteps, sizeof(struct fetch_step), size) ||
	    !part_ok(&end, h->literals_at, h->nliterals, sizeof(struct fetch_literal), size) ||
	    !part_ok(&end, h->on_at, ((const struct desc *)((const char *)h + h->desc_at))->npoints, 1, size))
		return AGENT_FILE;
	return programs_ok(h) ? AGENT_OK : AGENT_FILE;
}

enum agent_reason segment_read(struct segment *segment, int fd, size_t size)
{
	enum agent_reason reason = AGENT_MEMORY;
	const struct agent_segment *h;
	size_t had = 0;
	ssize_t n;

	if (size > AGENT_SEGMENT_SIZE_MAX || size < sizeof(*h))
		return AGENT_FILE;
	segment->size = size;
	segment->data = pages_get(size);
	if (!segment->data)
		return AGENT_MEMORY;
	while (had < size && (n = pread(fd, (char *)segment->data + had, size - had, had)) != 0) {
		if (n > 0)
			had += n;
		else if (errno != EINTR)
			break;
	}
	h = segment->data;
	if (had < size || (reason = segment_check(h, size)) || h->number != segment->number) {
		segment_release(segment);
		return reason ? reason : AGENT_FILE;
	}
	segment->header = h;
	segment->desc = (const struct desc *)((const char *)h + h->desc_at);
	segment->on = (const uint8_t *)h + h->on_at;
	segment->programs_size = (h->nprograms + 1ull) * sizeof(*segment->programs);
	segment->points_size = (segment->desc->npoints + 1ull) * sizeof(*segment->points);
	segment->programs = pages_get(segment->programs_size);
	segment->points = pages_get(segment->points_size);
	if (segment->programs && segment->points)
		return AGENT_OK;
	segment_release(segment);
	return AGENT_MEMORY;
}

void segment_release(struct segment *segment)
{
	pages_put(segment->data, segment->size);
	pages_put(segment->programs, segment->programs_size);
	pages_put(segment->points, segment->points_size);
	segment->data = NULL;
	segment->header = NULL;
	segment->desc = NULL;
	segment->on = NULL;
	segment->programs = NULL;
	segment->points = NULL;
}

bool segment_names(const struct segment *segment, uint32_t pid, uint64_t start_time)
{
	const struct agent_segment *h = segment->header;
	const struct agent_process *p = (const struct agent_process *)((const char *)h + h->processes_at);

	for (uint32_t i = 0; i < h->nprocesses; i++)
		if (p[i].pid == pid && p[i].start_time == start_time)
			return true;
	return false;
}

bool segment_concerns(const struct segment *segment, const struct desc_point *point)
{
	if (!point->pid || point->pid == segment->inherited)
		return true;
	return point->pid == agent.pid && segment_names(segment, agent.pid, agent.start_time);
}
