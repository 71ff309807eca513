/* SPDX-License-Identifier: MIT */
#include "runtime/function-name.h"

#include <errno.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "runtime/function.h"
#include "sdt/image.h"

#define SHOWN_MAX 5 /* functions matching a glob that an error message lists */

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

/* Returns the number of the image's functions that match the glob, and lists some of them. */
static size_t glob_list_matches(const struct pp_image *image, const char *glob, FILE *out)
{
	size_t total = pp_image_functions(image), n = 0;
	const char *last = "";

	for (size_t i = 0; i < total; i++) {
		const char *name = pp_image_function(image, i);

		if (!name || fnmatch(glob, name, 0) || !strcmp(name, last))
			continue;
		last = name;
		if (n < SHOWN_MAX)
			fprintf(out, "%s %s:%s", n ? "," : "", FUNCTION_PROVIDER, name);
		n++;
	}
	return n;
}

/* Returns -ENXIO with an error message that lists what the glob matches, -ENOENT if it matches nothing, or -ENOMEM. */
static int glob_refuse(const struct pp_image *image, const char *glob)
{
	char *text = NULL;
	size_t n, size;
	FILE *out;

	if (!strpbrk(glob, "*?["))
		return -ENOENT;
	out = open_memstream(&text, &size);
	if (!out)
		return error_nomem();
	n = glob_list_matches(image, glob, out);
	if (fclose(out)) {
		free(text);
		return error_nomem();
	}
	if (n)
		error_set(ENXIO, "%s: expected the name of one function, not a glob; %zu of '%s' match:%s%s",
		          FUNCTION_PROVIDER, n, image->path, text, n > SHOWN_MAX ? ", ..." : "");
	free(text);
	return n ? -ENXIO : -ENOENT;
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
	if (!found)
		found = glob_refuse(image, symbol);
	return found == -ENOENT ? error_set(ENOENT, "%s has no function '%s'", image->path, symbol) : found;
}
