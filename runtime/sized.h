/* SPDX-License-Identifier: MIT */
/* Structures of the public API that grow: the caller says how large its structure is. */
#ifndef RUNTIME_SIZED_H
#define RUNTIME_SIZED_H

#include <stddef.h>
#include <string.h>

/* Copies the library's structure to the caller's of `size` bytes, and clears what the library's does not have. */
static inline void sized_copy(void *to, size_t size, const void *from, size_t from_size)
{
	size_t n = size < from_size ? size : from_size;

	memcpy(to, from, n);
	memset((char *)to + n, 0, size - n);
}

#endif
