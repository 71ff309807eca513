/* SPDX-License-Identifier: MIT */
/*
 * Operands of x86-64 and i386, in the AT&T syntax that gcc and clang print:
 *
 *     $7  $-7  $0x10                       a constant
 *     %rax  %eax  %ax  %al  %ah  %r8b      a register, or part of one
 *     8(%rdx,%rdi,4)  -12+3+1(%rbp)        memory
 *     g(%rip)  8+g(%rip)  g+8(%rip)  g     memory of the image itself
 *     g@GOTOFF(%ebx)                       the same in position-independent code of i386
 *
 * A symbol is an address as linked. With %rip or alone it can be relocated. As a constant or next to a register it is
 * right only if the program is linked to a fixed address.
 *
 * These cannot be resolved after linking: thread-local variables (%fs:, @tpoff), GOT entries (@GOTPCREL), local labels
 * that no symbol table has (.LC1), and vector registers, which the kernel does not keep for probes.
 */
#include "sdt/image.h"
#include "sdt/operand-text.h"
#include "sdt/operand.h"

#include <ctype.h>
#include <elf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RSP 4
#define RIP 16

/* clang-format off */
/* Registers with a high byte; with a 16-bit part only on i386; the low bytes that x86-64 added; the registers it added. */
#define ABCD(x, n) { "e" x "x", n, 4, 0 }, { x "x", n, 2, 0 }, { x "l", n, 1, 0 }, { x "h", n, 1, 8 }
#define INDEX(x, n) { "e" x, n, 4, 0 }, { x, n, 2, 0 }
#define INDEX_64(x, n) { "r" x, n, 8, 0 }, { x "l", n, 1, 0 }
#define NEW(x, n) { x, n, 8, 0 }, { x "d", n, 4, 0 }, { x "w", n, 2, 0 }, { x "b", n, 1, 0 }
#define OLD_REGISTERS \
	ABCD("a", 0), ABCD("c", 1), ABCD("d", 2), ABCD("b", 3), \
	INDEX("sp", 4), INDEX("bp", 5), INDEX("si", 6), INDEX("di", 7), { "eip", RIP, 4, 0 }

static const struct cpu_register registers_i386[] = { OLD_REGISTERS };

static const struct cpu_register registers_x86_64[] = {
	OLD_REGISTERS,
	{ "rax", 0, 8, 0 }, { "rcx", 1, 8, 0 }, { "rdx", 2, 8, 0 }, { "rbx", 3, 8, 0 },
	INDEX_64("sp", 4), INDEX_64("bp", 5), INDEX_64("si", 6), INDEX_64("di", 7),
	NEW("r8", 8), NEW("r9", 9), NEW("r10", 10), NEW("r11", 11),
	NEW("r12", 12), NEW("r13", 13), NEW("r14", 14), NEW("r15", 15),
	{ "rip", RIP, 8, 0 },
};
/* clang-format on */

/* Byte offsets in struct pt_regs of a 64-bit kernel, which 32-bit programs have too. */
static const uint16_t pt_regs[] = {
	80,  88, 96, 40, 152, 32, 104, 112, /* ax cx dx bx sp bp si di */
	72,  64, 56, 48, 24,  16, 8,   0,   /* r8 to r15 */
	128,                                /* ip */
};

/* Takes "%REG". */
static const char *x86_take_register(const struct cpu *cpu, const char **text, const struct cpu_register **reg)
{
	size_t n = operand_word_length(*text + 1);

	*reg = **text == '%' ? cpu_register_find(cpu, *text + 1, n) : NULL;
	if (*reg) {
		*text += 1 + n;
		return NULL;
	}
	if (**text == '%' && (strchr("xyz", (*text)[1]) && !strncmp(*text + 2, "mm", 2)))
		return "vector registers are not available to probes";
	return "its register is not known or not available to probes";
}

/* Takes "(BASE,INDEX,SCALE)", any part of which may be missing. */
static const char *x86_take_address(const struct cpu *cpu, const char **text, struct operand *operand)
{
	const struct cpu_register *base = NULL, *index = NULL;
	unsigned long scale;
	const char *wrong;
	char *end;

	++*text;
	operand_skip_spaces(text);
	if (**text == '%') {
		wrong = x86_take_register(cpu, text, &base);
		if (wrong)
			return wrong;
	}
	operand_skip_spaces(text);
	if (**text == ',') {
		++*text;
		operand_skip_spaces(text);
		wrong = x86_take_register(cpu, text, &index);
		if (wrong)
			return wrong;
		operand_skip_spaces(text);
	}
	if (index && **text == ',') {
		++*text;
		operand_skip_spaces(text);
		scale = isdigit((unsigned char)**text) ? strtoul(*text, &end, 10) : 0;
		if (scale != 1 && scale != 2 && scale != 4 && scale != 8)
			return "its scale is not 1, 2, 4 or 8";
		operand->scale = (uint8_t)scale;
		*text = end;
		operand_skip_spaces(text);
	}
	if (**text != ')' || (!base && !index))
		return "its address is not (BASE,INDEX,SCALE)";
	++*text;
	for (int i = 0; i < 2; i++) {
		const struct cpu_register *reg = i ? index : base;

		if (reg && (reg->size < 4 || (reg->size == 4) != (cpu->machine == EM_386)))
			return "its address is in part of a register";
	}
	if (index && (index->number == RSP || index->number == RIP || (base && base->number == RIP)))
		return "its address uses registers that cannot be added";
	operand->reg = base ? base->number : -1;
	operand->index = index ? index->number : -1;
	return NULL;
}

static const char *x86_parse_constant(const struct pp_image *image, const char *text, struct operand *operand,
                                      char why[OPERAND_WHY])
{
	const char *wrong;
	struct operand_sum sum;

	wrong = operand_take_sum(image, &text, &sum, why);
	if (wrong)
		return wrong;
	if (*text)
		return "something follows the constant";
	if (sum.has_symbol && image->type != ET_EXEC)
		return "it is an address that is known only after the file is loaded";
	operand->kind = OPERAND_CONST;
	operand->value = (int64_t)(sum.symbol + (uint64_t)sum.number);
	return NULL;
}

static const char *x86_parse_register(const struct cpu *cpu, const char *text, struct operand *operand)
{
	const struct cpu_register *reg;
	const char *wrong;

	if (!strncmp(text, "%fs:", 4) || !strncmp(text, "%gs:", 4))
		return "it is thread-local";
	wrong = x86_take_register(cpu, &text, &reg);
	if (wrong)
		return wrong;
	if (*text)
		return "something follows the register";
	operand->kind = OPERAND_REG;
	operand->reg = reg->number;
	operand->shift = reg->shift;
	if (!operand->size || operand->size > reg->size)
		operand->size = (int8_t)reg->size;
	return NULL;
}

static const char *x86_parse_memory(const struct cpu *cpu, const struct pp_image *image, const char *text,
                                    struct operand *operand, char why[OPERAND_WHY])
{
	struct operand_sum sum = { 0 };
	const char *wrong = NULL;

	if (!*text)
		return "nothing follows its size";
	if (*text != '(')
		wrong = operand_take_sum(image, &text, &sum, why);
	if (!wrong && *text == '(')
		wrong = x86_take_address(cpu, &text, operand);
	if (wrong)
		return wrong;
	if (*text)
		return "something follows the address";
	operand->kind = OPERAND_MEM;
	operand->value = (int64_t)(sum.symbol + (uint64_t)sum.number);
	if (sum.has_symbol && (operand->reg == RIP || (operand->reg < 0 && operand->index < 0))) {
		operand->kind = OPERAND_STATIC;
		operand->reg = -1;
	} else if (operand->reg == RIP) {
		return "it is relative to the instruction pointer without a symbol";
	} else if (sum.has_symbol && image->type != ET_EXEC) {
		return "it adds a register to an address that is known only after the file is loaded";
	}
	return NULL;
}

static const char *x86_parse(const struct cpu *cpu, const struct pp_image *image, const char *text,
                             struct operand *operand, char why[OPERAND_WHY])
{
	switch (*text) {
	case '$': return x86_parse_constant(image, text + 1, operand, why);
	case '%': return x86_parse_register(cpu, text, operand);
	default: return x86_parse_memory(cpu, image, text, operand, why);
	}
}

#define COUNT(array) (sizeof(array) / sizeof(*(array)))

const struct cpu cpu_x86_64 = {
	.machine = EM_X86_64,
	.registers = registers_x86_64,
	.nregisters = COUNT(registers_x86_64),
	.pt_regs = pt_regs,
	.numbers = COUNT(pt_regs),
	.pc = RIP,
	.parse = x86_parse,
};

const struct cpu cpu_i386 = {
	.machine = EM_386,
	.registers = registers_i386,
	.nregisters = COUNT(registers_i386),
	.pt_regs = pt_regs,
	.numbers = COUNT(pt_regs),
	.pc = RIP,
	.parse = x86_parse,
};
