/* SPDX-License-Identifier: MIT */
#ifndef CMD_REPORT_GROW_H
#define CMD_REPORT_GROW_H

#include "cmd/alloc.h"

/*
 * Makes room for at least `wanted` elements in an array, and at least doubles it. New elements are not initialized. Exits if no
 * memory is left.
 */
#define GROW(array, wanted, room)                                                   \
	do {                                                                        \
		if ((size_t)(wanted) > (room)) {                                    \
			(room) = (room) ? 2 * (room) : 8;                           \
			if ((room) < (size_t)(wanted))                              \
				(room) = (wanted);                                  \
			(array) = xreallocarray((array), (room), sizeof(*(array))); \
		}                                                                   \
	} while (0)

#endif
