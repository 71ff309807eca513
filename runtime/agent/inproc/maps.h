/* SPDX-License-Identifier: MIT */
/* The mappings of the process, from /proc/self/maps. For the agent's thread only. */
#ifndef RUNTIME_AGENT_INPROC_MAPS_H
#define RUNTIME_AGENT_INPROC_MAPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/agent/inproc/mem.h"
#include "runtime/manifest.h"

struct map_entry {
	uintptr_t start, end;
	uint64_t offset, device, inode;
	const char *path;   /* "" without a file; valid until the next maps_read() */
	uint8_t protection; /* PROT_* */
	bool shared, is_stack, is_heap;
};

/* Reads the mappings, in the order of their addresses. Returns 0 or a negative errno. */
int maps_read(void);
size_t maps_count(void);
const struct map_entry *maps_get(size_t i);
/* Returns the mapping that contains the address, or NULL. */
const struct map_entry *maps_at(uintptr_t address);
/* Returns how many bytes all mappings have. */
uint64_t maps_size(void);
/* Returns the nth unmapped range of size bytes in reach of jumps from low to high, the nearest first; 0: none. */
uintptr_t maps_gap(uintptr_t low, uintptr_t high, size_t size, unsigned nth);

bool mapping_is_file(const struct map_entry *mapping, const struct manifest_file *file, const char *path);
bool mappings_same_file(const struct map_entry *a, const struct map_entry *b);
/* Returns whether size readable bytes at the address belong to the image of that text: its file or its bss. */
bool mapping_is_image(const struct map_entry *text, uintptr_t address, size_t size);

/* Reads the mappings again, for maps_unchanged() only. Returns 0 or a negative errno. */
int maps_reread(void);
/* Returns whether start to end is still mapped from the text's file, at the same offset, with that protection. */
bool maps_unchanged(const struct map_entry *text, uintptr_t start, uintptr_t end, int protection);

/* Appends the lines of executable mappings that the text lacks, which consists of lines. */
void maps_add_code(struct vector *text);

/* Copies memory of this process that may not be mapped. Returns whether all of it was readable. */
bool memory_copy(void *to, uintptr_t from, size_t size);

#endif
