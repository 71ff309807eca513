/* SPDX-License-Identifier: MIT */
/*
 * The tables of aggregates in a region. An attachment gets a table when the first of its points that computes an
 * aggregate is armed. Tables lie one after the other, in the region's cells and in its memory for keys. A new table
 * takes the place of one whose attachment is gone only if there is no other room, because a thread may still be in a
 * trampoline that adds to the old one.
 */
#include <string.h>

#include "runtime/agent/inproc/agent.h"
#include "runtime/agent/inproc/tables.h"

/* The agent's copy of a table's description. It is never freed. */
struct region_table {
	struct hit_table hit;
	struct agent_table layout;
	struct hit_group *groups;
	uint32_t *nwords; /* by group: of its keys, 0 until the group is used */
};

_Static_assert(AGENT_TABLES * sizeof(struct agent_table) <= shm_cells_at - shm_tables_at, "parts of the region");

/* ---- parts of a region ---- */

static struct region_table **tables_of(const struct session_shm *shm)
{
	return shm->tables.at;
}

static size_t ntables(const struct session_shm *shm)
{
	return shm->tables.n / sizeof(struct region_table *);
}

static struct agent_table *region_layouts(const struct agent_shm *at)
{
	return (struct agent_table *)((char *)at + shm_tables_at);
}

static struct shared_cell *region_cell(const struct agent_shm *at, uint32_t number)
{
	return (struct shared_cell *)((char *)at + shm_cells_at) + number;
}

/* Returns cell 0 of a ring, or NULL if this ring and those after it were never taken. */
static struct shared_cell *ring_cells(const struct session_shm *shm, const struct agent_shm *at, unsigned i,
                                      uint32_t *n)
{
	struct agent_ring *ring = region_ring(shm, at, i);

	if (!shared_acquire(ring->turns) && shared_acquire(ring->state) == AGENT_RING_FREE)
		return NULL;
	*n = shared_get(ring->ncells);
	if (*n > AGENT_RING_CELLS)
		*n = AGENT_RING_CELLS;
	return (struct shared_cell *)((char *)ring + AGENT_CELLS_IN_RING);
}

static uint32_t layout_cells(const struct agent_table *layout)
{
	return 2 * layout->ngroups * layout->ncolumns + layout->ncells;
}

static uint64_t layout_keys_size(const struct agent_table *layout)
{
	uint64_t size = layout->nindex * sizeof(shared32) + (uint64_t)layout->ncells * layout->key_size;

	return (size + 63) & ~63ull;
}

/* ---- cells ---- */

static void cell_merge(struct agent_cell *to, struct shared_cell *from)
{
	uint64_t low = shared_get(from->low), high = shared_get(from->high);

	to->count += shared_acquire(from->count);
	to->sum += shared_get(from->sum);
	to->low = low > to->low ? low : to->low;
	to->high = high > to->high ? high : to->high;
}

/* Sums up the cell of that number over all rings and the region. */
static void cell_sum(const struct session_shm *shm, const struct agent_shm *at, uint32_t number, struct agent_cell *sum)
{
	struct shared_cell *cells;
	uint32_t n;

	*sum = (struct agent_cell){ 0 };
	cell_merge(sum, region_cell(at, number));
	for (unsigned i = 0; number < AGENT_RING_CELLS && i < shm->nrings && (cells = ring_cells(shm, at, i, &n)); i++)
		if (number < n)
			cell_merge(sum, &cells[number]);
}

static void shared_raise(shared64 *word, uint64_t value)
{
	uint64_t was = shared_get(*word);

	while (value > was && !shared_swap(*word, &was, value))
		;
}

/* Adds to a cell of the region, to which threads add, too. */
static void cell_add_sum(struct shared_cell *to, const struct agent_cell *sum)
{
	shared_add(to->sum, sum->sum);
	shared_raise(&to->low, sum->low);
	shared_raise(&to->high, sum->high);
	shared_add(to->count, sum->count);
}

static void cells_clear(struct session_shm *shm, uint32_t first, uint32_t n)
{
	struct shared_cell *cells;
	uint32_t has;

	memset(region_cell(shm->at, first), 0, n * sizeof(*cells));
	for (unsigned i = 0; i < shm->nrings && (cells = ring_cells(shm, shm->at, i, &has)); i++)
		if (first < has)
			memset(&cells[first], 0, (n < has - first ? n : has - first) * sizeof(*cells));
}

/* ---- making a table ---- */

static bool attachment_exists(const struct session_shm *shm, uint32_t number)
{
	struct loaded_attachment **attachments = shm->session->attachments.at;

	for (size_t i = 0; i < shm->session->attachments.n / sizeof(*attachments); i++)
		if (attachments[i]->number == number)
			return true;
	return false;
}

static struct agent_table layout_wanted(const struct loaded_attachment *attachment)
{
	const struct manifest *d = attachment->manifest;
	struct agent_table layout = { .attachment = attachment->number,
		                      .ngroups = d->ngroups,
		                      .ncells = attachment->header->cells,
		                      .nindex = 64 };

	for (uint32_t i = 0; i < d->naggregates; i++) {
		const struct manifest_aggregate *a = &manifest_aggregates(d)[i];
		uint32_t size = sizeof(struct agg_key);

		for (uint32_t k = 0; k < a->nparts; k++)
			size += agg_part_size(a->parts[k].kind);
		layout.key_size = size > layout.key_size ? size : layout.key_size;
		layout.ncolumns = a->ncolumns > layout.ncolumns ? a->ncolumns : layout.ncolumns;
	}
	while (layout.nindex < 2 * layout.ncells)
		layout.nindex *= 2;
	return layout;
}

/* Finds room in the region. Returns false if there is none. */
static bool layout_place(struct session_shm *shm, struct agent_table *layout)
{
	if (shm->ncells + layout_cells(layout) > AGENT_CELLS ||
	    shm->keys_size + layout_keys_size(layout) > AGENT_KEYS_SIZE)
		return false;
	layout->first_cell = shm->ncells;
	layout->index_at = shm_keys_at + shm->keys_size;
	layout->keys_at = layout->index_at + layout->nindex * sizeof(shared32);
	shm->ncells += layout_cells(layout);
	shm->keys_size += layout_keys_size(layout);
	return true;
}

static void table_describe(const struct session_shm *shm, struct agent_shm *at, size_t i)
{
	struct agent_table *to = &region_layouts(at)[i], from = tables_of(shm)[i]->layout;
	uint32_t attachment = from.attachment;

	__atomic_store_n(&to->attachment, AGENT_NO_ATTACHMENT, __ATOMIC_RELEASE);
	from.attachment = AGENT_NO_ATTACHMENT;
	*to = from;
	__atomic_store_n(&to->attachment, attachment, __ATOMIC_RELEASE);
}

/* Takes the place of a table whose attachment is gone and that is not smaller. Returns its index, or -1. */
static int64_t layout_replace(struct session_shm *shm, struct agent_table *layout)
{
	for (size_t i = 0; i < ntables(shm); i++) {
		const struct agent_table *old = &tables_of(shm)[i]->layout;

		if (attachment_exists(shm, old->attachment) || layout_cells(old) < layout_cells(layout) ||
		    layout_keys_size(old) < layout_keys_size(layout))
			continue;
		layout->first_cell = old->first_cell;
		layout->index_at = old->index_at;
		layout->keys_at = layout->index_at + layout->nindex * sizeof(shared32);
		cells_clear(shm, old->first_cell, layout_cells(old));
		memset((char *)shm->at + old->index_at, 0, layout_keys_size(old));
		return i;
	}
	return -1;
}

/* Returns the place of a new table in the list, or -1. */
static int64_t table_place(struct session_shm *shm, struct agent_table *layout)
{
	if (ntables(shm) < AGENT_TABLES && layout_place(shm, layout))
		return vector_add(&shm->tables, sizeof(struct region_table *)) ? (int64_t)ntables(shm) - 1 : -1;
	return layout_replace(shm, layout);
}

static void table_connect(const struct session_shm *shm, size_t i, struct region_table *table)
{
	const struct agent_table *layout = &table->layout;

	table->hit = (struct hit_table){
		.index = (shared32 *)((char *)shm->at + layout->index_at),
		.nused = &region_layouts(shm->at)[i].nused,
		.keys = (char *)shm->at + layout->keys_at,
		.cells = region_cell(shm->at, 0),
		.mask = layout->nindex - 1,
		.shift = 64 - __builtin_ctz(layout->nindex),
		.ncells = layout->ncells,
		.key_size = layout->key_size,
		.first = layout->first_cell + 2 * layout->ngroups * layout->ncolumns,
		.shm = shm->index,
	};
	for (uint32_t g = 0; g < layout->ngroups; g++)
		table->groups[g] = (struct hit_group){ .table = &table->hit,
			                               .group = g,
			                               .misfits = layout->first_cell + 2 * g * layout->ncolumns };
}

static struct region_table *table_make(struct session_shm *shm, struct agent_table *layout)
{
	struct region_table *table = arena_alloc(sizeof(*table));
	int64_t place;

	if (!table)
		return NULL;
	table->groups = arena_alloc(layout->ngroups * sizeof(*table->groups));
	table->nwords = arena_alloc(layout->ngroups * sizeof(*table->nwords));
	place = table->groups && table->nwords ? table_place(shm, layout) : -1;
	if (place < 0)
		return NULL;
	table->layout = *layout;
	table_connect(shm, place, table);
	tables_of(shm)[place] = table;
	table_describe(shm, shm->at, place);
	return table;
}

/* ---- finding a table ---- */

static int64_t region_table_find(const struct session_shm *shm, const struct agent_table *layout)
{
	for (size_t i = 0; i < ntables(shm); i++) {
		const struct agent_table *is = &tables_of(shm)[i]->layout;

		if (is->attachment == layout->attachment && is->ngroups == layout->ngroups &&
		    is->ncolumns == layout->ncolumns && is->ncells == layout->ncells &&
		    is->key_size == layout->key_size)
			return i;
	}
	return -1;
}

const struct hit_group *table_group(struct session_shm *shm, const struct loaded_attachment *attachment, uint32_t point)
{
	const struct manifest_point *p = &manifest_points(attachment->manifest)[point];
	struct agent_table layout = layout_wanted(attachment);
	int64_t found = region_table_find(shm, &layout);
	struct region_table *table = found < 0 ? table_make(shm, &layout) : tables_of(shm)[found];

	if (!table)
		return NULL;
	table->nwords[p->group - 1] = attachment->programs[p->spec]->key_size / 8;
	return &table->groups[p->group - 1];
}

/* ---- the region's life ---- */

void tables_describe(const struct session_shm *shm, struct agent_shm *at)
{
	for (size_t i = 0; i < ntables(shm); i++)
		table_describe(shm, at, i);
}

void tables_reset(struct session_shm *shm)
{
	if (shm->ncells)
		cells_clear(shm, 0, shm->ncells);
	if (shm->keys_size)
		memset((char *)shm->at + shm_keys_at, 0, shm->keys_size);
	memset(region_layouts(shm->at), 0xff, AGENT_TABLES * sizeof(struct agent_table));
	shm->ncells = shm->keys_size = 0;
	vector_clear(&shm->tables);
}

/* Returns how many cells of keys the table has used in that memory. */
static uint32_t table_used(const struct session_shm *shm, const struct agent_shm *at, size_t i)
{
	uint32_t n = shared_acquire(region_layouts(at)[i].nused), max = tables_of(shm)[i]->layout.ncells;

	return n < max ? n : max;
}

static void table_move_key(const struct session_shm *shm, const struct region_table *table,
                           const struct agent_shm *from, uint32_t cell, struct shared_cell *cells)
{
	const struct agent_table *layout = &table->layout;
	const shared64 *key =
		(const shared64 *)((const char *)from + layout->keys_at + (uint64_t)cell * layout->key_size);
	uint64_t copy[AGG_KEY_SIZE_MAX / 8], group;
	struct agent_cell sum;
	uint32_t column, found;

	cell_sum(shm, from, table->hit.first + cell, &sum);
	if (!sum.count)
		return;
	for (unsigned i = 0; i < layout->key_size / 8; i++)
		copy[i] = shared_get(key[i]);
	group = copy[0] & UINT32_MAX;
	column = copy[0] >> 32 & UINT16_MAX;
	if (group >= layout->ngroups || column >= layout->ncolumns || !table->nwords[group])
		return;
	found = table_cell(&table->hit, copy, table->nwords[group], table->nwords[group]);
	cell_add_sum(
		&cells[found == HIT_NO_CELL ? table->groups[group].misfits + 2 * column : table->hit.first + found],
		&sum);
}

void tables_move(struct session_shm *shm, struct agent_shm *from)
{
	for (size_t i = 0; i < ntables(shm); i++) {
		const struct region_table *table = tables_of(shm)[i];
		uint32_t nmisfits = 2 * table->layout.ngroups * table->layout.ncolumns, n = table_used(shm, from, i);

		for (uint32_t k = 0; k < nmisfits; k++) {
			struct agent_cell sum;

			cell_sum(shm, from, table->layout.first_cell + k, &sum);
			if (sum.count)
				cell_add_sum(region_cell(shm->at, table->layout.first_cell + k), &sum);
		}
		for (uint32_t k = 0; k < n; k++)
			table_move_key(shm, table, from, k, region_cell(shm->at, 0));
	}
}

void tables_protect(const struct session_shm *shm, int protection)
{
	const uintptr_t base = (uintptr_t)shm->at;

	memory_protect(base + shm_cells_at + shm->ncells * sizeof(struct agent_cell), base + shm_keys_at, protection);
	memory_protect(base + shm_keys_at + shm->keys_size, base + shm_rings_at, protection);
}

uint32_t tables_ring_cells(const struct session_shm *shm)
{
	return shm->ncells < AGENT_RING_CELLS ? shm->ncells : AGENT_RING_CELLS;
}

/* ---- results ---- */

void table_results_find(const struct session_shm *shm, const struct loaded_attachment *attachment,
                        struct table_results *results)
{
	struct agent_table layout = layout_wanted(attachment);
	int64_t found = attachment->manifest->ngroups ? region_table_find(shm, &layout) : -1;

	*results = (struct table_results){ .nmisfits = layout.ngroups * layout.ncolumns };
	results->key_size = layout.key_size;
	if (found < 0)
		return;
	results->table = tables_of(shm)[found];
	results->ncells = table_used(shm, shm->at, found);
}

/* Writes the cell and its key. Returns the end of what was written. */
static char *result_write(const struct session_shm *shm, const struct manifest *d, const struct region_table *table,
                          uint32_t cell, char *to)
{
	const struct agent_table *layout = &table->layout;
	const shared64 *from =
		(const shared64 *)((const char *)shm->at + layout->keys_at + (uint64_t)cell * layout->key_size);
	struct agg_cell *made = (struct agg_cell *)to;
	struct agg_key *key = (struct agg_key *)(made + 1);
	const struct manifest_aggregate *a;
	struct agent_cell sum;

	cell_sum(shm, shm->at, table->hit.first + cell, &sum);
	if (!sum.count)
		return to;
	for (unsigned i = 0; i < layout->key_size / 8; i++)
		((uint64_t *)key)[i] = shared_get(from[i]);
	if (key->group >= d->ngroups)
		return to;
	a = &manifest_aggregates(d)[manifest_groups(d)[key->group].aggregate];
	if (key->column >= a->ncolumns)
		return to;
	*made = agent_cell_value(&sum, a->columns[key->column].is_unsigned);
	return (char *)key + layout->key_size;
}

uint32_t table_results_write(const struct session_shm *shm, const struct manifest *d,
                             const struct table_results *results, char *to)
{
	const struct region_table *table = results->table;
	struct agg_misfit *misfits = (struct agg_misfit *)to;
	char *begin = (char *)(misfits + results->nmisfits), *at = begin;

	if (!table)
		return 0;
	for (uint32_t i = 0; i < results->nmisfits; i++) {
		struct agent_cell other, unread;

		cell_sum(shm, shm->at, table->layout.first_cell + 2 * i, &other);
		cell_sum(shm, shm->at, table->layout.first_cell + 2 * i + 1, &unread);
		misfits[i] = (struct agg_misfit){ other.count, other.sum, unread.count };
	}
	for (uint32_t i = 0; i < results->ncells; i++)
		at = result_write(shm, d, table, i, at);
	return (at - begin) / (sizeof(struct agg_cell) + table->layout.key_size);
}
