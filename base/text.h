/* SPDX-License-Identifier: MIT */
#ifndef BASE_TEXT_H
#define BASE_TEXT_H

#include <stddef.h>

/* The ending of a noun that is counted: "%zu site%s", n, plural(n). */
static inline const char *plural(size_t n)
{
	return n == 1 ? "" : "s";
}

#endif
