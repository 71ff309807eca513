/* SPDX-License-Identifier: MIT */
/* Machine code of x86-64, as far as one must understand a function to put probes into its middle and at its ends. */
#ifndef RUNTIME_CODE_H
#define RUNTIME_CODE_H

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

#endif
