/* SPDX-License-Identifier: MIT */
/* Register names, and sums of numbers and symbols, which all CPUs write alike. */
#include "sdt/operand-text.h"

#include "sdt/image.h"

#include <ctype.h>
#include <elf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct cpu_register *cpu_register_find(const struct cpu *cpu, const char *name, size_t length)
{
	for (size_t i = 0; i < cpu->nregisters; i++)
		if (strlen(cpu->registers[i].name) == length && !memcmp(cpu->registers[i].name, name, length))
			return &cpu->registers[i];
	return NULL;
}

const struct cpu_register *operand_take_register(const struct cpu *cpu, const char **text)
{
	size_t n = operand_word_length(*text);
	const struct cpu_register *reg = cpu_register_find(cpu, *text, n);

	if (reg)
		*text += n;
	return reg;
}

const char *operand_set_register(const struct cpu_register *reg, struct operand *operand)
{
	operand->kind = OPERAND_REG;
	operand->reg = reg->number;
	if (!operand->size || operand->size > reg->size)
		operand->size = (int8_t)reg->size;
	return NULL;
}

size_t operand_word_length(const char *text)
{
	size_t n = 0;

	while (isalnum((unsigned char)text[n]))
		n++;
	return n;
}

static bool operand_is_symbol_char(char c, bool first)
{
	return (unsigned char)c >= 0x80 || c == '_' || c == '.' || c == '$' || isalpha((unsigned char)c) ||
	       (!first && isdigit((unsigned char)c));
}

static const char *operand_take_symbol(const struct pp_image *image, const char **text, struct operand_sum *sum,
                                       char why[OPERAND_WHY])
{
	const char *end = *text;
	uint64_t symbol, got = 0;
	bool is_gotoff;
	char name[1024];
	int err;

	while (operand_is_symbol_char(*end, end == *text))
		end++;
	is_gotoff = image->machine == EM_386 && !strncmp(end, "@GOTOFF", 7) && !isalnum((unsigned char)end[7]);
	if (*end == '@' && !is_gotoff) {
		snprintf(why, OPERAND_WHY, "%.*s is %s", (int)(end - *text) < 200 ? (int)(end - *text) : 200, *text,
		         !strncmp(end, "@GOT", 4) ? "a GOT entry, which only the linker knows"
		         : strstr(end, "tpoff") || strstr(end, "TPOFF") || strstr(end, "tls") || strstr(end, "TLS")
		                 ? "thread-local"
		                 : "of a relocation that is not known");
		return why;
	}
	if (sum->has_symbol)
		return "it adds two symbols";
	if ((size_t)(end - *text) >= sizeof(name))
		return "its symbol is too long";
	memcpy(name, *text, (size_t)(end - *text));
	name[end - *text] = '\0';
	err = is_gotoff ? image_symbol(image, "_GLOBAL_OFFSET_TABLE_", &got) : 0;
	err = err ? err : image_symbol(image, name, &symbol);
	if (err) {
		snprintf(why, OPERAND_WHY, "%s",
		         err == -ENOENT && *name == '.' ? "a local label, which no symbol table has" : pp_error());
		return why;
	}
	*text = end;
	if (is_gotoff) { /* the distance of the symbol from the global offset table, to which a register points */
		*text += strlen("@GOTOFF");
		sum->number = (int64_t)((uint64_t)sum->number + symbol - got);
		return NULL;
	}
	sum->has_symbol = true;
	sum->symbol = symbol;
	return NULL;
}

const char *operand_take_sum(const struct pp_image *image, const char **text, struct operand_sum *sum,
                             char why[OPERAND_WHY])
{
	unsigned long long number;
	const char *wrong;
	bool minus;
	char *end;

	*sum = (struct operand_sum){ 0 };
	do {
		for (minus = false; **text == '-' || **text == '+'; ++*text)
			minus ^= **text == '-';
		if (isdigit((unsigned char)**text)) {
			errno = 0;
			number = strtoull(*text, &end, 0);
			if (errno || (minus && number > (uint64_t)INT64_MAX + 1))
				return "a number in it has more than 64 bits";
			if (operand_is_symbol_char(*end, true))
				return "a number in it is followed by a letter";
			*text = end;
			sum->number = (int64_t)((uint64_t)sum->number + (minus ? -(uint64_t)number : (uint64_t)number));
		} else if (operand_is_symbol_char(**text, true) && !minus) {
			wrong = operand_take_symbol(image, text, sum, why);
			if (wrong)
				return wrong;
		} else {
			return "a number or a symbol is missing";
		}
	} while (**text == '+' || **text == '-');
	return NULL;
}

void operand_set_sum(const struct operand_sum *sum, struct operand *operand)
{
	operand->kind = sum->has_symbol ? OPERAND_STATIC : OPERAND_CONST;
	operand->value = (int64_t)(sum->symbol + (uint64_t)sum->number);
}

void operand_skip_spaces(const char **text)
{
	while (**text == ' ')
		++*text;
}
