/* SPDX-License-Identifier: MIT */
/*
 * The steps of fetch programs as BPF. The machine's stack is in scratch memory, which r7
 * points to. Its top stays in r1 as long as nothing else needs r1.
 */
#include <errno.h>
#include <probepoint.h>
#include <stdlib.h>

#include "runtime/kernel/emitter.h"
#include "sdt/operand.h"

static int width(int bytes)
{
	switch (bytes) {
	case 1: return BPF_B;
	case 2: return BPF_H;
	case 4: return BPF_W;
	default: return BPF_DW;
	}
}

static int slot(int depth)
{
	return SCRATCH_STACK + 8 * depth;
}

/* r = the low size bytes of r, from bit shift on, extended */
static void extend(struct emitter *e, int r, int size, int shift, bool is_signed)
{
	int spare = 64 - 8 * size;

	if (spare - shift > 0)
		emit(e, BPF_ALU64_IMM(BPF_LSH, r, spare - shift));
	if (spare > 0)
		emit(e, BPF_ALU64_IMM(is_signed ? BPF_ARSH : BPF_RSH, r, spare));
}

/*
 * Reads the string whose address is at address_at in scratch memory, at most room bytes with its NUL, to scratch memory:
 * to SCRATCH_TEXT, or to r8 if in_record. Sets r0 to the length with NUL. Jumps to fault if a byte cannot be read.
 */
static void read_string(struct emitter *e, bool in_record, int room, int address_at, label fault)
{
	label ok = label_new(e), not_empty = label_new(e);

	for (int try = 0; try < 2; try++) {
		emit(e, BPF_MOV64_REG(BPF_REG_1, BPF_REG_7));
		if (in_record)
			emit(e, BPF_ALU64_REG(BPF_ADD, BPF_REG_1, BPF_REG_8));
		else
			emit(e, BPF_ALU64_IMM(BPF_ADD, BPF_REG_1, SCRATCH_TEXT));
		emit_imm64(e, BPF_REG_2, room);
		emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_3, BPF_REG_7, address_at));
		emit(e, BPF_EMIT_CALL(BPF_FUNC_probe_read_user_str));
		if (try) {
			emit(e, BPF_JMP_IMM(BPF_JSLT, BPF_REG_0, 0, fault));
			break;
		}
		emit(e, BPF_JMP_IMM(BPF_JSGE, BPF_REG_0, 0, ok));
		/* The page, or the one behind it, may not be in memory: touch both, sleeping if need be. */
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
	/* Kernels before 6.15 answer 0 for an empty string, later ones 1. */
	emit(e, BPF_JMP_IMM(BPF_JNE, BPF_REG_0, 0, not_empty));
	emit(e, BPF_MOV64_IMM(BPF_REG_0, 1));
	label_place(e, not_empty);
}

/* Jumps to no unless SCRATCH_TEXT equals the literal, or begins with it if prefix. Keeps r1. */
static void compare_literal(struct emitter *e, const struct fetch_literal *literal, bool prefix, label no)
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

/* r1 = x op y, of r1 and r2 */
static void binary(struct emitter *e, const struct fetch_step *s)
{
	int compare = 0;
	label end, special;

	switch (s->op) {
	case FETCH_ADD: emit(e, BPF_ALU64_REG(BPF_ADD, BPF_REG_1, BPF_REG_2)); return;
	case FETCH_SUB: emit(e, BPF_ALU64_REG(BPF_SUB, BPF_REG_1, BPF_REG_2)); return;
	case FETCH_MUL: emit(e, BPF_ALU64_REG(BPF_MUL, BPF_REG_1, BPF_REG_2)); return;
	case FETCH_AND: emit(e, BPF_ALU64_REG(BPF_AND, BPF_REG_1, BPF_REG_2)); return;
	case FETCH_OR: emit(e, BPF_ALU64_REG(BPF_OR, BPF_REG_1, BPF_REG_2)); return;
	case FETCH_XOR: emit(e, BPF_ALU64_REG(BPF_XOR, BPF_REG_1, BPF_REG_2)); return;
	case FETCH_SHL:
	case FETCH_SHR:
		emit(e, BPF_ALU64_IMM(BPF_AND, BPF_REG_2, 63));
		emit(e, BPF_ALU64_REG(s->op == FETCH_SHL ? BPF_LSH : s->c ? BPF_ARSH : BPF_RSH, BPF_REG_1, BPF_REG_2));
		return;
	case FETCH_DIV:
	case FETCH_MOD:
		/* BPF divides unsigned, by zero to 0, and leaves x as x % 0. Signs are put back by hand. */
		end = label_new(e);
		special = label_new(e);
		emit(e, BPF_JMP_IMM(BPF_JNE, BPF_REG_2, 0, special));
		emit(e, BPF_MOV64_IMM(BPF_REG_1, 0));
		emit(e, BPF_JMP_A(end));
		label_place(e, special);
		if (s->c) {
			label positive = label_new(e), divide = label_new(e);

			emit(e, BPF_MOV64_REG(BPF_REG_3, BPF_REG_1));
			if (s->op == FETCH_DIV)
				emit(e, BPF_ALU64_REG(BPF_XOR, BPF_REG_3, BPF_REG_2));
			emit(e, BPF_JMP_IMM(BPF_JSGE, BPF_REG_1, 0, positive));
			emit(e, BPF_NEG64(BPF_REG_1));
			label_place(e, positive);
			emit(e, BPF_JMP_IMM(BPF_JSGE, BPF_REG_2, 0, divide));
			emit(e, BPF_NEG64(BPF_REG_2));
			label_place(e, divide);
		}
		emit(e, BPF_ALU64_REG(s->op == FETCH_DIV ? BPF_DIV : BPF_MOD, BPF_REG_1, BPF_REG_2));
		if (s->c) {
			emit(e, BPF_JMP_IMM(BPF_JSGE, BPF_REG_3, 0, end));
			emit(e, BPF_NEG64(BPF_REG_1));
		}
		label_place(e, end);
		return;
	case FETCH_EQ: compare = BPF_JEQ; break;
	case FETCH_NE: compare = BPF_JNE; break;
	case FETCH_LT: compare = s->c ? BPF_JSLT : BPF_JLT; break;
	case FETCH_LE: compare = s->c ? BPF_JSLE : BPF_JLE; break;
	}
	end = label_new(e);
	emit(e, BPF_MOV64_IMM(BPF_REG_3, 1));
	emit(e, BPF_JMP_REG(compare, BPF_REG_1, BPF_REG_2, end));
	emit(e, BPF_MOV64_IMM(BPF_REG_3, 0));
	label_place(e, end);
	emit(e, BPF_MOV64_REG(BPF_REG_1, BPF_REG_3));
}

struct stack {
	int depth;
	bool in_r1; /* the top */
};

static void top_to_stack(struct emitter *e, struct stack *s)
{
	if (s->in_r1)
		emit(e, BPF_STX_MEM(BPF_DW, BPF_REG_7, BPF_REG_1, slot(s->depth - 1)));
	s->in_r1 = false;
}

/* r1 = the top, which is then nowhere else. */
static void top_to_r1(struct emitter *e, struct stack *s)
{
	if (!s->in_r1)
		emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_1, BPF_REG_7, slot(s->depth - 1)));
	s->in_r1 = true;
}

/* What is put into r1 next is a new top. */
static void push_r1(struct emitter *e, struct stack *s)
{
	top_to_stack(e, s);
	s->depth++;
	s->in_r1 = true;
}

/* r1, r2 = x, y of x op y; y is popped. */
static void operands_to_registers(struct emitter *e, struct stack *s)
{
	if (s->in_r1)
		emit(e, BPF_MOV64_REG(BPF_REG_2, BPF_REG_1));
	else
		emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_2, BPF_REG_7, slot(s->depth - 1)));
	s->depth--;
	emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_1, BPF_REG_7, slot(s->depth - 1)));
	s->in_r1 = true;
}

/* Jumps to fault where it cannot be read. */
static void load_step(struct emitter *e, struct stack *s, const struct fetch_step *step, label fault)
{
	if (s->in_r1)
		emit(e, BPF_MOV64_REG(BPF_REG_3, BPF_REG_1));
	else
		emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_3, BPF_REG_7, slot(s->depth - 1)));
	emit_stack_address(e, BPF_REG_1, AT_WORD);
	emit_imm64(e, BPF_REG_2, step->a);
	emit(e, BPF_EMIT_CALL(BPF_FUNC_copy_from_user));
	emit(e, BPF_JMP_IMM(BPF_JNE, BPF_REG_0, 0, fault));
	emit(e, BPF_LDX_MEM(width(step->a), BPF_REG_1, BPF_REG_10, AT_WORD));
	if (step->c)
		extend(e, BPF_REG_1, step->a, 0, true);
	s->in_r1 = true;
}

/* The string at the top's address, into the record: r1 = its length. */
static void string_step(struct emitter *e, struct stack *s, label fault)
{
	top_to_stack(e, s);
	read_string(e, true, RECORD_STRING_CUT + 1, slot(s->depth - 1), fault);
	emit(e, BPF_ALU64_IMM(BPF_SUB, BPF_REG_0, 1));
	emit(e, BPF_JMP_IMM(BPF_JGT, BPF_REG_0, RECORD_STRING_CUT, fault));
	/* Behind the NUL lies what was read before, by another hit perhaps. */
	emit(e, BPF_MOV64_REG(BPF_REG_2, BPF_REG_7));
	emit(e, BPF_ALU64_REG(BPF_ADD, BPF_REG_2, BPF_REG_8));
	emit(e, BPF_ALU64_REG(BPF_ADD, BPF_REG_2, BPF_REG_0));
	emit(e, BPF_ST_MEM(BPF_DW, BPF_REG_2, 0, 0));
	emit(e, BPF_MOV64_REG(BPF_REG_1, BPF_REG_0));
	emit(e, BPF_ALU64_IMM(BPF_ADD, BPF_REG_0, 7));
	emit(e, BPF_ALU64_IMM(BPF_AND, BPF_REG_0, 0xf8));
	emit(e, BPF_ALU64_REG(BPF_ADD, BPF_REG_8, BPF_REG_0));
}

static void not_step(struct emitter *e, struct stack *s)
{
	label zero = label_new(e);

	top_to_r1(e, s);
	emit(e, BPF_MOV64_REG(BPF_REG_2, BPF_REG_1));
	emit(e, BPF_MOV64_IMM(BPF_REG_1, 1));
	emit(e, BPF_JMP_IMM(BPF_JEQ, BPF_REG_2, 0, zero));
	emit(e, BPF_MOV64_IMM(BPF_REG_1, 0));
	label_place(e, zero);
}

/* Of a string at the top's address, or of the thread's name, which is then a new top. */
static void match_step(struct emitter *e, struct stack *s, const struct fetch_step *step,
                       const struct fetch_literal *literal, label fault)
{
	bool prefix = step->op == FETCH_PREFIX || step->op == FETCH_COMMPREFIX;
	label no = label_new(e);

	top_to_stack(e, s);
	/* What lies behind the string's end in the buffer must not be an earlier one's. */
	for (int w = 0; w < 9; w++)
		emit(e, BPF_ST_MEM(BPF_DW, BPF_REG_7, SCRATCH_TEXT + 8 * w, 0));
	if (step->op == FETCH_COMMEQ || step->op == FETCH_COMMPREFIX) {
		emit(e, BPF_MOV64_REG(BPF_REG_1, BPF_REG_7));
		emit(e, BPF_ALU64_IMM(BPF_ADD, BPF_REG_1, SCRATCH_TEXT));
		emit(e, BPF_MOV64_IMM(BPF_REG_2, 16));
		emit(e, BPF_EMIT_CALL(BPF_FUNC_get_current_comm));
		s->depth++;
	} else {
		read_string(e, false, literal->length + (prefix ? 1 : 2), slot(s->depth - 1), fault);
	}
	emit(e, BPF_MOV64_IMM(BPF_REG_1, 0));
	compare_literal(e, literal, prefix, no);
	emit(e, BPF_MOV64_IMM(BPF_REG_1, 1));
	label_place(e, no);
	s->in_r1 = true;
}

/* r1 = the register, see LEAVE_ENTRY_REGISTERS */
static void register_step(struct emitter *e, int reg)
{
	static const int entry[] = LEAVE_ENTRY_REGISTERS;
	int at = -1;

	for (int i = 0; i < LEAVE_ENTRY_COUNT && e->role == SITE_LEAVE; i++)
		if (entry[i] == reg)
			at = (int)offsetof(struct kernel_frame, args) + 8 * i;
	if (e->role == SITE_LEAVE && reg == LEAVE_DURATION)
		at = offsetof(struct kernel_frame, time);
	if (at >= 0) {
		emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_1, BPF_REG_10, AT_FRAME));
		emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_1, BPF_REG_1, at));
	} else if (e->role == SITE_LEAVE && reg == LEAVE_ZERO) {
		emit(e, BPF_MOV64_IMM(BPF_REG_1, 0));
	} else {
		emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_1, BPF_REG_6, e->cpu->pt_regs[reg]));
	}
}

/* A step that takes no argument's place and jumps nowhere but to fault. */
static void plain_step(struct emitter *e, struct stack *s, const struct fetch_program *p, size_t i, label fault)
{
	const struct fetch_step *step = &p->steps[i];

	switch (step->op) {
	case FETCH_IMM:
		push_r1(e, s);
		emit_imm64(e, BPF_REG_1, step->value);
		break;
	case FETCH_REG:
		push_r1(e, s);
		register_step(e, step->a);
		break;
	case FETCH_EXTEND:
		top_to_r1(e, s);
		extend(e, BPF_REG_1, step->a, step->b, step->c);
		break;
	case FETCH_LOAD: load_step(e, s, step, fault); break;
	case FETCH_NOT: not_step(e, s); break;
	case FETCH_NEG:
		top_to_r1(e, s);
		emit(e, BPF_NEG64(BPF_REG_1));
		break;
	case FETCH_COM:
		top_to_r1(e, s);
		emit(e, BPF_ALU64_IMM(BPF_XOR, BPF_REG_1, -1));
		break;
	case FETCH_PID:
	case FETCH_TID:
		push_r1(e, s);
		emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_1, BPF_REG_10, AT_PIDTGID));
		if (step->op == FETCH_TID)
			emit(e, BPF_ALU64_IMM(BPF_LSH, BPF_REG_1, 32));
		emit(e, BPF_ALU64_IMM(BPF_RSH, BPF_REG_1, 32));
		break;
	case FETCH_STREQ:
	case FETCH_PREFIX:
	case FETCH_COMMEQ:
	case FETCH_COMMPREFIX: match_step(e, s, step, &p->literals[step->a], fault); break;
	default: operands_to_registers(e, s); binary(e, step);
	}
}

/* An addition of a constant, as addresses have them. */
static bool adds_constant(const struct fetch_program *p, size_t i, size_t to)
{
	const struct fetch_step *s = &p->steps[i];

	return s->op == FETCH_IMM && i + 1 < to && s[1].op == FETCH_ADD && s->value == (int32_t)s->value;
}

void emit_arguments(struct emitter *e, const struct fetch_program *p)
{
	struct stack s = { 0 };
	bool may_fault = false;
	label fault = label_new(e), next;

	for (size_t i = p->npredicate; i < p->nsteps && !e->error; i++) {
		const struct fetch_step *step = &p->steps[i];

		if (s.depth && adds_constant(p, i, p->nsteps)) {
			top_to_r1(e, &s);
			emit(e, BPF_ALU64_IMM(BPF_ADD, BPF_REG_1, (int32_t)step->value));
			i++;
			continue;
		}
		if (step->op != FETCH_ARG && step->op != FETCH_STRING) {
			may_fault |= step->op == FETCH_LOAD;
			plain_step(e, &s, p, i, fault);
			continue;
		}

		int at = sizeof(struct record_thread) + sizeof(struct record) + 8 * step->a;

		if (step->op == FETCH_STRING)
			string_step(e, &s, fault);
		else
			top_to_r1(e, &s);
		s = (struct stack){ 0 };
		emit(e, BPF_STX_MEM(BPF_DW, BPF_REG_7, BPF_REG_1, at));
		if (!may_fault && step->op == FETCH_ARG)
			continue; /* the verifier refuses code that nothing reaches */
		may_fault = false;
		next = label_new(e);
		emit(e, BPF_JMP_A(next));
		label_place(e, fault);
		emit(e, BPF_ST_MEM(BPF_DW, BPF_REG_7, at, 0));
		emit(e, BPF_LDX_MEM(BPF_W, BPF_REG_1, BPF_REG_7, sizeof(struct record_thread) + 12));
		emit(e, BPF_ALU64_IMM(BPF_OR, BPF_REG_1, (int32_t)(1u << (8 + step->a))));
		emit(e, BPF_STX_MEM(BPF_W, BPF_REG_7, BPF_REG_1, sizeof(struct record_thread) + 12));
		label_place(e, next);
		fault = label_new(e);
	}
	label_place(e, fault); /* of no step any more */
}

/*
 * The predicate. Jumps find the stack as it is where they lead to, by the rules of
 * fetch.h, and nothing in r1.
 */
void emit_predicate(struct emitter *e, const struct fetch_program *p, label filtered)
{
	size_t n = p->npredicate;
	label *targets = calloc(n + 1, sizeof(*targets));
	bool *is_target = calloc(n + 1, sizeof(*is_target));
	struct stack s = { 0 };

	if (!targets || !is_target)
		e->error = -ENOMEM;
	for (size_t i = 0; i < n && !e->error; i++) {
		targets[i] = label_new(e);
		if (p->steps[i].op == FETCH_JZ || p->steps[i].op == FETCH_JNZ)
			is_target[p->steps[i].value] = true;
	}
	for (size_t i = 0; i < n && !e->error; i++) {
		const struct fetch_step *step = &p->steps[i];

		if (is_target[i]) {
			top_to_stack(e, &s);
			label_place(e, targets[i]);
		}
		if (step->op == FETCH_JZ || step->op == FETCH_JNZ) {
			top_to_r1(e, &s);
			top_to_stack(e, &s);
			emit(e,
			     BPF_JMP_IMM(step->op == FETCH_JZ ? BPF_JEQ : BPF_JNE, BPF_REG_1, 0, targets[step->value]));
			s.depth--;
		} else if (step->op == FETCH_TEST) {
			top_to_r1(e, &s);
			emit(e, BPF_JMP_IMM(BPF_JEQ, BPF_REG_1, 0, filtered));
			s = (struct stack){ 0 };
		} else {
			plain_step(e, &s, p, i, filtered);
		}
	}
	free(targets);
	free(is_target);
}
