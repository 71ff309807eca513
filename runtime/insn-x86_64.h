/* SPDX-License-Identifier: MIT */
/* x86 instructions, 64 and 32 bits: for cpu-x86_64.c and uprobe-x86_64.c. */
#ifndef RUNTIME_INSN_X86_64_H
#define RUNTIME_INSN_X86_64_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	INT3 = 0xcc,
	INT = 0xcd,
	INTO = 0xce,
	INT1 = 0xf1,
	HLT = 0xf4,
	NOP = 0x90,
	PUSH = 0x50, /* and the register */
	CALL = 0xe8,
	JMP_REL8 = 0xeb,
	JMP_REL32 = 0xe9,
	TWO_BYTES = 0x0f, /* the first byte of a two-byte opcode */
	NOP_MODRM = 0x1f, /* the second byte */
	UD0 = 0xff,
	UD1 = 0xb9,
	UD2 = 0x0b,
};

/* An instruction without its prefixes, or the beginning of it. */
struct x86_insn {
	const uint8_t *opcode;
	size_t size;         /* bytes from the opcode on; 0: only prefixes are known */
	size_t nprefixes;    /* bytes before the opcode */
	bool segment;        /* es, cs, ss or ds override */
	bool lock;           /* f0 */
	bool operand_size;   /* 66 */
	bool repeat;         /* f2 or f3 */
	bool rex_b;          /* REX.B, right before the opcode */
	bool is_vex;         /* VEX or EVEX: an opcode of one byte */
	bool is_vex_0f3a;    /* VEX of three bytes with the opcodes of 0f 3a */
	bool is_xop_or_rex2; /* opcode is this prefix */
};

/* Returns true for segment overrides and the operand size. */
bool x86_is_prefix(uint8_t byte);
/* Splits an instruction of at most size bytes. Prefixes of any order and number are skipped. */
struct x86_insn x86_insn_split(const uint8_t *code, size_t size, bool is_64);
/* Returns the size of a nop from its opcode on, 0: it is another instruction. */
size_t x86_nop_size(const struct x86_insn *insn);

/* cpu_code.why_refused, for 64-bit and 32-bit code: uprobe-x86_64.c */
const char *x86_64_why_refused(const uint8_t *code, size_t size);
const char *i386_why_refused(const uint8_t *code, size_t size);

#endif
