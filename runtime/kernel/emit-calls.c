/* SPDX-License-Identifier: MIT */
/*
 * Calls between probes: from a site of one probe, the begin, to a site of another one, the end.
 *
 * 1. MATCH_FRAME: NAME__entry and NAME__return of a function. The begin adds a frame to the thread's stack of frames, as
 *    in emit-returns.c, with the stack pointer at the begin. The end may have a lower one: the function may have moved
 *    it (alloca), or GCC has moved the end into a part of the function of its own, which the function calls. Several
 *    calls can have the same stack pointer, because the functions were inlined into one. So
 *    - at a begin, frames below the stack pointer are over. So is a frame at the stack pointer whose begin is the same
 *      site: a function does not pass its entry twice without its return.
 *    - at an end, frames below the stack pointer are over. The innermost frame of the function is the call that ends.
 *      The frames within it are over.
 *    Calls that are over without an end are abandoned.
 * 2. A begin whose call is missed has a frame, too, if there is room, so that its end is not taken for that of the call
 *    around it. If there is no room, the ends at or below the stack pointer of the first one are counted down.
 * 3. MATCH_THREAD: The end belongs to the thread's last begin. If there is no room, the oldest begin gives way and is
 *    missed.
 * 4. MATCH_KEY: Begins are in a hash, by process and key. A second begin with the same key replaces the first, which is
 *    abandoned. If there is no room, the begin is missed.
 * 5. An end whose begin is not found is counted as unmatched, not as a hit. So, when no program runs:
 *    entries = hits + missed + active + abandoned.
 */
#include <errno.h>

#include "runtime/kernel/emit-frames.h"
#include "sdt/operand.h"

/* ---- shared ---- */

/* r9 = the struct kernel_calls of the owner; AT_TIME = the owner's point */
static void emit_owner(struct emitter *e, label none)
{
	emit_own_calls(e, none);
	emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_1, BPF_REG_0, offsetof(struct kernel_calls, owner)));
	emit(e, BPF_STX_MEM(BPF_DW, BPF_REG_10, BPF_REG_1, AT_TIME));
	emit(e, BPF_STX_MEM(BPF_W, BPF_REG_10, BPF_REG_1, AT_KEY));
	emit_calls(e, none);
	emit(e, BPF_MOV64_REG(BPF_REG_9, BPF_REG_0));
}

/* Fills in the frame in r3, except its time, from the record in scratch memory at r4. r8 is its sp. */
static void emit_fill(struct emitter *e)
{
	emit(e, BPF_STX_MEM(BPF_DW, BPF_REG_3, BPF_REG_8, offsetof(struct kernel_frame, sp)));
	emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_1, BPF_REG_10, AT_TIME));
	emit(e, BPF_STX_MEM(BPF_W, BPF_REG_3, BPF_REG_1, offsetof(struct kernel_frame, point)));
	emit_point(e, BPF_REG_1);
	emit(e, BPF_LDX_MEM(BPF_W, BPF_REG_5, BPF_REG_4, AT_RECORD_WORDS));
	emit(e, BPF_ALU64_IMM(BPF_RSH, BPF_REG_5, 8));
	emit(e, BPF_ALU64_IMM(BPF_LSH, BPF_REG_5, KERNEL_FRAME_FAULTS));
	emit(e, BPF_ALU64_REG(BPF_OR, BPF_REG_1, BPF_REG_5));
	emit(e, BPF_STX_MEM(BPF_W, BPF_REG_3, BPF_REG_1, offsetof(struct kernel_frame, what)));
	for (int i = 0; i < FETCH_ENTRY_MAX; i++) {
		emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_1, BPF_REG_4, AT_RECORD(value) + 8 * i));
		emit(e, BPF_STX_MEM(BPF_DW, BPF_REG_3, BPF_REG_1, (int)offsetof(struct kernel_frame, args) + 8 * i));
	}
}

/* Fills in the frame in r3, which becomes the thread's last one. r2 is the number of those before it; r7 the frames. */
static void emit_add_frame(struct emitter *e)
{
	emit(e, BPF_ALU64_IMM(BPF_ADD, BPF_REG_2, 1));
	emit(e, BPF_STX_MEM(BPF_DW, BPF_REG_7, BPF_REG_2, offsetof(struct kernel_frames, depth)));
	emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_4, BPF_REG_10, AT_FRAME));
	emit_fill(e);
	emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_1, BPF_REG_7, offsetof(struct kernel_frames, spent)));
	emit(e, BPF_STX_MEM(BPF_DW, BPF_REG_3, BPF_REG_1, offsetof(struct kernel_frame, spent)));
}

/* Sets the time of the frame in r8, as the last thing that a program does. */
static void emit_begin_time(struct emitter *e, label out)
{
	emit(e, BPF_EMIT_CALL(BPF_FUNC_ktime_get_ns));
	emit(e, BPF_STX_MEM(BPF_DW, BPF_REG_8, BPF_REG_0, offsetof(struct kernel_frame, time)));
	emit(e, BPF_JMP_A(out));
}

/* r7 = the frames of the thread; r8 = the stack pointer */
static void emit_thread(struct emitter *e, bool create, label none)
{
	if (create) {
		emit_thread_storage(e, e->maps->frames, none);
	} else {
		emit(e, BPF_EMIT_CALL(BPF_FUNC_get_current_task_btf));
		emit_frames(e, none);
	}
	emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_8, BPF_REG_6, e->cpu->pt_regs[e->abi->sp]));
}

void emit_missed(struct emitter *e, label out)
{
	emit_owner(e, out);
	emit_atomic_add(e, BPF_REG_9, offsetof(struct kernel_calls, missed), 1);
	emit(e, BPF_JMP_A(out));
}

void emit_unmatched(struct emitter *e, label out)
{
	emit_own_calls(e, out);
	emit_atomic_add(e, BPF_REG_0, offsetof(struct kernel_calls, missed), 1);
	emit(e, BPF_JMP_A(out));
}

/* Adds the frame in r3 to the calls in flight. r9 is the owner's struct kernel_calls. Keeps r3 in r8. */
static void emit_activate(struct emitter *e, label few)
{
	emit(e, BPF_MOV64_REG(BPF_REG_8, BPF_REG_3));
	emit(e, BPF_MOV64_IMM(BPF_REG_1, 1));
	emit(e,
	     BPF_ATOMIC_OP(BPF_DW, BPF_ADD | BPF_FETCH, BPF_REG_9, BPF_REG_1, offsetof(struct kernel_calls, active)));
	emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_3, BPF_REG_9, offsetof(struct kernel_calls, maxactive)));
	emit(e, BPF_JMP_REG(BPF_JLT, BPF_REG_1, BPF_REG_3, few));
}

/* ---- MATCH_FRAME ---- */

/* Forgets the calls that found no room if the stack pointer, in r8, is above them; else jumps to inside. */
static void emit_room_again(struct emitter *e, label inside)
{
	label none = label_new(e);

	emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_1, BPF_REG_7, offsetof(struct kernel_frames, full)));
	emit(e, BPF_JMP_IMM(BPF_JEQ, BPF_REG_1, 0, none));
	emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_2, BPF_REG_7, offsetof(struct kernel_frames, full_sp)));
	emit(e, BPF_JMP_REG(BPF_JLE, BPF_REG_8, BPF_REG_2, inside));
	emit(e, BPF_ST_MEM(BPF_DW, BPF_REG_7, offsetof(struct kernel_frames, full), 0));
	label_place(e, none);
}

/* Counts a call that finds no room. */
static void emit_no_room(struct emitter *e, label out)
{
	label first = label_new(e), more = label_new(e);

	emit_atomic_add(e, BPF_REG_9, offsetof(struct kernel_calls, missed), 1);
	emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_1, BPF_REG_7, offsetof(struct kernel_frames, full)));
	emit(e, BPF_JMP_IMM(BPF_JEQ, BPF_REG_1, 0, first));
	emit(e, BPF_JMP_A(more));
	label_place(e, first);
	emit(e, BPF_STX_MEM(BPF_DW, BPF_REG_7, BPF_REG_8, offsetof(struct kernel_frames, full_sp)));
	label_place(e, more);
	emit(e, BPF_ALU64_IMM(BPF_ADD, BPF_REG_1, 1));
	emit(e, BPF_STX_MEM(BPF_DW, BPF_REG_7, BPF_REG_1, offsetof(struct kernel_frames, full)));
	emit(e, BPF_JMP_A(out));
}

/* Abandons the frames that are over at a begin. r8 is the stack pointer. */
static void emit_begin_over(struct emitter *e)
{
	label end = label_new(e), loop = emit_loop(e, end);

	emit_innermost(e, end);
	/* r3 = 1 if the frame's begin is another site, else 0 */
	emit(e, BPF_LDX_MEM(BPF_W, BPF_REG_3, BPF_REG_2, offsetof(struct kernel_frame, what)));
	emit(e, BPF_ALU64_IMM(BPF_AND, BPF_REG_3, KERNEL_FRAME_EXACT | ((1 << COOKIE_POINT_BITS) - 1)));
	emit_point(e, BPF_REG_4);
	emit(e, BPF_ALU64_REG(BPF_XOR, BPF_REG_3, BPF_REG_4));
	emit(e, BPF_ALU64_IMM(BPF_NEG, BPF_REG_3, 0));
	emit(e, BPF_ALU64_IMM(BPF_RSH, BPF_REG_3, 63));
	/* The frame is not over if its stack pointer is above, or equal and the site is another one. */
	emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_4, BPF_REG_2, offsetof(struct kernel_frame, sp)));
	emit(e, BPF_ALU64_REG(BPF_ADD, BPF_REG_3, BPF_REG_4));
	emit(e, BPF_JMP_REG(BPF_JGT, BPF_REG_3, BPF_REG_8, end));
	emit_abandon_innermost(e, loop, end);
	label_place(e, end);
}

static void emit_begin_frame(struct emitter *e, label missed, label out)
{
	label inside = label_new(e), full = label_new(e), few = label_new(e);

	emit_thread(e, true, missed);
	emit_room_again(e, inside);
	label_place(e, inside);
	emit_begin_over(e);
	emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_2, BPF_REG_7, offsetof(struct kernel_frames, depth)));
	emit(e, BPF_JMP_IMM(BPF_JGE, BPF_REG_2, (int32_t)e->maps->depth, full));
	emit(e, BPF_MOV64_REG(BPF_REG_3, BPF_REG_2));
	emit_frame_address(e, BPF_REG_3);
	emit_add_frame(e);
	emit_activate(e, few);
	emit(e, BPF_LDX_MEM(BPF_W, BPF_REG_1, BPF_REG_8, offsetof(struct kernel_frame, what)));
	emit(e, BPF_ALU64_IMM(BPF_OR, BPF_REG_1, KERNEL_FRAME_MISSED));
	emit(e, BPF_STX_MEM(BPF_W, BPF_REG_8, BPF_REG_1, offsetof(struct kernel_frame, what)));
	emit_atomic_add(e, BPF_REG_9, offsetof(struct kernel_calls, active), -1);
	emit_atomic_add(e, BPF_REG_9, offsetof(struct kernel_calls, missed), 1);
	emit(e, BPF_JMP_A(out));
	label_place(e, few);
	emit_begin_time(e, out);
	label_place(e, full);
	emit_no_room(e, out);
}

/* AT_FRAME = the innermost frame of the owner in AT_TIME. Abandons the frames within it. r8 is the stack pointer. */
static void emit_find_frame(struct emitter *e, label unmatched)
{
	label alive = label_new(e), found = label_new(e), ready = label_new(e), loop = emit_loop(e, unmatched);

	emit_innermost(e, unmatched);
	emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_3, BPF_REG_2, offsetof(struct kernel_frame, sp)));
	emit(e, BPF_JMP_REG(BPF_JGE, BPF_REG_3, BPF_REG_8, alive));
	emit_abandon_innermost(e, loop, unmatched);

	label_place(e, alive);
	emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_5, BPF_REG_7, offsetof(struct kernel_frames, depth)));
	loop = emit_loop(e, unmatched);
	emit(e, BPF_JMP_IMM(BPF_JLT, BPF_REG_5, 1, unmatched));
	emit(e, BPF_JMP_IMM(BPF_JGT, BPF_REG_5, (int32_t)e->maps->depth, unmatched));
	emit(e, BPF_ALU64_IMM(BPF_SUB, BPF_REG_5, 1));
	emit(e, BPF_MOV64_REG(BPF_REG_2, BPF_REG_5));
	emit_frame_address(e, BPF_REG_2);
	emit(e, BPF_LDX_MEM(BPF_W, BPF_REG_3, BPF_REG_2, offsetof(struct kernel_frame, point)));
	emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_4, BPF_REG_10, AT_TIME));
	emit(e, BPF_JMP_REG(BPF_JEQ, BPF_REG_3, BPF_REG_4, found));
	emit(e, BPF_JMP_A(loop));

	label_place(e, found);
	emit(e, BPF_STX_MEM(BPF_DW, BPF_REG_10, BPF_REG_5, AT_TIME));
	loop = emit_loop(e, unmatched);
	emit_innermost(e, unmatched);
	emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_3, BPF_REG_10, AT_TIME));
	emit(e, BPF_JMP_REG(BPF_JEQ, BPF_REG_1, BPF_REG_3, ready));
	emit_abandon_innermost(e, loop, unmatched);
	label_place(e, ready);
	emit(e, BPF_STX_MEM(BPF_DW, BPF_REG_7, BPF_REG_1, offsetof(struct kernel_frames, depth)));
	emit(e, BPF_STX_MEM(BPF_DW, BPF_REG_10, BPF_REG_2, AT_FRAME));
}

static void emit_end_frame(struct emitter *e, label unmatched, label out)
{
	label inside = label_new(e), room = label_new(e);

	emit_thread(e, false, unmatched);
	emit(e, BPF_EMIT_CALL(BPF_FUNC_ktime_get_ns));
	emit(e, BPF_STX_MEM(BPF_DW, BPF_REG_7, BPF_REG_0, offsetof(struct kernel_frames, now)));
	emit_room_again(e, inside);
	emit(e, BPF_JMP_A(room));
	label_place(e, inside);
	emit(e, BPF_ALU64_IMM(BPF_SUB, BPF_REG_1, 1));
	emit(e, BPF_STX_MEM(BPF_DW, BPF_REG_7, BPF_REG_1, offsetof(struct kernel_frames, full)));
	emit(e, BPF_JMP_A(out));
	label_place(e, room);
	emit_find_frame(e, unmatched);
	emit(e, BPF_LDX_MEM(BPF_W, BPF_REG_1, BPF_REG_2, offsetof(struct kernel_frame, what)));
	emit(e, BPF_ALU64_IMM(BPF_AND, BPF_REG_1, KERNEL_FRAME_MISSED));
	emit(e, BPF_JMP_IMM(BPF_JNE, BPF_REG_1, 0, out));
}

/* ---- MATCH_THREAD ---- */

/* dst = the address of the frame that is r2 frames after the oldest */
static void emit_ring_address(struct emitter *e, int dst, label none)
{
	emit(e, BPF_LDX_MEM(BPF_DW, dst, BPF_REG_7, offsetof(struct kernel_frames, base)));
	emit(e, BPF_ALU64_REG(BPF_ADD, dst, BPF_REG_2));
	emit(e, BPF_ALU64_IMM(BPF_MOD, dst, (int32_t)e->maps->depth));
	emit(e, BPF_JMP_IMM(BPF_JGE, dst, (int32_t)e->maps->depth, none)); /* for the verifier */
	emit_frame_address(e, dst);
}

static void emit_begin_thread(struct emitter *e, label missed, label out)
{
	label room = label_new(e), few = label_new(e);

	emit_thread(e, true, missed);
	emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_2, BPF_REG_7, offsetof(struct kernel_frames, depth)));
	emit(e, BPF_JMP_IMM(BPF_JLT, BPF_REG_2, (int32_t)e->maps->depth, room));
	emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_1, BPF_REG_7, offsetof(struct kernel_frames, base)));
	emit(e, BPF_ALU64_IMM(BPF_ADD, BPF_REG_1, 1));
	emit(e, BPF_ALU64_IMM(BPF_MOD, BPF_REG_1, (int32_t)e->maps->depth));
	emit(e, BPF_STX_MEM(BPF_DW, BPF_REG_7, BPF_REG_1, offsetof(struct kernel_frames, base)));
	emit(e, BPF_ALU64_IMM(BPF_SUB, BPF_REG_2, 1));
	emit_atomic_add(e, BPF_REG_9, offsetof(struct kernel_calls, active), -1);
	emit_atomic_add(e, BPF_REG_9, offsetof(struct kernel_calls, missed), 1);
	label_place(e, room);
	emit_ring_address(e, BPF_REG_3, missed);
	emit_add_frame(e);
	emit_activate(e, few);
	label_place(e, few);
	emit_begin_time(e, out);
}

static void emit_end_thread(struct emitter *e, label unmatched)
{
	emit_thread(e, false, unmatched);
	emit(e, BPF_EMIT_CALL(BPF_FUNC_ktime_get_ns));
	emit(e, BPF_STX_MEM(BPF_DW, BPF_REG_7, BPF_REG_0, offsetof(struct kernel_frames, now)));
	emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_2, BPF_REG_7, offsetof(struct kernel_frames, depth)));
	emit(e, BPF_JMP_IMM(BPF_JEQ, BPF_REG_2, 0, unmatched));
	emit(e, BPF_ALU64_IMM(BPF_SUB, BPF_REG_2, 1));
	emit_ring_address(e, BPF_REG_3, unmatched);
	emit(e, BPF_STX_MEM(BPF_DW, BPF_REG_7, BPF_REG_2, offsetof(struct kernel_frames, depth)));
	emit(e, BPF_STX_MEM(BPF_DW, BPF_REG_10, BPF_REG_3, AT_FRAME));
}

/* ---- MATCH_KEY ---- */

/* Stores the struct kernel_start of the key in r8 at AT_FRAME, which AT_TIME follows. */
static void emit_start(struct emitter *e)
{
	emit(e, BPF_STX_MEM(BPF_DW, BPF_REG_10, BPF_REG_8, AT_FRAME));
	emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_1, BPF_REG_10, AT_PIDTGID));
	emit(e, BPF_ALU64_IMM(BPF_RSH, BPF_REG_1, 32));
	emit(e, BPF_STX_MEM(BPF_DW, BPF_REG_10, BPF_REG_1, AT_TIME));
}

/* r0 = the result of adding the frame in scratch memory to the hash */
static void emit_start_update(struct emitter *e, int flags)
{
	emit_map_fd(e, BPF_REG_1, e->maps->starts);
	emit_stack_address(e, BPF_REG_2, AT_FRAME);
	emit(e, BPF_MOV64_REG(BPF_REG_3, BPF_REG_7));
	emit(e, BPF_ALU64_IMM(BPF_ADD, BPF_REG_3, SCRATCH_CALL));
	emit(e, BPF_MOV64_IMM(BPF_REG_4, flags));
	emit(e, BPF_EMIT_CALL(BPF_FUNC_map_update_elem));
}

static void emit_begin_key(struct emitter *e, label missed, label out)
{
	label added = label_new(e), replaced = label_new(e);

	emit(e, BPF_MOV64_REG(BPF_REG_3, BPF_REG_7));
	emit(e, BPF_ALU64_IMM(BPF_ADD, BPF_REG_3, SCRATCH_CALL));
	emit(e, BPF_MOV64_REG(BPF_REG_4, BPF_REG_7));
	emit_fill(e);
	emit_start(e);
	emit(e, BPF_EMIT_CALL(BPF_FUNC_ktime_get_ns));
	emit(e, BPF_STX_MEM(BPF_DW, BPF_REG_7, BPF_REG_0, SCRATCH_CALL + (int)offsetof(struct kernel_frame, time)));
	/* Active before it can be found, so that it never falls below 0. */
	emit_atomic_add(e, BPF_REG_9, offsetof(struct kernel_calls, active), 1);
	emit_start_update(e, BPF_NOEXIST);
	emit(e, BPF_JMP_IMM(BPF_JEQ, BPF_REG_0, 0, added));
	emit(e, BPF_MOV64_REG(BPF_REG_8, BPF_REG_0));
	emit_start_update(e, BPF_EXIST);
	emit(e, BPF_JMP_IMM(BPF_JEQ, BPF_REG_0, 0, replaced));
	emit_start_update(e, BPF_NOEXIST); /* the begin that was there has ended meanwhile */
	emit(e, BPF_JMP_IMM(BPF_JEQ, BPF_REG_0, 0, added));
	emit_atomic_add(e, BPF_REG_9, offsetof(struct kernel_calls, active), -1);
	emit(e, BPF_JMP_A(missed));
	label_place(e, replaced);
	emit_atomic_add(e, BPF_REG_9, offsetof(struct kernel_calls, active), -1);
	emit_atomic_add(e, BPF_REG_9, offsetof(struct kernel_calls, abandoned), 1);
	label_place(e, added);
	emit(e, BPF_JMP_A(out));
}

/* Takes the begin out of the hash and copies its frame to scratch memory. The frame's `spent` is the time of the end. */
static void emit_end_key(struct emitter *e, label unmatched)
{
	emit_start(e);
	emit(e, BPF_EMIT_CALL(BPF_FUNC_ktime_get_ns));
	emit(e, BPF_MOV64_REG(BPF_REG_8, BPF_REG_0));
	emit_map_fd(e, BPF_REG_1, e->maps->starts);
	emit_stack_address(e, BPF_REG_2, AT_FRAME);
	emit(e, BPF_EMIT_CALL(BPF_FUNC_map_lookup_elem));
	emit(e, BPF_JMP_IMM(BPF_JEQ, BPF_REG_0, 0, unmatched));
	for (int i = 0; i < FRAME; i += 8) {
		emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_1, BPF_REG_0, i));
		emit(e, BPF_STX_MEM(BPF_DW, BPF_REG_7, BPF_REG_1, SCRATCH_CALL + i));
	}
	/* The kernel may use the element for another key, if another begin has replaced this one meanwhile. */
	emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_1, BPF_REG_0, offsetof(struct kernel_frame, sp)));
	emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_2, BPF_REG_10, AT_FRAME));
	emit(e, BPF_JMP_REG(BPF_JNE, BPF_REG_1, BPF_REG_2, unmatched));
	emit_map_fd(e, BPF_REG_1, e->maps->starts);
	emit_stack_address(e, BPF_REG_2, AT_FRAME);
	emit(e, BPF_EMIT_CALL(BPF_FUNC_map_delete_elem));
	emit(e, BPF_JMP_IMM(BPF_JNE, BPF_REG_0, 0, unmatched)); /* another thread has taken it */
	emit(e, BPF_STX_MEM(BPF_DW, BPF_REG_7, BPF_REG_8, SCRATCH_CALL + (int)offsetof(struct kernel_frame, spent)));
	emit(e, BPF_MOV64_REG(BPF_REG_1, BPF_REG_7));
	emit(e, BPF_ALU64_IMM(BPF_ADD, BPF_REG_1, SCRATCH_CALL));
	emit(e, BPF_STX_MEM(BPF_DW, BPF_REG_10, BPF_REG_1, AT_FRAME));
}

/* Computes the duration of the call with a key in AT_FRAME. r8 is the overhead of its traps. */
static void emit_key_duration(struct emitter *e)
{
	label positive = label_new(e);

	emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_2, BPF_REG_10, AT_FRAME));
	emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_1, BPF_REG_2, offsetof(struct kernel_frame, spent)));
	emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_3, BPF_REG_2, offsetof(struct kernel_frame, time)));
	emit(e, BPF_ALU64_REG(BPF_SUB, BPF_REG_1, BPF_REG_3));
	emit(e, BPF_ALU64_REG(BPF_SUB, BPF_REG_1, BPF_REG_8));
	emit(e, BPF_JMP_IMM(BPF_JSGT, BPF_REG_1, 1, positive));
	emit(e, BPF_MOV64_IMM(BPF_REG_1, 1));
	label_place(e, positive);
	emit(e, BPF_STX_MEM(BPF_DW, BPF_REG_2, BPF_REG_1, offsetof(struct kernel_frame, time)));
}

/* ---- all ---- */

void emit_begin(struct emitter *e, label missed, label out)
{
	emit(e, BPF_STX_MEM(BPF_DW, BPF_REG_10, BPF_REG_7, AT_FRAME));
	emit_owner(e, out);
	switch (e->match) {
	case MATCH_FRAME: emit_begin_frame(e, missed, out); break;
	case MATCH_THREAD: emit_begin_thread(e, missed, out); break;
	default: emit_begin_key(e, missed, out);
	}
}

void emit_end(struct emitter *e, label unmatched, label out)
{
	if (e->match == MATCH_FRAME) {
		emit_own_calls(e, out);
		emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_1, BPF_REG_0, offsetof(struct kernel_calls, owner)));
		emit(e, BPF_STX_MEM(BPF_DW, BPF_REG_10, BPF_REG_1, AT_TIME));
	}
	switch (e->match) {
	case MATCH_FRAME: emit_end_frame(e, unmatched, out); break;
	case MATCH_THREAD: emit_end_thread(e, unmatched); break;
	default: emit_end_key(e, unmatched);
	}
	emit_own_calls(e, out);
	emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_1, BPF_REG_0, offsetof(struct kernel_calls, owner)));
	emit(e, BPF_STX_MEM(BPF_W, BPF_REG_10, BPF_REG_1, AT_KEY));
	emit_calls(e, out);
	emit_atomic_add(e, BPF_REG_0, offsetof(struct kernel_calls, active), -1);
	emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_8, BPF_REG_0, offsetof(struct kernel_calls, overhead)));
	if (e->match == MATCH_KEY)
		emit_key_duration(e);
	else
		emit_duration(e);
}
