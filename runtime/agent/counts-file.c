/* SPDX-License-Identifier: MIT */
#include "runtime/agent/counts-file.h"

#include <stdlib.h>
#include <string.h>

void counts_add(struct agent_count *to, const struct agent_count *from, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		to[i].recorded += from[i].recorded;
		to[i].filtered += from[i].filtered;
		to[i].idle += from[i].idle;
		to[i].unmatched += from[i].unmatched;
		to[i].lost += from[i].lost;
	}
}

static bool counts_are_zero(const struct agent_count *counts, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		if (counts[i].recorded | counts[i].filtered | counts[i].idle | counts[i].lost |
		    counts[i].unmatched)
			return false;
	return true;
}

struct agent_count *counts_of(const struct agent_counts *file)
{
	return (struct agent_count *)(file + 1);
}

static size_t counts_size(uint32_t npoints)
{
	return sizeof(struct agent_counts) + npoints * sizeof(struct agent_count);
}

struct agent_counts *counts_file_read(const struct agent_dir *dir, const char *name, uint32_t attachment, pid_t pid,
                                      uint32_t npoints)
{
	size_t wanted = counts_size(npoints), size;
	struct agent_counts *c;
	void *bytes;

	if (agent_dir_read(dir, name, attachment, pid, wanted, &bytes, &size))
		return NULL;
	c = bytes;
	if (size == wanted && c->magic == AGENT_COUNTS_MAGIC && c->version == AGENT_VERSION && c->size == size &&
	    c->attachment == attachment && c->npoints == npoints && c->pid == (uint32_t)pid)
		return c;
	free(bytes);
	return NULL;
}

/* Adds what the file has for the same process. Returns false if the file need not be written. */
static bool counts_merge(struct agent_counts *c, const struct agent_dir *dir, pid_t pid, const char *name)
{
	bool past = !strcmp(name, COUNTS_PAST), write = true;
	struct agent_counts *before =
		counts_file_read(dir, past ? COUNTS_PAST : COUNTS_ENDED, c->attachment, pid, c->npoints);

	if (before && before->start_time == c->start_time) {
		if (past)
			counts_add(counts_of(c), counts_of(before), c->npoints);
		else
			write = false;
	}
	free(before);
	return write && !counts_are_zero(counts_of(c), c->npoints);
}

void counts_file_save(const struct agent_dir *dir, const struct mapped_shm *shm, pid_t pid, uint64_t start_time,
                      uint32_t attachment, uint32_t npoints, const char *name)
{
	size_t size = counts_size(npoints);
	struct agent_counts *c = calloc(1, size);

	if (!c)
		return;
	*c = (struct agent_counts){ .magic = AGENT_COUNTS_MAGIC,
		                    .version = AGENT_VERSION,
		                    .size = size,
		                    .attachment = attachment,
		                    .npoints = npoints,
		                    .pid = (uint32_t)pid,
		                    .start_time = start_time };
	shm_count(shm, attachment, counts_of(c), npoints);
	if (counts_merge(c, dir, pid, name))
		agent_dir_write(dir, name, attachment, pid, c, size);
	free(c);
}
