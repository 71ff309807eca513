/* SPDX-License-Identifier: MIT */
/*
 * Arming and disarming through the kernel.
 *
 * The points of a segment are spread over BPF programs (as many fetch programs in
 * each as its size allows) and these over links: one for each program, image and
 * process. Of a new segment the links are pinned last, so that most often one act
 * makes it stay. All up to then goes away with this process's descriptors, or by
 * the next command's look at the store.
 *
 * A link cannot be changed. Taking points out of one switches them off in their
 * counters at once; then another link is made for those that remain, and takes
 * over: while both live, the map `switch` says so, and the programs see to it that
 * a hit is counted once (emit.c). Switch and pins tell how far this has come, so
 * the next command can finish what a killed one left.
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
#include "runtime/verify.h"
#include "sdt/error.h"
#include "sdt/image.h"

#define ENOTSUPP 524 /* the kernel's own, in no header for programs */

static struct desc_point *point_of(const struct segment *segment, uint32_t i)
{
	return (struct desc_point *)desc_points(segment->desc) + i;
}

bool kernel_armed(const struct segment *segment, uint32_t point)
{
	const struct kernel_segment *s = segment->state;

	return !s->counts[(size_t)point * s->shards].off;
}

static void switch_off(struct kernel_segment *s, uint32_t point)
{
	for (unsigned i = 0; i < s->shards; i++)
		__atomic_store_n(&s->counts[(size_t)point * s->shards + i].off, 1, __ATOMIC_RELEASE);
}

static void refuse(struct kernel_segment *s, struct arm_point *p, int error, const char *reason)
{
	p->error = error;
	free(p->reason);
	p->reason = strdup(reason);
	switch_off(s, p->point);
}

/* ---- links --------------------------------------------------------------------- */

/* The same file that the description names, as a path for the kernel; *fd keeps it. */
static int open_same(const char *path, dev_t device, ino_t inode, int *fd, char *kernel_path, size_t room)
{
	struct stat st;

	*fd = open(path, O_RDONLY | O_CLOEXEC);
	if (*fd < 0)
		return error_set(errno, "%s: %s", path, strerror(errno));
	if (fstat(*fd, &st) || st.st_dev != device || st.st_ino != inode) {
		close(*fd);
		return error_set(ESTALE, "%s was replaced by another file meanwhile: look at it again", path);
	}
	snprintf(kernel_path, room, "/proc/self/fd/%d", *fd);
	return 0;
}

static const char *link_reason(int err)
{
	switch (-err) {
	case ENOTSUPP: return "the kernel cannot step over the instruction there, or it is a trap";
	case EINVAL: return "the kernel refuses this place (its semaphore is in use with another address, or it is past "
		            "the end)";
	case EIO: return "its file system has no page cache: the kernel arms nothing there";
	case EPERM: case EACCES: return "this user may not arm: root, or CAP_BPF and CAP_PERFMON, is needed";
	case ESRCH: return "the process has ended";
	case EFBIG: return "its semaphore is too far into the file for this kernel";
	case ENODEV: return "this kernel has no uprobes";
	case EINTR: return "interrupted";
	default: return strerror(-err);
	}
}

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
	return a->offsets && a->semaphores && a->cookies && a->points ? 0 : error_set(ENOMEM, "out of memory");
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
static void find_bad(struct kernel_segment *s, struct link_arrays *a, size_t from, size_t n, int prog, const char *path,
                     pid_t pid)
{
	struct link_points points = part(a, from, n);
	int fd = link_multi(prog, path, pid, &points);

	if (fd >= 0) {
		close(fd);
		return;
	}
	if (n == 1) {
		refuse(s, a->points[from], fd, link_reason(fd));
		return;
	}
	find_bad(s, a, from, n / 2, prog, path, pid);
	find_bad(s, a, from + n / 2, n - n / 2, prog, path, pid);
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

static int add_link(struct kernel_segment *s, int fd, int prog)
{
	struct kernel_link *more = realloc(s->links, (s->nlinks + 1) * sizeof(*more));
	int copy = more ? fcntl(prog, F_DUPFD_CLOEXEC, 0) : -1;

	if (!more || copy < 0) {
		close(fd);
		s->links = more ? more : s->links;
		return error_set(ENOMEM, "out of memory");
	}
	s->links = more;
	more[s->nlinks++] = (struct kernel_link){ .fd = fd, .prog_fd = copy };
	return 0;
}

/* Arms points of one image and process by one program. */
static int arm_link(struct kernel_segment *s, struct segment *segment, struct link_arrays *a, int prog)
{
	const struct pp_image *image = a->points[0]->image;
	const struct process *process = a->points[0]->process;
	pid_t pid = process ? process->pid : 0;
	/* A first thread that has exited hides its process from the kernel's filter; the program has its own. */
	pid_t filter = process && !process->leader_gone ? pid : 0;
	char path[64];
	int file, fd, err = open_same(image->path, image->device, image->inode, &file, path, sizeof(path));

	if (err) {
		for (size_t i = 0; i < a->n; i++)
			refuse(s, a->points[i], err, pp_error());
		return 0;
	}
	if (link_multi_supported()) {
		struct link_points points = part(a, 0, a->n);

		fd = link_multi(prog, path, filter, &points);
		if (fd < 0 && fd != -EPERM && fd != -ESRCH && fd != -EINTR && fd != -ENOMEM) {
			find_bad(s, a, 0, a->n, prog, path, filter);
			keep_good(a);
			points = part(a, 0, a->n);
			fd = a->n ? link_multi(prog, path, filter, &points) : -ENOENT;
		}
		for (size_t i = 0; i < a->n; i++) {
			if (fd < 0)
				refuse(s, a->points[i], fd, link_reason(fd));
			point_of(segment, a->points[i]->point)->link = s->nlinks;
		}
		if (fd >= 0)
			err = add_link(s, fd, prog);
	} else {
		for (size_t i = 0; i < a->n && !err; i++) {
			fd = link_perf(prog, path, filter, a->offsets[i], a->semaphores[i], a->cookies[i]);
			if (fd < 0) {
				refuse(s, a->points[i], fd, link_reason(fd));
				continue;
			}
			point_of(segment, a->points[i]->point)->link = s->nlinks;
			err = add_link(s, fd, prog);
		}
	}
	close(file);
	return err;
}

/* ---- arming ---------------------------------------------------------------------- */

static int compare_pointers(const void *a, const void *b)
{
	uintptr_t x = *(const uintptr_t *)a, y = *(const uintptr_t *)b;

	return x < y ? -1 : x > y;
}

/* The different fetch programs of the points, sorted by their addresses. */
static const struct fetch_program **distinct(const struct arm_point *points, size_t n, size_t *count)
{
	const struct fetch_program **all = calloc(n + 1, sizeof(*all));
	size_t have = 0;

	if (!all)
		return NULL;
	for (size_t i = 0; i < n; i++)
		if (!points[i].error && (!have || all[have - 1] != points[i].program))
			all[have++] = points[i].program;
	qsort(all, have, sizeof(*all), compare_pointers);
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

		if ((uintptr_t)all[low + half] <= (uintptr_t)program)
			low += half;
		n -= half;
	}
	return low;
}

static int load_program(struct kernel_segment *s, uint32_t number, const struct fetch_program *const *programs, size_t n)
{
	struct kernel_session *k = s->session;
	struct emit_maps maps = { .config = k->config_fd, .ring = k->ring_fd, .counts = s->counts_fd, .mark = k->mark_fd,
	                          .overlap = s->switch_fd, .scratch = k->scratch_fd, .members = &s->members };
	struct emitted emitted;
	int fd = emit_program(programs, n, &maps, number, s->shards, &emitted);

	if (fd)
		return fd;
	fd = link_program(emitted.insns, emitted.ninsns);
	free(emitted.insns);
	return fd;
}

/* All points whose programs are all[from .. from + n - 1]. */
static int arm_chunk(struct pp_session *session, struct segment *segment, struct arm_point *points, size_t npoints,
                     const struct fetch_program *const *all, size_t nall, size_t from, size_t n)
{
	struct kernel_segment *s = segment->state;
	struct link_arrays a;
	int prog = load_program(s, segment->number, all + from, n), err = prog < 0 ? prog : arrays_init(&a, npoints);

	if (err) {
		if (prog >= 0)
			close(prog);
		return err;
	}
	for (size_t i = 0; i <= npoints && !err; i++) {
		if (a.n && (i == npoints || points[i].image != a.points[0]->image ||
		            points[i].process != a.points[0]->process)) {
			err = session_interrupted(session) ? error_set(EINTR, "interrupted") : arm_link(s, segment, &a, prog);
			a.n = 0;
		}
		if (i == npoints || points[i].error)
			continue;

		size_t spec = nall == n ? index_of(all, nall, points[i].program) :
		                          index_of(all, nall, points[i].program) - from;

		if (spec >= n)
			continue;
		point_of(segment, points[i].point)->spec = spec;
		a.offsets[a.n] = points[i].site->offset;
		a.semaphores[a.n] = points[i].site->has_semaphore ? points[i].site->semaphore_offset : 0;
		a.cookies[a.n] = cookie_make(points[i].point, spec, points[i].process ? points[i].process->pid : 0, 0);
		a.points[a.n++] = &points[i];
	}
	arrays_release(&a);
	close(prog);
	return err;
}

/* The links last: until all of them are pinned the segment is not whole, and a look at the store removes it. */
static int pin_all(struct kernel_segment *s, struct segment *segment)
{
	struct kernel_session *k = s->session;
	int n = (int)segment->number, err;

	err = store_pin(&k->store, s->counts_fd, "counts", n, -1);
	if (!err)
		err = store_pin(&k->store, s->switch_fd, "switch", n, -1);
	if (!err && s->members.fork_link >= 0)
		err = store_pin(&k->store, s->members.fork_link, "fork", n, -1);
	if (!err && s->members.exit_link >= 0)
		err = store_pin(&k->store, s->members.exit_link, "exit", n, -1);
	for (size_t i = 0; i < s->nlinks && !err; i++)
		err = store_pin(&k->store, s->links[i].prog_fd, "prog", n, (int)i);
	if (!err)
		err = kernel_desc_pin(k, segment->desc);
	for (size_t i = 0; i < s->nlinks && !err; i++)
		err = store_pin(&k->store, s->links[i].fd, "link", n, (int)i);
	return err;
}

static void unpin_all(struct kernel_segment *s, const struct segment *segment)
{
	struct store *store = &s->session->store;
	int n = (int)segment->number;

	store_unlink(store, "desc", n, -1);
	for (size_t i = 0; i < s->nlinks; i++) {
		store_unlink(store, "link", n, (int)i);
		store_unlink(store, "next", n, (int)i);
		store_unlink(store, "prog", n, (int)i);
	}
	store_unlink(store, "fork", n, -1);
	store_unlink(store, "exit", n, -1);
	store_unlink(store, "counts", n, -1);
	store_unlink(store, "switch", n, -1);
}

int kernel_arm(struct pp_session *session, struct segment *segment, struct arm_point *points, size_t npoints)
{
	struct kernel_session *k = kernel_of(session);
	struct kernel_segment *s = calloc(1, sizeof(*s));
	const struct fetch_program **all = NULL;
	size_t nall = 0, armed = 0;
	int err;

	if (!s)
		return error_set(ENOMEM, "out of memory");
	s->session = k;
	s->counts_fd = s->switch_fd = -1;
	s->members.map = s->members.fork_link = s->members.exit_link = -1;
	segment->state = s;
	if (segment->desc->npoints >= 1u << COOKIE_POINT_BITS)
		err = error_set(E2BIG, "%u points are more than one call arms", segment->desc->npoints);
	else
		err = kernel_segment_maps_create(s, segment->desc->npoints);
	if (!err)
		err = members_open(&s->members, session->scope);
	if (!err && !(all = distinct(points, npoints, &nall)))
		err = error_set(ENOMEM, "out of memory");
	for (size_t i = 0; i < npoints && !err; i++)
		if (points[i].error)
			switch_off(s, points[i].point);
	for (size_t from = 0, n; from < nall && !err; from += n) {
		size_t cost = 500;

		for (n = 0; from + n < nall && n < 1u << COOKIE_SPEC_BITS; n++) {
			cost += emit_cost(all[from + n]);
			if (n && cost > EMIT_INSNS_MAX)
				break;
		}
		err = arm_chunk(session, segment, points, npoints, all, nall, from, n);
	}
	free(all);
	for (size_t i = 0; i < npoints; i++)
		armed += !points[i].error;
	if (!err && !armed)
		err = error_set(-points[0].error, "%s", points[0].reason ? points[0].reason : strerror(-points[0].error));
	if (!err && session_interrupted(session))
		err = error_set(EINTR, "interrupted");
	if (!err)
		err = pin_all(s, segment);
	if (err) {
		unpin_all(s, segment);
		kernel_segment_close(s);
		segment->state = NULL;
		return err;
	}
	if (k->store.dir >= 0)
		members_close(&s->members);
	if (k->store.dir >= 0)
		for (size_t i = 0; i < s->nlinks; i++) {
			close(s->links[i].fd);
			close(s->links[i].prog_fd);
			s->links[i].fd = s->links[i].prog_fd = -1;
		}
	return 0;
}

/* ---- disarming ------------------------------------------------------------------- */

static void drop_link(struct kernel_segment *s, const struct segment *segment, size_t i)
{
	struct store *store = &s->session->store;
	struct kernel_link *link = &s->links[i];

	store_unlink(store, "prog", (int)segment->number, (int)i); /* the first: see store.h */
	store_unlink(store, "link", (int)segment->number, (int)i);
	store_unlink(store, "next", (int)segment->number, (int)i);
	if (link->fd >= 0)
		close(link->fd);
	if (link->prog_fd >= 0)
		close(link->prog_fd);
	link->fd = link->prog_fd = -1;
	link->dead = true;
}

static int get(struct kernel_segment *s, const struct segment *segment, const char *name, size_t i, int private_fd)
{
	if (s->session->store.dir < 0)
		return fcntl(private_fd, F_DUPFD_CLOEXEC, 0);
	return store_get(&s->session->store, name, (int)segment->number, (int)i);
}

/* Another link for the points of link i that are still on, to take over from it: made, not yet in force. */
static int make_next(struct kernel_segment *s, struct segment *segment, size_t i, unsigned generation, int *next)
{
	const struct desc *d = segment->desc;
	const struct desc_file *file = NULL;
	struct process *process = NULL;
	struct link_arrays a;
	char path[64];
	int fd = -1, prog = -1, err = arrays_init(&a, d->npoints);
	pid_t pid = 0;

	for (uint32_t p = 0; p < d->npoints && !err; p++) {
		const struct desc_point *point = &desc_points(d)[p];

		if (point->link != i || !kernel_armed(segment, p))
			continue;
		file = &desc_files(d)[desc_probes(d)[point->probe].file];
		pid = point->pid;
		a.offsets[a.n] = point->offset;
		a.semaphores[a.n] = point->semaphore_offset;
		a.cookies[a.n++] = cookie_make(p, point->spec, pid, generation);
	}
	if (!err)
		err = open_same(desc_string(d, file->path), file->device, file->inode, &fd, path, sizeof(path));
	if (!err) {
		prog = get(s, segment, "prog", i, s->links[i].prog_fd);
		err = prog < 0 ? prog : 0;
	}
	if (!err && pid)
		err = process_open(pid, &process);
	if (!err) {
		struct link_points points = part(&a, 0, a.n);

		*next = link_multi(prog, path, process && !process->leader_gone ? pid : 0, &points);
		err = *next < 0 ? error_set(-*next, "%s", link_reason(*next)) : 0;
	}
	process_free(process);
	if (fd >= 0)
		close(fd);
	if (prog >= 0)
		close(prog);
	arrays_release(&a);
	return err;
}

/* What an earlier change left there. */
static void clear_marks(int map)
{
	uint64_t key;

	while (!bpf_map_get_next_key(map, NULL, &key) && !bpf_map_delete_elem(map, &key))
		;
}

/*
 * Makes the links of which points were switched off anew, for those that remain.
 * Every step can be taken again by kernel_repair(). changed[i]: link i needs it.
 */
static int change_links(struct kernel_segment *s, struct segment *segment, const bool *changed)
{
	struct store *store = &s->session->store;
	unsigned generation = (s->change->generation + 1) & 1;
	int n = (int)segment->number, *next = calloc(s->nlinks, sizeof(*next));

	if (!next)
		return error_set(ENOMEM, "out of memory");
	clear_marks(s->session->mark_fd);
	__atomic_store_n(&s->change->overlap, 1 + generation, __ATOMIC_SEQ_CST);
	for (size_t i = 0; i < s->nlinks; i++) {
		next[i] = -1;
		if (s->links[i].dead || !changed[i])
			continue;

		int there = store->dir < 0 ? -ENOENT : store_get(store, "next", n, (int)i);

		if (there >= 0) {
			close(there);
			continue;
		}
		/* Where no other can be made (the file is gone), the old one stays, with its points switched off. */
		if (make_next(s, segment, i, generation, &next[i]))
			next[i] = -1;
		else if (store_pin(store, next[i], "next", n, (int)i)) {
			close(next[i]);
			next[i] = -1;
		}
	}
	for (size_t i = 0; i < s->nlinks; i++) {
		if (store->dir >= 0) {
			int there = store_get(store, "next", n, (int)i);

			if (there >= 0) {
				close(there);
				store_take_over(store, n, (int)i);
			}
			if (next[i] >= 0)
				close(next[i]);
		} else if (next[i] >= 0) {
			close(s->links[i].fd);
			s->links[i].fd = next[i];
		}
	}
	free(next);
	return 0;
}

static void change_done(struct kernel_segment *s)
{
	s->change->generation = (s->change->generation + 1) & 1;
	__atomic_store_n(&s->change->overlap, 0, __ATOMIC_SEQ_CST);
}

/* Which links lost points (off) and still have some, and which have none any more: these go. */
static void sort_links(struct kernel_segment *s, struct segment *segment, bool *changed)
{
	const struct desc *d = segment->desc;
	bool *left = calloc(s->nlinks, sizeof(*left));

	for (uint32_t p = 0; p < d->npoints && left; p++) {
		uint32_t link = desc_points(d)[p].link;

		if (link >= s->nlinks)
			continue;
		if (kernel_armed(segment, p))
			left[link] = true;
	}
	for (size_t i = 0; i < s->nlinks && left; i++)
		if (!left[i] && !s->links[i].dead) {
			drop_link(s, segment, i);
			changed[i] = false;
		}
	free(left);
}

static void wait_for_bytes(const struct segment *segment, const bool *take, bool all)
{
	const struct desc *d = segment->desc;
	struct verify_place *places = calloc(d->npoints, sizeof(*places));
	size_t n = 0;

	for (uint32_t p = 0; p < d->npoints && places; p++) {
		const struct desc_file *file = &desc_files(d)[desc_probes(d)[desc_points(d)[p].probe].file];

		if (all || take[p])
			places[n++] = (struct verify_place){ file->device, file->inode, desc_points(d)[p].offset };
	}
	if (places)
		verify_disarmed(places, n);
	free(places);
}

int kernel_disarm(struct pp_session *session, struct segment *segment, const bool *take, bool all)
{
	struct kernel_segment *s = segment->state;
	bool *changed = calloc(s->nlinks + 1, sizeof(*changed)), any = false;

	(void)session;
	if (!changed)
		return error_set(ENOMEM, "out of memory");
	for (uint32_t p = 0; p < segment->desc->npoints; p++)
		if (all || take[p]) {
			uint32_t link = desc_points(segment->desc)[p].link;

			if (kernel_armed(segment, p) && link < s->nlinks)
				changed[link] = true;
			switch_off(s, p);
		}
	if (all) {
		unpin_all(s, segment);
		for (size_t i = 0; i < s->nlinks; i++)
			drop_link(s, segment, i);
	} else {
		sort_links(s, segment, changed);
		for (size_t i = 0; i < s->nlinks; i++)
			any |= changed[i];
		if (any)
			change_links(s, segment, changed);
	}
	wait_for_bytes(segment, take, all);
	if (any)
		change_done(s);
	free(changed);
	return 0;
}

int kernel_repair(struct segment *segment)
{
	struct kernel_segment *s = segment->state;
	bool *changed;

	if (!s->change->overlap)
		return 0;
	changed = calloc(s->nlinks + 1, sizeof(*changed));
	if (!changed)
		return error_set(ENOMEM, "out of memory");
	for (uint32_t p = 0; p < segment->desc->npoints; p++)
		if (!kernel_armed(segment, p) && desc_points(segment->desc)[p].link < s->nlinks)
			changed[desc_points(segment->desc)[p].link] = true;
	sort_links(s, segment, changed);
	change_links(s, segment, changed);
	change_done(s);
	free(changed);
	return 0;
}
