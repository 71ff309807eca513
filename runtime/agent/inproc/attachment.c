/* SPDX-License-Identifier: MIT */
/*
 * Attachment files. The agent reads a file into its own memory, so that a file that
 * another process truncates causes an error, and no SIGBUS. It checks everything
 * once, in this file. All other code relies on what was checked.
 */
#include <errno.h>
#include <probepoint.h>
#include <string.h>
#include <unistd.h>

#include "runtime/agent/inproc/agent.h"
#include "runtime/agent/inproc/attachment.h"
#include "runtime/agent/inproc/mem.h"

_Static_assert(sizeof(struct manifest) == 72 && sizeof(struct manifest_point) == 48 &&
                       sizeof(struct manifest_aggregate) == 384 && sizeof(struct manifest_name) == 16 &&
                       sizeof(struct manifest_group) == 8 && sizeof(struct manifest_file) == 40 &&
                       sizeof(struct manifest_layout) == 52 && sizeof(struct manifest_probe) == 16 &&
                       sizeof(struct manifest_arg) == 16,
               "manifest layout");

/* ---- programs ---- */

/* Checks the program, and writes the depth of its stack before each step. */
static bool program_ok(const struct fetch_program *p, uint8_t *depths)
{
	size_t at;

	return !fetch_fault(p, REGISTERS, depths, &at);
}

static uint64_t program_hash(uint64_t hash, const void *bytes, size_t n)
{
	for (const unsigned char *at = bytes; n--; at++)
		hash = (hash ^ *at) * 0x100000001b3ull;
	return hash;
}

static bool aggregates_equal(const struct fetch_program *f, const struct fetch_program *g)
{
	const struct fetch_aggregate *x = f->aggregate, *y = g->aggregate;

	if (!x || !y)
		return x == y;
	if (x->ncolumns != y->ncolumns || x->nparts != y->nparts ||
	    memcmp(x->columns, y->columns, x->ncolumns * sizeof(*x->columns)))
		return false;
	for (size_t i = 0; i < x->nparts; i++)
		if (agg_part_size(x->parts[i].kind) != agg_part_size(y->parts[i].kind))
			return false;
	return true;
}

static bool program_is(const struct interned_program *p, uint64_t hash, const struct fetch_program *f)
{
	return p->hash == hash && p->fetch.role == f->role && p->fetch.match == f->match && p->fetch.nkey == f->nkey &&
	       p->fetch.nsteps == f->nsteps && p->fetch.npredicate == f->npredicate &&
	       p->fetch.naggregate == f->naggregate && p->fetch.nliterals == f->nliterals &&
	       p->fetch.nargs == f->nargs && p->fetch.sample.every == f->sample.every &&
	       p->fetch.sample.rate == f->sample.rate && aggregates_equal(&p->fetch, f) &&
	       !memcmp(p->fetch.steps, f->steps, f->nsteps * sizeof(*f->steps)) &&
	       !memcmp(p->fetch.literals, f->literals, f->nliterals * sizeof(*f->literals)) &&
	       !memcmp(p->fetch.kind, f->kind, f->nargs) && !memcmp(p->fetch.size, f->size, f->nargs);
}

/* Returns whether a step may read memory that is neither on the stack nor in the image. */
static bool step_may_call(const struct fetch_program *p, size_t i)
{
	const struct fetch_step *s = &p->steps[i];

	switch (s->op) {
	case FETCH_STRING:
	case FETCH_STRINGN:
	case FETCH_STREQ:
	case FETCH_PREFIX:
	case FETCH_SEARCH:
	case FETCH_COMMEQ:
	case FETCH_HASH:
	case FETCH_COMMPREFIX:
	case FETCH_KEYSTR:
	case FETCH_KEYCOMM: return true;
	case FETCH_LOAD:
		if (i >= 3 && s[-1].op == FETCH_ADD && s[-2].op == FETCH_IMM)
			s -= 2;
		return !(i >= 1 && s[-1].op == FETCH_REG && is_frame_register(s[-1].a));
	default: return false;
	}
}

#define BUCKETS 4096u

static uint32_t aggregate_key_size(const struct fetch_aggregate *aggregate)
{
	uint32_t size = sizeof(struct agg_key);

	for (size_t i = 0; i < aggregate->nparts; i++)
		size += agg_part_size(aggregate->parts[i].kind);
	return size;
}

/* Copies the program into memory that is never freed. Returns NULL without memory. */
static struct interned_program *program_copy(const struct fetch_program *f)
{
	size_t steps = f->nsteps * sizeof(*f->steps), literals = f->nliterals * sizeof(*f->literals);
	size_t aggregate = f->aggregate ? sizeof(*f->aggregate) : 0;
	struct interned_program *p;
	char *room = arena_alloc(sizeof(*p) + aggregate + f->nsteps + steps + literals);

	if (!room)
		return NULL;
	p = (struct interned_program *)room;
	room += sizeof(*p);
	p->fetch = *f;
	if (f->aggregate) {
		p->fetch.aggregate = memcpy(room, f->aggregate, aggregate);
		p->key_size = aggregate_key_size(f->aggregate);
		room += aggregate;
	}
	p->fetch.steps = memcpy(room, f->steps, steps);
	room += steps;
	p->fetch.literals = memcpy(room, f->literals, literals);
	room += literals;
	p->depths = (uint8_t *)room;
	program_ok(&p->fetch, p->depths);
	for (size_t i = 0; i < p->fetch.nsteps; i++)
		if (step_may_call(&p->fetch, i)) {
			*(i < f->npredicate ? &p->filter_calls : &p->argument_calls) = true;
			p->aggregate_calls |= i >= f->npredicate && i < f->npredicate + f->naggregate;
		}
	return p;
}

static struct interned_program *program_intern(const struct fetch_program *f)
{
	static struct interned_program *buckets[BUCKETS];
	uint64_t hash = 0xcbf29ce484222325ull ^ f->npredicate ^ f->naggregate << 16 ^ f->nargs << 32;
	struct interned_program **bucket, *p;

	hash = program_hash(hash, f->steps, f->nsteps * sizeof(*f->steps));
	hash = program_hash(hash, f->literals, f->nliterals * sizeof(*f->literals));
	bucket = &buckets[(hash ^ hash >> 32) % BUCKETS];
	for (p = *bucket; p; p = p->next)
		if (program_is(p, hash, f))
			return p;
	p = program_copy(f);
	if (!p)
		return NULL;
	p->hash = hash;
	p->next = *bucket;
	*bucket = p;
	return p;
}

/* Copies what trampolines need of an aggregate of the manifest. */
static void aggregate_view(const struct manifest_aggregate *from, struct fetch_aggregate *to)
{
	memset(to, 0, sizeof(*to));
	to->ncolumns = from->ncolumns;
	to->nparts = from->nparts;
	memcpy(to->columns, from->columns, sizeof(to->columns));
	for (unsigned i = 0; i < AGG_PARTS_MAX; i++)
		to->parts[i].kind = from->parts[i].kind;
}

/* Fills in f, which points into the file, and the room for its aggregate. */
static void program_view(const struct agent_attachment *h, uint32_t spec, struct fetch_program *f,
                         struct fetch_aggregate *aggregate)
{
	const struct manifest *d = (const struct manifest *)((const char *)h + h->manifest_at);
	const struct agent_program *p = (const struct agent_program *)((const char *)h + h->programs_at) + spec;

	memset(f, 0, sizeof(*f));
	f->steps = (struct fetch_step *)((char *)h + h->steps_at) + p->step;
	f->nsteps = p->nsteps;
	f->npredicate = p->npredicate;
	f->naggregate = p->naggregate;
	if (p->naggregate) {
		aggregate_view(&manifest_aggregates(d)[p->aggregate], aggregate);
		f->aggregate = aggregate;
	}
	f->role = p->role;
	f->match = p->match;
	f->nkey = p->nkey;
	f->sample = p->sample;
	f->literals = (struct fetch_literal *)((char *)h + h->literals_at) + p->literal;
	f->nliterals = p->nliterals;
	f->nargs = p->nargs;
	memcpy(f->kind, p->kind, sizeof(f->kind));
	memcpy(f->size, p->size, sizeof(f->size));
}

struct interned_program *attachment_program(struct loaded_attachment *attachment, uint32_t spec)
{
	struct fetch_aggregate aggregate;
	struct fetch_program f;

	if (!attachment->programs[spec]) {
		program_view(attachment->header, spec, &f, &aggregate);
		attachment->programs[spec] = program_intern(&f);
	}
	return attachment->programs[spec];
}

/* ---- files ---- */

/* Returns whether n elements at an offset come after *end and are within size bytes. Sets *end to their end. */
static bool file_part_ok(uint64_t *end, uint64_t at, uint64_t n, uint64_t each, uint64_t size)
{
	if (at % 8 || at < *end || at > size || n * each > size - at)
		return false;
	*end = at + n * each;
	return true;
}

static bool manifest_aggregates_ok(const struct agent_attachment *h, const struct manifest *d)
{
	if (h->flight > AGENT_FLIGHT_MAX || h->cells > AGG_CELLS_MAX || !h->cells != !d->ngroups)
		return false;
	for (uint32_t i = 0; i < d->naggregates; i++)
		if (manifest_aggregates(d)[i].ncolumns > AGG_COLUMNS_MAX ||
		    manifest_aggregates(d)[i].nparts > AGG_PARTS_MAX)
			return false;
	for (uint32_t i = 0; i < d->ngroups; i++)
		if (manifest_groups(d)[i].aggregate >= d->naggregates)
			return false;
	return d->ngroups <= AGENT_CELLS / (2 * AGG_COLUMNS_MAX);
}

static bool manifest_items_ok(const struct agent_attachment *h, const struct manifest *d)
{
	if (!d->npool || manifest_string(d, 0)[d->npool - 1])
		return false;
	for (uint32_t i = 0; i < d->nfiles; i++)
		if (manifest_files(d)[i].path >= d->npool)
			return false;
	for (uint32_t i = 0; i < d->npoints; i++) {
		const struct manifest_point *p = &manifest_points(d)[i];

		if (p->probe >= d->nprobes || p->spec >= h->nprograms || p->group > d->ngroups ||
		    manifest_probes(d)[p->probe].file >= d->nfiles)
			return false;
	}
	return manifest_aggregates_ok(h, d);
}

static bool manifest_ok(const struct agent_attachment *h, uint64_t *end)
{
	const struct manifest *d;
	uint64_t size;

	if (!file_part_ok(end, h->manifest_at, 1, sizeof(*d), h->size))
		return false;
	d = (const struct manifest *)((const char *)h + h->manifest_at);
	if (d->magic != MANIFEST_MAGIC || d->version != MANIFEST_VERSION)
		return false;
	size = sizeof(*d) + sizeof(struct manifest_point) * (uint64_t)d->npoints +
	       sizeof(struct manifest_aggregate) * (uint64_t)d->naggregates +
	       sizeof(struct manifest_name) * (uint64_t)d->nnames +
	       sizeof(struct manifest_group) * (uint64_t)d->ngroups +
	       sizeof(struct manifest_file) * (uint64_t)d->nfiles +
	       sizeof(struct manifest_layout) * (uint64_t)d->nlayouts +
	       sizeof(struct manifest_probe) * (uint64_t)d->nprobes + sizeof(struct manifest_arg) * (uint64_t)d->nargs +
	       d->npool;
	if (d->size != size || size > h->size - h->manifest_at || d->attachment != h->number)
		return false;
	*end = h->manifest_at + size;
	return manifest_items_ok(h, d);
}

/* Returns whether each point whose program has an aggregate has a group with the same one. */
static bool point_groups_ok(const struct agent_attachment *h)
{
	const struct manifest *d = (const struct manifest *)((const char *)h + h->manifest_at);
	const struct agent_program *p = (const struct agent_program *)((const char *)h + h->programs_at);

	for (uint32_t i = 0; i < d->npoints; i++) {
		const struct manifest_point *point = &manifest_points(d)[i];

		if (p[point->spec].naggregate &&
		    (!point->group || manifest_groups(d)[point->group - 1].aggregate != p[point->spec].aggregate))
			return false;
	}
	return true;
}

static bool programs_ok(const struct agent_attachment *h)
{
	const struct manifest *d = (const struct manifest *)((const char *)h + h->manifest_at);
	struct fetch_aggregate aggregate;
	const struct agent_program *p = (const struct agent_program *)((const char *)h + h->programs_at);
	struct fetch_program f;
	bool ok = true;
	uint8_t *depths = pages_map((size_t)h->nsteps + 1);

	if (!depths)
		return false;
	for (uint32_t i = 0; ok && i < h->nprograms; i++) {
		ok = p[i].role <= SITE_LEAVE && p[i].match <= MATCH_KEY && p[i].step <= h->nsteps &&
		     p[i].nsteps <= h->nsteps - p[i].step && p[i].literal <= h->nliterals &&
		     p[i].nliterals <= h->nliterals - p[i].literal && p[i].sample.every <= FETCH_SAMPLE_MAX &&
		     p[i].sample.rate <= FETCH_SAMPLE_MAX && (!p[i].naggregate || p[i].aggregate < d->naggregates);
		if (ok) {
			program_view(h, i, &f, &aggregate);
			ok = program_ok(&f, depths);
		}
	}
	pages_unmap(depths, (size_t)h->nsteps + 1);
	return ok;
}

static enum agent_reason attachment_check(const struct agent_attachment *h, size_t size)
{
	uint64_t end = sizeof(*h);

	if (size < sizeof(*h) || h->magic != AGENT_ATTACHMENT_MAGIC || h->version != AGENT_VERSION || h->size != size)
		return AGENT_FILE;
	if (h->ring_size && (h->ring_size < AGENT_RING_SIZE_MIN || h->ring_size > AGENT_RING_SIZE_MAX ||
	                     h->ring_size & (h->ring_size - 1)))
		return AGENT_FILE;
	if (!manifest_ok(h, &end) ||
	    !file_part_ok(&end, h->processes_at, h->nprocesses, sizeof(struct agent_process), size) ||
	    !file_part_ok(&end, h->programs_at, h->nprograms, sizeof(struct agent_program), size) ||
	    !file_part_ok(&end, h->steps_at, h->nsteps, sizeof(struct fetch_step), size) ||
	    !file_part_ok(&end, h->literals_at, h->nliterals, sizeof(struct fetch_literal), size) ||
	    !file_part_ok(&end, h->on_at, ((const struct manifest *)((const char *)h + h->manifest_at))->npoints, 1,
	                  size))
		return AGENT_FILE;
	return programs_ok(h) && point_groups_ok(h) ? AGENT_OK : AGENT_FILE;
}

static bool attachment_read_data(struct loaded_attachment *attachment, int fd, size_t size)
{
	size_t had = 0;
	ssize_t n;

	while (had < size && (n = pread(fd, (char *)attachment->data + had, size - had, had)) != 0) {
		if (n > 0)
			had += n;
		else if (errno != EINTR)
			break;
	}
	return had == size;
}

enum agent_reason attachment_read(struct loaded_attachment *attachment, int fd, size_t size)
{
	enum agent_reason reason = AGENT_MEMORY;
	const struct agent_attachment *h;

	if (size > AGENT_ATTACHMENT_SIZE_MAX || size < sizeof(*h))
		return AGENT_FILE;
	attachment->size = size;
	attachment->data = pages_map(size);
	if (!attachment->data)
		return AGENT_MEMORY;
	h = attachment->data;
	if (!attachment_read_data(attachment, fd, size))
		goto refused;
	reason = attachment_check(h, size);
	if (reason)
		goto refused;
	reason = AGENT_FILE;
	if (h->number != attachment->number)
		goto refused;
	attachment->header = h;
	attachment->manifest = (const struct manifest *)((const char *)h + h->manifest_at);
	attachment->on = (const uint8_t *)h + h->on_at;
	attachment->programs_size = (h->nprograms + 1ull) * sizeof(*attachment->programs);
	attachment->points_size = (attachment->manifest->npoints + 1ull) * sizeof(*attachment->points);
	attachment->programs = pages_map(attachment->programs_size);
	attachment->points = pages_map(attachment->points_size);
	if (attachment->programs && attachment->points)
		return AGENT_OK;
	reason = AGENT_MEMORY;
refused:
	attachment_release(attachment);
	return reason;
}

void attachment_release(struct loaded_attachment *attachment)
{
	pages_unmap(attachment->data, attachment->size);
	pages_unmap(attachment->programs, attachment->programs_size);
	pages_unmap(attachment->points, attachment->points_size);
	attachment->data = NULL;
	attachment->header = NULL;
	attachment->manifest = NULL;
	attachment->on = NULL;
	attachment->programs = NULL;
	attachment->points = NULL;
}

bool attachment_names(const struct loaded_attachment *attachment, uint32_t pid, uint64_t start_time)
{
	const struct agent_attachment *h = attachment->header;
	const struct agent_process *p = (const struct agent_process *)((const char *)h + h->processes_at);

	for (uint32_t i = 0; i < h->nprocesses; i++)
		if (p[i].pid == pid && p[i].start_time == start_time)
			return true;
	return false;
}

bool attachment_concerns(const struct loaded_attachment *attachment, const struct manifest_point *point)
{
	if (!point->pid || point->pid == attachment->inherited)
		return true;
	return point->pid == agent.pid && attachment_names(attachment, agent.pid, agent.start_time);
}
