/* SPDX-License-Identifier: MIT */
/*
 * Disassembly of code of x86 and aarch64, as far as probes in the middle of functions and at their ends need it. Functions
 * that take neither a machine nor an image of 32 bits need 64-bit code.
 */
#ifndef RUNTIME_DISASM_H
#define RUNTIME_DISASM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pp_image;

/* Returns true if instructions of this CPU (EM_*) have different lengths, and the lengths are known. */
bool code_is_known(int machine);

/*
 * Returns the length of the instruction at code, 1 if it cannot be decoded. Instructions of CPUs that are not known have
 * 4 bytes.
 */
size_t code_length(int machine, const uint8_t *code, size_t size);

/*
 * Checks that an instruction begins at address + offset, in the function that begins at address. Returns 0, -EINVAL,
 * -EOPNOTSUPP if no function begins there, -EIO or -ENOMEM, with an error message.
 */
int code_boundary(const struct pp_image *image, uint64_t address, uint64_t offset);

/*
 * Finds the functions whose addresses the code of the function at address computes, as the resolver of an indirect
 * function does. Returns their number, at most room.
 */
size_t code_functions_named(const struct pp_image *image, uint64_t address, uint64_t *functions, size_t room);

/* An instruction at which control leaves a function. */
struct code_exit {
	uint64_t address;
	bool tail; /* a jump to another function, which returns in place of this one */
};

/*
 * Finds all exits of the function that begins at address, in the order of their addresses. Returns 0, -EOPNOTSUPP if they
 * cannot all be found with certainty, -EIO or -ENOMEM, with an error message. The caller frees *exits with free().
 */
int code_exits(const struct pp_image *image, uint64_t address, struct code_exit **exits, size_t *n);

/*
 * Returns the address at which the kernel counts calls of the function that begins at address at the least cost: the
 * instruction after its endbr64 if the kernel emulates that one, while it single-steps endbr64. Returns address itself if
 * the function does not begin with endbr64, if the next instruction is a nop or is not emulated, or if anything jumps
 * there: a jump, a call or a switch of the function, or perhaps one, because the function cannot be understood as a whole
 * or has a symbol there.
 */
uint64_t code_entry(const struct pp_image *image, uint64_t address);

/*
 * The instruction boundaries of an image. They are found on demand: decoding begins at the last address before that is
 * known to be a boundary, which is the begin of a function (by symbols or unwind tables) or of a section.
 */
struct code_map;

/* Returns 0, -ENOMEM, or the error of image_reopen(). The caller frees *map with code_map_free(). */
int code_map_new(const struct pp_image *image, struct code_map **map);
void code_map_free(struct code_map *map);

/*
 * Checks that an instruction begins at the address. A one-byte nop may have 0x66 prefixes before the address, because
 * sys/sdt.h aligns its sites with them. Returns 0, -ENOMEM, -EINVAL with an error message that names the instruction
 * around the address, or -EOPNOTSUPP with one that says why this cannot be known.
 */
int code_map_begins(struct code_map *map, uint64_t address);

#endif
