/* SPDX-License-Identifier: MIT */
/*
 * The operands of stapsdt notes, one for each argument: SIZE@TEXT, where TEXT is the compiler's assembly text: -4@%edi,
 * 8@-16(%rbp), 4@$7, 2@8(%rdx,%rdi,4), 8@g+16(%rip), 1@%ah. A negative size means signed. Also the only table of a
 * CPU's registers.
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
	OPERAND_NONE,   /* of operands_read() only: the text cannot be parsed */
};

struct operand {
	enum operand_kind kind;
	int8_t size; /* bytes: 1, 2, 4, 8 */
	bool is_signed;
	bool is_float;     /* the size has the tag `f` of newer SystemTap headers */
	int8_t reg, index; /* numbers in the CPU's table of registers; -1: none */
	uint8_t shift;     /* bits: 8 for %ah, %bh, %ch, %dh, else 0 */
	uint8_t scale;     /* 1, 2, 4, 8; 16 */
	int8_t index_size; /* the index is extended from 4 bytes: 4 unsigned, -4 signed; 0: it is not */
	int64_t value;
};

/*
 * Parses the operands of a note of the image. Looks symbols up in the image. Returns the number of operands; -EINVAL if one
 * cannot be resolved, there are too many or one is too long; -ENOTSUP if the operands are of an unknown CPU.
 */
int operands_parse(const struct pp_image *image, const char *text, struct operand operands[OPERANDS_MAX]);

/*
 * Does the same but continues after an operand that cannot be resolved: its kind is OPERAND_NONE. *nbad is how many of them
 * there are; if there are any, pp_error() returns the reason of the first.
 */
int operands_read(const struct pp_image *image, const char *text, struct operand operands[OPERANDS_MAX], size_t *nbad);

/*
 * Finds the first operand in the text. Returns its start and its length, NULL if not found. Call it with the end of
 * an operand to find the next.
 */
const char *operands_next(const char *text, size_t *length);

/* ---- registers ---- */

struct cpu_register {
	const char *name; /* "rax", without % */
	int8_t number;    /* the CPU's encoding; x86: 16 is rip; aarch64: 31 is sp, 32 is pc; s390x: 16 is psw.addr */
	uint8_t size;     /* bytes */
	uint8_t shift;    /* bits */
};

struct cpu {
	int machine; /* EM_* */
	const struct cpu_register *registers;
	size_t nregisters;
	const uint16_t *pt_regs; /* byte offset in struct pt_regs, by number */
	size_t numbers;
	int8_t pc; /* number of the program counter */
	/*
	 * Parses TEXT, the part after SIZE@, into *operand without is_signed and is_float. operand->size is the given
	 * size, 0 if not given. Returns NULL, or the reason why TEXT cannot be resolved, which may be in `why`.
	 */
	const char *(*parse)(const struct cpu *cpu, const struct pp_image *image, const char *text,
	                     struct operand *operand, char why[OPERAND_WHY]);
};

extern const struct cpu cpu_x86_64, cpu_i386, cpu_aarch64, cpu_arm, cpu_ppc64, cpu_s390x, cpu_riscv64;

/* The ELF machine of this build. Only its programs can be armed. */
#ifdef __aarch64__
#define MACHINE_HERE EM_AARCH64
#else
#define MACHINE_HERE EM_X86_64
#endif

/* Returns NULL for a CPU whose operands are not supported. */
const struct cpu *cpu_of(int machine, bool is_64);

#endif
