/* SPDX-License-Identifier: MIT */
/*
 * The stack of calls in a key (struct agg_stack) as BPF.
 *
 * The words that the walk begins with are in place. The program reads one frame after the other by bpf_copy_from_user(),
 * which brings in pages that are absent. bpf_get_stack() would not: it ends a stack at such a page, and before Linux 6.19 another
 * thread on the same CPU can overwrite its buffer in a program that may sleep.
 *
 * r8 is the number of the next frame.
 */
#include "runtime/kernel/emitter.h"

enum {
	AT_FRAME_POINTER = AT_WORD,
	AT_LOWEST = AT_KEY, /* where the next frame may be, at the lowest */
};

/* Stores the address of the program's arguments as `exec`. Leaves it 0 if the kernel's BTF does not describe it. */
static void emit_exec(struct emitter *e, int at)
{
	label none = label_new(e);

	emit(e, BPF_ST_MEM(BPF_DW, BPF_REG_7, at, 0));
	if (!e->maps->stack || e->maps->stack->mm < 0 || e->maps->stack->arg_start < 0)
		return;
	emit(e, BPF_EMIT_CALL(BPF_FUNC_get_current_task_btf));
	emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_1, BPF_REG_0, e->maps->stack->mm));
	emit(e, BPF_JMP_IMM(BPF_JEQ, BPF_REG_1, 0, none));
	emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_1, BPF_REG_1, e->maps->stack->arg_start));
	emit(e, BPF_STX_MEM(BPF_DW, BPF_REG_7, BPF_REG_1, at));
	label_place(e, none);
}

/* Sets r8 and the two words of the stack from the words at the offset `frames` of scratch memory, and clears those. */
static void emit_walk_begin(struct emitter *e, int frames)
{
	label known = label_new(e);

	emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_1, BPF_REG_7, frames + 8 * (AGG_WORD_FRAME - AGG_WORD_SITE)));
	emit(e, BPF_STX_MEM(BPF_DW, BPF_REG_10, BPF_REG_1, AT_FRAME_POINTER));
	emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_1, BPF_REG_7, frames + 8 * (AGG_WORD_SP - AGG_WORD_SITE)));
	emit(e, BPF_STX_MEM(BPF_DW, BPF_REG_10, BPF_REG_1, AT_LOWEST));
	for (int i = 2; i < AGG_FRAMES; i++)
		emit(e, BPF_ST_MEM(BPF_DW, BPF_REG_7, frames + 8 * i, 0));
	emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_1, BPF_REG_7, frames + 8));
	emit(e, BPF_MOV64_IMM(BPF_REG_8, 2));
	emit(e, BPF_JMP_IMM(BPF_JNE, BPF_REG_1, 0, known));
	emit(e, BPF_MOV64_IMM(BPF_REG_8, 1));
	label_place(e, known);
}

void emit_stack(struct emitter *e, int at)
{
	const int frames = at + (int)offsetof(struct agg_stack, frames);
	label next = label_new(e), done = label_new(e);

	emit_exec(e, at + (int)offsetof(struct agg_stack, exec));
	emit_walk_begin(e, frames);
	label_place(e, next);
	emit(e, BPF_JMP_IMM(BPF_JGE, BPF_REG_8, AGG_FRAMES, done));
	emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_3, BPF_REG_10, AT_FRAME_POINTER));
	emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_2, BPF_REG_10, AT_LOWEST));
	emit(e, BPF_JMP_REG(BPF_JLT, BPF_REG_3, BPF_REG_2, done));
	emit(e, BPF_MOV64_REG(BPF_REG_1, BPF_REG_3));
	emit(e, BPF_ALU64_REG(BPF_SUB, BPF_REG_1, BPF_REG_2));
	emit(e, BPF_JMP_IMM(BPF_JGT, BPF_REG_1, AGG_FRAME_SIZE_MAX, done));
	emit(e, BPF_MOV64_REG(BPF_REG_1, BPF_REG_3));
	emit(e, BPF_ALU64_IMM(BPF_AND, BPF_REG_1, 7));
	emit(e, BPF_JMP_IMM(BPF_JNE, BPF_REG_1, 0, done));
	/* Reads the caller's frame pointer and the return address. */
	emit(e, BPF_MOV64_REG(BPF_REG_1, BPF_REG_7));
	emit(e, BPF_ALU64_IMM(BPF_ADD, BPF_REG_1, SCRATCH_TEXT));
	emit(e, BPF_MOV64_IMM(BPF_REG_2, 16));
	emit(e, BPF_EMIT_CALL(BPF_FUNC_copy_from_user));
	emit(e, BPF_JMP_IMM(BPF_JNE, BPF_REG_0, 0, done));
	emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_3, BPF_REG_7, SCRATCH_TEXT + 8));
	emit(e, BPF_JMP_IMM(BPF_JLT, BPF_REG_3, AGG_CODE_MIN, done));
	emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_2, BPF_REG_10, AT_LOWEST));
	emit(e, BPF_MOV64_REG(BPF_REG_1, BPF_REG_3));
	emit(e, BPF_ALU64_REG(BPF_SUB, BPF_REG_1, BPF_REG_2));
	emit(e, BPF_JMP_IMM(BPF_JLE, BPF_REG_1, AGG_FRAME_SIZE_MAX, done));
	emit(e, BPF_MOV64_REG(BPF_REG_1, BPF_REG_8));
	emit(e, BPF_ALU64_IMM(BPF_LSH, BPF_REG_1, 3));
	emit(e, BPF_MOV64_REG(BPF_REG_2, BPF_REG_7));
	emit(e, BPF_ALU64_REG(BPF_ADD, BPF_REG_2, BPF_REG_1));
	emit(e, BPF_STX_MEM(BPF_DW, BPF_REG_2, BPF_REG_3, frames));
	emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_1, BPF_REG_10, AT_FRAME_POINTER));
	emit(e, BPF_ALU64_IMM(BPF_ADD, BPF_REG_1, 16));
	emit(e, BPF_STX_MEM(BPF_DW, BPF_REG_10, BPF_REG_1, AT_LOWEST));
	emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_1, BPF_REG_7, SCRATCH_TEXT));
	emit(e, BPF_STX_MEM(BPF_DW, BPF_REG_10, BPF_REG_1, AT_FRAME_POINTER));
	emit(e, BPF_ALU64_IMM(BPF_ADD, BPF_REG_8, 1));
	emit(e, BPF_JMP_A(next));
	label_place(e, done);
}
