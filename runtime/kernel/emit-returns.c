/* SPDX-License-Identifier: MIT */
/*
 * Calls of a function, from its first instruction to the instruction at which it is left.
 *
 * 1. Each call in flight has a frame in its thread's task storage: the stack pointer at the entry, the time, and the
 *    arguments. When the function is left, the stack pointer has the same value again, which identifies the frame.
 * 2. Frames are stored in the order of their creation, so their stack pointers decrease. The stack pointer of the
 *    thread therefore shows which frames are over:
 *    - At an entry, a frame whose stack pointer is not above the thread's is over: a longjmp or an exception removed
 *      the call. (On x86-64 the return address of a call that continues is at the frame's stack pointer, and that of
 *      the new call is below it. On aarch64 a function stores its return address below its frame's stack pointer
 *      before it calls another one, unless that one never returns.)
 *    - When a function is left, a frame below the thread's stack pointer is over likewise. The frame at the stack
 *      pointer belongs to the call that ends, if it has the same function.
 *    - When a thread exits or executes another program, all its frames are over.
 *    These calls are abandoned.
 * 3. A call without a frame began before the points were armed, or it was missed. Its end is not counted. So at any
 *    moment at which no program runs: entries = hits + missed + active + abandoned.
 * 4. The number of active calls is counted per probe over all threads. A thread whose increment exceeds maxactive takes
 *    the increment back and counts the call as missed.
 * 5. The duration of a call is the time from the end of the program at its entry to the beginning of the program at its
 *    end. It contains the traps around these programs, and the traps of calls within it. The former are measured when
 *    the attachment is armed (overhead_call_ns()) and subtracted. The latter are added up for the thread and subtracted
 *    too. The time of programs of other sessions and tools remains.
 *
 * Only the thread itself accesses its frames. Loops use AT_WORD as counter, because the verifier can follow that.
 *
 * The same stack has the frames of calls between probes (emit-calls.c), which are not exact: other frames may have the same
 * stack pointer. At an entry such a frame may go on if it has the thread's stack pointer; when a function is left, it is
 * over.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/error.h"
#include "runtime/kernel/emit-frames.h"
#include "sdt/operand.h"

/* ---- the beginning of a call ---- */

/* Fills in the frame in r3, whose index is in r2, and adds it to the thread's frames. r8 is the stack pointer. */
static void emit_push(struct emitter *e)
{
	emit(e, BPF_STX_MEM(BPF_DW, BPF_REG_3, BPF_REG_8, offsetof(struct kernel_frame, sp)));
	emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_1, BPF_REG_7, offsetof(struct kernel_frames, spent)));
	emit(e, BPF_STX_MEM(BPF_DW, BPF_REG_3, BPF_REG_1, offsetof(struct kernel_frame, spent)));
	emit_point(e, BPF_REG_1);
	emit(e, BPF_STX_MEM(BPF_W, BPF_REG_3, BPF_REG_1, offsetof(struct kernel_frame, point)));
	emit(e, BPF_ALU64_IMM(BPF_OR, BPF_REG_1, KERNEL_FRAME_EXACT));
	emit(e, BPF_STX_MEM(BPF_W, BPF_REG_3, BPF_REG_1, offsetof(struct kernel_frame, what)));
	for (int i = 0; i < e->abi->nargs; i++) {
		emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_1, BPF_REG_6, e->cpu->pt_regs[e->abi->args[i]]));
		emit(e, BPF_STX_MEM(BPF_DW, BPF_REG_3, BPF_REG_1, (int)offsetof(struct kernel_frame, args) + 8 * i));
	}
	emit(e, BPF_ALU64_IMM(BPF_ADD, BPF_REG_2, 1));
	emit(e, BPF_STX_MEM(BPF_DW, BPF_REG_7, BPF_REG_2, offsetof(struct kernel_frames, depth)));
	/* The time is read last, so that it does not contain the instructions before. */
	emit(e, BPF_MOV64_REG(BPF_REG_8, BPF_REG_3));
	emit(e, BPF_EMIT_CALL(BPF_FUNC_ktime_get_ns));
	emit(e, BPF_STX_MEM(BPF_DW, BPF_REG_8, BPF_REG_0, offsetof(struct kernel_frame, time)));
}

void emit_call(struct emitter *e, label out)
{
	label missed = label_new(e), too_many = label_new(e), push = label_new(e), loop;

	/* From here on r9 has the point's struct kernel_calls: the point's counters are not needed any more. */
	emit_own_calls(e, out);
	emit(e, BPF_MOV64_REG(BPF_REG_9, BPF_REG_0));
	emit_thread_storage(e, e->maps->frames, missed);
	emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_8, BPF_REG_6, e->cpu->pt_regs[e->abi->sp]));
	loop = emit_loop(e, push);
	emit_innermost(e, push);
	/* The frame is not over if its stack pointer is above, or equal and not exact. */
	emit(e, BPF_LDX_MEM(BPF_W, BPF_REG_3, BPF_REG_2, offsetof(struct kernel_frame, what)));
	emit_frame_flag(e, BPF_REG_3, KERNEL_FRAME_EXACT);
	emit(e, BPF_ALU64_IMM(BPF_XOR, BPF_REG_3, 1));
	emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_4, BPF_REG_2, offsetof(struct kernel_frame, sp)));
	emit(e, BPF_ALU64_REG(BPF_ADD, BPF_REG_3, BPF_REG_4));
	emit(e, BPF_JMP_REG(BPF_JGT, BPF_REG_3, BPF_REG_8, push));
	emit_abandon_innermost(e, loop, push);

	label_place(e, push);
	emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_2, BPF_REG_7, offsetof(struct kernel_frames, depth)));
	emit(e, BPF_JMP_IMM(BPF_JGE, BPF_REG_2, (int32_t)e->maps->depth, missed));
	emit(e, BPF_MOV64_IMM(BPF_REG_1, 1));
	emit(e,
	     BPF_ATOMIC_OP(BPF_DW, BPF_ADD | BPF_FETCH, BPF_REG_9, BPF_REG_1, offsetof(struct kernel_calls, active)));
	emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_3, BPF_REG_9, offsetof(struct kernel_calls, maxactive)));
	emit(e, BPF_JMP_REG(BPF_JGE, BPF_REG_1, BPF_REG_3, too_many));
	emit(e, BPF_MOV64_REG(BPF_REG_3, BPF_REG_2));
	emit_frame_address(e, BPF_REG_3);
	emit_push(e);
	emit(e, BPF_JMP_A(out));

	label_place(e, too_many);
	emit_atomic_add(e, BPF_REG_9, offsetof(struct kernel_calls, active), -1);
	label_place(e, missed);
	emit_atomic_add(e, BPF_REG_9, offsetof(struct kernel_calls, missed), 1);
}

/* ---- the end of a call ---- */

void emit_leave(struct emitter *e, label out)
{
	label found = label_new(e), loop;

	emit(e, BPF_EMIT_CALL(BPF_FUNC_get_current_task_btf));
	emit_frames(e, out);
	emit(e, BPF_EMIT_CALL(BPF_FUNC_ktime_get_ns));
	emit(e, BPF_STX_MEM(BPF_DW, BPF_REG_7, BPF_REG_0, offsetof(struct kernel_frames, now)));
	emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_8, BPF_REG_6, e->cpu->pt_regs[e->abi->sp]));
	if (e->match == MATCH_RETURN && e->abi->return_size) /* the return address has been popped */
		emit(e, BPF_ALU64_IMM(BPF_SUB, BPF_REG_8, e->abi->return_size));
	loop = emit_loop(e, out);
	emit_innermost(e, out);
	emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_3, BPF_REG_2, offsetof(struct kernel_frame, sp)));
	emit(e, BPF_JMP_REG(BPF_JGT, BPF_REG_3, BPF_REG_8, out));
	/* The frame is the call's if its stack pointer is equal and exact: their sum is then r8 + 1. */
	emit(e, BPF_LDX_MEM(BPF_W, BPF_REG_4, BPF_REG_2, offsetof(struct kernel_frame, what)));
	emit_frame_flag(e, BPF_REG_4, KERNEL_FRAME_EXACT);
	emit(e, BPF_ALU64_REG(BPF_ADD, BPF_REG_3, BPF_REG_4));
	emit(e, BPF_JMP_REG(BPF_JGT, BPF_REG_3, BPF_REG_8, found));
	emit_abandon_innermost(e, loop, out);

	label_place(e, found);
	emit(e, BPF_STX_MEM(BPF_DW, BPF_REG_10, BPF_REG_2, AT_FRAME));
	emit(e, BPF_STX_MEM(BPF_DW, BPF_REG_10, BPF_REG_1, AT_TIME)); /* the index, until the time is needed */
	emit_own_calls(e, out);
	emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_1, BPF_REG_0, offsetof(struct kernel_calls, owner)));
	emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_2, BPF_REG_10, AT_FRAME));
	emit(e, BPF_LDX_MEM(BPF_W, BPF_REG_3, BPF_REG_2, offsetof(struct kernel_frame, point)));
	emit(e, BPF_JMP_REG(BPF_JNE, BPF_REG_1, BPF_REG_3, out)); /* the call of another function */
	emit(e, BPF_STX_MEM(BPF_W, BPF_REG_10, BPF_REG_3, AT_KEY));
	emit_calls(e, out);
	emit_atomic_add(e, BPF_REG_0, offsetof(struct kernel_calls, active), -1);
	emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_8, BPF_REG_0, offsetof(struct kernel_calls, overhead)));
	emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_1, BPF_REG_10, AT_TIME));
	emit(e, BPF_STX_MEM(BPF_DW, BPF_REG_7, BPF_REG_1, offsetof(struct kernel_frames, depth)));
	emit_duration(e);
}

/* ---- the end of a thread ---- */

int emit_abandon(const struct emit_maps *maps, struct emitted *out)
{
	struct emitter e = { .maps = maps };
	label end = label_new(&e), loop;

	emit(&e, BPF_LDX_MEM(BPF_DW, BPF_REG_0, BPF_REG_1, 0));
	emit_frames(&e, end);
	loop = emit_loop(&e, end);
	emit_innermost(&e, end);
	emit_abandon_innermost(&e, loop, end);
	label_place(&e, end);
	emit_exit(&e);
	return emitter_finish(&e, out);
}
