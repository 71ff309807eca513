/* SPDX-License-Identifier: MIT */
/* The names that func: patterns use, and the functions of an image that they stand for. */
#ifndef RUNTIME_FUNCTION_NAME_H
#define RUNTIME_FUNCTION_NAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FUNCTION_ALIKE_MAX 16 /* functions with the same name that an error message lists */

struct pp_image;

/* The parts of SYMBOL+OFFSET or SYMBOL%return. */
struct function_parts {
	char *symbol; /* "" for +OFFSET; freed by free() */
	uint64_t offset;
	bool is_return;
};

/* Splits a name. Returns 0, or -ENOMEM or -EINVAL; parts->symbol is freed by the caller in any case. */
int function_split(const char *name, struct function_parts *parts);

/*
 * Finds the functions that a symbol or an address names: *n addresses, at most FUNCTION_ALIKE_MAX. Returns 0, -ENOENT if
 * nothing has this name, -ENXIO if the name belongs to something else, or another error; all with an error message.
 */
int function_find(const struct pp_image *image, const char *symbol, uint64_t *addresses, size_t *n);

#endif
