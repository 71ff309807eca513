/* SPDX-License-Identifier: MIT */
/* What the programs for calls share: emit-returns.c and emit-calls.c. */
#include "runtime/kernel/emit-frames.h"

/* r7 = the frames of the task in r0, if it has any */
void emit_frames(struct emitter *e, label none)
{
	emit(e, BPF_MOV64_REG(BPF_REG_2, BPF_REG_0));
	emit_map_fd(e, BPF_REG_1, e->maps->frames);
	emit(e, BPF_MOV64_IMM(BPF_REG_3, 0));
	emit(e, BPF_MOV64_IMM(BPF_REG_4, 0));
	emit(e, BPF_EMIT_CALL(BPF_FUNC_task_storage_get));
	emit(e, BPF_JMP_IMM(BPF_JEQ, BPF_REG_0, 0, none));
	emit(e, BPF_MOV64_REG(BPF_REG_7, BPF_REG_0));
}

/* dst = the address of the frame with the index in dst */
void emit_frame_address(struct emitter *e, int dst)
{
	emit(e, BPF_ALU64_IMM(BPF_MUL, dst, FRAME));
	emit(e, BPF_ALU64_REG(BPF_ADD, dst, BPF_REG_7));
	emit(e, BPF_ALU64_IMM(BPF_ADD, dst, FRAMES));
}

/* r1 = the index, r2 = the address of the innermost frame */
void emit_innermost(struct emitter *e, label none)
{
	emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_1, BPF_REG_7, offsetof(struct kernel_frames, depth)));
	/* JLT 1 instead of JEQ 0, after which the verifier of Linux 6.1 does not know the range of r1 - 1. */
	emit(e, BPF_JMP_IMM(BPF_JLT, BPF_REG_1, 1, none));
	emit(e, BPF_JMP_IMM(BPF_JGT, BPF_REG_1, (int32_t)e->maps->depth, none));
	emit(e, BPF_ALU64_IMM(BPF_SUB, BPF_REG_1, 1));
	emit(e, BPF_MOV64_REG(BPF_REG_2, BPF_REG_1));
	emit_frame_address(e, BPF_REG_2);
}

/* r0 = the struct kernel_calls of the point in AT_KEY */
void emit_calls(struct emitter *e, label none)
{
	emit_map_fd(e, BPF_REG_1, e->maps->calls);
	emit_stack_address(e, BPF_REG_2, AT_KEY);
	emit(e, BPF_EMIT_CALL(BPF_FUNC_map_lookup_elem));
	emit(e, BPF_JMP_IMM(BPF_JEQ, BPF_REG_0, 0, none));
}

/* r0 = the struct kernel_calls of the program's point */
void emit_own_calls(struct emitter *e, label none)
{
	emit_point(e, BPF_REG_1);
	emit(e, BPF_STX_MEM(BPF_W, BPF_REG_10, BPF_REG_1, AT_KEY));
	emit_calls(e, none);
}

void emit_abandon_innermost(struct emitter *e, label next, label none)
{
	/* The point becomes the key, and what follows it is read again after the call. */
	_Static_assert(offsetof(struct kernel_frame, what) == offsetof(struct kernel_frame, point) + 4, "one word");

	emit(e, BPF_STX_MEM(BPF_DW, BPF_REG_7, BPF_REG_1, offsetof(struct kernel_frames, depth)));
	emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_1, BPF_REG_2, offsetof(struct kernel_frame, point)));
	emit(e, BPF_STX_MEM(BPF_DW, BPF_REG_10, BPF_REG_1, AT_KEY));
	emit_calls(e, none);
	emit(e, BPF_LDX_MEM(BPF_W, BPF_REG_1, BPF_REG_10, AT_KEY + 4));
	emit_frame_flag(e, BPF_REG_1, KERNEL_FRAME_MISSED);
	emit(e, BPF_ALU64_IMM(BPF_XOR, BPF_REG_1, 1));
	emit(e, BPF_ATOMIC_OP(BPF_DW, BPF_ADD, BPF_REG_0, BPF_REG_1, offsetof(struct kernel_calls, abandoned)));
	emit(e, BPF_ALU64_IMM(BPF_NEG, BPF_REG_1, 0));
	emit(e, BPF_ATOMIC_OP(BPF_DW, BPF_ADD, BPF_REG_0, BPF_REG_1, offsetof(struct kernel_calls, active)));
	emit(e, BPF_JMP_A(next));
}

void emit_frame_flag(struct emitter *e, int reg, uint32_t flag)
{
	emit(e, BPF_ALU64_IMM(BPF_RSH, reg, __builtin_ctz(flag)));
	emit(e, BPF_ALU64_IMM(BPF_AND, reg, 1));
}

/* Returns the label of a loop that runs at most depth times and then jumps to end. */
label emit_loop(struct emitter *e, label end)
{
	label loop = label_new(e);

	emit(e, BPF_ST_MEM(BPF_DW, BPF_REG_10, AT_WORD, 0));
	label_place(e, loop);
	emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_1, BPF_REG_10, AT_WORD));
	emit(e, BPF_JMP_IMM(BPF_JGT, BPF_REG_1, (int32_t)e->maps->depth, end));
	emit(e, BPF_ALU64_IMM(BPF_ADD, BPF_REG_1, 1));
	emit(e, BPF_STX_MEM(BPF_DW, BPF_REG_10, BPF_REG_1, AT_WORD));
	return loop;
}

/* Computes the duration of the call in AT_FRAME and stores it as the frame's time. r8 is the overhead of its traps. */
void emit_duration(struct emitter *e)
{
	label positive = label_new(e);

	emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_2, BPF_REG_10, AT_FRAME));
	emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_0, BPF_REG_7, offsetof(struct kernel_frames, now)));
	emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_1, BPF_REG_2, offsetof(struct kernel_frame, time)));
	emit(e, BPF_ALU64_REG(BPF_SUB, BPF_REG_0, BPF_REG_1));
	emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_3, BPF_REG_7, offsetof(struct kernel_frames, spent)));
	emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_1, BPF_REG_2, offsetof(struct kernel_frame, spent)));
	emit(e, BPF_ALU64_REG(BPF_ADD, BPF_REG_0, BPF_REG_1));
	emit(e, BPF_ALU64_REG(BPF_SUB, BPF_REG_0, BPF_REG_3));
	emit(e, BPF_ALU64_REG(BPF_SUB, BPF_REG_0, BPF_REG_8));
	emit(e, BPF_JMP_IMM(BPF_JSGT, BPF_REG_0, 1, positive));
	emit(e, BPF_MOV64_IMM(BPF_REG_0, 1)); /* every call takes some time */
	label_place(e, positive);
	emit(e, BPF_STX_MEM(BPF_DW, BPF_REG_2, BPF_REG_0, offsetof(struct kernel_frame, time)));
	/* The calls around this one contain both of its traps. */
	emit(e, BPF_ALU64_REG(BPF_ADD, BPF_REG_3, BPF_REG_8));
	emit(e, BPF_ALU64_REG(BPF_ADD, BPF_REG_3, BPF_REG_8));
	emit(e, BPF_STX_MEM(BPF_DW, BPF_REG_7, BPF_REG_3, offsetof(struct kernel_frames, spent)));
}
