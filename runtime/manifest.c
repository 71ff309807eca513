/* SPDX-License-Identifier: MIT */
#include "runtime/manifest.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <probepoint.h>

#include "runtime/fetch/program.h"
#include "runtime/function.h"
#include "base/error.h"
#include "sdt/image.h"

_Static_assert(sizeof(struct manifest) == 48 && sizeof(struct manifest_point) == 40 &&
                       sizeof(struct manifest_file) == 40 && sizeof(struct manifest_layout) == 52 &&
                       sizeof(struct manifest_probe) == 16 && sizeof(struct manifest_arg) == 8,
               "description layout");

/* Counts are of 32 bits, so the sum cannot overflow. */
static uint64_t manifest_size(const struct manifest *d)
{
	return sizeof(*d) + sizeof(struct manifest_point) * (uint64_t)d->npoints +
	       sizeof(struct manifest_file) * (uint64_t)d->nfiles +
	       sizeof(struct manifest_layout) * (uint64_t)d->nlayouts +
	       sizeof(struct manifest_probe) * (uint64_t)d->nprobes + sizeof(struct manifest_arg) * (uint64_t)d->nargs +
	       d->npool + sizeof(struct manifest_process) * (uint64_t)d->nprocesses;
}

uint64_t manifest_start_time(const struct manifest *d, uint32_t pid)
{
	for (uint32_t i = 0; i < d->nprocesses; i++)
		if (manifest_processes(d)[i].pid == pid)
			return manifest_processes(d)[i].start_time;
	return 0;
}

static bool layout_ok(const struct manifest_layout *l)
{
	unsigned strings = 0;

	if (l->nargs > RECORD_ARGS_MAX)
		return false;
	for (unsigned i = 0; i < l->nargs; i++) {
		unsigned size = l->size[i];

		switch (l->kind[i]) {
		case PP_STRING:
			if (++strings > RECORD_STRINGS_MAX)
				return false;
			break;
		case PP_FAULT: break;
		case PP_FLOAT:
			if (size != 4 && size != 8)
				return false;
			break;
		case PP_SIGNED:
		case PP_UNSIGNED:
		case PP_POINTER:
		case PP_BOOL:
		case PP_CHAR:
			if (size != 1 && size != 2 && size != 4 && size != 8)
				return false;
			break;
		default: return false;
		}
	}
	return true;
}

int manifest_check(const struct manifest *d, size_t size, const char *what)
{
	if (size < sizeof(*d) || d->magic != MANIFEST_MAGIC)
		return error_set(EBADMSG, "'%s' is no description of probe points", what);
	if (d->version != MANIFEST_VERSION)
		return error_set(EBADMSG,
		                 "'%s' was written by another version of probepoint (layout %u, here %u): disarm it "
		                 "with that one",
		                 what, d->version, MANIFEST_VERSION);
	if (d->size != size || manifest_size(d) != size)
		return error_set(EBADMSG, "'%s' is damaged: %zu bytes, and its tables make %llu", what, size,
		                 (unsigned long long)manifest_size(d));
	if (d->nprocesses && ((uintptr_t)manifest_processes(d) - (uintptr_t)d) % 8)
		return error_set(EBADMSG, "'%s' is damaged: its processes are not aligned", what);
	if (d->npool && manifest_string(d, d->npool - 1)[0])
		return error_set(EBADMSG, "'%s' is damaged: its strings do not end", what);

	for (uint32_t i = 0; i < d->nfiles; i++) {
		const struct manifest_file *f = &manifest_files(d)[i];

		if (f->path >= d->npool || f->build_id >= d->npool)
			return error_set(EBADMSG, "'%s' is damaged: file %u has no name", what, i);
	}
	for (uint32_t i = 0; i < d->nargs; i++) {
		const struct manifest_arg *a = &manifest_args(d)[i];

		if (a->name >= d->npool || a->type >= d->npool)
			return error_set(EBADMSG, "'%s' is damaged: argument %u has no name", what, i);
	}
	for (uint32_t i = 0; i < d->nlayouts; i++)
		if (!layout_ok(&manifest_layouts(d)[i]))
			return error_set(EBADMSG, "'%s' is damaged: no record can be of layout %u", what, i);
	for (uint32_t i = 0; i < d->nprobes; i++) {
		const struct manifest_probe *p = &manifest_probes(d)[i];

		if (p->name >= d->npool || p->file >= d->nfiles || p->args > d->nargs || p->nargs > d->nargs - p->args)
			return error_set(EBADMSG, "'%s' is damaged: probe %u points outside", what, i);
	}
	for (uint32_t i = 0; i < d->npoints; i++) {
		const struct manifest_point *p = &manifest_points(d)[i];

		if (p->probe >= d->nprobes || p->layout >= d->nlayouts || p->role > SITE_LEAVE)
			return error_set(EBADMSG, "'%s' is damaged: point %u points outside", what, i);
	}
	return 0;
}

/* ---- making one ---- */

struct list {
	void *items;
	size_t n, room, size; /* size: of an item */
};

/* Finds the items of a list: open addressing, at most half full. An entry is an index + 1. */
struct table {
	struct table_entry {
		uint32_t hash, index;
	} * entries;
	size_t n, room;
};

struct manifest_builder {
	struct list points, files, layouts, probes, args, pool, processes;
	struct table file_table, layout_table, probe_table, string_table;
};

static int out_of_memory(void)
{
	return error_set(ENOMEM, "out of memory describing probe points");
}

/* Appends n items; the index of the first. */
static int list_add(struct list *list, const void *items, size_t n)
{
	if (n > list->room - list->n) {
		size_t room = list->room ? 2 * list->room : 64;
		void *grown;

		while (room < list->n + n)
			room *= 2;
		if (room > (size_t)INT_MAX)
			return out_of_memory();
		grown = realloc(list->items, room * list->size);
		if (!grown)
			return out_of_memory();
		list->items = grown;
		list->room = room;
	}
	if (n)
		memcpy((char *)list->items + list->n * list->size, items, n * list->size);
	list->n += n;
	return list->n - n;
}

static uint32_t hash_bytes(const void *bytes, size_t n)
{
	const unsigned char *b = bytes;
	uint64_t h = 0xcbf29ce484222325u;

	while (n--)
		h = (h ^ *b++) * 0x100000001b3u;
	return h ^ h >> 32;
}

static void table_put(struct table *table, uint32_t hash, uint32_t index)
{
	size_t at = hash & (table->room - 1);

	while (table->entries[at].index)
		at = (at + 1) & (table->room - 1);
	table->entries[at] = (struct table_entry){ hash, index };
	table->n++;
}

static int table_reserve(struct table *table)
{
	struct table grown = { .room = table->room ? 2 * table->room : 64 };

	if (2 * (table->n + 1) <= table->room)
		return 0;
	grown.entries = calloc(grown.room, sizeof(*grown.entries));
	if (!grown.entries)
		return out_of_memory();
	for (size_t i = 0; i < table->room; i++)
		if (table->entries[i].index)
			table_put(&grown, table->entries[i].hash, table->entries[i].index);
	free(table->entries);
	*table = grown;
	return 0;
}

/*
 * The index of the list's item that begins with the same key bytes as item, which
 * is appended where there is none.
 */
static int list_find_or_add(struct list *list, struct table *table, const void *item, size_t key, size_t n)
{
	uint32_t hash = hash_bytes(item, key);
	int index = table_reserve(table);

	if (index)
		return index;
	for (size_t at = hash & (table->room - 1); table->entries[at].index; at = (at + 1) & (table->room - 1)) {
		index = table->entries[at].index - 1;
		if (table->entries[at].hash == hash && key <= (list->n - index) * list->size &&
		    !memcmp((char *)list->items + index * list->size, item, key))
			return index;
	}
	index = list_add(list, item, n);
	if (index >= 0)
		table_put(table, hash, index + 1);
	return index;
}

/* Its offset in the pool. */
static int add_string(struct manifest_builder *builder, const char *string)
{
	size_t n = strlen(string) + 1;

	return list_find_or_add(&builder->pool, &builder->string_table, string, n, n);
}

int manifest_builder_new(struct manifest_builder **builder)
{
	*builder = calloc(1, sizeof(**builder));
	if (!*builder)
		return out_of_memory();
	(*builder)->points.size = sizeof(struct manifest_point);
	(*builder)->files.size = sizeof(struct manifest_file);
	(*builder)->layouts.size = sizeof(struct manifest_layout);
	(*builder)->probes.size = sizeof(struct manifest_probe);
	(*builder)->args.size = sizeof(struct manifest_arg);
	(*builder)->pool.size = 1;
	(*builder)->processes.size = sizeof(struct manifest_process);
	return 0;
}

void manifest_builder_free(struct manifest_builder *builder)
{
	if (!builder)
		return;
	free(builder->points.items);
	free(builder->files.items);
	free(builder->layouts.items);
	free(builder->probes.items);
	free(builder->args.items);
	free(builder->pool.items);
	free(builder->processes.items);
	free(builder->file_table.entries);
	free(builder->layout_table.entries);
	free(builder->probe_table.entries);
	free(builder->string_table.entries);
	free(builder);
}

int manifest_add_file(struct manifest_builder *builder, const struct pp_image *image)
{
	struct manifest_file file = { .device = image->device,
		                      .inode = image->inode,
		                      .real_device = image->real_device,
		                      .real_inode = image->real_inode };
	int path = add_string(builder, image->name ? image->name : image->path);
	int build_id = add_string(builder, image->build_id);

	if (path < 0 || build_id < 0)
		return -ENOMEM;
	file.path = path;
	file.build_id = build_id;
	return list_find_or_add(&builder->files, &builder->file_table, &file, sizeof(file), 1);
}

static int add_args(struct manifest_builder *builder, const struct pp_probe *probe, struct manifest_probe *to)
{
	to->args = builder->args.n;
	for (size_t i = 0; i < probe->nargs; i++) {
		int name = add_string(builder, probe->args[i].name);
		int type = add_string(builder, probe->args[i].type ? probe->args[i].type : "");
		struct manifest_arg arg = { name, type };

		if (name < 0 || type < 0 || list_add(&builder->args, &arg, 1) < 0)
			return -ENOMEM;
	}
	to->nargs = probe->nargs;
	return 0;
}

int manifest_add_probe(struct manifest_builder *builder, const struct pp_probe *probe, int file)
{
	size_t before = builder->probes.n;
	struct manifest_probe added = { .file = file };
	char *name;
	int at;

	if (asprintf(&name, "%s:%s", probe->provider, probe->name) < 0)
		return out_of_memory();
	at = add_string(builder, name);
	free(name);
	if (at < 0)
		return at;
	added.name = at;
	at = list_find_or_add(&builder->probes, &builder->probe_table, &added, offsetof(struct manifest_probe, args),
	                      1);
	if (at >= 0 && (size_t)at == before &&
	    add_args(builder, probe, &((struct manifest_probe *)builder->probes.items)[at]))
		return -ENOMEM;
	return at;
}

int manifest_add_layout(struct manifest_builder *builder, const struct fetch_program *program)
{
	struct manifest_layout layout = { .nargs = program->nargs };

	memcpy(layout.kind, program->kind, program->nargs);
	memcpy(layout.size, program->size, program->nargs);
	return list_find_or_add(&builder->layouts, &builder->layout_table, &layout, sizeof(layout), 1);
}

int manifest_add_process(struct manifest_builder *builder, uint32_t pid, uint64_t start_time)
{
	const struct manifest_process *known = builder->processes.items;

	for (size_t i = 0; i < builder->processes.n; i++)
		if (known[i].pid == pid)
			return (int)i;
	return list_add(&builder->processes, &(struct manifest_process){ .pid = pid, .start_time = start_time }, 1);
}

int manifest_add_point(struct manifest_builder *builder, const struct manifest_point *point)
{
	return list_add(&builder->points, point, 1);
}

static char *list_copy(char *to, const struct list *list)
{
	if (list->n)
		memcpy(to, list->items, list->n * list->size);
	return to + list->n * list->size;
}

int manifest_build(struct manifest_builder *builder, uint32_t attachment, struct manifest **manifest)
{
	struct manifest d = {
		.magic = MANIFEST_MAGIC,
		.version = MANIFEST_VERSION,
		.attachment = attachment,
		.nfiles = builder->files.n,
		.nargs = builder->args.n,
		.nprobes = builder->probes.n,
		.nlayouts = builder->layouts.n,
		.npoints = builder->points.n,
		.npool = builder->pool.n,
		.nprocesses = builder->processes.n,
	};
	char *at;

	d.npool += -manifest_size(&d) & 7; /* a whole number of words, as maps like it */
	d.size = manifest_size(&d);
	*manifest = calloc(1, d.size);
	if (!*manifest)
		return out_of_memory();
	**manifest = d;
	at = list_copy((char *)(*manifest + 1), &builder->points);
	at = list_copy(at, &builder->files);
	at = list_copy(at, &builder->layouts);
	at = list_copy(at, &builder->probes);
	at = list_copy(at, &builder->args);
	list_copy(at, &builder->pool);
	if (d.nprocesses)
		list_copy((char *)manifest_processes(*manifest), &builder->processes);
	return 0;
}
