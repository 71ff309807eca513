/* SPDX-License-Identifier: MIT */
#include "runtime/layout.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "base/array.h"
#include "base/error.h"
#include "runtime/process.h"

#define EXEC_FIELD 48 /* of /proc/PID/stat */

/* ---- parsing ---- */

/* Parses a line of /proc/PID/maps. Returns whether it is an executable mapping. */
static bool mapping_parse_line(char *line, struct layout_mapping *m)
{
	unsigned major, minor;
	unsigned long start, end, offset, inode;
	char protection[5];
	int path = 0;

	if (sscanf(line, "%lx-%lx %4s %lx %x:%x %lu %n", &start, &end, protection, &offset, &major, &minor, &inode,
	           &path) < 7 ||
	    !path || protection[2] != 'x' || start >= end)
		return false;
	*m = (struct layout_mapping){ start, end, offset, makedev(major, minor), inode, line + path };
	return true;
}

int layout_parse(struct layout *layout, char *text)
{
	char *rest = text, *line;

	*layout = (struct layout){ .text = text };
	while ((line = strsep(&rest, "\n"))) {
		struct layout_mapping m;

		if (!mapping_parse_line(line, &m))
			continue;
		if (ALLOC_GROW(layout->mappings, layout->nmappings + 1, layout->room))
			return -ENOMEM;
		layout->mappings[layout->nmappings++] = m;
	}
	return 0;
}

void layout_release(struct layout *layout)
{
	free(layout->text);
	free(layout->mappings);
	*layout = (struct layout){ 0 };
}

/* Returns whether an address is at the same place of the same file in both. */
static bool mappings_agree(const struct layout_mapping *a, const struct layout_mapping *b)
{
	return a->inode == b->inode && a->device == b->device && a->offset - a->start == b->offset - b->start &&
	       !strcmp(a->path, b->path);
}

const struct layout_mapping *layout_find(const struct layout *layout, uint64_t address)
{
	const struct layout_mapping *found = NULL;

	for (size_t i = 0; i < layout->nmappings; i++) {
		const struct layout_mapping *m = &layout->mappings[i];

		if (address < m->start || address >= m->end)
			continue;
		if (found && !mappings_agree(found, m))
			return NULL;
		found = m;
	}
	return found;
}

bool layout_has(const struct layout *layout, uint64_t address)
{
	for (size_t i = 0; i < layout->nmappings; i++)
		if (address >= layout->mappings[i].start && address < layout->mappings[i].end)
			return true;
	return false;
}

/* ---- processes ---- */

uint64_t layout_exec(pid_t pid)
{
	char path[80], text[1024], *at;
	FILE *f;
	size_t n;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/stat", pid, process_thread(pid));
	f = fopen(path, "re");
	if (!f)
		return 0;
	n = fread(text, 1, sizeof(text) - 1, f);
	fclose(f);
	text[n] = 0;
	at = strrchr(text, ')'); /* the name before it may contain anything */
	for (int field = 2; at && field < EXEC_FIELD; field++)
		at = strchr(at + 1, ' ');
	return at ? strtoull(at + 1, NULL, 10) : 0;
}

/* Returns whether one of the lines of the text is the line, which ends with a newline. */
static bool lines_contain(const char *text, const char *line)
{
	size_t n = strlen(line);

	for (const char *at = text; at && (at = strstr(at, line)); at += n)
		if (at == text || at[-1] == '\n')
			return true;
	return false;
}

/* Appends the executable mappings that the text lacks. */
static int maps_append(FILE *maps, char **text, size_t *length, bool *changed)
{
	size_t size = 0, room = *length;
	char *line = NULL;
	int err = 0;

	while (!err && getline(&line, &size, maps) > 0) {
		size_t n = strlen(line);
		char protection[5] = "";

		if (sscanf(line, "%*x-%*x %4s", protection) != 1 || protection[2] != 'x' || line[n - 1] != '\n' ||
		    lines_contain(*text, line) || *length + n >= LAYOUT_SIZE_MAX)
			continue;
		err = ALLOC_GROW(*text, *length + n + 1, room);
		if (err)
			break;
		memcpy(*text + *length, line, n + 1);
		*length += n;
		*changed = true;
	}
	free(line);
	return err;
}

int layout_update(pid_t pid, uint64_t exec, char **text, bool *changed)
{
	size_t length = *text ? strlen(*text) : 0, before = length;
	char path[80];
	FILE *maps;
	int err;

	*changed = false;
	if (!exec || layout_exec(pid) != exec)
		return 0;
	snprintf(path, sizeof(path), "/proc/%d/task/%d/maps", pid, process_thread(pid));
	maps = fopen(path, "re");
	if (!maps)
		return 0;
	err = maps_append(maps, text, &length, changed);
	fclose(maps);
	if (*changed && layout_exec(pid) != exec) { /* what was read may be another image's */
		(*text)[before] = 0;
		*changed = false;
	}
	return err;
}
