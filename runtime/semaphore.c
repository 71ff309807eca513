/* SPDX-License-Identifier: MIT */
#include "runtime/semaphore.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "runtime/armed.h"
#include "runtime/point.h"
#include "runtime/process.h"
#include "runtime/session.h"
#include "sdt/error.h"
#include "sdt/image.h"

/* Whoever armed them, sites count once each; so most images can never come so far. */
static size_t sites_of(const struct pp_image *image, uint64_t semaphore)
{
	size_t n = 0;

	for (size_t p = 0; p < image->nprobes; p++)
		for (size_t i = 0; i < image->probes[p].nsites; i++)
			n += image->probes[p].sites[i].has_semaphore &&
			     image->probes[p].sites[i].semaphore_offset == semaphore;
	return n;
}

struct armed_now {
	struct pp_armed *others;
	struct registry own;
};

static bool is_armed(struct armed_now *now, const struct pp_image *image, const struct pp_site *site)
{
	size_t n;

	return registry_find(&now->own, image->real_device, image->real_inode, site->offset, &n) ||
	       (now->others && pp_armed_session(now->others, image, site, 0));
}

static size_t armed_of(struct armed_now *now, const struct pp_image *image, uint64_t semaphore)
{
	size_t n = 0;

	for (size_t p = 0; p < image->nprobes; p++)
		for (size_t i = 0; i < image->probes[p].nsites; i++) {
			const struct pp_site *site = &image->probes[p].sites[i];

			n += site->has_semaphore && site->semaphore_offset == semaphore && is_armed(now, image, site);
		}
	return n;
}

static void refuse_beyond(struct armed_now *now, struct arm_point *points, size_t n, uint64_t semaphore)
{
	const struct pp_image *image = points[0].image;
	size_t count = armed_of(now, image, semaphore);
	char reason[160];

	snprintf(reason, sizeof(reason), "its semaphore counts to %d, and so many sites of it are armed already",
	         SEMAPHORE_MAX);
	for (size_t i = 0; i < n; i++) {
		struct arm_point *point = &points[i];

		if (point->error || !point->site->has_semaphore || point->site->semaphore_offset != semaphore ||
		    is_armed(now, image, point->site) || ++count <= SEMAPHORE_MAX)
			continue;
		free(point->reason);
		point->error = -EOVERFLOW;
		point->reason = strdup(reason);
	}
}

int semaphores_check(const struct pp_session *session, struct arm_point *points, size_t n)
{
	struct armed_now now = { 0 };
	bool read = false;
	int err = 0;

	/* The points of one image and process stand together, those of one semaphore mostly too. */
	for (size_t i = 0, end; i < n && !err; i = end) {
		uint64_t last = 0;

		for (end = i + 1; end < n && points[end].image == points[i].image && points[end].process == points[i].process; end++)
			;
		for (size_t k = i; k < end && !err; k++) {
			const struct pp_site *site = points[k].site;

			if (!site->has_semaphore || site->semaphore_offset == last)
				continue;
			last = site->semaphore_offset;
			if (sites_of(points[i].image, last) <= SEMAPHORE_MAX)
				continue;
			if (!read) {
				err = registry_add_session(&now.own, session, 0);
				if (!err && armed_read(&now.others, session->name))
					now.others = NULL;
				read = true;
			}
			if (!err)
				refuse_beyond(&now, points + i, end - i, last);
		}
	}
	registry_release(&now.own);
	pp_armed_free(now.others);
	return err;
}

/* ---- copies ---------------------------------------------------------------------- */

bool semaphore_misplaced(const struct pp_site *site)
{
	const struct pp_image *image = site->probe->image;
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), at = site->semaphore_offset;

	if (!site->has_semaphore)
		return false;
	for (size_t i = 0; i < image->nsegments; i++) {
		const struct image_segment *s = &image->segments[i];

		if ((s->flags & PF_W) && s->filesz && at >= (s->offset & -page) &&
		    at < ((s->offset + s->filesz + page - 1) & -page))
			return s->address + (at - s->offset) != site->semaphore;
	}
	return false;
}

static bool counts(const struct mapping *m, uint64_t offset)
{
	return m->write && !m->shared && offset >= m->offset && offset - m->offset < m->end - m->start;
}

/* Where the kernel has the semaphore: the first mapping that counts. 0: nowhere. */
static uint64_t kernels_copy(const struct process *process, dev_t device, ino_t inode, uint64_t offset)
{
	const struct mapping *m = NULL;

	while ((m = process_mapping(process, device, inode, offset, m)))
		if (counts(m, offset))
			return m->start + offset - m->offset;
	return 0;
}

/* True if the address holds the image's semaphore, in memory of the process's own that it may write. */
static bool is_copy(const struct process *process, const struct pp_image *image, uint64_t offset, uint64_t address)
{
	const struct mapping *m = NULL;

	while ((m = process_mapping(process, image->device, image->inode, offset, m)))
		if (counts(m, offset) && m->start + offset - m->offset == address)
			return true;
	return false;
}

/*
 * The memory of a process as it is now: after another exec() it is nobody's. So a descriptor that was opened before the
 * mappings were read never reaches memory that they do not describe.
 */
static int memory_open(struct process *process)
{
	char path[32];
	int fd, err;

	snprintf(path, sizeof(path), "/proc/%d/mem", process->pid);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	err = process_read_maps(process);
	if (!err && process_alive(process))
		return fd;
	close(fd);
	return err ? err : -ESRCH;
}

static bool value_at(int memory, uint64_t address, uint16_t *value)
{
	return pread(memory, value, sizeof(*value), (off_t)address) == sizeof(*value);
}

/* Adds to a semaphore, within what it holds. Nothing but tracers writes semaphores, each within microseconds. */
static bool add(int memory, uint64_t address, int n)
{
	uint16_t value;

	if (!value_at(memory, address, &value) || value + n < 0)
		return false;
	value = (uint16_t)(value + n > SEMAPHORE_MAX ? SEMAPHORE_MAX : value + n);
	return pwrite(memory, &value, sizeof(value), (off_t)address) == sizeof(value);
}

/*
 * How many traps there are for a place of a file, for each of which the kernel raised a semaphore and will lower it. The
 * kernel also sets them where the file's page is mapped read-only, because such a mapping could become executable.
 */
static int traps_at(const struct process *process, int memory, dev_t device, ino_t inode, uint64_t offset)
{
	const struct mapping *m = NULL;
	int traps = 0;
	uint8_t byte;

	while ((m = process_mapping(process, device, inode, offset, m)))
		traps += !m->shared && pread(memory, &byte, 1, (off_t)(m->start + offset - m->offset)) == 1 && byte == 0xcc;
	return traps;
}

static int by_semaphore(const void *a, const void *b)
{
	const struct arm_point *x = *(const struct arm_point *const *)a, *y = *(const struct arm_point *const *)b;

	if (x->image != y->image)
		return (uintptr_t)x->image < (uintptr_t)y->image ? -1 : 1;
	if (x->site->semaphore != y->site->semaphore)
		return x->site->semaphore < y->site->semaphore ? -1 : 1;
	return (x > y) - (x < y);
}

/* The copies of one semaphore in a process: n points of it, all of one image. */
static int raise_copies(struct process *process, int memory, const struct arm_point *const *points, size_t n,
                        semaphore_record *record, void *arg)
{
	const struct pp_site *site = points[0]->site;
	const struct pp_image *image = points[0]->image;
	uint64_t first = kernels_copy(process, image->device, image->inode, site->semaphore_offset), done[64];
	const struct mapping *m = NULL;
	size_t ndone = 0;

	while (first && (m = process_mapping(process, image->device, image->inode, site->offset, m))) {
		uint64_t address = m->start + site->offset - m->offset - site->address + site->semaphore;
		uint16_t value;
		bool known = false;

		for (size_t i = 0; i < ndone; i++)
			known |= done[i] == address;
		if (!m->exec || m->write || m->shared || known || ndone == sizeof(done) / sizeof(*done) ||
		    !is_copy(process, image, site->semaphore_offset, address) || !value_at(memory, address, &value))
			continue;
		done[ndone++] = address;
		if (address == first) {
			/* The kernel raised another one when the file was mapped, and will lower this one, for each trap. */
			int traps = 0;

			for (size_t i = 0; !value && i < n; i++)
				traps += traps_at(process, memory, image->device, image->inode, points[i]->site->offset);
			if (!value)
				add(memory, address, traps);
			continue;
		}

		struct semaphore_raised raised = { .address = address, .offset = site->semaphore_offset,
			                           .start_time = process_start_time(process->pid), .pid = process->pid };
		int err = record(&raised, arg);

		if (err && err != -EEXIST)
			return err;
		if (!err)
			add(memory, address, 1);
	}
	return 0;
}

int semaphores_raise_in(const struct process *process, const struct arm_point *points, size_t n,
                        semaphore_record *record, void *arg)
{
	const struct arm_point **sorted = calloc(n + 1, sizeof(*sorted));
	struct process *now = NULL;
	int memory = -1, err = 0;
	size_t count = 0;

	if (!sorted)
		return error_set(ENOMEM, "out of memory");
	for (size_t i = 0; i < n; i++)
		if (points[i].site->has_semaphore && (!points[i].error || points[i].error == -EALREADY))
			sorted[count++] = &points[i];
	qsort(sorted, count, sizeof(*sorted), by_semaphore);
	if (count && !process_open(process->pid, &now))
		memory = memory_open(now);
	for (size_t i = 0, end; memory >= 0 && i < count && !err; i = end) {
		for (end = i + 1; end < count && sorted[end]->image == sorted[i]->image &&
		                  sorted[end]->site->semaphore == sorted[i]->site->semaphore; end++)
			;
		err = raise_copies(now, memory, sorted + i, end - i, record, arg);
	}
	if (memory >= 0)
		close(memory);
	process_free(now);
	free(sorted);
	return err;
}

int semaphores_raise(const struct arm_point *points, size_t n, semaphore_record *record, void *arg)
{
	int err = 0;

	for (size_t i = 0, end; i < n && !err; i = end) {
		const struct process *process = points[i].process;
		struct process **all = NULL;
		size_t nall = 0;
		bool any = false;

		for (end = i; end < n && points[end].image == points[i].image && points[end].process == process; end++)
			any |= points[end].site->has_semaphore && !points[end].error;
		if (!any)
			continue;
		if (process && !process->is_command)
			err = semaphores_raise_in(process, points + i, end - i, record, arg);
		if (process)
			continue;
		err = processes_mapping(points[i].image->device, points[i].image->inode, &all, &nall);
		for (size_t k = 0; k < nall; k++) {
			if (!err)
				err = semaphores_raise_in(all[k], points + i, end - i, record, arg);
			process_free(all[k]);
		}
		free(all);
	}
	return err;
}

void semaphore_lower(const struct semaphore_raised *raised)
{
	struct process *process = NULL;
	int memory = -1;
	bool there = false;

	if (process_start_time((pid_t)raised->pid) != raised->start_time || process_open((pid_t)raised->pid, &process))
		return;
	memory = memory_open(process);
	/* It is the same process; whether it still has the file there, and not another, its mappings tell. */
	for (size_t i = 0; memory >= 0 && i < process->nmaps; i++) {
		const struct mapping *m = &process->maps[i];

		there |= raised->address >= m->start && raised->address < m->end && counts(m, raised->offset) &&
		         m->inode && m->start + raised->offset - m->offset == raised->address;
	}
	if (there && process_start_time(process->pid) == raised->start_time)
		add(memory, raised->address, -1);
	if (memory >= 0)
		close(memory);
	process_free(process);
}

static void settle_in(struct process *process, const struct semaphore_place *places, size_t n)
{
	int memory = memory_open(process);

	for (size_t i = 0, end; memory >= 0 && i < n; i = end) {
		uint64_t address = kernels_copy(process, places[i].device, places[i].inode, places[i].semaphore_offset);
		uint16_t value;
		int traps = 0;

		for (end = i + 1; end < n && places[end].semaphore_offset == places[i].semaphore_offset; end++)
			;
		if (!address || !value_at(memory, address, &value) || value >= SEMAPHORE_MAX)
			continue;
		for (size_t k = i; k < end; k++)
			traps += traps_at(process, memory, places[k].device, places[k].inode, places[k].offset);
		if (traps > value)
			add(memory, address, traps - value);
	}
	if (memory >= 0)
		close(memory);
}

static int compare_places(const void *a, const void *b)
{
	const struct semaphore_place *x = a, *y = b;
	const uint64_t keys[][2] = { { x->device, y->device }, { x->inode, y->inode },
		                     { (uint64_t)x->pid, (uint64_t)y->pid }, { x->semaphore_offset, y->semaphore_offset } };

	for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++)
		if (keys[i][0] != keys[i][1])
			return keys[i][0] < keys[i][1] ? -1 : 1;
	return 0;
}

void semaphores_settle(struct semaphore_place *places, size_t n)
{
	if (n)
		qsort(places, n, sizeof(*places), compare_places);
	for (size_t i = 0, end; i < n; i = end) {
		struct process **all = NULL, *one = NULL;
		size_t nall = 0;

		for (end = i + 1; end < n && places[end].device == places[i].device && places[end].inode == places[i].inode &&
		                  places[end].pid == places[i].pid; end++)
			;
		if (places[i].pid && !process_open(places[i].pid, &one)) {
			settle_in(one, places + i, end - i);
			process_free(one);
		}
		if (places[i].pid || processes_mapping(places[i].device, places[i].inode, &all, &nall))
			continue;
		for (size_t k = 0; k < nall; k++) {
			settle_in(all[k], places + i, end - i);
			process_free(all[k]);
		}
		free(all);
	}
}
