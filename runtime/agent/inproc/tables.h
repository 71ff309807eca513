/* SPDX-License-Identifier: MIT */
/* The tables of aggregates in a region: tables.c. For the agent's thread, with agent.lock held. */
#ifndef RUNTIME_AGENT_INPROC_TABLES_H
#define RUNTIME_AGENT_INPROC_TABLES_H

#include "runtime/agent/inproc/attachment.h"
#include "runtime/agent/inproc/hit-aggregate.h"
#include "runtime/agent/inproc/shm.h"

/*
 * Returns the group of the attachment's point, and makes the attachment's table when its first group is asked for. NULL:
 * there is no room for the table.
 */
const struct hit_group *table_group(struct session_shm *shm, const struct loaded_attachment *attachment,
                                    uint32_t point);
/* Forgets all tables of the region and clears what they hold. */
void tables_reset(struct session_shm *shm);
/* Writes the descriptions of the tables into memory that is to become the region's. */
void tables_describe(const struct session_shm *shm, struct agent_shm *at);
/* Adds what the tables in `from`, the region's old memory, hold to its memory of now. */
void tables_move(struct session_shm *shm, struct agent_shm *from);
/* Changes the protection of the part of the region that is not in use. */
void tables_protect(const struct session_shm *shm, int protection);
/* Returns how many of the first cells of each ring may be in use. */
uint32_t tables_ring_cells(const struct session_shm *shm);

struct region_table;

/* What the attachment has computed in this process, as it is in struct agent_counts. */
struct table_results {
	const struct region_table *table; /* NULL: none */
	uint32_t nmisfits, ncells;        /* ncells: those in use, at most */
	uint32_t key_size;
};

/* Finds the attachment's table. */
void table_results_find(const struct session_shm *shm, const struct loaded_attachment *attachment,
                        struct table_results *results);
/* Writes misfits and cells to `to`. Returns the number of cells written. d: the attachment's manifest. */
uint32_t table_results_write(const struct session_shm *shm, const struct manifest *d,
                             const struct table_results *results, char *to);

#endif
