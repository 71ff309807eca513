/* SPDX-License-Identifier: MIT */
/*
 * Operands of 32-bit ARM, as gcc and clang print them:
 *
 *     #7  #-7  7                               a constant
 *     r0  sp  lr  ip  fp                       a register
 *     [sp]  [r0, #8]  [r3, #-4]                memory
 *     [r0, r1]  [r0, r1, lsl #2]               with an index
 *     g  g+8                                   memory of the image itself
 */
#include "sdt/image.h"
#include "sdt/operand-text.h"

#include <ctype.h>
#include <elf.h>
#include <string.h>

#define PC 15

/* clang-format off */
static const struct cpu_register registers_arm[] = {
	{ "r0", 0, 4, 0 }, { "r1", 1, 4, 0 }, { "r2", 2, 4, 0 }, { "r3", 3, 4, 0 }, { "r4", 4, 4, 0 }, { "r5", 5, 4, 0 },
	{ "r6", 6, 4, 0 }, { "r7", 7, 4, 0 }, { "r8", 8, 4, 0 }, { "r9", 9, 4, 0 }, { "r10", 10, 4, 0 }, { "r11", 11, 4, 0 },
	{ "r12", 12, 4, 0 }, { "r13", 13, 4, 0 }, { "r14", 14, 4, 0 },
	{ "sb", 9, 4, 0 }, { "sl", 10, 4, 0 }, { "fp", 11, 4, 0 }, { "ip", 12, 4, 0 }, { "sp", 13, 4, 0 }, { "lr", 14, 4, 0 },
};
/* clang-format on */

/* Byte offsets in struct pt_regs of a 32-bit kernel: r0 to r15. */
static const uint16_t pt_regs_arm[] = { 0, 4, 8, 12, 16, 20, 24, 28, 32, 36, 40, 44, 48, 52, 56, 60 };

/* Takes "r1" or "r1, lsl #2". */
static const char *arm_take_index(const struct cpu *cpu, const char **text, struct operand *operand)
{
	const struct cpu_register *index = operand_take_register(cpu, text);

	if (!index)
		return "its index register cannot be added";
	operand->index = index->number;
	operand_skip_spaces(text);
	if (**text != ',')
		return NULL;
	++*text;
	operand_skip_spaces(text);
	if (strncmp(*text, "lsl", 3))
		return "its index is not shifted by lsl";
	*text += 3;
	operand_skip_spaces(text);
	*text += **text == '#';
	if (**text < '0' || **text > '3' || isalnum((unsigned char)(*text)[1]))
		return "its index is shifted too far";
	operand->scale = (uint8_t)(1 << (**text - '0'));
	++*text;
	return NULL;
}

static const char *arm_parse_memory(const struct cpu *cpu, const struct pp_image *image, const char *text,
                                    struct operand *operand, char why[OPERAND_WHY])
{
	const struct cpu_register *base;
	struct operand_sum sum = { 0 };
	const char *wrong = NULL;

	text++;
	operand_skip_spaces(&text);
	base = operand_take_register(cpu, &text);
	if (!base)
		return "its address is not [BASE, ...]";
	operand_skip_spaces(&text);
	if (*text == ',') {
		text++;
		operand_skip_spaces(&text);
		if (isalpha((unsigned char)*text)) {
			wrong = arm_take_index(cpu, &text, operand);
		} else {
			text += *text == '#';
			wrong = operand_take_sum(image, &text, &sum, why);
		}
		operand_skip_spaces(&text);
	}
	if (wrong)
		return wrong;
	if (*text != ']')
		return "its address is not terminated";
	if (sum.has_symbol)
		return "it adds a register to a symbol";
	operand->kind = OPERAND_MEM;
	operand->reg = base->number;
	operand->value = sum.number;
	return text[1] ? "something follows the address" : NULL;
}

static const char *arm_parse(const struct cpu *cpu, const struct pp_image *image, const char *text,
                             struct operand *operand, char why[OPERAND_WHY])
{
	const struct cpu_register *reg;
	const char *wrong, *rest = text;
	struct operand_sum sum;

	if (!*text)
		return "nothing follows its size";
	if (*text == '[')
		return arm_parse_memory(cpu, image, text, operand, why);
	reg = operand_take_register(cpu, &rest);
	if (reg && !*rest)
		return operand_set_register(reg, operand);
	text += *text == '#';
	wrong = operand_take_sum(image, &text, &sum, why);
	if (wrong)
		return wrong;
	operand_set_sum(&sum, operand);
	return *text ? "something follows the number" : NULL;
}

const struct cpu cpu_arm = {
	.machine = EM_ARM,
	.registers = registers_arm,
	.nregisters = sizeof(registers_arm) / sizeof(*registers_arm),
	.pt_regs = pt_regs_arm,
	.numbers = sizeof(pt_regs_arm) / sizeof(*pt_regs_arm),
	.pc = PC,
	.parse = arm_parse,
};
