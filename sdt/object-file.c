/* SPDX-License-Identifier: MIT */
#include "sdt/object-file.h"

#include <byteswap.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

uint64_t elf_file_section_address(const struct elf_file *file, Elf_Scn *scn, const GElf_Shdr *section)
{
	if (!elf_file_is_object(file))
		return section->sh_addr;
	if (section->sh_type != SHT_NOBITS)
		return section->sh_offset;
	return file->size + ((uint64_t)elf_ndxscn(scn) << 32);
}

uint64_t elf_file_symbol_address(const struct elf_file *file, const GElf_Sym *symbol)
{
	GElf_Shdr section;
	Elf_Scn *scn;

	if (!elf_file_is_object(file))
		return symbol->st_value;
	if (symbol->st_shndx == SHN_UNDEF || symbol->st_shndx >= SHN_LORESERVE)
		return 0;
	scn = elf_getscn(file->elf, symbol->st_shndx);
	if (!scn || !gelf_getshdr(scn, &section))
		return 0;
	return elf_file_section_address(file, scn, &section) + symbol->st_value;
}

int object_relocations_find(const struct elf_file *file, struct object_relocations *relocations)
{
	Elf_Scn *scn = NULL;
	GElf_Shdr section;

	*relocations = (struct object_relocations){ 0 };
	if (!elf_file_is_object(file) || elf_getshdrnum(file->elf, &relocations->n))
		return 0;
	relocations->section_of = calloc(relocations->n + 1, sizeof(*relocations->section_of));
	if (!relocations->section_of)
		return error_nomem();
	while ((scn = elf_nextscn(file->elf, scn)) != NULL)
		if (gelf_getshdr(scn, &section) && (section.sh_type == SHT_RELA || section.sh_type == SHT_REL) &&
		    section.sh_info < relocations->n)
			relocations->section_of[section.sh_info] = (uint32_t)elf_ndxscn(scn);
	return 0;
}

void object_relocations_release(struct object_relocations *relocations)
{
	free(relocations->section_of);
	*relocations = (struct object_relocations){ 0 };
}

/*
 * The relocations of notes: each stores an address, or adds it to what is there or subtracts it. RISC-V makes the sizes in a
 * note so, from the addresses of labels.
 */
static const struct relocation_type {
	uint16_t machine, type;
	uint8_t size; /* bytes */
	int8_t sign;  /* 0: stores */
} relocation_types[] = {
	{ EM_X86_64, R_X86_64_64, 8, 0 },    { EM_X86_64, R_X86_64_32, 4, 0 },      { EM_386, R_386_32, 4, 0 },
	{ EM_ARM, R_ARM_ABS32, 4, 0 },       { EM_AARCH64, R_AARCH64_ABS64, 8, 0 }, { EM_PPC64, R_PPC64_ADDR64, 8, 0 },
	{ EM_PPC64, R_PPC64_UADDR64, 8, 0 }, { EM_S390, R_390_64, 8, 0 },           { EM_RISCV, R_RISCV_64, 8, 0 },
	{ EM_RISCV, R_RISCV_ADD32, 4, 1 },   { EM_RISCV, R_RISCV_SUB32, 4, -1 },
};

static const struct relocation_type *relocation_type_find(const struct elf_file *file, uint64_t type)
{
	for (size_t i = 0; i < sizeof(relocation_types) / sizeof(*relocation_types); i++)
		if (relocation_types[i].machine == file->header.e_machine && relocation_types[i].type == type)
			return &relocation_types[i];
	return NULL;
}

/* A relocation, with or without its own addend. */
struct relocation {
	uint64_t offset, info, addend;
	bool has_addend;
};

static bool relocation_read(Elf_Data *data, uint32_t type, int i, struct relocation *r)
{
	GElf_Rela rela;
	GElf_Rel rel;

	if (type == SHT_RELA) {
		if (!gelf_getrela(data, i, &rela))
			return false;
		*r = (struct relocation){ rela.r_offset, rela.r_info, (uint64_t)rela.r_addend, true };
		return true;
	}
	if (!gelf_getrel(data, i, &rel))
		return false;
	*r = (struct relocation){ rel.r_offset, rel.r_info, 0, false };
	return true;
}

static bool relocation_apply(const struct elf_file *file, Elf_Data *symbols, const struct relocation *r, char *data,
                             size_t size)
{
	const struct relocation_type *type = relocation_type_find(file, GELF_R_TYPE(r->info));
	size_t n = type ? type->size : 0;
	uint64_t value, addend = r->addend, there;
	GElf_Sym symbol;
	uint32_t word;

	if (!n || r->offset > size || n > size - r->offset || !gelf_getsym(symbols, (int)GELF_R_SYM(r->info), &symbol))
		return false;
	there = n == 8 ? elf_file_u64(file, data + r->offset) : elf_file_u32(file, data + r->offset);
	if (!r->has_addend)
		addend = there;
	value = symbol.st_shndx == SHN_UNDEF ? 0 : elf_file_symbol_address(file, &symbol) + addend;
	if (type->sign)
		value = type->sign > 0 ? there + value : there - value;
	word = file->swap ? bswap_32((uint32_t)value) : (uint32_t)value;
	value = file->swap ? bswap_64(value) : value;
	memcpy(data + r->offset, n == 8 ? (void *)&value : (void *)&word, n);
	return true;
}

/* Returns a section's contents, which libelf keeps. NULL: the section is damaged. */
static Elf_Data *section_data(const struct elf_file *file, Elf_Scn *scn, GElf_Shdr *section)
{
	if (!scn || !gelf_getshdr(scn, section) || section->sh_size > ELF_FILE_PART_MAX ||
	    !elf_file_has(file, section->sh_offset, section->sh_size))
		return NULL;
	return elf_getdata(scn, NULL);
}

size_t object_relocate(const struct elf_file *file, const struct object_relocations *relocations, Elf_Scn *scn,
                       char *data, size_t size)
{
	size_t number = elf_ndxscn(scn), failed = 0;
	Elf_Data *entries, *symbols = NULL;
	GElf_Shdr section, table;
	struct relocation r;

	if (number >= relocations->n || !relocations->section_of[number])
		return 0;
	entries = section_data(file, elf_getscn(file->elf, relocations->section_of[number]), &section);
	if (entries)
		symbols = section_data(file, elf_getscn(file->elf, section.sh_link), &table);
	if (!symbols || table.sh_type != SHT_SYMTAB)
		return 1;
	for (int i = 0; relocation_read(entries, section.sh_type, i, &r); i++)
		failed += !relocation_apply(file, symbols, &r, data, size);
	return failed;
}
