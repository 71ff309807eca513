/* SPDX-License-Identifier: MIT */
/*
 * An open ELF file. The file is read and never mapped, because truncating a mapped file would kill this process with
 * SIGBUS. libelf reads the headers. elf_file_read() reads everything that headers point to, and checks it against the
 * file's size first.
 */
#ifndef SDT_ELF_FILE_H
#define SDT_ELF_FILE_H

#include <gelf.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

/* The largest part that is read at once, because a sparse file can claim any size. */
#define ELF_FILE_PART_MAX ((uint64_t)1 << 30)

struct elf_file {
	const char *path; /* owned by the caller */
	int fd;
	Elf *elf, *archive; /* archive: NULL unless the ELF file is a member of one */
	GElf_Ehdr header;
	struct stat stat;
	uint64_t start, size; /* of the ELF file in the file, which may be an archive */
	bool is_64;
	bool swap; /* the byte order is not this machine's */
};

/*
 * Opens an executable, a shared library or an object file. A path "ARCHIVE(MEMBER)" names a member of an archive if no file
 * has this name. Returns 0, -ENOEXEC if it is another kind of file or its headers are damaged, or the errno of open(2).
 */
int elf_file_open(const char *path, struct elf_file *file);
/* Accepts a file that was closed already. */
void elf_file_close(struct elf_file *file);

/* Returns true if the file has `size` bytes at the offset. */
bool elf_file_has(const struct elf_file *file, uint64_t offset, uint64_t size);
/* Reads them. Returns 0, or -EIO if the file does not have them (any more), or the errno of pread(2). */
int elf_file_read(const struct elf_file *file, uint64_t offset, size_t size, void *buffer);
/* Reads them into memory that the caller frees, and appends a NUL. Returns also -EFBIG and -ENOMEM. */
int elf_file_load(const struct elf_file *file, uint64_t offset, uint64_t size, char **data);

/*
 * Calls fn with the path "ARCHIVE(MEMBER)" of each member of the archive that is an ELF file, until it returns nonzero.
 * Returns that value, 1 if the file is not an archive, or a negative errno.
 */
int elf_file_members(const char *path, int (*fn)(const char *member, void *arg), void *arg);

/* Returns the name of a section, "" if it has none. */
const char *elf_file_section_name(const struct elf_file *file, const GElf_Shdr *section);

/* Convert a number at any address from the file's byte order. */
uint16_t elf_file_u16(const struct elf_file *file, const void *at);
uint32_t elf_file_u32(const struct elf_file *file, const void *at);
uint64_t elf_file_u64(const struct elf_file *file, const void *at);
uint64_t elf_file_address(const struct elf_file *file, const void *at); /* 4 or 8 bytes, by the class */

#endif
