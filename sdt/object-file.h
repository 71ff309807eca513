/* SPDX-License-Identifier: MIT */
/*
 * Object files (ET_REL). Their sections have no addresses, and their notes are not relocated. Here a section's address is its
 * offset in the file. So the address of a site is the offset of its code, and no two sections overlap. Sections without
 * contents, which may share an offset, come after the end of the file.
 */
#ifndef SDT_OBJECT_FILE_H
#define SDT_OBJECT_FILE_H

#include "sdt/elf-file.h"

static inline bool elf_file_is_object(const struct elf_file *file)
{
	return file->header.e_type == ET_REL;
}

/* Returns the address of a section: sh_addr, unless the file is an object file. */
uint64_t elf_file_section_address(const struct elf_file *file, Elf_Scn *scn, const GElf_Shdr *section);

/* Returns the address of a symbol, which is defined in a section. Returns 0 if the symbol is not defined in the file. */
uint64_t elf_file_symbol_address(const struct elf_file *file, const GElf_Sym *symbol);

/* Which section has the relocations of which. Zeroes: nothing is relocated. */
struct object_relocations {
	uint32_t *section_of; /* by the number of the relocated section; 0: none. Only the last one counts */
	size_t n;
};

/* Finds the relocations of an object file; of another file, none. Returns 0 or -ENOMEM. The caller releases them. */
int object_relocations_find(const struct elf_file *file, struct object_relocations *relocations);
void object_relocations_release(struct object_relocations *relocations);

/* Relocates the addresses in the contents of a section. Returns how many relocations could not be applied. */
size_t object_relocate(const struct elf_file *file, const struct object_relocations *relocations, Elf_Scn *scn,
                       char *data, size_t size);

#endif
