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

#define DEBUG_ROOT "/usr/lib/debug"

/* The CRC-32 that .gnu_debuglink uses (gdb manual, "Debugging Information in Separate Files"). */
static uint32_t debuglink_crc32(int fd)
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

/* Returns the length of the prefix /proc/PID/root of the path, 0 if it has none. */
static size_t proc_root_length(const char *path)
{
	int n = 0, pid;

	return sscanf(path, "/proc/%d/root%n/", &pid, &n) == 1 && n > 0 && path[n] == '/' ? (size_t)n : 0;
}

static int debuglink_open_by_build_id(const struct pp_image *image, const char *root, struct elf_file *debug,
                                      char *path)
{
	if (strlen(image->build_id) < 4)
		return -ENOENT;
	snprintf(path, PATH_MAX, "%s" DEBUG_ROOT "/.build-id/%.2s/%s.debug", root, image->build_id,
	         image->build_id + 2);
	return access(path, R_OK) || elf_file_open(path, debug) ? -ENOENT : 0;
}

/* Reads the name and the checksum of the debug file from .gnu_debuglink. Returns 0 or -ENOENT. */
static int debuglink_read(const struct elf_file *file, char *name, size_t room, uint32_t *crc)
{
	Elf_Scn *scn = NULL;
	GElf_Shdr section;

	while ((scn = elf_nextscn(file->elf, scn)) != NULL) {
		size_t length;

		if (!gelf_getshdr(scn, &section) || strcmp(elf_file_section_name(file, &section), ".gnu_debuglink"))
			continue;
		if (section.sh_type == SHT_NOBITS || section.sh_size < 8 || section.sh_size > room ||
		    elf_file_read(file, section.sh_offset, section.sh_size, name))
			return -ENOENT;
		length = strnlen(name, section.sh_size);
		if (!length || ((length + 4) & ~3ul) + 4 > section.sh_size || strchr(name, '/'))
			return -ENOENT;
		*crc = elf_file_u32(file, name + ((length + 4) & ~3ul));
		return 0;
	}
	return -ENOENT;
}

static int debuglink_open_by_name(const struct pp_image *image, const struct elf_file *file, const char *root,
                                  struct elf_file *debug, char *path)
{
	static const char *const places[] = { "%s%s/%s", "%s%s/.debug/%s", "%s" DEBUG_ROOT "%s/%s" };
	/* The absolute name, because dirname() does not change a name without a slash. */
	const char *file_name = *root ? image->path + strlen(root) : image->name;
	char name[NAME_MAX + 16], dir[PATH_MAX];
	uint32_t crc;

	if (debuglink_read(file, name, sizeof(name), &crc))
		return -ENOENT;
	if (snprintf(dir, sizeof(dir), "%s", file_name) >= (int)sizeof(dir))
		return -ENOENT;
	dirname(dir);
	for (size_t i = 0; i < sizeof(places) / sizeof(*places); i++) {
		if (snprintf(path, PATH_MAX, places[i], root, dir, name) >= PATH_MAX || access(path, R_OK) ||
		    elf_file_open(path, debug))
			continue;
		if (debug->stat.st_ino != image->inode && debuglink_crc32(debug->fd) == crc)
			return 0;
		elf_file_close(debug);
	}
	return -ENOENT;
}

int debuglink_open(const struct pp_image *image, const struct elf_file *file, struct elf_file *debug)
{
	static _Thread_local char path[PATH_MAX]; /* debug->path points here */
	char root[32] = "";
	int err;

	if (proc_root_length(image->path) < sizeof(root))
		memcpy(root, image->path, proc_root_length(image->path));
	err = debuglink_open_by_build_id(image, root, debug, path);
	if (err)
		err = debuglink_open_by_name(image, file, root, debug, path);
	if (err)
		return err;
	if (debug->header.e_machine != file->header.e_machine) {
		elf_file_close(debug);
		return -ENOENT;
	}
	return 0;
}
