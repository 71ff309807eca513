/* SPDX-License-Identifier: MIT */
/*
 * The aggregates of a session, in tables. A table is one probe in one file with one expression, whose keys and values
 * have one type (table-types.h).
 *
 * 1. Make a table for each group of each attachment, and merge equal tables. What a backend counted for a group goes to
 *    its table.
 * 2. Add each cell as a bucket of an entry, and of the table's total. A hash table finds the entry of a key.
 * 3. Sort the buckets of each entry and add up equal ones. Sort the entries of each table.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/error.h"
#include "base/hash.h"
#include "runtime/session.h"
#include "runtime/sized.h"
#include "runtime/stacks.h"
#include "runtime/table-types.h"

/* The cell of one bucket of an entry's column. */
struct bucket {
	uint16_t column, bucket;
	struct agg_cell cell;
};

struct agg_entry {
	uint8_t *parts; /* of the key, each string terminated, then a byte for each part: 1 if its string was longer */
	struct bucket *buckets;
	size_t nbuckets, room;
	double rank; /* by which entries are sorted */
	struct agg_cell columns[AGG_COLUMNS_MAX];
};

struct agg_table {
	const struct manifest *manifest; /* a copy */
	const char *probe, *file, *text;
	const char *build_id; /* "": several files had the path */
	const struct manifest_aggregate *aggregate;
	char *types; /* of those that differ in the tables of this probe and expression; NULL: it is the only one */
	size_t parts_size;  /* in an agg_key */
	size_t stack_at;    /* offset of the stack in the parts, NO_STACK */
	size_t stored_size; /* of entry.parts */
	struct agg_entry *entries;
	size_t nentries, room;
	uint32_t *index; /* of the entries by their keys: number + 1, 0 if free */
	size_t index_size;
	struct agg_entry all; /* of every key */
	struct agg_misfit misfits[AGG_COLUMNS_MAX];
};

struct pp_aggregates {
	struct stacks *stacks; /* NULL if there are none */
	struct manifest **manifests;
	size_t nmanifests, manifests_room;
	struct agg_table *tables;
	size_t ntables, tables_room;
	uint32_t *groups; /* the table of each group of the attachment that is being added, or NO_TABLE */
};

#define NO_TABLE UINT32_MAX
#define NO_STACK SIZE_MAX

/* ---- tables ---- */

static struct table_types table_types(const struct agg_table *t)
{
	return (struct table_types){ t->manifest, t->aggregate };
}

/* Compares what users name a table by. */
static int table_compare_names(const struct agg_table *x, const struct agg_table *y)
{
	int by = strcmp(x->probe, y->probe);

	if (!by)
		by = strcmp(x->file, y->file);
	if (!by)
		by = strcmp(x->text, y->text);
	return by ? by : memcmp(&x->manifest->sample, &y->manifest->sample, sizeof(x->manifest->sample));
}

static int table_compare(const void *a, const void *b)
{
	const struct table_types x = table_types(a), y = table_types(b);
	int by = table_compare_names(a, b);

	return by ? by : table_types_compare(&x, &y);
}

/* Returns the offset of the stack in the parts of a key, or NO_STACK. */
static size_t aggregate_stack_at(const struct manifest_aggregate *aggregate)
{
	size_t at = 0;

	for (uint32_t i = 0; i < aggregate->nparts; i++) {
		if (aggregate->parts[i].kind == PP_STACK)
			return at;
		at += agg_part_size(aggregate->parts[i].kind);
	}
	return NO_STACK;
}

static int table_find(struct pp_aggregates *a, const struct manifest *d, uint32_t group, uint32_t *at)
{
	const struct manifest_group *g = &manifest_groups(d)[group];
	const struct manifest_probe *probe = &manifest_probes(d)[g->probe];
	struct agg_table table = {
		.manifest = d,
		.probe = manifest_string(d, probe->name),
		.file = manifest_string(d, manifest_files(d)[probe->file].path),
		.aggregate = &manifest_aggregates(d)[g->aggregate],
	};

	table.text = manifest_string(d, table.aggregate->text);
	table.build_id = manifest_string(d, manifest_files(d)[probe->file].build_id);
	table.parts_size = manifest_parts_size(table.aggregate);
	table.stack_at = aggregate_stack_at(table.aggregate);
	table.stored_size = table.parts_size + table.aggregate->nparts;
	for (*at = 0; *at < a->ntables; ++*at)
		if (!table_compare(&a->tables[*at], &table)) {
			if (strcmp(a->tables[*at].build_id, table.build_id))
				a->tables[*at].build_id = "";
			return 0;
		}
	if (ALLOC_GROW(a->tables, a->ntables + 1, a->tables_room))
		return -ENOMEM;
	a->tables[a->ntables++] = table;
	return 0;
}

/* ---- entries ---- */

static uint32_t parts_hash(const uint8_t *parts, size_t n)
{
	uint64_t h = hash_fnv1a(parts, n);

	return (uint32_t)(h ^ h >> 32);
}

static void index_add(struct agg_table *t, uint32_t number)
{
	size_t at = parts_hash(t->entries[number].parts, t->stored_size) & (t->index_size - 1);

	while (t->index[at])
		at = (at + 1) & (t->index_size - 1);
	t->index[at] = number + 1;
}

/* Makes room for one more entry. The index is at most half full. */
static int table_reserve(struct agg_table *t)
{
	size_t size = t->index_size ? 2 * t->index_size : 64;

	if (ALLOC_GROW(t->entries, t->nentries + 1, t->room))
		return -ENOMEM;
	if (2 * (t->nentries + 1) <= t->index_size)
		return 0;
	free(t->index);
	t->index_size = 0;
	t->index = calloc(size, sizeof(*t->index));
	if (!t->index)
		return error_nomem();
	t->index_size = size;
	for (size_t i = 0; i < t->nentries; i++)
		index_add(t, (uint32_t)i);
	return 0;
}

/* Copies the parts of an agg_key to how entries store them. */
static void parts_store(const struct agg_table *t, const uint8_t *parts, uint8_t *stored)
{
	uint8_t *cut = stored + t->parts_size, *last = stored - 1;

	memcpy(stored, parts, t->parts_size);
	for (uint32_t i = 0; i < t->aggregate->nparts; i++) {
		enum pp_kind kind = t->aggregate->parts[i].kind;

		last += agg_part_size(kind);
		cut[i] = kind == PP_STRING && *last;
		if (kind == PP_STRING)
			*last = 0;
	}
}

/* Returns the entry of the key, or NULL if memory allocation fails. */
static struct agg_entry *entry_find(struct agg_table *t, const uint8_t *from)
{
	uint8_t parts[AGG_KEY_SIZE_MAX + AGG_PARTS_MAX];
	struct agg_entry *entry;

	if (table_reserve(t))
		return NULL;
	parts_store(t, from, parts);
	for (size_t at = parts_hash(parts, t->stored_size) & (t->index_size - 1); t->index[at];
	     at = (at + 1) & (t->index_size - 1)) {
		entry = &t->entries[t->index[at] - 1];
		if (!memcmp(entry->parts, parts, t->stored_size))
			return entry;
	}
	entry = &t->entries[t->nentries];
	*entry = (struct agg_entry){ .parts = malloc(t->stored_size + 1) };
	if (!entry->parts) {
		error_nomem();
		return NULL;
	}
	memcpy(entry->parts, parts, t->stored_size);
	index_add(t, (uint32_t)t->nentries++);
	return entry;
}

static int entry_add(const struct agg_table *t, struct agg_entry *entry, const struct agg_key *key,
                     const struct agg_cell *cell)
{
	const struct agg_column *column = &t->aggregate->columns[key->column];

	agg_cell_add(column, &entry->columns[key->column], cell);
	if (column->histogram == AGG_PLAIN)
		return 0;
	if (ALLOC_GROW(entry->buckets, entry->nbuckets + 1, entry->room))
		return -ENOMEM;
	entry->buckets[entry->nbuckets++] = (struct bucket){ key->column, key->bucket, *cell };
	return 0;
}

/* ---- reading ---- */

struct source {
	struct pp_aggregates *a;
	const struct attachment *attachment;
	const struct manifest *d;
};

/* Returns the table of a group that a backend names. NULL: it has none, or the group or column does not exist. */
static struct agg_table *source_table(const struct source *source, uint32_t group, unsigned column)
{
	struct agg_table *t;

	if (group >= source->d->ngroups || source->a->groups[group] == NO_TABLE)
		return NULL;
	t = &source->a->tables[source->a->groups[group]];
	return column < t->aggregate->ncolumns ? t : NULL;
}

/* Returns the entry of a key with a stack, whose addresses become places in files. NULL if memory allocation fails. */
static struct agg_entry *entry_find_resolved(const struct source *source, struct agg_table *t, const uint8_t *from)
{
	uint8_t parts[AGG_KEY_SIZE_MAX];
	struct agg_stack stack;

	memcpy(parts, from, t->parts_size);
	memcpy(&stack, parts + t->stack_at, sizeof(stack));
	if (!source->a->stacks)
		source->a->stacks = stacks_new();
	if (!source->a->stacks || stacks_resolve(source->a->stacks, source->attachment, &stack))
		return NULL;
	memcpy(parts + t->stack_at, &stack, sizeof(stack));
	return entry_find(t, parts);
}

static int source_add_cell(const struct agg_key *key, size_t key_size, const struct agg_cell *cell, void *arg)
{
	const struct source *source = arg;
	struct agg_table *t = source_table(source, key->group, key->column);
	struct agg_entry *entry;

	if (!t || !cell->count || key_size < sizeof(*key) + t->parts_size ||
	    key->bucket >= agg_buckets(&t->aggregate->columns[key->column]))
		return 0;
	entry = t->stack_at == NO_STACK ? entry_find(t, key->parts) : entry_find_resolved(source, t, key->parts);
	if (!entry)
		return -ENOMEM;
	if (entry_add(t, entry, key, cell))
		return -ENOMEM;
	return entry_add(t, &t->all, key, cell);
}

static int source_add_misfit(uint32_t group, unsigned column, const struct agg_misfit *misfit, void *arg)
{
	struct agg_table *t = source_table(arg, group, column);

	if (!t)
		return 0;
	t->misfits[column].other += misfit->other;
	t->misfits[column].other_sum += misfit->other_sum;
	t->misfits[column].unread += misfit->unread;
	return 0;
}

/*
 * Sets groups[i] to 0 if a point of the group is armed, or was disarmed because of the budget, else to NO_TABLE. pp_session_stat()
 * has rows for the same points.
 */
static void groups_find_armed(const struct attachment *attachment, uint32_t *groups)
{
	const struct manifest *d = attachment->manifest;

	for (uint32_t i = 0; i < d->ngroups; i++)
		groups[i] = NO_TABLE;
	for (uint32_t p = 0; p < d->npoints; p++) {
		uint32_t group = manifest_points(d)[p].group;

		if (group &&
		    (attachment->backend->armed(attachment, p) || attachment->backend->over_budget(attachment, p)))
			groups[group - 1] = 0;
	}
}

static int aggregates_add(struct pp_aggregates *a, const struct attachment *attachment)
{
	struct source source = { .a = a, .attachment = attachment };
	struct manifest *d;
	uint32_t *groups;

	if (!attachment->manifest->ngroups)
		return 0;
	if (ALLOC_GROW(a->manifests, a->nmanifests + 1, a->manifests_room))
		return -ENOMEM;
	d = malloc((attachment->manifest->size + 7) & ~7ull);
	if (!d)
		return error_nomem();
	memcpy(d, attachment->manifest, attachment->manifest->size);
	a->manifests[a->nmanifests++] = d;
	groups = realloc(a->groups, d->ngroups * sizeof(*groups));
	if (!groups)
		return error_nomem();
	a->groups = groups;
	groups_find_armed(attachment, groups);
	for (uint32_t i = 0; i < d->ngroups; i++)
		if (groups[i] != NO_TABLE && table_find(a, d, i, &groups[i]))
			return -ENOMEM;
	source.d = d;
	return attachment->backend->aggregates(attachment, source_add_cell, source_add_misfit, &source);
}

static int bucket_compare(const void *a, const void *b)
{
	const struct bucket *x = a, *y = b;

	if (x->column != y->column)
		return x->column < y->column ? -1 : 1;
	return (x->bucket > y->bucket) - (x->bucket < y->bucket);
}

static int entry_compare(const void *a, const void *b, void *arg)
{
	const struct agg_entry *x = a, *y = b;

	if (x->rank != y->rank)
		return x->rank > y->rank ? -1 : 1;
	return memcmp(x->parts, y->parts, *(size_t *)arg);
}

static double column_number(const struct agg_column *column, int64_t value)
{
	return column->is_unsigned ? (double)(uint64_t)value : (double)value;
}

/* The value of the first call: the sum, greatest or average, for the least its negative, else the count. */
static double entry_rank(const struct agg_table *t, const struct agg_entry *entry)
{
	const struct manifest_call *call = &t->aggregate->calls[0];
	const struct agg_column *column = &t->aggregate->columns[call->column];
	const struct agg_cell *cell = &entry->columns[call->column];

	switch (call->function) {
	case PP_SUM: return column_number(column, (int64_t)cell->sum);
	case PP_MIN: return -column_number(column, cell->min);
	case PP_MAX: return column_number(column, cell->max);
	case PP_AVG: return cell->count ? column_number(column, (int64_t)cell->sum) / (double)cell->count : 0;
	}
	return (double)cell->count;
}

/* Sorts the buckets, and adds up those that several backends, processes or keys have. */
static void entry_finish(const struct agg_table *t, struct agg_entry *entry)
{
	size_t n = 0;

	entry->rank = entry_rank(t, entry);
	if (entry->nbuckets)
		qsort(entry->buckets, entry->nbuckets, sizeof(*entry->buckets), bucket_compare);
	for (size_t i = 0; i < entry->nbuckets; i++) {
		const struct bucket *from = &entry->buckets[i];

		if (n && !bucket_compare(&entry->buckets[n - 1], from))
			agg_cell_add(&t->aggregate->columns[from->column], &entry->buckets[n - 1].cell, &from->cell);
		else
			entry->buckets[n++] = *from;
	}
	entry->nbuckets = n;
}

static void tables_sort(struct pp_aggregates *a)
{
	for (size_t i = 0; i < a->ntables; i++) {
		struct agg_table *t = &a->tables[i];

		entry_finish(t, &t->all);
		for (size_t k = 0; k < t->nentries; k++)
			entry_finish(t, &t->entries[k]);
		if (t->nentries)
			qsort_r(t->entries, t->nentries, sizeof(*t->entries), entry_compare, &t->stored_size);
	}
	if (a->ntables)
		qsort(a->tables, a->ntables, sizeof(*a->tables), table_compare);
}

/* Sets the types of tables that users name alike. */
static int tables_set_types(struct pp_aggregates *a)
{
	for (size_t i = 0; i < a->ntables; i++) {
		struct table_types types = table_types(&a->tables[i]);
		uint32_t which = 0;

		for (size_t k = 0; k < a->ntables; k++) {
			const struct table_types others = table_types(&a->tables[k]);

			if (!table_compare_names(&a->tables[i], &a->tables[k]))
				which |= table_types_differ(&types, &others);
		}
		if (which && !(a->tables[i].types = table_types_text(&types, which)))
			return -ENOMEM;
	}
	return 0;
}

int pp_session_aggregates(struct pp_session *session, struct pp_aggregates **aggregates)
{
	struct pp_aggregates *a = calloc(1, sizeof(*a));
	int err;

	*aggregates = NULL;
	if (!a)
		return error_nomem();
	err = session_refresh(session);
	for (size_t i = 0; !err && i < session->nattachments; i++)
		err = aggregates_add(a, session->attachments[i]);
	if (!err) {
		tables_sort(a);
		err = tables_set_types(a);
	}
	if (err) {
		pp_aggregates_free(a);
		return err;
	}
	*aggregates = a;
	return 0;
}

static void table_release(struct agg_table *t)
{
	for (size_t i = 0; i < t->nentries; i++) {
		free(t->entries[i].parts);
		free(t->entries[i].buckets);
	}
	free(t->all.buckets);
	free(t->entries);
	free(t->index);
	free(t->types);
}

void pp_aggregates_free(struct pp_aggregates *aggregates)
{
	if (!aggregates)
		return;
	for (size_t i = 0; i < aggregates->ntables; i++)
		table_release(&aggregates->tables[i]);
	for (size_t i = 0; i < aggregates->nmanifests; i++)
		free(aggregates->manifests[i]);
	stacks_free(aggregates->stacks);
	free(aggregates->manifests);
	free(aggregates->tables);
	free(aggregates->groups);
	free(aggregates);
}

/* ---- getters ---- */

size_t pp_aggregates_tables(const struct pp_aggregates *aggregates)
{
	return aggregates->ntables;
}

static const struct agg_table *table_at(const struct pp_aggregates *a, size_t table)
{
	return table < a->ntables ? &a->tables[table] : NULL;
}

static const struct agg_entry *entry_at(const struct agg_table *t, size_t entry)
{
	if (t && entry == PP_ALL)
		return &t->all;
	return t && entry < t->nentries ? &t->entries[entry] : NULL;
}

static const struct manifest_call *call_at(const struct agg_table *t, size_t call)
{
	return t && call < t->aggregate->ncalls ? &t->aggregate->calls[call] : NULL;
}

static const struct manifest_part *part_at(const struct agg_table *t, size_t part)
{
	return t && part < t->aggregate->nparts ? &t->aggregate->parts[part] : NULL;
}

const char *pp_table_probe(const struct pp_aggregates *aggregates, size_t table)
{
	const struct agg_table *t = table_at(aggregates, table);

	return t ? t->probe : NULL;
}

const char *pp_table_file(const struct pp_aggregates *aggregates, size_t table)
{
	const struct agg_table *t = table_at(aggregates, table);

	return t ? t->file : NULL;
}

const char *pp_table_build_id(const struct pp_aggregates *aggregates, size_t table)
{
	const struct agg_table *t = table_at(aggregates, table);

	return t ? t->build_id : NULL;
}

const char *pp_table_text(const struct pp_aggregates *aggregates, size_t table)
{
	const struct agg_table *t = table_at(aggregates, table);

	return t ? t->text : NULL;
}

const char *pp_table_types(const struct pp_aggregates *aggregates, size_t table)
{
	const struct agg_table *t = table_at(aggregates, table);

	return t ? t->types ? t->types : "" : NULL;
}

void pp_table_sample(const struct pp_aggregates *aggregates, size_t table, unsigned *every, unsigned *rate)
{
	const struct agg_table *t = table_at(aggregates, table);

	*every = t ? t->manifest->sample.every : 0;
	*rate = t ? t->manifest->sample.rate : 0;
}

size_t pp_table_calls(const struct pp_aggregates *aggregates, size_t table)
{
	const struct agg_table *t = table_at(aggregates, table);

	return t ? t->aggregate->ncalls : 0;
}

const char *pp_table_call(const struct pp_aggregates *aggregates, size_t table, size_t call)
{
	const struct agg_table *t = table_at(aggregates, table);
	const struct manifest_call *c = call_at(t, call);

	return c ? manifest_string(t->manifest, c->text) : NULL;
}

enum pp_function pp_table_function(const struct pp_aggregates *aggregates, size_t table, size_t call)
{
	const struct manifest_call *c = call_at(table_at(aggregates, table), call);

	return c ? (enum pp_function)c->function : PP_PCT;
}

size_t pp_table_parts(const struct pp_aggregates *aggregates, size_t table)
{
	const struct agg_table *t = table_at(aggregates, table);

	return t ? t->aggregate->nparts : 0;
}

const char *pp_table_part(const struct pp_aggregates *aggregates, size_t table, size_t part)
{
	const struct agg_table *t = table_at(aggregates, table);
	const struct manifest_part *p = part_at(t, part);

	return p ? manifest_string(t->manifest, p->text) : NULL;
}

enum pp_kind pp_table_part_kind(const struct pp_aggregates *aggregates, size_t table, size_t part)
{
	const struct manifest_part *p = part_at(table_at(aggregates, table), part);

	return p ? (enum pp_kind)p->kind : PP_MISSING;
}

size_t pp_table_entries(const struct pp_aggregates *aggregates, size_t table)
{
	const struct agg_table *t = table_at(aggregates, table);

	return t ? t->nentries : 0;
}

/* Returns the bytes of a part of an entry's key. NULL: there is no such part, or its size is another. */
static const uint8_t *entry_part(const struct agg_table *t, size_t entry, size_t part, size_t size)
{
	const struct agg_entry *e = entry == PP_ALL ? NULL : entry_at(t, entry);
	size_t at = 0;

	if (!e || !part_at(t, part) || agg_part_size(t->aggregate->parts[part].kind) != size)
		return NULL;
	for (size_t i = 0; i < part; i++)
		at += agg_part_size(t->aggregate->parts[i].kind);
	return e->parts + at;
}

int64_t pp_entry_int(const struct pp_aggregates *aggregates, size_t table, size_t entry, size_t part)
{
	const uint8_t *bytes = entry_part(table_at(aggregates, table), entry, part, 8);
	int64_t value = 0;

	if (bytes)
		memcpy(&value, bytes, sizeof(value));
	return value;
}

const char *pp_entry_name(const struct pp_aggregates *aggregates, size_t table, size_t entry, size_t part)
{
	const struct agg_table *t = table_at(aggregates, table);
	const struct manifest_part *p = part_at(t, part);
	int64_t value = pp_entry_int(aggregates, table, entry, part);

	for (uint32_t i = 0; p && i < p->nnames; i++) {
		const struct manifest_name *name = &manifest_names(t->manifest)[p->names + i];

		if (name->value == value)
			return manifest_string(t->manifest, name->name);
	}
	return NULL;
}

const char *pp_entry_string(const struct pp_aggregates *aggregates, size_t table, size_t entry, size_t part,
                            size_t *length, bool *cut)
{
	const struct agg_table *t = table_at(aggregates, table);
	const uint8_t *bytes = entry_part(t, entry, part, AGG_STRING);

	if (!bytes)
		return NULL;
	if (length)
		*length = strlen((const char *)bytes);
	if (cut)
		*cut = entry_at(t, entry)->parts[t->parts_size + part];
	return (const char *)bytes;
}

/* Copies the stack of a key. Returns false if there is none. */
static bool entry_stack(const struct pp_aggregates *a, size_t table, size_t entry, size_t part, struct agg_stack *stack)
{
	const uint8_t *bytes = entry_part(table_at(a, table), entry, part, AGG_STACK);

	if (bytes)
		memcpy(stack, bytes, sizeof(*stack));
	return bytes;
}

size_t pp_entry_frames(const struct pp_aggregates *aggregates, size_t table, size_t entry, size_t part)
{
	struct agg_stack stack;

	return entry_stack(aggregates, table, entry, part, &stack) ? stacks_depth(&stack) : 0;
}

void pp_entry_frame(const struct pp_aggregates *aggregates, size_t table, size_t entry, size_t part, size_t i,
                    struct pp_frame *frame, size_t size)
{
	struct pp_frame f = { 0 };
	struct agg_stack stack;

	if (entry_stack(aggregates, table, entry, part, &stack) && i < stacks_depth(&stack))
		stacks_frame(aggregates->stacks, &stack, i, &f);
	sized_copy(frame, size, &f, sizeof(f));
}

void pp_entry_values(const struct pp_aggregates *aggregates, size_t table, size_t entry, size_t call,
                     struct pp_values *values, size_t size)
{
	const struct agg_table *t = table_at(aggregates, table);
	const struct agg_entry *e = entry_at(t, entry);
	const struct manifest_call *c = call_at(t, call);
	struct pp_values v = { 0 };

	if (e && c) {
		const struct agg_cell *cell = &e->columns[c->column];

		v = (struct pp_values){ .count = cell->count,
			                .sum = (int64_t)cell->sum,
			                .min = cell->min,
			                .max = cell->max,
			                .is_unsigned = t->aggregate->columns[c->column].is_unsigned };
	}
	sized_copy(values, size, &v, sizeof(v));
}

/* Returns the buckets of a column, which are adjacent, and their number. */
static const struct bucket *entry_column(const struct agg_entry *e, const struct manifest_call *c, size_t *n)
{
	size_t first = 0;

	*n = 0;
	if (!e || !c)
		return NULL;
	while (first < e->nbuckets && e->buckets[first].column != c->column)
		first++;
	while (first + *n < e->nbuckets && e->buckets[first + *n].column == c->column)
		++*n;
	return e->buckets + first;
}

size_t pp_entry_buckets(const struct pp_aggregates *aggregates, size_t table, size_t entry, size_t call)
{
	const struct agg_table *t = table_at(aggregates, table);
	size_t n;

	entry_column(entry_at(t, entry), call_at(t, call), &n);
	return n;
}

void pp_entry_bucket(const struct pp_aggregates *aggregates, size_t table, size_t entry, size_t call, size_t i,
                     struct pp_bucket *bucket, size_t size)
{
	const struct agg_table *t = table_at(aggregates, table);
	const struct manifest_call *c = call_at(t, call);
	struct pp_bucket b = { 0 };
	uint64_t low, high;
	size_t n;
	const struct bucket *first = entry_column(entry_at(t, entry), c, &n);

	if (i < n) {
		agg_bucket_range(&t->aggregate->columns[c->column], first[i].bucket, &low, &high);
		b = (struct pp_bucket){ (int64_t)low, (int64_t)high, first[i].cell.count };
	}
	sized_copy(bucket, size, &b, sizeof(b));
}

double pp_entry_quantile(const struct pp_aggregates *aggregates, size_t table, size_t entry, size_t call, double q)
{
	const struct agg_table *t = table_at(aggregates, table);
	const struct agg_entry *e = entry_at(t, entry);
	const struct manifest_call *c = call_at(t, call);
	const struct agg_column *column;
	size_t n;
	const struct bucket *first = entry_column(e, c, &n);
	double share;
	uint64_t rank, seen = 0;

	if (!n || !(q >= 0 && q <= 1))
		return 0;
	column = &t->aggregate->columns[c->column];
	share = q * (double)e->columns[c->column].count;
	rank = (uint64_t)share + ((double)(uint64_t)share < share);
	for (size_t i = 0; i < n; i++) {
		double low = column_number(column, first[i].cell.min), high = column_number(column, first[i].cell.max);
		uint64_t count = first[i].cell.count, at = rank > seen ? rank - seen - 1 : 0;

		if (seen + count >= rank) /* the values of a bucket lie evenly between its least and greatest */
			return count < 2 ? low : low + (high - low) * (double)at / (double)(count - 1);
		seen += count;
	}
	return column_number(column, e->columns[c->column].max);
}

void pp_table_rest(const struct pp_aggregates *aggregates, size_t table, size_t call, struct pp_rest *rest, size_t size)
{
	const struct agg_table *t = table_at(aggregates, table);
	const struct manifest_call *c = call_at(t, call);
	struct pp_rest r = { 0 };

	if (c)
		r = (struct pp_rest){ t->misfits[c->column].other, (int64_t)t->misfits[c->column].other_sum,
			              t->misfits[c->column].unread };
	sized_copy(rest, size, &r, sizeof(r));
}
