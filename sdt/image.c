/* SPDX-License-Identifier: MIT */
#include "sdt/image.h"

#include "base/error.h"
#include "sdt/elf-file.h"
#include "sdt/notes.h"
#include "sdt/overlayfs.h"
#include "sdt/probes.h"
#include "sdt/symbols.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define WARNINGS_MAX 20
#define SEGMENTS_MAX 1024

static void warn(struct pp_image *image, const char *text)
{
	char **more = image->warnings;

	if (!more)
		more = image->warnings = arena_alloc(&image->arena, (WARNINGS_MAX + 1) * sizeof(*more));
	if (more)
		more[image->nwarnings] = arena_printf(&image->arena, "%s: %s", image->path, text);
	image->nwarnings += more && more[image->nwarnings];
}

void image_warn(struct pp_image *image, const char *format, ...)
{
	char text[1024];
	va_list args;

	if (image->nwarnings == WARNINGS_MAX) {
		image->hidden_warnings++;
		return;
	}
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	warn(image, text);
}

static void warn_of_hidden(struct pp_image *image)
{
	char text[64];

	snprintf(text, sizeof(text), "%llu more like these", (unsigned long long)image->hidden_warnings);
	if (image->hidden_warnings)
		warn(image, text);
}

static int read_segments(const struct file *file, struct pp_image *image)
{
	bool cut = false;
	size_t n;

	if (elf_getphdrnum(file->elf, &n))
		goto damaged;
	for (size_t i = 0; i < n; i++) {
		GElf_Phdr p;

		if (!gelf_getphdr(file->elf, (int)i, &p))
			goto damaged;
		if (p.p_type != PT_LOAD)
			continue;
		if (!image->segments)
			image->segments = arena_alloc(&image->arena, SEGMENTS_MAX * sizeof(*image->segments));
		if (!image->segments)
			return error_set(ENOMEM, "not enough memory for '%s'", file->path);
		if (image->nsegments == SEGMENTS_MAX)
			return error_set(ENOEXEC, "'%s' has more than %d segments to load", file->path, SEGMENTS_MAX);
		if (!file_has(file, p.p_offset, p.p_filesz)) {
			cut = true;
			p.p_filesz = file_has(file, p.p_offset, 0) ? image->size - p.p_offset : 0;
		}
		image->segments[image->nsegments++] =
			(struct image_segment){ p.p_vaddr, p.p_offset, p.p_filesz, p.p_memsz, p.p_flags };
	}
	if (cut)
		image_warn(image, "a segment reaches past the end of the file (is it cut short?)");
	return 0;
damaged:
	return error_set(ENOEXEC, "'%s' is damaged: \"%s\"", file->path, elf_errmsg(-1));
}

int image_rename(struct pp_image *image, const char *name)
{
	image->name = arena_strndup(&image->arena, name, strlen(name));
	return image->name ? 0 : error_set(ENOMEM, "not enough memory for '%s'", name);
}

/*
 * A session outlives the working directory of the command that named the file. A symbolic link at the end of the path
 * is kept, because it names what will be there after an update.
 */
static int name_absolutely(struct pp_image *image)
{
	const char *base = strrchr(image->path, '/');
	char *dir, *real;

	base = base ? base + 1 : image->path;
	if (*image->path == '/')
		return image_rename(image, image->path);
	dir = base == image->path ? strdup(".") : strndup(image->path, (size_t)(base - image->path));
	real = dir ? realpath(dir, NULL) : NULL;
	free(dir);
	if (real)
		image->name = arena_printf(&image->arena, "%s/%s", strcmp(real, "/") ? real : "", base);
	else
		image->name = image->path;
	free(real);
	return image->name ? 0 : -ENOMEM;
}

int pp_image_open(const char *path, struct pp_image **result)
{
	struct pp_image *image = NULL;
	struct notes notes = { 0 };
	struct file file;
	size_t n;
	int err;

	*result = NULL;
	err = file_open(path, &file);
	if (err)
		return err;
	image = calloc(1, sizeof(*image));
	if (image)
		image->path = arena_strndup(&image->arena, path, strlen(path));
	if (image)
		image->symbols = symbols_new();
	if (!image || !image->path || !image->symbols || name_absolutely(image)) {
		err = error_set(ENOMEM, "not enough memory for '%s'", path);
		goto out;
	}
	image->device = file.stat.st_dev;
	image->inode = file.stat.st_ino;
	overlay_real(path, file.fd, &file.stat, &image->real_device, &image->real_inode);
	image->size = (uint64_t)file.stat.st_size;
	image->changed = file.stat.st_mtim;
	image->machine = file.header.e_machine;
	image->type = file.header.e_type;
	image->is_64 = file.is_64;
	err = read_segments(&file, image);
	if (err)
		goto out;
	if (elf_getshdrnum(file.elf, &n) == 0 && n == 0)
		image_warn(image, "it has no section headers, so its probes are not known");
	err = notes_read(&file, image, &notes);
	if (err)
		goto out;
	if (notes.nnotes && symbols_load(&file, image))
		image_warn(image, "its symbols cannot be read, so the functions of some sites are not known");
	err = probes_make(&file, image, &notes);
	notes_release(&notes);
	warn_of_hidden(image);
out:
	file_close(&file);
	if (err)
		pp_image_free(image);
	else
		*result = image;
	return err;
}

void pp_image_free(struct pp_image *image)
{
	if (!image)
		return;
	symbols_free(image->symbols);
	arena_release(&image->arena);
	free(image);
}

int image_unchanged(const struct pp_image *image, const struct stat *now)
{
	if (now->st_dev == image->device && now->st_ino == image->inode && (uint64_t)now->st_size == image->size &&
	    now->st_mtim.tv_sec == image->changed.tv_sec && now->st_mtim.tv_nsec == image->changed.tv_nsec)
		return 0;
	return error_set(ESTALE, "'%s' was replaced or changed after its probes were read; try again", image->path);
}

int image_reopen(const struct pp_image *image)
{
	int fd = open(image->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY), err = 0; /* see file_open() */
	struct stat now;

	if (fd < 0)
		return error_set(errno, "cannot open '%s': %s", image->path, strerror(errno));
	if (fstat(fd, &now))
		err = error_set(errno, "cannot look at '%s': %s", image->path, strerror(errno));
	if (!err)
		err = image_unchanged(image, &now);
	if (!err)
		return fd;
	close(fd);
	return err;
}

int image_offset(const struct pp_image *image, uint64_t address, uint64_t *offset)
{
	for (size_t i = 0; i < image->nsegments; i++) {
		const struct image_segment *s = &image->segments[i];

		if (address >= s->address && address - s->address < s->filesz) {
			*offset = s->offset + (address - s->address);
			return 0;
		}
	}
	return error_set(EINVAL, "'%s' holds nothing at address %#llx", image->path, (unsigned long long)address);
}

const char *pp_image_path(const struct pp_image *image)
{
	return image->path;
}

const char *pp_image_build_id(const struct pp_image *image)
{
	return image->build_id;
}

size_t pp_image_warnings(const struct pp_image *image)
{
	return image->nwarnings;
}

const char *pp_image_warning(const struct pp_image *image, size_t i)
{
	return i < image->nwarnings ? image->warnings[i] : NULL;
}

size_t pp_image_probes(const struct pp_image *image)
{
	return image->nprobes;
}

const struct pp_probe *pp_image_probe(const struct pp_image *image, size_t i)
{
	return i < image->nprobes ? &image->probes[i] : NULL;
}
