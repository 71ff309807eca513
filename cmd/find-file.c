/* SPDX-License-Identifier: MIT */
#include "cmd/find-file.h"

#include <probepoint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cmd/alloc.h"

/* Returns the program of this name in PATH, NULL if there is none. The caller frees it. */
static char *find_program(const char *name)
{
	const char *dir = getenv("PATH");
	struct stat st;

	while (dir) {
		const char *end = strchrnul(dir, ':');
		char *path = xasprintf("%.*s/%s", end == dir ? 1 : (int)(end - dir), end == dir ? "." : dir, name);

		if (!access(path, X_OK) && !stat(path, &st) && S_ISREG(st.st_mode))
			return path;
		free(path);
		dir = *end ? end + 1 : NULL;
	}
	return NULL;
}

const char *find_file(const char *name)
{
	char *path;

	if (strchr(name, '/') || !access(name, F_OK))
		return name;
	path = find_program(name);
	if (!path && pp_library_find(name, &path))
		return name;
	return path;
}
