/* SPDX-License-Identifier: MIT */
#include "sdt/operand.h"

#include "base/error.h"
#include "sdt/image.h"

#include <elf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OPERAND_LONGEST 4096

/* Operands are separated by spaces outside of parentheses and brackets. */
const char *operands_next(const char *text, size_t *length)
{
	const char *end;
	int depth = 0;

	while (*text == ' ')
		text++;
	for (end = text; *end && (*end != ' ' || depth > 0); end++) {
		depth += *end == '(' || *end == '[';
		depth -= *end == ')' || *end == ']';
	}
	*length = (size_t)(end - text);
	return *text ? text : NULL;
}

/* Takes SIZE@, which very old headers omit. Returns NULL or the reason why it is invalid. */
static const char *operand_take_size(const char **text, struct operand *operand)
{
	const char *c = *text;
	unsigned size = 0;

	c += *c == '-';
	if (*c < '0' || *c > '9')
		return NULL;
	for (; *c >= '0' && *c <= '9'; c++)
		size = size < 1000 ? size * 10 + (unsigned)(*c - '0') : size;
	operand->is_float = *c == 'f' && c[1] == '@';
	c += operand->is_float;
	if (*c != '@') {
		operand->is_float = false;
		return NULL;
	}
	if (size != 1 && size != 2 && size != 4 && size != 8)
		return "its size is not 1, 2, 4 or 8 bytes";
	operand->size = (int8_t)size;
	operand->is_signed = **text == '-';
	*text = c + 1;
	return NULL;
}

static int64_t operand_truncate(int64_t value, unsigned size, bool is_signed)
{
	unsigned rest = 64 - 8 * size;

	if (is_signed)
		return (int64_t)((uint64_t)value << rest) >> rest;
	return (int64_t)((uint64_t)value << rest >> rest);
}

static const char *operand_parse(const struct cpu *cpu, const struct pp_image *image, const char *text,
                                 struct operand *operand, char why[OPERAND_WHY])
{
	const char *wrong;

	*operand = (struct operand){ .reg = -1, .index = -1, .scale = 1 };
	wrong = operand_take_size(&text, operand);
	if (!wrong)
		wrong = cpu->parse(cpu, image, text, operand, why);
	if (wrong)
		return wrong;
	if (!operand->size)
		operand->size = image->is_64 ? 8 : 4;
	if (operand->kind == OPERAND_CONST)
		operand->value = operand_truncate(operand->value, (unsigned)operand->size, operand->is_signed);
	return NULL;
}

int operands_read(const struct pp_image *image, const char *text, struct operand operands[OPERANDS_MAX], size_t *nbad)
{
	const struct cpu *cpu = cpu_of(image->machine, image->is_64);
	char copy[OPERAND_LONGEST], why[OPERAND_WHY], first[OPERAND_WHY + 512];
	const char *wrong;
	size_t length;
	int n = 0;

	*nbad = 0;
	text = operands_next(text, &length);
	if (text && !cpu)
		return error_set(ENOTSUP, "the operands of '%s' are of an unsupported CPU (ELF machine %d)",
		                 image->path, image->machine);
	for (; text; text = operands_next(text + length, &length)) {
		if (n == OPERANDS_MAX)
			return error_set(EINVAL, "a probe of '%s' has more than %d operands", image->path,
			                 OPERANDS_MAX);
		if (length >= sizeof(copy))
			return error_set(EINVAL, "an operand of '%s' is longer than %d bytes", image->path,
			                 OPERAND_LONGEST - 1);
		memcpy(copy, text, length);
		copy[length] = '\0';
		wrong = operand_parse(cpu, image, copy, &operands[n], why);
		if (wrong) {
			operands[n] =
				(struct operand){ .kind = OPERAND_NONE, .size = 8, .reg = -1, .index = -1, .scale = 1 };
			if (!(*nbad)++)
				snprintf(first, sizeof(first), "operand \"%.200s\" of '%.255s' cannot be resolved: %s",
				         copy, image->path, wrong);
		}
		n++;
	}
	if (*nbad)
		error_set(EINVAL, "%s", first);
	return n;
}

int operands_parse(const struct pp_image *image, const char *text, struct operand operands[OPERANDS_MAX])
{
	size_t nbad;
	int n = operands_read(image, text, operands, &nbad);

	return n >= 0 && nbad ? -EINVAL : n;
}

const struct cpu *cpu_of(int machine, bool is_64)
{
	switch (machine) {
	case EM_X86_64: return &cpu_x86_64;
	case EM_386: return is_64 ? NULL : &cpu_i386;
	case EM_AARCH64: return is_64 ? &cpu_aarch64 : NULL;
	case EM_ARM: return is_64 ? NULL : &cpu_arm;
	case EM_PPC64: return is_64 ? &cpu_ppc64 : NULL;
	case EM_S390: return is_64 ? &cpu_s390x : NULL;
	case EM_RISCV: return is_64 ? &cpu_riscv64 : NULL;
	default: return NULL;
	}
}
