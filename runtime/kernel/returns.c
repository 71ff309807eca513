/* SPDX-License-Identifier: MIT */
#include "runtime/kernel/returns.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "runtime/kernel/overhead.h"
#include "runtime/kernel/kernel.h"
#include "base/error.h"
#include "sdt/image.h"

static int hook(const struct calls *calls, const char *tracepoint)
{
	struct emit_maps maps = { .calls = calls->map, .frames = calls->frames, .depth = calls->depth };
	struct emitted emitted;
	int fd = emit_abandon(&maps, &emitted);

	if (fd)
		return fd;
	fd = tracepoint_attach(tracepoint, emitted.insns, emitted.ninsns);
	free(emitted.insns);
	return fd;
}

static int map(struct calls *calls, uint32_t nindices)
{
	calls->size = nindices * sizeof(*calls->counts);
	calls->counts = kernel_map_memory(calls->map, calls->size);
	return calls->counts ? 0 : error_set(errno, "cannot map a BPF map: %s", strerror(errno));
}

/*
 * Makes the frames' task storage, with a quarter fewer frames until the kernel allocates them: Linux 7.2 has no room for
 * a value of more than about 8 KiB, which would show at the hits only. Returns 0 or a negative errno.
 */
static int frames_open(struct calls *calls)
{
	for (;; calls->depth -= (calls->depth + 3) / 4) {
		int err;

		calls->frames = kernel_task_storage("pp_frames", offsetof(struct kernel_frames, frames) +
		                                                         calls->depth * sizeof(struct kernel_frame));
		if (calls->frames < 0)
			return calls->frames;
		err = kernel_task_storage_allocates(calls->frames, offsetof(struct kernel_frames, frames) +
		                                                           calls->depth * sizeof(struct kernel_frame));
		if (!err)
			return 0;
		close(calls->frames);
		calls->frames = -1;
		if (calls->depth < 2)
			return error_set(-err, "the kernel allocates no BPF task storage: %s", strerror(-err));
	}
}

int calls_open(struct calls *calls, struct arm_point *const *points, size_t npoints, uint32_t nindices, unsigned maxactive)
{
	bool any = false;
	uint32_t owner = 0;
	int err;

	for (size_t i = 0; i < npoints; i++)
		any |= points[i]->site->role != SITE_HIT;
	if (!any)
		return 0;
	calls->depth = maxactive < KERNEL_FRAMES_MAX ? maxactive : KERNEL_FRAMES_MAX;
	calls->map =
		kernel_map_create(BPF_MAP_TYPE_ARRAY, "pp_calls", 4, sizeof(*calls->counts), nindices, BPF_F_MMAPABLE);
	if (calls->map < 0)
		return calls->map;
	err = frames_open(calls);
	if (!err)
		err = map(calls, nindices);
	if (err)
		return err;
	for (size_t i = 0; i < npoints; i++) {
		if (points[i]->site->role != SITE_CALL)
			continue;
		points[i]->calls_per_thread = calls->depth;
		if (calls->depth < maxactive && calls->depth < KERNEL_FRAMES_MAX && !points[i]->reason)
			points[i]->reason =
				error_format("at most %u calls of one thread are seen at a time, because this "
			                       "kernel has no room for more; --maxactive asks for %u",
			                       calls->depth, maxactive);
	}
	/* The points of a function stand together, its entry first. */
	for (size_t i = 0; i < npoints; i++) {
		struct kernel_calls *c = &calls->counts[points[i]->point];

		if (points[i]->site->role == SITE_CALL)
			owner = points[i]->point;
		c->owner = owner;
		c->maxactive = maxactive;
		if (points[i]->site->role == SITE_CALL)
			c->overhead = (uint64_t)cost_call(points[i]->site);
	}
	calls->ended_link = hook(calls, "sched_process_exit");
	if (calls->ended_link < 0)
		return calls->ended_link;
	calls->executed_link = hook(calls, "sched_process_exec");
	return calls->executed_link < 0 ? calls->executed_link : 0;
}

int calls_pin(const struct calls *calls, const struct store *store, int attachment, bool links)
{
	int err;

	if (calls->map < 0)
		return 0;
	err = store_pin(store, calls->map, "calls", attachment, -1);
	if (!err && links)
		err = store_pin(store, calls->ended_link, "ended", attachment, -1);
	return err || !links ? err : store_pin(store, calls->executed_link, "executed", attachment, -1);
}

int calls_get(struct calls *calls, const struct store *store, int attachment, uint32_t nindices)
{
	struct bpf_map_info info = { 0 };
	uint32_t size = sizeof(info);

	calls->map = store_get(store, "calls", attachment, -1);
	if (calls->map == -ENOENT)
		return 0;
	if (calls->map < 0)
		return error_set(-calls->map, "%s: %s", store_path(store, "calls", attachment, -1),
		                 strerror(-calls->map));
	if (bpf_obj_get_info_by_fd(calls->map, &info, &size) || info.type != BPF_MAP_TYPE_ARRAY ||
	    info.value_size != sizeof(*calls->counts) || info.max_entries != nindices ||
	    !(info.map_flags & BPF_F_MMAPABLE))
		return error_set(EBADMSG, "%s has not the size that its description says",
		                 store_path(store, "calls", attachment, -1));
	return map(calls, nindices);
}

void calls_unpin(const struct store *store, int attachment)
{
	store_unlink(store, "ended", attachment, -1);
	store_unlink(store, "executed", attachment, -1);
	store_unlink(store, "calls", attachment, -1);
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

void calls_unhook(struct calls *calls)
{
	close_fd(&calls->ended_link);
	close_fd(&calls->executed_link);
	close_fd(&calls->frames);
}

void calls_close(struct calls *calls)
{
	if (calls->counts)
		munmap(calls->counts, calls->size);
	calls->counts = NULL;
	calls_unhook(calls);
	close_fd(&calls->map);
}

void calls_counts(const struct calls *calls, uint32_t point, struct pp_counts *counts)
{
	const struct kernel_calls *c = &calls->counts[point];

	if (!calls->counts)
		return;
	counts->missed = __atomic_load_n(&c->missed, __ATOMIC_RELAXED);
	counts->under_way = __atomic_load_n(&c->active, __ATOMIC_RELAXED);
	counts->abandoned = __atomic_load_n(&c->abandoned, __ATOMIC_RELAXED);
}
