/* SPDX-License-Identifier: MIT */
#include "runtime/verify.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "runtime/armed.h"
#include "runtime/clock.h"
#include "runtime/process.h"
#include "sdt/error.h"
#include "sdt/image.h"

#define INT3 0xcc
#define PATIENCE 20000000000ull /* ns */

/* Where the points of one image are in one process. */
struct places {
	uint64_t *addresses;
	const struct mapping **mappings;
	size_t *points; /* index in the run */
	uint8_t *bytes;
	bool *got;
	size_t n, room;
};

static void places_release(struct places *p)
{
	free(p->addresses);
	free(p->mappings);
	free(p->points);
	free(p->bytes);
	free(p->got);
}

static int places_add(struct places *p, uint64_t address, const struct mapping *mapping, size_t point)
{
	if (p->n == p->room) {
		size_t room = p->room ? 2 * p->room : 256;
		void *a = realloc(p->addresses, room * sizeof(*p->addresses));
		void *m = a ? realloc(p->mappings, room * sizeof(*p->mappings)) : NULL;
		void *i = m ? realloc(p->points, room * sizeof(*p->points)) : NULL;
		void *b = i ? realloc(p->bytes, room) : NULL;
		void *g = b ? realloc(p->got, room * sizeof(*p->got)) : NULL;

		p->addresses = a ? a : p->addresses;
		p->mappings = m ? m : p->mappings;
		p->points = i ? i : p->points;
		p->bytes = b ? b : p->bytes;
		p->got = g ? g : p->got;
		if (!g)
			return error_set(ENOMEM, "out of memory");
		p->room = room;
	}
	p->addresses[p->n] = address;
	p->mappings[p->n] = mapping;
	p->points[p->n++] = point;
	return 0;
}

static bool maps_image(const struct process *process, size_t i, const struct pp_image *image)
{
	const struct mapping *m = &process->maps[i];

	return m->inode == image->inode &&
	       process_mapping(process, image->device, image->inode, m->offset, i ? m - 1 : NULL) == m;
}

/* The executable mappings of an image, once; what maps the offset is then found among them. */
static int places_find(struct places *p, const struct process *process, const struct arm_point *run, size_t n)
{
	const struct pp_image *image = run[0].image;
	const struct mapping *mappings[64];
	size_t nmappings = 0;
	int err = 0;

	for (size_t i = 0; i < process->nmaps && nmappings < 64; i++) {
		const struct mapping *m = &process->maps[i];

		if (m->exec && maps_image(process, i, image))
			mappings[nmappings++] = m;
	}
	for (size_t i = 0; i < n && !err; i++) {
		uint64_t offset = run[i].site->offset;

		for (size_t k = 0; k < nmappings && !err; k++)
			if (offset >= mappings[k]->offset &&
			    offset - mappings[k]->offset < mappings[k]->end - mappings[k]->start)
				err = places_add(p, mappings[k]->start + offset - mappings[k]->offset, mappings[k], i);
	}
	return err;
}

static char *why_not(const struct process *process, const struct mapping *m)
{
	if (m->shared)
		return error_sentence("pid %d maps the text shared: the kernel arms nothing there", process->pid);
	if (m->write)
		return error_sentence("pid %d maps the text writable: the kernel arms nothing there", process->pid);
	return error_sentence("pid %d: the kernel placed no trap there", process->pid);
}

/* The semaphore that the copy of the text at this address reads. NULL if it counts, or there is none to look at. */
static char *semaphore_fault(const struct process *process, const struct arm_point *point, uint64_t address)
{
	const uint64_t copy = address - point->site->address + point->site->semaphore;
	const struct pp_image *image = point->image;
	const struct mapping *m = NULL;
	bool mapped = false, writable = false;
	uint16_t value = 0;

	if (!point->site->has_semaphore)
		return NULL;
	while ((m = process_mapping(process, image->device, image->inode, point->site->semaphore_offset, m))) {
		mapped = true;
		if (m->shared || !m->write)
			continue;
		writable = true;
		if (m->start + point->site->semaphore_offset - m->offset != copy)
			continue;
		if (process_read(process, copy, &value, sizeof(value)) || value)
			return NULL;
	}
	if (writable)
		return error_sentence("pid %d: its semaphore at address 0x%lx does not count: the kernel raised another copy "
		                      "of it", process->pid, (unsigned long)copy);
	return mapped ? error_sentence("pid %d: its semaphore at file offset 0x%lx does not count: the mapping is not "
	                               "private and writable", process->pid, (unsigned long)point->site->semaphore_offset)
	              : NULL;
}

/* The image's path may name another file in a process that mapped it before it was replaced; NULL: it does not. */
static char *why_pending(const struct process *process, const struct pp_image *image)
{
	static const char deleted[] = " (deleted)";
	size_t length = strlen(image->path);

	for (size_t i = 0; process && i < process->nmaps; i++) {
		const struct mapping *m = &process->maps[i];

		if (m->exec && m->inode != image->inode && !strncmp(m->path, image->path, length) &&
		    !strcmp(m->path + length, deleted))
			return error_sentence("pid %d runs an older %s, which was replaced since", process->pid, image->path);
	}
	return NULL;
}

int verify_refuse(struct verify_misses *misses, struct arm_point *points, size_t i, pid_t pid, char *reason)
{
	struct verify_miss *more;

	if (points[i].process) {
		points[i].error = -EIO;
		free(points[i].reason);
		points[i].reason = reason;
		return 0;
	}
	more = realloc(misses->list, (misses->n + 1) * sizeof(*more));
	if (!more) {
		free(reason);
		return error_set(ENOMEM, "out of memory");
	}
	misses->list = more;
	more[misses->n++] = (struct verify_miss){ .point = i, .pid = pid, .reason = reason };
	return 0;
}

void verify_misses_release(struct verify_misses *misses)
{
	for (size_t i = 0; i < misses->n; i++)
		free(misses->list[i].reason);
	free(misses->list);
	*misses = (struct verify_misses){ 0 };
}

/* Of the points armed, those of one image in one process or in all. */
struct run {
	struct arm_point *points; /* all */
	size_t first, n;
	struct verify_misses *misses;
};

static struct arm_point *run_point(const struct run *run, size_t i)
{
	return &run->points[run->first + i];
}

static int run_refuse(const struct run *run, size_t i, const struct process *process, char *reason)
{
	return verify_refuse(run->misses, run->points, run->first + i, process->pid, reason);
}

#define BIASES_MAX 8

/* By how much addresses in the process differ from those as linked, as its mappings of the file tell. */
static size_t find_biases(const struct process *process, const struct pp_image *image, uint64_t *biases)
{
	size_t n = 0;

	for (size_t i = 0; i < process->nmaps; i++)
		for (size_t k = 0; k < image->nsegments && n < BIASES_MAX && maps_image(process, i, image); k++) {
			const struct image_segment *s = &image->segments[k];
			uint64_t offset = process->maps[i].offset, bias = process->maps[i].start - (s->address - s->offset + offset);
			size_t known = 0;

			if (offset + 4095 < s->offset || offset >= s->offset + s->filesz)
				continue;
			while (known < n && biases[known] != bias)
				known++;
			biases[known] = bias;
			n += known == n;
		}
	return n;
}

/*
 * Programs that want their text in huge pages copy it to memory of their own, and move that over the text. It is no
 * file's then, and no point.
 */
static int verify_elsewhere(const struct run *run, const struct process *process, bool *seen)
{
	const struct pp_image *image = run_point(run, 0)->image;
	uint64_t biases[BIASES_MAX];
	size_t nbiases = find_biases(process, image, biases);
	int err = 0;

	for (size_t i = 0; i < run->n && !err; i++)
		for (size_t k = 0; k < process->nmaps * nbiases && !seen[i] && !run_point(run, i)->error && !err; k++) {
			const struct mapping *m = &process->maps[k / nbiases];
			uint64_t address = biases[k % nbiases] + run_point(run, i)->site->address;

			if (!m->exec || address < m->start || address >= m->end || maps_image(process, k / nbiases, image))
				continue;
			seen[i] = true;
			err = run_refuse(run, i, process, error_sentence("pid %d has a copy of the text there, in memory that is "
			                                                 "not this file's (huge pages?): the kernel arms nothing "
			                                                 "in it", process->pid));
		}
	return err;
}

/* Marks in seen[] the points that the process maps. */
static int verify_process(const struct run *run, const struct process *process, bool *seen)
{
	struct places p = { 0 };
	int err = places_find(&p, process, run_point(run, 0), run->n), denied;

	if (!err && p.n < run->n)
		err = verify_elsewhere(run, process, seen);
	if (err || !p.n) {
		places_release(&p);
		return err;
	}
	denied = process_read_bytes(process, p.addresses, p.n, p.bytes, p.got);
	for (size_t k = 0; k < p.n && !err; k++) {
		struct arm_point *point = run_point(run, p.points[k]);
		char *fault;

		seen[p.points[k]] = true;
		if (point->error)
			continue;
		if (denied || !p.got[k]) {
			point->verified = false;
			if (!point->reason)
				point->reason = error_sentence("not verified: pid %d cannot be read%s", process->pid,
				                               denied == -EPERM ? " without CAP_SYS_PTRACE" : "");
		} else if (p.bytes[k] != INT3) {
			err = run_refuse(run, p.points[k], process, why_not(process, p.mappings[k]));
		} else if ((fault = semaphore_fault(process, point, p.addresses[k]))) {
			err = run_refuse(run, p.points[k], process, fault);
		}
	}
	places_release(&p);
	return err;
}

static int verify_run(const struct run *run)
{
	const struct process *process = run_point(run, 0)->process;
	const struct pp_image *image = run_point(run, 0)->image;
	bool *seen = calloc(run->n, sizeof(*seen));
	int err = 0;

	if (!seen)
		return error_set(ENOMEM, "out of memory");
	for (size_t i = 0; i < run->n; i++)
		run_point(run, i)->verified = !run_point(run, i)->error;
	if (process) {
		if (!process->is_command)
			err = verify_process(run, process, seen);
	} else {
		struct process **all = NULL;
		size_t nall = 0;

		err = processes_mapping(image->device, image->inode, &all, &nall);
		for (size_t i = 0; i < nall; i++) {
			if (!err)
				err = verify_process(run, all[i], seen);
			process_free(all[i]);
		}
		free(all);
	}
	for (size_t i = 0; i < run->n; i++) {
		struct arm_point *point = run_point(run, i);

		if (point->error || seen[i])
			continue;
		point->pending = true;
		point->verified = false;
		if (!point->reason)
			point->reason = why_pending(process, image);
	}
	free(seen);
	return err;
}

int verify_armed(struct arm_point *points, size_t npoints, struct verify_misses *misses)
{
	int err = 0;

	for (size_t i = 0, end; i < npoints && !err; i = end) {
		for (end = i + 1; end < npoints && points[end].image == points[i].image &&
		                  points[end].process == points[i].process; end++)
			;
		err = verify_run(&(struct run){ .points = points, .first = i, .n = end - i, .misses = misses });
	}
	return err;
}

static void refuse_traced(struct arm_point *run, size_t n, const struct process *process, pid_t tracer,
                          struct pp_armed **armed, const char *held)
{
	struct places p = { 0 };

	if (!places_find(&p, process, run, n) && p.n && !process_read_bytes(process, p.addresses, p.n, p.bytes, p.got))
		for (size_t k = 0; k < p.n; k++) {
			struct arm_point *point = &run[p.points[k]];

			if (point->error || !p.got[k] || p.bytes[k] != INT3)
				continue;
			if (!*armed && armed_read(armed, held))
				*armed = NULL;
			if (*armed && pp_armed_session(*armed, point->image, point->site, 0))
				continue;
			point->error = -EBUSY;
			free(point->reason);
			point->reason = error_sentence("pid %d, which debugs pid %d, has a breakpoint there: take that out first",
			                               tracer, process->pid);
		}
	places_release(&p);
}

int verify_no_debugger(struct arm_point *points, size_t npoints, const char *held)
{
	struct pp_armed *armed = NULL;
	int err = 0;

	for (size_t i = 0, end; i < npoints && !err; i = end) {
		const struct process *process = points[i].process;
		struct process **all = NULL;
		size_t nall = 0;
		pid_t tracer;

		for (end = i + 1; end < npoints && points[end].image == points[i].image &&
		                  points[end].process == process; end++)
			;
		if (process && !process->is_command && (tracer = process_tracer(process)))
			refuse_traced(points + i, end - i, process, tracer, &armed, held);
		if (process)
			continue;
		err = processes_mapping(points[i].image->device, points[i].image->inode, &all, &nall);
		for (size_t k = 0; k < nall; k++) {
			if ((tracer = process_tracer(all[k])))
				refuse_traced(points + i, end - i, all[k], tracer, &armed, held);
			process_free(all[k]);
		}
		free(all);
	}
	pp_armed_free(armed);
	return err;
}

/* Where places of one file are in a process. */
static size_t addresses_of(const struct process *process, const struct verify_place *places, size_t n,
                           uint64_t **addresses)
{
	size_t count = 0, room = 0;

	*addresses = NULL;
	for (size_t i = 0; i < n; i++) {
		const struct mapping *m = NULL;

		while ((m = process_mapping(process, places[i].device, places[i].inode, places[i].offset, m))) {
			if (!m->exec)
				continue;
			if (count == room) {
				uint64_t *more = realloc(*addresses, (room = 2 * room + n) * sizeof(*more));

				if (!more)
					return count;
				*addresses = more;
			}
			(*addresses)[count++] = m->start + places[i].offset - m->offset;
		}
	}
	return count;
}

/* Where the places are in one process. */
struct watched {
	struct process *process;
	uint64_t *addresses;
	uint8_t *bytes;
	bool *got;
	size_t count;
};

/* How many traps there are; the other places are looked at no more. */
static size_t traps_in(struct watched *w)
{
	size_t traps = 0;

	if (!w->bytes || !w->got || !process_alive(w->process) ||
	    process_read_bytes(w->process, w->addresses, w->count, w->bytes, w->got))
		return 0;
	for (size_t i = 0; i < w->count; i++)
		if (w->got[i] && w->bytes[i] == INT3)
			w->addresses[traps++] = w->addresses[i];
	w->count = traps;
	return traps;
}

/*
 * Waits as long as some traps go, in whichever process: the kernel takes them out in
 * an order of its own. To look is to hold it up, so most of the time nobody does.
 */
static void wait_for_all(struct watched *watched, size_t n, const volatile int *interrupt)
{
	size_t before = SIZE_MAX, traps;
	uint64_t start = clock_ns(), until = start + PATIENCE;

	while (start < until && !(interrupt && *interrupt)) {
		uint64_t pause;

		traps = 0;
		for (size_t i = 0; i < n; i++)
			traps += traps_in(&watched[i]);
		if (!traps)
			return;
		pause = 1000000 + 4 * (clock_ns() - start);
		if (traps < before)
			until = clock_ns() + PATIENCE;
		before = traps;
		nanosleep(&(struct timespec){ .tv_sec = pause / 1000000000, .tv_nsec = pause % 1000000000 }, NULL);
		start = clock_ns();
	}
}

void verify_disarmed(const struct verify_place *places, size_t n, const volatile int *interrupt)
{
	struct watched *watched = NULL;
	size_t nwatched = 0;

	/* Places of one file stand together. */
	for (size_t i = 0, end; i < n; i = end) {
		struct process **processes = NULL;
		struct watched *more;
		size_t nprocesses = 0;

		for (end = i + 1; end < n && places[end].device == places[i].device &&
		                  places[end].inode == places[i].inode; end++)
			;
		if (processes_mapping(places[i].device, places[i].inode, &processes, &nprocesses))
			continue;
		more = realloc(watched, (nwatched + nprocesses + 1) * sizeof(*watched));
		watched = more ? more : watched;
		for (size_t k = 0; k < nprocesses; k++) {
			struct watched *w = more ? &watched[nwatched++] : NULL;

			if (!w) {
				process_free(processes[k]);
				continue;
			}
			w->process = processes[k];
			w->count = addresses_of(processes[k], places + i, end - i, &w->addresses);
			w->bytes = calloc(w->count + 1, 1);
			w->got = calloc(w->count + 1, sizeof(*w->got));
		}
		free(processes);
	}
	wait_for_all(watched, nwatched, interrupt);
	for (size_t i = 0; i < nwatched; i++) {
		process_free(watched[i].process);
		free(watched[i].addresses);
		free(watched[i].bytes);
		free(watched[i].got);
	}
	free(watched);
}
