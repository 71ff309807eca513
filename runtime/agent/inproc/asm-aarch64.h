/* SPDX-License-Identifier: MIT */
/* The instructions that trampolines are made of, written into a struct code. All of 64 bits where nothing is said. */
#ifndef RUNTIME_AGENT_INPROC_ASM_AARCH64_H
#define RUNTIME_AGENT_INPROC_ASM_AARCH64_H

#include <string.h>

#include "runtime/agent/inproc/codebuf.h"

enum { X0, X1, X2, X3, X4, X5, X6, X30 = 30, SP, XZR = 31, PC = 32 };
enum { EQ, NE, HS, LO, HI = 8, LS, LT = 11, LE = 13 };

static inline void put(struct code *c, uint32_t instruction)
{
	code_put(c, &instruction, 4);
}

static inline void jump(struct code *c, uint32_t instruction, uint32_t label)
{
	code_jump(c, label);
	put(c, instruction);
}

static inline void b(struct code *c, uint32_t label)
{
	jump(c, 0x14000000, label);
}

static inline void b_if(struct code *c, unsigned condition, uint32_t label)
{
	jump(c, 0x54000000 | condition, label);
}

static inline void cbz(struct code *c, unsigned reg, uint32_t label)
{
	jump(c, 0xb4000000 | reg, label);
}

static inline void cbnz(struct code *c, unsigned reg, uint32_t label)
{
	jump(c, 0xb5000000 | reg, label);
}

/* op rd, rn, rm */
static inline void op(struct code *c, uint32_t opcode, unsigned rd, unsigned rn, unsigned rm)
{
	put(c, opcode | rm << 16 | rn << 5 | rd);
}

#define ADD 0x8b000000u
#define SUB 0xcb000000u
#define SUBS 0xeb000000u
#define AND 0x8a000000u
#define ORR 0xaa000000u
#define EOR 0xca000000u
#define ORN 0xaa200000u
#define MUL 0x9b007c00u
#define MSUB 0x9b008000u /* and ra << 10 */
#define UDIV 0x9ac00800u
#define SDIV 0x9ac00c00u
#define LSLV 0x9ac02000u
#define LSRV 0x9ac02400u
#define ASRV 0x9ac02800u
#define CSEL 0x9a800000u /* and condition << 12 */

static inline void move(struct code *c, unsigned rd, unsigned rm)
{
	op(c, ORR, rd, XZR, rm);
}

static inline void compare(struct code *c, unsigned rn, unsigned rm)
{
	op(c, SUBS, XZR, rn, rm);
}

static inline void set_if(struct code *c, unsigned rd, unsigned condition)
{
	put(c, 0x9a9f07e0 | (condition ^ 1) << 12 | rd);
}

/* rd = rn + value, below 16 M; both may be sp. */
static inline void add(struct code *c, unsigned rd, unsigned rn, uint32_t value)
{
	if (value >> 12) {
		put(c, 0x91400000 | (value >> 12) << 10 | rn << 5 | rd);
		rn = rd;
		value &= 4095;
		if (!value)
			return;
	}
	put(c, 0x91000000 | value << 10 | rn << 5 | rd);
}

static inline void set(struct code *c, unsigned rd, uint64_t value)
{
	bool inverted = value >> 32 == UINT32_MAX;
	uint64_t want = inverted ? ~value : value;
	bool first = true;

	for (unsigned i = 0; i < 4; i++) {
		uint32_t part = want >> 16 * i & 0xffff;

		if (!part)
			continue;
		if (first)
			put(c, (inverted ? 0x92800000 : 0xd2800000) | i << 21 | part << 5 | rd);
		else
			put(c, 0xf2800000 | i << 21 | (inverted ? part ^ 0xffff : part) << 5 | rd);
		first = false;
	}
	if (first)
		put(c, (inverted ? 0x92800000 : 0xd2800000) | rd);
}

/* ldr, str: 8 bytes at base + offset, a multiple of 8 below 32 K */
static inline void ldr(struct code *c, unsigned rt, unsigned base, uint32_t offset)
{
	put(c, 0xf9400000 | offset / 8 << 10 | base << 5 | rt);
}

static inline void str(struct code *c, unsigned rt, unsigned base, uint32_t offset)
{
	put(c, 0xf9000000 | offset / 8 << 10 | base << 5 | rt);
}

static inline void stp(struct code *c, unsigned rt, unsigned rt2, uint32_t offset)
{
	put(c, 0xa9000000 | (offset / 8) << 15 | rt2 << 10 | SP << 5 | rt);
}

static inline void ldp(struct code *c, unsigned rt, unsigned rt2, uint32_t offset)
{
	put(c, 0xa9400000 | (offset / 8) << 15 | rt2 << 10 | SP << 5 | rt);
}

/* rd = the page of something near; what is to be added to it. */
static inline uint32_t page_of(struct code *c, unsigned rd, const void *near)
{
	int64_t pages = (int64_t)((uintptr_t)near >> 12) - (int64_t)((c->at + c->n) >> 12);

	put(c, 0x90000000 | (uint32_t)(pages & 3) << 29 | ((uint32_t)(pages >> 2) & 0x7ffff) << 5 | rd);
	return (uintptr_t)near & 4095;
}

static inline void load_near_word(struct code *c, unsigned rt, const uint32_t *near)
{
	uint32_t offset = page_of(c, rt, near);

	put(c, 0xb9400000 | offset / 4 << 10 | rt << 5 | rt);
}

static inline void thread_pointer(struct code *c, unsigned rt)
{
	put(c, 0xd53bd040 | rt);
}

/* rt = 8 bytes of struct thread; size 4: as many */
static inline void load_tls(struct code *c, unsigned rt, unsigned base, size_t field, unsigned size)
{
	uint32_t offset = trampoline_tls(field);

	if (offset >> 12) {
		add(c, rt, base, offset & ~4095u);
		base = rt;
	}
	put(c, (size == 8 ? 0xf9400000 : 0xb9400000) | (offset & 4095) / size << 10 | base << 5 | rt);
}

#endif
