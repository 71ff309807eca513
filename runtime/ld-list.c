/* SPDX-License-Identifier: MIT */
#include "runtime/ld-list.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "include/probepoint.h"

extern char **environ;

/* Reads the PT_INTERP of a 64-bit executable. Returns false if it has none. */
static bool interpreter_read(int fd, char *path, size_t room)
{
	Elf64_Ehdr header;
	Elf64_Phdr segment;

	if (pread(fd, &header, sizeof(header), 0) != sizeof(header) || memcmp(header.e_ident, ELFMAG, SELFMAG) ||
	    header.e_ident[EI_CLASS] != ELFCLASS64)
		return false;
	for (unsigned i = 0; i < header.e_phnum; i++) {
		if (pread(fd, &segment, sizeof(segment), header.e_phoff + i * sizeof(segment)) != sizeof(segment))
			return false;
		if (segment.p_type != PT_INTERP || !segment.p_filesz || segment.p_filesz >= room)
			continue;
		if (pread(fd, path, segment.p_filesz, segment.p_offset) != (ssize_t)segment.p_filesz)
			continue;
		path[segment.p_filesz] = 0;
		return path[0] == '/';
	}
	return false;
}

static bool interpreter_find(const char *file, char *path, size_t room)
{
	int fd = open(file, O_RDONLY | O_CLOEXEC);
	bool found;

	if (fd < 0)
		return false;
	found = interpreter_read(fd, path, room);
	close(fd);
	return found;
}

/* Starts the loader. Returns its output, NULL if it cannot be started. */
static FILE *loader_spawn(char *loader, char *const *argv, pid_t *child)
{
	posix_spawn_file_actions_t actions;
	int ends[2], err;
	FILE *f;

	if (pipe2(ends, O_CLOEXEC))
		return NULL;
	f = fdopen(ends[0], "re");
	if (!f) {
		close(ends[0]);
		close(ends[1]);
		return NULL;
	}
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
	posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
	err = posix_spawn(child, loader, &actions, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	close(ends[1]);
	if (!err)
		return f;
	fclose(f);
	return NULL;
}

/* Reads lines like "\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x...)", or with the path alone. */
static int ld_read_list(FILE *f, int (*fn)(const char *path, const char *name, void *arg), void *arg)
{
	char line[2 * PATH_MAX];
	int err = 0;

	while (!err && fgets(line, sizeof(line), f)) {
		char *path = strchr(line, '/'), *end = path ? strstr(path, " (0x") : NULL;

		if (!end)
			continue;
		*end = 0;
		err = fn(path, path, arg);
	}
	return err;
}

/* Runs the loader and calls fn for each library that it lists. */
static int loader_list(char *loader, char *const *argv, int (*fn)(const char *path, const char *name, void *arg),
                       void *arg)
{
	int err, status;
	pid_t child;
	FILE *f = loader_spawn(loader, argv, &child);

	if (!f)
		return 0;
	err = ld_read_list(f, fn, arg);
	fclose(f);
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	return err;
}

int loader_images(const char *file, int (*fn)(const char *path, const char *name, void *arg), void *arg)
{
	char loader[PATH_MAX], *const argv[] = { loader, "--list", (char *)file, NULL };
	int err = fn(file, file, arg);

	return err || !interpreter_find(file, loader, sizeof(loader)) ? err : loader_list(loader, argv, fn, arg);
}

struct wanted_library {
	const char *name;
	char *path; /* NULL: not found */
};

static int library_take(const char *path, const char *name, void *arg)
{
	struct wanted_library *wanted = arg;
	const char *base = strrchr(path, '/') + 1;

	(void)name;
	if (strcmp(base, wanted->name))
		return 0;
	wanted->path = strdup(path);
	return wanted->path ? 1 : -ENOMEM;
}

int pp_library_find(const char *name, char **path)
{
	struct wanted_library wanted = { .name = name };
	char loader[PATH_MAX], self[PATH_MAX];
	char *const argv[] = { loader, "--preload", (char *)name, "--list", self, NULL };

	*path = NULL;
	if (!*name || strpbrk(name, "/: \t\n"))
		return error_set(EINVAL, "'%s' is not the name of a library", name);
	if (realpath("/proc/self/exe", self) && interpreter_find(self, loader, sizeof(loader)) &&
	    loader_list(loader, argv, library_take, &wanted) == -ENOMEM)
		return error_nomem();
	*path = wanted.path;
	return *path ? 0 : error_set(ENOENT, "the dynamic loader does not find '%s'", name);
}
