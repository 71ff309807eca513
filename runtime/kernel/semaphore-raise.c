/* SPDX-License-Identifier: MIT */
/*
 * Raises semaphores by hand: see semaphore.h.
 *
 * A process may fork while semaphores are raised. If it forks before its copy is raised, the child's copy is 0, and the
 * child may be missing in the list of processes. Therefore the list is read again, in rounds, until a round raises
 * nothing. If it forks after its copy was raised, the child inherits the raised value. Therefore rounds after the first
 * skip copies that are not 0.
 */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/error.h"
#include "runtime/kernel/semaphore-memory.h"
#include "runtime/kernel/semaphore.h"
#include "runtime/process.h"
#include "sdt/image.h"

#define ROUNDS_MAX 4
#define COPIES_MAX 64 /* in one process */

struct raising {
	semaphore_record *record;
	void *arg;
	bool later;   /* not the first round */
	size_t count; /* how many copies were raised by hand */
};

/* The points of one semaphore, in one process whose memory is open. */
struct raising_semaphore {
	struct process *process;
	int memory;
	struct arm_point *const *points;
	size_t n;
	const struct pp_site *site; /* of the first point */
};

/*
 * Raises a copy that is 0 although the kernel will lower it, because the kernel raised another copy when the file was
 * mapped. Adds the number of breakpoints, which is what the kernel will subtract.
 */
static void copy_raise_for_kernel(const struct raising_semaphore *s, uint64_t address)
{
	const struct pp_image *image = s->site->probe->image;
	int traps = 0;

	for (size_t i = 0; i < s->n; i++)
		traps += semaphore_breakpoints(s->process, s->memory, image->device, image->inode,
		                               arm_point_offset(s->points[i]));
	semaphore_add(s->memory, address, traps);
}

/* Records and raises a copy. text is the address of the site. */
static int copy_raise(const struct raising_semaphore *s, uint64_t address, uint16_t value, uint64_t text,
                      struct raising *r)
{
	const struct pp_image *image = s->site->probe->image;
	const struct program_run run = program_run_of(s->process->pid, s->memory);
	const struct semaphore_raised raised = { .address = address,
		                                 .offset = semaphore_key(s->site),
		                                 .start_time = process_start_time(s->process->pid),
		                                 .pid = s->process->pid,
		                                 .device = image->device,
		                                 .inode = image->inode,
		                                 .text = text,
		                                 .text_offset = s->site->offset,
		                                 .exec = run.exec,
		                                 .random = run.random };
	int err = r->record(&raised, r->arg);

	if (err && err != -EEXIST)
		return err;
	/* A recorded copy that is 0 is a new one: the file was unloaded, and loaded again at the same address. */
	if ((!err || !value) && semaphore_add(s->memory, address, 1))
		r->count++;
	return 0;
}

/* Raises all copies of a semaphore that the kernel has not raised. There is one copy for each mapping of the text. */
static int copies_raise(const struct raising_semaphore *s, struct raising *r)
{
	const struct pp_site *site = s->site;
	const struct pp_image *image = site->probe->image;
	const bool by_hand = semaphore_by_hand(site);
	uint64_t kernels = 0, done[COPIES_MAX];
	const struct mapping *m = NULL;
	size_t ndone = 0;
	int err = 0;

	if (!by_hand) {
		kernels = semaphore_kernel_copy(s->process, image->device, image->inode, site->semaphore_offset);
		if (!kernels)
			return 0;
	}
	while (!err && ndone < COPIES_MAX &&
	       (m = process_mapping(s->process, image->device, image->inode, site->offset, m))) {
		uint64_t text = m->start + site->offset - m->offset, address = text - site->address + site->semaphore;
		uint16_t value;
		bool known = false;

		for (size_t i = 0; i < ndone; i++)
			known |= done[i] == address;
		if (!m->exec || m->write || m->shared || known || !semaphore_is_copy(s->process, site, address) ||
		    !semaphore_read(s->memory, address, &value))
			continue;
		done[ndone++] = address;
		if (!by_hand && address == kernels) {
			if (!value)
				copy_raise_for_kernel(s, address);
		} else if (value < SEMAPHORE_MAX && !(r->later && value)) { /* full copies stay */
			err = copy_raise(s, address, value, text, r);
		}
	}
	return err;
}

static int point_compare_semaphore(const void *a, const void *b)
{
	const struct arm_point *x = *(const struct arm_point *const *)a, *y = *(const struct arm_point *const *)b;

	if (x->image != y->image)
		return (uintptr_t)x->image < (uintptr_t)y->image ? -1 : 1;
	if (x->site->semaphore != y->site->semaphore)
		return x->site->semaphore < y->site->semaphore ? -1 : 1;
	return (x > y) - (x < y);
}

/* Raises the semaphores of the points, which are sorted by semaphore. */
static int process_raise_sorted(pid_t pid, struct arm_point *const *points, size_t n, struct raising *r)
{
	struct process *process;
	int memory, err = 0;

	if (process_open(pid, &process))
		return 0;
	memory = semaphore_memory_open(process);
	for (size_t i = 0, end; memory >= 0 && i < n && !err; i = end) {
		const struct pp_site *site = points[i]->site;

		end = i + 1;
		while (end < n && points[end]->image == points[i]->image &&
		       points[end]->site->semaphore == site->semaphore)
			end++;
		err = copies_raise(&(struct raising_semaphore){ process, memory, points + i, end - i, site }, r);
	}
	if (memory >= 0)
		close(memory);
	process_free(process);
	return err;
}

static int process_raise(pid_t pid, struct arm_point *const *points, size_t n, struct raising *r)
{
	struct arm_point **sorted = calloc(n + 1, sizeof(*sorted));
	size_t count = 0;
	int err = 0;

	if (!sorted)
		return error_nomem();
	for (size_t i = 0; i < n; i++)
		if (semaphore_key(points[i]->site) && (!points[i]->error || points[i]->error == -EALREADY))
			sorted[count++] = points[i];
	if (count) {
		qsort(sorted, count, sizeof(*sorted), point_compare_semaphore);
		err = process_raise_sorted(pid, sorted, count, r);
	}
	free(sorted);
	return err;
}

int semaphores_raise_in(const struct process *process, struct arm_point *const *points, size_t n,
                        semaphore_record *record, void *arg)
{
	struct raising r = { .record = record, .arg = arg };

	return process_raise(process->pid, points, n, &r);
}

/* Raises the semaphores of the points, which are of one image, in every process that maps the image. */
static int image_raise(struct arm_point *const *points, size_t n, semaphore_record *record, void *arg)
{
	struct raising r = { .record = record, .arg = arg };
	int err = 0;

	for (int round = 0; round < ROUNDS_MAX && !err && (!round || r.count); round++) {
		struct process **all = NULL;
		size_t nall = 0;

		r.count = 0;
		r.later = round;
		err = processes_mapping(points[0]->image->device, points[0]->image->inode, &all, &nall);
		for (size_t k = 0; k < nall; k++) {
			if (!err)
				err = process_raise(all[k]->pid, points, n, &r);
			process_free(all[k]);
		}
		free(all);
	}
	return err;
}

int semaphores_raise(struct arm_point *const *points, size_t n, semaphore_record *record, void *arg)
{
	int err = 0;

	for (size_t i = 0, end; i < n && !err; i = end) {
		const struct process *process = points[i]->process;
		bool any = false;

		end = i + arm_points_run(points + i, n - i);
		for (size_t k = i; k < end; k++)
			any |= semaphore_key(points[k]->site) && !points[k]->error;
		if (!any)
			continue;
		if (!process)
			err = image_raise(points + i, end - i, record, arg);
		else if (!process->is_command)
			err = semaphores_raise_in(process, points + i, end - i, record, arg);
	}
	return err;
}
