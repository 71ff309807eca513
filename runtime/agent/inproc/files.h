/* SPDX-License-Identifier: MIT */
/* Numbers as text, directories and files, without malloc. */
#ifndef RUNTIME_AGENT_INPROC_FILES_H
#define RUNTIME_AGENT_INPROC_FILES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/agent/inproc/libc.h"

/* Writes n in decimal and a NUL. Returns the length. */
size_t format_number(char *to, uint64_t n);
/* Returns the number, or -1 if the text is not one. */
int64_t parse_number(const char *text);

/* Opens a subdirectory to which only the user has access. make: creates it. Returns -1 on errors. */
int dir_open(int dir, const char *name, bool make);
/* Calls fn for each name without a leading dot, until it returns nonzero. Returns that, or 0. */
int dir_list(int dir, int (*fn)(int dir, const char *name, void *arg), void *arg);
/* Writes a new file and renames it to name. Returns 0 or a negative errno. */
int file_write(int dir, const char *name, const void *data, size_t size);
/* Reads at most room - 1 bytes of a text file and adds a NUL. Returns the length, 0 on errors. */
size_t file_read_text(int dir, const char *path, char *text, size_t room);

#endif
