/* SPDX-License-Identifier: MIT */
#include "cmd/alloc.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/status.h"

void alloc_failed(void)
{
	fprintf(stderr, "%s: out of memory\n", program_invocation_short_name);
	exit(STATUS_FAILED);
}

void *xcalloc(size_t n, size_t size)
{
	/* calloc(0) may return NULL without an error. */
	void *array = calloc(n ? n : 1, size);

	if (!array)
		alloc_failed();
	return array;
}

void *xreallocarray(void *array, size_t n, size_t size)
{
	void *moved = reallocarray(array, n, size);

	if (!moved)
		alloc_failed();
	return moved;
}

char *xstrdup(const char *text)
{
	char *copy = strdup(text);

	if (!copy)
		alloc_failed();
	return copy;
}

char *xvasprintf(const char *format, va_list args)
{
	char *text;

	if (vasprintf(&text, format, args) < 0)
		alloc_failed();
	return text;
}

char *xasprintf(const char *format, ...)
{
	va_list args;
	char *text;

	va_start(args, format);
	text = xvasprintf(format, args);
	va_end(args);
	return text;
}

FILE *xmemstream(char **text, size_t *size)
{
	FILE *stream = open_memstream(text, size);

	if (!stream)
		alloc_failed();
	return stream;
}

void xmemstream_close(FILE *stream)
{
	if (fclose(stream))
		alloc_failed();
}
