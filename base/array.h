/* SPDX-License-Identifier: MIT */
/* Arrays that grow, and searches in sorted arrays. */
#ifndef BASE_ARRAY_H
#define BASE_ARRAY_H

#include <errno.h>
#include <stddef.h>

/*
 * Makes room for at least `wanted` elements (1 or more) in the array of `room` elements, and at least doubles it. New
 * elements are not initialized. Evaluates to 0, or to -ENOMEM with an error message; the array is then unchanged. The
 * caller frees the array.
 */
#define ALLOC_GROW(array, wanted, room)                                                  \
	({                                                                               \
		void *grown_ = array_grow((array), (wanted), &(room), sizeof(*(array))); \
                                                                                         \
		if (grown_)                                                              \
			(array) = grown_;                                                \
		grown_ ? 0 : -ENOMEM;                                                    \
	})
void *array_grow(void *array, size_t wanted, size_t *room, size_t size);

/*
 * Returns the index of the first of n sorted elements that does not compare below the key, n if all do. compare returns
 * a number below, equal to or above 0 if the element is below, equal to or above the key.
 */
size_t lower_bound(const void *array, size_t n, size_t size, const void *key,
                   int (*compare)(const void *element, const void *key));

#endif
