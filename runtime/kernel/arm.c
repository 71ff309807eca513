/* SPDX-License-Identifier: MIT */
/*
 * Arming through the kernel.
 *
 * The points of an attachment are spread over BPF programs (as many fetch programs in
 * each as its size allows) and these over links: one for each program, image and
 * process. Of a new attachment the links are pinned last, so that most often one act
 * makes it stay. All up to then goes away with this process's descriptors, or by
 * the next command's look at the store.
 */
#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/kernel/kernel.h"
#include "runtime/kernel/link.h"
#include "runtime/process.h"
#include "runtime/kernel/semaphore.h"
#include "runtime/kernel/verify.h"
#include "base/error.h"
#include "sdt/image.h"

#define HELD_MAX 256 /* links that are pinned last, all together */

static struct manifest_point *point_of(const struct attachment *attachment, uint32_t i)
{
	return (struct manifest_point *)manifest_points(attachment->manifest) + i;
}

static void refuse(struct kernel_attachment *s, struct arm_point *p, int error, const char *reason)
{
	p->error = error;
	free(p->reason);
	p->reason = strdup(reason);
	kernel_switch_off(s, p->point, KERNEL_OFF);
}

/* ---- links --------------------------------------------------------------------- */

struct link_arrays {
	uint64_t *offsets, *semaphores, *cookies;
	struct arm_point **points;
	size_t n;
};

static int arrays_init(struct link_arrays *a, size_t room)
{
	a->n = 0;
	a->offsets = calloc(room, sizeof(*a->offsets));
	a->semaphores = calloc(room, sizeof(*a->semaphores));
	a->cookies = calloc(room, sizeof(*a->cookies));
	a->points = calloc(room, sizeof(*a->points));
	return a->offsets && a->semaphores && a->cookies && a->points ? 0 : error_nomem();
}

static void arrays_release(struct link_arrays *a)
{
	free(a->offsets);
	free(a->semaphores);
	free(a->cookies);
	free(a->points);
}

static struct link_points part(const struct link_arrays *a, size_t from, size_t n)
{
	return (struct link_points){ n, a->offsets + from, a->semaphores + from, a->cookies + from };
}

/* One link takes all its points or none: finds those that it would not, by halves, with links of no use. */
static void find_bad(struct kernel_attachment *s, struct link_arrays *a, size_t from, size_t n, int prog,
                     const char *path, pid_t pid)
{
	struct link_points points = part(a, from, n);
	int fd = link_multi(prog, path, pid, &points);

	if (fd >= 0) {
		link_close(fd);
		return;
	}
	if (n == 1) {
		refuse(s, a->points[from], fd, link_reason(fd));
		return;
	}
	find_bad(s, a, from, n / 2, prog, path, pid);
	find_bad(s, a, from + n / 2, n - n / 2, prog, path, pid);
}

static int by_place(const void *a, const void *b)
{
	const struct arm_point *x = *(const struct arm_point *const *)a, *y = *(const struct arm_point *const *)b;

	if (x->site->offset != y->site->offset)
		return x->site->offset < y->site->offset ? -1 : 1;
	return (x > y) - (x < y);
}

static uint64_t semaphore_of(const struct arm_point *point)
{
	return point->site->has_semaphore && !semaphore_by_hand(point->site) ? point->site->semaphore_offset : 0;
}

/* The kernel takes one semaphore a place. Each of two that differ would be taken alone: the first one is. */
static int refuse_conflicts(struct kernel_attachment *s, const struct link_arrays *a)
{
	struct arm_point **sorted = calloc(a->n, sizeof(*sorted));
	char reason[256];

	if (!sorted)
		return error_nomem();
	memcpy(sorted, a->points, a->n * sizeof(*sorted));
	qsort(sorted, a->n, sizeof(*sorted), by_place);
	for (size_t i = 0, first = 0; i < a->n; i++) {
		const struct pp_probe *probe;

		if (sorted[i]->site->offset != sorted[first]->site->offset)
			first = i;
		if (semaphore_of(sorted[i]) == semaphore_of(sorted[first]))
			continue;
		probe = sorted[first]->site->probe;
		snprintf(reason, sizeof(reason),
		         "it is at the same place as %.64s:%.64s and has another semaphore, and the "
		         "kernel takes one there: arm one or the other",
		         probe->provider, probe->name);
		refuse(s, sorted[i], -EINVAL, reason);
	}
	free(sorted);
	return 0;
}

static void keep_good(struct link_arrays *a)
{
	size_t n = 0;

	for (size_t i = 0; i < a->n; i++)
		if (!a->points[i]->error) {
			a->offsets[n] = a->offsets[i];
			a->semaphores[n] = a->semaphores[i];
			a->cookies[n] = a->cookies[i];
			a->points[n++] = a->points[i];
		}
	a->n = n;
}

/* Takes fd over. Where there are many, their pins hold them at once: descriptors are few. */
static int add_link(struct kernel_attachment *s, const struct attachment *attachment, int fd, int prog)
{
	const struct store *store = &s->session->store;
	struct kernel_link *more = realloc(s->links, (s->nlinks + 1) * sizeof(*more)), *link;
	int i = (int)s->nlinks, number = (int)attachment->number, err = 0;

	if (!more) {
		link_close(fd);
		return error_nomem();
	}
	s->links = more;
	link = &more[s->nlinks++];
	*link = (struct kernel_link){ .fd = fd, .prog_fd = -1 };
	if (!kernel_is_pinned(s)) {
		link->prog_fd = fcntl(prog, F_DUPFD_CLOEXEC, 0);
		return link->prog_fd < 0 ? error_set(errno, "cannot hold %d links: %s", i + 1, strerror(errno)) : 0;
	}
	err = store_pin(store, prog, "prog", number, i);
	if (!err && i >= HELD_MAX) {
		err = store_pin(store, fd, link_sides[0], number, i);
		if (!err) {
			close(fd);
			link->fd = -1;
		}
	}
	return err;
}

/* Arms points of one image and process by one program. */
static int arm_link(struct kernel_attachment *s, struct attachment *attachment, struct link_arrays *a, int prog)
{
	const struct pp_image *image = a->points[0]->image;
	const struct process *process = a->points[0]->process;
	pid_t pid = process ? process->pid : 0;
	/* A first thread that has exited hides its process from the kernel's filter; the program has its own. */
	pid_t filter = process && !process->leader_gone ? pid : 0;
	char path[64];
	int file, fd, err = link_file(image->path, image->device, image->inode, &file, path, sizeof(path));

	if (err) {
		for (size_t i = 0; i < a->n; i++)
			refuse(s, a->points[i], err, pp_error());
		return 0;
	}
	if (link_multi_supported()) {
		struct link_points points = part(a, 0, a->n);

		fd = link_multi(prog, path, filter, &points);
		if (fd < 0 && fd != -EPERM && fd != -ESRCH && fd != -EINTR && fd != -ENOMEM) {
			err = refuse_conflicts(s, a);
			keep_good(a);
			if (!err && a->n)
				find_bad(s, a, 0, a->n, prog, path, filter);
			keep_good(a);
			points = part(a, 0, a->n);
			fd = err ? err : a->n ? link_multi(prog, path, filter, &points) : -ENOENT;
		}
		for (size_t i = 0; i < a->n; i++) {
			if (fd < 0)
				refuse(s, a->points[i], fd, link_reason(fd));
			point_of(attachment, a->points[i]->point)->link = s->nlinks;
		}
		if (fd >= 0)
			err = add_link(s, attachment, fd, prog);
	} else {
		for (size_t i = 0; i < a->n && !err; i++) {
			fd = link_perf(prog, path, filter, a->offsets[i], a->semaphores[i], a->cookies[i]);
			if (fd < 0) {
				refuse(s, a->points[i], fd, link_reason(fd));
				continue;
			}
			point_of(attachment, a->points[i]->point)->link = s->nlinks;
			err = add_link(s, attachment, fd, prog);
		}
	}
	close(file);
	return err;
}

/* ---- arming ---------------------------------------------------------------------- */

/*
 * Sorts by role: if a function is left at its first instruction, the call must begin before it ends, and the kernel
 * runs the program of the later of two links first.
 */
static int compare_programs(const void *a, const void *b)
{
	const struct fetch_program *x = *(const struct fetch_program *const *)a,
				   *y = *(const struct fetch_program *const *)b;

	if (x->role != y->role)
		return y->role - x->role;
	return (uintptr_t)x < (uintptr_t)y ? -1 : (uintptr_t)x > (uintptr_t)y;
}

/* The different fetch programs of the points, sorted. */
static const struct fetch_program **distinct(struct arm_point *const *points, size_t n, size_t *count)
{
	const struct fetch_program **all = calloc(n + 1, sizeof(*all));
	size_t have = 0;

	if (!all)
		return NULL;
	for (size_t i = 0; i < n; i++)
		if (!points[i]->error && (!have || all[have - 1] != points[i]->program))
			all[have++] = points[i]->program;
	qsort(all, have, sizeof(*all), compare_programs);
	*count = 0;
	for (size_t i = 0; i < have; i++)
		if (!*count || all[*count - 1] != all[i])
			all[(*count)++] = all[i];
	return all;
}

static size_t index_of(const struct fetch_program *const *all, size_t n, const struct fetch_program *program)
{
	size_t low = 0;

	while (n > 1) {
		size_t half = n / 2;

		if (compare_programs(&all[low + half], &program) <= 0)
			low += half;
		n -= half;
	}
	return low;
}

static int load_program(struct kernel_attachment *s, uint32_t number, const struct fetch_program *const *programs,
                        size_t n)
{
	struct kernel_session *k = s->session;
	struct emit_maps maps = { .config = k->config_fd,
		                  .ring = k->ring_fd,
		                  .counts = s->counts_fd,
		                  .mark = k->mark_fd,
		                  .overlap = s->switch_fd,
		                  .scratch = k->scratch_fd,
		                  .members = &s->members,
		                  .processes = s->processes_fd,
		                  .calls = s->calls.map,
		                  .frames = s->calls.frames,
		                  .depth = s->calls.depth };
	struct emitted emitted;
	int fd = emit_program(programs, n, &maps, number, s->shards, &emitted);

	if (fd)
		return fd;
	fd = link_program(emitted.insns, emitted.ninsns);
	free(emitted.insns);
	return fd;
}

/* All points whose programs are all[from .. from + n - 1]; which[i] is point i's. */
static int arm_chunk(struct pp_session *session, struct attachment *attachment, struct arm_point *const *points,
                     size_t npoints, const struct fetch_program *const *all, const size_t *which, size_t from, size_t n)
{
	struct kernel_attachment *s = attachment->state;
	struct link_arrays a;
	int prog = load_program(s, attachment->number, all + from, n), err = prog < 0 ? prog : arrays_init(&a, npoints);

	if (err) {
		if (prog >= 0)
			close(prog);
		return err;
	}
	for (size_t i = 0; i <= npoints && !err; i++) {
		if (a.n && (i == npoints || points[i]->image != a.points[0]->image ||
		            points[i]->process != a.points[0]->process)) {
			err = session_interrupted(session) ? error_set(EINTR, "interrupted")
			                                   : arm_link(s, attachment, &a, prog);
			a.n = 0;
		}
		if (i == npoints || points[i]->error)
			continue;

		size_t spec = which[i] - from;

		if (spec >= n)
			continue;
		point_of(attachment, points[i]->point)->spec = spec;
		a.offsets[a.n] = points[i]->site->offset;
		a.semaphores[a.n] = semaphore_of(points[i]);
		a.cookies[a.n] =
			cookie_make(points[i]->point, spec, points[i]->process ? points[i]->process->pid : 0, 0);
		a.points[a.n++] = points[i];
	}
	arrays_release(&a);
	close(prog);
	return err;
}

/* The links last: until all of them are pinned the attachment is not whole, and a look at the store removes it. */
static int pin_all(struct kernel_attachment *s, struct attachment *attachment)
{
	struct kernel_session *k = s->session;
	int n = (int)attachment->number, err;

	err = store_pin(&k->store, s->counts_fd, "counts", n, -1);
	if (!err)
		err = store_pin(&k->store, s->switch_fd, "switch", n, -1);
	if (!err && s->processes_fd >= 0)
		err = store_pin(&k->store, s->processes_fd, "processes", n, -1);
	if (!err && s->members.fork_link >= 0 && !s->held)
		err = store_pin(&k->store, s->members.fork_link, "fork", n, -1);
	if (!err && s->members.exit_link >= 0 && !s->held)
		err = store_pin(&k->store, s->members.exit_link, "exit", n, -1);
	if (!err)
		err = calls_pin(&s->calls, &k->store, n, !s->held);
	if (!err && s->held)
		err = kernel_hold_begin(s, n);
	if (!err)
		err = kernel_desc_pin(k, attachment->manifest);
	for (size_t i = 0; i < s->nlinks && !err; i++)
		if (s->links[i].fd >= 0 && !s->held)
			err = store_pin(&k->store, s->links[i].fd, link_sides[0], n, (int)i);
	return err;
}

int kernel_arm(struct pp_session *session, struct attachment *attachment, struct arm_point *const *points,
               size_t npoints, const struct arm_options *options)
{
	struct kernel_session *k = kernel_of(session);
	struct kernel_attachment *s = calloc(1, sizeof(*s));
	const struct fetch_program **all = NULL;
	size_t nall = 0, armed = 0, *which = NULL;
	int err;

	if (!s)
		return error_nomem();
	s->session = k;
	s->counts_fd = s->switch_fd = s->processes_fd = s->raised_fd = -1;
	s->members.map = s->members.fork_link = s->members.exit_link = -1;
	s->calls = CALLS_NONE;
	s->held = options->hold && k->store.dir >= 0;
	s->hold_fd = -1;
	attachment->state = s;
	if (attachment->manifest->npoints >= 1u << COOKIE_POINT_BITS)
		err = error_set(E2BIG, "%u points are more than one call arms", attachment->manifest->npoints);
	else
		err = kernel_attachment_maps_create(s, attachment->manifest->npoints, !points[0]->process);
	if (!err)
		err = members_open(&s->members, options->scope);
	if (!err)
		err = calls_open(&s->calls, points, npoints, attachment->manifest->npoints, options->maxactive);
	if (!err && (!(all = distinct(points, npoints, &nall)) || !(which = calloc(npoints, sizeof(*which)))))
		err = error_nomem();
	if (!err) {
		s->change->limit = (uint64_t)(options->budget * KERNEL_SHARE + 0.5);
		s->change->unseen = options->scope->kind != SCOPE_PROCESSES;
		for (size_t i = 0; i < npoints; i++)
			s->change->unseen |= points[i]->process && points[i]->process->leader_gone;
	}
	for (size_t i = 0; i < npoints && !err; i++) {
		if (points[i]->error)
			kernel_switch_off(s, points[i]->point, KERNEL_OFF);
		else if (i && !points[i - 1]->error && points[i]->program == points[i - 1]->program)
			which[i] = which[i - 1];
		else
			which[i] = index_of(all, nall, points[i]->program);
	}
	for (size_t from = 0, n; from < nall && !err; from += n) {
		size_t cost = 500;

		for (n = 0; from + n < nall && n < 1u << COOKIE_SPEC_BITS; n++) {
			cost += emit_cost(all[from + n]);
			if (n && (cost > EMIT_INSNS_MAX || all[from + n]->role != all[from]->role))
				break;
		}
		err = arm_chunk(session, attachment, points, npoints, all, which, from, n);
	}
	free(all);
	free(which);
	for (size_t i = 0; i < npoints; i++)
		armed += !points[i]->error;
	if (!err && !armed)
		err = error_set(-points[0]->error, "%s",
		                points[0]->reason ? points[0]->reason : strerror(-points[0]->error));
	if (!err && session_interrupted(session))
		err = error_set(EINTR, "interrupted");
	if (!err)
		err = pin_all(s, attachment);
	if (err) {
		kernel_unpin(s, attachment);
		kernel_attachment_close(s);
		attachment->state = NULL;
		return err;
	}
	if (kernel_is_pinned(s)) {
		members_close(&s->members);
		calls_unhook(&s->calls);
	}
	for (size_t i = 0; i < s->nlinks && kernel_is_pinned(s); i++) {
		if (s->links[i].fd >= 0)
			close(s->links[i].fd);
		s->links[i].fd = -1;
	}
	return 0;
}
