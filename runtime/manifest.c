/* SPDX-License-Identifier: MIT */
#include "runtime/manifest.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <probepoint.h>

#include "base/array.h"
#include "base/error.h"
#include "base/hash.h"
#include "runtime/fetch/print.h"
#include "runtime/function.h"
#include "sdt/image.h"

_Static_assert(sizeof(struct manifest) == 72 && sizeof(struct manifest_point) == 48 &&
                       sizeof(struct manifest_aggregate) == 384 && sizeof(struct manifest_name) == 16 &&
                       sizeof(struct manifest_group) == 8 && sizeof(struct manifest_file) == 40 &&
                       sizeof(struct manifest_layout) == 52 && sizeof(struct manifest_probe) == 16 &&
                       sizeof(struct manifest_arg) == 16,
               "manifest layout");

/* The counts have 32 bits, so the sum cannot overflow. */
static uint64_t manifest_size(const struct manifest *d)
{
	return sizeof(*d) + sizeof(struct manifest_point) * (uint64_t)d->npoints +
	       sizeof(struct manifest_aggregate) * (uint64_t)d->naggregates +
	       sizeof(struct manifest_name) * (uint64_t)d->nnames +
	       sizeof(struct manifest_group) * (uint64_t)d->ngroups +
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

static bool argument_is_valid(enum pp_kind kind, unsigned size)
{
	switch (kind) {
	case PP_STRING:
	case PP_FAULT: return true;
	case PP_FLOAT: return size == 2 || size == 4 || size == 8;
	case PP_SIGNED:
	case PP_UNSIGNED:
	case PP_POINTER:
	case PP_BOOL:
	case PP_CHAR: return size == 1 || size == 2 || size == 4 || size == 8;
	case PP_MISSING:
	case PP_STACK: break;
	}
	return false;
}

static bool layout_is_valid(const struct manifest_layout *l)
{
	unsigned strings = 0;

	if (l->nargs > RECORD_ARGS_MAX || l->string_max > RECORD_STRING_MAX)
		return false;
	for (unsigned i = 0; i < l->nargs; i++) {
		if (!argument_is_valid(l->kind[i], l->size[i]))
			return false;
		strings += l->kind[i] == PP_STRING;
	}
	return strings <= RECORD_STRINGS_MAX;
}

size_t manifest_parts_size(const struct manifest_aggregate *aggregate)
{
	size_t size = 0;

	for (uint32_t i = 0; i < aggregate->nparts; i++)
		size += agg_part_size(aggregate->parts[i].kind);
	return size;
}

size_t manifest_key_size(const struct manifest *d)
{
	size_t size = 0;

	for (uint32_t i = 0; i < d->naggregates; i++) {
		size_t key = sizeof(struct agg_key) + manifest_parts_size(&manifest_aggregates(d)[i]);

		size = key > size ? key : size;
	}
	return size;
}

static bool part_kind_is_valid(uint32_t kind)
{
	return kind < PP_MISSING || kind == PP_STACK;
}

static bool manifest_aggregate_is_valid(const struct manifest *d, const struct manifest_aggregate *a)
{
	unsigned nstacks = 0;

	if (a->text >= d->npool || a->ncolumns - 1 >= AGG_COLUMNS_MAX || a->nparts > AGG_PARTS_MAX ||
	    a->ncalls - 1 >= AGG_CALLS_MAX)
		return false;
	for (uint32_t i = 0; i < a->ncolumns; i++)
		if (!agg_column_is_valid(&a->columns[i]))
			return false;
	for (uint32_t i = 0; i < a->nparts; i++)
		nstacks += a->parts[i].kind == PP_STACK;
	if (nstacks > 1)
		return false;
	for (uint32_t i = 0; i < a->nparts; i++)
		if (a->parts[i].text >= d->npool || !part_kind_is_valid(a->parts[i].kind) ||
		    a->parts[i].names > d->nnames || a->parts[i].nnames > d->nnames - a->parts[i].names)
			return false;
	for (uint32_t i = 0; i < a->ncalls; i++)
		if (a->calls[i].text >= d->npool || a->calls[i].function > PP_PCT || a->calls[i].column >= a->ncolumns)
			return false;
	return true;
}

static int manifest_check_aggregates(const struct manifest *d, const char *what)
{
	for (uint32_t i = 0; i < d->naggregates; i++)
		if (!manifest_aggregate_is_valid(d, &manifest_aggregates(d)[i]))
			return error_set(EBADMSG, "'%s' is damaged: aggregate %u is invalid", what, i);
	for (uint32_t i = 0; i < d->nnames; i++)
		if (manifest_names(d)[i].name >= d->npool)
			return error_set(EBADMSG, "'%s' is damaged: enumerator %u has no name", what, i);
	for (uint32_t i = 0; i < d->ngroups; i++)
		if (manifest_groups(d)[i].probe >= d->nprobes || manifest_groups(d)[i].aggregate >= d->naggregates)
			return error_set(EBADMSG, "'%s' is damaged: group %u has an invalid index", what, i);
	return 0;
}

static int manifest_check_header(const struct manifest *d, size_t size, const char *what)
{
	if (size < sizeof(*d) || d->magic != MANIFEST_MAGIC)
		return error_set(EBADMSG, "'%s' is not a manifest of probe points", what);
	if (d->version != MANIFEST_VERSION)
		return error_set(
			EBADMSG,
			"'%s' was written by another version of probepoint (layout %u, expected %u); disarm it "
			"with that version",
			what, d->version, MANIFEST_VERSION);
	if (d->size != size || manifest_size(d) != size)
		return error_set(EBADMSG, "'%s' is damaged: it has %zu bytes, but its tables have %llu", what, size,
		                 (unsigned long long)manifest_size(d));
	if (d->sample.every > FETCH_SAMPLE_MAX || d->sample.rate > FETCH_SAMPLE_MAX)
		return error_set(EBADMSG, "'%s' is damaged: its sampling is invalid", what);
	if (d->nprocesses && ((uintptr_t)manifest_processes(d) - (uintptr_t)d) % 8)
		return error_set(EBADMSG, "'%s' is damaged: its processes are not aligned", what);
	if (d->npool && manifest_string(d, d->npool - 1)[0])
		return error_set(EBADMSG, "'%s' is damaged: its last string is not terminated", what);
	if (d->label > d->npool)
		return error_set(EBADMSG, "'%s' is damaged: its label is not a string of it", what);
	return 0;
}

int manifest_check(const struct manifest *d, size_t size, const char *what)
{
	int err = manifest_check_header(d, size, what);

	if (err)
		return err;
	for (uint32_t i = 0; i < d->nfiles; i++) {
		const struct manifest_file *f = &manifest_files(d)[i];

		if (f->path >= d->npool || f->build_id >= d->npool)
			return error_set(EBADMSG, "'%s' is damaged: file %u has no name", what, i);
	}
	for (uint32_t i = 0; i < d->nargs; i++)
		if (manifest_args(d)[i].name >= d->npool || manifest_args(d)[i].names > d->nnames ||
		    manifest_args(d)[i].nnames > d->nnames - manifest_args(d)[i].names)
			return error_set(EBADMSG, "'%s' is damaged: argument %u has no name", what, i);
	for (uint32_t i = 0; i < d->nlayouts; i++)
		if (!layout_is_valid(&manifest_layouts(d)[i]))
			return error_set(EBADMSG, "'%s' is damaged: layout %u is invalid", what, i);
	for (uint32_t i = 0; i < d->nprobes; i++) {
		const struct manifest_probe *p = &manifest_probes(d)[i];

		if (p->name >= d->npool || p->file >= d->nfiles || p->args > d->nargs || p->nargs > d->nargs - p->args)
			return error_set(EBADMSG, "'%s' is damaged: probe %u has an invalid index", what, i);
	}
	for (uint32_t i = 0; i < d->npoints; i++) {
		const struct manifest_point *p = &manifest_points(d)[i];

		if (p->probe >= d->nprobes || p->layout >= d->nlayouts || manifest_point_role(p) > SITE_LEAVE ||
		    p->group > d->ngroups)
			return error_set(EBADMSG, "'%s' is damaged: point %u has an invalid index", what, i);
	}
	return manifest_check_aggregates(d, what);
}

/* ---- making a manifest ---- */

/* An array of items that have a size known at run time only. */
struct item_list {
	char *items;
	size_t n, room, size; /* size: of an item, in bytes */
};

/* Finds the items of a list by their hash. A hash table with open addressing, at most half full. */
struct item_index {
	struct item_entry {
		uint32_t hash, number; /* number: the item's index + 1; 0: free */
	} * entries;
	size_t n, room;
};

/* An enumeration whose names were added. */
struct named_type {
	const struct pp_type *type;
	int first;
};

struct manifest_builder {
	struct item_list types; /* struct named_type */
	struct item_list points, aggregates, names, groups, files, layouts, probes, args, pool, processes;
	uint32_t label; /* as in struct manifest */
	struct item_index file_index, layout_index, probe_index, string_index, aggregate_index, group_index;
};

/* Appends n items. Returns the index of the first, or -ENOMEM. */
static int list_append(struct item_list *list, const void *items, size_t n)
{
	char *grown;

	if (list->n + n > (size_t)INT_MAX / 2)
		return error_nomem();
	grown = array_grow(list->items, list->n + n + 1, &list->room, list->size);
	if (!grown)
		return -ENOMEM;
	list->items = grown;
	if (n)
		memcpy(list->items + list->n * list->size, items, n * list->size);
	list->n += n;
	return list->n - n;
}

static uint32_t bytes_hash(const void *bytes, size_t n)
{
	uint64_t h = hash_fnv1a(bytes, n);

	return h ^ h >> 32;
}

static void index_put(struct item_index *index, uint32_t hash, uint32_t number)
{
	size_t at = hash & (index->room - 1);

	while (index->entries[at].number)
		at = (at + 1) & (index->room - 1);
	index->entries[at] = (struct item_entry){ hash, number };
	index->n++;
}

/* Makes room for one more entry. Returns 0 or -ENOMEM. */
static int index_reserve(struct item_index *index)
{
	struct item_index grown = { .room = index->room ? 2 * index->room : 64 };

	if (2 * (index->n + 1) <= index->room)
		return 0;
	grown.entries = calloc(grown.room, sizeof(*grown.entries));
	if (!grown.entries)
		return error_nomem();
	for (size_t i = 0; i < index->room; i++)
		if (index->entries[i].number)
			index_put(&grown, index->entries[i].hash, index->entries[i].number);
	free(index->entries);
	*index = grown;
	return 0;
}

/*
 * Returns the index of the item whose first bytes, `key` of them, are those of `items`. Appends n items if there is no match.
 * Returns -ENOMEM if memory allocation fails.
 */
static int list_find_or_append(struct item_list *list, struct item_index *index, const void *items, size_t key,
                               size_t n)
{
	uint32_t hash = bytes_hash(items, key);
	int found = index_reserve(index);

	if (found)
		return found;
	for (size_t at = hash & (index->room - 1); index->entries[at].number; at = (at + 1) & (index->room - 1)) {
		found = index->entries[at].number - 1;
		if (index->entries[at].hash == hash && key <= (list->n - found) * list->size &&
		    !memcmp(list->items + found * list->size, items, key))
			return found;
	}
	found = list_append(list, items, n);
	if (found >= 0)
		index_put(index, hash, found + 1);
	return found;
}

/* Returns the string's offset in the pool, or -ENOMEM. */
static int builder_add_string(struct manifest_builder *builder, const char *string)
{
	size_t n = strlen(string) + 1;

	return list_find_or_append(&builder->pool, &builder->string_index, string, n, n);
}

int manifest_builder_new(struct manifest_builder **builder)
{
	*builder = calloc(1, sizeof(**builder));
	if (!*builder)
		return error_nomem();
	(*builder)->points.size = sizeof(struct manifest_point);
	(*builder)->types.size = sizeof(struct named_type);
	(*builder)->aggregates.size = sizeof(struct manifest_aggregate);
	(*builder)->names.size = sizeof(struct manifest_name);
	(*builder)->groups.size = sizeof(struct manifest_group);
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
	free(builder->types.items);
	free(builder->aggregates.items);
	free(builder->names.items);
	free(builder->groups.items);
	free(builder->files.items);
	free(builder->layouts.items);
	free(builder->probes.items);
	free(builder->args.items);
	free(builder->pool.items);
	free(builder->processes.items);
	free(builder->file_index.entries);
	free(builder->layout_index.entries);
	free(builder->probe_index.entries);
	free(builder->string_index.entries);
	free(builder->aggregate_index.entries);
	free(builder->group_index.entries);
	free(builder);
}

int manifest_add_file(struct manifest_builder *builder, const struct pp_image *image)
{
	struct manifest_file file = { .device = image->device,
		                      .inode = image->inode,
		                      .real_device = image->real_device,
		                      .real_inode = image->real_inode };
	int path = builder_add_string(builder, image->name ? image->name : image->path);
	int build_id = builder_add_string(builder, image->build_id);

	if (path < 0 || build_id < 0)
		return -ENOMEM;
	file.path = path;
	file.build_id = build_id;
	return list_find_or_append(&builder->files, &builder->file_index, &file, sizeof(file), 1);
}

/* Adds the names of an enumeration once. Returns the index of the first, or -ENOMEM. */
static int builder_add_names(struct manifest_builder *builder, const struct pp_type *type)
{
	const struct named_type *known = (const struct named_type *)builder->types.items;
	int first = (int)builder->names.n;

	for (size_t i = 0; i < builder->types.n; i++)
		if (known[i].type == type)
			return known[i].first;
	for (size_t i = 0; i < type->nvalues; i++) {
		struct manifest_name name = { .value = type->values[i].value };
		int string = builder_add_string(builder, type->values[i].name);

		if (string < 0)
			return string;
		name.name = string;
		if (list_append(&builder->names, &name, 1) < 0)
			return -ENOMEM;
	}
	if (list_append(&builder->types, &(struct named_type){ type, first }, 1) < 0)
		return -ENOMEM;
	return first;
}

/* Adds an argument. values: the enumeration of its type; NULL: none. Returns 0 or -ENOMEM. */
static int builder_add_arg(struct manifest_builder *builder, const char *name, const struct pp_type *values)
{
	int text = builder_add_string(builder, name), names = 0;
	struct manifest_arg arg = { .nnames = values ? values->nvalues : 0 };

	if (text >= 0 && arg.nnames)
		names = builder_add_names(builder, values);
	if (text < 0 || names < 0)
		return -ENOMEM;
	arg.name = text;
	arg.names = names;
	return list_append(&builder->args, &arg, 1) < 0 ? -ENOMEM : 0;
}

/* Adds the probe's arguments and refers to them. Returns 0 or -ENOMEM. */
static int builder_add_args(struct manifest_builder *builder, const struct pp_probe *probe, struct manifest_probe *to)
{
	to->args = builder->args.n;
	for (size_t i = 0; i < probe->nargs; i++) {
		const struct pp_type *type = probe->args[i].described;
		bool is_enum = type && type->nvalues && probe->args[i].class != PPN_CLASS_POINTER;

		if (builder_add_arg(builder, probe->args[i].name, is_enum ? type : NULL))
			return -ENOMEM;
	}
	to->nargs = probe->nargs;
	return 0;
}

int manifest_name_args(struct manifest_builder *builder, int probe, const struct fetch_program *program)
{
	struct manifest_probe *to = (struct manifest_probe *)builder->probes.items + probe;
	size_t first = builder->args.n;

	if (!program->printed)
		return 0;
	for (size_t i = 0; i < program->nargs; i++)
		if (builder_add_arg(builder, program->printed->args[i].name, program->printed->args[i].values))
			return -ENOMEM;
	to->args = first;
	to->nargs = program->nargs;
	return 0;
}

int manifest_add_probe(struct manifest_builder *builder, const struct pp_probe *probe, int file)
{
	size_t before = builder->probes.n;
	struct manifest_probe added = { .file = file };
	char *name;
	int at;

	if (asprintf(&name, "%s:%s", probe->provider, probe->name) < 0)
		return error_nomem();
	at = builder_add_string(builder, name);
	free(name);
	if (at < 0)
		return at;
	added.name = at;
	at = list_find_or_append(&builder->probes, &builder->probe_index, &added, offsetof(struct manifest_probe, args),
	                         1);
	if (at >= 0 && (size_t)at == before &&
	    builder_add_args(builder, probe, (struct manifest_probe *)builder->probes.items + at))
		return -ENOMEM;
	return at;
}

int manifest_add_layout(struct manifest_builder *builder, const struct fetch_program *program)
{
	struct manifest_layout layout = { .nargs = program->nargs, .string_max = fetch_string_max(program) };

	memcpy(layout.kind, program->kind, program->nargs);
	memcpy(layout.size, program->size, program->nargs);
	return list_find_or_append(&builder->layouts, &builder->layout_index, &layout, sizeof(layout), 1);
}

/* Adds a part of the expression's text. Returns the string's offset in the pool, or -ENOMEM. */
static int builder_add_text(struct manifest_builder *builder, const char *text, size_t at, size_t length)
{
	char *part = strndup(text + at, length);
	int added = part ? builder_add_string(builder, part) : error_nomem();

	free(part);
	return added;
}

static int builder_add_parts(struct manifest_builder *builder, const struct fetch_aggregate *from,
                             struct manifest_aggregate *to)
{
	for (size_t i = 0; i < from->nparts; i++) {
		const struct agg_part *part = &from->parts[i];
		int text = builder_add_text(builder, from->text, part->at, part->length), names = 0;

		if (part->names)
			names = builder_add_names(builder, part->names);
		if (text < 0 || names < 0)
			return -ENOMEM;
		to->parts[i] = (struct manifest_part){ .text = text,
			                               .kind = part->kind,
			                               .names = names,
			                               .nnames = part->names ? part->names->nvalues : 0 };
	}
	return 0;
}

/* Adds what every program that compiles the expression has in common with this one. Returns its index, or -ENOMEM. */
static int builder_add_aggregate(struct manifest_builder *builder, const struct fetch_aggregate *from)
{
	struct manifest_aggregate to = { .ncolumns = from->ncolumns, .nparts = from->nparts, .ncalls = from->ncalls };
	int text = builder_add_string(builder, from->text);

	if (text < 0 || builder_add_parts(builder, from, &to))
		return -ENOMEM;
	to.text = text;
	memcpy(to.columns, from->columns, from->ncolumns * sizeof(*to.columns));
	for (size_t i = 0; i < from->ncalls; i++) {
		const struct agg_call *call = &from->calls[i];

		text = builder_add_text(builder, from->text, call->at, call->length);
		if (text < 0)
			return -ENOMEM;
		to.calls[i] = (struct manifest_call){ text, call->function, call->column };
	}
	return list_find_or_append(&builder->aggregates, &builder->aggregate_index, &to, sizeof(to), 1);
}

int manifest_add_group(struct manifest_builder *builder, const struct fetch_program *program, int probe)
{
	int aggregate = builder_add_aggregate(builder, program->aggregate);
	struct manifest_group group = { probe, aggregate };

	if (aggregate < 0)
		return aggregate;
	return list_find_or_append(&builder->groups, &builder->group_index, &group, sizeof(group), 1);
}

int manifest_add_process(struct manifest_builder *builder, uint32_t pid, uint64_t start_time)
{
	const struct manifest_process *known = (const struct manifest_process *)builder->processes.items;

	for (size_t i = 0; i < builder->processes.n; i++)
		if (known[i].pid == pid)
			return (int)i;
	return list_append(&builder->processes, &(struct manifest_process){ .pid = pid, .start_time = start_time }, 1);
}

int manifest_set_label(struct manifest_builder *builder, const char *label)
{
	int at = builder_add_string(builder, label);

	if (at < 0)
		return -ENOMEM;
	builder->label = (uint32_t)at + 1;
	return 0;
}

int manifest_add_point(struct manifest_builder *builder, const struct manifest_point *point)
{
	return list_append(&builder->points, point, 1);
}

/* Copies the items. Returns the end of the copy. */
static char *list_copy(char *to, const struct item_list *list)
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
		.naggregates = builder->aggregates.n,
		.nnames = builder->names.n,
		.ngroups = builder->groups.n,
		.label = builder->label,
	};
	char *at;

	d.npool += -manifest_size(&d) & 7; /* pads the block to a multiple of 8, the granularity of BPF maps */
	d.size = manifest_size(&d);
	*manifest = calloc(1, d.size);
	if (!*manifest)
		return error_nomem();
	**manifest = d;
	at = list_copy((char *)(*manifest + 1), &builder->points);
	at = list_copy(at, &builder->aggregates);
	at = list_copy(at, &builder->names);
	at = list_copy(at, &builder->groups);
	at = list_copy(at, &builder->files);
	at = list_copy(at, &builder->layouts);
	at = list_copy(at, &builder->probes);
	at = list_copy(at, &builder->args);
	list_copy(at, &builder->pool);
	if (d.nprocesses)
		list_copy((char *)manifest_processes(*manifest), &builder->processes);
	return 0;
}
