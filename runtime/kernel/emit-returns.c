/* SPDX-License-Identifier: MIT */
/*
 * Calls: from a function's first instruction to where it is left.
 *
 * Each call that is watched has a frame in its thread's task storage: the stack pointer
 * at the entry, the time, the arguments. Where the function is left the stack
 * pointer is the same again, which finds the frame. Frames stand in the order in
 * which they were made, so their stack pointers go down, and whatever a thread does,
 * its stack pointer tells which of them are over:
 *
 * - At an entry, a frame that is not above the stack pointer is of a call that is no
 *   longer there: a longjmp or an exception took it away. (The return address of a
 *   call that goes on lies where its frame says, and the new call's lies lower.)
 * - Where a function is left, a frame below the stack pointer is over likewise, and
 *   the one at the stack pointer is the call's own, if it is of this function.
 * - At a thread's end, and when it executes another program, all of them are over.
 *
 * Those are abandoned. A call for which there is no frame (it began before the points
 * were armed, or was missed) leaves without being counted. So entries = hits +
 * missed + active + abandoned, at any moment at which no program runs.
 *
 * What a call takes is the time from the end of the entry's program to the begin of the
 * other one's. The traps around these are in it, and those of calls within: the first is
 * measured when the attachment is armed (overhead_call_ns()) and subtracted, the others are added up
 * for the thread. What programs of other sessions and tools add stays in it.
 *
 * Only the thread itself touches its frames. The number of calls that are active is
 * kept for each probe over all threads; whoever would raise it above maxactive takes
 * it back and is missed. Loops are counted by AT_WORD, which the verifier can follow.
 */
#include <errno.h>
#include <stdlib.h>

#include "runtime/kernel/emitter.h"
#include "base/error.h"
#include "sdt/operand.h"

#define RSP 4

enum { FRAME = sizeof(struct kernel_frame), FRAMES = offsetof(struct kernel_frames, frames) };

/* r7 = the task's frames; r0 is the task. */
static void find_frames(struct emitter *e, bool create, label none)
{
	emit(e, BPF_MOV64_REG(BPF_REG_2, BPF_REG_0));
	emit_map_fd(e, BPF_REG_1, e->maps->frames);
	emit(e, BPF_MOV64_IMM(BPF_REG_3, 0));
	emit_imm64(e, BPF_REG_4, create ? BPF_LOCAL_STORAGE_GET_F_CREATE : 0);
	emit(e, BPF_EMIT_CALL(BPF_FUNC_task_storage_get));
	emit(e, BPF_JMP_IMM(BPF_JEQ, BPF_REG_0, 0, none));
	emit(e, BPF_MOV64_REG(BPF_REG_7, BPF_REG_0));
}

/* r1 = index, r2 = address of the innermost frame. */
static void innermost(struct emitter *e, label none)
{
	emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_1, BPF_REG_7, 0));
	emit(e,
	     BPF_JMP_IMM(BPF_JLT, BPF_REG_1, 1, none)); /* JEQ 0 tells the verifier of Linux 6.1 nothing about r1 - 1 */
	emit(e, BPF_JMP_IMM(BPF_JGT, BPF_REG_1, (int32_t)e->maps->depth, none));
	emit(e, BPF_ALU64_IMM(BPF_SUB, BPF_REG_1, 1));
	emit(e, BPF_MOV64_REG(BPF_REG_2, BPF_REG_1));
	emit(e, BPF_ALU64_IMM(BPF_MUL, BPF_REG_2, FRAME));
	emit(e, BPF_ALU64_REG(BPF_ADD, BPF_REG_2, BPF_REG_7));
	emit(e, BPF_ALU64_IMM(BPF_ADD, BPF_REG_2, FRAMES));
}

/* r0 = what `calls` has of the point in AT_KEY. */
static void find_calls(struct emitter *e, label none)
{
	emit_map_fd(e, BPF_REG_1, e->maps->returns);
	emit_stack_address(e, BPF_REG_2, AT_KEY);
	emit(e, BPF_EMIT_CALL(BPF_FUNC_map_lookup_elem));
	emit(e, BPF_JMP_IMM(BPF_JEQ, BPF_REG_0, 0, none));
}

/* Takes out the innermost frame, r1 and r2 as innermost() leaves them, as abandoned. Goes to next. */
static void abandon(struct emitter *e, label next)
{
	emit(e, BPF_STX_MEM(BPF_DW, BPF_REG_7, BPF_REG_1, 0));
	emit(e, BPF_LDX_MEM(BPF_W, BPF_REG_1, BPF_REG_2, offsetof(struct kernel_frame, point)));
	emit(e, BPF_STX_MEM(BPF_W, BPF_REG_10, BPF_REG_1, AT_KEY));
	find_calls(e, next);
	emit_atomic_add(e, BPF_REG_0, offsetof(struct kernel_calls, active), -1);
	emit_atomic_add(e, BPF_REG_0, offsetof(struct kernel_calls, abandoned), 1);
	emit(e, BPF_JMP_A(next));
}

static void loop_begin(struct emitter *e, label *loop, label end)
{
	*loop = label_new(e);
	emit(e, BPF_ST_MEM(BPF_DW, BPF_REG_10, AT_WORD, 0));
	label_place(e, *loop);
	emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_1, BPF_REG_10, AT_WORD));
	emit(e, BPF_JMP_IMM(BPF_JGT, BPF_REG_1, (int32_t)e->maps->depth, end));
	emit(e, BPF_ALU64_IMM(BPF_ADD, BPF_REG_1, 1));
	emit(e, BPF_STX_MEM(BPF_DW, BPF_REG_10, BPF_REG_1, AT_WORD));
}

static void own_key(struct emitter *e)
{
	emit_point(e, BPF_REG_1);
	emit(e, BPF_STX_MEM(BPF_W, BPF_REG_10, BPF_REG_1, AT_KEY));
}

void emit_call(struct emitter *e, label out)
{
	static const int entry[] = LEAVE_ENTRY_REGISTERS;
	label missed = label_new(e), too_many = label_new(e), push = label_new(e), loop;

	/* r9: the counters of all shards are not needed any more, those of the calls are. */
	own_key(e);
	find_calls(e, out);
	emit(e, BPF_MOV64_REG(BPF_REG_9, BPF_REG_0));
	emit(e, BPF_EMIT_CALL(BPF_FUNC_get_current_task_btf));
	find_frames(e, true, missed);
	emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_8, BPF_REG_6, e->cpu->pt_regs[RSP]));
	loop_begin(e, &loop, push);
	innermost(e, push);
	emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_3, BPF_REG_2, offsetof(struct kernel_frame, sp)));
	emit(e, BPF_JMP_REG(BPF_JGT, BPF_REG_3, BPF_REG_8, push));
	abandon(e, loop);

	label_place(e, push);
	emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_2, BPF_REG_7, 0));
	emit(e, BPF_JMP_IMM(BPF_JGE, BPF_REG_2, (int32_t)e->maps->depth, missed));
	emit(e, BPF_MOV64_IMM(BPF_REG_1, 1));
	emit(e,
	     BPF_ATOMIC_OP(BPF_DW, BPF_ADD | BPF_FETCH, BPF_REG_9, BPF_REG_1, offsetof(struct kernel_calls, active)));
	emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_3, BPF_REG_9, offsetof(struct kernel_calls, maxactive)));
	emit(e, BPF_JMP_REG(BPF_JGE, BPF_REG_1, BPF_REG_3, too_many));
	emit(e, BPF_MOV64_REG(BPF_REG_3, BPF_REG_2));
	emit(e, BPF_ALU64_IMM(BPF_MUL, BPF_REG_3, FRAME));
	emit(e, BPF_ALU64_REG(BPF_ADD, BPF_REG_3, BPF_REG_7));
	emit(e, BPF_ALU64_IMM(BPF_ADD, BPF_REG_3, FRAMES));
	emit(e, BPF_STX_MEM(BPF_DW, BPF_REG_3, BPF_REG_8, offsetof(struct kernel_frame, sp)));
	emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_1, BPF_REG_7, offsetof(struct kernel_frames, spent)));
	emit(e, BPF_STX_MEM(BPF_DW, BPF_REG_3, BPF_REG_1, offsetof(struct kernel_frame, spent)));
	emit_point(e, BPF_REG_1);
	emit(e, BPF_STX_MEM(BPF_W, BPF_REG_3, BPF_REG_1, offsetof(struct kernel_frame, point)));
	for (int i = 0; i < LEAVE_ENTRY_COUNT; i++) {
		emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_1, BPF_REG_6, e->cpu->pt_regs[entry[i]]));
		emit(e, BPF_STX_MEM(BPF_DW, BPF_REG_3, BPF_REG_1, (int)offsetof(struct kernel_frame, args) + 8 * i));
	}
	emit(e, BPF_ALU64_IMM(BPF_ADD, BPF_REG_2, 1));
	emit(e, BPF_STX_MEM(BPF_DW, BPF_REG_7, BPF_REG_2, 0));
	/* The time last, so that all this is not in it. */
	emit(e, BPF_MOV64_REG(BPF_REG_8, BPF_REG_3));
	emit(e, BPF_EMIT_CALL(BPF_FUNC_ktime_get_ns));
	emit(e, BPF_STX_MEM(BPF_DW, BPF_REG_8, BPF_REG_0, offsetof(struct kernel_frame, time)));
	emit(e, BPF_JMP_A(out));
	label_place(e, too_many);
	emit_atomic_add(e, BPF_REG_9, offsetof(struct kernel_calls, active), -1);
	label_place(e, missed);
	emit_atomic_add(e, BPF_REG_9, offsetof(struct kernel_calls, missed), 1);
}

void emit_leave(struct emitter *e, label out)
{
	label found = label_new(e), some = label_new(e), loop;

	emit(e, BPF_EMIT_CALL(BPF_FUNC_get_current_task_btf));
	find_frames(e, false, out);
	emit(e, BPF_EMIT_CALL(BPF_FUNC_ktime_get_ns));
	emit(e, BPF_STX_MEM(BPF_DW, BPF_REG_7, BPF_REG_0, offsetof(struct kernel_frames, now)));
	emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_8, BPF_REG_6, e->cpu->pt_regs[RSP]));
	loop_begin(e, &loop, out);
	innermost(e, out);
	emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_3, BPF_REG_2, offsetof(struct kernel_frame, sp)));
	emit(e, BPF_JMP_REG(BPF_JGT, BPF_REG_3, BPF_REG_8, out));
	emit(e, BPF_JMP_REG(BPF_JEQ, BPF_REG_3, BPF_REG_8, found));
	abandon(e, loop);

	label_place(e, found);
	emit(e, BPF_STX_MEM(BPF_DW, BPF_REG_10, BPF_REG_2, AT_FRAME));
	emit(e, BPF_STX_MEM(BPF_DW, BPF_REG_10, BPF_REG_1, AT_TIME)); /* the frame's index, until the time is known */
	own_key(e);
	find_calls(e, out);
	emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_1, BPF_REG_0, offsetof(struct kernel_calls, owner)));
	emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_2, BPF_REG_10, AT_FRAME));
	emit(e, BPF_LDX_MEM(BPF_W, BPF_REG_3, BPF_REG_2, offsetof(struct kernel_frame, point)));
	emit(e, BPF_JMP_REG(BPF_JNE, BPF_REG_1, BPF_REG_3, out));
	emit(e, BPF_STX_MEM(BPF_W, BPF_REG_10, BPF_REG_3, AT_KEY));
	find_calls(e, out);
	emit_atomic_add(e, BPF_REG_0, offsetof(struct kernel_calls, active), -1);
	emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_8, BPF_REG_0, offsetof(struct kernel_calls, overhead)));
	emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_1, BPF_REG_10, AT_TIME));
	emit(e, BPF_STX_MEM(BPF_DW, BPF_REG_7, BPF_REG_1, 0));
	emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_2, BPF_REG_10, AT_FRAME));
	emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_0, BPF_REG_7, offsetof(struct kernel_frames, now)));
	emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_1, BPF_REG_2, offsetof(struct kernel_frame, time)));
	emit(e, BPF_ALU64_REG(BPF_SUB, BPF_REG_0, BPF_REG_1));
	emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_3, BPF_REG_7, offsetof(struct kernel_frames, spent)));
	emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_1, BPF_REG_2, offsetof(struct kernel_frame, spent)));
	emit(e, BPF_ALU64_REG(BPF_ADD, BPF_REG_0, BPF_REG_1));
	emit(e, BPF_ALU64_REG(BPF_SUB, BPF_REG_0, BPF_REG_3));
	emit(e, BPF_ALU64_REG(BPF_SUB, BPF_REG_0, BPF_REG_8));
	emit(e, BPF_JMP_IMM(BPF_JSGT, BPF_REG_0, 1, some));
	emit(e, BPF_MOV64_IMM(BPF_REG_0, 1)); /* no call takes no time */
	label_place(e, some);
	emit(e, BPF_STX_MEM(BPF_DW, BPF_REG_2, BPF_REG_0, offsetof(struct kernel_frame, time)));
	/* For those around it two traps have passed. */
	emit(e, BPF_ALU64_REG(BPF_ADD, BPF_REG_3, BPF_REG_8));
	emit(e, BPF_ALU64_REG(BPF_ADD, BPF_REG_3, BPF_REG_8));
	emit(e, BPF_STX_MEM(BPF_DW, BPF_REG_7, BPF_REG_3, offsetof(struct kernel_frames, spent)));
}

int emit_abandon(const struct emit_maps *maps, struct emitted *out)
{
	struct emitter e = { .maps = maps };
	label end = label_new(&e), loop;

	emit(&e, BPF_LDX_MEM(BPF_DW, BPF_REG_0, BPF_REG_1, 0));
	find_frames(&e, false, end);
	loop_begin(&e, &loop, end);
	innermost(&e, end);
	abandon(&e, loop);
	label_place(&e, end);
	emit_exit(&e);
	return emitter_finish(&e, out);
}
