/* SPDX-License-Identifier: MIT */
#include "base/array.h"

#include <stdint.h>
#include <stdlib.h>

#include "base/error.h"

#define ROOM_MIN 8

void *array_grow(void *array, size_t wanted, size_t *room, size_t size)
{
	size_t grown = *room < ROOM_MIN / 2 ? ROOM_MIN : *room * 2;
	void *moved;

	if (wanted <= *room)
		return array;
	if (grown < wanted)
		grown = wanted;
	moved = reallocarray(array, grown, size);
	if (moved)
		*room = grown;
	else
		error_nomem();
	return moved;
}

size_t lower_bound(const void *array, size_t n, size_t size, const void *key,
                   int (*compare)(const void *element, const void *key))
{
	size_t low = 0;

	while (low < n) {
		size_t middle = low + (n - low) / 2;

		if (compare((const char *)array + middle * size, key) < 0)
			low = middle + 1;
		else
			n = middle;
	}
	return low;
}
