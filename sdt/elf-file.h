/* SPDX-License-Identifier: MIT */
/*
 * An ELF file while it is being read. It is read, never mapped: a file that is
 * cut short meanwhile must be an error and no SIGBUS. libelf sees to the
 * headers; what they point at is read with file_read(), which checks it against
 * the file's size first.
 */
#ifndef SDT_ELF_FILE_H
#define SDT_ELF_FILE_H

#include <gelf.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

/* Nothing that is read whole may be larger: a sparse file can claim any size. */
#define FILE_PART_MAX ((uint64_t)1 << 30)

struct file {
	const char *path; /* the caller's */
	int fd;
	Elf *elf;
	GElf_Ehdr header;
	struct stat stat;
	bool is_64;
	bool swap; /* of the other byte order than this machine */
};

int file_open(const char *path, struct file *file);
void file_close(struct file *file);

/* True where the file holds that many bytes there. */
bool file_has(const struct file *file, uint64_t offset, uint64_t size);
/* Reads them; -EIO and a sentence where it does not, any more. */
int file_read(const struct file *file, uint64_t offset, size_t size, void *buffer);
/* As file_read, into new memory with a NUL behind. */
int file_load(const struct file *file, uint64_t offset, uint64_t size, char **data);

/* The name of a section, "" where there is none to be had. */
const char *file_section_name(const struct file *file, const GElf_Shdr *section);

uint16_t file_u16(const struct file *file, const void *at);
uint32_t file_u32(const struct file *file, const void *at);
uint64_t file_u64(const struct file *file, const void *at);
uint64_t file_address(const struct file *file, const void *at); /* 4 or 8 bytes */

#endif
