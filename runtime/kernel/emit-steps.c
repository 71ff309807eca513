/* SPDX-License-Identifier: MIT */
/*
 * The steps of fetch programs as BPF.
 *
 * A fetch program works on a stack of values (runtime/fetch/program.h). The stack is in scratch memory, which r7 points
 * to. The value at its top stays in r1 as long as no other value needs r1.
 */
#include <errno.h>
#include <probepoint.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "runtime/kernel/emitter.h"
#include "sdt/operand.h"

/* Returns the size modifier of instructions that access so many bytes. */
static int bpf_size(int bytes)
{
	switch (bytes) {
	case 1: return BPF_B;
	case 2: return BPF_H;
	case 4: return BPF_W;
	default: return BPF_DW;
	}
}

/* r = the low size bytes of r, from bit shift on, extended */
static void emit_extend(struct emitter *e, int r, int size, int shift, bool is_signed)
{
	int spare = 64 - 8 * size;

	if (spare - shift > 0)
		emit(e, BPF_ALU64_IMM(BPF_LSH, r, spare - shift));
	if (spare > 0)
		emit(e, BPF_ALU64_IMM(is_signed ? BPF_ARSH : BPF_RSH, r, spare));
}

void emit_read_string(struct emitter *e, int to, int room, int address_at, label fault)
{
	label ok = label_new(e), not_empty = label_new(e);

	for (int try = 0; try < 2; try++) {
		emit(e, BPF_MOV64_REG(BPF_REG_1, BPF_REG_7));
		if (to == TO_RECORD)
			emit(e, BPF_ALU64_REG(BPF_ADD, BPF_REG_1, BPF_REG_8));
		else
			emit(e, BPF_ALU64_IMM(BPF_ADD, BPF_REG_1, to));
		emit_imm64(e, BPF_REG_2, room);
		emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_3, BPF_REG_7, address_at));
		emit(e, BPF_EMIT_CALL(BPF_FUNC_probe_read_user_str));
		if (try) {
			emit(e, BPF_JMP_IMM(BPF_JSLT, BPF_REG_0, 0, fault));
			break;
		}
		emit(e, BPF_JMP_IMM(BPF_JSGE, BPF_REG_0, 0, ok));
		/* The page, or the next one, may not be in memory. copy_from_user() sleeps until it is. */
		for (int page = 0; page < 2; page++) {
			emit_stack_address(e, BPF_REG_1, AT_WORD);
			emit(e, BPF_MOV64_IMM(BPF_REG_2, 1));
			emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_3, BPF_REG_7, address_at));
			if (page) {
				emit(e, BPF_ALU64_IMM(BPF_ADD, BPF_REG_3, room - 1));
				emit(e, BPF_ALU64_IMM(BPF_AND, BPF_REG_3, -4096));
			}
			emit(e, BPF_EMIT_CALL(BPF_FUNC_copy_from_user));
			if (!page)
				emit(e, BPF_JMP_IMM(BPF_JNE, BPF_REG_0, 0, fault));
		}
	}
	label_place(e, ok);
	/* Kernels before 6.15 return 0 for an empty string, later ones 1. */
	emit(e, BPF_JMP_IMM(BPF_JNE, BPF_REG_0, 0, not_empty));
	emit(e, BPF_MOV64_IMM(BPF_REG_0, 1));
	label_place(e, not_empty);
}

/* Jumps to no unless SCRATCH_TEXT equals the literal, or begins with it if prefix. Keeps r1. */
static void emit_compare_literal(struct emitter *e, const struct fetch_literal *literal, bool prefix, label no)
{
	const int at = SCRATCH_TEXT;

	for (int i = 0; i < literal->length; i++) {
		emit(e, BPF_LDX_MEM(BPF_B, BPF_REG_2, BPF_REG_7, at + i));
		emit(e, BPF_JMP_IMM(BPF_JNE, BPF_REG_2, (unsigned char)literal->bytes[i], no));
	}
	if (!prefix) {
		emit(e, BPF_LDX_MEM(BPF_B, BPF_REG_2, BPF_REG_7, at + literal->length));
		emit(e, BPF_JMP_IMM(BPF_JNE, BPF_REG_2, 0, no));
	}
}

/* r1 = r1 / r2 or r1 % r2. BPF divides unsigned, x / 0 is 0, and x % 0 is x. Here x % 0 is 0, and signs are added. */
static void emit_division(struct emitter *e, bool divide, bool is_signed)
{
	label end = label_new(e), nonzero = label_new(e);

	emit(e, BPF_JMP_IMM(BPF_JNE, BPF_REG_2, 0, nonzero));
	emit(e, BPF_MOV64_IMM(BPF_REG_1, 0));
	emit(e, BPF_JMP_A(end));
	label_place(e, nonzero);
	if (is_signed) {
		label positive = label_new(e), both_positive = label_new(e);

		/* The sign of r3 is the sign of the result. */
		emit(e, BPF_MOV64_REG(BPF_REG_3, BPF_REG_1));
		if (divide)
			emit(e, BPF_ALU64_REG(BPF_XOR, BPF_REG_3, BPF_REG_2));
		emit(e, BPF_JMP_IMM(BPF_JSGE, BPF_REG_1, 0, positive));
		emit(e, BPF_NEG64(BPF_REG_1));
		label_place(e, positive);
		emit(e, BPF_JMP_IMM(BPF_JSGE, BPF_REG_2, 0, both_positive));
		emit(e, BPF_NEG64(BPF_REG_2));
		label_place(e, both_positive);
	}
	emit(e, BPF_ALU64_REG(divide ? BPF_DIV : BPF_MOD, BPF_REG_1, BPF_REG_2));
	if (is_signed) {
		emit(e, BPF_JMP_IMM(BPF_JSGE, BPF_REG_3, 0, end));
		emit(e, BPF_NEG64(BPF_REG_1));
	}
	label_place(e, end);
}

/* r1 = whether r1 compares to r2 by the jump's operation */
static void emit_comparison(struct emitter *e, int jump)
{
	label end = label_new(e);

	emit(e, BPF_MOV64_IMM(BPF_REG_3, 1));
	emit(e, BPF_JMP_REG(jump, BPF_REG_1, BPF_REG_2, end));
	emit(e, BPF_MOV64_IMM(BPF_REG_3, 0));
	label_place(e, end);
	emit(e, BPF_MOV64_REG(BPF_REG_1, BPF_REG_3));
}

/* r1 = r1 op r2. step->c: signed. */
static void emit_binary(struct emitter *e, const struct fetch_step *step)
{
	bool is_signed = step->c;

	switch (step->op) {
	case FETCH_ADD: emit(e, BPF_ALU64_REG(BPF_ADD, BPF_REG_1, BPF_REG_2)); return;
	case FETCH_SUB: emit(e, BPF_ALU64_REG(BPF_SUB, BPF_REG_1, BPF_REG_2)); return;
	case FETCH_MUL: emit(e, BPF_ALU64_REG(BPF_MUL, BPF_REG_1, BPF_REG_2)); return;
	case FETCH_AND: emit(e, BPF_ALU64_REG(BPF_AND, BPF_REG_1, BPF_REG_2)); return;
	case FETCH_OR: emit(e, BPF_ALU64_REG(BPF_OR, BPF_REG_1, BPF_REG_2)); return;
	case FETCH_XOR: emit(e, BPF_ALU64_REG(BPF_XOR, BPF_REG_1, BPF_REG_2)); return;
	case FETCH_SHL:
	case FETCH_SHR:
		emit(e, BPF_ALU64_IMM(BPF_AND, BPF_REG_2, 63));
		emit(e, BPF_ALU64_REG(step->op == FETCH_SHL ? BPF_LSH
		                      : is_signed           ? BPF_ARSH
		                                            : BPF_RSH,
		                      BPF_REG_1, BPF_REG_2));
		return;
	case FETCH_DIV:
	case FETCH_MOD: emit_division(e, step->op == FETCH_DIV, is_signed); return;
	case FETCH_EQ: emit_comparison(e, BPF_JEQ); return;
	case FETCH_NE: emit_comparison(e, BPF_JNE); return;
	case FETCH_LT: emit_comparison(e, is_signed ? BPF_JSLT : BPF_JLT); return;
	case FETCH_LE: emit_comparison(e, is_signed ? BPF_JSLE : BPF_JLE); return;
	}
}

void emit_top_to_stack(struct emitter *e, struct value_stack *s)
{
	if (s->in_r1)
		emit(e, BPF_STX_MEM(BPF_DW, BPF_REG_7, BPF_REG_1, value_at_depth(s->depth - 1)));
	s->in_r1 = false;
}

void emit_top_to_r1(struct emitter *e, struct value_stack *s)
{
	if (!s->in_r1)
		emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_1, BPF_REG_7, value_at_depth(s->depth - 1)));
	s->in_r1 = true;
}

/* Pushes a value, which the caller then loads into r1. */
static void emit_push_r1(struct emitter *e, struct value_stack *s)
{
	emit_top_to_stack(e, s);
	s->depth++;
	s->in_r1 = true;
}

/* r1, r2 = the operands x, y of x op y. Pops y. */
static void emit_operands(struct emitter *e, struct value_stack *s)
{
	if (s->in_r1)
		emit(e, BPF_MOV64_REG(BPF_REG_2, BPF_REG_1));
	else
		emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_2, BPF_REG_7, value_at_depth(s->depth - 1)));
	s->depth--;
	emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_1, BPF_REG_7, value_at_depth(s->depth - 1)));
	s->in_r1 = true;
}

/* Replaces the address at the top by the value at that address. Jumps to fault if it cannot be read. */
static void emit_load_step(struct emitter *e, struct value_stack *s, const struct fetch_step *step, label fault)
{
	if (s->in_r1)
		emit(e, BPF_MOV64_REG(BPF_REG_3, BPF_REG_1));
	else
		emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_3, BPF_REG_7, value_at_depth(s->depth - 1)));
	emit_stack_address(e, BPF_REG_1, AT_WORD);
	emit_imm64(e, BPF_REG_2, step->a);
	emit(e, BPF_EMIT_CALL(BPF_FUNC_copy_from_user));
	emit(e, BPF_JMP_IMM(BPF_JNE, BPF_REG_0, 0, fault));
	emit(e, BPF_LDX_MEM(bpf_size(step->a), BPF_REG_1, BPF_REG_10, AT_WORD));
	if (step->c)
		emit_extend(e, BPF_REG_1, step->a, 0, true);
	s->in_r1 = true;
}

/*
 * Reads bytes into the record. Their length is at the top, their address below it. r0 = how many were read, at most max + 1.
 * Pops the length.
 */
static void emit_read_bytes(struct emitter *e, struct value_stack *s, int max, label fault)
{
	label all = label_new(e);

	emit_top_to_r1(e, s);
	s->depth--;
	s->in_r1 = false;
	emit(e, BPF_JMP_IMM(BPF_JSLT, BPF_REG_1, 0, fault));
	emit(e, BPF_JMP_IMM(BPF_JLE, BPF_REG_1, max, all));
	emit(e, BPF_MOV64_IMM(BPF_REG_1, max + 1));
	label_place(e, all);
	emit(e, BPF_STX_MEM(BPF_DW, BPF_REG_10, BPF_REG_1, AT_WORD));
	emit(e, BPF_MOV64_REG(BPF_REG_2, BPF_REG_1));
	emit(e, BPF_MOV64_REG(BPF_REG_1, BPF_REG_7));
	emit(e, BPF_ALU64_REG(BPF_ADD, BPF_REG_1, BPF_REG_8));
	emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_3, BPF_REG_7, value_at_depth(s->depth - 1)));
	emit(e, BPF_EMIT_CALL(BPF_FUNC_copy_from_user));
	emit(e, BPF_JMP_IMM(BPF_JNE, BPF_REG_0, 0, fault));
	emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_0, BPF_REG_10, AT_WORD));
}

/*
 * Reads the string at the address at the top into the record, or with FETCH_STRINGN the bytes whose length is at the top.
 * r1 = its length. r8 advances.
 */
static void emit_string_step(struct emitter *e, struct value_stack *s, const struct fetch_step *step, label fault)
{
	int max = (int)step->value;

	if (step->op == FETCH_STRINGN) {
		emit_read_bytes(e, s, max, fault);
	} else {
		emit_top_to_stack(e, s);
		emit_read_string(e, TO_RECORD, max + 2, value_at_depth(s->depth - 1), fault);
		emit(e, BPF_ALU64_IMM(BPF_SUB, BPF_REG_0, 1));
	}
	emit(e, BPF_JMP_IMM(BPF_JGT, BPF_REG_0, max + 1, fault));
	/* The bytes after the NUL may be from an earlier string, so the padding is cleared. */
	emit(e, BPF_MOV64_REG(BPF_REG_2, BPF_REG_7));
	emit(e, BPF_ALU64_REG(BPF_ADD, BPF_REG_2, BPF_REG_8));
	emit(e, BPF_ALU64_REG(BPF_ADD, BPF_REG_2, BPF_REG_0));
	emit(e, BPF_ST_MEM(BPF_DW, BPF_REG_2, 0, 0));
	emit(e, BPF_MOV64_REG(BPF_REG_1, BPF_REG_0));
	emit(e, BPF_ALU64_IMM(BPF_ADD, BPF_REG_0, 7));
	emit(e, BPF_ALU64_IMM(BPF_AND, BPF_REG_0, 0x1ff8));
	emit(e, BPF_ALU64_REG(BPF_ADD, BPF_REG_8, BPF_REG_0));
}

static void emit_not_step(struct emitter *e, struct value_stack *s)
{
	label zero = label_new(e);

	emit_top_to_r1(e, s);
	emit(e, BPF_MOV64_REG(BPF_REG_2, BPF_REG_1));
	emit(e, BPF_MOV64_IMM(BPF_REG_1, 1));
	emit(e, BPF_JMP_IMM(BPF_JEQ, BPF_REG_2, 0, zero));
	emit(e, BPF_MOV64_IMM(BPF_REG_1, 0));
	label_place(e, zero);
}

/* Compares a string with a literal: the one at the address at the top, or the thread's name, which is a new top. */
static void emit_match_step(struct emitter *e, struct value_stack *s, const struct fetch_step *step,
                            const struct fetch_literal *literal, label fault)
{
	bool prefix = step->op == FETCH_PREFIX || step->op == FETCH_COMMPREFIX;
	label no = label_new(e);

	emit_top_to_stack(e, s);
	/* The buffer may contain an earlier, longer string. */
	for (int w = 0; w < 9; w++)
		emit(e, BPF_ST_MEM(BPF_DW, BPF_REG_7, SCRATCH_TEXT + 8 * w, 0));
	if (step->op == FETCH_COMMEQ || step->op == FETCH_COMMPREFIX) {
		emit(e, BPF_MOV64_REG(BPF_REG_1, BPF_REG_7));
		emit(e, BPF_ALU64_IMM(BPF_ADD, BPF_REG_1, SCRATCH_TEXT));
		emit(e, BPF_MOV64_IMM(BPF_REG_2, 16));
		emit(e, BPF_EMIT_CALL(BPF_FUNC_get_current_comm));
		s->depth++;
	} else {
		emit_read_string(e, SCRATCH_TEXT, literal->length + (prefix ? 1 : 2), value_at_depth(s->depth - 1),
		                 fault);
	}
	emit(e, BPF_MOV64_IMM(BPF_REG_1, 0));
	emit_compare_literal(e, literal, prefix, no);
	emit(e, BPF_MOV64_IMM(BPF_REG_1, 1));
	label_place(e, no);
	s->in_r1 = true;
}

/*
 * Jumps to no unless the literal is at r5 in the buffer SCRATCH_TEXT. r5 is scratch memory plus a position in the buffer.
 * There is one jump, because the verifier limits how many jumps it follows, and this code is in a loop.
 */
static void emit_compare_at(struct emitter *e, const struct fetch_literal *literal, label no)
{
	emit(e, BPF_MOV64_IMM(BPF_REG_0, 0));
	for (int i = 0, size; i < literal->length; i += size) {
		int64_t wanted = 0;

		for (size = 8; size > literal->length - i; size /= 2)
			;
		memcpy(&wanted, literal->bytes + i, (size_t)size); /* BPF has the byte order of the machine */
		emit(e, BPF_LDX_MEM(bpf_size(size), BPF_REG_2, BPF_REG_5, SCRATCH_TEXT + i));
		emit_imm64(e, BPF_REG_1, wanted);
		emit(e, BPF_ALU64_REG(BPF_XOR, BPF_REG_2, BPF_REG_1));
		emit(e, BPF_ALU64_REG(BPF_OR, BPF_REG_0, BPF_REG_2));
	}
	emit(e, BPF_JMP_IMM(BPF_JNE, BPF_REG_0, 0, no));
}

/* Replaces the address of a string by whether the literal is in the string, or at its end. */
static void emit_search_step(struct emitter *e, struct value_stack *s, const struct fetch_step *step,
                             const struct fetch_literal *literal, label fault)
{
	label no = label_new(e), again = label_new(e), next = label_new(e), yes = label_new(e);
	label whole = label_new(e), end = label_new(e);

	emit_top_to_stack(e, s);
	emit_read_string(e, SCRATCH_TEXT, FETCH_SEARCH_MAX + 2, value_at_depth(s->depth - 1), fault);
	emit(e, BPF_JMP_IMM(BPF_JLE, BPF_REG_0, FETCH_SEARCH_MAX + 1, whole));
	if (step->c)
		emit(e, BPF_JMP_A(no));
	else
		emit(e, BPF_MOV64_IMM(BPF_REG_0, FETCH_SEARCH_MAX + 1));
	label_place(e, whole);
	/* r4 = the last position where the literal may begin */
	emit(e, BPF_MOV64_REG(BPF_REG_4, BPF_REG_0));
	emit(e, BPF_ALU64_IMM(BPF_SUB, BPF_REG_4, 1 + literal->length));
	emit(e, BPF_JMP_IMM(BPF_JSLT, BPF_REG_4, 0, no));
	if (step->c) {
		emit(e, BPF_JMP_IMM(BPF_JGT, BPF_REG_4, FETCH_SEARCH_MAX, no));
		emit(e, BPF_MOV64_REG(BPF_REG_5, BPF_REG_7));
		emit(e, BPF_ALU64_REG(BPF_ADD, BPF_REG_5, BPF_REG_4));
		emit_compare_at(e, literal, no);
	} else {
		emit(e, BPF_MOV64_IMM(BPF_REG_3, 0));
		label_place(e, again);
		emit(e, BPF_JMP_REG(BPF_JSGT, BPF_REG_3, BPF_REG_4, no));
		emit(e, BPF_MOV64_REG(BPF_REG_5, BPF_REG_7));
		emit(e, BPF_ALU64_REG(BPF_ADD, BPF_REG_5, BPF_REG_3));
		emit_compare_at(e, literal, next);
		emit(e, BPF_JMP_A(yes));
		label_place(e, next);
		emit(e, BPF_ALU64_IMM(BPF_ADD, BPF_REG_3, 1));
		emit(e, BPF_JMP_IMM(BPF_JLE, BPF_REG_3, FETCH_SEARCH_MAX, again));
		emit(e, BPF_JMP_A(no));
		label_place(e, yes);
	}
	emit(e, BPF_MOV64_IMM(BPF_REG_1, 1));
	emit(e, BPF_JMP_A(end));
	label_place(e, no);
	emit(e, BPF_MOV64_IMM(BPF_REG_1, 0));
	label_place(e, end);
	s->in_r1 = true;
}

/* r1 = the register, or at a call's end what stands for it: see struct abi */
static void emit_register_step(struct emitter *e, int reg)
{
	const struct abi *abi = e->abi;
	bool stands = e->role == SITE_LEAVE && (e->match == MATCH_EXACT || e->match == MATCH_RETURN);
	int at = -1;

	for (int i = 0; i < abi->nargs && stands; i++)
		if (abi->leave_args[i] == reg)
			at = (int)offsetof(struct kernel_frame, args) + 8 * i;
	if (stands && reg == abi->leave_duration)
		at = offsetof(struct kernel_frame, time);
	if (at >= 0) {
		emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_1, BPF_REG_10, AT_FRAME));
		emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_1, BPF_REG_1, at));
	} else if (stands && reg == abi->leave_zero) {
		emit(e, BPF_MOV64_IMM(BPF_REG_1, 0));
	} else {
		emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_1, BPF_REG_6, e->cpu->pt_regs[reg]));
	}
}

/* r1 = argument i of the call's begin */
static void emit_entry_step(struct emitter *e, unsigned i, label fault)
{
	emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_2, BPF_REG_10, AT_FRAME));
	emit(e, BPF_LDX_MEM(BPF_W, BPF_REG_3, BPF_REG_2, offsetof(struct kernel_frame, what)));
	emit(e, BPF_ALU64_IMM(BPF_RSH, BPF_REG_3, (int)(KERNEL_FRAME_FAULTS + i)));
	emit(e, BPF_ALU64_IMM(BPF_AND, BPF_REG_3, 1));
	emit(e, BPF_JMP_IMM(BPF_JNE, BPF_REG_3, 0, fault));
	emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_1, BPF_REG_2, (int)(offsetof(struct kernel_frame, args) + 8 * i)));
}

/*
 * Replaces the address at the top by a hash of the string there: of its first bytes, which are the first FETCH_HASH_BYTES,
 * padded with zeroes.
 */
static void emit_hash_step(struct emitter *e, struct value_stack *s, label fault)
{
	emit_top_to_stack(e, s);
	for (int w = 0; w < 9; w++)
		emit(e, BPF_ST_MEM(BPF_DW, BPF_REG_7, SCRATCH_TEXT + 8 * w, 0));
	emit_read_string(e, SCRATCH_TEXT, FETCH_HASH_BYTES + 1, value_at_depth(s->depth - 1), fault);
	emit_imm64(e, BPF_REG_1, FETCH_HASH_SEED);
	emit_imm64(e, BPF_REG_3, FETCH_HASH_FACTOR);
	for (int w = 0; w < FETCH_HASH_BYTES / 8; w++) {
		emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_2, BPF_REG_7, SCRATCH_TEXT + 8 * w));
		emit(e, BPF_ALU64_REG(BPF_XOR, BPF_REG_1, BPF_REG_2));
		emit(e, BPF_ALU64_REG(BPF_MUL, BPF_REG_1, BPF_REG_3));
		emit(e, BPF_MOV64_REG(BPF_REG_2, BPF_REG_1));
		emit(e, BPF_ALU64_IMM(BPF_RSH, BPF_REG_2, 32));
		emit(e, BPF_ALU64_REG(BPF_XOR, BPF_REG_1, BPF_REG_2));
	}
	s->in_r1 = true;
}

void emit_registers(struct emitter *e)
{
	for (int i = 0; i < EMIT_REGISTERS; i++) {
		if (!(e->group->registers >> i & 1))
			continue;
		emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_1, BPF_REG_6, 8 * i));
		emit(e, BPF_STX_MEM(BPF_DW, BPF_REG_7, BPF_REG_1, SCRATCH_REGISTERS + 8 * i));
	}
}

/* r1 or r2 = the entry of the table in the row of the spec. Changes r3. */
static void emit_entry(struct emitter *e, int dst, int column)
{
	/* The mask shows the verifier that the row is in the table. */
	emit(e, BPF_LDX_MEM(BPF_DW, dst, BPF_REG_10, AT_COOKIE));
	emit(e, BPF_ALU64_IMM(BPF_RSH, dst, COOKIE_POINT_BITS));
	emit(e, BPF_ALU64_IMM(BPF_AND, dst, (int32_t)e->specs->nrows - 1));
	emit(e, BPF_ALU64_IMM(BPF_MUL, dst, (int32_t)(8 * e->specs->ncolumns)));
	emit_map_value(e, BPF_REG_3, e->maps->constants);
	emit(e, BPF_ALU64_REG(BPF_ADD, BPF_REG_3, dst));
	emit(e, BPF_LDX_MEM(BPF_DW, dst, BPF_REG_3, 8 * column));
}

/* r1 or r2 = the constant of step i. Changes r3. */
static void emit_constant(struct emitter *e, int dst, const struct fetch_program *p, size_t i)
{
	const int column = emit_column(e, i);

	if (column < 0)
		emit_imm64(e, dst, p->steps[i].value);
	else
		emit_entry(e, dst, column);
}

/* r1 = the register of step i */
static void emit_register(struct emitter *e, const struct fetch_program *p, size_t i)
{
	const int column = emit_column(e, i);

	if (column < 0) {
		emit_register_step(e, p->steps[i].a);
		return;
	}
	emit_entry(e, BPF_REG_1, column);
	emit(e, BPF_ALU64_IMM(BPF_AND, BPF_REG_1, 8 * (EMIT_REGISTERS - 1)));
	emit(e, BPF_ALU64_REG(BPF_ADD, BPF_REG_1, BPF_REG_7));
	emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_1, BPF_REG_1, SCRATCH_REGISTERS));
}

/* Emits a step other than the end of an argument and the jumps of predicates. */
static void emit_plain_step(struct emitter *e, struct value_stack *s, const struct fetch_program *p, size_t i,
                            label fault)
{
	const struct fetch_step *step = &p->steps[i];

	switch (step->op) {
	case FETCH_IMM:
		emit_push_r1(e, s);
		emit_constant(e, BPF_REG_1, p, i);
		break;
	case FETCH_REG:
		emit_push_r1(e, s);
		emit_register(e, p, i);
		break;
	case FETCH_EXTEND:
		emit_top_to_r1(e, s);
		emit_extend(e, BPF_REG_1, step->a, step->b, step->c);
		break;
	case FETCH_LOAD: emit_load_step(e, s, step, fault); break;
	case FETCH_NOT: emit_not_step(e, s); break;
	case FETCH_NEG:
		emit_top_to_r1(e, s);
		emit(e, BPF_NEG64(BPF_REG_1));
		break;
	case FETCH_COM:
		emit_top_to_r1(e, s);
		emit(e, BPF_ALU64_IMM(BPF_XOR, BPF_REG_1, -1));
		break;
	case FETCH_PID:
	case FETCH_TID:
		emit_push_r1(e, s);
		emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_1, BPF_REG_10, AT_PIDTGID));
		if (step->op == FETCH_TID)
			emit(e, BPF_ALU64_IMM(BPF_LSH, BPF_REG_1, 32));
		emit(e, BPF_ALU64_IMM(BPF_RSH, BPF_REG_1, 32));
		break;
	case FETCH_CPU:
		emit_push_r1(e, s);
		emit(e, BPF_EMIT_CALL(BPF_FUNC_get_smp_processor_id));
		emit(e, BPF_MOV64_REG(BPF_REG_1, BPF_REG_0));
		break;
	case FETCH_DURATION:
		emit_push_r1(e, s);
		emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_1, BPF_REG_10, AT_FRAME));
		emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_1, BPF_REG_1, offsetof(struct kernel_frame, time)));
		break;
	case FETCH_ENTRY:
		emit_push_r1(e, s);
		emit_entry_step(e, step->a, fault);
		break;
	case FETCH_HASH: emit_hash_step(e, s, fault); break;
	case FETCH_STREQ:
	case FETCH_PREFIX:
	case FETCH_COMMEQ:
	case FETCH_COMMPREFIX: emit_match_step(e, s, step, &p->literals[step->a], fault); break;
	case FETCH_SEARCH: emit_search_step(e, s, step, &p->literals[step->a], fault); break;
	default: emit_operands(e, s); emit_binary(e, step);
	}
}

/* Returns true if the steps i and i + 1 add a constant, as in the computation of addresses. */
static bool step_adds_constant(const struct fetch_program *p, size_t i, size_t to)
{
	const struct fetch_step *s = &p->steps[i];

	return s->op == FETCH_IMM && i + 1 < to && s[1].op == FETCH_ADD;
}

/* r1 += the constant of step i */
static void emit_add_constant(struct emitter *e, const struct fetch_program *p, size_t i)
{
	const int64_t value = p->steps[i].value;

	if (emit_column(e, i) < 0 && value == (int32_t)value) {
		emit(e, BPF_ALU64_IMM(BPF_ADD, BPF_REG_1, (int32_t)value));
		return;
	}
	emit_constant(e, BPF_REG_2, p, i);
	emit(e, BPF_ALU64_REG(BPF_ADD, BPF_REG_1, BPF_REG_2));
}

/* The code at `fault` of an argument: its value is 0, and its bit is set in the record's faults. */
static void emit_fault(struct emitter *e, int argument, label fault)
{
	label next = label_new(e);

	emit(e, BPF_JMP_A(next));
	label_place(e, fault);
	emit(e, BPF_ST_MEM(BPF_DW, BPF_REG_7, AT_RECORD(value) + 8 * argument, 0));
	emit(e, BPF_LDX_MEM(BPF_W, BPF_REG_1, BPF_REG_7, AT_RECORD_WORDS));
	emit(e, BPF_ALU64_IMM(BPF_OR, BPF_REG_1, (int32_t)(1u << (8 + argument))));
	emit(e, BPF_STX_MEM(BPF_W, BPF_REG_7, BPF_REG_1, AT_RECORD_WORDS));
	label_place(e, next);
}

void emit_arguments(struct emitter *e, const struct fetch_program *p)
{
	const size_t end = p->nsteps - p->nkey;
	struct value_stack s = { 0 };
	bool may_fault = false;
	label fault = label_new(e);

	for (size_t i = p->npredicate + p->naggregate; i < end && !e->error; i++) {
		const struct fetch_step *step = &p->steps[i];

		if (s.depth && step_adds_constant(p, i, end)) {
			emit_top_to_r1(e, &s);
			emit_add_constant(e, p, i);
			i++;
			continue;
		}
		if (!fetch_ends_argument(step->op)) {
			may_fault |= step->op == FETCH_LOAD || step->op == FETCH_STREQ || step->op == FETCH_PREFIX ||
			             step->op == FETCH_SEARCH || step->op == FETCH_ENTRY;
			emit_plain_step(e, &s, p, i, fault);
			continue;
		}
		if (step->op == FETCH_ARG)
			emit_top_to_r1(e, &s);
		else
			emit_string_step(e, &s, step, fault);
		s = (struct value_stack){ 0 };
		emit(e, BPF_STX_MEM(BPF_DW, BPF_REG_7, BPF_REG_1, AT_RECORD(value) + 8 * step->a));
		if (!may_fault && step->op == FETCH_ARG)
			continue; /* the verifier rejects code that is never reached */
		may_fault = false;
		emit_fault(e, step->a, fault);
		fault = label_new(e);
	}
	label_place(e, fault); /* no step jumps to it */
}

void emit_key(struct emitter *e, const struct fetch_program *p, label fault)
{
	struct value_stack s = { 0 };

	for (size_t i = p->nsteps - p->nkey; i < p->nsteps && !e->error; i++)
		emit_plain_step(e, &s, p, i, fault);
	emit_top_to_r1(e, &s);
	emit(e, BPF_MOV64_REG(BPF_REG_8, BPF_REG_1));
}

/* ---- predicates and aggregates ---- */

int emit_expressions_open(struct emitter *e, struct expressions *x, const struct fetch_program *p, size_t from,
                          size_t to)
{
	*x = (struct expressions){ .p = p, .from = from };
	x->targets = calloc(to - from + 1, sizeof(*x->targets));
	if (!x->targets)
		return e->error = error_nomem();
	for (size_t i = from; i < to; i++)
		x->targets[i - from] = -1;
	for (size_t i = from; i < to; i++)
		if (p->steps[i].op == FETCH_JZ || p->steps[i].op == FETCH_JNZ)
			x->targets[(size_t)p->steps[i].value - from] = label_new(e);
	return e->error;
}

void emit_expressions_close(struct expressions *x)
{
	free(x->targets);
}

void emit_expressions_target(struct emitter *e, struct expressions *x, size_t i)
{
	label target = x->targets[i - x->from];

	if (target < 0)
		return;
	emit_top_to_stack(e, &x->stack);
	label_place(e, target);
}

/* Returns whether step i is a constant for the binary operation after it. */
static bool step_is_operand(const struct fetch_program *p, size_t i)
{
	return p->steps[i].op == FETCH_IMM && i + 1 < p->nsteps && p->steps[i + 1].op >= FETCH_ADD &&
	       p->steps[i + 1].op <= FETCH_LE;
}

size_t emit_expressions_step(struct emitter *e, struct expressions *x, size_t i, label fault)
{
	const struct fetch_step *step = &x->p->steps[i];

	if (x->stack.depth && step_is_operand(x->p, i) && x->targets[i + 1 - x->from] < 0) {
		emit_top_to_r1(e, &x->stack);
		emit_constant(e, BPF_REG_2, x->p, i);
		emit_binary(e, step + 1);
		return i + 1;
	}
	if (step->op != FETCH_JZ && step->op != FETCH_JNZ) {
		emit_plain_step(e, &x->stack, x->p, i, fault);
		return i;
	}
	emit_top_to_r1(e, &x->stack);
	emit_top_to_stack(e, &x->stack);
	emit(e, BPF_JMP_IMM(step->op == FETCH_JZ ? BPF_JEQ : BPF_JNE, BPF_REG_1, 0,
	                    x->targets[(size_t)step->value - x->from]));
	x->stack.depth--;
	return i;
}

/* Returns whether emit_expressions_step() emits the step without scratch memory if its operand is in r1. */
static bool step_is_light(uint8_t op)
{
	switch (op) {
	case FETCH_IMM:
	case FETCH_REG:
	case FETCH_EXTEND:
	case FETCH_LOAD:
	case FETCH_NOT:
	case FETCH_NEG:
	case FETCH_COM:
	case FETCH_PID:
	case FETCH_TID:
	case FETCH_CPU:
	case FETCH_KEY:
	case FETCH_AGG: return true;
	}
	return false;
}

bool expressions_are_light(const struct fetch_program *p, size_t from, size_t to)
{
	int depth = 0;

	for (size_t i = from; i < to; i++) {
		if (depth && i + 1 < to && step_is_operand(p, i)) {
			i++;
			continue;
		}
		depth += fetch_effect(p->steps[i].op);
		if (depth > 1 || !step_is_light(p->steps[i].op))
			return false;
	}
	return true;
}

void emit_predicate(struct emitter *e, const struct fetch_program *p, label filtered)
{
	struct expressions x;

	if (!emit_expressions_open(e, &x, p, 0, p->npredicate))
		for (size_t i = 0; i < p->npredicate && !e->error; i++) {
			emit_expressions_target(e, &x, i);
			if (p->steps[i].op != FETCH_TEST) {
				i = emit_expressions_step(e, &x, i, filtered);
				continue;
			}
			emit_top_to_r1(e, &x.stack);
			emit(e, BPF_JMP_IMM(BPF_JEQ, BPF_REG_1, 0, filtered));
		}
	emit_expressions_close(&x);
}
