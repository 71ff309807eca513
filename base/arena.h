/* SPDX-License-Identifier: MIT */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include <stddef.h>

/* Memory that is given back all at once. A zeroed struct is an empty arena. Failure is NULL, as with malloc(3). */
struct arena {
	struct arena_block *blocks;
	size_t used, size; /* of the block that is being filled */
};

void *arena_alloc(struct arena *arena, size_t size); /* zeroed, aligned for anything */
char *arena_strndup(struct arena *arena, const char *text, size_t length);
__attribute__((format(printf, 2, 3))) char *arena_printf(struct arena *arena, const char *format, ...);
void arena_release(struct arena *arena);

#endif
