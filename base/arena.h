/* SPDX-License-Identifier: MIT */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include <stddef.h>

/* Memory that is freed all at once. A zeroed struct is an empty arena. Functions return NULL if memory allocation fails. */
struct arena {
	struct arena_block *blocks;
	size_t used, size; /* bytes of the current block */
};

/* Returns zeroed memory that is aligned for any type. */
void *arena_alloc(struct arena *arena, size_t size);
/* Copies the text and appends a NUL. */
char *arena_strndup(struct arena *arena, const char *text, size_t length);
__attribute__((format(printf, 2, 3))) char *arena_printf(struct arena *arena, const char *format, ...);
void arena_release(struct arena *arena);

#endif
