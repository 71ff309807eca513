/* SPDX-License-Identifier: MIT */
#include "runtime/function-name.h"

#include <ctype.h>
#include <errno.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "runtime/function.h"
#include "sdt/cxx-name.h"
#include "sdt/image.h"

#define GLOB_MAX 4096

static const char return_suffix[] = "%return";

const char *function_name(const char *pattern)
{
	size_t n = strlen(FUNCTION_PROVIDER);

	return !strncmp(pattern, FUNCTION_PROVIDER, n) && pattern[n] == ':' && pattern[n + 1] ? pattern + n + 1 : NULL;
}

int function_split(const char *name, struct function_parts *parts)
{
	size_t length = strlen(name), tail = sizeof(return_suffix) - 1;
	char *plus, *percent, *end;

	*parts = (struct function_parts){ .symbol = strdup(name) };
	if (!parts->symbol)
		return error_nomem();
	if (length > tail && !strcmp(name + length - tail, return_suffix)) {
		parts->is_return = true;
		parts->symbol[length - tail] = 0;
	}
	/* A demangled name can contain both characters: operator+(a, b). */
	percent = strrchr(parts->symbol, '%');
	if (percent && !strchr(percent, ')'))
		return error_set(EINVAL, "'%s:%s': unknown suffix '%s': only %s may follow a symbol", FUNCTION_PROVIDER,
		                 name, percent, return_suffix);
	plus = strrchr(parts->symbol, '+');
	if (!plus || plus[1] < '0' || plus[1] > '9')
		return 0;
	errno = 0;
	parts->offset = strtoull(plus + 1, &end, 0);
	if (errno || *end)
		return error_set(EINVAL, "'%s:%s': invalid offset '%s'", FUNCTION_PROVIDER, name, plus + 1);
	if (parts->is_return && parts->offset)
		return error_set(EINVAL, "'%s:%s': %s cannot be used with an offset", FUNCTION_PROVIDER, name,
		                 return_suffix);
	*plus = 0;
	return 0;
}

int function_check(const char *name)
{
	struct function_parts parts;
	int err = function_split(name, &parts);

	free(parts.symbol);
	return err;
}

bool function_is_address(const char *name)
{
	return name[0] == '+' || (name[0] == '0' && (name[1] == 'x' || name[1] == 'X'));
}

bool function_is_glob(const char *name)
{
	return strpbrk(name, "*?[") && !function_is_address(name);
}

/* Returns the length of the name without %return. */
static size_t name_length(const char *name)
{
	size_t length = strlen(name), tail = sizeof(return_suffix) - 1;

	return length > tail && !strcmp(name + length - tail, return_suffix) ? length - tail : length;
}

bool function_glob_matches(const char *glob, const char *name)
{
	size_t n = name_length(glob), length = name_length(name);
	char wanted[GLOB_MAX], text[GLOB_MAX];

	if (n >= sizeof(wanted) || length >= sizeof(text) || strcmp(glob + n, name + length))
		return false;
	snprintf(wanted, sizeof(wanted), "%.*s", (int)n, glob);
	snprintf(text, sizeof(text), "%.*s", (int)length, name);
	return !fnmatch(wanted, text, 0) || cxx_matches_demangled(wanted, text);
}

/* Returns true if the symbol is not that of a whole function: the compiler has split it off, and nothing calls it. */
static bool symbol_is_part(const char *name)
{
	const char *dot = strrchr(name, '.');

	while (dot && dot > name && isdigit((unsigned char)dot[1])) {
		do
			dot--;
		while (dot > name && *dot != '.');
	}
	return dot && dot > name && !strncmp(dot, ".cold", 5);
}

int function_glob(const struct pp_image *image, const char *symbol,
                  int (*fn)(const char *name, uint64_t address, void *arg), void *arg)
{
	size_t total = pp_image_functions(image);
	int err = 0;

	for (size_t i = 0; i < total && !err; i++) {
		uint64_t address = image_function_address(image, i);
		const char *name = pp_image_function(image, i);
		char *demangled;

		/* The last name of an address is the best. */
		if (!name || symbol_is_part(name) || (i + 1 < total && image_function_address(image, i + 1) == address))
			continue;
		demangled = image_demangle(name);
		if (!fnmatch(symbol, name, 0) || (demangled && cxx_matches_demangled(symbol, demangled)))
			err = fn(demangled ? demangled : name, address, arg);
		free(demangled);
	}
	return err;
}

static int function_found(const char *name, uint64_t address, void *arg)
{
	(void)name, (void)address, (void)arg;
	return 1;
}

bool pp_image_has_function(const struct pp_image *image, const char *pattern)
{
	const char *name = function_name(pattern);
	struct function_parts parts;
	uint64_t address;
	bool found;

	if (!name)
		return false;
	found = !function_split(name, &parts) &&
	        (image_functions_named(image, parts.symbol, &address, 1) > 0 ||
	         (function_is_glob(name) && function_glob(image, parts.symbol, function_found, NULL) == 1));
	free(parts.symbol);
	return found;
}

/* Finds the function that begins at an address, as linked. */
static int address_find(const struct pp_image *image, const char *symbol, uint64_t *address)
{
	uint64_t start, end;
	const char *name;
	char *stop;

	*address = strtoull(symbol, &stop, 16);
	if (*stop)
		return error_set(ENOENT, "invalid address '%s'", symbol);
	name = image_code_range(image, *address, &start, &end);
	if (!name)
		return error_set(
			ENXIO, "no function of '%s' is known at %s: neither its symbols nor its unwind tables have one",
			image->path, symbol);
	if (start == *address)
		return 0;
	return error_set(ENXIO,
	                 "no function of '%s' begins at %s: '%s' begins at 0x%lx; the instruction there is %s:+%s",
	                 image->path, symbol, name, (unsigned long)start, FUNCTION_PROVIDER, symbol);
}

int function_find(const struct pp_image *image, const char *symbol, uint64_t *addresses, size_t *n)
{
	uint64_t address;
	int found;

	*n = 1;
	if (function_is_address(symbol))
		return address_find(image, symbol, addresses);
	found = image_functions_named(image, symbol, addresses, FUNCTION_ALIKE_MAX);
	if (found > 0) {
		*n = (size_t)found;
		return 0;
	}
	if (!found && !image_symbol(image, symbol, &address))
		return error_set(ENXIO, "'%s' of '%s' is not a function", symbol, image->path);
	return !found || found == -ENOENT ? error_set(ENOENT, "%s has no function '%s'", image->path, symbol) : found;
}
