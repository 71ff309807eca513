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
 * measured when the attachment is armed (cost_call()) and subtracted, the others are added up
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
	mov(e, BPF_REG_2, BPF_REG_0);
	map(e, BPF_REG_1, e->maps->frames);
	imm64(e, BPF_REG_3, 0);
	imm64(e, BPF_REG_4, create ? BPF_LOCAL_STORAGE_GET_F_CREATE : 0);
	call(e, BPF_FUNC_task_storage_get);
	jump_if(e, BPF_JEQ, BPF_REG_0, 0, none);
	mov(e, BPF_REG_7, BPF_REG_0);
}

/* r1 = index, r2 = address of the innermost frame. */
static void innermost(struct emitter *e, label none)
{
	load(e, BPF_DW, BPF_REG_1, BPF_REG_7, 0);
	jump_if(e, BPF_JLT, BPF_REG_1, 1, none); /* JEQ 0 tells the verifier of Linux 6.1 nothing about r1 - 1 */
	jump_if(e, BPF_JGT, BPF_REG_1, (int32_t)e->maps->depth, none);
	alu_imm(e, BPF_SUB, BPF_REG_1, 1);
	mov(e, BPF_REG_2, BPF_REG_1);
	alu_imm(e, BPF_MUL, BPF_REG_2, FRAME);
	alu(e, BPF_ADD, BPF_REG_2, BPF_REG_7);
	alu_imm(e, BPF_ADD, BPF_REG_2, FRAMES);
}

/* r0 = what `calls` has of the point in AT_KEY. */
static void find_calls(struct emitter *e, label none)
{
	map(e, BPF_REG_1, e->maps->calls);
	address(e, BPF_REG_2, AT_KEY);
	call(e, BPF_FUNC_map_lookup_elem);
	jump_if(e, BPF_JEQ, BPF_REG_0, 0, none);
}

/* Takes out the innermost frame, r1 and r2 as innermost() leaves them, as abandoned. Goes to next. */
static void abandon(struct emitter *e, label next)
{
	store(e, BPF_DW, BPF_REG_7, 0, BPF_REG_1);
	load(e, BPF_W, BPF_REG_1, BPF_REG_2, offsetof(struct kernel_frame, point));
	store(e, BPF_W, BPF_REG_10, AT_KEY, BPF_REG_1);
	find_calls(e, next);
	add_to(e, BPF_REG_0, offsetof(struct kernel_calls, active), -1);
	add_to(e, BPF_REG_0, offsetof(struct kernel_calls, abandoned), 1);
	jump(e, next);
}

static void loop_begin(struct emitter *e, label *loop, label end)
{
	*loop = label_new(e);
	store_imm(e, BPF_DW, BPF_REG_10, AT_WORD, 0);
	label_place(e, *loop);
	load(e, BPF_DW, BPF_REG_1, BPF_REG_10, AT_WORD);
	jump_if(e, BPF_JGT, BPF_REG_1, (int32_t)e->maps->depth, end);
	alu_imm(e, BPF_ADD, BPF_REG_1, 1);
	store(e, BPF_DW, BPF_REG_10, AT_WORD, BPF_REG_1);
}

static void own_key(struct emitter *e)
{
	load_point(e, BPF_REG_1);
	store(e, BPF_W, BPF_REG_10, AT_KEY, BPF_REG_1);
}

void emit_call(struct emitter *e, label out)
{
	static const int entry[] = LEAVE_ENTRY_REGISTERS;
	label missed = label_new(e), too_many = label_new(e), push = label_new(e), loop;

	/* r9: the counters of all shards are not needed any more, those of the calls are. */
	own_key(e);
	find_calls(e, out);
	mov(e, BPF_REG_9, BPF_REG_0);
	call(e, BPF_FUNC_get_current_task_btf);
	find_frames(e, true, missed);
	load(e, BPF_DW, BPF_REG_8, BPF_REG_6, e->cpu->pt_regs[RSP]);
	loop_begin(e, &loop, push);
	innermost(e, push);
	load(e, BPF_DW, BPF_REG_3, BPF_REG_2, offsetof(struct kernel_frame, sp));
	jump_if_reg(e, BPF_JGT, BPF_REG_3, BPF_REG_8, push);
	abandon(e, loop);

	label_place(e, push);
	load(e, BPF_DW, BPF_REG_2, BPF_REG_7, 0);
	jump_if(e, BPF_JGE, BPF_REG_2, (int32_t)e->maps->depth, missed);
	imm64(e, BPF_REG_1, 1);
	emitter_add(e, INSN(BPF_STX | BPF_ATOMIC | BPF_DW, BPF_REG_9, BPF_REG_1, offsetof(struct kernel_calls, active),
	                    BPF_ADD | BPF_FETCH));
	load(e, BPF_DW, BPF_REG_3, BPF_REG_9, offsetof(struct kernel_calls, maxactive));
	jump_if_reg(e, BPF_JGE, BPF_REG_1, BPF_REG_3, too_many);
	mov(e, BPF_REG_3, BPF_REG_2);
	alu_imm(e, BPF_MUL, BPF_REG_3, FRAME);
	alu(e, BPF_ADD, BPF_REG_3, BPF_REG_7);
	alu_imm(e, BPF_ADD, BPF_REG_3, FRAMES);
	store(e, BPF_DW, BPF_REG_3, offsetof(struct kernel_frame, sp), BPF_REG_8);
	load(e, BPF_DW, BPF_REG_1, BPF_REG_7, offsetof(struct kernel_frames, spent));
	store(e, BPF_DW, BPF_REG_3, offsetof(struct kernel_frame, spent), BPF_REG_1);
	load_point(e, BPF_REG_1);
	store(e, BPF_W, BPF_REG_3, offsetof(struct kernel_frame, point), BPF_REG_1);
	for (int i = 0; i < LEAVE_ENTRY_COUNT; i++) {
		load(e, BPF_DW, BPF_REG_1, BPF_REG_6, e->cpu->pt_regs[entry[i]]);
		store(e, BPF_DW, BPF_REG_3, (int)offsetof(struct kernel_frame, args) + 8 * i, BPF_REG_1);
	}
	alu_imm(e, BPF_ADD, BPF_REG_2, 1);
	store(e, BPF_DW, BPF_REG_7, 0, BPF_REG_2);
	/* The time last, so that all this is not in it. */
	mov(e, BPF_REG_8, BPF_REG_3);
	call(e, BPF_FUNC_ktime_get_ns);
	store(e, BPF_DW, BPF_REG_8, offsetof(struct kernel_frame, time), BPF_REG_0);
	jump(e, out);
	label_place(e, too_many);
	add_to(e, BPF_REG_9, offsetof(struct kernel_calls, active), -1);
	label_place(e, missed);
	add_to(e, BPF_REG_9, offsetof(struct kernel_calls, missed), 1);
}

void emit_leave(struct emitter *e, label out)
{
	label found = label_new(e), some = label_new(e), loop;

	call(e, BPF_FUNC_get_current_task_btf);
	find_frames(e, false, out);
	call(e, BPF_FUNC_ktime_get_ns);
	store(e, BPF_DW, BPF_REG_7, offsetof(struct kernel_frames, now), BPF_REG_0);
	load(e, BPF_DW, BPF_REG_8, BPF_REG_6, e->cpu->pt_regs[RSP]);
	loop_begin(e, &loop, out);
	innermost(e, out);
	load(e, BPF_DW, BPF_REG_3, BPF_REG_2, offsetof(struct kernel_frame, sp));
	jump_if_reg(e, BPF_JGT, BPF_REG_3, BPF_REG_8, out);
	jump_if_reg(e, BPF_JEQ, BPF_REG_3, BPF_REG_8, found);
	abandon(e, loop);

	label_place(e, found);
	store(e, BPF_DW, BPF_REG_10, AT_FRAME, BPF_REG_2);
	store(e, BPF_DW, BPF_REG_10, AT_TIME, BPF_REG_1); /* the frame's index, until the time is known */
	own_key(e);
	find_calls(e, out);
	load(e, BPF_DW, BPF_REG_1, BPF_REG_0, offsetof(struct kernel_calls, owner));
	load(e, BPF_DW, BPF_REG_2, BPF_REG_10, AT_FRAME);
	load(e, BPF_W, BPF_REG_3, BPF_REG_2, offsetof(struct kernel_frame, point));
	jump_if_reg(e, BPF_JNE, BPF_REG_1, BPF_REG_3, out);
	store(e, BPF_W, BPF_REG_10, AT_KEY, BPF_REG_3);
	find_calls(e, out);
	add_to(e, BPF_REG_0, offsetof(struct kernel_calls, active), -1);
	load(e, BPF_DW, BPF_REG_8, BPF_REG_0, offsetof(struct kernel_calls, overhead));
	load(e, BPF_DW, BPF_REG_1, BPF_REG_10, AT_TIME);
	store(e, BPF_DW, BPF_REG_7, 0, BPF_REG_1);
	load(e, BPF_DW, BPF_REG_2, BPF_REG_10, AT_FRAME);
	load(e, BPF_DW, BPF_REG_0, BPF_REG_7, offsetof(struct kernel_frames, now));
	load(e, BPF_DW, BPF_REG_1, BPF_REG_2, offsetof(struct kernel_frame, time));
	alu(e, BPF_SUB, BPF_REG_0, BPF_REG_1);
	load(e, BPF_DW, BPF_REG_3, BPF_REG_7, offsetof(struct kernel_frames, spent));
	load(e, BPF_DW, BPF_REG_1, BPF_REG_2, offsetof(struct kernel_frame, spent));
	alu(e, BPF_ADD, BPF_REG_0, BPF_REG_1);
	alu(e, BPF_SUB, BPF_REG_0, BPF_REG_3);
	alu(e, BPF_SUB, BPF_REG_0, BPF_REG_8);
	jump_if(e, BPF_JSGT, BPF_REG_0, 1, some);
	imm64(e, BPF_REG_0, 1); /* no call takes no time */
	label_place(e, some);
	store(e, BPF_DW, BPF_REG_2, offsetof(struct kernel_frame, time), BPF_REG_0);
	/* For those around it two traps have passed. */
	alu(e, BPF_ADD, BPF_REG_3, BPF_REG_8);
	alu(e, BPF_ADD, BPF_REG_3, BPF_REG_8);
	store(e, BPF_DW, BPF_REG_7, offsetof(struct kernel_frames, spent), BPF_REG_3);
}

int emit_abandon(const struct emit_maps *maps, struct emitted *out)
{
	struct emitter e = { .maps = maps };
	label end = label_new(&e), loop;
	int err;

	load(&e, BPF_DW, BPF_REG_0, BPF_REG_1, 0);
	find_frames(&e, false, end);
	loop_begin(&e, &loop, end);
	innermost(&e, end);
	abandon(&e, loop);
	label_place(&e, end);
	imm64(&e, BPF_REG_0, 0);
	emitter_add(&e, INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0));
	err = emitter_resolve(&e);
	emitter_release(&e);
	if (err) {
		free(e.insns);
		return err;
	}
	*out = (struct emitted){ e.insns, e.n };
	return 0;
}
