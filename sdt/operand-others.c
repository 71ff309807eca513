/* SPDX-License-Identifier: MIT */
/*
 * Operands of 64-bit POWER, s390x and RISC-V, as gcc and clang print them. Their memory operands are alike:
 * DISPLACEMENT(BASE), and on s390x DISPLACEMENT(INDEX,BASE).
 *
 *                 ppc64                s390x                riscv64
 *     constant    i5  i-5              5  -5                5  -5
 *     register    9  r9  %r9           %r2                  a0  x10
 *     memory      0(9)  -88(31)  9,10  160(%r15)  0(%r1,%r2)  -88(s0)  %lo(g+4)(a5)
 *     static      g  g+8               g  g+8               g  g+8
 *
 * ppc64 prints registers as numbers, therefore sys/sdt.h marks its constants with i. Register 0 as a base or an index means
 * no register on ppc64 and s390x.
 */
#include "sdt/image.h"
#include "sdt/operand-text.h"

#include <ctype.h>
#include <elf.h>
#include <stdio.h>
#include <string.h>

#define NOT_A_REGISTER "its register is not known or not available to probes"

/* clang-format off */
#define NUMBERED(p) \
	{ p "0", 0, 8, 0 }, { p "1", 1, 8, 0 }, { p "2", 2, 8, 0 }, { p "3", 3, 8, 0 }, \
	{ p "4", 4, 8, 0 }, { p "5", 5, 8, 0 }, { p "6", 6, 8, 0 }, { p "7", 7, 8, 0 }, \
	{ p "8", 8, 8, 0 }, { p "9", 9, 8, 0 }, { p "10", 10, 8, 0 }, { p "11", 11, 8, 0 }, \
	{ p "12", 12, 8, 0 }, { p "13", 13, 8, 0 }, { p "14", 14, 8, 0 }, { p "15", 15, 8, 0 }
#define NUMBERED_HIGH(p) \
	{ p "16", 16, 8, 0 }, { p "17", 17, 8, 0 }, { p "18", 18, 8, 0 }, { p "19", 19, 8, 0 }, \
	{ p "20", 20, 8, 0 }, { p "21", 21, 8, 0 }, { p "22", 22, 8, 0 }, { p "23", 23, 8, 0 }, \
	{ p "24", 24, 8, 0 }, { p "25", 25, 8, 0 }, { p "26", 26, 8, 0 }, { p "27", 27, 8, 0 }, \
	{ p "28", 28, 8, 0 }, { p "29", 29, 8, 0 }, { p "30", 30, 8, 0 }, { p "31", 31, 8, 0 }

static const struct cpu_register registers_ppc64[] = { NUMBERED("r"), NUMBERED_HIGH("r"), { "nip", 32, 8, 0 } };

static const struct cpu_register registers_s390x[] = { NUMBERED("r"), { "pswa", 16, 8, 0 } };

static const struct cpu_register registers_riscv64[] = {
	NUMBERED("x"), NUMBERED_HIGH("x"), { "pc", 32, 8, 0 },
	{ "zero", 0, 8, 0 }, { "ra", 1, 8, 0 }, { "sp", 2, 8, 0 }, { "gp", 3, 8, 0 }, { "tp", 4, 8, 0 },
	{ "t0", 5, 8, 0 }, { "t1", 6, 8, 0 }, { "t2", 7, 8, 0 }, { "s0", 8, 8, 0 }, { "fp", 8, 8, 0 }, { "s1", 9, 8, 0 },
	{ "a0", 10, 8, 0 }, { "a1", 11, 8, 0 }, { "a2", 12, 8, 0 }, { "a3", 13, 8, 0 },
	{ "a4", 14, 8, 0 }, { "a5", 15, 8, 0 }, { "a6", 16, 8, 0 }, { "a7", 17, 8, 0 },
	{ "s2", 18, 8, 0 }, { "s3", 19, 8, 0 }, { "s4", 20, 8, 0 }, { "s5", 21, 8, 0 }, { "s6", 22, 8, 0 },
	{ "s7", 23, 8, 0 }, { "s8", 24, 8, 0 }, { "s9", 25, 8, 0 }, { "s10", 26, 8, 0 }, { "s11", 27, 8, 0 },
	{ "t3", 28, 8, 0 }, { "t4", 29, 8, 0 }, { "t5", 30, 8, 0 }, { "t6", 31, 8, 0 },
};

/* Byte offsets in struct pt_regs: the registers, and the program counter (POWER: nip; s390x: psw.addr; RISC-V: epc). */
static const uint16_t pt_regs_ppc64[] = {
	0, 8, 16, 24, 32, 40, 48, 56, 64, 72, 80, 88, 96, 104, 112, 120,
	128, 136, 144, 152, 160, 168, 176, 184, 192, 200, 208, 216, 224, 232, 240, 248, 256,
};
static const uint16_t pt_regs_s390x[] = {
	24, 32, 40, 48, 56, 64, 72, 80, 88, 96, 104, 112, 120, 128, 136, 144, 16,
};
/* x0 has no place: it is a constant. */
static const uint16_t pt_regs_riscv64[] = {
	0, 8, 16, 24, 32, 40, 48, 56, 64, 72, 80, 88, 96, 104, 112, 120,
	128, 136, 144, 152, 160, 168, 176, 184, 192, 200, 208, 216, 224, 232, 240, 248, 0,
};
/* clang-format on */

/* Takes the name of a register. On POWER, the name may be a number alone. Returns NULL if there is none. */
static const struct cpu_register *others_take_register(const struct cpu *cpu, const char **text)
{
	const char *name = *text + (**text == '%' && cpu->machine != EM_RISCV);
	size_t n = operand_word_length(name);
	const struct cpu_register *reg;
	char numbered[8];

	if (cpu->machine == EM_S390 && name == *text)
		return NULL;
	reg = cpu_register_find(cpu, name, n);
	if (!reg && cpu->machine == EM_PPC64 && n && n < 3 && isdigit((unsigned char)*name)) {
		snprintf(numbered, sizeof(numbered), "r%.*s", (int)n, name);
		reg = cpu_register_find(cpu, numbered, n + 1);
	}
	if (reg && reg->number == cpu->pc)
		return NULL;
	if (reg)
		*text = name + n;
	return reg;
}

/* Returns the number of a register that is part of an address. -1: it adds nothing. */
static int8_t others_address_part(const struct cpu *cpu, const struct cpu_register *reg)
{
	return reg->number || cpu->machine == EM_RISCV ? reg->number : -1;
}

/* Takes "(BASE)" or, on s390x, "(INDEX,BASE)". */
static const char *others_take_address(const struct cpu *cpu, const char **text, struct operand *operand)
{
	const struct cpu_register *base, *index = NULL;

	++*text;
	operand_skip_spaces(text);
	base = others_take_register(cpu, text);
	operand_skip_spaces(text);
	if (base && **text == ',' && cpu->machine == EM_S390) {
		++*text;
		operand_skip_spaces(text);
		index = base;
		base = others_take_register(cpu, text);
		operand_skip_spaces(text);
	}
	if (!base)
		return NOT_A_REGISTER;
	if (**text != ')')
		return "its address is not terminated";
	++*text;
	operand->kind = OPERAND_MEM;
	operand->reg = others_address_part(cpu, base);
	operand->index = index ? others_address_part(cpu, index) : -1;
	if (cpu->machine == EM_RISCV && !base->number)
		return "its base is the register zero";
	return operand->reg < 0 && operand->index < 0 ? "its address has no register" : NULL;
}

static const char *others_parse_register(const struct cpu *cpu, const struct cpu_register *reg, struct operand *operand)
{
	if (cpu->machine == EM_RISCV && !reg->number) {
		operand->kind = OPERAND_CONST;
		return NULL;
	}
	operand->kind = OPERAND_REG;
	operand->reg = reg->number;
	if (!operand->size)
		operand->size = (int8_t)reg->size;
	return NULL;
}

/* "9,10" of POWER: memory at the sum of two registers. */
static const char *ppc64_parse_indexed(const struct cpu *cpu, const struct cpu_register *base, const char *text,
                                       struct operand *operand)
{
	const struct cpu_register *index;

	text++;
	operand_skip_spaces(&text);
	index = others_take_register(cpu, &text);
	if (!index || *text)
		return "its address is not BASE,INDEX";
	operand->kind = OPERAND_MEM;
	operand->reg = others_address_part(cpu, base);
	operand->index = index->number;
	return NULL;
}

/* "%lo(g+4)(a5)" of RISC-V: the register has the rest of the symbol's address, so the operand is the symbol's memory. */
static const char *riscv64_parse_low(const struct cpu *cpu, const struct pp_image *image, const char *text,
                                     struct operand *operand, char why[OPERAND_WHY])
{
	struct operand_sum sum;
	const char *wrong;

	if (strncmp(text, "%lo(", 4))
		return strncmp(text, "%tprel", 6) ? "its relocation is not known" : "it is thread-local";
	text += 4;
	wrong = operand_take_sum(image, &text, &sum, why);
	if (wrong)
		return wrong;
	if (!sum.has_symbol || *text++ != ')' || *text != '(')
		return "its address is not %lo(SYMBOL)(BASE)";
	wrong = others_take_address(cpu, &text, operand);
	if (wrong)
		return wrong;
	operand_set_sum(&sum, operand);
	operand->reg = -1;
	return *text ? "something follows the address" : NULL;
}

/* A number, or a sum with a symbol, alone or before an address. */
static const char *others_parse_sum(const struct cpu *cpu, const struct pp_image *image, const char *text,
                                    struct operand *operand, char why[OPERAND_WHY])
{
	struct operand_sum sum = { 0 };
	const char *wrong = *text == '(' ? NULL : operand_take_sum(image, &text, &sum, why);

	if (wrong)
		return wrong;
	operand->kind = sum.has_symbol ? OPERAND_STATIC : OPERAND_CONST;
	if (*text == '(') {
		if (sum.has_symbol)
			return "it adds a register to a symbol";
		wrong = others_take_address(cpu, &text, operand);
		if (wrong)
			return wrong;
	} else if (cpu->machine == EM_PPC64 && !sum.has_symbol) {
		return "it is neither a register nor a constant, which begins with i";
	}
	operand->value = (int64_t)(sum.symbol + (uint64_t)sum.number);
	return *text ? "something follows the operand" : NULL;
}

static const char *others_parse(const struct cpu *cpu, const struct pp_image *image, const char *text,
                                struct operand *operand, char why[OPERAND_WHY])
{
	const struct cpu_register *reg;
	const char *rest = text;
	struct operand_sum sum;

	if (!*text)
		return "nothing follows its size";
	if (cpu->machine == EM_PPC64 && *text == 'i' && (isdigit((unsigned char)text[1]) || text[1] == '-')) {
		const char *wrong;

		text++;
		wrong = operand_take_sum(image, &text, &sum, why);
		operand->kind = OPERAND_CONST;
		operand->value = sum.number;
		return wrong ? wrong : *text ? "something follows the constant" : NULL;
	}
	reg = others_take_register(cpu, &rest);
	if (reg && !*rest)
		return others_parse_register(cpu, reg, operand);
	if (reg && cpu->machine == EM_PPC64 && *rest == ',')
		return ppc64_parse_indexed(cpu, reg, rest, operand);
	if (*text == '%')
		return cpu->machine == EM_RISCV ? riscv64_parse_low(cpu, image, text, operand, why) : NOT_A_REGISTER;
	return others_parse_sum(cpu, image, text, operand, why);
}

#define COUNT(array) (sizeof(array) / sizeof(*(array)))
#define OTHER(name, elf_machine, pc_number)            \
	const struct cpu cpu_##name = {                \
		.machine = elf_machine,                \
		.registers = registers_##name,         \
		.nregisters = COUNT(registers_##name), \
		.pt_regs = pt_regs_##name,             \
		.numbers = COUNT(pt_regs_##name),      \
		.pc = pc_number,                       \
		.parse = others_parse,                 \
	}

OTHER(ppc64, EM_PPC64, 32);
OTHER(s390x, EM_S390, 16);
OTHER(riscv64, EM_RISCV, 32);
