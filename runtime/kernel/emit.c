/* SPDX-License-Identifier: MIT */
/*
 * From fetch programs to BPF.
 *
 * The program's way with a hit: is the point's process meant; is the point still
 * on; has the link that takes over from this one counted the hit already; count;
 * evaluate the predicate; is anybody reading; build the record; output it.
 *
 * Two trees of comparisons lead to the code of each spec, one for the predicates
 * (only where there are any), one for the arguments. A record without strings is
 * built on the BPF stack. One with strings is built in task storage: it may not
 * fit the stack, and the program may sleep while it reads, so that per-CPU memory
 * would be another thread's and a reserved place in the ring would stall every
 * reader behind a page fault.
 *
 * Registers: r6 the context (struct pt_regs), r7 the record (struct record_thread
 * first), r8 the length so far where there are strings, r9 the point's counters.
 * The stack, from the top: the machine's value stack, then scalars kept over
 * calls, then a buffer for what is read, then the record.
 *
 * Jumps are recorded with labels and resolved at the end.
 */
#include "runtime/kernel/emit.h"

#include <errno.h>
#include <probepoint.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/kernel/members.h"
#include "sdt/error.h"
#include "sdt/operand.h"

#include <elf.h>

enum {
	AT_STACK = -8, /* and down */
	AT_COOKIE = AT_STACK - 8 * FETCH_DEPTH_MAX,
	AT_PIDTGID = AT_COOKIE - 8,
	AT_KEY = AT_PIDTGID - 8,
	AT_POINT = AT_KEY - 8,
	AT_SPEC = AT_POINT - 8,
	AT_TIME = AT_SPEC - 8,
	AT_WORD = AT_TIME - 8,
	AT_TEXT = AT_WORD - 72, /* a string that is compared, FETCH_LITERAL_MAX + NUL */
	AT_RECORD = AT_TEXT - 8 - (int)(sizeof(struct record_thread) + sizeof(struct record) + 8 * RECORD_ARGS_MAX),
};
_Static_assert(AT_RECORD >= -512, "BPF's stack");
_Static_assert(EMIT_SCRATCH_SIZE >= sizeof(struct record_thread) + RECORD_SIZE_MAX + RECORD_STRING_ROOM, "scratch");

typedef int label;

struct emitter {
	struct bpf_insn *insns;
	size_t n, room;
	struct { size_t insn; label to; } *jumps;
	size_t njumps, jumps_room;
	int *labels; /* instruction, or -1 */
	int nlabels, labels_room;
	int error;
	const struct emit_maps *maps;
	uint32_t segment;
	const struct cpu *cpu;
};

static void emit(struct emitter *e, struct bpf_insn insn)
{
	if (e->n == e->room) {
		size_t room = e->room ? 2 * e->room : 1024;
		void *more = realloc(e->insns, room * sizeof(*e->insns));

		if (!more) {
			e->error = -ENOMEM;
			return;
		}
		e->insns = more;
		e->room = room;
	}
	e->insns[e->n++] = insn;
}

static label label_new(struct emitter *e)
{
	if (e->nlabels == e->labels_room) {
		int room = e->labels_room ? 2 * e->labels_room : 256;
		void *more = realloc(e->labels, room * sizeof(*e->labels));

		if (!more) {
			e->error = -ENOMEM;
			return 0;
		}
		e->labels = more;
		e->labels_room = room;
	}
	e->labels[e->nlabels] = -1;
	return e->nlabels++;
}

static void place(struct emitter *e, label l)
{
	if (!e->error)
		e->labels[l] = (int)e->n;
}

static void jump_to(struct emitter *e, label l)
{
	if (e->njumps == e->jumps_room) {
		size_t room = e->jumps_room ? 2 * e->jumps_room : 1024;
		void *more = realloc(e->jumps, room * sizeof(*e->jumps));

		if (!more) {
			e->error = -ENOMEM;
			return;
		}
		e->jumps = more;
		e->jumps_room = room;
	}
	e->jumps[e->njumps].insn = e->n;
	e->jumps[e->njumps++].to = l;
}

#define INSN(c, d, s, o, i) ((struct bpf_insn){ .code = (c), .dst_reg = (d), .src_reg = (s), .off = (o), .imm = (i) })

static void mov(struct emitter *e, int dst, int src)
{
	emit(e, INSN(BPF_ALU64 | BPF_MOV | BPF_X, dst, src, 0, 0));
}

static void alu(struct emitter *e, int op, int dst, int src)
{
	emit(e, INSN(BPF_ALU64 | op | BPF_X, dst, src, 0, 0));
}

static void alu_imm(struct emitter *e, int op, int dst, int32_t imm)
{
	emit(e, INSN(BPF_ALU64 | op | BPF_K, dst, 0, 0, imm));
}

static void load(struct emitter *e, int size, int dst, int src, int off)
{
	emit(e, INSN(BPF_LDX | BPF_MEM | size, dst, src, off, 0));
}

static void store(struct emitter *e, int size, int dst, int off, int src)
{
	emit(e, INSN(BPF_STX | BPF_MEM | size, dst, src, off, 0));
}

static void store_imm(struct emitter *e, int size, int dst, int off, int32_t imm)
{
	emit(e, INSN(BPF_ST | BPF_MEM | size, dst, 0, off, imm));
}

static void call(struct emitter *e, int helper)
{
	emit(e, INSN(BPF_JMP | BPF_CALL, 0, 0, 0, helper));
}

static void imm64(struct emitter *e, int dst, int64_t value)
{
	if (value == (int32_t)value) {
		emit(e, INSN(BPF_ALU64 | BPF_MOV | BPF_K, dst, 0, 0, (int32_t)value));
		return;
	}
	emit(e, INSN(BPF_LD | BPF_DW | BPF_IMM, dst, 0, 0, (int32_t)value));
	emit(e, INSN(0, 0, 0, 0, (int32_t)(value >> 32)));
}

static void map(struct emitter *e, int dst, int fd)
{
	emit(e, INSN(BPF_LD | BPF_DW | BPF_IMM, dst, BPF_PSEUDO_MAP_FD, 0, fd));
	emit(e, INSN(0, 0, 0, 0, 0));
}

static void map_value(struct emitter *e, int dst, int fd)
{
	emit(e, INSN(BPF_LD | BPF_DW | BPF_IMM, dst, BPF_PSEUDO_MAP_VALUE, 0, fd));
	emit(e, INSN(0, 0, 0, 0, 0));
}

static void address(struct emitter *e, int dst, int at)
{
	mov(e, dst, BPF_REG_10);
	alu_imm(e, BPF_ADD, dst, at);
}

static void jump(struct emitter *e, label to)
{
	jump_to(e, to);
	emit(e, INSN(BPF_JMP | BPF_JA, 0, 0, 0, 0));
}

static void jump_if(struct emitter *e, int op, int dst, int32_t imm, label to)
{
	jump_to(e, to);
	emit(e, INSN(BPF_JMP | op | BPF_K, dst, 0, 0, imm));
}

static void jump_if_reg(struct emitter *e, int op, int dst, int src, label to)
{
	jump_to(e, to);
	emit(e, INSN(BPF_JMP | op | BPF_X, dst, src, 0, 0));
}

static void count(struct emitter *e, int off)
{
	emit(e, INSN(BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_1, 0, 0, 1));
	emit(e, INSN(BPF_STX | BPF_ATOMIC | BPF_DW, BPF_REG_9, BPF_REG_1, off, BPF_ADD));
}

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
	return AT_STACK - 8 * depth;
}

/* r = the low size bytes of r, from bit shift on, extended */
static void extend(struct emitter *e, int r, int size, int shift, bool is_signed)
{
	int spare = 64 - 8 * size;

	if (spare - shift > 0)
		alu_imm(e, BPF_LSH, r, spare - shift);
	if (spare > 0)
		alu_imm(e, is_signed ? BPF_ARSH : BPF_RSH, r, spare);
}

/* Reads into AT_TEXT; jumps to fault unless at least the NUL of a string shorter than room came. r0 = length with NUL. */
static void read_string(struct emitter *e, int to_reg, int room, int address_at, label fault)
{
	label ok = label_new(e);

	for (int try = 0; try < 2; try++) {
		mov(e, BPF_REG_1, to_reg);
		if (to_reg == BPF_REG_10)
			alu_imm(e, BPF_ADD, BPF_REG_1, AT_TEXT);
		else
			alu(e, BPF_ADD, BPF_REG_1, BPF_REG_8);
		imm64(e, BPF_REG_2, room);
		load(e, BPF_DW, BPF_REG_3, BPF_REG_10, address_at);
		call(e, BPF_FUNC_probe_read_user_str);
		if (try) {
			jump_if(e, BPF_JSLE, BPF_REG_0, 0, fault);
			break;
		}
		jump_if(e, BPF_JSGT, BPF_REG_0, 0, ok);
		/* The page, or the one behind it, may not be in memory: touch both, sleeping if need be. */
		for (int page = 0; page < 2; page++) {
			address(e, BPF_REG_1, AT_WORD);
			imm64(e, BPF_REG_2, 1);
			load(e, BPF_DW, BPF_REG_3, BPF_REG_10, address_at);
			if (page) {
				alu_imm(e, BPF_ADD, BPF_REG_3, room - 1);
				alu_imm(e, BPF_AND, BPF_REG_3, -4096);
			}
			call(e, BPF_FUNC_copy_from_user);
			if (!page)
				jump_if(e, BPF_JNE, BPF_REG_0, 0, fault);
		}
	}
	place(e, ok);
}

/* Jumps to no unless they are equal; r1 stays. */
static void compare_literal(struct emitter *e, const struct fetch_literal *literal, bool prefix, int at, label no)
{
	for (int i = 0; i < literal->length; i++) {
		load(e, BPF_B, BPF_REG_2, BPF_REG_10, at + i);
		jump_if(e, BPF_JNE, BPF_REG_2, (unsigned char)literal->bytes[i], no);
	}
	if (!prefix) {
		load(e, BPF_B, BPF_REG_2, BPF_REG_10, at + literal->length);
		jump_if(e, BPF_JNE, BPF_REG_2, 0, no);
	}
}

/* r1 = x op y, of r1 and r2 */
static void binary(struct emitter *e, const struct fetch_step *s)
{
	int compare = 0;
	label end, special;

	switch (s->op) {
	case FETCH_ADD: alu(e, BPF_ADD, BPF_REG_1, BPF_REG_2); return;
	case FETCH_SUB: alu(e, BPF_SUB, BPF_REG_1, BPF_REG_2); return;
	case FETCH_MUL: alu(e, BPF_MUL, BPF_REG_1, BPF_REG_2); return;
	case FETCH_AND: alu(e, BPF_AND, BPF_REG_1, BPF_REG_2); return;
	case FETCH_OR: alu(e, BPF_OR, BPF_REG_1, BPF_REG_2); return;
	case FETCH_XOR: alu(e, BPF_XOR, BPF_REG_1, BPF_REG_2); return;
	case FETCH_SHL:
	case FETCH_SHR:
		alu_imm(e, BPF_AND, BPF_REG_2, 63);
		alu(e, s->op == FETCH_SHL ? BPF_LSH : s->c ? BPF_ARSH : BPF_RSH, BPF_REG_1, BPF_REG_2);
		return;
	case FETCH_DIV:
	case FETCH_MOD:
		/* BPF divides unsigned, by zero to 0, and leaves x as x % 0. Signs are put back by hand. */
		end = label_new(e);
		special = label_new(e);
		jump_if(e, BPF_JNE, BPF_REG_2, 0, special);
		imm64(e, BPF_REG_1, 0);
		jump(e, end);
		place(e, special);
		if (s->c) {
			label positive = label_new(e), divide = label_new(e);

			mov(e, BPF_REG_3, BPF_REG_1);
			if (s->op == FETCH_DIV)
				alu(e, BPF_XOR, BPF_REG_3, BPF_REG_2);
			jump_if(e, BPF_JSGE, BPF_REG_1, 0, positive);
			emit(e, INSN(BPF_ALU64 | BPF_NEG, BPF_REG_1, 0, 0, 0));
			place(e, positive);
			jump_if(e, BPF_JSGE, BPF_REG_2, 0, divide);
			emit(e, INSN(BPF_ALU64 | BPF_NEG, BPF_REG_2, 0, 0, 0));
			place(e, divide);
		}
		alu(e, s->op == FETCH_DIV ? BPF_DIV : BPF_MOD, BPF_REG_1, BPF_REG_2);
		if (s->c) {
			jump_if(e, BPF_JSGE, BPF_REG_3, 0, end);
			emit(e, INSN(BPF_ALU64 | BPF_NEG, BPF_REG_1, 0, 0, 0));
		}
		place(e, end);
		return;
	case FETCH_EQ: compare = BPF_JEQ; break;
	case FETCH_NE: compare = BPF_JNE; break;
	case FETCH_LT: compare = s->c ? BPF_JSLT : BPF_JLT; break;
	case FETCH_LE: compare = s->c ? BPF_JSLE : BPF_JLE; break;
	}
	end = label_new(e);
	imm64(e, BPF_REG_3, 1);
	jump_if_reg(e, compare, BPF_REG_1, BPF_REG_2, end);
	imm64(e, BPF_REG_3, 0);
	place(e, end);
	mov(e, BPF_REG_1, BPF_REG_3);
}

/* ---- steps: the machine's stack is BPF's, but its top is left in r1 while that lasts ---- */

struct stack {
	int depth;
	bool in_r1; /* the top */
};

static void top_to_stack(struct emitter *e, struct stack *s)
{
	if (s->in_r1)
		store(e, BPF_DW, BPF_REG_10, slot(s->depth - 1), BPF_REG_1);
	s->in_r1 = false;
}

/* r1 = the top, which is then nowhere else. */
static void top_to_r1(struct emitter *e, struct stack *s)
{
	if (!s->in_r1)
		load(e, BPF_DW, BPF_REG_1, BPF_REG_10, slot(s->depth - 1));
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
		mov(e, BPF_REG_2, BPF_REG_1);
	else
		load(e, BPF_DW, BPF_REG_2, BPF_REG_10, slot(s->depth - 1));
	s->depth--;
	load(e, BPF_DW, BPF_REG_1, BPF_REG_10, slot(s->depth - 1));
	s->in_r1 = true;
}

/* Jumps to fault where it cannot be read. */
static void load_step(struct emitter *e, struct stack *s, const struct fetch_step *step, label fault)
{
	if (s->in_r1)
		mov(e, BPF_REG_3, BPF_REG_1);
	else
		load(e, BPF_DW, BPF_REG_3, BPF_REG_10, slot(s->depth - 1));
	address(e, BPF_REG_1, AT_WORD);
	imm64(e, BPF_REG_2, step->a);
	call(e, BPF_FUNC_copy_from_user);
	jump_if(e, BPF_JNE, BPF_REG_0, 0, fault);
	load(e, width(step->a), BPF_REG_1, BPF_REG_10, AT_WORD);
	if (step->c)
		extend(e, BPF_REG_1, step->a, 0, true);
	s->in_r1 = true;
}

/* The string at the top's address, into the record: r1 = its length. */
static void string_step(struct emitter *e, struct stack *s, label fault)
{
	top_to_stack(e, s);
	read_string(e, BPF_REG_7, RECORD_STRING_CUT + 1, slot(s->depth - 1), fault);
	alu_imm(e, BPF_SUB, BPF_REG_0, 1);
	jump_if(e, BPF_JGT, BPF_REG_0, RECORD_STRING_CUT, fault);
	/* Behind the NUL lies what was read before, by another hit perhaps. */
	mov(e, BPF_REG_2, BPF_REG_7);
	alu(e, BPF_ADD, BPF_REG_2, BPF_REG_8);
	alu(e, BPF_ADD, BPF_REG_2, BPF_REG_0);
	store_imm(e, BPF_DW, BPF_REG_2, 0, 0);
	mov(e, BPF_REG_1, BPF_REG_0);
	alu_imm(e, BPF_ADD, BPF_REG_0, 7);
	alu_imm(e, BPF_AND, BPF_REG_0, 0xf8);
	alu(e, BPF_ADD, BPF_REG_8, BPF_REG_0);
}

static void not_step(struct emitter *e, struct stack *s)
{
	label zero = label_new(e);

	top_to_r1(e, s);
	mov(e, BPF_REG_2, BPF_REG_1);
	imm64(e, BPF_REG_1, 1);
	jump_if(e, BPF_JEQ, BPF_REG_2, 0, zero);
	imm64(e, BPF_REG_1, 0);
	place(e, zero);
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
		store_imm(e, BPF_DW, BPF_REG_10, AT_TEXT + 8 * w, 0);
	if (step->op == FETCH_COMMEQ || step->op == FETCH_COMMPREFIX) {
		address(e, BPF_REG_1, AT_TEXT);
		imm64(e, BPF_REG_2, 16);
		call(e, BPF_FUNC_get_current_comm);
		s->depth++;
	} else {
		read_string(e, BPF_REG_10, literal->length + (prefix ? 1 : 2), slot(s->depth - 1), fault);
	}
	imm64(e, BPF_REG_1, 0);
	compare_literal(e, literal, prefix, AT_TEXT, no);
	imm64(e, BPF_REG_1, 1);
	place(e, no);
	s->in_r1 = true;
}

/* A step that takes no argument's place and jumps nowhere but to fault. */
static void plain_step(struct emitter *e, struct stack *s, const struct fetch_program *p, size_t i, label fault)
{
	const struct fetch_step *step = &p->steps[i];

	switch (step->op) {
	case FETCH_IMM:
		push_r1(e, s);
		imm64(e, BPF_REG_1, step->value);
		break;
	case FETCH_REG:
		push_r1(e, s);
		load(e, BPF_DW, BPF_REG_1, BPF_REG_6, e->cpu->pt_regs[step->a]);
		break;
	case FETCH_EXTEND:
		top_to_r1(e, s);
		extend(e, BPF_REG_1, step->a, step->b, step->c);
		break;
	case FETCH_LOAD:
		load_step(e, s, step, fault);
		break;
	case FETCH_NOT:
		not_step(e, s);
		break;
	case FETCH_NEG:
		top_to_r1(e, s);
		emit(e, INSN(BPF_ALU64 | BPF_NEG, BPF_REG_1, 0, 0, 0));
		break;
	case FETCH_COM:
		top_to_r1(e, s);
		alu_imm(e, BPF_XOR, BPF_REG_1, -1);
		break;
	case FETCH_PID:
	case FETCH_TID:
		push_r1(e, s);
		load(e, BPF_DW, BPF_REG_1, BPF_REG_10, AT_PIDTGID);
		if (step->op == FETCH_TID)
			alu_imm(e, BPF_LSH, BPF_REG_1, 32);
		alu_imm(e, BPF_RSH, BPF_REG_1, 32);
		break;
	case FETCH_STREQ:
	case FETCH_PREFIX:
	case FETCH_COMMEQ:
	case FETCH_COMMPREFIX:
		match_step(e, s, step, &p->literals[step->a], fault);
		break;
	default:
		operands_to_registers(e, s);
		binary(e, step);
	}
}

/* An addition of a constant, as addresses have them. */
static bool adds_constant(const struct fetch_program *p, size_t i, size_t to)
{
	const struct fetch_step *s = &p->steps[i];

	return s->op == FETCH_IMM && i + 1 < to && s[1].op == FETCH_ADD && s->value == (int32_t)s->value;
}

static void arguments_steps(struct emitter *e, const struct fetch_program *p)
{
	struct stack s = { 0 };
	bool may_fault = false;
	label fault = label_new(e), next;

	for (size_t i = p->npredicate; i < p->nsteps && !e->error; i++) {
		const struct fetch_step *step = &p->steps[i];

		if (s.depth && adds_constant(p, i, p->nsteps)) {
			top_to_r1(e, &s);
			alu_imm(e, BPF_ADD, BPF_REG_1, (int32_t)step->value);
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
		store(e, BPF_DW, BPF_REG_7, at, BPF_REG_1);
		if (!may_fault && step->op == FETCH_ARG)
			continue; /* the verifier refuses code that nothing reaches */
		may_fault = false;
		next = label_new(e);
		jump(e, next);
		place(e, fault);
		store_imm(e, BPF_DW, BPF_REG_7, at, 0);
		load(e, BPF_W, BPF_REG_1, BPF_REG_7, sizeof(struct record_thread) + 12);
		alu_imm(e, BPF_OR, BPF_REG_1, (int32_t)(1u << (8 + step->a)));
		store(e, BPF_W, BPF_REG_7, sizeof(struct record_thread) + 12, BPF_REG_1);
		place(e, next);
		fault = label_new(e);
	}
	place(e, fault); /* of no step any more */
}

/*
 * The predicate. Jumps find the stack as it is where they lead to, by the rules of
 * fetch.h, and nothing in r1.
 */
static void predicate_steps(struct emitter *e, const struct fetch_program *p, label filtered)
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
			place(e, targets[i]);
		}
		if (step->op == FETCH_JZ || step->op == FETCH_JNZ) {
			top_to_r1(e, &s);
			top_to_stack(e, &s);
			jump_if(e, step->op == FETCH_JZ ? BPF_JEQ : BPF_JNE, BPF_REG_1, 0, targets[step->value]);
			s.depth--;
		} else if (step->op == FETCH_TEST) {
			top_to_r1(e, &s);
			jump_if(e, BPF_JEQ, BPF_REG_1, 0, filtered);
			s = (struct stack){ 0 };
		} else {
			plain_step(e, &s, p, i, filtered);
		}
	}
	free(targets);
	free(is_target);
}

bool emit_has_strings(const struct fetch_program *p)
{
	for (size_t i = 0; i < p->nargs; i++)
		if (p->kind[i] == PP_STRING)
			return true;
	return false;
}

struct ends {
	label filtered, idle, lost, output, fetch;
};

/* r7 = where the record is made, with all that does not depend on the fetch program. */
static void record_head(struct emitter *e, bool strings, const struct ends *ends)
{
	if (strings) {
		call(e, BPF_FUNC_get_current_task_btf);
		map(e, BPF_REG_1, e->maps->scratch);
		mov(e, BPF_REG_2, BPF_REG_0);
		imm64(e, BPF_REG_3, 0);
		imm64(e, BPF_REG_4, BPF_LOCAL_STORAGE_GET_F_CREATE);
		call(e, BPF_FUNC_task_storage_get);
		jump_if(e, BPF_JEQ, BPF_REG_0, 0, ends->lost);
		mov(e, BPF_REG_7, BPF_REG_0);
	} else {
		address(e, BPF_REG_7, AT_RECORD);
	}
	store_imm(e, BPF_W, BPF_REG_7, 0, (int32_t)e->segment);
	load(e, BPF_DW, BPF_REG_1, BPF_REG_10, AT_PIDTGID);
	store(e, BPF_W, BPF_REG_7, 8, BPF_REG_1);
	alu_imm(e, BPF_RSH, BPF_REG_1, 32);
	store(e, BPF_W, BPF_REG_7, 4, BPF_REG_1);
	store_imm(e, BPF_W, BPF_REG_7, 12, 0);
	mov(e, BPF_REG_1, BPF_REG_7);
	alu_imm(e, BPF_ADD, BPF_REG_1, 16);
	imm64(e, BPF_REG_2, 16);
	call(e, BPF_FUNC_get_current_comm);
	load(e, BPF_DW, BPF_REG_1, BPF_REG_10, AT_TIME);
	store(e, BPF_DW, BPF_REG_7, sizeof(struct record_thread), BPF_REG_1);
	load(e, BPF_DW, BPF_REG_1, BPF_REG_10, AT_POINT);
	store(e, BPF_W, BPF_REG_7, sizeof(struct record_thread) + 8, BPF_REG_1);
}

static void arguments(struct emitter *e, const struct fetch_program *p, const struct ends *ends)
{
	int base = sizeof(struct record_thread) + sizeof(struct record) + 8 * (int)p->nargs;
	bool strings = emit_has_strings(p);

	store_imm(e, BPF_W, BPF_REG_7, sizeof(struct record_thread) + 12, (base - (int)sizeof(struct record_thread)) / 8);
	if (strings)
		imm64(e, BPF_REG_8, base);
	arguments_steps(e, p);
	if (strings) {
		mov(e, BPF_REG_1, BPF_REG_8);
		alu_imm(e, BPF_SUB, BPF_REG_1, sizeof(struct record_thread));
		alu_imm(e, BPF_RSH, BPF_REG_1, 3);
		store(e, BPF_B, BPF_REG_7, sizeof(struct record_thread) + 12, BPF_REG_1);
		mov(e, BPF_REG_3, BPF_REG_8);
	} else {
		imm64(e, BPF_REG_3, base);
	}
	jump(e, ends->output);
}

/* Jumps to code[spec], r1 being the spec, for spec in [from, to). */
static void dispatch(struct emitter *e, const label *code, size_t from, size_t to)
{
	if (e->error)
		return;
	if (to - from == 1) {
		jump(e, code[from]);
		return;
	}
	size_t middle = from + (to - from) / 2;
	label right = label_new(e);

	jump_if(e, BPF_JGE, BPF_REG_1, (int32_t)middle, right);
	dispatch(e, code, from, middle);
	place(e, right);
	dispatch(e, code, middle, to);
}

/* r0 = the number of the thread's process group */
static void process_group(struct emitter *e, const struct members *m, label out)
{
	const int pgid = 2; /* PIDTYPE_PGID, linux/pid.h */
	const int at[3] = { m->at.signal, m->at.pids + 8 * pgid, m->at.numbers + m->at.nr };

	call(e, BPF_FUNC_get_current_task);
	for (int i = 0; i < 3; i++) {
		mov(e, BPF_REG_3, BPF_REG_0);
		alu_imm(e, BPF_ADD, BPF_REG_3, at[i]);
		store_imm(e, BPF_DW, BPF_REG_10, AT_WORD, 0);
		address(e, BPF_REG_1, AT_WORD);
		imm64(e, BPF_REG_2, i == 2 ? 4 : 8);
		call(e, BPF_FUNC_probe_read_kernel);
		jump_if(e, BPF_JNE, BPF_REG_0, 0, out);
		load(e, BPF_DW, BPF_REG_0, BPF_REG_10, AT_WORD);
	}
}

/* Goes to out where the thread is none of those that are meant. */
static void membership(struct emitter *e, const struct members *m, label out)
{
	switch (m->kind) {
	case SCOPE_PROCESSES:
		return;
	case SCOPE_CGROUP:
		imm64(e, BPF_REG_1, m->cgroup_level);
		call(e, BPF_FUNC_get_current_ancestor_cgroup_id);
		imm64(e, BPF_REG_1, (int64_t)m->cgroup);
		jump_if_reg(e, BPF_JNE, BPF_REG_0, BPF_REG_1, out);
		return;
	case SCOPE_CHILDREN:
		load(e, BPF_DW, BPF_REG_0, BPF_REG_10, AT_PIDTGID);
		alu_imm(e, BPF_RSH, BPF_REG_0, 32);
		break;
	case SCOPE_PGRP:
		process_group(e, m, out);
		break;
	}
	store(e, BPF_W, BPF_REG_10, AT_KEY, BPF_REG_0);
	map(e, BPF_REG_1, m->map);
	address(e, BPF_REG_2, AT_KEY);
	call(e, BPF_FUNC_map_lookup_elem);
	jump_if(e, BPF_JEQ, BPF_REG_0, 0, out);
}

static void prologue(struct emitter *e, unsigned shards, label out, label counted)
{
	label any = label_new(e), older = label_new(e), insert = label_new(e);
	const int pid_shift = COOKIE_POINT_BITS + COOKIE_SPEC_BITS;

	mov(e, BPF_REG_6, BPF_REG_1);
	call(e, BPF_FUNC_get_attach_cookie);
	store(e, BPF_DW, BPF_REG_10, AT_COOKIE, BPF_REG_0);
	mov(e, BPF_REG_7, BPF_REG_0);
	call(e, BPF_FUNC_get_current_pid_tgid);
	store(e, BPF_DW, BPF_REG_10, AT_PIDTGID, BPF_REG_0);
	alu_imm(e, BPF_RSH, BPF_REG_0, 32);
	mov(e, BPF_REG_1, BPF_REG_7);
	alu_imm(e, BPF_RSH, BPF_REG_1, pid_shift);
	alu_imm(e, BPF_AND, BPF_REG_1, (1 << COOKIE_PID_BITS) - 1);
	jump_if(e, BPF_JEQ, BPF_REG_1, 0, any);
	jump_if_reg(e, BPF_JNE, BPF_REG_0, BPF_REG_1, out);
	place(e, any);
	if (e->maps->members)
		membership(e, e->maps->members, out);
	mov(e, BPF_REG_1, BPF_REG_7);
	alu_imm(e, BPF_AND, BPF_REG_1, (1 << COOKIE_POINT_BITS) - 1);
	store(e, BPF_DW, BPF_REG_10, AT_POINT, BPF_REG_1);
	mov(e, BPF_REG_8, BPF_REG_1);
	call(e, BPF_FUNC_get_smp_processor_id);
	alu_imm(e, BPF_AND, BPF_REG_0, (int32_t)shards - 1);
	alu_imm(e, BPF_MUL, BPF_REG_8, (int32_t)shards);
	alu(e, BPF_ADD, BPF_REG_8, BPF_REG_0);
	store(e, BPF_W, BPF_REG_10, AT_KEY, BPF_REG_8);
	map(e, BPF_REG_1, e->maps->counts);
	address(e, BPF_REG_2, AT_KEY);
	call(e, BPF_FUNC_map_lookup_elem);
	jump_if(e, BPF_JEQ, BPF_REG_0, 0, out);
	mov(e, BPF_REG_9, BPF_REG_0);
	load(e, BPF_DW, BPF_REG_1, BPF_REG_9, offsetof(struct kernel_counts, off));
	jump_if(e, BPF_JNE, BPF_REG_1, 0, out);

	/*
	 * While a link takes over from another, both see the hit, the newer first
	 * (the kernel puts consumers in front). It leaves a mark for its thread, of
	 * point and generation; the older one does not count what is marked.
	 */
	map_value(e, BPF_REG_1, e->maps->overlap);
	load(e, BPF_DW, BPF_REG_1, BPF_REG_1, 0);
	jump_if(e, BPF_JEQ, BPF_REG_1, 0, counted);
	alu_imm(e, BPF_SUB, BPF_REG_1, 1);
	mov(e, BPF_REG_2, BPF_REG_7);
	alu_imm(e, BPF_RSH, BPF_REG_2, pid_shift + COOKIE_PID_BITS);
	alu_imm(e, BPF_AND, BPF_REG_2, 1);
	mov(e, BPF_REG_8, BPF_REG_1);
	alu_imm(e, BPF_LSH, BPF_REG_8, 32);
	load(e, BPF_DW, BPF_REG_3, BPF_REG_10, AT_POINT);
	alu(e, BPF_OR, BPF_REG_8, BPF_REG_3);
	jump_if_reg(e, BPF_JEQ, BPF_REG_1, BPF_REG_2, insert);
	place(e, older);
	map(e, BPF_REG_1, e->maps->mark);
	address(e, BPF_REG_2, AT_PIDTGID);
	call(e, BPF_FUNC_map_lookup_elem);
	jump_if(e, BPF_JEQ, BPF_REG_0, 0, counted);
	load(e, BPF_DW, BPF_REG_1, BPF_REG_0, 0);
	jump_if_reg(e, BPF_JNE, BPF_REG_1, BPF_REG_8, counted);
	map(e, BPF_REG_1, e->maps->mark);
	address(e, BPF_REG_2, AT_PIDTGID);
	call(e, BPF_FUNC_map_delete_elem);
	jump(e, out);
	place(e, insert);
	store(e, BPF_DW, BPF_REG_10, AT_WORD, BPF_REG_8);
	map(e, BPF_REG_1, e->maps->mark);
	address(e, BPF_REG_2, AT_PIDTGID);
	address(e, BPF_REG_3, AT_WORD);
	imm64(e, BPF_REG_4, BPF_ANY);
	call(e, BPF_FUNC_map_update_elem);
	place(e, counted);
}

static int resolve(struct emitter *e)
{
	if (e->error)
		return e->error;
	if (e->n > EMIT_INSNS_MAX + 2000)
		return error_set(E2BIG, "a BPF program of %zu instructions", e->n);
	for (size_t i = 0; i < e->njumps; i++)
		e->insns[e->jumps[i].insn].off = (int16_t)(e->labels[e->jumps[i].to] - (int)e->jumps[i].insn - 1);
	return 0;
}

int emit_program(const struct fetch_program *const *programs, size_t nprograms, const struct emit_maps *maps,
                 uint32_t segment, unsigned shards, struct emitted *out)
{
	struct emitter e = { .maps = maps, .segment = segment, .cpu = cpu_of(EM_X86_64, true) };
	label *code = calloc(2 * nprograms, sizeof(*code));
	bool predicates = false;
	int err;

	if (!code)
		return error_set(ENOMEM, "out of memory");

	struct ends ends = { label_new(&e), label_new(&e), label_new(&e), label_new(&e), label_new(&e) };
	label out_label = label_new(&e), with_strings = label_new(&e);
	size_t first_string = nprograms;

	while (first_string && emit_has_strings(programs[first_string - 1]))
		first_string--;
	for (size_t i = 0; i < nprograms; i++) {
		code[i] = label_new(&e);
		code[nprograms + i] = label_new(&e);
		predicates |= programs[i]->npredicate > 0;
	}
	prologue(&e, shards, out_label, label_new(&e));
	count(&e, offsetof(struct kernel_counts, hits));
	load(&e, BPF_DW, BPF_REG_1, BPF_REG_10, AT_COOKIE);
	alu_imm(&e, BPF_RSH, BPF_REG_1, COOKIE_POINT_BITS);
	alu_imm(&e, BPF_AND, BPF_REG_1, (1 << COOKIE_SPEC_BITS) - 1);
	store(&e, BPF_DW, BPF_REG_10, AT_SPEC, BPF_REG_1);
	if (predicates) {
		dispatch(&e, code, 0, nprograms);
		for (size_t i = 0; i < nprograms; i++) {
			place(&e, code[i]);
			predicate_steps(&e, programs[i], ends.filtered);
			jump(&e, ends.fetch);
		}
	}
	place(&e, ends.fetch);
	map_value(&e, BPF_REG_8, maps->config);
	load(&e, BPF_DW, BPF_REG_7, BPF_REG_8, offsetof(struct kernel_config, record_until));
	jump_if(&e, BPF_JEQ, BPF_REG_7, 0, ends.idle);
	call(&e, BPF_FUNC_ktime_get_ns);
	jump_if_reg(&e, BPF_JGE, BPF_REG_0, BPF_REG_7, ends.idle);
	store(&e, BPF_DW, BPF_REG_10, AT_TIME, BPF_REG_0);
	if (first_string && first_string < nprograms) {
		load(&e, BPF_DW, BPF_REG_1, BPF_REG_10, AT_SPEC);
		jump_if(&e, BPF_JGE, BPF_REG_1, (int32_t)first_string, with_strings);
	}
	for (int strings = 0; strings < 2; strings++) {
		size_t from = strings ? first_string : 0, to = strings ? nprograms : first_string;

		if (from == to)
			continue;
		if (strings)
			place(&e, with_strings);
		record_head(&e, strings, &ends);
		load(&e, BPF_DW, BPF_REG_1, BPF_REG_10, AT_SPEC);
		dispatch(&e, code + nprograms, from, to);
		for (size_t i = from; i < to; i++) {
			place(&e, code[nprograms + i]);
			arguments(&e, programs[i], &ends);
		}
	}

	place(&e, ends.output);
	map(&e, BPF_REG_1, maps->ring);
	mov(&e, BPF_REG_2, BPF_REG_7);
	imm64(&e, BPF_REG_4, BPF_RB_NO_WAKEUP);
	call(&e, BPF_FUNC_ringbuf_output);
	jump_if(&e, BPF_JNE, BPF_REG_0, 0, ends.lost);
	count(&e, offsetof(struct kernel_counts, recorded));
	jump(&e, out_label);
	place(&e, ends.lost);
	count(&e, offsetof(struct kernel_counts, lost));
	jump(&e, out_label);
	place(&e, ends.filtered);
	if (predicates) {
		count(&e, offsetof(struct kernel_counts, filtered));
		jump(&e, out_label);
	}
	place(&e, ends.idle);
	count(&e, offsetof(struct kernel_counts, idle));
	place(&e, out_label);
	imm64(&e, BPF_REG_0, 0);
	emit(&e, INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0));

	err = resolve(&e);
	free(code);
	free(e.labels);
	free(e.jumps);
	if (err) {
		free(e.insns);
		return err;
	}
	out->insns = e.insns;
	out->ninsns = e.n;
	return 0;
}

size_t emit_cost(const struct fetch_program *program)
{
	size_t cost = 16;

	for (size_t i = 0; i < program->nsteps; i++)
		switch (program->steps[i].op) {
		case FETCH_STRING: cost += 60; break;
		case FETCH_STREQ: case FETCH_PREFIX: case FETCH_COMMEQ: case FETCH_COMMPREFIX:
			cost += 60 + 2 * FETCH_LITERAL_MAX;
			break;
		case FETCH_DIV: case FETCH_MOD: cost += 20; break;
		default: cost += 14;
		}
	return cost;
}
