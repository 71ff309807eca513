/* SPDX-License-Identifier: MIT */
/*
 * The layout of a process image: the executable mappings that it was ever seen to have. As text it is a number of lines of
 * /proc/PID/maps, which backends store.
 */
#ifndef RUNTIME_LAYOUT_H
#define RUNTIME_LAYOUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "runtime/aggregate.h"

struct layout_mapping {
	uint64_t start, end, offset;
	dev_t device;
	ino_t inode;
	const char *path; /* a part of the layout's text */
};

struct layout {
	char *text;
	struct layout_mapping *mappings;
	size_t nmappings, room;
};

/* Parses the text, whose lines may be damaged, and takes ownership of it. Returns 0 or -ENOMEM. */
int layout_parse(struct layout *layout, char *text);
void layout_release(struct layout *layout);

/* Returns the mapping that contains the address. NULL: none, or several that are not the same part of a file. */
const struct layout_mapping *layout_find(const struct layout *layout, uint64_t address);

/* Returns whether one of the mappings contains the address. */
bool layout_has(const struct layout *layout, uint64_t address);

/* Returns `exec` (struct agg_stack) of a process, 0 if it does not live or may not be read. */
uint64_t layout_exec(pid_t pid);
/*
 * Adds the executable mappings that a process has now, and that *text lacks. *text may be NULL, and is freed and replaced. Sets
 * *changed. Does nothing if the process is not the image `exec`. Returns 0 or -ENOMEM.
 */
int layout_update(pid_t pid, uint64_t exec, char **text, bool *changed);

#endif
