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

/* Returns true if the name, which may end with %return, is a glob. */
bool function_is_glob(const char *name);
/* Returns true if the glob matches the name of a function; either both end with %return or neither does. */
bool function_glob_matches(const char *glob, const char *name);
/*
 * Calls fn for each function of the image whose symbol or demangled name the glob matches, with its demangled name.
 * Stops when fn returns nonzero, and returns that value.
 */
int function_glob(const struct pp_image *image, const char *symbol,
                  int (*fn)(const char *name, uint64_t address, void *arg), void *arg);

/*
 * Finds the functions that a symbol or an address names: *n addresses, at most FUNCTION_ALIKE_MAX. Returns 0, -ENOENT if
 * nothing has this name, -ENXIO if the name belongs to something else, or another error; all with an error message.
 */
int function_find(const struct pp_image *image, const char *symbol, uint64_t *addresses, size_t *n);

#endif
