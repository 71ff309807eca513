/* SPDX-License-Identifier: MIT */
/*
 * The maps of an attachment's aggregates (emit.h). Programs only add elements to `cells`, so readers see each cell once,
 * with values that are exact if no hit is in flight.
 */
#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "runtime/kernel/kernel.h"

#define BATCH 1024

static uint32_t misfits_of(const struct manifest *manifest)
{
	return manifest->ngroups * AGG_COLUMNS_MAX;
}

/* Tells programs the group of each point. */
static void points_set_groups(struct kernel_attachment *s, const struct manifest *manifest)
{
	for (uint32_t p = 0; p < manifest->npoints; p++)
		for (unsigned i = 0; i < s->shards; i++)
			s->counts[(size_t)p * s->shards + i].group = manifest_points(manifest)[p].group;
}

int kernel_aggregates_create(struct kernel_attachment *s, const struct manifest *manifest, unsigned cells)
{
	uint32_t key = (uint32_t)manifest_key_size(manifest);

	if (!manifest->ngroups)
		return 0;
	s->cells_fd = kernel_hash_create("pp_cells", key, sizeof(struct agg_cell), cells);
	if (s->cells_fd < 0)
		return s->cells_fd;
	s->misfits_fd = kernel_map_create(BPF_MAP_TYPE_ARRAY, "pp_misfits", 4, sizeof(struct kernel_misfit),
	                                  misfits_of(manifest), 0);
	if (s->misfits_fd < 0)
		return s->misfits_fd;
	points_set_groups(s, manifest);
	return 0;
}

/* Opens a map and checks the sizes of its elements. Returns its descriptor, or a negative errno. */
static int map_get(const struct kernel_attachment *s, const char *name, uint32_t number, uint32_t key, uint32_t value)
{
	struct bpf_map_info info = { 0 };
	uint32_t size = sizeof(info);
	int fd = pin_get(&s->session->pins, name, (int)number, -1);

	if (fd == -ENOENT)
		return fd;
	if (fd < 0)
		return error_set(-fd, "cannot open '%s': %s", pin_path(&s->session->pins, name, (int)number, -1),
		                 strerror(-fd));
	if (!bpf_obj_get_info_by_fd(fd, &info, &size) && info.key_size == key && info.value_size == value)
		return fd;
	close(fd);
	return error_set(EBADMSG, "'%s' has another size than the manifest says",
	                 pin_path(&s->session->pins, name, (int)number, -1));
}

int kernel_aggregates_get(struct kernel_attachment *s, const struct manifest *manifest)
{
	if (!manifest->ngroups)
		return 0;
	s->cells_fd = map_get(s, "cells", manifest->attachment, (uint32_t)manifest_key_size(manifest),
	                      sizeof(struct agg_cell));
	if (s->cells_fd < 0)
		return s->cells_fd;
	s->misfits_fd = map_get(s, "misfits", manifest->attachment, 4, sizeof(struct kernel_misfit));
	return s->misfits_fd < 0 ? s->misfits_fd : 0;
}

/* ---- reading ---- */

/* The elements that one system call returns. */
struct cell_batch {
	char *keys;
	struct agg_cell *cells;
	size_t key_size;
	uint32_t room;
};

/* The kernel returns whole buckets of its hash table, so one with many elements needs more room. */
static int batch_grow(struct cell_batch *b)
{
	uint32_t room = b->room ? 2 * b->room : BATCH;
	char *keys = realloc(b->keys, room * b->key_size);
	struct agg_cell *cells;

	if (!keys)
		return error_nomem();
	b->keys = keys;
	cells = realloc(b->cells, room * sizeof(*cells));
	if (!cells)
		return error_nomem();
	b->cells = cells;
	b->room = room;
	return 0;
}

static int batch_report(const struct cell_batch *b, uint32_t n, agg_cell_fn *cell, void *arg)
{
	int err = 0;

	for (uint32_t i = 0; i < n && !err; i++)
		err = cell((const struct agg_key *)(b->keys + i * b->key_size), b->key_size, &b->cells[i], arg);
	return err;
}

static int cells_read(int fd, size_t key_size, agg_cell_fn *cell, void *arg)
{
	struct cell_batch b = { .key_size = key_size };
	uint32_t at, n;
	int err = batch_grow(&b), read = 0;
	bool begun = false;

	while (!err && read != -ENOENT) {
		n = b.room;
		read = bpf_map_lookup_batch(fd, begun ? &at : NULL, &at, b.keys, b.cells, &n, NULL);
		if (read == -ENOSPC)
			err = batch_grow(&b);
		else if (read && read != -ENOENT)
			err = error_set(-read, "cannot read the cells of aggregates: %s", strerror(-read));
		else
			err = batch_report(&b, n, cell, arg);
		begun |= !read;
	}
	free(b.keys);
	free(b.cells);
	return err;
}

static int misfits_read(int fd, const struct manifest *manifest, agg_misfit_fn *misfit, void *arg)
{
	for (uint32_t i = 0; i < misfits_of(manifest); i++) {
		uint32_t group = i / AGG_COLUMNS_MAX, column = i % AGG_COLUMNS_MAX;
		struct kernel_misfit value;
		int err;

		if (column >= manifest_aggregates(manifest)[manifest_groups(manifest)[group].aggregate].ncolumns)
			continue;
		if (bpf_map_lookup_elem(fd, &i, &value))
			return error_set(errno, "cannot read the rest of aggregates: %s", strerror(errno));
		err = misfit(group, column, &value.counts, arg);
		if (err)
			return err;
	}
	return 0;
}

int kernel_aggregates(const struct attachment *attachment, agg_cell_fn *cell, agg_misfit_fn *misfit, void *arg)
{
	const struct kernel_attachment *s = attachment->state;
	int err;

	if (s->cells_fd < 0)
		return 0;
	err = cells_read(s->cells_fd, manifest_key_size(attachment->manifest), cell, arg);
	return err ? err : misfits_read(s->misfits_fd, attachment->manifest, misfit, arg);
}
