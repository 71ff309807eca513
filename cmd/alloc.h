/* SPDX-License-Identifier: MIT */
/* Memory allocation for the commands. If no memory is left, each function reports that and exits (STATUS_FAILED). */
#ifndef CMD_ALLOC_H
#define CMD_ALLOC_H

#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

/* Reports that no memory is left, and exits. */
__attribute__((noreturn)) void alloc_failed(void);

void *xcalloc(size_t n, size_t size);
void *xreallocarray(void *array, size_t n, size_t size);
char *xstrdup(const char *text);
__attribute__((format(printf, 1, 2))) char *xasprintf(const char *format, ...);
__attribute__((format(printf, 1, 0))) char *xvasprintf(const char *format, va_list args);

/* A stream that writes to *text. The caller frees *text after xmemstream_close(). */
FILE *xmemstream(char **text, size_t *size);
void xmemstream_close(FILE *stream);

#endif
