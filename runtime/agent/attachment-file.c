/* SPDX-License-Identifier: MIT */
#include "runtime/agent/attachment-file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/error.h"
#include "runtime/agent/reach.h"
#include "runtime/process.h"

static uint64_t round_up(uint64_t size)
{
	return (size + 7) & ~7ull;
}

/* ---- what the points use ---- */

/* The programs and processes of the points, sorted, each once. */
struct file_parts {
	const struct fetch_program **programs;
	struct agent_process *processes;
	size_t nprograms, nprocesses;
	size_t nsteps, nliterals; /* of all programs */
};

static int file_program_compare(const void *element, const void *key)
{
	const struct fetch_program *x = *(const struct fetch_program *const *)element;
	const struct fetch_program *y = *(const struct fetch_program *const *)key;

	return x < y ? -1 : x > y;
}

static int file_process_compare(const void *element, const void *key)
{
	const struct agent_process *x = element, *y = key;

	return x->pid < y->pid ? -1 : x->pid > y->pid;
}

static void parts_release(struct file_parts *parts)
{
	free(parts->programs);
	free(parts->processes);
}

static void parts_find_programs(struct file_parts *parts, struct arm_point *const *points, size_t npoints)
{
	for (size_t i = 0; i < npoints; i++)
		parts->programs[i] = points[i]->program;
	qsort(parts->programs, npoints, sizeof(*parts->programs), file_program_compare);
	for (size_t i = 0; i < npoints; i++)
		if (!i || parts->programs[i] != parts->programs[i - 1])
			parts->programs[parts->nprograms++] = parts->programs[i];
	for (size_t i = 0; i < parts->nprograms; i++) {
		parts->nsteps += parts->programs[i]->nsteps;
		parts->nliterals += parts->programs[i]->nliterals;
	}
}

static int parts_find_processes(struct file_parts *parts, struct arm_point *const *points, size_t npoints)
{
	size_t n = 0, all = 0;

	for (size_t i = 0; i < npoints; i++)
		if (points[i]->process && (!i || points[i]->process != points[i - 1]->process))
			parts->processes[all++].pid = (uint32_t)points[i]->process->pid;
	qsort(parts->processes, all, sizeof(*parts->processes), file_process_compare);
	for (size_t i = 0; i < all; i++)
		if (!n || parts->processes[i].pid != parts->processes[n - 1].pid)
			parts->processes[n++] = parts->processes[i];
	parts->nprocesses = n;
	for (size_t i = 0; i < n; i++) {
		struct agent_process *process = &parts->processes[i];

		process->start_time = process_start_time((pid_t)process->pid);
		if (!process->start_time)
			return error_set(ESRCH, "pid %u: the process has ended", process->pid);
	}
	return 0;
}

static int parts_find(struct file_parts *parts, struct arm_point *const *points, size_t npoints)
{
	parts->programs = calloc(npoints + 1, sizeof(*parts->programs));
	parts->processes = calloc(npoints + 1, sizeof(*parts->processes));
	if (!parts->programs || !parts->processes)
		return error_nomem();
	parts_find_programs(parts, points, npoints);
	return parts_find_processes(parts, points, npoints);
}

/* ---- making a file ---- */

/* Returns the header of a file: the offsets and numbers of its parts. */
static struct agent_attachment file_layout(const struct file_parts *parts, const struct manifest *manifest,
                                           uint32_t flags)
{
	struct agent_attachment s = { .magic = AGENT_ATTACHMENT_MAGIC,
		                      .version = AGENT_VERSION,
		                      .flags = flags,
		                      .number = manifest->attachment,
		                      .pid_namespace = agent_pid_namespace(),
		                      .nprocesses = (uint32_t)parts->nprocesses,
		                      .nprograms = (uint32_t)parts->nprograms,
		                      .nsteps = (uint32_t)parts->nsteps,
		                      .nliterals = (uint32_t)parts->nliterals };

	s.manifest_at = sizeof(s);
	s.processes_at = round_up(s.manifest_at + manifest->size);
	s.programs_at = round_up(s.processes_at + parts->nprocesses * sizeof(struct agent_process));
	s.steps_at = round_up(s.programs_at + parts->nprograms * sizeof(struct agent_program));
	s.literals_at = round_up(s.steps_at + parts->nsteps * sizeof(struct fetch_step));
	s.on_at = round_up(s.literals_at + parts->nliterals * sizeof(struct fetch_literal));
	s.size = round_up(s.on_at + manifest->npoints);
	return s;
}

static void file_put_programs(char *bytes, const struct agent_attachment *s, const struct file_parts *parts)
{
	struct agent_program *programs = (struct agent_program *)(bytes + s->programs_at);
	struct fetch_step *steps = (struct fetch_step *)(bytes + s->steps_at);
	struct fetch_literal *literals = (struct fetch_literal *)(bytes + s->literals_at);
	uint32_t step = 0, literal = 0;

	for (size_t i = 0; i < parts->nprograms; i++) {
		const struct fetch_program *from = parts->programs[i];
		struct agent_program *to = &programs[i];

		*to = (struct agent_program){ .step = step,
			                      .nsteps = (uint32_t)from->nsteps,
			                      .npredicate = (uint32_t)from->npredicate,
			                      .naggregate = (uint32_t)from->naggregate,
			                      .role = from->role,
			                      .match = from->match,
			                      .nkey = (uint32_t)from->nkey,
			                      .sample = from->sample,
			                      .literal = literal,
			                      .nliterals = (uint32_t)from->nliterals,
			                      .nargs = (uint32_t)from->nargs };
		memcpy(to->kind, from->kind, sizeof(to->kind));
		memcpy(to->size, from->size, sizeof(to->size));
		if (from->nsteps)
			memcpy(&steps[step], from->steps, from->nsteps * sizeof(*steps));
		if (from->nliterals)
			memcpy(&literals[literal], from->literals, from->nliterals * sizeof(*literals));
		step += to->nsteps;
		literal += to->nliterals;
	}
}

/* Sets the pointers into bytes, whose header is valid. */
static void file_set_bytes(struct agent_file *file, void *bytes)
{
	file->attachment = bytes;
	file->manifest = (struct manifest *)((char *)bytes + file->attachment->manifest_at);
	file->on = (uint8_t *)bytes + file->attachment->on_at;
}

static void file_put_points(struct agent_file *file, const struct file_parts *parts, struct arm_point *const *points,
                            size_t npoints)
{
	struct manifest_point *made = (struct manifest_point *)manifest_points(file->manifest);
	struct agent_program *programs =
		(struct agent_program *)((char *)file->attachment + file->attachment->programs_at);

	for (size_t i = 0; i < npoints; i++) {
		struct manifest_point *point = &made[points[i]->point];

		point->spec = (uint32_t)lower_bound(parts->programs, parts->nprograms, sizeof(*parts->programs),
		                                    &points[i]->program, file_program_compare);
		if (point->group)
			programs[point->spec].aggregate = manifest_groups(file->manifest)[point->group - 1].aggregate;
		file->on[points[i]->point] = !points[i]->error;
	}
}

int agent_file_make(struct agent_file *file, const struct manifest *manifest, uint32_t flags,
                    const struct arm_options *options, uint32_t ring_size, struct arm_point *const *points,
                    size_t npoints)
{
	struct agent_attachment s;
	struct file_parts parts = { 0 };
	char *bytes;
	int err = parts_find(&parts, points, npoints);

	*file = (struct agent_file){ 0 };
	if (err)
		goto out;
	s = file_layout(&parts, manifest, flags);
	s.cells = manifest->ngroups ? options->cells : 0;
	s.ring_size = ring_size;
	s.flight = (uint32_t)((options->flight + AGENT_FLIGHT_SLOT - 1) / AGENT_FLIGHT_SLOT);
	if (s.size > AGENT_ATTACHMENT_SIZE_MAX) {
		err = error_set(EFBIG,
		                "%u sites are too many for the agent at once: %llu MB of description, at most %u MB; "
		                "enable them in several commands",
		                manifest->npoints, (unsigned long long)s.size >> 20, AGENT_ATTACHMENT_SIZE_MAX >> 20);
		goto out;
	}
	bytes = calloc(1, s.size);
	if (!bytes) {
		err = error_nomem();
		goto out;
	}
	memcpy(bytes, &s, sizeof(s));
	memcpy(bytes + s.manifest_at, manifest, manifest->size);
	if (parts.nprocesses)
		memcpy(bytes + s.processes_at, parts.processes, parts.nprocesses * sizeof(struct agent_process));
	file_put_programs(bytes, &s, &parts);
	file_set_bytes(file, bytes);
	file->manifest->attachment = s.number;
	file_put_points(file, &parts, points, npoints);
out:
	parts_release(&parts);
	return err;
}

/* ---- reading a file ---- */

/* Whether n elements of a size, from `at` on, end before the next part. */
static bool part_fits(uint64_t at, uint64_t n, uint64_t size, uint64_t next)
{
	return !(at & 7) && at <= next && n * size <= next - at;
}

static bool file_layout_fits(const struct agent_attachment *s, size_t size)
{
	return s->size == size && s->manifest_at >= sizeof(*s) &&
	       part_fits(s->manifest_at, 1, sizeof(struct manifest), s->processes_at) &&
	       part_fits(s->processes_at, s->nprocesses, sizeof(struct agent_process), s->programs_at) &&
	       part_fits(s->programs_at, s->nprograms, sizeof(struct agent_program), s->steps_at) &&
	       part_fits(s->steps_at, s->nsteps, sizeof(struct fetch_step), s->literals_at) &&
	       part_fits(s->literals_at, s->nliterals, sizeof(struct fetch_literal), s->on_at) && !(s->on_at & 7) &&
	       s->on_at <= size;
}

/* Checks the size bytes of segment-`number`. path: for error messages. */
static int file_check(void *bytes, size_t size, uint32_t number, const char *path)
{
	const struct agent_attachment *s = bytes;
	struct manifest *d;
	int err;

	if (size < sizeof(*s) || s->magic != AGENT_ATTACHMENT_MAGIC)
		return error_set(EBADMSG, "'%s' is not an attachment of probe points", path);
	if (s->version != AGENT_VERSION)
		return error_set(EBADMSG,
		                 "'%s' was written by another version of probepoint; disarm it with that version",
		                 path);
	if (!file_layout_fits(s, size))
		return error_set(EBADMSG, "'%s' is damaged: its parts overlap or exceed the file", path);
	d = (struct manifest *)((char *)bytes + s->manifest_at);
	/* The manifest has its own size, and its part may be padded. */
	if (d->size > s->processes_at - s->manifest_at)
		return error_set(EBADMSG, "'%s' is damaged: its parts overlap or exceed the file", path);
	err = manifest_check(d, d->size, path);
	if (err)
		return err;
	if (d->npoints > size - s->on_at || d->attachment != s->number || s->number != number)
		return error_set(EBADMSG, "'%s' is damaged: its number or its number of points is wrong", path);
	return 0;
}

int agent_file_read(const struct agent_dir *dir, uint32_t number, struct agent_file *file)
{
	char path[64 + sizeof(dir->path)];
	void *bytes = NULL;
	size_t size;
	int err = agent_dir_read(dir, "segment", (struct agent_file_id){ number, 0, 0 }, AGENT_ATTACHMENT_SIZE_MAX,
	                         &bytes, &size);

	*file = (struct agent_file){ 0 };
	if (err)
		return err;
	snprintf(path, sizeof(path), "%s/segment-%u", dir->path, number);
	err = file_check(bytes, size, number, path);
	if (err)
		free(bytes);
	else
		file_set_bytes(file, bytes);
	return err;
}

int agent_file_write(const struct agent_dir *dir, const struct agent_file *file)
{
	return agent_dir_write(dir, "segment", (struct agent_file_id){ file->attachment->number, 0, 0 },
	                       file->attachment, file->attachment->size);
}

void agent_file_release(struct agent_file *file)
{
	free(file->attachment);
	*file = (struct agent_file){ 0 };
}

const struct agent_process *agent_file_processes(const struct agent_file *file)
{
	return (const struct agent_process *)((const char *)file->attachment + file->attachment->processes_at);
}
