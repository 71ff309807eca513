/* SPDX-License-Identifier: MIT */
/*
 * A library to preload. The allocation with the number FAIL_AT fails. Without FAIL_AT, the number of allocations is
 * written to standard error at the end.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *memory, size_t size);

static long allocations;

static int fails(void)
{
	static long at = -1;

	if (at < 0)
		at = getenv("FAIL_AT") ? atol(getenv("FAIL_AT")) : 0;
	if (++allocations != at)
		return 0;
	errno = ENOMEM;
	return 1;
}

void *malloc(size_t size)
{
	return fails() ? NULL : __libc_malloc(size);
}

void *calloc(size_t n, size_t size)
{
	return fails() ? NULL : __libc_calloc(n, size);
}

void *realloc(void *memory, size_t size)
{
	return fails() ? NULL : __libc_realloc(memory, size);
}

__attribute__((destructor)) static void report(void)
{
	char text[32];

	if (!getenv("FAIL_AT"))
		(void)!write(STDERR_FILENO, text, (size_t)snprintf(text, sizeof(text), "%ld\n", allocations));
}
