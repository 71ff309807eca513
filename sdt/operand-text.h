/* SPDX-License-Identifier: MIT */
/*
 * Parts of operands that all CPUs write alike. Functions that take something move *text after it, and return NULL or the
 * reason why it cannot be resolved, which may be in `why`.
 */
#ifndef SDT_OPERAND_TEXT_H
#define SDT_OPERAND_TEXT_H

#include "sdt/operand.h"

/* Returns NULL if the CPU has no register of this name. */
const struct cpu_register *cpu_register_find(const struct cpu *cpu, const char *name, size_t length);

/* Takes the name of a register without a prefix. Returns NULL if there is none. */
const struct cpu_register *operand_take_register(const struct cpu *cpu, const char **text);
/* Makes the operand a register, of at most the register's size. Returns NULL. */
const char *operand_set_register(const struct cpu_register *reg, struct operand *operand);

/* Returns the number of letters and digits at the start of the text. */
size_t operand_word_length(const char *text);
void operand_skip_spaces(const char **text);

struct operand_sum {
	int64_t number;
	uint64_t symbol; /* address as linked */
	bool has_symbol;
};

/* Takes [-]TERM{+-TERM}. A term is a number or, once and not after a minus, a symbol of the image. */
const char *operand_take_sum(const struct pp_image *image, const char **text, struct operand_sum *sum,
                             char why[OPERAND_WHY]);
/* Makes the operand the constant, or the memory at the symbol. */
void operand_set_sum(const struct operand_sum *sum, struct operand *operand);

#endif
