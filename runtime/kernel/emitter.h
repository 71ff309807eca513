/* SPDX-License-Identifier: MIT */
/*
 * An assembler for BPF, and what the parts of a program agree on.
 *
 * Registers: r6 the context (struct pt_regs), r7 the thread's scratch memory once it
 * was found (the record first, struct record_thread at its beginning), r8 the length
 * so far where there are strings, r9 the point's counters; r0 to r5 are anybody's.
 *
 * Stack: at most EMIT_STACK_MAX bytes. Since Linux 6.13 a program of this type that
 * has 64 bytes or more (sizes are rounded up to 16) runs on a stack of the CPU's. A
 * uprobe's program may sleep and may be preempted, so another thread on the same CPU
 * would overwrite that stack. Everything else is in the thread's task storage
 * (SCRATCH_...): the machine's value stack, a buffer for a string that is compared,
 * the record. Two programs never use one thread's scratch memory at the same time:
 * uprobes are hit in user mode only, signal handlers run there as well, and the kernel
 * runs the programs of one hit one after the other, each to its end.
 *
 * Jumps name labels, which are resolved at the end. What fails sets the emitter's
 * error, and nothing after it counts.
 */
#ifndef RUNTIME_KERNEL_EMITTER_H
#define RUNTIME_KERNEL_EMITTER_H

#include <linux/bpf.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/fetch/program.h"
#include "runtime/kernel/emit.h"

enum {
	AT_COOKIE = -8,
	AT_PIDTGID = AT_COOKIE - 8,
	AT_KEY = AT_PIDTGID - 8,
	AT_WORD = AT_KEY - 8,
	AT_TIME = AT_WORD - 8,
	AT_FRAME = AT_TIME - 8, /* of the call that ends */
	AT_END = AT_FRAME,
};
_Static_assert(AT_END >= -EMIT_STACK_MAX, "BPF's stack");

#define SCRATCH_ALIGN(n) (((n) + 7) & ~7ul)
enum {
	SCRATCH_RECORD = 0,
	SCRATCH_STACK = SCRATCH_ALIGN(sizeof(struct record_thread) + RECORD_SIZE_MAX + RECORD_STRING_ROOM), /* and up */
	SCRATCH_TEXT = SCRATCH_STACK + 8 * FETCH_DEPTH_MAX, /* a string that is compared, FETCH_LITERAL_MAX + NUL */
	SCRATCH_END = SCRATCH_TEXT + 72,
};
_Static_assert(EMIT_SCRATCH_SIZE >= SCRATCH_END, "scratch");

typedef int label;

struct emitter {
	struct bpf_insn *insns;
	size_t n, room;
	struct {
		size_t insn;
		label to;
	} * jumps;
	size_t njumps, jumps_room;
	int *labels; /* instruction, or -1 */
	int nlabels, labels_room;
	int error;
	const struct emit_maps *maps;
	uint32_t attachment;
	const struct cpu *cpu;
	enum site_role role;
};

void emitter_add(struct emitter *e, struct bpf_insn insn);
label label_new(struct emitter *e);
/* Here is what the label means. */
void label_place(struct emitter *e, label l);
/* The next instruction jumps to the label. */
void label_jump(struct emitter *e, label l);
/* 0; -ENOMEM, or -E2BIG where jumps would not reach: with a sentence. */
int emitter_resolve(struct emitter *e);
/* All but the instructions. */
void emitter_release(struct emitter *e);

/* emit-steps.c: the steps of a fetch program, without its predicate and of it. */
void emit_arguments(struct emitter *e, const struct fetch_program *p);
void emit_predicate(struct emitter *e, const struct fetch_program *p, label filtered);

/* emit-calls.c: where a call begins, all that is left to do; where one ends, leads on if it was seen to begin. */
void emit_call(struct emitter *e, label out);
void emit_leave(struct emitter *e, label out);

#define INSN(c, d, s, o, i) ((struct bpf_insn){ .code = (c), .dst_reg = (d), .src_reg = (s), .off = (o), .imm = (i) })

static inline void mov(struct emitter *e, int dst, int src)
{
	emitter_add(e, INSN(BPF_ALU64 | BPF_MOV | BPF_X, dst, src, 0, 0));
}

static inline void alu(struct emitter *e, int op, int dst, int src)
{
	emitter_add(e, INSN(BPF_ALU64 | op | BPF_X, dst, src, 0, 0));
}

static inline void alu_imm(struct emitter *e, int op, int dst, int32_t imm)
{
	emitter_add(e, INSN(BPF_ALU64 | op | BPF_K, dst, 0, 0, imm));
}

static inline void load(struct emitter *e, int size, int dst, int src, int off)
{
	emitter_add(e, INSN(BPF_LDX | BPF_MEM | size, dst, src, off, 0));
}

static inline void store(struct emitter *e, int size, int dst, int off, int src)
{
	emitter_add(e, INSN(BPF_STX | BPF_MEM | size, dst, src, off, 0));
}

static inline void store_imm(struct emitter *e, int size, int dst, int off, int32_t imm)
{
	emitter_add(e, INSN(BPF_ST | BPF_MEM | size, dst, 0, off, imm));
}

static inline void call(struct emitter *e, int helper)
{
	emitter_add(e, INSN(BPF_JMP | BPF_CALL, 0, 0, 0, helper));
}

static inline void imm64(struct emitter *e, int dst, int64_t value)
{
	if (value == (int32_t)value) {
		emitter_add(e, INSN(BPF_ALU64 | BPF_MOV | BPF_K, dst, 0, 0, (int32_t)value));
		return;
	}
	emitter_add(e, INSN(BPF_LD | BPF_DW | BPF_IMM, dst, 0, 0, (int32_t)value));
	emitter_add(e, INSN(0, 0, 0, 0, (int32_t)(value >> 32)));
}

static inline void map(struct emitter *e, int dst, int fd)
{
	emitter_add(e, INSN(BPF_LD | BPF_DW | BPF_IMM, dst, BPF_PSEUDO_MAP_FD, 0, fd));
	emitter_add(e, INSN(0, 0, 0, 0, 0));
}

static inline void map_value(struct emitter *e, int dst, int fd)
{
	emitter_add(e, INSN(BPF_LD | BPF_DW | BPF_IMM, dst, BPF_PSEUDO_MAP_VALUE, 0, fd));
	emitter_add(e, INSN(0, 0, 0, 0, 0));
}

static inline void address(struct emitter *e, int dst, int at)
{
	mov(e, dst, BPF_REG_10);
	alu_imm(e, BPF_ADD, dst, at);
}

static inline void jump(struct emitter *e, label to)
{
	label_jump(e, to);
	emitter_add(e, INSN(BPF_JMP | BPF_JA, 0, 0, 0, 0));
}

static inline void jump_if(struct emitter *e, int op, int dst, int32_t imm, label to)
{
	label_jump(e, to);
	emitter_add(e, INSN(BPF_JMP | op | BPF_K, dst, 0, 0, imm));
}

static inline void jump_if_reg(struct emitter *e, int op, int dst, int src, label to)
{
	label_jump(e, to);
	emitter_add(e, INSN(BPF_JMP | op | BPF_X, dst, src, 0, 0));
}

/* dst = the point, or the spec, of the link's cookie */
static inline void load_point(struct emitter *e, int dst)
{
	load(e, BPF_DW, dst, BPF_REG_10, AT_COOKIE);
	alu_imm(e, BPF_AND, dst, (1 << COOKIE_POINT_BITS) - 1);
}

static inline void load_spec(struct emitter *e, int dst)
{
	load(e, BPF_DW, dst, BPF_REG_10, AT_COOKIE);
	alu_imm(e, BPF_RSH, dst, COOKIE_POINT_BITS);
	alu_imm(e, BPF_AND, dst, (1 << COOKIE_SPEC_BITS) - 1);
}

/* *(base + off) += imm; spoils r1 */
static inline void add_to(struct emitter *e, int base, int off, int32_t imm)
{
	emitter_add(e, INSN(BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_1, 0, 0, imm));
	emitter_add(e, INSN(BPF_STX | BPF_ATOMIC | BPF_DW, base, BPF_REG_1, off, BPF_ADD));
}

static inline void count(struct emitter *e, int off)
{
	add_to(e, BPF_REG_9, off, 1);
}

#endif
