/* SPDX-License-Identifier: MIT */
/* Opening an image: reads the segments, the notes and the probes of a file, in this order. */
#include "base/error.h"
#include "sdt/debuglink.h"
#include "sdt/elf-file.h"
#include "sdt/image.h"
#include "sdt/notes.h"
#include "sdt/object-file.h"
#include "sdt/overlayfs.h"
#include "sdt/probes.h"
#include "sdt/cxx-name.h"
#include "sdt/cfi.h"
#include "sdt/dwarf.h"
#include "sdt/symbols.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SEGMENTS_MAX 1024

static int image_read_segments(const struct elf_file *file, struct pp_image *image)
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
			return error_nomem();
		if (image->nsegments == SEGMENTS_MAX)
			return error_set(ENOEXEC, "'%s' has more than %d PT_LOAD segments", file->path, SEGMENTS_MAX);
		if (!elf_file_has(file, p.p_offset, p.p_filesz)) {
			cut = true;
			p.p_filesz = elf_file_has(file, p.p_offset, 0) ? file->size - p.p_offset : 0;
		}
		image->segments[image->nsegments++] =
			(struct image_segment){ p.p_vaddr, p.p_offset, p.p_filesz, p.p_memsz, p.p_flags };
	}
	if (cut)
		image_warn(image, "a segment ends after the end of the file: the file may be truncated");
	return 0;
damaged:
	return error_set(ENOEXEC, "'%s' is damaged: \"%s\"", file->path, elf_errmsg(-1));
}

/* An object file has no segments. Each of its sections counts as one. */
static int image_read_object_sections(const struct elf_file *file, struct pp_image *image)
{
	Elf_Scn *scn = NULL;
	GElf_Shdr section;
	size_t n;

	if (elf_getshdrnum(file->elf, &n))
		return error_set(ENOEXEC, "'%s' is damaged: \"%s\"", file->path, elf_errmsg(-1));
	image->segments = arena_alloc(&image->arena, (n + 1) * sizeof(*image->segments));
	if (!image->segments)
		return error_nomem();
	while ((scn = elf_nextscn(file->elf, scn)) != NULL && image->nsegments < n) {
		bool filled;

		if (!gelf_getshdr(scn, &section) || !(section.sh_flags & SHF_ALLOC))
			continue;
		filled = section.sh_type != SHT_NOBITS;
		if (filled && !elf_file_has(file, section.sh_offset, section.sh_size))
			continue;
		image->segments[image->nsegments++] = (struct image_segment){
			.address = elf_file_section_address(file, scn, &section),
			.offset = section.sh_offset,
			.filesz = filled ? section.sh_size : 0,
			.memsz = section.sh_size,
			.flags = PF_R | (section.sh_flags & SHF_WRITE ? PF_W : 0) |
			         (section.sh_flags & SHF_EXECINSTR ? PF_X : 0),
		};
	}
	return 0;
}

/*
 * Sets the image's name to an absolute path, because a session outlives the working directory of the command. A symbolic
 * link as the last component is kept, because after an update it leads to the new file.
 */
static int image_set_absolute_name(struct pp_image *image)
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
	return image->name ? 0 : error_nomem();
}

static int image_new(const struct elf_file *file, struct pp_image **result)
{
	struct pp_image *image = *result = calloc(1, sizeof(*image));

	if (!image)
		return error_nomem();
	image->path = arena_strndup(&image->arena, file->path, strlen(file->path));
	image->symbols = symbols_new();
	image->dwarf = dwarf_new();
	image->cfi = cfi_new();
	if (!image->path || !image->symbols || !image->dwarf || !image->cfi)
		return error_nomem();
	image->device = file->stat.st_dev;
	image->inode = file->stat.st_ino;
	image->size = (uint64_t)file->stat.st_size;
	image->changed = file->stat.st_mtim;
	image->machine = file->header.e_machine;
	image->type = file->header.e_type;
	image->is_64 = file->is_64;
	overlayfs_real(file->path, file->fd, &file->stat, &image->real_device, &image->real_inode);
	return image_set_absolute_name(image);
}

/*
 * Reads the notes of the wanted probes. If a semaphore could have more armed sites than it counts, all probes are read: the
 * kernel backend counts the sites of a semaphore, whichever probes they belong to.
 */
static int image_read_notes(const struct elf_file *file, const struct notes_filter *wanted, bool counts,
                            struct pp_image *image, struct notes *notes)
{
	const struct notes_filter all = { 0 };
	int err = notes_read(file, wanted, image, notes);

	if (err || counts || !wanted->n || notes->nsemaphores <= SEMAPHORE_MAX)
		return err;
	notes_release(notes);
	image->nwarnings = image->hidden_warnings = 0;
	return notes_read(file, &all, image, notes);
}

/*
 * Reads the notes of the debug file of an image that has none: llvm-strip drops notes from the program. All else is read from
 * the image.
 */
static int image_read_debug_notes(const struct elf_file *file, const struct notes_filter *wanted, bool counts,
                                  struct pp_image *image, struct notes *notes)
{
	struct elf_file debug;
	int err = 0;

	if (debuglink_open(image, file, &debug))
		return 0;
	notes_release(notes);
	if (debug.is_64 == file->is_64 && debug.swap == file->swap)
		err = image_read_notes(&debug, wanted, counts, image, notes);
	elf_file_close(&debug);
	return err;
}

static int image_find_notes(const struct elf_file *file, const struct notes_filter *wanted, bool counts,
                            struct pp_image *image, struct notes *notes)
{
	int err = image_read_notes(file, wanted, counts, image, notes);

	return err || notes->stapsdt ? err : image_read_debug_notes(file, wanted, counts, image, notes);
}

static int image_read(const struct elf_file *file, const struct notes_filter *wanted, unsigned flags,
                      struct pp_image *image)
{
	bool counts = flags & PP_IMAGE_COUNTS;
	struct notes notes;
	size_t n;
	int err = elf_file_is_object(file) ? image_read_object_sections(file, image) : image_read_segments(file, image);

	if (err)
		return err;
	if (elf_getshdrnum(file->elf, &n) == 0 && n == 0)
		image_warn(image, "it has no section headers, so its probes are not known");
	err = image_find_notes(file, wanted, counts, image, &notes);
	if (err)
		return err;
	if (notes.nnotes && !counts && symbols_load(file, image))
		image_warn(image, "its symbols cannot be read, so the functions of some sites are not known");
	err = probes_make(file, image, &notes, counts);
	notes_release(&notes);
	image_warn_hidden(image);
	return err;
}

void pp_image_free(struct pp_image *image)
{
	if (!image)
		return;
	symbols_free(image->symbols);
	dwarf_free(image->dwarf);
	cfi_free(image->cfi);
	arena_release(&image->arena);
	free(image);
}

int pp_archive_members(const char *path, int (*fn)(const char *member, void *arg), void *arg)
{
	return elf_file_members(path, fn, arg);
}

int pp_image_open(const char *path, struct pp_image **result)
{
	return pp_image_open_matching(path, NULL, 0, 0, result);
}

int pp_image_open_matching(const char *path, const char *const *patterns, size_t n, unsigned flags,
                           struct pp_image **result)
{
	const struct notes_filter wanted = { patterns, n };
	bool by_parameters = false; /* the functions of sites distinguish overloads */
	struct stat now;
	struct pp_image *image = NULL;
	struct elf_file file;
	int err;

	*result = NULL;
	err = elf_file_open(path, &file);
	if (err)
		return err;
	err = image_new(&file, &image);
	if (err)
		goto fail;
	for (size_t i = 0; i < n; i++)
		by_parameters |= cxx_is_pattern(patterns[i]) && cxx_has_parameters(patterns[i]);
	err = image_read(&file, &wanted, by_parameters ? flags & ~(unsigned)PP_IMAGE_COUNTS : flags, image);
	if (err)
		goto fail;
	if (fstat(file.fd, &now))
		err = error_set(errno, "cannot stat '%s': %s", path, strerror(errno));
	else
		err = image_unchanged(image, &now);
	if (err)
		goto fail;
	elf_file_close(&file);
	*result = image;
	return 0;
fail:
	elf_file_close(&file);
	pp_image_free(image);
	return err;
}
