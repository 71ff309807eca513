/* SPDX-License-Identifier: MIT */
#include "sdt/elf-file.h"

#include "base/error.h"

#include <ar.h>
#include <byteswap.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool file_has(const struct file *file, uint64_t offset, uint64_t size)
{
	uint64_t whole = (uint64_t)file->stat.st_size;

	return offset <= whole && size <= whole - offset;
}

int file_read(const struct file *file, uint64_t offset, size_t size, void *buffer)
{
	char *to = buffer;
	ssize_t n;

	if (!file_has(file, offset, size))
		return error_set(EIO, "'%s' is damaged or cut short: it ends before offset %#llx", file->path,
		                 (unsigned long long)(offset + size));
	while (size) {
		n = pread(file->fd, to, size, (off_t)offset);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return error_set(errno, "cannot read '%s': %s", file->path, strerror(errno));
		if (n == 0)
			return error_set(EIO, "'%s' became shorter while it was read; try again", file->path);
		to += n;
		offset += (uint64_t)n;
		size -= (size_t)n;
	}
	return 0;
}

int file_load(const struct file *file, uint64_t offset, uint64_t size, char **data)
{
	int err;

	*data = NULL;
	if (!file_has(file, offset, size))
		return file_read(file, offset, size, NULL);
	if (size > FILE_PART_MAX)
		return error_set(EFBIG, "'%s' has a section of %llu bytes, more than can be sensible", file->path,
		                 (unsigned long long)size);
	*data = malloc(size + 1);
	if (!*data)
		return error_set(ENOMEM, "not enough memory to read '%s'", file->path);
	(*data)[size] = '\0';
	err = file_read(file, offset, size, *data);
	if (err) {
		free(*data);
		*data = NULL;
	}
	return err;
}

const char *file_section_name(const struct file *file, const GElf_Shdr *section)
{
	const char *name = NULL;
	size_t strings;

	if (elf_getshdrstrndx(file->elf, &strings) == 0)
		name = elf_strptr(file->elf, strings, section->sh_name);
	return name ? name : "";
}

uint16_t file_u16(const struct file *file, const void *at)
{
	uint16_t v;

	memcpy(&v, at, sizeof(v));
	return file->swap ? bswap_16(v) : v;
}

uint32_t file_u32(const struct file *file, const void *at)
{
	uint32_t v;

	memcpy(&v, at, sizeof(v));
	return file->swap ? bswap_32(v) : v;
}

uint64_t file_u64(const struct file *file, const void *at)
{
	uint64_t v;

	memcpy(&v, at, sizeof(v));
	return file->swap ? bswap_64(v) : v;
}

uint64_t file_address(const struct file *file, const void *at)
{
	return file->is_64 ? file_u64(file, at) : file_u32(file, at);
}

static int file_check_kind(const struct file *file)
{
	switch (file->header.e_type) {
	case ET_EXEC:
	case ET_DYN: return 0;
	case ET_REL:
		return error_set(ENOEXEC, "'%s' is an object file: its probes have no place yet; link it first",
		                 file->path);
	case ET_CORE:
		return error_set(ENOEXEC, "'%s' is a core dump; probes are in the program that dumped it", file->path);
	default: return error_set(ENOEXEC, "'%s' is neither an executable nor a shared library", file->path);
	}
}

/* libelf counts entries by its own sizes and believes the rest of the header. */
static int file_check_tables(const struct file *file)
{
	const GElf_Ehdr *h = &file->header;
	uint64_t section = file->is_64 ? sizeof(Elf64_Shdr) : sizeof(Elf32_Shdr);
	uint64_t segment = file->is_64 ? sizeof(Elf64_Phdr) : sizeof(Elf32_Phdr);
	size_t nsections = 0, nsegments = 0, names = 0;
	GElf_Shdr header;

	if (h->e_shoff && !file_has(file, h->e_shoff, section))
		goto cut;
	if (elf_getshdrnum(file->elf, &nsections) || elf_getphdrnum(file->elf, &nsegments))
		return error_set(ENOEXEC, "'%s' is damaged: \"%s\"", file->path, elf_errmsg(-1));
	if (nsections < h->e_shnum) /* libelf passes over a table that is cut */
		nsections = h->e_shnum;
	if (nsegments < h->e_phnum && h->e_phnum != PN_XNUM)
		nsegments = h->e_phnum;
	if (nsections && (nsections > FILE_PART_MAX / section || !file_has(file, h->e_shoff, nsections * section)))
		goto cut;
	if (nsegments && (nsegments > FILE_PART_MAX / segment || !file_has(file, h->e_phoff, nsegments * segment)))
		goto cut;
	if (nsections && elf_getshdrstrndx(file->elf, &names) == 0 && names &&
	    gelf_getshdr(elf_getscn(file->elf, names), &header) &&
	    (header.sh_size > FILE_PART_MAX || !file_has(file, header.sh_offset, header.sh_size)))
		goto cut;
	return 0;
cut:
	return error_set(ENOEXEC, "'%s' is damaged or cut short: its headers point past its end", file->path);
}

int file_open(const char *path, struct file *file)
{
	unsigned char order = __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? ELFDATA2LSB : ELFDATA2MSB;
	char magic[SARMAG];
	int err;

	*file = (struct file){ .path = path, .fd = -1 };
	elf_version(EV_CURRENT);
	/* a pipe must not make us wait for its other end */
	file->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (file->fd < 0)
		return error_set(errno, "cannot open '%s': %s", path, strerror(errno));
	if (fstat(file->fd, &file->stat)) {
		err = error_set(errno, "cannot look at '%s': %s", path, strerror(errno));
		goto fail;
	}
	if (!S_ISREG(file->stat.st_mode)) {
		err = S_ISDIR(file->stat.st_mode)
		              ? error_set(EISDIR, "'%s' is a directory; name a program or library", path)
		              : error_set(ENOEXEC, "'%s' is not a regular file", path);
		goto fail;
	}
	if (!file_has(file, 0, sizeof(magic)) || file_read(file, 0, sizeof(magic), magic) ||
	    memcmp(magic, ELFMAG, SELFMAG)) {
		err = file_has(file, 0, sizeof(magic)) && !memcmp(magic, ARMAG, SARMAG)
		              ? error_set(ENOEXEC, "'%s' is an archive; name a program that was linked with it", path)
		              : error_set(ENOEXEC, "'%s' is not an ELF file", path);
		goto fail;
	}
	file->elf = elf_begin(file->fd, ELF_C_READ, NULL);
	if (!file->elf || elf_kind(file->elf) != ELF_K_ELF || !gelf_getehdr(file->elf, &file->header)) {
		err = error_set(ENOEXEC, "'%s' is damaged or cut short: its ELF header cannot be read", path);
		goto fail;
	}
	file->is_64 = gelf_getclass(file->elf) == ELFCLASS64;
	file->swap = file->header.e_ident[EI_DATA] != order;
	err = file_check_kind(file);
	if (!err)
		err = file_check_tables(file);
	if (!err)
		return 0;
fail:
	file_close(file);
	return err;
}

void file_close(struct file *file)
{
	elf_end(file->elf);
	if (file->fd >= 0)
		close(file->fd);
	*file = (struct file){ .fd = -1 };
}
