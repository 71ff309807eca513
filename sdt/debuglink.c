/* SPDX-License-Identifier: MIT */
#include "sdt/debuglink.h"

#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "sdt/image.h"

#define ROOT "/usr/lib/debug"

/* As zip and Ethernet have it; gdb's manual, "Debugging Information in Separate Files". */
static uint32_t crc32_of(int fd)
{
	uint32_t table[256], crc = ~0u;
	unsigned char buffer[1 << 16];
	ssize_t n;
	off_t at = 0;

	for (uint32_t i = 0; i < 256; i++) {
		table[i] = i;
		for (int bit = 0; bit < 8; bit++)
			table[i] = table[i] >> 1 ^ (table[i] & 1 ? 0xedb88320u : 0);
	}
	while ((n = pread(fd, buffer, sizeof(buffer), at)) > 0) {
		for (ssize_t i = 0; i < n; i++)
			crc = crc >> 8 ^ table[(crc ^ buffer[i]) & 0xff];
		at += n;
	}
	return ~crc;
}

/* /proc/PID/root where the path begins so, else "": how many characters. */
static size_t other_root(const char *path)
{
	int n = 0, pid;

	return sscanf(path, "/proc/%d/root%n/", &pid, &n) == 1 && n > 0 && path[n] == '/' ? (size_t)n : 0;
}

static int by_build_id(const struct pp_image *image, const char *root, struct file *debug, char *path)
{
	if (strlen(image->build_id) < 4)
		return -ENOENT;
	snprintf(path, PATH_MAX, "%s" ROOT "/.build-id/%.2s/%s.debug", root, image->build_id, image->build_id + 2);
	return access(path, R_OK) || file_open(path, debug) ? -ENOENT : 0;
}

/* The file's name and sum, from .gnu_debuglink. */
static int read_link(const struct file *file, char *name, size_t room, uint32_t *crc)
{
	Elf_Scn *scn = NULL;
	GElf_Shdr section;

	while ((scn = elf_nextscn(file->elf, scn)) != NULL) {
		size_t length;

		if (!gelf_getshdr(scn, &section) || strcmp(file_section_name(file, &section), ".gnu_debuglink"))
			continue;
		if (section.sh_type == SHT_NOBITS || section.sh_size < 8 || section.sh_size > room ||
		    file_read(file, section.sh_offset, section.sh_size, name))
			return -ENOENT;
		length = strnlen(name, section.sh_size);
		if (!length || ((length + 4) & ~3ul) + 4 > section.sh_size || strchr(name, '/'))
			return -ENOENT;
		*crc = file_u32(file, name + ((length + 4) & ~3ul));
		return 0;
	}
	return -ENOENT;
}

static int by_link(const struct pp_image *image, const struct file *file, const char *root, struct file *debug,
                   char *path)
{
	static const char *const places[] = { "%s%s/%s", "%s%s/.debug/%s", "%s" ROOT "%s/%s" };
	char name[NAME_MAX + 16], dir[PATH_MAX];
	uint32_t crc;

	if (read_link(file, name, sizeof(name), &crc))
		return -ENOENT;
	if (snprintf(dir, sizeof(dir), "%s", image->path + strlen(root)) >= (int)sizeof(dir))
		return -ENOENT;
	dirname(dir);
	for (size_t i = 0; i < sizeof(places) / sizeof(*places); i++) {
		if (snprintf(path, PATH_MAX, places[i], root, dir, name) >= PATH_MAX || access(path, R_OK) ||
		    file_open(path, debug))
			continue;
		if (debug->stat.st_ino != image->inode && crc32_of(debug->fd) == crc)
			return 0;
		file_close(debug);
	}
	return -ENOENT;
}

int debug_open(const struct pp_image *image, const struct file *file, struct file *debug)
{
	static _Thread_local char path[PATH_MAX]; /* debug->path is it */
	char root[32] = "";
	int err;

	memcpy(root, image->path, other_root(image->path) < sizeof(root) ? other_root(image->path) : 0);
	err = by_build_id(image, root, debug, path);
	if (err)
		err = by_link(image, file, root, debug, path);
	if (!err && debug->header.e_machine != file->header.e_machine) {
		file_close(debug);
		err = -ENOENT;
	}
	return err;
}
