/* SPDX-License-Identifier: MIT */
/*
 * Instructions of x86-64 that trampolines consist of. Each function appends the
 * instruction that it is named after, with its operands in Intel's order:
 * destination first. Operands have 64 bits unless the name ends in l (32 bits) or
 * names another size.
 */
#ifndef RUNTIME_AGENT_INPROC_ASM_X86_64_H
#define RUNTIME_AGENT_INPROC_ASM_X86_64_H

#include "runtime/agent/inproc/codebuf.h"

enum { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI };

/* The conditions of jcc and setcc, as the CPU numbers them. */
enum x86_condition {
	X86_B = 0x2,
	X86_AE = 0x3,
	X86_E = 0x4,
	X86_NE = 0x5,
	X86_BE = 0x6,
	X86_A = 0x7,
	X86_L = 0xc,
	X86_LE = 0xe,
};

/* The opcodes of jumps, for code that is patched byte by byte. */
#define X86_JMP_SHORT 0xeb /* and a displacement of 8 bits */
#define X86_JMP 0xe9       /* and a displacement of 32 bits */

/* ---- bytes ---- */

static inline void x86_byte(struct codebuf *c, uint8_t byte)
{
	codebuf_put(c, &byte, 1);
}

static inline void x86_word32(struct codebuf *c, uint32_t word)
{
	codebuf_put(c, &word, 4);
}

static inline void x86_word64(struct codebuf *c, uint64_t word)
{
	codebuf_put(c, &word, 8);
}

#define X86_BYTES(c, ...) codebuf_put(c, (const uint8_t[]){ __VA_ARGS__ }, sizeof((const uint8_t[]){ __VA_ARGS__ }))

/* ---- memory operands ---- */

enum x86_addressing {
	X86_INDIRECT, /* (base); these three are the values of ModRM.mod */
	X86_DISP8,    /* disp8(base) */
	X86_DISP32,   /* disp32(base) */
	X86_FS,       /* %fs:disp32 */
	X86_RIP,      /* target(%rip) */
};

#define X86_NO_INDEX -1

struct x86_mem {
	enum x86_addressing addressing;
	int base, index;
	int32_t disp;
	uintptr_t target;
};

static inline struct x86_mem x86_indirect(int base)
{
	return (struct x86_mem){ .addressing = X86_INDIRECT, .base = base, .index = X86_NO_INDEX };
}

static inline struct x86_mem x86_at(int base, int32_t disp)
{
	return (struct x86_mem){ .addressing = disp == (int8_t)disp ? X86_DISP8 : X86_DISP32,
		                 .base = base,
		                 .index = X86_NO_INDEX,
		                 .disp = disp };
}

static inline struct x86_mem x86_at32(int base, int32_t disp)
{
	return (struct x86_mem){ .addressing = X86_DISP32, .base = base, .index = X86_NO_INDEX, .disp = disp };
}

static inline struct x86_mem x86_sum(int base, int index)
{
	return (struct x86_mem){ .addressing = X86_INDIRECT, .base = base, .index = index };
}

static inline struct x86_mem x86_sum_at32(int base, int index, int32_t disp)
{
	return (struct x86_mem){ .addressing = X86_DISP32, .base = base, .index = index, .disp = disp };
}

static inline struct x86_mem x86_fs(int32_t disp)
{
	return (struct x86_mem){ .addressing = X86_FS, .disp = disp };
}

static inline struct x86_mem x86_rip(const void *target)
{
	return (struct x86_mem){ .addressing = X86_RIP, .target = (uintptr_t)target };
}

/* A displacement from the end of the instruction, which has immediate more bytes after it. */
static inline void x86_relative(struct codebuf *c, uintptr_t target, size_t immediate)
{
	x86_word32(c, target - (c->at + c->n + 4 + immediate));
}

/* ModRM, SIB and displacement. reg: a register, or the /digit of the opcode. */
static inline void x86_modrm_mem(struct codebuf *c, int reg, struct x86_mem mem, size_t immediate)
{
	bool sib = mem.index != X86_NO_INDEX || (mem.base & 7) == RSP;
	uint8_t field = (reg & 7) << 3;

	if (mem.addressing == X86_RIP) {
		x86_byte(c, field | 5);
		x86_relative(c, mem.target, immediate);
		return;
	}
	if (mem.addressing == X86_FS) {
		X86_BYTES(c, field | 4, 0x25);
		x86_word32(c, mem.disp);
		return;
	}
	x86_byte(c, mem.addressing << 6 | field | (sib ? 4 : mem.base & 7));
	if (sib)
		x86_byte(c, (mem.index == X86_NO_INDEX ? 4 : mem.index) << 3 | (mem.base & 7));
	if (mem.addressing == X86_DISP8)
		x86_byte(c, mem.disp);
	else if (mem.addressing == X86_DISP32)
		x86_word32(c, mem.disp);
}

/* ---- encodings ---- */

static inline uint8_t x86_rex(int reg, int rm)
{
	return 0x48 | (reg >= 8 ? 4 : 0) | (rm >= 8 ? 1 : 0);
}

static inline void x86_modrm_reg(struct codebuf *c, int reg, int rm)
{
	x86_byte(c, 0xc0 | (reg & 7) << 3 | (rm & 7));
}

/* opcode between two registers */
static inline void x86_op(struct codebuf *c, uint8_t opcode, int reg, int rm)
{
	X86_BYTES(c, x86_rex(reg, rm), opcode);
	x86_modrm_reg(c, reg, rm);
}

/* opcode between a register and memory, of 64 or of 32 bits */
static inline void x86_op_mem(struct codebuf *c, uint8_t opcode, int reg, struct x86_mem mem, size_t immediate)
{
	if (mem.addressing == X86_FS)
		x86_byte(c, 0x64);
	X86_BYTES(c, x86_rex(reg, mem.addressing <= X86_DISP32 ? mem.base : 0), opcode);
	x86_modrm_mem(c, reg, mem, immediate);
}

static inline void x86_opl_mem(struct codebuf *c, uint8_t opcode, int reg, struct x86_mem mem, size_t immediate)
{
	if (mem.addressing == X86_FS)
		x86_byte(c, 0x64);
	x86_byte(c, opcode);
	x86_modrm_mem(c, reg, mem, immediate);
}

/* ---- moves ---- */

static inline void x86_mov(struct codebuf *c, int to, int from)
{
	x86_op(c, 0x89, from, to);
}

static inline void x86_movl(struct codebuf *c, int to, int from)
{
	x86_byte(c, 0x89);
	x86_modrm_reg(c, from, to);
}

static inline void x86_mov_load(struct codebuf *c, int to, struct x86_mem from)
{
	x86_op_mem(c, 0x8b, to, from, 0);
}

static inline void x86_movl_load(struct codebuf *c, int to, struct x86_mem from)
{
	x86_opl_mem(c, 0x8b, to, from, 0);
}

static inline void x86_mov_store(struct codebuf *c, struct x86_mem to, int from)
{
	x86_op_mem(c, 0x89, from, to, 0);
}

/* The shortest mov of the value: zero-extended, sign-extended, or of 64 bits. */
static inline void x86_mov_imm(struct codebuf *c, int to, uint64_t value)
{
	if (value <= UINT32_MAX) {
		x86_byte(c, 0xb8 | to);
		x86_word32(c, value);
	} else if ((int64_t)value == (int32_t)value) {
		X86_BYTES(c, 0x48, 0xc7, 0xc0 | to);
		x86_word32(c, value);
	} else {
		X86_BYTES(c, 0x48, 0xb8 | to);
		x86_word64(c, value);
	}
}

/* The value is sign-extended to 64 bits. */
static inline void x86_mov_store_imm(struct codebuf *c, struct x86_mem to, int32_t value)
{
	x86_op_mem(c, 0xc7, 0, to, 4);
	x86_word32(c, value);
}

static inline void x86_movl_store_imm(struct codebuf *c, struct x86_mem to, uint32_t value)
{
	x86_opl_mem(c, 0xc7, 0, to, 4);
	x86_word32(c, value);
}

static inline void x86_lea(struct codebuf *c, int to, struct x86_mem of)
{
	x86_op_mem(c, 0x8d, to, of, 0);
}

static inline void x86_push(struct codebuf *c, int reg)
{
	x86_byte(c, 0x50 | reg);
}

static inline void x86_pop(struct codebuf *c, int reg)
{
	x86_byte(c, 0x58 | reg);
}

/* Moves with zero or sign extension, from the low part of a register or from memory. */
#define X86_EXTENSION(name, ...)                                                             \
	static inline void x86_##name(struct codebuf *c, int to, int from)                   \
	{                                                                                    \
		X86_BYTES(c, __VA_ARGS__);                                                   \
		x86_modrm_reg(c, to, from);                                                  \
	}                                                                                    \
	static inline void x86_##name##_load(struct codebuf *c, int to, struct x86_mem from) \
	{                                                                                    \
		X86_BYTES(c, __VA_ARGS__);                                                   \
		x86_modrm_mem(c, to, from, 0);                                               \
	}

X86_EXTENSION(movzbl, 0x0f, 0xb6)
X86_EXTENSION(movzwl, 0x0f, 0xb7)
X86_EXTENSION(movsbq, 0x48, 0x0f, 0xbe)
X86_EXTENSION(movswq, 0x48, 0x0f, 0xbf)
X86_EXTENSION(movslq, 0x48, 0x63)
#undef X86_EXTENSION

/* rax = eax with its sign */
static inline void x86_cltq(struct codebuf *c)
{
	X86_BYTES(c, 0x48, 0x98);
}

/* ---- arithmetic ---- */

#define X86_ALU(name, opcode)                                              \
	static inline void x86_##name(struct codebuf *c, int to, int from) \
	{                                                                  \
		x86_op(c, opcode, from, to);                               \
	}

X86_ALU(add, 0x01)
X86_ALU(or, 0x09)
X86_ALU(and, 0x21)
X86_ALU(sub, 0x29)
X86_ALU(xor, 0x31)
X86_ALU(cmp, 0x39)
X86_ALU(test, 0x85)
#undef X86_ALU

/* Operations on one register, and shifts of it by cl. */
#define X86_UNARY(name, opcode, digit)                            \
	static inline void x86_##name(struct codebuf *c, int reg) \
	{                                                         \
		x86_op(c, opcode, digit, reg);                    \
	}

X86_UNARY(not, 0xf7, 2)
X86_UNARY(neg, 0xf7, 3)
X86_UNARY(div, 0xf7, 6)
X86_UNARY(idiv, 0xf7, 7)
X86_UNARY(shl_cl, 0xd3, 4)
X86_UNARY(shr_cl, 0xd3, 5)
X86_UNARY(sar_cl, 0xd3, 7)
#undef X86_UNARY

/* to = the number of the highest bit of from, which is not 0 */
static inline void x86_bsr(struct codebuf *c, int to, int from)
{
	X86_BYTES(c, x86_rex(to, from), 0x0f, 0xbd);
	x86_modrm_reg(c, to, from);
}

static inline void x86_imul(struct codebuf *c, int to, int from)
{
	X86_BYTES(c, x86_rex(to, from), 0x0f, 0xaf);
	x86_modrm_reg(c, to, from);
}

/* rdx:rax = rax with its sign */
static inline void x86_cqo(struct codebuf *c)
{
	X86_BYTES(c, 0x48, 0x99);
}

static inline void x86_xorl(struct codebuf *c, int to, int from)
{
	x86_byte(c, 0x31);
	x86_modrm_reg(c, from, to);
}

static inline void x86_shl_imm(struct codebuf *c, int reg, uint8_t bits)
{
	x86_op(c, 0xc1, 4, reg);
	x86_byte(c, bits);
}

static inline void x86_shr_imm(struct codebuf *c, int reg, uint8_t bits)
{
	x86_op(c, 0xc1, 5, reg);
	x86_byte(c, bits);
}

static inline void x86_cmp_imm8(struct codebuf *c, int reg, int8_t value)
{
	x86_op(c, 0x83, 7, reg);
	x86_byte(c, value);
}

static inline void x86_cmp_imm(struct codebuf *c, int reg, int32_t value)
{
	x86_op(c, 0x81, 7, reg);
	x86_word32(c, value);
}

/* to = from * value */
static inline void x86_imul_imm(struct codebuf *c, int to, int from, int32_t value)
{
	x86_op(c, 0x69, to, from);
	x86_word32(c, value);
}

static inline void x86_andl_eax_imm(struct codebuf *c, uint32_t value)
{
	x86_byte(c, 0x25);
	x86_word32(c, value);
}

static inline void x86_andl_load(struct codebuf *c, int reg, struct x86_mem with)
{
	x86_opl_mem(c, 0x23, reg, with, 0);
}

static inline void x86_cmpl_eax_imm(struct codebuf *c, uint32_t value)
{
	x86_byte(c, 0x3d);
	x86_word32(c, value);
}

static inline void x86_add_al_imm(struct codebuf *c, uint8_t value)
{
	X86_BYTES(c, 0x04, value);
}

/* ---- arithmetic with memory ---- */

static inline void x86_add_load(struct codebuf *c, int reg, struct x86_mem from)
{
	x86_op_mem(c, 0x03, reg, from, 0);
}

static inline void x86_cmp_load(struct codebuf *c, int reg, struct x86_mem with)
{
	x86_op_mem(c, 0x3b, reg, with, 0);
}

static inline void x86_cmpl_mem_imm8(struct codebuf *c, struct x86_mem mem, int8_t value)
{
	x86_opl_mem(c, 0x83, 7, mem, 1);
	x86_byte(c, value);
}

static inline void x86_cmp_mem_imm8(struct codebuf *c, struct x86_mem mem, int8_t value)
{
	x86_op_mem(c, 0x83, 7, mem, 1);
	x86_byte(c, value);
}

static inline void x86_orl_mem_imm(struct codebuf *c, struct x86_mem mem, uint32_t value)
{
	x86_opl_mem(c, 0x81, 1, mem, 4);
	x86_word32(c, value);
}

static inline void x86_testl_mem_imm(struct codebuf *c, struct x86_mem mem, uint32_t value)
{
	x86_opl_mem(c, 0xf7, 0, mem, 4);
	x86_word32(c, value);
}

static inline void x86_add_mem(struct codebuf *c, struct x86_mem mem, int reg)
{
	x86_op_mem(c, 0x01, reg, mem, 0);
}

static inline void x86_inc_mem(struct codebuf *c, struct x86_mem mem)
{
	x86_op_mem(c, 0xff, 0, mem, 0);
}

static inline void x86_lock_inc_mem(struct codebuf *c, struct x86_mem mem)
{
	x86_byte(c, 0xf0);
	x86_inc_mem(c, mem);
}

/* if rax is at mem, mem = reg and ZF is set; else rax = mem */
static inline void x86_cmpxchg(struct codebuf *c, struct x86_mem mem, int reg)
{
	X86_BYTES(c, x86_rex(reg, mem.base), 0x0f, 0xb1);
	x86_modrm_mem(c, reg, mem, 0);
}

/* ---- flags, the counter ---- */

/* The low byte of rax, rcx, rdx or rbx = whether the condition holds. */
static inline void x86_setcc(struct codebuf *c, enum x86_condition condition, int reg)
{
	X86_BYTES(c, 0x0f, 0x90 | condition, 0xc0 | reg);
}

/* al = whether the overflow flag is set */
static inline void x86_seto_al(struct codebuf *c)
{
	X86_BYTES(c, 0x0f, 0x90, 0xc0);
}

static inline void x86_lahf(struct codebuf *c)
{
	x86_byte(c, 0x9f);
}

static inline void x86_sahf(struct codebuf *c)
{
	x86_byte(c, 0x9e);
}

/* edx:eax = the time stamp counter */
static inline void x86_rdtsc(struct codebuf *c)
{
	X86_BYTES(c, 0x0f, 0x31);
}

/* ---- jumps and calls ---- */

static inline void x86_jcc(struct codebuf *c, enum x86_condition condition, uint32_t label)
{
	X86_BYTES(c, 0x0f, 0x80 | condition);
	codebuf_jump(c, label);
	x86_word32(c, 0);
}

static inline void x86_jmp(struct codebuf *c, uint32_t label)
{
	x86_byte(c, X86_JMP);
	codebuf_jump(c, label);
	x86_word32(c, 0);
}

static inline void x86_jmp_address(struct codebuf *c, uintptr_t target)
{
	x86_byte(c, X86_JMP);
	x86_relative(c, target, 0);
}

static inline void x86_call_mem(struct codebuf *c, struct x86_mem mem)
{
	x86_byte(c, 0xff);
	x86_modrm_mem(c, 2, mem, 0);
}

#endif
