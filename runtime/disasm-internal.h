/* SPDX-License-Identifier: MIT */
#ifndef RUNTIME_DISASM_INTERNAL_H
#define RUNTIME_DISASM_INTERNAL_H

#include <Zydis/Zydis.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pp_image;

void decoder_init(ZydisDecoder *decoder, bool is_64);

/* Returns the address that a lea or mov puts into a register, 0 if the instruction is neither. */
uint64_t insn_computed_address(const ZydisDecodedInstruction *insn, const ZydisDecodedOperand *operands, uint64_t at);

/*
 * Reads the file's bytes at an address. Fewer than size may follow in the file: the rest is then zero. Returns 0, or -EIO
 * or an error of image_reopen(), with an error message.
 */
int code_read_some(const struct pp_image *image, uint64_t address, size_t size, void *to);

/* The bytes of a function, or of one part of it. */
struct code_bytes {
	uint64_t start, end; /* addresses */
	uint8_t *bytes;      /* freed by free() */
};

/* Reads the bytes from start to end of the function with this name. Returns 0, -EOPNOTSUPP, -EIO or -ENOMEM. */
int code_bytes_read(const struct pp_image *image, const char *name, uint64_t start, uint64_t end,
                    struct code_bytes *code);

/* Finds the function that begins at address and reads its bytes. Returns 0, -EOPNOTSUPP, -EIO or -ENOMEM. */
int code_bytes_of_function(const struct pp_image *image, uint64_t address, const char **name, struct code_bytes *code);

/* code_exits() and code_functions_named() for aarch64: disasm-aarch64.c. */
struct code_exit;
int code_exits_aarch64(const struct pp_image *image, uint64_t address, struct code_exit **exits, size_t *n);
size_t code_functions_named_aarch64(const struct pp_image *image, uint64_t address, uint64_t *functions, size_t room);

/* Adds the address to the functions if a function begins there and they do not contain it. Returns their number. */
size_t code_function_add(const struct pp_image *image, uint64_t address, uint64_t *functions, size_t n);

#endif
