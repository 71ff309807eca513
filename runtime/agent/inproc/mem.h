/* SPDX-License-Identifier: MIT */
/* The agent's memory, by mmap(2): pages, memory that is never freed, and vectors. */
#ifndef RUNTIME_AGENT_INPROC_MEM_H
#define RUNTIME_AGENT_INPROC_MEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/agent/inproc/libc.h"

/* The largest page of any CPU. Multiples of it are multiples of the page size of each machine. */
#define LARGEST_PAGE 65536u

/* Allocates size bytes of zeroes that are never freed. Returns NULL without memory. Not for concurrent use. */
void *arena_alloc(size_t size);

/* Maps size bytes of zeroes, unlocked. Returns NULL without memory. */
void *pages_map(size_t size);
/* Unmaps them. at may be NULL. */
void pages_unmap(void *at, size_t size);
/* Makes the kernel allocate pages in advance, in steps: the used part of room bytes has grown from had to used. */
void pages_populate(const void *at, size_t had, size_t used, size_t room);

/* Does mmap(2) at an address that neither the kernel nor programs choose. Returns MAP_FAILED on errors. */
void *map_private(size_t size, int protection, int flags, int fd);
/*
 * Maps size bytes of the file from an offset on, shared, unlocked even if the process locks its memory.
 * at: the address, or NULL for any. Returns NULL on errors, or if at is taken.
 */
void *map_shared(int fd, void *at, size_t size, int protection, uint64_t offset);
/* Changes the protection of the whole pages between two addresses. */
void memory_protect(uintptr_t from, uintptr_t to, int protection);
/* Returns whether RLIMIT_AS permits size more bytes than used, and the program could then still map as many. */
bool memory_allowed(size_t size, uint64_t used);

/* An array that grows; its elements may move then. */
struct vector {
	void *at;
	size_t n, room; /* bytes */
};

/* Appends size bytes of zeroes. Returns their address, or NULL without memory. */
void *vector_add(struct vector *v, size_t size);
/* Empties the vector, and keeps its memory. */
static inline void vector_clear(struct vector *v)
{
	v->n = 0;
}

#endif
