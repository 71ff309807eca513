/* SPDX-License-Identifier: MIT */
/* Reading an ELF file, with every size and offset checked. */
#include "sdt/elf-file.h"

#include "base/error.h"

#include <ar.h>
#include <byteswap.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool elf_file_has(const struct elf_file *file, uint64_t offset, uint64_t size)
{
	return offset <= file->size && size <= file->size - offset;
}

int elf_file_read(const struct elf_file *file, uint64_t offset, size_t size, void *buffer)
{
	char *to = buffer;
	ssize_t n;

	if (!elf_file_has(file, offset, size))
		return error_set(EIO, "'%s' is damaged or truncated: it ends before offset %#llx", file->path,
		                 (unsigned long long)(offset + size));
	offset += file->start;
	while (size) {
		n = pread(file->fd, to, size, (off_t)offset);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return error_set(errno, "cannot read '%s': %s", file->path, strerror(errno));
		if (n == 0)
			return error_set(EIO, "'%s' was truncated while it was read; try again", file->path);
		to += n;
		offset += (uint64_t)n;
		size -= (size_t)n;
	}
	return 0;
}

int elf_file_load(const struct elf_file *file, uint64_t offset, uint64_t size, char **data)
{
	int err;

	*data = NULL;
	if (!elf_file_has(file, offset, size))
		return elf_file_read(file, offset, size, NULL);
	if (size > ELF_FILE_PART_MAX)
		return error_set(EFBIG, "'%s' has a section of %llu bytes; the maximum is %llu", file->path,
		                 (unsigned long long)size, (unsigned long long)ELF_FILE_PART_MAX);
	*data = malloc(size + 1);
	if (!*data)
		return error_nomem();
	(*data)[size] = '\0';
	err = elf_file_read(file, offset, size, *data);
	if (err) {
		free(*data);
		*data = NULL;
	}
	return err;
}

const char *elf_file_section_name(const struct elf_file *file, const GElf_Shdr *section)
{
	const char *name = NULL;
	size_t strings;

	if (elf_getshdrstrndx(file->elf, &strings) == 0)
		name = elf_strptr(file->elf, strings, section->sh_name);
	return name ? name : "";
}

uint16_t elf_file_u16(const struct elf_file *file, const void *at)
{
	uint16_t v;

	memcpy(&v, at, sizeof(v));
	return file->swap ? bswap_16(v) : v;
}

uint32_t elf_file_u32(const struct elf_file *file, const void *at)
{
	uint32_t v;

	memcpy(&v, at, sizeof(v));
	return file->swap ? bswap_32(v) : v;
}

uint64_t elf_file_u64(const struct elf_file *file, const void *at)
{
	uint64_t v;

	memcpy(&v, at, sizeof(v));
	return file->swap ? bswap_64(v) : v;
}

uint64_t elf_file_address(const struct elf_file *file, const void *at)
{
	return file->is_64 ? elf_file_u64(file, at) : elf_file_u32(file, at);
}

static int elf_file_check_kind(const struct elf_file *file)
{
	switch (file->header.e_type) {
	case ET_EXEC:
	case ET_DYN:
	case ET_REL: return 0;
	case ET_CORE: return error_set(ENOEXEC, "'%s' is a core dump; name the program that dumped it", file->path);
	default:
		return error_set(ENOEXEC, "'%s' is neither an executable, a shared library nor an object file",
		                 file->path);
	}
}

/* Checks that the tables of sections and segments are inside the file, because libelf does not. */
static int elf_file_check_tables(const struct elf_file *file)
{
	const GElf_Ehdr *h = &file->header;
	uint64_t section = file->is_64 ? sizeof(Elf64_Shdr) : sizeof(Elf32_Shdr);
	uint64_t segment = file->is_64 ? sizeof(Elf64_Phdr) : sizeof(Elf32_Phdr);
	size_t nsections = 0, nsegments = 0, names = 0;
	GElf_Shdr header;

	if (h->e_shoff && !elf_file_has(file, h->e_shoff, section))
		goto cut;
	if (elf_getshdrnum(file->elf, &nsections) || elf_getphdrnum(file->elf, &nsegments))
		return error_set(ENOEXEC, "'%s' is damaged: \"%s\"", file->path, elf_errmsg(-1));
	if (nsections < h->e_shnum) /* libelf reports no sections if the table is truncated */
		nsections = h->e_shnum;
	if (nsegments < h->e_phnum && h->e_phnum != PN_XNUM)
		nsegments = h->e_phnum;
	if (nsections &&
	    (nsections > ELF_FILE_PART_MAX / section || !elf_file_has(file, h->e_shoff, nsections * section)))
		goto cut;
	if (nsegments &&
	    (nsegments > ELF_FILE_PART_MAX / segment || !elf_file_has(file, h->e_phoff, nsegments * segment)))
		goto cut;
	if (nsections && elf_getshdrstrndx(file->elf, &names) == 0 && names &&
	    gelf_getshdr(elf_getscn(file->elf, names), &header) &&
	    (header.sh_size > ELF_FILE_PART_MAX || !elf_file_has(file, header.sh_offset, header.sh_size)))
		goto cut;
	return 0;
cut:
	return error_set(ENOEXEC, "'%s' is damaged or truncated: its headers point past its end", file->path);
}

static int elf_file_not_regular(const struct elf_file *file)
{
	if (S_ISDIR(file->stat.st_mode))
		return error_set(EISDIR, "'%s' is a directory; name a program or library", file->path);
	return error_set(ENOEXEC, "'%s' is not a regular file", file->path);
}

static int elf_file_check_magic(const struct elf_file *file)
{
	char magic[SARMAG] = "";

	if (elf_file_has(file, 0, sizeof(magic)) && !elf_file_read(file, 0, sizeof(magic), magic) &&
	    !memcmp(magic, ELFMAG, SELFMAG))
		return 0;
	if (!memcmp(magic, ARMAG, SARMAG))
		return error_set(ENOEXEC, "'%s' is an archive; name a member, as in '%s(part.o)'", file->path,
		                 file->path);
	if (!memcmp(magic, "!<thin>\n", SARMAG))
		return error_set(ENOEXEC, "'%s' is a thin archive, which only has the names of object files",
		                 file->path);
	return error_set(ENOEXEC, "'%s' is not an ELF file", file->path);
}

static int elf_file_read_header(struct elf_file *file)
{
	unsigned char order = __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? ELFDATA2LSB : ELFDATA2MSB;
	int err = elf_file_check_magic(file);

	if (err)
		return err;
	if (!file->elf)
		file->elf = elf_begin(file->fd, ELF_C_READ, NULL);
	if (!file->elf || elf_kind(file->elf) != ELF_K_ELF || !gelf_getehdr(file->elf, &file->header))
		return error_set(ENOEXEC, "'%s' is damaged or truncated: its ELF header cannot be read", file->path);
	file->is_64 = gelf_getclass(file->elf) == ELFCLASS64;
	file->swap = file->header.e_ident[EI_DATA] != order;
	err = elf_file_check_kind(file);
	return err ? err : elf_file_check_tables(file);
}

/* Opens the file at a path. Sets everything but the contents of the ELF file. */
static int elf_file_open_path(struct elf_file *file, const char *path)
{
	/* O_NONBLOCK, because opening a FIFO would wait for its writer. */
	file->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (file->fd < 0)
		return error_set(errno, "cannot open '%s': %s", path, strerror(errno));
	if (fstat(file->fd, &file->stat))
		return error_set(errno, "cannot stat '%s': %s", path, strerror(errno));
	if (!S_ISREG(file->stat.st_mode))
		return elf_file_not_regular(file);
	file->size = (uint64_t)file->stat.st_size;
	return 0;
}

/* ---- archives ---- */

/* Returns the position of the "(MEMBER)" at the end of a path, or 0. */
static size_t path_find_member(const char *path)
{
	const char *open = strrchr(path, '('), *slash = strrchr(path, '/');
	size_t length = strlen(path);

	return open && open > path && open[1] != ')' && path[length - 1] == ')' && (!slash || slash < open)
	               ? (size_t)(open - path)
	               : 0;
}

/* Returns where the next member begins, or `before` if that is unknown. */
static uint64_t member_end(Elf *member, uint64_t before)
{
	const Elf_Arhdr *header = elf_getarhdr(member);
	int64_t start = elf_getbase(member);
	uint64_t end;

	if (!header || start < 0 || header->ar_size < 0)
		return before;
	end = (uint64_t)start + (uint64_t)header->ar_size;
	return end + end % 2;
}

/*
 * Calls fn with each member of the archive, until it returns nonzero. Sets *last to the member of that call, which the caller
 * then ends, else to NULL. Returns the last value of fn, or -ENOEXEC.
 */
static int archive_walk(struct elf_file *archive, int (*fn)(struct elf_file *archive, Elf *member, void *arg),
                        void *arg, Elf **last)
{
	uint64_t end = SARMAG;
	Elf_Cmd next = ELF_C_READ;
	int err;

	*last = NULL;
	archive->archive = elf_begin(archive->fd, ELF_C_READ, NULL);
	if (!archive->archive || elf_kind(archive->archive) != ELF_K_AR)
		return error_set(ENOEXEC, "'%s' is not an archive", archive->path);
	while (next != ELF_C_NULL && (*last = elf_begin(archive->fd, next, archive->archive)) != NULL) {
		err = fn(archive, *last, arg);
		if (err)
			return err;
		end = member_end(*last, end);
		next = elf_next(*last);
		elf_end(*last);
		*last = NULL;
	}
	/* libelf ends at a header that it cannot read as at the end of the archive. */
	if (end < archive->size)
		return error_set(ENOEXEC,
		                 "'%s' is damaged or truncated: the member at offset %" PRIu64 " cannot be read",
		                 archive->path, end);
	return 0;
}

/* Returns 1 if the member has the name, which a ')' follows. */
static int member_matches(struct elf_file *archive, Elf *member, void *arg)
{
	const Elf_Arhdr *header = elf_getarhdr(member);
	const char *name = arg;
	size_t length = strlen(name) - 1;

	(void)archive;
	return header && header->ar_name && strlen(header->ar_name) == length && !memcmp(header->ar_name, name, length);
}

/* Opens a member, whose name begins after the '(' at `at`. */
static int elf_file_open_member(struct elf_file *file, size_t at)
{
	char *archive = strndup(file->path, at);
	int err = archive ? elf_file_open_path(file, archive) : error_nomem();
	const Elf_Arhdr *header;
	int64_t start;

	free(archive);
	if (err)
		return err;
	err = archive_walk(file, member_matches, (void *)(file->path + at + 1), &file->elf);
	if (err < 0)
		return err;
	header = err ? elf_getarhdr(file->elf) : NULL;
	start = err ? elf_getbase(file->elf) : -1;
	if (!header)
		return error_set(ENOENT, "'%s': the archive has no such member", file->path);
	if (start < 0 || header->ar_size < 0 || !elf_file_has(file, (uint64_t)start, (uint64_t)header->ar_size))
		return error_set(ENOEXEC, "'%s' is damaged or truncated: the member ends after the archive",
		                 file->path);
	file->start = (uint64_t)start;
	file->size = (uint64_t)header->ar_size;
	return 0;
}

struct member_list {
	int (*fn)(const char *member, void *arg);
	void *arg;
};

static int member_report(struct elf_file *archive, Elf *member, void *arg)
{
	const Elf_Arhdr *header = elf_getarhdr(member);
	const struct member_list *list = arg;
	char *path;
	int err;

	if (!header || !header->ar_name || elf_kind(member) != ELF_K_ELF)
		return 0;
	if (asprintf(&path, "%s(%s)", archive->path, header->ar_name) < 0)
		return error_nomem();
	err = list->fn(path, list->arg);
	free(path);
	return err;
}

static bool elf_file_is_archive(const struct elf_file *file)
{
	char magic[SARMAG];

	return elf_file_has(file, 0, sizeof(magic)) && !elf_file_read(file, 0, sizeof(magic), magic) &&
	       !memcmp(magic, ARMAG, SARMAG);
}

int elf_file_members(const char *path, int (*fn)(const char *member, void *arg), void *arg)
{
	struct elf_file file = { .path = path, .fd = -1 };
	struct member_list list = { fn, arg };
	Elf *last = NULL;
	int err;

	elf_version(EV_CURRENT);
	err = elf_file_open_path(&file, path);
	if (!err)
		err = elf_file_is_archive(&file) ? archive_walk(&file, member_report, &list, &last) : 1;
	elf_end(last);
	elf_file_close(&file);
	return err;
}

int elf_file_open(const char *path, struct elf_file *file)
{
	size_t member = path_find_member(path);
	int err;

	*file = (struct elf_file){ .path = path, .fd = -1 };
	elf_version(EV_CURRENT);
	err = elf_file_open_path(file, path);
	if (err == -ENOENT && member)
		err = elf_file_open_member(file, member);
	if (!err)
		err = elf_file_read_header(file);
	if (err)
		elf_file_close(file);
	return err;
}

void elf_file_close(struct elf_file *file)
{
	elf_end(file->elf);
	elf_end(file->archive);
	if (file->fd >= 0)
		close(file->fd);
	*file = (struct elf_file){ .fd = -1 };
}
