/* SPDX-License-Identifier: MIT */
/* A hash table of the indexes of a list's elements. The list is elsewhere. */
#ifndef CMD_REPORT_TABLE_H
#define CMD_REPORT_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct table_slot {
	uint32_t hash, index;
};

/* Zeroes are an empty table. */
struct index_table {
	struct table_slot *slots;
	size_t room, used;
};

uint64_t table_hash(const void *bytes, size_t n);
/* Returns the index of the element with this hash for which equals(list, index, key) is true, else UINT32_MAX. */
uint32_t table_find(const struct index_table *table, uint64_t hash,
                    bool (*equals)(const void *list, uint32_t index, const void *key), const void *list,
                    const void *key);
/* Adds an index that is not in the table. */
void table_add(struct index_table *table, uint64_t hash, uint32_t index);
/* Removes an index that is in the table. */
void table_remove(struct index_table *table, uint64_t hash, uint32_t index);
void table_release(struct index_table *table);

#endif
