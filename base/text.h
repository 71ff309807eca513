/* SPDX-License-Identifier: MIT */
#ifndef BASE_TEXT_H
#define BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

/* Returns the plural ending of a counted noun: "%zu site%s", n, plural(n). */
static inline const char *plural(size_t n)
{
	return n == 1 ? "" : "s";
}

/* Returns true if the text ends with the end, and is longer. */
static inline bool text_has_end(const char *text, const char *end)
{
	size_t length = strlen(text), n = strlen(end);

	return length > n && !strcmp(text + length - n, end);
}

/* Returns the length of a path as the kernel shows it, without the " (deleted)" that follows the path of a removed file. */
static inline size_t text_path_length(const char *path)
{
	static const char deleted[] = " (deleted)";

	return strlen(path) - (text_has_end(path, deleted) ? sizeof(deleted) - 1 : 0);
}

/* Returns true if the text is UTF-8 without control characters, so that it can be printed. */
bool text_is_clean(const char *text, size_t length);

#endif
