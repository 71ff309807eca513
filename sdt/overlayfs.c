/* SPDX-License-Identifier: MIT */
#include "sdt/overlayfs.h"

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "sdt/inode.h"

#define OVERLAY_MAGIC 0x794c7630 /* linux/magic.h */

/* Decodes, in place, the escapes of mountinfo (\040) and of lowerdir (\: and \\). */
static void mountinfo_unescape(char *text)
{
	char *to = text;

	for (const char *from = text; *from; from++) {
		if (*from == '\\' && from[1] >= '0' && from[1] <= '3' && from[2] && from[3]) {
			*to++ = (char)((from[1] - '0') << 6 | (from[2] - '0') << 3 | (from[3] - '0'));
			from += 3;
		} else if (*from == '\\' && (from[1] == ':' || from[1] == '\\')) {
			*to++ = *++from;
		} else {
			*to++ = *from;
		}
	}
	*to = 0;
}

struct overlay_mount {
	char *line, *root, *point, *options;
};

/* Finds the overlay mount of the path: of the mounts of its device, the one with the longest mount point. */
static bool overlay_find_mount(const char *path, dev_t device, struct overlay_mount *found)
{
	FILE *f = fopen("/proc/self/mountinfo", "re");
	char *line = NULL;
	size_t room = 0, best = 0;

	*found = (struct overlay_mount){ 0 };
	while (f && getline(&line, &room, f) > 0) {
		unsigned major, minor;
		int root, root_end, point, point_end;
		char *dash = strstr(line, " - overlay "), *options;
		size_t length;

		if (!dash ||
		    sscanf(line, "%*d %*d %u:%u %n%*s%n %n%*s%n", &major, &minor, &root, &root_end, &point,
		           &point_end) != 2 ||
		    makedev(major, minor) != device)
			continue;
		options = strchr(dash + 11, ' ');
		if (!options)
			continue;
		line[root_end] = line[point_end] = 0;
		mountinfo_unescape(line + point);
		length = strlen(line + point);
		if (strncmp(path, line + point, length) || length < best ||
		    (path[length] && path[length] != '/' && length > 1))
			continue;
		best = length;
		free(found->line);
		found->line = line;
		found->root = line + root;
		found->point = line + point;
		found->options = options + 1;
		mountinfo_unescape(found->root);
		line = NULL;
		room = 0;
	}
	free(line);
	if (f)
		fclose(f);
	return found->line;
}

/* Returns true if this layer has the file, with the size and modification time that the overlay shows. */
static bool overlay_in_layer(const char *layer, const char *name, const struct stat *st, struct stat *real)
{
	char path[PATH_MAX];

	return snprintf(path, sizeof(path), "%s%s", layer, name) < (int)sizeof(path) && !stat(path, real) &&
	       S_ISREG(real->st_mode) && real->st_size == st->st_size && real->st_mtim.tv_sec == st->st_mtim.tv_sec &&
	       real->st_mtim.tv_nsec == st->st_mtim.tv_nsec;
}

/* Finds the file in the uppermost layer that has it, because that is the one that the overlay shows. */
static bool overlay_find_layer(const char *options, const char *name, const struct stat *st, struct stat *real)
{
	char *copy = strdup(options), *save = NULL, *lower = NULL, *upper = NULL;
	bool found = false;

	for (char *o = copy ? strtok_r(copy, ",\n", &save) : NULL; o; o = strtok_r(NULL, ",\n", &save)) {
		if (!strncmp(o, "lowerdir=", 9))
			lower = o + 9;
		else if (!strncmp(o, "upperdir=", 9))
			upper = o + 9;
	}
	if (upper) {
		mountinfo_unescape(upper);
		found = overlay_in_layer(upper, name, st, real);
	}
	for (char *end; !found && lower && *lower; lower = end) {
		for (end = lower; *end && *end != ':'; end++)
			end += *end == '\\' && end[1];
		if (*end)
			*end++ = 0;
		mountinfo_unescape(lower);
		found = overlay_in_layer(lower, name, st, real);
	}
	free(copy);
	return found;
}

void overlayfs_real(const char *path, int fd, const struct stat *st, dev_t *device, ino_t *inode)
{
	char full[PATH_MAX], name[2 * PATH_MAX];
	struct overlay_mount mount;
	struct statfs fs;
	struct stat real;

	*device = st->st_dev;
	*inode = st->st_ino;
	if (fstatfs(fd, &fs) || (unsigned long)fs.f_type != OVERLAY_MAGIC || inode_of_mapping(fd, device, inode) ||
	    !realpath(path, full) || !overlay_find_mount(full, st->st_dev, &mount))
		return;
	snprintf(name, sizeof(name), "%s%s", strcmp(mount.root, "/") ? mount.root : "",
	         full + (strcmp(mount.point, "/") ? strlen(mount.point) : 0));
	if (overlay_find_layer(mount.options, name, st, &real)) {
		*device = real.st_dev;
		*inode = real.st_ino;
	}
	free(mount.line);
}
