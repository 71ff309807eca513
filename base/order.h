/* SPDX-License-Identifier: MIT */
#ifndef BASE_ORDER_H
#define BASE_ORDER_H

/* In a function that compares: returns -1 or 1 if the numbers differ. */
#define ORDER(x, y)                                \
	do {                                       \
		if ((x) != (y))                    \
			return (x) < (y) ? -1 : 1; \
	} while (0)

#endif
