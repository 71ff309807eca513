/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/agent/session-files.h"
#include "runtime/process.h"
#include "base/error.h"

static uint64_t up(uint64_t size)
{
	return (size + 7) & ~7ull;
}

static int compare_programs(const void *a, const void *b)
{
	const struct fetch_program *x = *(const struct fetch_program *const *)a;
	const struct fetch_program *y = *(const struct fetch_program *const *)b;

	return x < y ? -1 : x > y;
}

static int compare_processes(const void *a, const void *b)
{
	const struct agent_process *x = a, *y = b;

	return x->pid < y->pid ? -1 : x->pid > y->pid;
}

/* What the points name, each once, in the order by which it is found again. */
struct named {
	const struct fetch_program **programs;
	struct agent_process *processes;
	size_t nprograms, nprocesses;
	size_t nsteps, nliterals;
};

static void named_release(struct named *named)
{
	free(named->programs);
	free(named->processes);
}

static int named_find(struct named *named, struct arm_point *const *points, size_t npoints)
{
	size_t n = 0;

	named->programs = calloc(npoints + 1, sizeof(*named->programs));
	named->processes = calloc(npoints + 1, sizeof(*named->processes));
	if (!named->programs || !named->processes)
		return error_nomem();
	for (size_t i = 0; i < npoints; i++) {
		named->programs[i] = points[i]->program;
		if (points[i]->process && (!i || points[i]->process != points[i - 1]->process))
			named->processes[named->nprocesses++].pid = points[i]->process->pid;
	}
	qsort(named->programs, npoints, sizeof(*named->programs), compare_programs);
	for (size_t i = 0; i < npoints; i++)
		if (!i || named->programs[i] != named->programs[i - 1])
			named->programs[named->nprograms++] = named->programs[i];
	for (size_t i = 0; i < named->nprograms; i++) {
		named->nsteps += named->programs[i]->nsteps;
		named->nliterals += named->programs[i]->nliterals;
	}
	qsort(named->processes, named->nprocesses, sizeof(*named->processes), compare_processes);
	for (size_t i = 0; i < named->nprocesses; i++)
		if (!i || named->processes[i].pid != named->processes[n - 1].pid)
			named->processes[n++] = named->processes[i];
	named->nprocesses = n;
	for (size_t i = 0; i < n; i++) {
		struct agent_process *process = &named->processes[i];

		process->start_time = process_start_time((pid_t)process->pid);
		if (!process->start_time)
			return error_set(ESRCH, "process %u has ended", process->pid);
	}
	return 0;
}

static uint32_t program_index(const struct named *named, const struct fetch_program *program)
{
	const struct fetch_program **found =
		bsearch(&program, named->programs, named->nprograms, sizeof(*found), compare_programs);

	return (uint32_t)(found - named->programs);
}

static void put_programs(char *file, const struct agent_attachment *s, const struct named *named)
{
	struct agent_program *programs = (struct agent_program *)(file + s->programs_at);
	struct fetch_step *steps = (struct fetch_step *)(file + s->steps_at);
	struct fetch_literal *literals = (struct fetch_literal *)(file + s->literals_at);
	uint32_t step = 0, literal = 0;

	for (size_t i = 0; i < named->nprograms; i++) {
		const struct fetch_program *from = named->programs[i];
		struct agent_program *to = &programs[i];

		*to = (struct agent_program){ .step = step,
			                      .nsteps = (uint32_t)from->nsteps,
			                      .npredicate = (uint32_t)from->npredicate,
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

int agent_file_make(struct agent_file *file, const struct manifest *manifest, uint32_t flags,
                    struct arm_point *const *points, size_t npoints)
{
	struct agent_attachment s = { .magic = AGENT_ATTACHMENT_MAGIC, .version = AGENT_VERSION, .flags = flags };
	struct named named = { 0 };
	struct manifest_point *made;
	int err = named_find(&named, points, npoints);

	*file = (struct agent_file){ 0 };
	if (err)
		goto out;
	s.number = manifest->attachment;
	s.nprocesses = (uint32_t)named.nprocesses;
	s.nprograms = (uint32_t)named.nprograms;
	s.nsteps = (uint32_t)named.nsteps;
	s.nliterals = (uint32_t)named.nliterals;
	s.manifest_at = sizeof(s);
	s.processes_at = up(s.manifest_at + manifest->size);
	s.programs_at = up(s.processes_at + named.nprocesses * sizeof(struct agent_process));
	s.steps_at = up(s.programs_at + named.nprograms * sizeof(struct agent_program));
	s.literals_at = up(s.steps_at + named.nsteps * sizeof(struct fetch_step));
	s.on_at = up(s.literals_at + named.nliterals * sizeof(struct fetch_literal));
	s.size = up(s.on_at + manifest->npoints);
	if (s.size > AGENT_ATTACHMENT_SIZE_MAX) {
		err = error_set(EFBIG,
		                "%u sites at once are too many for the agent: %llu MB of description, and %u are the "
		                "most: enable them in parts",
		                manifest->npoints, (unsigned long long)s.size >> 20, AGENT_ATTACHMENT_SIZE_MAX >> 20);
		goto out;
	}

	char *bytes = calloc(1, s.size);

	if (!bytes) {
		err = error_nomem();
		goto out;
	}
	memcpy(bytes, &s, sizeof(s));
	memcpy(bytes + s.manifest_at, manifest, manifest->size);
	if (named.nprocesses)
		memcpy(bytes + s.processes_at, named.processes, named.nprocesses * sizeof(struct agent_process));
	put_programs(bytes, &s, &named);
	file->attachment = (struct agent_attachment *)bytes;
	file->manifest = (struct manifest *)(bytes + s.manifest_at);
	file->on = (uint8_t *)bytes + s.on_at;
	file->manifest->attachment = s.number;
	made = (struct manifest_point *)manifest_points(file->manifest);
	for (size_t i = 0; i < npoints; i++) {
		made[points[i]->point].spec = program_index(&named, points[i]->program);
		file->on[points[i]->point] = !points[i]->error;
	}
out:
	named_release(&named);
	return err;
}

/* n things of size bytes each, from `at` on, end where the next part begins. */
static bool part_ok(uint64_t at, uint64_t n, uint64_t size, uint64_t next)
{
	return !(at & 7) && at <= next && n * size <= next - at;
}

static bool layout_ok(const struct agent_attachment *s, size_t size)
{
	return s->size == size && s->manifest_at >= sizeof(*s) &&
	       part_ok(s->manifest_at, 1, sizeof(struct manifest), s->processes_at) &&
	       part_ok(s->processes_at, s->nprocesses, sizeof(struct agent_process), s->programs_at) &&
	       part_ok(s->programs_at, s->nprograms, sizeof(struct agent_program), s->steps_at) &&
	       part_ok(s->steps_at, s->nsteps, sizeof(struct fetch_step), s->literals_at) &&
	       part_ok(s->literals_at, s->nliterals, sizeof(struct fetch_literal), s->on_at) && !(s->on_at & 7) &&
	       s->on_at <= size;
}

int agent_file_read(const struct agent_store *store, uint32_t number, struct agent_file *file)
{
	void *bytes = NULL;
	size_t size;
	int err = agent_store_read(store, "segment", number, 0, AGENT_ATTACHMENT_SIZE_MAX, &bytes, &size);
	const struct agent_attachment *s = bytes;
	char what[64 + sizeof(store->path)];

	*file = (struct agent_file){ 0 };
	if (err)
		return err;
	snprintf(what, sizeof(what), "%s/segment-%u", store->path, number);
	if (size < sizeof(*s) || s->magic != AGENT_ATTACHMENT_MAGIC)
		err = error_set(EBADMSG, "'%s' is no segment of probe points", what);
	else if (s->version != AGENT_VERSION)
		err = error_set(EBADMSG, "'%s' was written by another version of probepoint: disarm it with that one",
		                what);
	else if (!layout_ok(s, size))
		err = error_set(EBADMSG, "'%s' is damaged: its parts do not fit", what);
	if (!err) {
		struct manifest *d = (struct manifest *)((char *)bytes + s->manifest_at);

		/* The description says its own size, and its part may be padded. */
		if (d->size > s->processes_at - s->manifest_at)
			err = error_set(EBADMSG, "'%s' is damaged: its parts do not fit", what);
		else
			err = manifest_check(d, d->size, what);
		if (!err && (d->npoints > size - s->on_at || d->attachment != s->number || s->number != number))
			err = error_set(EBADMSG, "'%s' is damaged: its parts disagree", what);
		file->manifest = d;
	}
	if (err) {
		free(bytes);
		file->manifest = NULL;
		return err;
	}
	file->attachment = bytes;
	file->on = (uint8_t *)bytes + s->on_at;
	return 0;
}

int agent_file_write(const struct agent_store *store, const struct agent_file *file)
{
	return agent_store_write(store, "segment", file->attachment->number, 0, file->attachment,
	                         file->attachment->size);
}

void agent_file_release(struct agent_file *file)
{
	free(file->attachment);
	*file = (struct agent_file){ 0 };
}
