/* SPDX-License-Identifier: MIT */
/* Machine code of x86-64, as far as one must understand a function to put probes into its middle and at its ends. */
#ifndef RUNTIME_DISASM_H
#define RUNTIME_DISASM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pp_image;

/* Where a function is left. */
struct code_exit {
	uint64_t address;
	bool tail; /* by a jump to another function, which returns in its place */
};

/*
 * All exits of the function at address (its start), in the order of their addresses. *exits
 * is the caller's, to be freed by free(). -EOPNOTSUPP with a sentence: it cannot be told for sure
 * where it is left.
 */
int code_exits(const struct pp_image *image, uint64_t address, struct code_exit **exits, size_t *n);

/* 0: an instruction begins at address + offset, within the function that starts at address. -EINVAL, with a sentence. */
int code_boundary(const struct pp_image *image, uint64_t address, uint64_t offset);

/* Returns how long the instruction at code is, 1 if it cannot be decoded. machine: EM_*. */
size_t code_length(int machine, const uint8_t *code, size_t size);

/*
 * Finds the functions whose addresses the code of the function at address computes (as the resolver of an indirect
 * function does). Returns how many, at most room.
 */
size_t code_functions_named(const struct pp_image *image, uint64_t address, uint64_t *functions, size_t room);

/*
 * Where instructions begin in an image, learned as far as it is asked for. Decoding goes on from the last place that is
 * known to be a begin: a function, by the symbols or the unwind tables, or a section of code.
 */
struct code_map;

int code_map_new(const struct pp_image *image, struct code_map **map);
void code_map_free(struct code_map *map);
/*
 * Returns 0 if an x86 instruction begins at the address. A nop of one byte counts as one if prefixes 66 stand before it,
 * because sys/sdt.h aligns its sites by them. Returns -EINVAL, and pp_error() says which instruction it is in the middle
 * of, or why it is not known.
 */
int code_map_begins(struct code_map *map, uint64_t address);

#endif
