/* SPDX-License-Identifier: MIT */
#include "cmd/find-file.h"

#include <probepoint.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/text.h"
#include "cmd/alloc.h"

/* Returns whether the name is a path, also of a member of an archive, as in libcart.a(add.o). */
static bool is_path(const char *name)
{
	size_t length = strlen(name);

	return strchr(name, '/') || !access(name, F_OK) || (length && name[length - 1] == ')');
}

/* The files with a given name among those that processes map. */
struct mapped_file {
	const char *name;
	char *path, *other; /* other: a second file of this name, or NULL */
};

static bool paths_are_one_file(const char *a, const char *b)
{
	struct stat at, bt;

	return !strcmp(a, b) || (!stat(a, &at) && !stat(b, &bt) && at.st_dev == bt.st_dev && at.st_ino == bt.st_ino);
}

static int mapped_file_take(const char *path, const char *name, void *arg)
{
	struct mapped_file *file = arg;
	const char *base = strrchr(name, '/') ? strrchr(name, '/') + 1 : name;
	size_t length = strlen(file->name);

	if (strncmp(base, file->name, length) || (base[length] && text_path_length(base) != length))
		return 0;
	if (!file->path)
		file->path = xstrdup(path);
	else if (!file->other && !paths_are_one_file(file->path, path))
		file->other = xstrdup(path);
	return 0;
}

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

char *find_file(const char *name, const pid_t *pids, size_t npids, const char **path)
{
	struct mapped_file file = { .name = name };
	char *error = NULL;

	*path = name;
	if (is_path(name))
		return NULL;
	for (size_t i = 0; i < npids; i++)
		pp_process_images(pids[i], mapped_file_take, &file); /* errors are reported when the process is used */
	if (file.other)
		error = xasprintf("'%s' names different files of the processes: '%s' and '%s'; give the path", name,
		                  file.path, file.other);
	if (!file.path)
		file.path = find_program(name);
	if (!file.path && pp_library_find(name, &file.path))
		return NULL;
	*path = file.path;
	free(file.other);
	return error;
}

char *find_file_error(const char *path, size_t npids)
{
	if (is_path(path))
		return NULL;
	return xasprintf(
		"cannot find '%s': %sit is not in the working directory, not in PATH, and not where the dynamic "
		"loader finds libraries; give its path",
		path, npids ? "the processes of -p do not map it, " : "");
}
