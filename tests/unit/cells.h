/* SPDX-License-Identifier: MIT */
/* What aggregates should hold: a list of cells, in the order in which their keys came, and misfits. */
#ifndef TESTS_UNIT_CELLS_H
#define TESTS_UNIT_CELLS_H

#include <check.h>
#include <string.h>

#include "runtime/fetch/program.h"

#define MODEL_CELLS 512

struct model {
	const struct fetch_aggregate *aggregate;
	uint32_t group;
	size_t max, n; /* cells */
	struct {
		struct agg_cell cell;
		size_t size; /* of the parts */
		uint64_t key[AGG_KEY_SIZE_MAX / 8];
	} cells[MODEL_CELLS];
	struct agg_misfit misfits[AGG_COLUMNS_MAX];
};

/* Returns the cell of the key, or NULL if there is no room for it. */
static struct agg_cell *model_cell(struct model *m, const void *key, size_t size)
{
	size_t i;

	for (i = 0; i < m->n; i++)
		if (m->cells[i].size == size && !memcmp(m->cells[i].key, key, size))
			return &m->cells[i].cell;
	if (m->n == m->max)
		return NULL;
	ck_assert(m->n < MODEL_CELLS);
	memset(&m->cells[i], 0, sizeof(m->cells[i]));
	memcpy(m->cells[i].key, key, size);
	m->cells[i].size = size;
	m->n++;
	return &m->cells[i].cell;
}

/* The function `aggregate` of struct fetch_machine. */
static void model_add(struct model *m, unsigned column, const uint8_t *parts, size_t size, uint64_t value, bool unread)
{
	const struct agg_column *c = &m->aggregate->columns[column];
	struct agg_cell one = { 1, value, (int64_t)value, (int64_t)value }, *cell;
	union {
		struct agg_key key;
		uint8_t bytes[AGG_KEY_SIZE_MAX];
	} k = { .key = { m->group, column, agg_bucket(c, value) } };

	if (unread) {
		m->misfits[column].unread++;
		return;
	}
	memcpy(k.key.parts, parts, size);
	cell = model_cell(m, &k, sizeof(k.key) + size);
	if (cell) {
		agg_cell_add(c, cell, &one);
		return;
	}
	m->misfits[column].other++;
	m->misfits[column].other_sum += value;
}

#endif
