/* SPDX-License-Identifier: MIT */
/*
 * What the operands of all CPUs are spelt with: names of registers, and sums of
 * numbers and symbols, as the compiler's offset and the template's meet in one
 * text. Where a function takes something, *text is behind it afterwards; it
 * returns NULL, or why no reader can resolve what is there.
 */
#ifndef SDT_OPERAND_TEXT_H
#define SDT_OPERAND_TEXT_H

#include "sdt/operand.h"

const struct cpu_register *cpu_register_find(const struct cpu *cpu, const char *name, size_t length);

/* How many letters and digits there are. */
size_t operand_word(const char *text);
void operand_spaces(const char **text);

struct sum {
	int64_t number;
	uint64_t symbol; /* its address */
	bool has_symbol;
};

/* Takes [-]TERM{+-TERM}, a term being a number or, once and not subtracted, a symbol. */
const char *sum_take(const struct pp_image *image, const char **text, struct sum *sum, char why[OPERAND_WHY]);

#endif
