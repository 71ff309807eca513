/* SPDX-License-Identifier: MIT */
/* Reading an ELF file, with every size and offset checked. */
#include "sdt/elf-file.h"

#include "base/error.h"

#include <ar.h>
#include <byteswap.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool elf_file_has(const struct elf_file *file, uint64_t offset, uint64_t size)
{
	uint64_t whole = (uint64_t)file->stat.st_size;

	return offset <= whole && size <= whole - offset;
}

int elf_file_read(const struct elf_file *file, uint64_t offset, size_t size, void *buffer)
{
	char *to = buffer;
	ssize_t n;

	if (!elf_file_has(file, offset, size))
		return error_set(EIO, "'%s' is damaged or truncated: it ends before offset %#llx", file->path,
		                 (unsigned long long)(offset + size));
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
	case ET_DYN: return 0;
	case ET_REL:
		return error_set(ENOEXEC, "'%s' is an object file, whose probes have no addresses yet; link it first",
		                 file->path);
	case ET_CORE: return error_set(ENOEXEC, "'%s' is a core dump; name the program that dumped it", file->path);
	default: return error_set(ENOEXEC, "'%s' is neither an executable nor a shared library", file->path);
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
		return error_set(ENOEXEC, "'%s' is an archive; name a program that is linked with it", file->path);
	return error_set(ENOEXEC, "'%s' is not an ELF file", file->path);
}

static int elf_file_read_header(struct elf_file *file)
{
	unsigned char order = __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? ELFDATA2LSB : ELFDATA2MSB;
	int err = elf_file_check_magic(file);

	if (err)
		return err;
	file->elf = elf_begin(file->fd, ELF_C_READ, NULL);
	if (!file->elf || elf_kind(file->elf) != ELF_K_ELF || !gelf_getehdr(file->elf, &file->header))
		return error_set(ENOEXEC, "'%s' is damaged or truncated: its ELF header cannot be read", file->path);
	file->is_64 = gelf_getclass(file->elf) == ELFCLASS64;
	file->swap = file->header.e_ident[EI_DATA] != order;
	err = elf_file_check_kind(file);
	return err ? err : elf_file_check_tables(file);
}

int elf_file_open(const char *path, struct elf_file *file)
{
	int err;

	*file = (struct elf_file){ .path = path, .fd = -1 };
	elf_version(EV_CURRENT);
	/* O_NONBLOCK, because opening a FIFO would wait for its writer. */
	file->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (file->fd < 0)
		return error_set(errno, "cannot open '%s': %s", path, strerror(errno));
	if (fstat(file->fd, &file->stat))
		err = error_set(errno, "cannot stat '%s': %s", path, strerror(errno));
	else if (!S_ISREG(file->stat.st_mode))
		err = elf_file_not_regular(file);
	else
		err = elf_file_read_header(file);
	if (err)
		elf_file_close(file);
	return err;
}

void elf_file_close(struct elf_file *file)
{
	elf_end(file->elf);
	if (file->fd >= 0)
		close(file->fd);
	*file = (struct elf_file){ .fd = -1 };
}
