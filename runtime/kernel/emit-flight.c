/* SPDX-License-Identifier: MIT */
/*
 * Writing to a flight recorder. emit.h has its layout. The kernel's ring buffer cannot overwrite its oldest records, so
 * programs write to an array map that readers map.
 *
 * 1. A program reads the current turn, and adds its record's size and one writer to the state of the part, in one atomic
 *    operation. So it owns the bytes at the offset before, and the part cannot be given a new turn while it writes.
 * 2. If the record begins before the end of the part, the program copies it, writes its mark, and takes the writer off.
 * 3. Otherwise it takes the writer off, and gives the next turn to the next part: it empties that part, then makes its
 *    turn the current one. A part that another program still writes to is not emptied. A program can be preempted in
 *    step 2 for any time, so after TRIES / 2 attempts the following part is taken instead. After TRIES attempts the record
 *    is lost.
 *
 * Two programs may do step 3 at once. One that finds the part's turn right has nothing to empty. One that was preempted
 * after it had read the part's state cannot empty the part in a later turn, because it compares the current turn after
 * it has read the state, and exchanges the state only if that has not changed.
 */
#include <stddef.h>

#include "runtime/kernel/emitter.h"
#include "runtime/record.h"

enum { TRIES = 6 };

#define AT_STATE ((int)offsetof(struct kernel_flight_part, state))
#define AT_RECORDS ((int)offsetof(struct kernel_flight_part, records))
#define AT_FLIGHT ((int)offsetof(struct kernel_control, flight))

/* r0 = the part of the turn r6 + ahead */
static void emit_flight_part(struct emitter *e, int ahead, label lost)
{
	emit(e, BPF_MOV64_REG(BPF_REG_1, BPF_REG_6));
	if (ahead)
		emit(e, BPF_ALU64_IMM(BPF_ADD, BPF_REG_1, ahead));
	emit(e, BPF_ALU64_IMM(BPF_MOD, BPF_REG_1, (int32_t)e->maps->flight_parts));
	emit(e, BPF_STX_MEM(BPF_W, BPF_REG_10, BPF_REG_1, AT_KEY));
	emit_map_fd(e, BPF_REG_1, e->maps->flight);
	emit_stack_address(e, BPF_REG_2, AT_KEY);
	emit(e, BPF_EMIT_CALL(BPF_FUNC_map_lookup_elem));
	emit(e, BPF_JMP_IMM(BPF_JEQ, BPF_REG_0, 0, lost));
}

/* Takes a writer off the part at r0; changes r1 */
static void emit_writer_leave(struct emitter *e)
{
	emit_imm64(e, BPF_REG_1, -(int64_t)KERNEL_FLIGHT_WRITER);
	emit(e, BPF_ATOMIC_OP(BPF_DW, BPF_ADD, BPF_REG_0, BPF_REG_1, AT_STATE));
}

/* Reserves r8 bytes and a mark. r6 = the turn, r0 = the part, r1 = its state before, r2 = the offset. */
static void emit_reserve(struct emitter *e, label full, label lost)
{
	emit_map_value(e, BPF_REG_6, e->maps->control);
	emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_6, BPF_REG_6, AT_FLIGHT));
	emit_flight_part(e, 0, lost);
	emit_imm64(e, BPF_REG_1, (int64_t)(KERNEL_FLIGHT_WRITER + 8));
	emit(e, BPF_ALU64_REG(BPF_ADD, BPF_REG_1, BPF_REG_8));
	emit(e, BPF_ATOMIC_OP(BPF_DW, BPF_ADD | BPF_FETCH, BPF_REG_0, BPF_REG_1, AT_STATE));
	emit(e, BPF_MOV64_REG(BPF_REG_2, BPF_REG_1));
	emit(e, BPF_ALU64_IMM(BPF_LSH, BPF_REG_2, 32));
	emit(e, BPF_ALU64_IMM(BPF_RSH, BPF_REG_2, 32));
	emit(e, BPF_JMP_IMM(BPF_JGE, BPF_REG_2, KERNEL_FLIGHT_PART, full));
}

/* Makes r6 + ahead the current turn, if r6 is. Leaves the part at r0 first. Jumps to next in any case. */
static void emit_advance(struct emitter *e, int ahead, label next, label lost)
{
	label set = label_new(e);

	emit_writer_leave(e);
	emit_flight_part(e, ahead, lost);
	emit(e, BPF_MOV64_REG(BPF_REG_2, BPF_REG_0));
	emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_3, BPF_REG_2, AT_STATE));
	emit(e, BPF_MOV64_REG(BPF_REG_4, BPF_REG_6));
	emit(e, BPF_ALU64_IMM(BPF_ADD, BPF_REG_4, ahead));
	emit(e, BPF_ALU64_IMM(BPF_LSH, BPF_REG_4, KERNEL_FLIGHT_TURN_SHIFT));
	emit(e, BPF_MOV64_REG(BPF_REG_1, BPF_REG_3));
	emit(e, BPF_ALU64_IMM(BPF_RSH, BPF_REG_1, KERNEL_FLIGHT_TURN_SHIFT));
	emit(e, BPF_ALU64_IMM(BPF_LSH, BPF_REG_1, KERNEL_FLIGHT_TURN_SHIFT));
	emit(e, BPF_JMP_REG(BPF_JEQ, BPF_REG_1, BPF_REG_4, set));
	emit(e, BPF_MOV64_REG(BPF_REG_1, BPF_REG_3));
	emit(e, BPF_ALU64_IMM(BPF_RSH, BPF_REG_1, 32));
	emit(e, BPF_ALU64_IMM(BPF_AND, BPF_REG_1, 0xffff));
	emit(e, BPF_JMP_IMM(BPF_JNE, BPF_REG_1, 0, next));
	emit_map_value(e, BPF_REG_1, e->maps->control);
	emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_1, BPF_REG_1, AT_FLIGHT));
	emit(e, BPF_JMP_REG(BPF_JNE, BPF_REG_1, BPF_REG_6, next));
	emit(e, BPF_MOV64_REG(BPF_REG_0, BPF_REG_3));
	emit(e, BPF_ATOMIC_OP(BPF_DW, BPF_CMPXCHG, BPF_REG_2, BPF_REG_4, AT_STATE));
	label_place(e, set);
	emit_map_value(e, BPF_REG_2, e->maps->control);
	emit(e, BPF_MOV64_REG(BPF_REG_1, BPF_REG_6));
	emit(e, BPF_ALU64_IMM(BPF_ADD, BPF_REG_1, ahead));
	emit(e, BPF_MOV64_REG(BPF_REG_0, BPF_REG_6));
	emit(e, BPF_ATOMIC_OP(BPF_DW, BPF_CMPXCHG, BPF_REG_2, BPF_REG_1, AT_FLIGHT));
	emit(e, BPF_JMP_A(next));
}

/* Copies the record to what emit_reserve() has reserved, and leaves the part. */
static void emit_store(struct emitter *e)
{
	emit(e, BPF_ALU64_IMM(BPF_AND, BPF_REG_2, -8)); /* for the verifier */
	emit(e, BPF_STX_MEM(BPF_DW, BPF_REG_10, BPF_REG_0, AT_WORD));
	emit(e, BPF_MOV64_REG(BPF_REG_6, BPF_REG_0));
	emit(e, BPF_ALU64_REG(BPF_ADD, BPF_REG_6, BPF_REG_2));
	emit_imm64(e, BPF_REG_3, (int64_t)~KERNEL_FLIGHT_WRITERS);
	emit(e, BPF_ALU64_REG(BPF_AND, BPF_REG_1, BPF_REG_3));
	emit_map_value(e, BPF_REG_2, e->maps->control);
	emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_2, BPF_REG_2, offsetof(struct kernel_control, flight_key)));
	emit(e, BPF_ALU64_REG(BPF_XOR, BPF_REG_1, BPF_REG_2));
	emit(e, BPF_STX_MEM(BPF_DW, BPF_REG_10, BPF_REG_1, AT_TIME));
	emit(e, BPF_MOV64_REG(BPF_REG_1, BPF_REG_6));
	emit(e, BPF_ALU64_IMM(BPF_ADD, BPF_REG_1, AT_RECORDS + 8));
	emit(e, BPF_MOV64_REG(BPF_REG_2, BPF_REG_8));
	emit(e, BPF_MOV64_REG(BPF_REG_3, BPF_REG_7));
	emit(e, BPF_ALU64_IMM(BPF_ADD, BPF_REG_3, SCRATCH_RECORD));
	emit(e, BPF_EMIT_CALL(BPF_FUNC_probe_read_kernel));
	/* An exchange is a full barrier: a reader that sees the mark sees the record. */
	emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_1, BPF_REG_10, AT_TIME));
	emit(e, BPF_ATOMIC_OP(BPF_DW, BPF_XCHG, BPF_REG_6, BPF_REG_1, AT_RECORDS));
	emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_0, BPF_REG_10, AT_WORD));
	emit_writer_leave(e);
}

void emit_flight(struct emitter *e, label lost)
{
	label found = label_new(e);

	emit(e, BPF_MOV64_REG(BPF_REG_8, BPF_REG_3));
	for (int try = 0; try < TRIES; try++) {
		label full = label_new(e), next = label_new(e);

		emit_reserve(e, full, lost);
		emit(e, BPF_JMP_A(found));
		label_place(e, full);
		emit_advance(e, try < TRIES / 2 ? 1 : 2, next, lost);
		label_place(e, next);
	}
	emit(e, BPF_JMP_A(lost));
	label_place(e, found);
	emit_store(e);
}
