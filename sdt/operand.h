/* SPDX-License-Identifier: MIT */
/*
 * Operands: what stands in a stapsdt note for an argument, SIZE@TEXT, the text
 * being what the compiler's assembler wrote: -4@%edi, 8@-16(%rbp), 4@$7,
 * 2@8(%rdx,%rdi,4), 8@g+16(%rip), 1@%ah. A negative size means signed.
 */
#ifndef SDT_OPERAND_H
#define SDT_OPERAND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pp_image;
struct cpu;

#define OPERANDS_MAX 64
#define OPERAND_WHY 512

enum operand_kind {
	OPERAND_CONST,  /* value */
	OPERAND_REG,    /* size bytes of reg, from bit shift on */
	OPERAND_MEM,    /* size bytes at reg + index * scale + value */
	OPERAND_STATIC, /* size bytes at the image's address value as linked */
	OPERAND_NONE,   /* operands_read() only: the text cannot be read */
};

struct operand {
	enum operand_kind kind;
	int8_t size; /* bytes: 1, 2, 4, 8 */
	bool is_signed;
	bool is_float;     /* an `f` tag of newer SystemTap headers */
	int8_t reg, index; /* register numbers of the CPU's table, -1 for none */
	uint8_t shift;     /* bits: 8 for %ah and its like */
	uint8_t scale;     /* 1, 2, 4, 8; 16 */
	int8_t index_size; /* bytes of index that count, as size is told: 4, -4 with its sign; 0: all */
	int64_t value;
};

/*
 * Parses a note's operands (for the image's CPU) into operands[0 .. returned - 1].
 * One that no reader can resolve is -EINVAL for all, with a sentence naming it.
 * Symbols are looked up in the image.
 */
int operands_parse(const struct pp_image *image, const char *text, struct operand operands[OPERANDS_MAX]);

/*
 * Does the same, but goes on after an operand that cannot be read: its kind is OPERAND_NONE.
 * Returns the number of operands, and in *nbad how many of them are OPERAND_NONE; if there are any, pp_error() is
 * the reason of the first. Fails as a whole with -EINVAL if there are too many operands or one is too long, and
 * with -ENOTSUP if the operands are of an unknown CPU.
 */
int operands_read(const struct pp_image *image, const char *text, struct operand operands[OPERANDS_MAX], size_t *nbad);

/*
 * The first operand of what is left of a note's operands, *length characters of
 * it; NULL behind the last. Go on at its end.
 */
const char *operands_next(const char *text, size_t *length);

/* ---- the CPU's registers: the one table of them ----------------------------- */

struct cpu_register {
	const char *name; /* "rax", without % */
	int8_t number;    /* as the CPU encodes it; 16 is rip; on aarch64 31 is sp and 32 is pc */
	uint8_t size;     /* bytes */
	uint8_t shift;    /* bits */
};

struct cpu {
	int machine; /* EM_* */
	const struct cpu_register *registers;
	size_t nregisters;
	const uint16_t *pt_regs; /* number -> byte offset in the kernel's struct pt_regs */
	size_t numbers;
	int8_t pc; /* the number of the register that holds the site's address */
	/*
	 * Parses TEXT, the part behind SIZE@, into all of *operand but is_signed and
	 * is_float; operand->size is what was asked for, 0 where nothing was. NULL, or
	 * why no reader can resolve it; where that takes words, they are in why.
	 */
	const char *(*parse)(const struct cpu *cpu, const struct pp_image *image, const char *text,
	                     struct operand *operand, char why[OPERAND_WHY]);
};

extern const struct cpu cpu_x86_64, cpu_i386, cpu_aarch64;

/* The CPU that all this is built for: only its programs can be armed. */
#ifdef __aarch64__
#define MACHINE_HERE EM_AARCH64
#else
#define MACHINE_HERE EM_X86_64
#endif

/* NULL for a CPU whose operands are not read. */
const struct cpu *cpu_of(int machine, bool is_64);

#endif
