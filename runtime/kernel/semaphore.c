/* SPDX-License-Identifier: MIT */
#include "runtime/kernel/semaphore.h"

#include <elf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "runtime/armed.h"
#include "runtime/kernel/semaphore-memory.h"
#include "runtime/point.h"
#include "runtime/process.h"
#include "runtime/session.h"
#include "sdt/image.h"

bool semaphore_by_hand(const struct pp_site *site)
{
	const struct pp_image *image = site->probe->image;
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), at = site->semaphore_offset;

	if (!site->has_semaphore)
		return site->semaphore_in_bss;
	/* The first writable segment whose pages contain the offset is the one whose mapping the kernel finds. */
	for (size_t i = 0; i < image->nsegments; i++) {
		const struct image_segment *s = &image->segments[i];

		if ((s->flags & PF_W) && s->filesz && at >= (s->offset & -page) &&
		    at < ((s->offset + s->filesz + page - 1) & -page))
			return s->address + (at - s->offset) != site->semaphore;
	}
	return false;
}

uint64_t semaphore_key(const struct pp_site *site)
{
	if (semaphore_by_hand(site))
		return MANIFEST_BY_HAND | site->semaphore;
	return site->has_semaphore ? site->semaphore_offset : 0;
}

/* ---- the maximum ---- */

/* The points that are armed now. */
struct armed_now {
	const struct pp_session *session;
	struct pp_armed *others; /* of other sessions */
	struct registry own;
	bool read;
};

static int armed_now_read(struct armed_now *now)
{
	int err;

	if (now->read)
		return 0;
	now->read = true;
	err = registry_add_session(&now->own, now->session, 0);
	if (err)
		return err;
	if (armed_read(&now->others, now->session->name))
		now->others = NULL;
	return 0;
}

static bool site_is_armed(struct armed_now *now, const struct pp_image *image, const struct pp_site *site)
{
	size_t n;

	return registry_find(&now->own, image->real_device, image->real_inode, site->offset, &n) ||
	       (now->others && pp_armed_session(now->others, image, site, 0));
}

static bool site_has_semaphore(const struct pp_site *site, uint64_t semaphore)
{
	return site->has_semaphore && site->semaphore_offset == semaphore;
}

/* Returns the number of sites that have the semaphore; if now is not NULL, only of armed sites. */
static size_t semaphore_count_sites(const struct pp_image *image, uint64_t semaphore, struct armed_now *now)
{
	size_t n = 0;

	for (size_t p = 0; p < image->nprobes; p++)
		for (size_t i = 0; i < image->probes[p].nsites; i++) {
			const struct pp_site *site = &image->probes[p].sites[i];

			n += site_has_semaphore(site, semaphore) && (!now || site_is_armed(now, image, site));
		}
	return n;
}

static void semaphore_refuse_above_max(struct armed_now *now, struct arm_point *const *points, size_t n,
                                       uint64_t semaphore)
{
	const struct pp_image *image = points[0]->image;
	size_t count = semaphore_count_sites(image, semaphore, now);

	for (size_t i = 0; i < n; i++) {
		struct arm_point *point = points[i];

		if (point->error || !site_has_semaphore(point->site, semaphore) ||
		    site_is_armed(now, image, point->site) || ++count <= SEMAPHORE_MAX)
			continue;
		arm_point_refuse(point, -EOVERFLOW,
		                 error_format("its semaphore counts at most %d armed sites, which are armed already",
		                              SEMAPHORE_MAX));
	}
}

int semaphores_check(const struct pp_session *session, struct arm_point *const *points, size_t n)
{
	struct armed_now now = { .session = session };
	int err = 0;

	for (size_t i = 0, end; i < n && !err; i = end) {
		uint64_t last = 0;

		end = i + arm_points_run(points + i, n - i);
		for (size_t k = i; k < end && !err; k++) {
			const struct pp_site *site = points[k]->site;

			/*
			 * Points of one semaphore are usually adjacent. A site counts once, however many sessions arm
			 * it, so an image with fewer sites cannot exceed the maximum.
			 */
			if (!site->has_semaphore || site->semaphore_offset == last)
				continue;
			last = site->semaphore_offset;
			if (semaphore_count_sites(points[i]->image, last, NULL) <= SEMAPHORE_MAX)
				continue;
			err = armed_now_read(&now);
			if (!err)
				semaphore_refuse_above_max(&now, points + i, end - i, last);
		}
	}
	registry_release(&now.own);
	pp_armed_free(now.others);
	return err;
}

/* ---- before links are removed ---- */

static void settle_in(struct process *process, const struct semaphore_place *places, size_t n)
{
	int memory = semaphore_memory_open(process);

	for (size_t i = 0, end; memory >= 0 && i < n; i = end) {
		const struct semaphore_place *first = &places[i];
		uint64_t address = semaphore_kernel_copy(process, first->device, first->inode, first->semaphore_offset);
		uint16_t value;
		int traps = 0;

		end = i + 1;
		while (end < n && places[end].semaphore_offset == first->semaphore_offset)
			end++;
		if (!address || !semaphore_read(memory, address, &value) || value >= SEMAPHORE_MAX)
			continue;
		for (size_t k = i; k < end; k++)
			traps += semaphore_breakpoints(process, memory, places[k].device, places[k].inode,
			                               places[k].offset);
		if (traps > value)
			semaphore_add(memory, address, traps - value);
	}
	if (memory >= 0)
		close(memory);
}

static int place_compare(const void *a, const void *b)
{
	const struct semaphore_place *x = a, *y = b;
	const uint64_t keys[][2] = { { x->device, y->device },
		                     { x->inode, y->inode },
		                     { (uint64_t)x->pid, (uint64_t)y->pid },
		                     { x->semaphore_offset, y->semaphore_offset } };

	for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++)
		if (keys[i][0] != keys[i][1])
			return keys[i][0] < keys[i][1] ? -1 : 1;
	return 0;
}

/* Settles the places, which have one file and one process or every process. */
static void settle_places(const struct semaphore_place *places, size_t n)
{
	struct process **all = NULL, *one = NULL;
	size_t nall = 0;

	if (places->pid) {
		if (process_open(places->pid, &one))
			return;
		settle_in(one, places, n);
		process_free(one);
		return;
	}
	if (processes_mapping(places->device, places->inode, &all, &nall))
		return;
	for (size_t k = 0; k < nall; k++) {
		settle_in(all[k], places, n);
		process_free(all[k]);
	}
	free(all);
}

void semaphores_settle(struct semaphore_place *places, size_t n)
{
	if (n)
		qsort(places, n, sizeof(*places), place_compare);
	for (size_t i = 0, end; i < n; i = end) {
		end = i + 1;
		while (end < n && places[end].device == places[i].device && places[end].inode == places[i].inode &&
		       places[end].pid == places[i].pid)
			end++;
		settle_places(places + i, end - i);
	}
}
