/* SPDX-License-Identifier: MIT */
#include "runtime/agent/cells.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/error.h"

int agent_cells_init(struct agent_cells *cells, const struct manifest *manifest)
{
	*cells = (struct agent_cells){ .manifest = manifest, .key_size = manifest_key_size(manifest) };
	for (uint32_t i = 0; i < manifest->naggregates; i++)
		if (manifest_aggregates(manifest)[i].ncolumns > cells->ncolumns)
			cells->ncolumns = manifest_aggregates(manifest)[i].ncolumns;
	cells->nmisfits = (size_t)manifest->ngroups * cells->ncolumns;
	cells->cell_size = sizeof(struct agg_cell) + cells->key_size;
	cells->misfits = calloc(cells->nmisfits + 1, sizeof(*cells->misfits));
	return cells->misfits ? 0 : error_nomem();
}

void agent_cells_release(struct agent_cells *cells)
{
	free(cells->misfits);
	free(cells->cells);
	*cells = (struct agent_cells){ 0 };
}

static struct agg_cell *cell_at(const struct agent_cells *cells, size_t i)
{
	return (struct agg_cell *)(cells->cells + i * cells->cell_size);
}

static struct agg_key *cell_key(struct agg_cell *cell)
{
	return (struct agg_key *)(cell + 1);
}

/* Returns the column of a key, or NULL if it does not exist. */
static const struct agg_column *key_column(const struct manifest *d, const struct agg_key *key)
{
	const struct manifest_aggregate *a;

	if (key->group >= d->ngroups)
		return NULL;
	a = &manifest_aggregates(d)[manifest_groups(d)[key->group].aggregate];
	return key->column < a->ncolumns ? &a->columns[key->column] : NULL;
}

static int cells_reserve(struct agent_cells *cells, size_t n)
{
	void *grown;

	if (n <= cells->room)
		return 0;
	n = n < 2 * cells->room ? 2 * cells->room : n;
	grown = realloc(cells->cells, n * cells->cell_size);
	if (!grown)
		return error_nomem();
	cells->cells = grown;
	cells->room = n;
	return 0;
}

/* ---- regions ---- */

/* Adds cell i of the table's keys. cells has room for it. */
static void cells_add_key(struct agent_cells *cells, const struct mapped_shm *shm, const struct mapped_table *table,
                          uint32_t i, const struct agent_cell *sum)
{
	struct agg_cell *to = cell_at(cells, cells->ncells);
	const struct agg_column *column;

	shm_table_key(shm, table, i, cell_key(to));
	column = key_column(cells->manifest, cell_key(to));
	if (!column)
		return;
	*to = agent_cell_value(sum, column->is_unsigned);
	cells->ncells++;
}

static int cells_add_table(struct agent_cells *cells, const struct mapped_shm *shm, const struct mapped_table *table)
{
	uint32_t misfits = 2 * (uint32_t)cells->nmisfits, used = shm_table_used(shm, table);
	struct agent_cell *sums = calloc(misfits + used + 1, sizeof(*sums));
	int err = sums ? cells_reserve(cells, cells->ncells + used) : error_nomem();

	if (err) {
		free(sums);
		return err;
	}
	shm_cells(shm, table->first_cell, misfits + used, sums);
	for (uint32_t i = 0; i < cells->nmisfits; i++) {
		cells->misfits[i].other += sums[2 * i].count;
		cells->misfits[i].other_sum += sums[2 * i].sum;
		cells->misfits[i].unread += sums[2 * i + 1].count;
	}
	for (uint32_t i = 0; i < used; i++)
		if (sums[misfits + i].count)
			cells_add_key(cells, shm, table, i, &sums[misfits + i]);
	free(sums);
	return 0;
}

int agent_cells_add_shm(struct agent_cells *cells, const struct mapped_shm *shm)
{
	struct mapped_table table;

	for (uint32_t i = 0; cells->nmisfits && i < shm->ntables; i++) {
		if (!shm_table(shm, i, &table) || table.attachment != cells->manifest->attachment ||
		    table.ngroups != cells->manifest->ngroups || table.ncolumns != cells->ncolumns ||
		    table.key_size != cells->key_size)
			continue;
		return cells_add_table(cells, shm, &table);
	}
	return 0;
}

/* ---- files ---- */

size_t agent_cells_size(const struct agent_cells *cells, size_t n)
{
	return cells->nmisfits * sizeof(*cells->misfits) + n * cells->cell_size;
}

void agent_cells_store(const struct agent_cells *cells, void *to)
{
	size_t misfits = cells->nmisfits * sizeof(*cells->misfits);

	if (misfits)
		memcpy(to, cells->misfits, misfits);
	if (cells->ncells)
		memcpy((char *)to + misfits, cells->cells, cells->ncells * cells->cell_size);
}

int agent_cells_add_stored(struct agent_cells *cells, const void *stored, size_t n)
{
	const struct agg_misfit *misfits = stored;
	int err = cells_reserve(cells, cells->ncells + n);

	if (err)
		return err;
	for (size_t i = 0; i < cells->nmisfits; i++) {
		cells->misfits[i].other += misfits[i].other;
		cells->misfits[i].other_sum += misfits[i].other_sum;
		cells->misfits[i].unread += misfits[i].unread;
	}
	if (n)
		memcpy(cell_at(cells, cells->ncells), misfits + cells->nmisfits, n * cells->cell_size);
	cells->ncells += n;
	return 0;
}

static int cell_compare(const void *a, const void *b, void *key_size)
{
	return memcmp((const struct agg_cell *)a + 1, (const struct agg_cell *)b + 1, *(size_t *)key_size);
}

void agent_cells_merge(struct agent_cells *cells)
{
	size_t n = 0;

	if (cells->ncells)
		qsort_r(cells->cells, cells->ncells, cells->cell_size, cell_compare, &cells->key_size);
	for (size_t i = 0; i < cells->ncells; i++) {
		struct agg_cell *from = cell_at(cells, i), *to = n ? cell_at(cells, n - 1) : NULL;
		const struct agg_column *column = key_column(cells->manifest, cell_key(from));

		if (to && column && !memcmp(cell_key(to), cell_key(from), cells->key_size))
			agg_cell_add(column, to, from);
		else if (n++ != i)
			memcpy(cell_at(cells, n - 1), from, cells->cell_size);
	}
	cells->ncells = n;
}

/* ---- reading ---- */

bool agent_cells_are_zero(const struct agent_cells *cells)
{
	for (size_t i = 0; i < cells->nmisfits; i++)
		if (cells->misfits[i].other | cells->misfits[i].unread)
			return false;
	return !cells->ncells;
}

int agent_cells_each(const struct agent_cells *cells, agg_cell_fn *cell, agg_misfit_fn *misfit, void *arg)
{
	int err = 0;

	for (size_t i = 0; i < cells->ncells && !err; i++)
		err = cell(cell_key(cell_at(cells, i)), cells->key_size, cell_at(cells, i), arg);
	for (size_t i = 0; i < cells->nmisfits && !err; i++)
		err = misfit((uint32_t)(i / cells->ncolumns), (unsigned)(i % cells->ncolumns), &cells->misfits[i], arg);
	return err;
}
