/* SPDX-License-Identifier: MIT */
/*
 * What processes have computed for the aggregates of an attachment: the misfits of each column of each group, and cells
 * with their keys, in the layout of struct agent_counts.
 */
#ifndef RUNTIME_AGENT_CELLS_H
#define RUNTIME_AGENT_CELLS_H

#include "runtime/agent/shm.h"
#include "runtime/backend.h"

struct agent_cells {
	const struct manifest *manifest;
	size_t nmisfits, key_size, cell_size; /* cell_size: of struct agg_cell with its key */
	uint32_t ncolumns;
	struct agg_misfit *misfits; /* by group * ncolumns + column */
	char *cells;
	size_t ncells, room;
};

/* Begins without cells. Returns 0 or -ENOMEM. The caller releases *cells. */
int agent_cells_init(struct agent_cells *cells, const struct manifest *manifest);
void agent_cells_release(struct agent_cells *cells);
/* Adds what a region holds. Returns 0 or -ENOMEM. */
int agent_cells_add_shm(struct agent_cells *cells, const struct mapped_shm *shm);
/* Adds misfits and n cells that are stored one after the other, as in a file. Returns 0 or -ENOMEM. */
int agent_cells_add_stored(struct agent_cells *cells, const void *stored, size_t n);
/* Makes one cell of those with the same key. */
void agent_cells_merge(struct agent_cells *cells);
/* Returns the size in a file of misfits and n cells. */
size_t agent_cells_size(const struct agent_cells *cells, size_t n);
/* Stores all misfits and cells. */
void agent_cells_store(const struct agent_cells *cells, void *to);
bool agent_cells_are_zero(const struct agent_cells *cells);
/* Calls the functions of the operation `aggregates` (backend.h). */
int agent_cells_each(const struct agent_cells *cells, agg_cell_fn *cell, agg_misfit_fn *misfit, void *arg);

#endif
