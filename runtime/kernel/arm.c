/* SPDX-License-Identifier: MIT */
/*
 * Arming through the kernel.
 *
 * 1. The fetch programs of the points are distributed over BPF programs, as many in each as its size allows
 *    (programs_chunk). Those of equal shape share their code.
 * 2. The points of each BPF program are distributed over links: one for each image and process (arm-links.c).
 * 3. The links of a new attachment are pinned last, usually in a few system calls (attachment_pin). If this process
 *    ends before the first pin, the kernel removes the links. If it ends before the last pin, the next command that
 *    opens the session removes the incomplete attachment.
 */
#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/array.h"
#include "base/error.h"
#include "runtime/kernel/kernel.h"
#include "runtime/kernel/link.h"
#include "runtime/kernel/namespace.h"
#include "runtime/kernel/stacks.h"
#include "runtime/process.h"
#include "sdt/image.h"

#define PROGRAM_SIZE 800 /* instructions of a program without its specs, at most */

/* The state of arming an attachment. */
struct kernel_arming {
	struct pp_session *session;
	struct attachment *attachment;
	struct kernel_attachment *s;
	struct arm_point *const *points;
	size_t npoints;
	const struct fetch_program **programs; /* all different fetch programs, sorted by kind and shape */
	size_t nprograms;
	struct kernel_namespace ns;
	struct kernel_stack_offsets stack;
	size_t *which; /* of each point: the index in programs */
};

/* ---- fetch programs ---- */

/*
 * Sorts by role. If a function is left at its first instruction, the program for the beginning of the call must run
 * before the program for its end. The kernel runs the program of the newer link first, so that link is created last.
 */
static int program_compare(const void *a, const void *b)
{
	const struct fetch_program *x = *(const struct fetch_program *const *)a,
				   *y = *(const struct fetch_program *const *)b;
	int order;

	if (x->role != y->role)
		return y->role - x->role;
	if (x->match != y->match)
		return y->match - x->match;
	order = emit_specs_compare(x, y);
	return order ? order : ((uintptr_t)x > (uintptr_t)y) - ((uintptr_t)x < (uintptr_t)y);
}

/* The index of a fetch program in the list. */
struct program_index {
	const struct fetch_program *program;
	size_t index;
};

/* Compares addresses of fetch programs, which are also the first members of struct program_index. */
static int pointer_compare(const void *a, const void *b)
{
	uintptr_t x = (uintptr_t) * (const struct fetch_program *const *)a;
	uintptr_t y = (uintptr_t) * (const struct fetch_program *const *)b;

	return (x > y) - (x < y);
}

/* Lists the different fetch programs of the points, sorted. */
static int programs_list(struct kernel_arming *a)
{
	const struct fetch_program **all = calloc(a->npoints + 1, sizeof(*all));
	size_t have = 0;

	if (!all)
		return error_nomem();
	for (size_t i = 0; i < a->npoints; i++)
		if (!a->points[i]->error && (!have || all[have - 1] != a->points[i]->program))
			all[have++] = a->points[i]->program;
	qsort(all, have, sizeof(*all), pointer_compare);
	a->programs = all;
	for (size_t i = 0; i < have; i++)
		if (!a->nprograms || all[a->nprograms - 1] != all[i])
			all[a->nprograms++] = all[i];
	qsort(all, a->nprograms, sizeof(*all), program_compare);
	return 0;
}

/* Returns the indices of the fetch programs, sorted by their addresses. The caller frees them. */
static struct program_index *programs_index(const struct kernel_arming *a)
{
	struct program_index *list = calloc(a->nprograms + 1, sizeof(*list));

	if (!list)
		return NULL;
	for (size_t i = 0; i < a->nprograms; i++)
		list[i] = (struct program_index){ a->programs[i], i };
	qsort(list, a->nprograms, sizeof(*list), pointer_compare);
	return list;
}

/* Finds the fetch program of each point. Switches off the points that were refused before. */
static int programs_assign(struct kernel_arming *a)
{
	struct program_index *list = programs_index(a);

	a->which = calloc(a->npoints, sizeof(*a->which));
	if (!list || !a->which) {
		free(list);
		return error_nomem();
	}
	for (size_t i = 0; i < a->npoints; i++) {
		const struct arm_point *point = a->points[i];

		if (point->error)
			kernel_switch_off(a->s, point->point, KERNEL_OFF);
		else if (i && !a->points[i - 1]->error && point->program == a->points[i - 1]->program)
			a->which[i] = a->which[i - 1];
		else
			a->which[i] =
				list[lower_bound(list, a->nprograms, sizeof(*list), &point->program, pointer_compare)]
					.index;
	}
	free(list);
	return 0;
}

static bool fetch_same_kind(const struct fetch_program *a, const struct fetch_program *b)
{
	return a->role == b->role && a->match == b->match;
}

/* Returns how many fetch programs, from the given one on, one BPF program gets. They are of the same kind. */
static size_t programs_chunk(const struct kernel_arming *a, size_t from)
{
	const struct fetch_program **programs = a->programs + from;
	size_t size = PROGRAM_SIZE, n = 0;

	for (; from + n < a->nprograms && n < 1u << COOKIE_SPEC_BITS; n++) {
		if (n && !emit_specs_compare(programs[n], programs[n - 1]))
			continue;
		size += emit_size_bound(programs[n]) + EMIT_GROUP_SIZE;
		if (n && (size > EMIT_INSNS_MAX || !fetch_same_kind(programs[n], programs[0])))
			break;
	}
	return n;
}

/* ---- BPF programs and links ---- */

/* Creates the map of the specs' constants. Sets *fd to its descriptor, or to -1 if there are no constants. */
static int constants_create(const struct emit_specs *specs, int *fd)
{
	const uint32_t zero = 0, size = (uint32_t)(specs->nrows * specs->ncolumns * sizeof(*specs->constants));
	int err;

	*fd = -1;
	if (!size)
		return 0;
	*fd = kernel_map_create(BPF_MAP_TYPE_ARRAY, "pp_constants", 4, size, 1, BPF_F_RDONLY_PROG);
	if (*fd < 0)
		return *fd;
	if (!bpf_map_update_elem(*fd, &zero, specs->constants, BPF_ANY))
		return 0;
	err = error_set(errno, "cannot fill a BPF map: %s", strerror(errno));
	close(*fd);
	*fd = -1;
	return err;
}

static int specs_load(const struct kernel_arming *a, const struct emit_specs *specs, int scratch, int constants)
{
	const struct kernel_attachment *s = a->s;
	const struct kernel_session *k = s->session;
	const struct emit_maps maps = { .config = k->config_fd,
		                        .ring = k->ring_fd,
		                        .counts = s->counts_fd,
		                        .handover = k->handover_fd,
		                        .control = s->control_fd,
		                        .scratch = scratch,
		                        .ns = &a->ns,
		                        .scope = &s->scope,
		                        .processes = s->processes_fd,
		                        .calls = s->returns.map,
		                        .frames = s->returns.frames,
		                        .starts = s->returns.starts,
		                        .depth = s->returns.depth,
		                        .cells = s->cells_fd,
		                        .misfits = s->misfits_fd,
		                        .flight = s->flight_fd,
		                        .flight_parts = s->flight_parts,
		                        .samples = s->samples_fd,
		                        .constants = constants,
		                        .key_size = (uint32_t)manifest_key_size(a->attachment->manifest),
		                        .stack = &a->stack };
	struct emitted program;
	int fd = emit_program(specs, &maps, a->attachment->number, s->shards, &program);

	if (fd)
		return fd;
	fd = link_program(program.insns, program.ninsns);
	free(program.insns);
	return fd;
}

/*
 * Creates scratch memory for longer strings than the session's. Fails if the kernel cannot allocate this much for a
 * thread, because all hits would be lost. Linux 7.2 allocates at most about 8 KiB. Returns the descriptor or a negative
 * errno.
 */
static int scratch_create(size_t size)
{
	int fd = kernel_task_storage("pp_scratch", (uint32_t)size), err;

	if (fd < 0)
		return fd;
	err = kernel_task_storage_allocates(fd, (uint32_t)size);
	if (!err)
		return fd;
	close(fd);
	return error_set(-err,
	                 "the kernel cannot allocate %zu bytes for each thread to read strings: %s; "
	                 "use a smaller --strlen or fewer strings",
	                 size, strerror(-err));
}

/* Loads the BPF program of n fetch programs. The program keeps its own maps alive. Returns its descriptor or a negative errno. */
static int chunk_load(const struct kernel_arming *a, size_t from, size_t n)
{
	size_t scratch_size = emit_scratch_size(a->programs + from, n);
	/* The session's scratch memory is for strings of the default length. */
	bool own = scratch_size > EMIT_SCRATCH_SIZE;
	int scratch = own ? scratch_create(scratch_size) : a->s->session->scratch_fd;
	int constants = -1, fd;
	struct emit_specs specs;

	if (scratch < 0)
		return scratch;
	fd = emit_specs_open(&specs, a->programs + from, n);
	if (fd)
		goto out;
	fd = constants_create(&specs, &constants);
	if (!fd)
		fd = specs_load(a, &specs, scratch, constants);
	if (constants >= 0)
		close(constants);
	emit_specs_close(&specs);
out:
	if (own)
		close(scratch);
	return fd;
}

static int chunk_arm_links(const struct kernel_arming *a, size_t from, size_t n, int prog, struct link_arrays *arrays)
{
	struct manifest_point *manifest = (struct manifest_point *)manifest_points(a->attachment->manifest);

	for (size_t i = 0, end; i < a->npoints; i = end) {
		int err;

		arrays->n = 0;
		end = i + arm_points_run(a->points + i, a->npoints - i);
		for (size_t k = i; k < end; k++) {
			struct arm_point *point = a->points[k];
			size_t spec = a->which[k] - from;

			if (point->error || spec >= n)
				continue;
			manifest[point->point].spec = spec;
			if (point->fast)
				manifest[point->point].role |= MANIFEST_FAST;
			if (point->site->by_return)
				manifest[point->point].role |= MANIFEST_RETURN;
			if (point->site->call)
				manifest[point->point].role |= MANIFEST_BETWEEN;
			link_arrays_add(arrays, point,
			                cookie_make(point->point, spec, point->process ? point->process->pid : 0, 0));
		}
		if (!arrays->n)
			continue;
		if (session_interrupted(a->session))
			return error_set(EINTR, "interrupted");
		err = link_arrays_arm(arrays, a->attachment, prog);
		if (err)
			return err;
	}
	return 0;
}

/*
 * Arms the points whose fetch programs are programs[from .. from + n - 1], by one BPF program, or by several if it is
 * too large for the kernel: emit_size_bound() plans its instructions, not those that the verifier has to follow.
 */
static int chunk_arm(const struct kernel_arming *a, size_t from, size_t n)
{
	int prog = chunk_load(a, from, n), err;
	struct link_arrays arrays;

	if (prog == -E2BIG && n > 1) {
		err = chunk_arm(a, from, n / 2);
		return err ? err : chunk_arm(a, from + n / 2, n - n / 2);
	}
	if (prog < 0)
		return prog;
	err = link_arrays_init(&arrays, a->npoints);
	if (!err) {
		err = chunk_arm_links(a, from, n, prog, &arrays);
		link_arrays_release(&arrays);
	}
	close(prog);
	return err;
}

/* ---- attachments ---- */

/* Creates the maps of the attachment, and the maps and links that its scope and its calls need. */
static int attachment_prepare(struct kernel_arming *a, const struct arm_options *options)
{
	struct kernel_attachment *s = a->s;
	uint32_t npoints = a->attachment->manifest->npoints;
	int err;

	if (npoints >= 1u << COOKIE_POINT_BITS)
		return error_set(E2BIG, "cannot arm %u points at once: the maximum is %u", npoints,
		                 (1u << COOKIE_POINT_BITS) - 1);
	err = kernel_attachment_maps_create(s, a->attachment->manifest, !a->points[0]->process, options->cells);
	if (!err)
		err = kernel_layouts_create(s, a->attachment->manifest);
	if (err)
		return err;
	err = kernel_samples_create(s, a->attachment->manifest);
	if (err)
		return err;
	err = namespace_describe(&a->ns);
	if (err)
		return err;
	stack_offsets_find(&a->stack, a->attachment->manifest);
	err = kernel_scope_open(&s->scope, options->scope, &a->ns);
	if (err)
		return err;
	err = returns_open(&s->returns, a->points, a->npoints, npoints, options->maxactive);
	if (err)
		return err;
	s->control->limit = (uint64_t)(options->budget * KERNEL_SHARE + 0.5);
	s->control->unseen = options->scope->kind != SCOPE_PROCESSES;
	for (size_t i = 0; i < a->npoints; i++)
		s->control->unseen |= a->points[i]->process && a->points[i]->process->leader_gone;
	return 0;
}

static int attachment_arm_points(struct kernel_arming *a, const struct arm_options *options)
{
	int err = programs_list(a);

	if (!err)
		err = kernel_flight_create(a->s, options, emit_scratch_size(a->programs, a->nprograms));

	if (!err)
		err = programs_assign(a);
	for (size_t from = 0, n; from < a->nprograms && !err; from += n) {
		n = programs_chunk(a, from);
		err = chunk_arm(a, from, n);
	}
	if (!err)
		returns_begin(&a->s->returns, a->points, a->npoints);
	free(a->programs);
	free(a->which);
	return err;
}

/* Returns the error of the first point if all points were refused. */
static int attachment_check_armed(const struct kernel_arming *a)
{
	const struct arm_point *first = a->points[0];

	for (size_t i = 0; i < a->npoints; i++)
		if (!a->points[i]->error)
			return session_interrupted(a->session) ? error_set(EINTR, "interrupted") : 0;
	return error_set(-first->error, "%s", first->reason ? first->reason : strerror(-first->error));
}

static int attachment_pin_maps(const struct kernel_attachment *s, int number)
{
	const struct {
		int fd;
		const char *name;
	} pins[] = {
		{ s->counts_fd, "counts" },
		{ s->control_fd, "switch" },
		{ s->processes_fd, "processes" },
		{ s->cells_fd, "cells" },
		{ s->misfits_fd, "misfits" },
		{ s->flight_fd, "flight" },
		{ s->layouts_fd, "layouts" },
		{ s->samples_fd, "samples" },
		{ s->owned ? -1 : s->scope.fork_link, "fork" },
		{ s->owned ? -1 : s->scope.exit_link, "exit" },
	};
	int err = 0;

	for (size_t i = 0; i < sizeof(pins) / sizeof(*pins) && !err; i++)
		if (pins[i].fd >= 0)
			err = pin_add(&s->session->pins, pins[i].fd, pins[i].name, number, -1);
	return err ? err : returns_pin(&s->returns, &s->session->pins, number, !s->owned);
}

static int attachment_pin_links(const struct kernel_attachment *s, int number)
{
	int err = 0;

	for (size_t i = 0; i < s->nlinks && !err; i++)
		if (s->links[i].fd >= 0)
			err = pin_add(&s->session->pins, s->links[i].fd, link_pin_names[0], number, (int)i);
	return err;
}

/* Pins the attachment, the links last. It is complete when all of them are pinned: see pins.h. */
static int attachment_pin(const struct kernel_arming *a)
{
	struct kernel_attachment *s = a->s;
	int number = (int)a->attachment->number, err = attachment_pin_maps(s, number);

	if (err)
		return err;
	if (s->owned) {
		err = owner_begin(s, number);
		return err ? err : kernel_manifest_pin(s->session, a->attachment->manifest);
	}
	err = kernel_manifest_pin(s->session, a->attachment->manifest);
	return err ? err : attachment_pin_links(s, number);
}

/* Closes descriptors whose objects the pins keep. */
static void attachment_close_pinned(struct kernel_attachment *s)
{
	kernel_scope_close(&s->scope);
	returns_close_links(&s->returns);
	for (size_t i = 0; i < s->nlinks; i++) {
		if (s->links[i].fd >= 0)
			close(s->links[i].fd);
		s->links[i].fd = -1;
	}
}

int kernel_arm(struct pp_session *session, struct attachment *attachment, struct arm_point *const *points,
               size_t npoints, const struct arm_options *options)
{
	struct kernel_session *k = kernel_of(session);
	struct kernel_attachment *s = kernel_attachment_new(k);
	struct kernel_arming a = {
		.session = session, .attachment = attachment, .s = s, .points = points, .npoints = npoints
	};
	int err;

	if (!s)
		return -ENOMEM;
	s->owned = options->hold && k->pins.dir >= 0;
	attachment->state = s;
	err = attachment_prepare(&a, options);
	if (!err)
		err = attachment_arm_points(&a, options);
	if (!err)
		err = attachment_check_armed(&a);
	if (!err)
		err = attachment_pin(&a);
	if (err) {
		kernel_attachment_unpin(s, attachment);
		kernel_attachment_close(s);
		attachment->state = NULL;
		return err;
	}
	if (kernel_is_pinned(s))
		attachment_close_pinned(s);
	return 0;
}
