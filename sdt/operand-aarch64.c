/* SPDX-License-Identifier: MIT */
/*
 * Operands of aarch64, as gcc and clang print them:
 *
 *     7  -7  #0x10                            a constant
 *     x0  w0  sp  xzr                         a register, or its lower half; gcc prints x0 for both
 *     [sp]  [x0, 8]  [x0, #-8]                memory
 *     [x0, x1]  [x0, x1, lsl 3]               with an index
 *     [x0, w1, sxtw 2]  [x0, w1, uxtw]        of 32 bits
 *     [x0, #:lo12:g+8]  g+8                   memory of the image itself
 *
 * With :lo12: the register holds the symbol's page, so the operand is the symbol's address. Addresses that change their
 * register ([x0, 8]!  [x0], 8) are not operands. The zero register is a constant.
 */
#include "sdt/image.h"
#include "sdt/operand-text.h"
#include "sdt/operand.h"

#include <ctype.h>
#include <elf.h>
#include <stdlib.h>
#include <string.h>

#define SP 31
#define PC 32

/* clang-format off */
#define BOTH(n) { "x" #n, n, 8, 0 }, { "w" #n, n, 4, 0 }

static const struct cpu_register registers_aarch64[] = {
	BOTH(0), BOTH(1), BOTH(2), BOTH(3), BOTH(4), BOTH(5), BOTH(6), BOTH(7),
	BOTH(8), BOTH(9), BOTH(10), BOTH(11), BOTH(12), BOTH(13), BOTH(14), BOTH(15),
	BOTH(16), BOTH(17), BOTH(18), BOTH(19), BOTH(20), BOTH(21), BOTH(22), BOTH(23),
	BOTH(24), BOTH(25), BOTH(26), BOTH(27), BOTH(28), BOTH(29), BOTH(30),
	{ "fp", 29, 8, 0 }, { "lr", 30, 8, 0 }, { "sp", SP, 8, 0 }, { "wsp", SP, 4, 0 }, { "pc", PC, 8, 0 },
};

/* Byte offsets in struct pt_regs: x0 to x30, sp, pc. */
static const uint16_t pt_regs_aarch64[] = {
	0, 8, 16, 24, 32, 40, 48, 56, 64, 72, 80, 88, 96, 104, 112, 120,
	128, 136, 144, 152, 160, 168, 176, 184, 192, 200, 208, 216, 224, 232, 240,
	248,
	256,
};
/* clang-format on */

static bool arm64_is_vector_register(const char *text)
{
	size_t n = operand_word_length(text);

	return n >= 2 && n <= 3 && strchr("bhsdqvz", *text) && isdigit((unsigned char)text[1]) &&
	       (n == 2 || isdigit((unsigned char)text[2]));
}

/* Takes ":lo12:g+8". */
static const char *arm64_take_lo12(const struct pp_image *image, const char **text, struct operand *operand,
                                   char why[OPERAND_WHY])
{
	const char *wrong;
	struct operand_sum sum;

	if (!strncmp(*text, ":got", 4))
		return "it is a GOT entry, which only the linker knows";
	if (strncmp(*text, ":lo12:", 6))
		return strstr(*text, "tprel") || strstr(*text, "tls") ? "it is thread-local"
		                                                      : "its relocation is not known";
	*text += 6;
	wrong = operand_take_sum(image, text, &sum, why);
	if (wrong)
		return wrong;
	if (!sum.has_symbol)
		return "it has no symbol";
	operand_set_sum(&sum, operand);
	operand->reg = -1;
	return NULL;
}

static const char *arm64_take_offset(const struct pp_image *image, const char **text, struct operand *operand,
                                     char why[OPERAND_WHY])
{
	const char *wrong;
	struct operand_sum sum;

	*text += **text == '#';
	if (**text == ':')
		return arm64_take_lo12(image, text, operand, why);
	wrong = operand_take_sum(image, text, &sum, why);
	if (!wrong && sum.has_symbol)
		return "it adds a register to a symbol";
	operand->value = sum.number;
	return wrong;
}

/* Takes the extension of an index: "lsl 3", "sxtw 2", "uxtw". */
static const char *arm64_take_extension(const char **text, struct operand *operand, bool is_half)
{
	static const struct {
		const char *name;
		int8_t size;
	} some[] = { { "lsl", 0 }, { "sxtx", 0 }, { "uxtx", 0 }, { "sxtw", -4 }, { "uxtw", 4 } };
	size_t n = operand_word_length(*text), i = 0;

	while (i < sizeof(some) / sizeof(*some) && (strlen(some[i].name) != n || memcmp(some[i].name, *text, n)))
		i++;
	if (i == sizeof(some) / sizeof(*some) || is_half != (some[i].size != 0))
		return "its index has an invalid extension";
	*text += n;
	operand->index_size = some[i].size;
	operand_skip_spaces(text);
	*text += **text == '#';
	if (isdigit((unsigned char)**text)) {
		if (**text > '4' || isalnum((unsigned char)(*text)[1]))
			return "its index is shifted too far";
		operand->scale = (uint8_t)(1 << (**text - '0'));
		++*text;
	} else if (!some[i].size && *some[i].name == 'l') {
		return "its index has no shift amount";
	}
	return NULL;
}

static const char *arm64_take_index(const struct cpu *cpu, const char **text, struct operand *operand)
{
	const struct cpu_register *index = operand_take_register(cpu, text);

	if (!index || index->number >= SP)
		return "its index register cannot be added";
	operand->index = index->number;
	operand_skip_spaces(text);
	if (**text == ',') {
		++*text;
		operand_skip_spaces(text);
		return arm64_take_extension(text, operand, index->size == 4);
	}
	return index->size == 4 ? "its address is in part of a register" : NULL;
}

static const char *arm64_parse_memory(const struct cpu *cpu, const struct pp_image *image, const char *text,
                                      struct operand *operand, char why[OPERAND_WHY])
{
	const struct cpu_register *base;
	const char *wrong = NULL;

	text++;
	operand_skip_spaces(&text);
	base = operand_take_register(cpu, &text);
	if (!base)
		return "its address is not [BASE, ...]";
	if (base->size != 8 || base->number == PC)
		return "its address is not in a whole register";
	operand->kind = OPERAND_MEM;
	operand->reg = base->number;
	operand_skip_spaces(&text);
	if (*text == ',') {
		text++;
		operand_skip_spaces(&text);
		if (isalpha((unsigned char)*text))
			wrong = arm64_take_index(cpu, &text, operand);
		else
			wrong = arm64_take_offset(image, &text, operand, why);
		operand_skip_spaces(&text);
	}
	if (wrong)
		return wrong;
	if (*text != ']')
		return "its address is not terminated";
	return text[1] ? "something follows the address" : NULL;
}

static const char *arm64_parse(const struct cpu *cpu, const struct pp_image *image, const char *text,
                               struct operand *operand, char why[OPERAND_WHY])
{
	const struct cpu_register *reg;
	const char *wrong, *rest = text;
	struct operand_sum sum;

	if (!*text)
		return "nothing follows its size";
	if (*text == '[')
		return arm64_parse_memory(cpu, image, text, operand, why);
	reg = operand_take_register(cpu, &rest);
	if (reg)
		return *rest ? "something follows the register" : operand_set_register(reg, operand);
	operand->kind = OPERAND_CONST;
	if (!strcmp(text, "xzr") || !strcmp(text, "wzr"))
		return NULL;
	if (*text == ':')
		return "its base register is missing";
	text += *text == '#';
	wrong = operand_take_sum(image, &text, &sum, why);
	if (wrong)
		return arm64_is_vector_register(text) ? "vector registers are not available to probes" : wrong;
	if (*text)
		return "something follows the number";
	operand_set_sum(&sum, operand);
	return NULL;
}

const struct cpu cpu_aarch64 = {
	.machine = EM_AARCH64,
	.registers = registers_aarch64,
	.nregisters = sizeof(registers_aarch64) / sizeof(*registers_aarch64),
	.pt_regs = pt_regs_aarch64,
	.numbers = sizeof(pt_regs_aarch64) / sizeof(*pt_regs_aarch64),
	.pc = PC,
	.parse = arm64_parse,
};
