/* SPDX-License-Identifier: MIT */
/*
 * Verification after arming. For each point of each process in scope:
 *
 * 1. A process that maps the file must have the breakpoint of a uprobe there, else the point is refused in this
 *    process.
 * 2. The rest of the instruction must be the file's. If it is not, the point is refused in all processes, because the
 *    kernel cannot remove the uprobe from one process only.
 * 3. The semaphore that the code reads must not be 0.
 * 4. A process that has the text in memory of its own, which is not the file's, is not armed (verify_copies).
 * 5. A process that cannot be read leaves the point unverified.
 * 6. A point that no process maps is pending.
 */
#include "runtime/kernel/verify.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/text.h"
#include "runtime/cpu.h"
#include "runtime/kernel/text-places.h"
#include "runtime/process.h"
#include "sdt/image.h"

/* The points of one image, in one process or in all. */
struct verify_run {
	struct arm_point *const *points;
	size_t n;
	const struct pp_image *image;
	struct arm_misses *misses;
	bool *mapped; /* of each point: a process maps it, or has a copy of it */
};

static int run_refuse(const struct verify_run *run, size_t i, const struct process *process, char *reason)
{
	return arm_misses_add(run->misses, run->points[i], process->pid, reason);
}

/* ---- reasons ---- */

static char *reason_not_armed(const struct process *process, const struct mapping *m, const struct arm_point *point,
                              const uint8_t *bytes)
{
	if (m->shared)
		return error_format("pid %d maps the text shared: the kernel cannot arm it", process->pid);
	if (m->write)
		return error_format("pid %d maps the text writable: the kernel cannot arm it", process->pid);
	if (!text_start_is_files(point, bytes))
		return text_reason_changed(process, point->image);
	return error_format("pid %d: the kernel did not place a breakpoint there", process->pid);
}

/*
 * Returns whether the semaphore at the file offset of the point counts in the copy that is read at the address `copy`. If
 * not, sets *reason, which is NULL without memory. Sets *unread if the copy cannot be read.
 */
static bool semaphore_counts_in_file(const struct process *process, const struct arm_point *point, uint64_t copy,
                                     bool *unread, char **reason)
{
	const uint64_t offset = point->site->semaphore_offset;
	const struct pp_image *image = point->image;
	const struct mapping *m = NULL;
	bool mapped = false, writable = false;
	uint16_t value = 0;

	while ((m = process_mapping(process, image->device, image->inode, offset, m))) {
		mapped = true;
		if (m->shared || !m->write)
			continue;
		writable = true;
		if (m->start + offset - m->offset != copy)
			continue;
		*unread = process_read(process, copy, &value, sizeof(value));
		if (*unread || value)
			return true;
	}
	if (!mapped)
		return true;
	if (writable)
		*reason = error_format("pid %d: the semaphore at address 0x%lx is 0: the kernel raised another copy",
		                       process->pid, (unsigned long)copy);
	else
		*reason = error_format("pid %d: the semaphore at file offset 0x%lx is not raised: its mapping is not "
		                       "private and writable",
		                       process->pid, (unsigned long)offset);
	return false;
}

/* The same for any semaphore of the point, in the copy that the text at this address reads. */
static bool semaphore_counts(const struct process *process, const struct arm_point *point, uint64_t address,
                             bool *unread, char **reason)
{
	const uint64_t copy = address - point->site->address + point->site->semaphore;
	uint16_t value = 0;

	if (!point->site->semaphore_in_bss)
		return !point->site->has_semaphore || semaphore_counts_in_file(process, point, copy, unread, reason);
	*unread = process_read(process, copy, &value, sizeof(value));
	if (*unread || value)
		return true;
	*reason = error_format("pid %d: the semaphore at address 0x%lx does not count: it is not where the file's .bss "
	                       "should be, or has reached its maximum",
	                       process->pid, (unsigned long)copy);
	return false;
}

/* Returns the reason if the process maps an older file of the image's name, else NULL. */
static char *reason_pending(const struct process *process, const struct pp_image *image)
{
	size_t length = strlen(image->name);

	for (size_t i = 0; process && i < process->nmaps; i++) {
		const struct mapping *m = &process->maps[i];

		if (m->exec && m->inode != image->inode && !strncmp(m->path, image->name, length) && m->path[length] &&
		    text_path_length(m->path) == length)
			return error_format("pid %d runs an older '%s', which was replaced since", process->pid,
			                    image->path);
	}
	return NULL;
}

/* ---- copies of the text ---- */

#define BIASES_MAX 8

/* Lists the differences between addresses in the process and in the file, by the process's mappings of the file. */
static size_t biases_list(const struct process *process, const struct pp_image *image, uint64_t *biases)
{
	const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	size_t n = 0;

	for (size_t i = 0; i < process->nmaps; i++) {
		uint64_t offset = process->maps[i].offset;

		if (!mapping_is_of_image(process, i, image))
			continue;
		for (size_t k = 0; k < image->nsegments && n < BIASES_MAX; k++) {
			const struct image_segment *s = &image->segments[k];
			uint64_t bias = process->maps[i].start - (s->address - s->offset + offset);
			size_t known = 0;

			if (offset + page - 1 < s->offset || offset >= s->offset + s->filesz)
				continue;
			while (known < n && biases[known] != bias)
				known++;
			biases[known] = bias;
			n += known == n;
		}
	}
	return n;
}

/* Returns true if the address is in executable memory that is not a mapping of the image's file. */
static bool address_is_copy(const struct process *process, const struct pp_image *image, uint64_t address)
{
	for (size_t i = 0; i < process->nmaps; i++) {
		const struct mapping *m = &process->maps[i];

		if (m->exec && address >= m->start && address < m->end)
			return !mapping_is_of_image(process, i, image);
	}
	return false;
}

/*
 * Refuses points in a process that has copied its text. Programs that want their text in huge pages copy it to memory
 * of their own, and move that over the text.
 */
static int verify_copies(const struct verify_run *run, const struct process *process)
{
	uint64_t biases[BIASES_MAX];
	size_t nbiases = biases_list(process, run->image, biases);
	int err = 0;

	for (size_t i = 0; i < run->n && !err; i++)
		for (size_t k = 0; k < nbiases && !err && !run->mapped[i] && !run->points[i]->error; k++) {
			if (!address_is_copy(process, run->image, biases[k] + run->points[i]->site->address))
				continue;
			run->mapped[i] = true;
			err = run_refuse(run, i, process,
			                 error_format("pid %d has a copy of the text there, in memory that is not a "
			                              "mapping of the file (huge pages?): the kernel cannot arm it",
			                              process->pid));
		}
	return err;
}

/* ---- processes ---- */

static void point_set_unverified(struct arm_point *point, const struct process *process, int denied)
{
	point->verified = false;
	if (!point->reason)
		point->reason = error_format("not verified: pid %d: cannot read the process%s", process->pid,
		                             denied == -EPERM ? " without CAP_SYS_PTRACE" : "");
}

/* denied is the error with which the process could not be read, or 0. */
static int verify_place(const struct verify_run *run, const struct process *process, const struct text_place *place,
                        int denied)
{
	struct arm_point *point = run->points[place->point];
	bool unread = denied || !place->got;
	char *reason;

	if (point->error)
		return 0;
	if (unread) {
		point_set_unverified(point, process, denied);
		return 0;
	}
	if (!text_is_armed(point, place->bytes))
		return run_refuse(run, place->point, process,
		                  reason_not_armed(process, place->mapping, point, place->bytes));
	if (!text_rest_is_files(point, place->bytes) || !text_before_is_files(process, point, place->address)) {
		arm_point_refuse(point, -EBUSY, text_reason_changed(process, point->image));
		return 0;
	}
	if (text_shares_site(point, place->bytes) && !point->reason)
		point->reason = error_format(
			"pid %d: another session or tool has armed the site too, at its second byte", process->pid);
	if (!semaphore_counts(process, point, place->address - (arm_point_offset(point) - point->site->offset), &unread,
	                      &reason))
		return run_refuse(run, place->point, process, reason);
	if (unread)
		point_set_unverified(point, process, 0);
	return 0;
}

static int verify_process(const struct verify_run *run, const struct process *process)
{
	struct text_places p = { 0 };
	int err = text_places_find(&p, process, run->points, run->n), denied;

	if (err)
		goto out;
	if (p.n < run->n)
		err = verify_copies(run, process);
	if (err || !p.n)
		goto out;
	denied = text_places_read(&p, process, run->points);
	for (size_t k = 0; k < p.n && !err; k++) {
		run->mapped[p.list[k].point] = true;
		err = verify_place(run, process, &p.list[k], denied);
	}
out:
	text_places_release(&p);
	return err;
}

/* Points for every process are not verified if some processes cannot be inspected. */
static void run_set_unread(const struct verify_run *run, const struct unread *unread)
{
	for (size_t i = 0; i < run->n && unread->n; i++) {
		struct arm_point *point = run->points[i];

		if (point->error)
			continue;
		point->verified = false;
		if (!point->reason)
			point->reason = error_format("not verified: %zu process%s could not be inspected (pid %d: %s)",
			                             unread->n, unread->n == 1 ? "" : "es", unread->pid,
			                             strerror(-unread->error));
	}
}

static int verify_all_processes(const struct verify_run *run)
{
	struct process **all = NULL;
	struct unread unread = { 0 };
	size_t n = 0;
	int err = processes_mapping_all(run->image->device, run->image->inode, &all, &n, &unread);

	for (size_t i = 0; i < n; i++) {
		if (!err)
			err = verify_process(run, all[i]);
		process_free(all[i]);
	}
	free(all);
	run_set_unread(run, &unread);
	return err;
}

static int run_verify(struct verify_run *run)
{
	const struct process *process = run->points[0]->process;
	int err = 0;

	run->mapped = calloc(run->n, sizeof(*run->mapped));
	if (!run->mapped)
		return error_nomem();
	for (size_t i = 0; i < run->n; i++)
		run->points[i]->verified = !run->points[i]->error;
	if (!process)
		err = verify_all_processes(run);
	else if (!process->is_command)
		err = verify_process(run, process);
	for (size_t i = 0; i < run->n; i++) {
		struct arm_point *point = run->points[i];

		if (point->error || run->mapped[i])
			continue;
		point->pending = true;
		point->verified = false;
		if (!point->reason)
			point->reason = reason_pending(process, run->image);
	}
	free(run->mapped);
	return err;
}

int verify_armed(struct arm_point *const *points, size_t npoints, struct arm_misses *misses)
{
	int err = 0;

	for (size_t i = 0, n; i < npoints && !err; i += n) {
		struct verify_run run = { .points = points + i, .image = points[i]->image, .misses = misses };

		n = run.n = arm_points_run(points + i, npoints - i);
		err = run_verify(&run);
	}
	return err;
}
