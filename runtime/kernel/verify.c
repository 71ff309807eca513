/* SPDX-License-Identifier: MIT */
#include "runtime/kernel/verify.h"

#include <elf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "runtime/armed.h"
#include "runtime/cpu.h"
#include "runtime/disasm.h"
#include "runtime/kernel/foreign.h"
#include "runtime/point.h"
#include "runtime/process.h"
#include "runtime/session.h"
#include "base/error.h"
#include "sdt/image.h"
#include "sdt/operand.h"

#define PATIENCE 20000000000ull                  /* ns */
#define SPAN sizeof(((struct pp_site *)0)->code) /* bytes that are read at each place */

/* Where the points of one image are in one process. */
struct places {
	uint64_t *addresses;
	const struct mapping **mappings;
	size_t *points; /* index in the run */
	uint8_t *bytes; /* SPAN of each */
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
		void *b = i ? realloc(p->bytes, room * SPAN) : NULL;
		void *g = b ? realloc(p->got, room * sizeof(*p->got)) : NULL;

		p->addresses = a ? a : p->addresses;
		p->mappings = m ? m : p->mappings;
		p->points = i ? i : p->points;
		p->bytes = b ? b : p->bytes;
		p->got = g ? g : p->got;
		if (!g)
			return error_nomem();
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
	const struct mapping **mappings = calloc(process->nmaps + 1, sizeof(*mappings));
	size_t nmappings = 0;
	int err = mappings ? 0 : error_nomem();

	for (size_t i = 0; i < process->nmaps && !err; i++)
		if (process->maps[i].exec && maps_image(process, i, image))
			mappings[nmappings++] = &process->maps[i];
	for (size_t i = 0; i < n && !err; i++) {
		uint64_t offset = run[i].site->offset;

		for (size_t k = 0; k < nmappings && !err; k++)
			if (offset >= mappings[k]->offset &&
			    offset - mappings[k]->offset < mappings[k]->end - mappings[k]->start)
				err = places_add(p, mappings[k]->start + offset - mappings[k]->offset, mappings[k], i);
	}
	free(mappings);
	return err;
}

/* Reads what is at the places; one whose last bytes are in no mapping is read as far as its instruction goes. */
static int places_read(struct places *p, const struct process *process, const struct arm_point *run)
{
	int denied = process_read_spans(process, p->addresses, p->n, SPAN, p->bytes, p->got);

	for (size_t k = 0; k < p->n && !denied; k++) {
		const struct arm_point *point = &run[p->points[k]];

		if (!p->got[k])
			p->got[k] = !process_read(process, p->addresses[k], p->bytes + k * SPAN,
			                          code_length(point->image->machine, point->site->code, SPAN));
	}
	return denied;
}

/* Returns true if the instruction is the file's. The bytes of a breakpoint are not compared. */
static bool is_files_code(const struct places *p, size_t k, const struct arm_point *point)
{
	size_t length = code_length(point->image->machine, point->site->code, SPAN);
	size_t trap = cpu_code(point->image->machine)->breakpoint_size;

	return length <= trap || !memcmp(p->bytes + k * SPAN + trap, point->site->code + trap, length - trap);
}

/* Returns true if the bytes where a breakpoint would be are the file's. */
static bool is_files_start(const struct arm_point *point, const uint8_t *bytes)
{
	return !memcmp(bytes, point->site->code, cpu_code(point->image->machine)->breakpoint_size);
}

static char *why_changed(const struct process *process, const struct pp_image *image)
{
	return error_format(
		"the code of pid %d differs there from %s: it was changed in memory, and a probe would run the "
		"file's instruction instead",
		process->pid, image->path);
}

static char *why_not(const struct process *process, const struct mapping *m, const struct arm_point *point,
                     const uint8_t *bytes)
{
	if (m->shared)
		return error_format("pid %d maps the text shared: the kernel arms nothing there", process->pid);
	if (m->write)
		return error_format("pid %d maps the text writable: the kernel arms nothing there", process->pid);
	if (!is_files_start(point, bytes))
		return why_changed(process, point->image);
	return error_format("pid %d: the kernel placed no trap there", process->pid);
}

/*
 * The semaphore that the copy of the text at this address reads. NULL if it counts, or there is none to look at; *unread:
 * there is, and it could not be read.
 */
static char *semaphore_fault(const struct process *process, const struct arm_point *point, uint64_t address,
                             bool *unread)
{
	const uint64_t copy = address - point->site->address + point->site->semaphore;
	const struct pp_image *image = point->image;
	const struct mapping *m = NULL;
	bool mapped = false, writable = false;
	uint16_t value = 0;

	if (point->site->semaphore_in_bss) {
		*unread = process_read(process, copy, &value, sizeof(value));
		return *unread || value
		               ? NULL
		               : error_format("pid %d: its semaphore at address 0x%lx does not count: it is not "
		                              "where the file's .bss should be, or is full",
		                              process->pid, (unsigned long)copy);
	}
	if (!point->site->has_semaphore)
		return NULL;
	while ((m = process_mapping(process, image->device, image->inode, point->site->semaphore_offset, m))) {
		mapped = true;
		if (m->shared || !m->write)
			continue;
		writable = true;
		if (m->start + point->site->semaphore_offset - m->offset != copy)
			continue;
		*unread = process_read(process, copy, &value, sizeof(value));
		if (*unread || value)
			return NULL;
	}
	if (writable)
		return error_format(
			"pid %d: its semaphore at address 0x%lx does not count: the kernel raised another copy "
			"of it",
			process->pid, (unsigned long)copy);
	return mapped ? error_format("pid %d: its semaphore at file offset 0x%lx does not count: the mapping is not "
	                             "private and writable",
	                             process->pid, (unsigned long)point->site->semaphore_offset)
	              : NULL;
}

/* The image's path may name another file in a process that mapped it before it was replaced; NULL: it does not. */
static char *why_pending(const struct process *process, const struct pp_image *image)
{
	static const char deleted[] = " (deleted)";
	size_t length = strlen(image->name);

	for (size_t i = 0; process && i < process->nmaps; i++) {
		const struct mapping *m = &process->maps[i];

		if (m->exec && m->inode != image->inode && !strncmp(m->path, image->name, length) &&
		    !strcmp(m->path + length, deleted))
			return error_format("pid %d runs an older %s, which was replaced since", process->pid,
			                    image->path);
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
		return error_nomem();
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
			uint64_t offset = process->maps[i].offset,
				 bias = process->maps[i].start - (s->address - s->offset + offset);
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

			if (!m->exec || address < m->start || address >= m->end ||
			    maps_image(process, k / nbiases, image))
				continue;
			seen[i] = true;
			err = run_refuse(run, i, process,
			                 error_format("pid %d has a copy of the text there, in memory that is "
			                              "not this file's (huge pages?): the kernel arms nothing "
			                              "in it",
			                              process->pid));
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
	denied = places_read(&p, process, run_point(run, 0));
	for (size_t k = 0; k < p.n && !err; k++) {
		struct arm_point *point = run_point(run, p.points[k]);
		const uint8_t *bytes = p.bytes + k * SPAN;
		bool unread = denied || !p.got[k];
		char *fault = NULL;

		seen[p.points[k]] = true;
		if (point->error)
			continue;
		if (!unread && !cpu_code(point->image->machine)->is_uprobe(bytes)) {
			err = run_refuse(run, p.points[k], process, why_not(process, p.mappings[k], point, bytes));
		} else if (!unread && !is_files_code(&p, k, point)) {
			/* Nothing but taking the point out, in all processes, takes it out of this one. */
			point->error = -EBUSY;
			free(point->reason);
			point->reason = why_changed(process, point->image);
		} else if (!unread && (fault = semaphore_fault(process, point, p.addresses[k], &unread))) {
			err = run_refuse(run, p.points[k], process, fault);
		} else if (unread) {
			point->verified = false;
			if (!point->reason)
				point->reason = error_format("not verified: pid %d cannot be read%s", process->pid,
				                             denied == -EPERM ? " without CAP_SYS_PTRACE" : "");
		}
	}
	places_release(&p);
	return err;
}

/* Points that are everybody's are not verified while some processes could not be looked at. */
static void tell_unread(const struct run *run, const struct unread *unread)
{
	for (size_t i = 0; i < run->n && unread->n; i++) {
		struct arm_point *point = run_point(run, i);

		if (point->error)
			continue;
		point->verified = false;
		if (!point->reason)
			point->reason = error_format("not verified: %zu process%s could not be looked at (pid %d: %s)",
			                             unread->n, unread->n == 1 ? "" : "es", unread->pid,
			                             strerror(-unread->error));
	}
}

static int verify_run(const struct run *run)
{
	const struct process *process = run_point(run, 0)->process;
	const struct pp_image *image = run_point(run, 0)->image;
	bool *seen = calloc(run->n, sizeof(*seen));
	int err = 0;

	if (!seen)
		return error_nomem();
	for (size_t i = 0; i < run->n; i++)
		run_point(run, i)->verified = !run_point(run, i)->error;
	if (process) {
		if (!process->is_command)
			err = verify_process(run, process, seen);
	} else {
		struct process **all = NULL;
		struct unread unread = { 0 };
		size_t nall = 0;

		err = processes_mapping_all(image->device, image->inode, &all, &nall, &unread);
		for (size_t i = 0; i < nall; i++) {
			if (!err)
				err = verify_process(run, all[i], seen);
			process_free(all[i]);
		}
		free(all);
		tell_unread(run, &unread);
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
		for (end = i + 1;
		     end < npoints && points[end].image == points[i].image && points[end].process == points[i].process;
		     end++)
			;
		err = verify_run(&(struct run){ .points = points, .first = i, .n = end - i, .misses = misses });
	}
	return err;
}

/* Who is known to have traps in memory. */
struct trappers {
	const struct pp_session *session; /* whose lock is held */
	struct registry own;              /* its points */
	struct pp_armed *others;          /* those of other sessions */
	struct foreign_list foreign;      /* and of other tools */
	bool read;
	uint64_t until; /* see trap_goes(); 0: not waited yet */
};

#define GOING 1000000000ull /* ns */

/*
 * The kernel takes the traps of a session that was killed out some ms after it forgot its links. Waits for one to go, for
 * a second with all others together. True if it went, and the file's byte is there.
 */
static bool trap_goes(struct trappers *t, const struct process *process, uint64_t address,
                      const struct arm_point *point)
{
	const struct cpu_code *cpu = cpu_code(point->image->machine);
	uint8_t bytes[BREAKPOINT_SIZE_MAX];

	if (!t->until)
		t->until = clock_ns() + GOING;
	for (;;) {
		if (process_read(process, address, bytes, cpu->breakpoint_size))
			return false;
		if (!cpu->is_breakpoint(bytes) || clock_ns() >= t->until)
			return is_files_start(point, bytes);
		nanosleep(&(struct timespec){ .tv_nsec = 5000000 }, NULL);
	}
}

static enum foreign trap_owner(struct trappers *t, const struct arm_point *point)
{
	const struct pp_image *image = point->image;
	bool fresh = !t->foreign.read;
	enum foreign owner = foreign_uprobe(&t->foreign, image, point->site->offset);
	size_t n;

	/* Another command may have armed it since the list was made. */
	if (owner == FOREIGN_NONE && !fresh) {
		foreign_release(&t->foreign);
		owner = foreign_uprobe(&t->foreign, image, point->site->offset);
	}
	if (owner == FOREIGN_UPROBE)
		return owner;
	if (!t->read) {
		t->read = true;
		if (registry_add_session(&t->own, t->session, 0))
			registry_release(&t->own);
		if (armed_read(&t->others, t->session->name))
			t->others = NULL;
	}
	if (registry_find(&t->own, image->real_device, image->real_inode, point->site->offset, &n) ||
	    (t->others && pp_armed_session(t->others, image, point->site, 0)))
		return FOREIGN_UPROBE;
	return owner;
}

static char *why_trapped(const struct process *process, pid_t tracer)
{
	if (tracer)
		return error_format("pid %d, which debugs pid %d, has a breakpoint there: take that out first", tracer,
		                    process->pid);
	return error_format("pid %d has a trap there that is neither the file's nor a uprobe's: its own, or one that a "
	                    "debugger left",
	                    process->pid);
}

static int refuse_changed(struct arm_point *run, size_t n, const struct process *process, struct trappers *trappers)
{
	struct places p = { 0 };
	pid_t tracer = process_tracer(process);
	int err = places_find(&p, process, run, n), denied = !err && p.n ? places_read(&p, process, run) : -ENOENT;

	for (size_t k = 0; k < p.n && !denied; k++) {
		struct arm_point *point = &run[p.points[k]];
		const uint8_t *bytes = p.bytes + k * SPAN;
		bool trapped = cpu_code(point->image->machine)->is_breakpoint(bytes);
		char *reason = NULL;

		if (point->error || !p.got[k])
			continue;
		if (!is_files_code(&p, k, point) || (!trapped && !is_files_start(point, bytes))) {
			reason = why_changed(process, point->image);
		} else if (trapped) {
			enum foreign owner = trap_owner(trappers, point);

			if ((owner == FOREIGN_NONE &&
			     (tracer || !trap_goes(trappers, process, p.addresses[k], point))) ||
			    (owner == FOREIGN_UNKNOWN && tracer))
				reason = why_trapped(process, tracer);
		}
		if (!reason)
			continue;
		point->error = -EBUSY;
		free(point->reason);
		point->reason = reason;
	}
	places_release(&p);
	return err;
}

/* The points of one image and process. */
static int refuse_changed_run(struct arm_point *run, size_t n, struct trappers *trappers)
{
	const struct process *process = run[0].process;
	struct process **all = NULL;
	size_t nall = 0;
	int err;

	if (process && process->is_command)
		return 0;
	/* If its first thread has exited, no link can be for it alone. */
	if (process && !process->leader_gone)
		return refuse_changed(run, n, process, trappers);
	err = processes_mapping(run[0].image->device, run[0].image->inode, &all, &nall);
	for (size_t k = 0; k < nall; k++) {
		if (!err)
			err = refuse_changed(run, n, all[k], trappers);
		process_free(all[k]);
	}
	free(all);
	return err;
}

int verify_unchanged(struct arm_point *points, size_t npoints, const struct pp_session *session)
{
	struct trappers trappers = { .session = session };
	int err = 0;

	for (size_t i = 0, end; i < npoints && !err; i = end) {
		for (end = i + 1;
		     end < npoints && points[end].image == points[i].image && points[end].process == points[i].process;
		     end++)
			;
		err = refuse_changed_run(points + i, end - i, &trappers);
	}
	registry_release(&trappers.own);
	foreign_release(&trappers.foreign);
	pp_armed_free(trappers.others);
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
	const struct cpu_code *cpu = cpu_code(MACHINE_HERE);
	size_t traps = 0, size = cpu->breakpoint_size;

	if (!w->bytes || !w->got || !process_alive(w->process) ||
	    process_read_spans(w->process, w->addresses, w->count, size, w->bytes, w->got))
		return 0;
	for (size_t i = 0; i < w->count; i++) {
		uint8_t *bytes = w->bytes + i * size;

		if ((w->got[i] || !process_read(w->process, w->addresses[i], bytes, size)) && cpu->is_breakpoint(bytes))
			w->addresses[traps++] = w->addresses[i];
	}
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

		for (end = i + 1;
		     end < n && places[end].device == places[i].device && places[end].inode == places[i].inode; end++)
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
			w->bytes = calloc(w->count + 1, BREAKPOINT_SIZE_MAX);
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
