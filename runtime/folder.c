/* SPDX-License-Identifier: MIT */
#include "runtime/folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

void folder_names_free(char **names)
{
	for (char **name = names; name && *name; name++)
		free(*name);
	free(names);
}

char **folder_names(int dir)
{
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	int err = errno;
	char **names = calloc(1, sizeof(*names));
	size_t n = 0;

	if (!d && fd >= 0)
		close(fd);
	/* Callers remove what is incomplete: a list must not be empty because of a limit. */
	if (!d && err != ENOENT && err != ENOTDIR && err != EACCES && err != EPERM) {
		free(names);
		errno = err;
		return NULL;
	}
	for (struct dirent *entry; d && names && (entry = readdir(d));) {
		char **more;

		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
			continue;
		more = realloc(names, (n + 2) * sizeof(*names));
		if (more)
			names = more;
		if (!more || !(names[n] = strdup(entry->d_name))) {
			folder_names_free(names);
			names = NULL;
			break;
		}
		names[++n] = NULL;
	}
	if (d)
		closedir(d);
	if (names)
		qsort(names, n, sizeof(*names), compare_names);
	return names;
}
