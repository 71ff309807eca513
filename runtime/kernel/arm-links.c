/* SPDX-License-Identifier: MIT */
/*
 * Links for the points of one image and process.
 *
 * A uprobe-multi link arms all its points or none. If the kernel rejects it,
 *
 * 1. points that have another semaphore than an earlier point at the same offset are refused, because the kernel
 *    accepts one ref_ctr offset per inode and offset (conflicts_refuse);
 * 2. the points that the kernel rejects are found by bisection with temporary links, and refused (bad_points_refuse);
 * 3. the other points are armed.
 *
 * Kernels without uprobe-multi have one link per point.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/array.h"
#include "base/error.h"
#include "runtime/kernel/kernel.h"
#include "runtime/kernel/link.h"
#include "runtime/kernel/semaphore.h"
#include "runtime/process.h"
#include "sdt/image.h"

#define UNPINNED_MAX 256 /* links that are pinned last, all together */

/* ---- arrays ---- */

int link_arrays_init(struct link_arrays *a, size_t room)
{
	a->n = 0;
	a->offsets = calloc(room, sizeof(*a->offsets));
	a->semaphores = calloc(room, sizeof(*a->semaphores));
	a->cookies = calloc(room, sizeof(*a->cookies));
	a->points = calloc(room, sizeof(*a->points));
	if (a->offsets && a->semaphores && a->cookies && a->points)
		return 0;
	link_arrays_release(a);
	return error_nomem();
}

void link_arrays_release(struct link_arrays *a)
{
	free(a->offsets);
	free(a->semaphores);
	free(a->cookies);
	free(a->points);
}

/* Returns the ref_ctr offset of the point's link. 0: the kernel does not raise its semaphore. */
static uint64_t point_ref_ctr(const struct arm_point *point)
{
	return point->site->has_semaphore && !semaphore_by_hand(point->site) ? point->site->semaphore_offset : 0;
}

void link_arrays_add(struct link_arrays *a, struct arm_point *point, uint64_t cookie)
{
	a->offsets[a->n] = arm_point_offset(point);
	a->semaphores[a->n] = point_ref_ctr(point);
	a->cookies[a->n] = cookie;
	a->points[a->n++] = point;
}

static struct link_points link_arrays_part(const struct link_arrays *a, size_t from, size_t n)
{
	return (struct link_points){ n, a->offsets + from, a->semaphores + from, a->cookies + from,
		                     a->points[0]->site->by_return };
}

/* Removes the points that were refused. */
static void link_arrays_keep_good(struct link_arrays *a)
{
	size_t n = 0;

	for (size_t i = 0; i < a->n; i++) {
		if (a->points[i]->error)
			continue;
		a->offsets[n] = a->offsets[i];
		a->semaphores[n] = a->semaphores[i];
		a->cookies[n] = a->cookies[i];
		a->points[n++] = a->points[i];
	}
	a->n = n;
}

/* ---- refused points ---- */

static void point_refuse(struct kernel_attachment *s, struct arm_point *p, int error, const char *reason)
{
	arm_point_refuse(p, error, strdup(reason));
	kernel_switch_off(s, p->point, KERNEL_OFF);
}

static void link_arrays_refuse(struct kernel_attachment *s, struct link_arrays *a, int error, const char *reason)
{
	for (size_t i = 0; i < a->n; i++)
		point_refuse(s, a->points[i], error, reason);
}

/* The program, path and pid of the links that bisection creates. */
struct link_target {
	int prog;
	const char *path;
	pid_t pid;
};

static void bad_points_refuse(struct kernel_attachment *s, struct link_arrays *a, size_t from, size_t n,
                              const struct link_target *target)
{
	struct link_points points = link_arrays_part(a, from, n);
	int fd = link_multi(target->prog, target->path, target->pid, &points);

	if (fd >= 0) {
		link_close(fd);
		return;
	}
	if (n == 1) {
		point_refuse(s, a->points[from], fd, link_reason(fd));
		return;
	}
	bad_points_refuse(s, a, from, n / 2, target);
	bad_points_refuse(s, a, from + n / 2, n - n / 2, target);
}

static int point_compare_offset(const void *a, const void *b)
{
	const struct arm_point *x = *(const struct arm_point *const *)a, *y = *(const struct arm_point *const *)b;

	if (arm_point_offset(x) != arm_point_offset(y))
		return arm_point_offset(x) < arm_point_offset(y) ? -1 : 1;
	return (x > y) - (x < y);
}

static int conflicts_refuse(struct kernel_attachment *s, const struct link_arrays *a)
{
	struct arm_point **sorted = calloc(a->n, sizeof(*sorted));
	char reason[256];

	if (!sorted)
		return error_nomem();
	memcpy(sorted, a->points, a->n * sizeof(*sorted));
	qsort(sorted, a->n, sizeof(*sorted), point_compare_offset);
	for (size_t i = 0, first = 0; i < a->n; i++) {
		const struct pp_probe *probe;

		if (arm_point_offset(sorted[i]) != arm_point_offset(sorted[first]))
			first = i;
		if (point_ref_ctr(sorted[i]) == point_ref_ctr(sorted[first]))
			continue;
		probe = sorted[first]->site->probe;
		snprintf(reason, sizeof(reason),
		         "it is at the same offset as %.64s:%.64s and has another semaphore, but the kernel accepts "
		         "only one; arm one of the two",
		         probe->provider, probe->name);
		point_refuse(s, sorted[i], -EINVAL, reason);
	}
	free(sorted);
	return 0;
}

/* ---- links ---- */

/*
 * Adds a link, which then owns fd. The first UNPINNED_MAX links of an attachment are pinned at the end. Further ones
 * are pinned and closed now, because descriptors are limited.
 */
static int link_add(struct attachment *attachment, int fd, int prog)
{
	struct kernel_attachment *s = attachment->state;
	const struct session_pins *pins = &s->session->pins;
	int i = (int)s->nlinks, number = (int)attachment->number, err;
	struct kernel_link *link;

	if (ALLOC_GROW(s->links, s->nlinks + 1, s->links_room)) {
		link_close(fd);
		return -ENOMEM;
	}
	link = &s->links[s->nlinks++];
	*link = (struct kernel_link){ .fd = fd, .prog_fd = -1 };
	if (!kernel_is_pinned(s)) {
		link->prog_fd = fcntl(prog, F_DUPFD_CLOEXEC, 0);
		return link->prog_fd < 0 ? error_set(errno, "cannot hold %d links: %s", i + 1, strerror(errno)) : 0;
	}
	err = pin_add(pins, prog, "prog", number, i);
	if (err || i < UNPINNED_MAX)
		return err;
	err = pin_add(pins, fd, link_pin_names[0], number, i);
	if (err)
		return err;
	close(fd);
	link->fd = -1;
	return 0;
}

/* Notes in the manifest that the next link has the point. */
static void point_set_link(struct attachment *attachment, const struct arm_point *point)
{
	struct manifest_point *points = (struct manifest_point *)manifest_points(attachment->manifest);

	points[point->point].link = ((const struct kernel_attachment *)attachment->state)->nlinks;
}

/* Returns true if the error concerns some of the points, so that others may be armed. */
static bool error_is_of_points(int err)
{
	return err != -EPERM && err != -ESRCH && err != -EINTR && err != -ENOMEM;
}

static int link_arrays_arm_multi(struct link_arrays *a, struct attachment *attachment, const struct link_target *target)
{
	struct kernel_attachment *s = attachment->state;
	struct link_points points = link_arrays_part(a, 0, a->n);
	int fd = link_multi(target->prog, target->path, target->pid, &points), err;

	if (fd < 0 && error_is_of_points(fd)) {
		err = conflicts_refuse(s, a);
		if (err)
			return err;
		link_arrays_keep_good(a);
		if (a->n)
			bad_points_refuse(s, a, 0, a->n, target);
		link_arrays_keep_good(a);
		if (!a->n)
			return 0;
		points = link_arrays_part(a, 0, a->n);
		fd = link_multi(target->prog, target->path, target->pid, &points);
	}
	if (fd < 0) {
		link_arrays_refuse(s, a, fd, link_reason(fd));
		return 0;
	}
	for (size_t i = 0; i < a->n; i++)
		point_set_link(attachment, a->points[i]);
	return link_add(attachment, fd, target->prog);
}

static int link_arrays_arm_perf(struct link_arrays *a, struct attachment *attachment, const struct link_target *target)
{
	int err = 0;

	for (size_t i = 0; i < a->n && !err; i++) {
		int fd = link_perf(target->prog, target->path, target->pid, a->offsets[i], a->semaphores[i],
		                   a->cookies[i], a->points[i]->site->by_return);

		if (fd < 0) {
			point_refuse(attachment->state, a->points[i], fd, link_reason(fd));
			continue;
		}
		point_set_link(attachment, a->points[i]);
		err = link_add(attachment, fd, target->prog);
	}
	return err;
}

int link_arrays_arm(struct link_arrays *a, struct attachment *attachment, int prog)
{
	const struct pp_image *image = a->points[0]->image;
	const struct process *process = a->points[0]->process;
	struct link_target target = { .prog = prog };
	char path[64];
	int file, err = link_file(image->path, image->device, image->inode, &file, path, sizeof(path));

	if (err) {
		link_arrays_refuse(attachment->state, a, err, pp_error());
		return 0;
	}
	target.path = path;
	/*
	 * The kernel's filter does not match a process whose first thread has exited. The program checks the pid too.
	 */
	target.pid = process && !process->leader_gone ? process->pid : 0;
	err = link_multi_supported() ? link_arrays_arm_multi(a, attachment, &target)
	                             : link_arrays_arm_perf(a, attachment, &target);
	close(file);
	return err;
}
