/* SPDX-License-Identifier: MIT */
#include "runtime/agent/counts-file.h"

#include <stdlib.h>
#include <string.h>

#define CELLS_MAX (2 * AGG_CELLS_MAX) /* in a file */

void counts_add(struct agent_count *to, const struct agent_count *from, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		to[i].recorded += from[i].recorded;
		to[i].filtered += from[i].filtered;
		to[i].unsampled += from[i].unsampled;
		to[i].idle += from[i].idle;
		to[i].unmatched += from[i].unmatched;
		to[i].lost += from[i].lost;
	}
}

static bool counts_are_zero(const struct agent_count *counts, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		if (counts[i].recorded | counts[i].filtered | counts[i].idle | counts[i].lost | counts[i].unmatched |
		    counts[i].unsampled)
			return false;
	return true;
}

struct agent_count *counts_of(const struct agent_counts *file)
{
	return (struct agent_count *)(file + 1);
}

const void *counts_cells(const struct agent_counts *file)
{
	return counts_of(file) + file->npoints;
}

static size_t counts_size(uint32_t npoints)
{
	return sizeof(struct agent_counts) + npoints * sizeof(struct agent_count);
}

static bool counts_are_valid(const struct agent_counts *c, size_t size, const struct agent_cells *cells, pid_t pid)
{
	const struct manifest *d = cells->manifest;

	return size >= sizeof(*c) && c->magic == AGENT_COUNTS_MAGIC && c->version == AGENT_VERSION && c->size == size &&
	       c->attachment == d->attachment && c->npoints == d->npoints && c->pid == (uint32_t)pid &&
	       (d->ngroups || !c->ncells) && size == counts_size(c->npoints) + agent_cells_size(cells, c->ncells);
}

struct agent_file_id counts_file_id(const struct manifest *manifest, const char *name, pid_t pid, uint64_t start_time,
                                    uint64_t region)
{
	return (struct agent_file_id){ manifest->attachment, pid, strcmp(name, COUNTS_ENDED) ? start_time : region };
}

struct agent_counts *counts_file_read(const struct agent_dir *dir, const char *name, const struct manifest *manifest,
                                      struct agent_file_id id)
{
	struct agent_cells cells;
	void *bytes = NULL;
	bool valid = false;
	size_t max, size;

	if (agent_cells_init(&cells, manifest))
		return NULL;
	max = counts_size(manifest->npoints) + agent_cells_size(&cells, manifest->ngroups ? CELLS_MAX : 0);
	if (!agent_dir_read(dir, name, id, max, &bytes, &size))
		valid = counts_are_valid(bytes, size, &cells, id.pid);
	agent_cells_release(&cells);
	if (valid)
		return bytes;
	free(bytes);
	return NULL;
}

/* What is to be written. */
struct counts_made {
	struct agent_counts header;
	uint64_t region;
	struct agent_count *counts;
	struct agent_cells cells;
};

static struct agent_file_id made_id(const struct counts_made *made, const char *name)
{
	return counts_file_id(made->cells.manifest, name, (pid_t)made->header.pid, made->header.start_time,
	                      made->region);
}

/* Adds what the file has for the same process. Returns false if the file need not be written. */
static bool counts_merge(struct counts_made *made, const struct agent_dir *dir, const char *name)
{
	const struct manifest *d = made->cells.manifest;
	bool past = !strcmp(name, COUNTS_PAST), write = true;
	const char *other = past ? COUNTS_PAST : COUNTS_ENDED;
	struct agent_counts *before = counts_file_read(dir, other, d, made_id(made, other));

	if (before) {
		write = past;
		if (past) {
			counts_add(made->counts, counts_of(before), d->npoints);
			write = !agent_cells_add_stored(&made->cells, counts_cells(before), before->ncells);
			agent_cells_merge(&made->cells);
		}
	}
	free(before);
	return write && (!counts_are_zero(made->counts, d->npoints) || !agent_cells_are_zero(&made->cells));
}

static void counts_write(struct counts_made *made, const struct agent_dir *dir, const char *name)
{
	uint32_t npoints = made->header.npoints;
	size_t size = counts_size(npoints) + agent_cells_size(&made->cells, made->cells.ncells);
	struct agent_counts *file = malloc(size);

	if (!file)
		return;
	made->header.size = size;
	made->header.ncells = (uint32_t)made->cells.ncells;
	*file = made->header;
	if (npoints)
		memcpy(counts_of(file), made->counts, npoints * sizeof(*made->counts));
	agent_cells_store(&made->cells, counts_of(file) + npoints);
	if (!agent_dir_write(dir, name, made_id(made, name), file, size) && !strcmp(name, COUNTS_PAST))
		agent_dir_unlink(dir, COUNTS_LAST, made_id(made, COUNTS_LAST));
	free(file);
}

void counts_file_save(const struct agent_dir *dir, const struct mapped_shm *shm, pid_t pid, uint64_t start_time,
                      const struct manifest *manifest, const char *name)
{
	struct counts_made made = { .header = { .magic = AGENT_COUNTS_MAGIC,
		                                .version = AGENT_VERSION,
		                                .attachment = manifest->attachment,
		                                .npoints = manifest->npoints,
		                                .pid = (uint32_t)pid,
		                                .start_time = start_time },
		                    .region = shm_id(shm) };

	if (agent_cells_init(&made.cells, manifest))
		return;
	made.counts = calloc(manifest->npoints + 1, sizeof(*made.counts));
	if (made.counts && !agent_cells_add_shm(&made.cells, shm)) {
		shm_count(shm, manifest->attachment, made.counts, manifest->npoints);
		if (counts_merge(&made, dir, name))
			counts_write(&made, dir, name);
	}
	free(made.counts);
	agent_cells_release(&made.cells);
}

/* ---- records that are lost ---- */

void counts_file_lose(const struct agent_dir *dir, const struct manifest *manifest, const char *name,
                      struct agent_file_id id, uint64_t *lost)
{
	struct agent_counts *file = counts_file_read(dir, name, manifest, id);
	uint64_t moved = 0;

	if (!file)
		return;
	for (uint32_t i = 0; i < file->npoints; i++) {
		struct agent_count *count = &counts_of(file)[i];
		uint64_t n = lost[i] < count->recorded ? lost[i] : count->recorded;

		count->recorded -= n;
		count->lost += n;
		lost[i] -= n;
		moved += n;
	}
	if (moved)
		agent_dir_write(dir, name, id, file, file->size);
	free(file);
}

struct counts_loss {
	const struct agent_dir *dir;
	const struct manifest *manifest;
	const char *name;
	pid_t pid;
	uint64_t *lost;
};

static int counts_lose_one(const struct agent_file_id *id, void *arg)
{
	const struct counts_loss *loss = arg;

	if (id->number == loss->manifest->attachment && id->pid == loss->pid)
		counts_file_lose(loss->dir, loss->manifest, loss->name, *id, loss->lost);
	return 0;
}

void counts_files_lose(const struct agent_dir *dir, const struct manifest *manifest, pid_t pid, uint64_t *lost)
{
	static const char *const names[] = { COUNTS_ENDED, COUNTS_PAST };

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		agent_dir_each_file(dir, names[i], counts_lose_one,
		                    &(struct counts_loss){ dir, manifest, names[i], pid, lost });
}
