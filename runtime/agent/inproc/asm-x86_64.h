/* SPDX-License-Identifier: MIT */
/* Instructions of x86-64, as far as trampolines are made of them. */
#ifndef RUNTIME_AGENT_INPROC_ASM_X86_64_H
#define RUNTIME_AGENT_INPROC_ASM_X86_64_H

#include "runtime/agent/inproc/codebuf.h"

enum { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, RIP = 16 };

/* ---- bytes ---- */

static inline void put8(struct code *c, uint8_t byte)
{
	code_put(c, &byte, 1);
}

static inline void put32(struct code *c, uint32_t word)
{
	code_put(c, &word, 4);
}

static inline void put64(struct code *c, uint64_t word)
{
	code_put(c, &word, 8);
}

#define PUT(c, ...) code_put(c, (const uint8_t[]){ __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ }))

#define JB 0x82
#define JAE 0x83
#define JZ 0x84
#define JNZ 0x85
#define JA 0x87

static inline void jcc(struct code *c, uint8_t condition, uint32_t label)
{
	PUT(c, 0x0f, condition);
	code_jump(c, label);
	put32(c, 0);
}

static inline void jmp(struct code *c, uint32_t label)
{
	put8(c, 0xe9);
	code_jump(c, label);
	put32(c, 0);
}

/* ---- instructions; all of 64 bits where nothing is said ---- */

static inline uint8_t rex(int reg, int base)
{
	return 0x48 | (reg >= 8 ? 4 : 0) | (base >= 8 ? 1 : 0);
}

static inline void modrm(struct code *c, int reg, int base, int32_t disp)
{
	bool is_short = disp == (int8_t)disp;

	put8(c, (is_short ? 0x40 : 0x80) | (reg & 7) << 3 | (base & 7));
	if ((base & 7) == RSP)
		put8(c, 0x24);
	if (is_short)
		put8(c, disp);
	else
		put32(c, disp);
}

/* op reg, disp(base), for one-byte opcodes: 8b loads, 89 stores, 8d lea, 3b compares reg with memory */
static inline void op_mem(struct code *c, uint8_t op, int reg, int base, int32_t disp)
{
	PUT(c, rex(reg, base), op);
	modrm(c, reg, base, disp);
}

static inline void op_fs(struct code *c, uint8_t op, int reg, int32_t disp)
{
	PUT(c, 0x64, rex(reg, 0), op, (reg & 7) << 3 | 4, 0x25);
	put32(c, disp);
}

static inline void op_reg(struct code *c, uint8_t op, int reg, int to)
{
	PUT(c, rex(reg, to), op, 0xc0 | (reg & 7) << 3 | (to & 7));
}

static inline void put_rip(struct code *c, uintptr_t target, size_t behind)
{
	put32(c, target - (c->at + c->n + 4 + behind));
}

static inline void set(struct code *c, int reg, uint64_t value)
{
	if (value <= UINT32_MAX) {
		put8(c, 0xb8 | reg);
		put32(c, value);
	} else if ((int64_t)value == (int32_t)value) {
		PUT(c, 0x48, 0xc7, 0xc0 | reg);
		put32(c, value);
	} else {
		PUT(c, 0x48, 0xb8 | reg);
		put64(c, value);
	}
}

static inline void call_table(struct code *c, void *const *entry)
{
	PUT(c, 0xff, 0x15);
	put_rip(c, (uintptr_t)entry, 0);
}

#endif
