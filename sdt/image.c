/* SPDX-License-Identifier: MIT */
/* Lookups in an image, and its warnings. open.c makes images. */
#include "sdt/image.h"

#include "base/error.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void image_add_warning(struct pp_image *image, const char *text)
{
	char **warnings = image->warnings;

	if (!warnings)
		warnings = image->warnings = arena_alloc(&image->arena, (WARNINGS_MAX + 1) * sizeof(*warnings));
	if (!warnings)
		return;
	warnings[image->nwarnings] = arena_printf(&image->arena, "%s: %s", image->path, text);
	if (warnings[image->nwarnings])
		image->nwarnings++;
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
	image_add_warning(image, text);
}

void image_warn_hidden(struct pp_image *image)
{
	char text[64];

	if (!image->hidden_warnings)
		return;
	snprintf(text, sizeof(text), "%llu more like these", (unsigned long long)image->hidden_warnings);
	image_add_warning(image, text);
}

int image_rename(struct pp_image *image, const char *name)
{
	image->name = arena_strndup(&image->arena, name, strlen(name));
	return image->name ? 0 : error_nomem();
}

int image_unchanged(const struct pp_image *image, const struct stat *now)
{
	if (now->st_dev == image->device && now->st_ino == image->inode && (uint64_t)now->st_size == image->size &&
	    now->st_mtim.tv_sec == image->changed.tv_sec && now->st_mtim.tv_nsec == image->changed.tv_nsec)
		return 0;
	return error_set(ESTALE, "'%s' was replaced or changed while its probes were read; try again", image->path);
}

int image_reopen(const struct pp_image *image)
{
	int fd = open(image->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY), err = 0; /* see elf_file_open() */
	struct stat now;

	if (fd < 0)
		return error_set(errno, "cannot open '%s': %s", image->path, strerror(errno));
	if (fstat(fd, &now))
		err = error_set(errno, "cannot stat '%s': %s", image->path, strerror(errno));
	if (!err)
		err = image_unchanged(image, &now);
	if (!err)
		return fd;
	close(fd);
	return err;
}

bool image_segment_offset(const struct pp_image *image, uint64_t address, unsigned flag, uint64_t *offset)
{
	for (size_t i = 0; i < image->nsegments; i++) {
		const struct image_segment *s = &image->segments[i];

		if (address >= s->address && address - s->address < s->filesz && (s->flags & flag) == flag) {
			*offset = s->offset + (address - s->address);
			return true;
		}
	}
	return false;
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
	return error_set(EINVAL, "'%s' has no data at address %#llx", image->path, (unsigned long long)address);
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
