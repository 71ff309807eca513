/* SPDX-License-Identifier: MIT */
/*
 * Instructions of aarch64 that trampolines consist of. Each function appends the
 * instruction that it is named after, with its operands in the assembler's order:
 * destination first. Operands have 64 bits unless the name ends in w (32 bits).
 */
#ifndef RUNTIME_AGENT_INPROC_ASM_AARCH64_H
#define RUNTIME_AGENT_INPROC_ASM_AARCH64_H

#include "runtime/agent/inproc/codebuf.h"

enum { X0, X1, X2, X3, X4, X5, X6, X30 = 30, SP, XZR = 31 };

/* Conditions, as the CPU numbers them. */
enum a64_condition { A64_EQ, A64_NE, A64_HS, A64_LO, A64_HI = 8, A64_LS, A64_LT = 11, A64_LE = 13 };

#define A64_B 0x14000000u /* and a displacement of 26 bits, in instructions */
#define A64_B_MASK 0x3ffffffu

static inline void a64_put(struct codebuf *c, uint32_t instruction)
{
	codebuf_put(c, &instruction, 4);
}

/* ---- branches ---- */

static inline void a64_put_jump(struct codebuf *c, uint32_t instruction, uint32_t label)
{
	codebuf_jump(c, label);
	a64_put(c, instruction);
}

static inline void a64_b(struct codebuf *c, uint32_t label)
{
	a64_put_jump(c, A64_B, label);
}

static inline void a64_b_cond(struct codebuf *c, enum a64_condition condition, uint32_t label)
{
	a64_put_jump(c, 0x54000000 | condition, label);
}

static inline void a64_cbz(struct codebuf *c, unsigned rt, uint32_t label)
{
	a64_put_jump(c, 0xb4000000 | rt, label);
}

static inline void a64_cbnz(struct codebuf *c, unsigned rt, uint32_t label)
{
	a64_put_jump(c, 0xb5000000 | rt, label);
}

static inline void a64_cbnzw(struct codebuf *c, unsigned rt, uint32_t label)
{
	a64_put_jump(c, 0x35000000 | rt, label);
}

static inline void a64_blr(struct codebuf *c, unsigned rn)
{
	a64_put(c, 0xd63f0000 | rn << 5);
}

/* ---- arithmetic on registers ---- */

#define A64_ADD 0x8b000000u
#define A64_SUB 0xcb000000u
#define A64_SUBS 0xeb000000u
#define A64_AND 0x8a000000u
#define A64_ORR 0xaa000000u
#define A64_EOR 0xca000000u
#define A64_ORN 0xaa200000u
#define A64_MUL 0x9b007c00u
#define A64_UDIV 0x9ac00800u
#define A64_SDIV 0x9ac00c00u
#define A64_LSLV 0x9ac02000u
#define A64_LSRV 0x9ac02400u
#define A64_ASRV 0x9ac02800u

/* opcode rd, rn, rm */
static inline void a64_op(struct codebuf *c, uint32_t opcode, unsigned rd, unsigned rn, unsigned rm)
{
	a64_put(c, opcode | rm << 16 | rn << 5 | rd);
}

/* rd = ra - rn * rm */
static inline void a64_msub(struct codebuf *c, unsigned rd, unsigned rn, unsigned rm, unsigned ra)
{
	a64_op(c, 0x9b008000 | ra << 10, rd, rn, rm);
}

/* rd = condition ? rn : rm */
static inline void a64_csel(struct codebuf *c, unsigned rd, unsigned rn, unsigned rm, enum a64_condition condition)
{
	a64_op(c, 0x9a800000 | condition << 12, rd, rn, rm);
}

static inline void a64_cset(struct codebuf *c, unsigned rd, enum a64_condition condition)
{
	a64_put(c, 0x9a9f07e0 | (condition ^ 1) << 12 | rd);
}

static inline void a64_mov(struct codebuf *c, unsigned rd, unsigned rm)
{
	a64_op(c, A64_ORR, rd, XZR, rm);
}

static inline void a64_cmp(struct codebuf *c, unsigned rn, unsigned rm)
{
	a64_op(c, A64_SUBS, XZR, rn, rm);
}

/* The form of cmp that takes the stack pointer. */
static inline void a64_cmp_sp(struct codebuf *c, unsigned rm)
{
	a64_op(c, 0xeb206000, XZR, SP, rm);
}

/* rd = bits of rn from bit first to bit last, with the sign or with zeroes before them */
static inline void a64_bfx(struct codebuf *c, bool is_signed, unsigned rd, unsigned rn, unsigned first, unsigned last)
{
	a64_put(c, (is_signed ? 0x93400000 : 0xd3400000) | first << 16 | last << 10 | rn << 5 | rd);
}

/* ---- arithmetic with immediates ---- */

/* rd = rn + value, below 16 M; both registers may be sp. One or two instructions. */
static inline void a64_add_imm(struct codebuf *c, unsigned rd, unsigned rn, uint32_t value)
{
	if (value >> 12) {
		a64_put(c, 0x91400000 | (value >> 12) << 10 | rn << 5 | rd);
		rn = rd;
		value &= 4095;
		if (!value)
			return;
	}
	a64_put(c, 0x91000000 | value << 10 | rn << 5 | rd);
}

/* rd = rn - value, below 4096; both registers may be sp. */
static inline void a64_sub_imm(struct codebuf *c, unsigned rd, unsigned rn, uint32_t value)
{
	a64_put(c, 0xd1000000 | value << 10 | rn << 5 | rd);
}

/* value is below 4096. */
static inline void a64_cmp_imm(struct codebuf *c, unsigned rn, uint32_t value)
{
	a64_put(c, 0xf1000000 | value << 10 | rn << 5 | XZR);
}

/* rd = rn and its bits from first on, count of them */
static inline void a64_and_bits(struct codebuf *c, unsigned rd, unsigned rn, unsigned first, unsigned count)
{
	a64_put(c, 0x92400000 | (-first & 63) << 16 | (count - 1) << 10 | rn << 5 | rd);
}

/* movz or movn, and as many movk as the value needs. */
static inline void a64_mov_imm(struct codebuf *c, unsigned rd, uint64_t value)
{
	bool inverted = value >> 32 == UINT32_MAX;
	uint64_t want = inverted ? ~value : value;
	bool first = true;

	for (unsigned i = 0; i < 4; i++) {
		uint32_t part = want >> 16 * i & 0xffff;

		if (!part)
			continue;
		if (first)
			a64_put(c, (inverted ? 0x92800000 : 0xd2800000) | i << 21 | part << 5 | rd);
		else
			a64_put(c, 0xf2800000 | i << 21 | (inverted ? part ^ 0xffff : part) << 5 | rd);
		first = false;
	}
	if (first)
		a64_put(c, (inverted ? 0x92800000 : 0xd2800000) | rd);
}

/* ---- memory ---- */

/* Loads and stores of size bytes at base + offset, a multiple of size below 4096 * size. */
static inline void a64_ldr_size(struct codebuf *c, unsigned size, bool is_signed, unsigned rt, unsigned base,
                                uint32_t offset)
{
	static const uint32_t opcode[9][2] = {
		[1] = { 0x39400000, 0x39800000 },
		[2] = { 0x79400000, 0x79800000 },
		[4] = { 0xb9400000, 0xb9800000 },
		[8] = { 0xf9400000, 0xf9400000 },
	};

	a64_put(c, opcode[size][is_signed] | offset / size << 10 | base << 5 | rt);
}

static inline void a64_ldr(struct codebuf *c, unsigned rt, unsigned base, uint32_t offset)
{
	a64_ldr_size(c, 8, false, rt, base, offset);
}

static inline void a64_ldrw(struct codebuf *c, unsigned rt, unsigned base, uint32_t offset)
{
	a64_ldr_size(c, 4, false, rt, base, offset);
}

static inline void a64_str(struct codebuf *c, unsigned rt, unsigned base, uint32_t offset)
{
	a64_put(c, 0xf9000000 | offset / 8 << 10 | base << 5 | rt);
}

static inline void a64_strw(struct codebuf *c, unsigned rt, unsigned base, uint32_t offset)
{
	a64_put(c, 0xb9000000 | offset / 4 << 10 | base << 5 | rt);
}

/* Two registers at sp + offset. */
static inline void a64_stp_sp(struct codebuf *c, unsigned rt, unsigned rt2, uint32_t offset)
{
	a64_put(c, 0xa9000000 | (offset / 8) << 15 | rt2 << 10 | SP << 5 | rt);
}

static inline void a64_ldp_sp(struct codebuf *c, unsigned rt, unsigned rt2, uint32_t offset)
{
	a64_put(c, 0xa9400000 | (offset / 8) << 15 | rt2 << 10 | SP << 5 | rt);
}

/* Store with release. */
static inline void a64_stlr(struct codebuf *c, unsigned rt, unsigned base)
{
	a64_put(c, 0xc89ffc00 | base << 5 | rt);
}

/* Exclusive load and store; rs = 0 if the store was made. */
static inline void a64_ldxr(struct codebuf *c, unsigned rt, unsigned base)
{
	a64_put(c, 0xc85f7c00 | base << 5 | rt);
}

static inline void a64_stxr(struct codebuf *c, unsigned rs, unsigned rt, unsigned base)
{
	a64_op(c, 0xc8007c00, rt, base, rs);
}

/* rt = memory at base; memory += rs, in one atomic instruction */
static inline void a64_ldadd(struct codebuf *c, unsigned rs, unsigned rt, unsigned base)
{
	a64_op(c, 0xf8200000, rt, base, rs);
}

/* rd = the page of something near. Returns the offset in that page. */
static inline uint32_t a64_adrp(struct codebuf *c, unsigned rd, const void *near)
{
	int64_t pages = (int64_t)((uintptr_t)near >> 12) - (int64_t)((c->at + c->n) >> 12);

	a64_put(c, 0x90000000 | (uint32_t)(pages & 3) << 29 | ((uint32_t)(pages >> 2) & 0x7ffff) << 5 | rd);
	return (uintptr_t)near & 4095;
}

/* ---- system registers ---- */

static inline void a64_mrs_nzcv(struct codebuf *c, unsigned rt)
{
	a64_put(c, 0xd53b4200 | rt);
}

static inline void a64_msr_nzcv(struct codebuf *c, unsigned rt)
{
	a64_put(c, 0xd51b4200 | rt);
}

/* The thread pointer. */
static inline void a64_mrs_tpidr(struct codebuf *c, unsigned rt)
{
	a64_put(c, 0xd53bd040 | rt);
}

/* The CPU's counter. */
static inline void a64_mrs_cntvct(struct codebuf *c, unsigned rt)
{
	a64_put(c, 0xd53be040 | rt);
}

#endif
