/* SPDX-License-Identifier: MIT */
#include "runtime/kernel/returns.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/error.h"
#include "runtime/kernel/kernel.h"
#include "runtime/kernel/overhead.h"
#include "runtime/request.h"
#include "sdt/image.h"

/* Attaches a program that abandons the calls of a thread. Returns a link, or a negative errno with an error message. */
static int returns_attach(const struct kernel_returns *r, const char *tracepoint)
{
	struct emit_maps maps = { .calls = r->map, .frames = r->frames, .depth = r->depth };
	struct emitted program;
	int fd = emit_abandon(&maps, &program);

	if (fd)
		return fd;
	fd = tracepoint_attach(tracepoint, program.insns, program.ninsns);
	free(program.insns);
	return fd;
}

/* Creates the hash for calls with a key, if there are any. */
static int returns_open_starts(struct kernel_returns *r, struct arm_point *const *points, size_t npoints,
                               unsigned maxactive)
{
	uint32_t room = maxactive ? maxactive : KERNEL_STARTS_DEFAULT;

	for (size_t i = 0; i < npoints && r->starts < 0; i++) {
		if (points[i]->program->role == SITE_HIT || points[i]->program->match != MATCH_KEY)
			continue;
		r->starts =
			kernel_hash_create("pp_starts", sizeof(struct kernel_start), sizeof(struct kernel_frame), room);
		if (r->starts < 0)
			return r->starts;
	}
	return 0;
}

static int returns_map(struct kernel_returns *r, uint32_t nindices)
{
	r->size = nindices * sizeof(*r->counts);
	r->counts = kernel_map_memory(r->map, r->size);
	return r->counts ? 0 : error_set(errno, "cannot map a BPF map: %s", strerror(errno));
}

/*
 * Creates the task storage of the frames. Reduces their number by a quarter until the kernel can allocate an element,
 * because Linux 7.2 cannot allocate more than about 8 KiB, which only the hits would show otherwise.
 */
static int returns_open_frames(struct kernel_returns *r)
{
	for (;; r->depth -= (r->depth + 3) / 4) {
		uint32_t size = offsetof(struct kernel_frames, frames) + r->depth * sizeof(struct kernel_frame);
		int err;

		r->frames = kernel_task_storage("pp_frames", size);
		if (r->frames < 0)
			return r->frames;
		err = kernel_task_storage_allocates(r->frames, size);
		if (!err)
			return 0;
		close(r->frames);
		r->frames = -1;
		if (r->depth < 2)
			return error_set(-err, "the kernel cannot allocate BPF task storage: %s", strerror(-err));
	}
}

static uint32_t frames_wanted(unsigned maxactive)
{
	if (!maxactive)
		return KERNEL_FRAMES_DEFAULT;
	return maxactive < KERNEL_FRAMES_MAX ? maxactive : KERNEL_FRAMES_MAX;
}

/* Sets how many calls of a thread are seen. Adds a reason if these are fewer than the request allows. */
static void returns_set_depth(const struct kernel_returns *r, struct arm_point *const *points, size_t npoints,
                              unsigned maxactive)
{
	for (size_t i = 0; i < npoints; i++) {
		if (points[i]->site->role != SITE_CALL)
			continue;
		points[i]->calls_per_thread = r->depth;
		if (r->depth < frames_wanted(maxactive) && !points[i]->reason)
			points[i]->reason = error_format("at most %u calls of one thread are seen at a time instead of "
			                                 "%u (--maxactive), because this kernel cannot allocate more",
			                                 r->depth, frames_wanted(maxactive));
	}
}

/* The points of a call are adjacent, its begins first. The first begin is the owner. */
static void returns_set_owners(struct kernel_returns *r, struct arm_point *const *points, size_t npoints,
                               unsigned maxactive)
{
	const struct pp_site *last = NULL; /* the site before */
	uint32_t owner = 0;

	for (size_t i = 0; i < npoints; i++) {
		struct kernel_calls *calls = &r->counts[points[i]->point];
		const struct pp_site *site = points[i]->site;

		if (site->role == SITE_CALL) {
			if (!last || last->role != SITE_CALL || !site->call)
				owner = points[i]->point;
			calls->overhead = (uint64_t)overhead_call_ns(site);
		}
		last = site;
		calls->owner = owner;
		calls->maxactive = maxactive ? maxactive : KERNEL_CALLS_DEFAULT;
	}
}

int returns_open(struct kernel_returns *r, struct arm_point *const *points, size_t npoints, uint32_t nindices,
                 unsigned maxactive)
{
	bool any = false;
	int err;

	for (size_t i = 0; i < npoints; i++)
		any |= points[i]->site->role != SITE_HIT;
	if (!any)
		return 0;
	r->depth = frames_wanted(maxactive);
	r->map = kernel_map_create(BPF_MAP_TYPE_ARRAY, "pp_calls", 4, sizeof(*r->counts), nindices, BPF_F_MMAPABLE);
	if (r->map < 0)
		return r->map;
	err = returns_open_frames(r);
	if (!err)
		err = returns_open_starts(r, points, npoints, maxactive);
	if (!err)
		err = returns_map(r, nindices);
	if (err)
		return err;
	returns_set_depth(r, points, npoints, maxactive);
	returns_set_owners(r, points, npoints, maxactive);
	r->ended_link = returns_attach(r, "sched_process_exit");
	if (r->ended_link < 0)
		return r->ended_link;
	r->executed_link = returns_attach(r, "sched_process_exec");
	return r->executed_link < 0 ? r->executed_link : 0;
}

int returns_pin(const struct kernel_returns *r, const struct session_pins *pins, int attachment, bool links)
{
	int err;

	if (r->map < 0)
		return 0;
	err = pin_add(pins, r->map, "calls", attachment, -1);
	if (err || !links)
		return err;
	err = pin_add(pins, r->ended_link, "ended", attachment, -1);
	return err ? err : pin_add(pins, r->executed_link, "executed", attachment, -1);
}

int returns_get(struct kernel_returns *r, const struct session_pins *pins, int attachment, uint32_t nindices)
{
	struct bpf_map_info info = { 0 };
	uint32_t size = sizeof(info);

	r->map = pin_get(pins, "calls", attachment, -1);
	if (r->map == -ENOENT)
		return 0;
	if (r->map < 0)
		return error_set(-r->map, "cannot open '%s': %s", pin_path(pins, "calls", attachment, -1),
		                 strerror(-r->map));
	if (bpf_obj_get_info_by_fd(r->map, &info, &size) || info.type != BPF_MAP_TYPE_ARRAY ||
	    info.value_size != sizeof(*r->counts) || info.max_entries != nindices || !(info.map_flags & BPF_F_MMAPABLE))
		return error_set(EBADMSG, "'%s' has another size than the manifest says",
		                 pin_path(pins, "calls", attachment, -1));
	return returns_map(r, nindices);
}

void returns_unpin(const struct session_pins *pins, int attachment)
{
	pin_unlink(pins, "ended", attachment, -1);
	pin_unlink(pins, "executed", attachment, -1);
	pin_unlink(pins, "calls", attachment, -1);
}

void returns_close_links(struct kernel_returns *r)
{
	kernel_fd_close(&r->ended_link);
	kernel_fd_close(&r->executed_link);
	kernel_fd_close(&r->frames);
	kernel_fd_close(&r->starts);
}

void returns_close(struct kernel_returns *r)
{
	if (r->counts)
		munmap(r->counts, r->size);
	r->counts = NULL;
	returns_close_links(r);
	kernel_fd_close(&r->map);
}

void returns_begin(const struct kernel_returns *r, struct arm_point *const *points, size_t npoints)
{
	for (size_t i = 0; i < npoints && r->counts; i++)
		if (!points[i]->error && points[i]->program->role == SITE_LEAVE)
			__atomic_store_n(&r->counts[points[i]->point].missed, 0, __ATOMIC_RELAXED);
}

void returns_counts(const struct kernel_returns *r, uint32_t point, bool begins, struct pp_counts *counts)
{
	const struct kernel_calls *c = &r->counts[point];

	if (!r->counts)
		return;
	if (!begins) {
		counts->unmatched = __atomic_load_n(&c->missed, __ATOMIC_RELAXED);
		return;
	}
	counts->missed = __atomic_load_n(&c->missed, __ATOMIC_RELAXED);
	counts->under_way = __atomic_load_n(&c->active, __ATOMIC_RELAXED);
	counts->abandoned = __atomic_load_n(&c->abandoned, __ATOMIC_RELAXED);
}
