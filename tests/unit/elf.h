/* SPDX-License-Identifier: MIT */
/*
 * Writes small ELF files, valid and damaged, of both classes and byte orders, so that tests need no compiler and know each
 * byte. A file has 256 bytes of code (and more_code) at CODE (file offset CODE_AT), 256 bytes of data at DATA (file offset
 * DATA_AT, and more_code), the section .stapsdt.base at BASE, and the notes and symbols that were added. The file is a
 * memfd, whose path elf_path() returns.
 */
#ifndef TESTS_UNIT_ELF_H
#define TESTS_UNIT_ELF_H

#include <elf.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define CODE 0x401200
#define CODE_AT 0x200
#define DATA 0x601300
#define DATA_AT 0x300
#define BASE 0x401280

struct bytes {
	unsigned char *data;
	size_t n;
};

struct elf {
	bool is_32, big, no_base, no_sections;
	uint16_t type, machine;
	size_t more_code;
	uint64_t base; /* the address of .stapsdt.base; 0: BASE */
	struct bytes stapsdt, ppn, symbols, names, file;
	int fd;
	char path[64];
};

static inline void put_bytes(struct bytes *to, const void *data, size_t n)
{
	to->data = realloc(to->data, to->n + n + 1);
	if (!to->data)
		abort();
	if (n)
		memcpy(to->data + to->n, data, n);
	to->n += n;
}

static inline void put(const struct elf *elf, struct bytes *to, unsigned size, uint64_t value)
{
	unsigned char b;

	for (unsigned i = 0; i < size; i++) {
		b = (unsigned char)(value >> 8 * (elf->big ? size - 1 - i : i));
		put_bytes(to, &b, 1);
	}
}

static inline void put_string(struct bytes *to, const char *text)
{
	put_bytes(to, text, strlen(text) + 1);
}

static inline void put_address(const struct elf *elf, struct bytes *to, uint64_t value)
{
	put(elf, to, elf->is_32 ? 4 : 8, value);
}

static inline void put_padding(struct bytes *to, size_t align)
{
	while (to->n % align)
		put_bytes(to, "", 1);
}

static inline void put_note(const struct elf *elf, struct bytes *to, const char *owner, uint32_t type,
                            const struct bytes *desc)
{
	put(elf, to, 4, strlen(owner) + 1);
	put(elf, to, 4, desc->n);
	put(elf, to, 4, type);
	put_string(to, owner);
	put_padding(to, 4);
	put_bytes(to, desc->data, desc->n);
	put_padding(to, 4);
}

/* Adds a stapsdt note. Returns its offset in the section. */
static inline size_t elf_note(struct elf *elf, uint64_t location, uint64_t base, uint64_t semaphore,
                              const char *provider, const char *name, const char *operands)
{
	size_t start = elf->stapsdt.n;
	struct bytes desc = { 0 };

	put_address(elf, &desc, location);
	put_address(elf, &desc, base);
	put_address(elf, &desc, semaphore);
	put_string(&desc, provider);
	put_string(&desc, name);
	put_string(&desc, operands);
	put_note(elf, &elf->stapsdt, "stapsdt", 3, &desc);
	free(desc.data);
	return start;
}

/* args is a NULL-terminated list. result is NULL for a probe. */
static inline size_t elf_signature(struct elf *elf, uint64_t key, uint32_t line, uint8_t kind, uint16_t flags,
                                   const char *file, const char *function, const char *result, const char *const *args)
{
	size_t start = elf->ppn.n, n = 0;
	struct bytes desc = { 0 };

	while (args && args[n])
		n++;
	put(elf, &desc, 8, key);
	put(elf, &desc, 4, line);
	put(elf, &desc, 1, kind);
	put(elf, &desc, 1, n);
	put(elf, &desc, 2, flags);
	put_string(&desc, file);
	put_string(&desc, function);
	if (result)
		put_string(&desc, result);
	for (size_t i = 0; i < n; i++)
		put_string(&desc, args[i]);
	put_note(elf, &elf->ppn, "ppn", 1, &desc);
	free(desc.data);
	return start;
}

/* Merges the signatures after the offset start into one note, as the plugin does for a unit. */
static inline void elf_signatures(struct elf *elf, size_t start, const char *file)
{
	struct bytes desc = { 0 };
	size_t at = start, end = elf->ppn.n;

	put_string(&desc, file);
	while (at < end) {
		uint32_t size;
		const char *note = (const char *)elf->ppn.data + at;

		memcpy(&size, note + 4, sizeof(size));
		if (elf->big)
			size = __builtin_bswap32(size);
		put(elf, &desc, 2, size - strlen(file) - 1);
		put_bytes(&desc, note + 16, 16);
		put_bytes(&desc, note + 32 + strlen(file) + 1, size - 16 - strlen(file) - 1);
		at += 16 + ((size + 3) & ~3u);
	}
	elf->ppn.n = start;
	put_note(elf, &elf->ppn, "ppn", 4, &desc);
	free(desc.data);
}

/* more: bytes of the note after the known fields */
static inline void elf_floats(struct elf *elf, uint64_t location, uint32_t floats, size_t more)
{
	struct bytes desc = { 0 };

	put_address(elf, &desc, location);
	put(elf, &desc, 4, floats);
	for (size_t i = 0; i < more; i++)
		put(elf, &desc, 1, 'x');
	put_note(elf, &elf->ppn, "ppn", PPN_FLOATS, &desc);
	free(desc.data);
}

static inline void elf_site(struct elf *elf, uint64_t location, uint32_t line, uint32_t flags)
{
	struct bytes desc = { 0 };

	put_address(elf, &desc, location);
	put(elf, &desc, 4, line);
	put(elf, &desc, 4, flags);
	put_note(elf, &elf->ppn, "ppn", 2, &desc);
	free(desc.data);
}

static inline void elf_symbol(struct elf *elf, const char *name, uint64_t value, uint64_t size, unsigned char info)
{
	if (!elf->names.n)
		put_string(&elf->names, "");
	if (!elf->symbols.n)
		put_bytes(&elf->symbols, (char[24]){ 0 }, elf->is_32 ? 16 : 24);
	put(elf, &elf->symbols, 4, elf->names.n);
	if (elf->is_32) {
		put(elf, &elf->symbols, 4, value);
		put(elf, &elf->symbols, 4, size);
	}
	put(elf, &elf->symbols, 1, info);
	put(elf, &elf->symbols, 1, 0);
	put(elf, &elf->symbols, 2, 1);
	if (!elf->is_32) {
		put(elf, &elf->symbols, 8, value);
		put(elf, &elf->symbols, 8, size);
	}
	put_string(&elf->names, name);
}

static inline void put_segment(struct elf *elf, uint32_t flags, uint64_t address, uint64_t offset, uint64_t size)
{
	struct bytes *to = &elf->file;

	put(elf, to, 4, PT_LOAD);
	if (!elf->is_32)
		put(elf, to, 4, flags);
	put_address(elf, to, offset);
	put_address(elf, to, address);
	put_address(elf, to, address);
	put_address(elf, to, size);
	put_address(elf, to, size);
	if (elf->is_32)
		put(elf, to, 4, flags);
	put_address(elf, to, 1);
}

static inline void put_section(struct elf *elf, const char *name, const char *names, uint32_t type, uint64_t flags,
                               uint64_t address, uint64_t offset, uint64_t size, uint32_t link, uint64_t entsize)
{
	struct bytes *to = &elf->file;
	size_t at = 0;

	while (strcmp(names + at, name))
		at += strlen(names + at) + 1;
	put(elf, to, 4, at);
	put(elf, to, 4, type);
	put_address(elf, to, flags);
	put_address(elf, to, address);
	put_address(elf, to, offset);
	put_address(elf, to, size);
	put(elf, to, 4, link);
	put(elf, to, 4, type == SHT_SYMTAB);
	put_address(elf, to, type == SHT_NOTE ? 4 : 1);
	put_address(elf, to, entsize);
}

/* The file offset of the stapsdt notes in a finished file. The size of more_code is added to it. */
#define ELF_STAPSDT_AT 0x400

static inline void elf_finish(struct elf *elf)
{
	static const char names[] =
		"\0.text\0.data\0.stapsdt.base\0.note.stapsdt\0.note.probepoint\0.symtab\0.strtab\0.shstrtab";
	struct bytes *f = &elf->file;
	size_t code = 0x100 + elf->more_code, data_at = DATA_AT + elf->more_code;
	size_t stapsdt_at, ppn_at, symbols_at, names_at, shstr_at, sections_at;

	stapsdt_at = ELF_STAPSDT_AT + elf->more_code;
	ppn_at = stapsdt_at + elf->stapsdt.n;
	symbols_at = (ppn_at + elf->ppn.n + 15) & ~(size_t)15;
	names_at = symbols_at + elf->symbols.n;
	shstr_at = names_at + elf->names.n;
	sections_at = (shstr_at + sizeof(names) + 15) & ~(size_t)15;

	put_bytes(f, "\177ELF", 4);
	put(elf, f, 1, elf->is_32 ? ELFCLASS32 : ELFCLASS64);
	put(elf, f, 1, elf->big ? ELFDATA2MSB : ELFDATA2LSB);
	put(elf, f, 1, EV_CURRENT);
	put_bytes(f, (char[9]){ 0 }, 9);
	put(elf, f, 2, elf->type ? elf->type : ET_DYN);
	put(elf, f, 2, elf->machine ? elf->machine : elf->is_32 ? EM_386 : EM_X86_64);
	put(elf, f, 4, EV_CURRENT);
	put_address(elf, f, 0);
	put_address(elf, f, elf->is_32 ? 52 : 64);
	put_address(elf, f, elf->no_sections ? 0 : sections_at);
	put(elf, f, 4, 0);
	put(elf, f, 2, elf->is_32 ? 52 : 64);
	put(elf, f, 2, elf->is_32 ? 32 : 56);
	put(elf, f, 2, 2);
	put(elf, f, 2, elf->is_32 ? 40 : 64);
	put(elf, f, 2, elf->no_sections ? 0 : 9);
	put(elf, f, 2, elf->no_sections ? 0 : 8);
	put_segment(elf, PF_R | PF_X, CODE - CODE_AT, 0, CODE_AT + code);
	put_segment(elf, PF_R | PF_W, DATA, data_at, 0x100);

	put_padding(f, CODE_AT);
	for (size_t i = 0; i < code + 0x100; i++)
		put(elf, f, 1, i & 0xff);
	put_bytes(f, elf->stapsdt.data, elf->stapsdt.n);
	put_bytes(f, elf->ppn.data, elf->ppn.n);
	put_padding(f, 16);
	put_bytes(f, elf->symbols.data, elf->symbols.n);
	put_bytes(f, elf->names.data, elf->names.n);
	put_bytes(f, names, sizeof(names));
	put_padding(f, 16);
	if (!elf->no_sections) {
		put_section(elf, "", names, SHT_NULL, 0, 0, 0, 0, 0, 0);
		put_section(elf, ".text", names, SHT_PROGBITS, SHF_ALLOC | SHF_EXECINSTR, CODE, CODE_AT, code, 0, 0);
		put_section(elf, ".data", names, SHT_PROGBITS, SHF_ALLOC | SHF_WRITE, DATA, data_at, 0x100, 0, 0);
		put_section(elf, elf->no_base ? ".data" : ".stapsdt.base", names, SHT_PROGBITS, SHF_ALLOC,
		            elf->base ? elf->base : BASE, 0x280, 1, 0, 0);
		put_section(elf, ".note.stapsdt", names, SHT_NOTE, 0, 0, stapsdt_at, elf->stapsdt.n, 0, 0);
		put_section(elf, ".note.probepoint", names, SHT_NOTE, 0, 0, ppn_at, elf->ppn.n, 0, 0);
		put_section(elf, ".symtab", names, SHT_SYMTAB, 0, 0, symbols_at, elf->symbols.n, 7,
		            elf->is_32 ? 16 : 24);
		put_section(elf, ".strtab", names, SHT_STRTAB, 0, 0, names_at, elf->names.n, 0, 0);
		put_section(elf, ".shstrtab", names, SHT_STRTAB, 0, 0, shstr_at, sizeof(names), 0, 0);
	}
}

/* Writes the first n bytes of the finished file. Returns elf_path(). */
static inline const char *elf_write(struct elf *elf, size_t n)
{
	if (!*elf->path) {
		elf->fd = memfd_create("elf", MFD_CLOEXEC);
		if (elf->fd < 0)
			abort();
		snprintf(elf->path, sizeof(elf->path), "/proc/self/fd/%d", elf->fd);
	}
	if (ftruncate(elf->fd, 0) || pwrite(elf->fd, elf->file.data, n, 0) != (ssize_t)n)
		abort();
	return elf->path;
}

static inline const char *elf_path(struct elf *elf)
{
	if (!elf->file.n)
		elf_finish(elf);
	return elf_write(elf, elf->file.n);
}

static inline void elf_free(struct elf *elf)
{
	free(elf->stapsdt.data);
	free(elf->ppn.data);
	free(elf->symbols.data);
	free(elf->names.data);
	free(elf->file.data);
	if (*elf->path)
		close(elf->fd);
	*elf = (struct elf){ 0 };
}

#endif
