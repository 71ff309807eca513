/* SPDX-License-Identifier: MIT */
/*
 * libdw computes the rows of the unwind tables. It describes each rule as a DWARF expression. Compilers need two forms: the
 * canonical frame address (CFA) is a register and an offset, and a saved register is at an offset to the CFA. All others
 * are not known here.
 */
#include "sdt/cfi.h"

#include <elf.h>
#include <stdlib.h>

#include "sdt/elf-file.h"
#include "sdt/image.h"
#include "sdt/operand.h"

#ifdef HAVE_LIBDW

#include <dwarf.h>
#include <elfutils/libdw.h>

struct image_cfi {
	bool opened;
	struct elf_file file; /* elf NULL: not open */
	Dwarf_CFI *cfi;       /* NULL: the file has none */
};

/* Numbers of DWARF, and the CPU's numbers for them. */
struct cfi_cpu {
	int machine;
	int return_address, frame_pointer; /* DWARF's */
	int8_t numbers[32];
};

static const struct cfi_cpu cpus[] = {
	{ EM_X86_64, 16, 6, { 0, 2, 1, 3, 6, 7, 5, 4, 8, 9, 10, 11, 12, 13, 14, 15 } },
	{ EM_AARCH64, 30, 29, { 0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14, 15,
	                        16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31 } },
};

struct image_cfi *cfi_new(void)
{
	return calloc(1, sizeof(struct image_cfi));
}

void cfi_free(struct image_cfi *cfi)
{
	if (!cfi)
		return;
	if (cfi->cfi)
		dwarf_cfi_end(cfi->cfi);
	if (cfi->file.elf)
		elf_file_close(&cfi->file);
	free(cfi);
}

static Dwarf_CFI *cfi_get(const struct pp_image *image)
{
	struct image_cfi *cfi = image->cfi;

	if (!cfi || cfi->opened)
		return cfi ? cfi->cfi : NULL;
	cfi->opened = true;
	if (elf_file_open(image->path, &cfi->file)) {
		cfi->file.elf = NULL;
		return NULL;
	}
	if (!image_unchanged(image, &cfi->file.stat))
		cfi->cfi = dwarf_getcfi_elf(cfi->file.elf);
	return cfi->cfi;
}

static const struct cfi_cpu *cfi_cpu(const struct pp_image *image)
{
	for (size_t i = 0; image->is_64 && i < sizeof(cpus) / sizeof(*cpus); i++)
		if (cpus[i].machine == image->machine)
			return &cpus[i];
	return NULL;
}

/* Sets *cfa to the register and the offset that the CFA is the sum of. */
static bool frame_cfa(const struct cfi_cpu *cpu, Dwarf_Frame *frame, struct cfi_value *cfa)
{
	Dwarf_Op *ops;
	size_t n;
	uint64_t reg;

	if (dwarf_frame_cfa(frame, &ops, &n) || n != 1)
		return false;
	if (ops[0].atom == DW_OP_bregx) {
		reg = ops[0].number;
		cfa->offset = (int64_t)ops[0].number2;
	} else if (ops[0].atom >= DW_OP_breg0 && ops[0].atom <= DW_OP_breg31) {
		reg = ops[0].atom - DW_OP_breg0;
		cfa->offset = (int64_t)ops[0].number;
	} else {
		return false;
	}
	if (reg >= (cpu->machine == EM_AARCH64 ? 32 : 16))
		return false;
	cfa->reg = cpu->numbers[reg];
	return true;
}

/* Sets *value to the caller's value of a register. own: the CPU's number of the register, -1: it has none. */
static bool frame_value(Dwarf_Frame *frame, int reg, int own, const struct cfi_value *cfa, struct cfi_value *value)
{
	Dwarf_Op space[3], *ops;
	size_t n;

	if (dwarf_frame_register(frame, reg, space, &ops, &n))
		return false;
	if (!n) { /* unchanged, or no rule: it is still in the register */
		*value = (struct cfi_value){ .reg = own };
		return own >= 0;
	}
	if (n > 2 || ops[0].atom != DW_OP_call_frame_cfa || (n == 2 && ops[1].atom != DW_OP_plus_uconst))
		return false;
	*value = (struct cfi_value){ .in_memory = true, .reg = cfa->reg };
	value->offset = cfa->offset + (n == 2 ? (int64_t)ops[1].number : 0);
	return true;
}

bool cfi_frame(const struct pp_image *image, uint64_t address, struct cfi_frame *frame)
{
	const struct cfi_cpu *cpu = cfi_cpu(image);
	Dwarf_CFI *cfi = cpu ? cfi_get(image) : NULL;
	struct cfi_value cfa;
	Dwarf_Frame *row;
	bool found;

	if (!cfi || dwarf_cfi_addrframe(cfi, address, &row))
		return false;
	found = frame_cfa(cpu, row, &cfa) &&
	        frame_value(row, cpu->return_address, cpu->machine == EM_AARCH64 ? 30 : -1, &cfa,
	                    &frame->return_address) &&
	        frame_value(row, cpu->frame_pointer, cpu->numbers[cpu->frame_pointer], &cfa, &frame->frame_pointer);
	free(row);
	return found;
}

#else

struct image_cfi {
	char none;
};

struct image_cfi *cfi_new(void)
{
	return calloc(1, sizeof(struct image_cfi));
}

void cfi_free(struct image_cfi *cfi)
{
	free(cfi);
}

bool cfi_frame(const struct pp_image *image, uint64_t address, struct cfi_frame *frame)
{
	(void)image, (void)address, (void)frame;
	return false;
}

#endif
