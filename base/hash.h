/* SPDX-License-Identifier: MIT */
#ifndef BASE_HASH_H
#define BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

/* Returns the FNV-1a hash of the bytes. */
static inline uint64_t hash_fnv1a(const void *bytes, size_t n)
{
	const unsigned char *b = bytes;
	uint64_t hash = 0xcbf29ce484222325;

	while (n--)
		hash = (hash ^ *b++) * 0x100000001b3;
	return hash;
}

#endif
