/* SPDX-License-Identifier: MIT */
/* The files that a process has at a path, and the files that it maps. */
#include <elf.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <probepoint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/error.h"
#include "runtime/process.h"

static bool process_maps_file(const struct process *process, const struct stat *st)
{
	for (size_t i = 0; i < process->nmaps; i++)
		if (mapping_is_of(process, &process->maps[i], st->st_dev, st->st_ino))
			return true;
	return false;
}

/* Opens the process's root directory and looks up name in it, following links there. Returns an O_PATH descriptor or -1. */
static int root_open_file(const char *root, const char *name)
{
	struct open_how how = { .flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT };
	int dir = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC), fd;

	if (dir < 0)
		return -1;
	fd = (int)syscall(SYS_openat2, dir, name, &how, sizeof(how));
	close(dir);
	return fd;
}

/* Writes to path how to open the file that the process has at name, through /proc/PID/root. */
static bool process_file_in_root(const struct process *process, const char *name, struct stat *st, char *path,
                                 size_t room)
{
	char root[48], link[48], real[PATH_MAX];
	struct stat again;
	ssize_t n;
	int fd;

	snprintf(root, sizeof(root), "/proc/%d/root", process->tid);
	fd = root_open_file(root, name);
	if (fd < 0)
		return false;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = fstat(fd, st) ? -1 : readlink(link, real, sizeof(real) - 1);
	close(fd);
	if (n <= 0)
		return false;
	real[n] = 0;
	/* In a chroot the kernel's name begins with the path of the root. Then the name as given must do. */
	for (int i = 0; i < 2; i++) {
		snprintf(path, room, "%s%s", root, i ? name : real);
		if (!stat(path, &again) && again.st_dev == st->st_dev && again.st_ino == st->st_ino)
			return true;
	}
	return false;
}

void process_file(const struct process *process, const char *name, char *path, size_t room)
{
	struct stat here, there;
	bool is_here = !stat(name, &here);

	if (name[0] == '/' && strncmp(name, "/proc/", 6) && process_file_in_root(process, name, &there, path, room) &&
	    (!is_here || ((here.st_dev != there.st_dev || here.st_ino != there.st_ino) &&
	                  (process_maps_file(process, &there) || !process_maps_file(process, &here)))))
		return;
	snprintf(path, room, "%s", name);
}

/* Writes to path how this process can open the mapped file. Returns false if it cannot. */
static bool mapping_path(const struct process *process, const struct mapping *m, char *path, size_t room,
                         struct stat *st)
{
	for (int i = 0; i < 3; i++) {
		if (i == 0)
			snprintf(path, room, "%s", m->path);
		else if (i == 1)
			snprintf(path, room, "/proc/%d/root%s", process->tid, m->path);
		else
			snprintf(path, room, "/proc/%d/map_files/%lx-%lx", process->tid, m->start, m->end);
		if (!stat(path, st) && S_ISREG(st->st_mode) && mapping_is_of(process, m, st->st_dev, st->st_ino))
			return true;
	}
	return false;
}

/*
 * Returns true if the file can be read and is not an ELF file. Just-in-time compilers and the agent map files with code
 * that they have written.
 */
static bool file_is_other(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	char magic[SELFMAG];
	bool other;

	if (fd < 0)
		return false;
	other = pread(fd, magic, sizeof(magic), 0) == sizeof(magic) && memcmp(magic, ELFMAG, SELFMAG);
	close(fd);
	return other;
}

/* Returns true if an earlier executable mapping has the same file and path. Most files are mapped in pieces. */
static bool mapping_is_repeated(const struct process *process, size_t i)
{
	const struct mapping *m = &process->maps[i];

	for (const struct mapping *earlier = process->maps; earlier < m; earlier++)
		if (earlier->exec && earlier->inode == m->inode && earlier->device == m->device &&
		    !strcmp(earlier->path, m->path))
			return true;
	return false;
}

/* By stat(2). In maps, two files of two btrfs subvolumes can have the same device and inode, and one file two names. */
struct file_ids {
	struct file_id {
		dev_t device;
		ino_t inode;
	} * ids;
	size_t n;
};

static bool file_ids_contain(const struct file_ids *seen, const struct stat *st)
{
	for (size_t i = 0; i < seen->n; i++)
		if (seen->ids[i].device == st->st_dev && seen->ids[i].inode == st->st_ino)
			return true;
	return false;
}

static int process_each_image(const struct process *process, struct file_ids *seen,
                              int (*fn)(const char *path, const char *name, void *arg), void *arg)
{
	char path[PATH_MAX + 32];

	for (size_t i = 0; i < process->nmaps; i++) {
		const struct mapping *m = &process->maps[i];
		struct stat st;
		int err;

		if (!m->exec || m->path[0] != '/' || mapping_is_repeated(process, i) ||
		    !mapping_path(process, m, path, sizeof(path), &st) || file_ids_contain(seen, &st))
			continue;
		seen->ids[seen->n++] = (struct file_id){ st.st_dev, st.st_ino };
		if (file_is_other(path))
			continue;
		err = fn(path, m->path, arg);
		if (err)
			return err;
	}
	return 0;
}

int pp_process_images(pid_t pid, int (*fn)(const char *path, const char *name, void *arg), void *arg)
{
	struct file_ids seen = { 0 };
	struct process *process;
	int err = process_open(pid, &process);

	if (err)
		return err;
	err = process_read_maps(process);
	if (err)
		goto out;
	seen.ids = calloc(process->nmaps + 1, sizeof(*seen.ids));
	err = seen.ids ? process_each_image(process, &seen, fn, arg) : error_nomem();
	free(seen.ids);
out:
	process_free(process);
	return err;
}
