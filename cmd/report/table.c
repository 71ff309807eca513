/* SPDX-License-Identifier: MIT */
/* Open addressing, with linear probing. A removed element is replaced by one that follows it. */
#include "cmd/report/table.h"

#include <stdlib.h>
#include <sys/random.h>

#include "cmd/alloc.h"

#define FREE UINT32_MAX

/* FNV-1a with a random start, so that a trace cannot choose keys that collide, and a final mix. */
uint64_t table_hash(const void *bytes, size_t n)
{
	static uint64_t start;
	const unsigned char *b = bytes;
	uint64_t hash;

	while (!start)
		if (getrandom(&start, sizeof(start), GRND_NONBLOCK) != sizeof(start))
			start = 0xcbf29ce484222325;
	hash = start;
	for (size_t i = 0; i < n; i++)
		hash = (hash ^ b[i]) * 0x100000001b3;
	hash ^= hash >> 32;
	hash *= 0xd6e8feb86659fd93;
	return hash ^ hash >> 32;
}

uint32_t table_find(const struct index_table *table, uint64_t hash,
                    bool (*equals)(const void *list, uint32_t index, const void *key), const void *list,
                    const void *key)
{
	if (!table->room)
		return FREE;
	for (size_t i = hash & (table->room - 1);; i = (i + 1) & (table->room - 1)) {
		const struct table_slot *slot = &table->slots[i];

		if (slot->index == FREE)
			return FREE;
		if (slot->hash == (uint32_t)hash && equals(list, slot->index, key))
			return slot->index;
	}
}

static void table_put(struct index_table *table, struct table_slot slot)
{
	size_t i = slot.hash & (table->room - 1);

	while (table->slots[i].index != FREE)
		i = (i + 1) & (table->room - 1);
	table->slots[i] = slot;
}

static void table_grow(struct index_table *table)
{
	struct index_table old = *table;

	table->room = old.room ? 2 * old.room : 16;
	table->slots = xreallocarray(NULL, table->room, sizeof(*table->slots));
	for (size_t i = 0; i < table->room; i++)
		table->slots[i].index = FREE;
	for (size_t i = 0; i < old.room; i++)
		if (old.slots[i].index != FREE)
			table_put(table, old.slots[i]);
	free(old.slots);
}

void table_add(struct index_table *table, uint64_t hash, uint32_t index)
{
	if (4 * (table->used + 1) > 3 * table->room)
		table_grow(table);
	table_put(table, (struct table_slot){ (uint32_t)hash, index });
	table->used++;
}

void table_remove(struct index_table *table, uint64_t hash, uint32_t index)
{
	size_t mask = table->room - 1, i = hash & mask;

	while (table->slots[i].index != index)
		i = (i + 1) & mask;
	for (size_t j = (i + 1) & mask; table->slots[j].index != FREE; j = (j + 1) & mask) {
		/* The element at j may move to i if its own place is not after i. */
		if (((j - table->slots[j].hash) & mask) >= ((j - i) & mask)) {
			table->slots[i] = table->slots[j];
			i = j;
		}
	}
	table->slots[i].index = FREE;
	table->used--;
}

void table_release(struct index_table *table)
{
	free(table->slots);
	*table = (struct index_table){ 0 };
}
