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

extern char **environ;

/* The PT_INTERP of a 64-bit executable; false where it has none that can be read. */
static bool interpreter(const char *file, char *path, size_t room)
{
	int fd = open(file, O_RDONLY | O_CLOEXEC);
	bool found = false;
	Elf64_Ehdr header;
	Elf64_Phdr segment;

	if (fd < 0)
		return false;
	if (pread(fd, &header, sizeof(header), 0) == sizeof(header) && !memcmp(header.e_ident, ELFMAG, SELFMAG) &&
	    header.e_ident[EI_CLASS] == ELFCLASS64)
		for (unsigned i = 0; i < header.e_phnum && !found; i++) {
			if (pread(fd, &segment, sizeof(segment), header.e_phoff + i * sizeof(segment)) !=
			    sizeof(segment))
				break;
			found = segment.p_type == PT_INTERP && segment.p_filesz && segment.p_filesz < room &&
			        pread(fd, path, segment.p_filesz, segment.p_offset) == (ssize_t)segment.p_filesz;
			if (found)
				path[segment.p_filesz] = 0;
		}
	close(fd);
	return found && path[0] == '/';
}

int loader_images(const char *file, int (*fn)(const char *path, const char *name, void *arg), void *arg)
{
	char loader[PATH_MAX], line[2 * PATH_MAX];
	char *argv[] = { loader, "--list", (char *)file, NULL };
	posix_spawn_file_actions_t actions;
	int ends[2], err = fn(file, file, arg), status;
	pid_t child;
	FILE *f;

	if (err || !interpreter(file, loader, sizeof(loader)))
		return err;
	if (pipe2(ends, O_CLOEXEC))
		return error_set(errno, "pipe: %s", strerror(errno));
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
	posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
	err = posix_spawn(&child, loader, &actions, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	close(ends[1]);
	f = err ? NULL : fdopen(ends[0], "re");
	if (!f)
		close(ends[0]);
	/* "	libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x...)", or the path alone */
	while (!err && f && fgets(line, sizeof(line), f)) {
		char *path = strchr(line, '/'), *end = path ? strstr(path, " (0x") : NULL;

		if (end) {
			*end = 0;
			err = fn(path, path, arg);
		}
	}
	if (f) {
		fclose(f);
		while (waitpid(child, &status, 0) < 0 && errno == EINTR)
			;
	}
	return err > 0 ? 0 : err; /* without a loader there are no libraries to tell of */
}
