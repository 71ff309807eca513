/* SPDX-License-Identifier: MIT */
/*
 * The aggregate of a hit (runtime/aggregate.h) as BPF.
 *
 * 1. The steps of the key write its parts to SCRATCH_KEY, and the point's group.
 * 2. For each column, the value's bucket is computed, and the cell of the key is looked up in the map `cells`.
 * 3. A new cell is added with the value in it. If another thread has added it meanwhile, it is looked up again. Once the map
 *    was full, this is not tried any more, because the kernel takes 100 ns to refuse it.
 * 4. A cell that exists gets the value by atomic operations: the minimum and the maximum by a loop of compare-and-exchange,
 *    and only if the value is a new extreme, then count and sum.
 * 5. If the map is full, or has no memory, the value is counted as `other`.
 *
 * The loop of step 4 ends after EXTREME_TRIES attempts, because the verifier wants a bound. An attempt fails only if another
 * CPU has stored a more extreme value meanwhile. The value is then counted as `other` as well, so that the cell's extremes
 * are those of all values that it counts. (If only the maximum failed, the minimum may be that of the value in `other`.)
 *
 * r8 is the value of a column. A program counts each hit once, whether or not the session records.
 */
#include <errno.h>
#include <probepoint.h>
#include <stdlib.h>

#include "base/error.h"
#include "runtime/kernel/emitter.h"

#define EXTREME_TRIES 32
#define LIGHT_KEY_SIZE 16

/* Where the key is: in scratch memory (r7), or in BPF's stack (r10) if the aggregate is light. */
struct adding {
	int base, key;
};

/* ---- misfits ---- */

/* r0 = the struct kernel_misfit of a column of the point's group; AT_KEY is overwritten */
static void emit_misfit(struct emitter *e, size_t column, label none)
{
	emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_1, BPF_REG_9, offsetof(struct kernel_counts, group)));
	emit(e, BPF_ALU64_IMM(BPF_SUB, BPF_REG_1, 1));
	emit(e, BPF_ALU64_IMM(BPF_MUL, BPF_REG_1, AGG_COLUMNS_MAX));
	emit(e, BPF_ALU64_IMM(BPF_ADD, BPF_REG_1, (int32_t)column));
	emit(e, BPF_STX_MEM(BPF_W, BPF_REG_10, BPF_REG_1, AT_KEY));
	emit_map_fd(e, BPF_REG_1, e->maps->misfits);
	emit_stack_address(e, BPF_REG_2, AT_KEY);
	emit(e, BPF_EMIT_CALL(BPF_FUNC_map_lookup_elem));
	emit(e, BPF_JMP_IMM(BPF_JEQ, BPF_REG_0, 0, none));
}

/* Counts the hit as unread in the columns from `from` on. */
static void emit_unread(struct emitter *e, size_t from, size_t to)
{
	for (size_t column = from; column < to; column++) {
		label none = label_new(e);

		emit_misfit(e, column, none);
		emit_atomic_add(e, BPF_REG_0, offsetof(struct agg_misfit, unread), 1);
		label_place(e, none);
	}
}

void emit_aggregate_unread(struct emitter *e, size_t ncolumns)
{
	label none = label_new(e);

	emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_1, BPF_REG_9, offsetof(struct kernel_counts, group)));
	emit(e, BPF_JMP_IMM(BPF_JEQ, BPF_REG_1, 0, none));
	emit_unread(e, 0, ncolumns);
	label_place(e, none);
}

/* ---- buckets ---- */

/* r2 = r2 + the number of the highest bit of r1, which is not 0; r1 = 1 */
static void emit_log2(struct emitter *e)
{
	for (int shift = 32; shift; shift /= 2) {
		label lower = label_new(e);

		emit(e, BPF_MOV64_REG(BPF_REG_3, BPF_REG_1));
		emit(e, BPF_ALU64_IMM(BPF_RSH, BPF_REG_3, shift));
		emit(e, BPF_JMP_IMM(BPF_JEQ, BPF_REG_3, 0, lower));
		emit(e, BPF_MOV64_REG(BPF_REG_1, BPF_REG_3));
		emit(e, BPF_ALU64_IMM(BPF_ADD, BPF_REG_2, shift));
		label_place(e, lower);
	}
}

/* r2 = the bucket of r1; jumps to done if r2 has it early */
static void emit_linear_bucket(struct emitter *e, const struct agg_column *column, label done)
{
	emit(e, BPF_MOV64_IMM(BPF_REG_2, 0));
	emit_imm64(e, BPF_REG_3, column->low);
	emit(e, BPF_JMP_REG(column->is_unsigned ? BPF_JLT : BPF_JSLT, BPF_REG_1, BPF_REG_3, done));
	emit(e, BPF_MOV64_IMM(BPF_REG_2, (int32_t)agg_buckets(column) - 1));
	emit_imm64(e, BPF_REG_4, column->high);
	emit(e, BPF_JMP_REG(column->is_unsigned ? BPF_JGE : BPF_JSGE, BPF_REG_1, BPF_REG_4, done));
	emit(e, BPF_MOV64_REG(BPF_REG_2, BPF_REG_1));
	emit(e, BPF_ALU64_REG(BPF_SUB, BPF_REG_2, BPF_REG_3));
	emit_imm64(e, BPF_REG_3, column->step);
	emit(e, BPF_ALU64_REG(BPF_DIV, BPF_REG_2, BPF_REG_3));
	emit(e, BPF_ALU64_IMM(BPF_ADD, BPF_REG_2, 1));
}

/* r2 = the bucket of r1, as agg_bucket() */
static void emit_bucket(struct emitter *e, const struct agg_column *column)
{
	label done = label_new(e), large = label_new(e);

	if (column->histogram == AGG_LINEAR) {
		emit_linear_bucket(e, column, done);
		label_place(e, done);
		return;
	}
	emit(e, BPF_MOV64_IMM(BPF_REG_2, 0));
	if (!column->is_unsigned)
		emit(e, BPF_JMP_IMM(BPF_JSLT, BPF_REG_1, 0, done));
	if (column->histogram == AGG_LOG2) {
		emit(e, BPF_MOV64_IMM(BPF_REG_2, 1));
		emit(e, BPF_JMP_IMM(BPF_JEQ, BPF_REG_1, 0, done));
		emit(e, BPF_MOV64_IMM(BPF_REG_2, 2));
		emit_log2(e);
	} else {
		emit(e, BPF_JMP_IMM(BPF_JGT, BPF_REG_1, 63, large));
		emit(e, BPF_MOV64_REG(BPF_REG_2, BPF_REG_1));
		emit(e, BPF_ALU64_IMM(BPF_ADD, BPF_REG_2, 1));
		emit(e, BPF_JMP_A(done));
		label_place(e, large);
		emit(e, BPF_MOV64_REG(BPF_REG_4, BPF_REG_1));
		emit_log2(e);
		/* 65 + 32 * (log - 6) + (value >> (log - 5) & 31) */
		emit(e, BPF_MOV64_REG(BPF_REG_3, BPF_REG_2));
		emit(e, BPF_ALU64_IMM(BPF_SUB, BPF_REG_3, 5));
		emit(e, BPF_ALU64_IMM(BPF_AND, BPF_REG_3, 63));
		emit(e, BPF_ALU64_REG(BPF_RSH, BPF_REG_4, BPF_REG_3));
		emit(e, BPF_ALU64_IMM(BPF_AND, BPF_REG_4, 31));
		emit(e, BPF_ALU64_IMM(BPF_LSH, BPF_REG_2, 5));
		emit(e, BPF_ALU64_REG(BPF_ADD, BPF_REG_2, BPF_REG_4));
		emit(e, BPF_ALU64_IMM(BPF_ADD, BPF_REG_2, 65 - 6 * 32));
	}
	label_place(e, done);
}

/* ---- cells ---- */

/* Stores r8 at the offset of the cell r2 if it is less, or if max greater. Jumps to failed after too many attempts. */
static void emit_extreme(struct emitter *e, bool is_unsigned, bool max, label failed)
{
	int off = max ? offsetof(struct agg_cell, max) : offsetof(struct agg_cell, min);
	int keeps = max ? (is_unsigned ? BPF_JLE : BPF_JSLE) : (is_unsigned ? BPF_JGE : BPF_JSGE);
	label done = label_new(e), loop = label_new(e);

	emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_0, BPF_REG_2, off));
	emit(e, BPF_JMP_REG(keeps, BPF_REG_8, BPF_REG_0, done));
	emit(e, BPF_ST_MEM(BPF_DW, BPF_REG_10, AT_WORD, 0));
	label_place(e, loop);
	emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_1, BPF_REG_10, AT_WORD));
	emit(e, BPF_JMP_IMM(BPF_JGE, BPF_REG_1, EXTREME_TRIES, failed));
	emit(e, BPF_ALU64_IMM(BPF_ADD, BPF_REG_1, 1));
	emit(e, BPF_STX_MEM(BPF_DW, BPF_REG_10, BPF_REG_1, AT_WORD));
	emit(e, BPF_MOV64_REG(BPF_REG_3, BPF_REG_0));
	emit(e, BPF_MOV64_REG(BPF_REG_4, BPF_REG_8));
	emit(e, BPF_ATOMIC_OP(BPF_DW, BPF_CMPXCHG, BPF_REG_2, BPF_REG_4, off));
	emit(e, BPF_JMP_REG(BPF_JEQ, BPF_REG_0, BPF_REG_3, done));
	emit(e, BPF_JMP_REG(keeps, BPF_REG_8, BPF_REG_0, done));
	emit(e, BPF_JMP_A(loop));
	label_place(e, done);
}

/* dst = the address of the key */
static void emit_key_address(struct emitter *e, const struct adding *a, int dst)
{
	emit(e, BPF_MOV64_REG(dst, a->base));
	emit(e, BPF_ALU64_IMM(BPF_ADD, dst, a->key));
}

/* r0 = the cell of the key, or NULL */
static void emit_cell_lookup(struct emitter *e, const struct adding *a)
{
	emit_map_fd(e, BPF_REG_1, e->maps->cells);
	emit_key_address(e, a, BPF_REG_2);
	emit(e, BPF_EMIT_CALL(BPF_FUNC_map_lookup_elem));
}

/* Adds a cell with the value r8 and jumps to done. If another thread has added it meanwhile, r0 = that cell. */
static void emit_cell_new(struct emitter *e, const struct adding *a, size_t column, label done, label other)
{
	const int members[] = { offsetof(struct agg_cell, sum), offsetof(struct agg_cell, min),
		                offsetof(struct agg_cell, max) };
	label exists = label_new(e);

	emit_misfit(e, column, done);
	emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_1, BPF_REG_0, offsetof(struct kernel_misfit, full)));
	emit(e, BPF_JMP_IMM(BPF_JNE, BPF_REG_1, 0, other));
	if (a->base != BPF_REG_7)
		emit_scratch(e, other);
	emit(e, BPF_ST_MEM(BPF_DW, BPF_REG_7, SCRATCH_CELL + offsetof(struct agg_cell, count), 1));
	for (size_t i = 0; i < sizeof(members) / sizeof(*members); i++)
		emit(e, BPF_STX_MEM(BPF_DW, BPF_REG_7, BPF_REG_8, SCRATCH_CELL + members[i]));
	emit_map_fd(e, BPF_REG_1, e->maps->cells);
	emit_key_address(e, a, BPF_REG_2);
	emit(e, BPF_MOV64_REG(BPF_REG_3, BPF_REG_7));
	emit(e, BPF_ALU64_IMM(BPF_ADD, BPF_REG_3, SCRATCH_CELL));
	emit(e, BPF_MOV64_IMM(BPF_REG_4, BPF_NOEXIST));
	emit(e, BPF_EMIT_CALL(BPF_FUNC_map_update_elem));
	emit(e, BPF_JMP_IMM(BPF_JEQ, BPF_REG_0, 0, done));
	/* Before Linux 6.4 the function returns an int, so the upper half of r0 does not have its sign. */
	emit(e, BPF_ALU64_IMM(BPF_LSH, BPF_REG_0, 32));
	emit(e, BPF_ALU64_IMM(BPF_ARSH, BPF_REG_0, 32));
	emit(e, BPF_JMP_IMM(BPF_JEQ, BPF_REG_0, -EEXIST, exists));
	emit(e, BPF_JMP_IMM(BPF_JNE, BPF_REG_0, -E2BIG, other));
	emit_misfit(e, column, done);
	emit(e, BPF_ST_MEM(BPF_DW, BPF_REG_0, offsetof(struct kernel_misfit, full), 1));
	emit(e, BPF_JMP_A(other));
	label_place(e, exists);
	emit_cell_lookup(e, a);
	emit(e, BPF_JMP_IMM(BPF_JEQ, BPF_REG_0, 0, other));
}

/* Stores the column and the value's bucket in the key. The value is in r1 and r8. */
static void emit_key_column(struct emitter *e, const struct adding *a, const struct agg_column *column, size_t index)
{
	int at = a->key + (int)offsetof(struct agg_key, column);

	if (column->histogram == AGG_PLAIN) {
		emit(e, BPF_ST_MEM(BPF_W, a->base, at, (int32_t)index));
		return;
	}
	emit_bucket(e, column);
	emit(e, BPF_ALU64_IMM(BPF_LSH, BPF_REG_2, 16));
	emit(e, BPF_ALU64_IMM(BPF_OR, BPF_REG_2, (int32_t)index));
	emit(e, BPF_STX_MEM(BPF_W, a->base, BPF_REG_2, at));
}

/* Adds the value in r1 to a column, under the key. zero: the value is always 0, as that of count(). */
static void emit_add(struct emitter *e, const struct adding *a, const struct agg_column *column, size_t index,
                     bool zero)
{
	label found = label_new(e), done = label_new(e), other = label_new(e);

	emit(e, BPF_MOV64_REG(BPF_REG_8, BPF_REG_1));
	emit_key_column(e, a, column, index);
	emit_cell_lookup(e, a);
	emit(e, BPF_JMP_IMM(BPF_JNE, BPF_REG_0, 0, found));
	emit_cell_new(e, a, index, done, other);
	label_place(e, found);
	emit(e, BPF_MOV64_REG(BPF_REG_2, BPF_REG_0));
	if (!zero) {
		emit_extreme(e, column->is_unsigned, false, other);
		emit_extreme(e, column->is_unsigned, true, other);
		emit(e, BPF_ATOMIC_OP(BPF_DW, BPF_ADD, BPF_REG_2, BPF_REG_8, offsetof(struct agg_cell, sum)));
	}
	emit_atomic_add(e, BPF_REG_2, offsetof(struct agg_cell, count), 1);
	emit(e, BPF_JMP_A(done));
	label_place(e, other);
	emit_misfit(e, index, done);
	emit_atomic_add(e, BPF_REG_0, offsetof(struct agg_misfit, other), 1);
	if (!zero)
		emit(e, BPF_ATOMIC_OP(BPF_DW, BPF_ADD, BPF_REG_0, BPF_REG_8, offsetof(struct agg_misfit, other_sum)));
	label_place(e, done);
}

/* ---- keys ---- */

/* Writes zeroes from one offset to another. */
static void emit_zero(struct emitter *e, int base, int from, int to)
{
	for (int at = from; at < to; at += 8)
		emit(e, BPF_ST_MEM(BPF_DW, base, at, 0));
}

/* Reads the string at the address at the top as the part at the offset. */
static void emit_part_string(struct emitter *e, struct value_stack *s, int at, label fault)
{
	int address = value_at_depth(s->depth - 1);
	label done = label_new(e);

	emit_top_to_stack(e, s);
	emit_zero(e, BPF_REG_7, at, at + AGG_STRING);
	emit_read_string(e, at, AGG_STRING, address, fault);
	emit(e, BPF_JMP_IMM(BPF_JNE, BPF_REG_0, AGG_STRING, done));
	/* The first 63 bytes are no NUL. The next one says whether the string ends there. */
	emit_stack_address(e, BPF_REG_1, AT_WORD);
	emit(e, BPF_MOV64_IMM(BPF_REG_2, 1));
	emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_3, BPF_REG_7, address));
	emit(e, BPF_ALU64_IMM(BPF_ADD, BPF_REG_3, AGG_STRING - 1));
	emit(e, BPF_EMIT_CALL(BPF_FUNC_copy_from_user));
	emit(e, BPF_JMP_IMM(BPF_JNE, BPF_REG_0, 0, fault));
	emit(e, BPF_LDX_MEM(BPF_B, BPF_REG_1, BPF_REG_10, AT_WORD));
	emit(e, BPF_JMP_IMM(BPF_JEQ, BPF_REG_1, 0, done));
	emit(e, BPF_ST_MEM(BPF_B, BPF_REG_7, at + AGG_STRING - 1, AGG_CUT));
	label_place(e, done);
}

/* Emits the end of a part of the key, which is at the offset, or a word of it. Returns the offset after the part. */
static int emit_part(struct emitter *e, const struct adding *a, struct value_stack *s, const struct fetch_step *step,
                     int at, label fault)
{
	switch (step->op) {
	case FETCH_KEYWORD:
		emit_top_to_r1(e, s);
		emit(e, BPF_STX_MEM(BPF_DW, a->base, BPF_REG_1, at + 8 * step->b));
		break;
	case FETCH_KEYSTACK:
		emit_stack(e, at);
		at += AGG_STACK;
		break;
	case FETCH_KEY:
		emit_top_to_r1(e, s);
		emit(e, BPF_STX_MEM(BPF_DW, a->base, BPF_REG_1, at));
		at += 8;
		break;
	case FETCH_KEYSTR:
		emit_part_string(e, s, at, fault);
		at += AGG_STRING;
		break;
	case FETCH_KEYCOMM:
		emit_zero(e, BPF_REG_7, at, at + AGG_STRING); /* Linux 6.1 does not pad the name */
		emit(e, BPF_MOV64_REG(BPF_REG_1, BPF_REG_7));
		emit(e, BPF_ALU64_IMM(BPF_ADD, BPF_REG_1, at));
		emit(e, BPF_MOV64_IMM(BPF_REG_2, 16));
		emit(e, BPF_EMIT_CALL(BPF_FUNC_get_current_comm));
		at += AGG_STRING;
	}
	*s = (struct value_stack){ 0 };
	return at;
}

/* Emits the steps of the key. Returns the step after them. */
static size_t emit_parts(struct emitter *e, struct expressions *x, const struct adding *a, label fault)
{
	const struct fetch_program *p = x->p;
	size_t i = x->from, parts = 0;
	int at = a->key + (int)offsetof(struct agg_key, parts);

	emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_1, BPF_REG_9, offsetof(struct kernel_counts, group)));
	emit(e, BPF_ALU64_IMM(BPF_SUB, BPF_REG_1, 1));
	emit(e, BPF_STX_MEM(BPF_W, a->base, BPF_REG_1, a->key + (int)offsetof(struct agg_key, group)));
	for (; parts < p->aggregate->nparts && !e->error; i++) {
		const struct fetch_step *step = &p->steps[i];

		emit_expressions_target(e, x, i);
		if (!fetch_is_of_aggregate(step->op)) {
			i = emit_expressions_step(e, x, i, fault);
			continue;
		}
		at = emit_part(e, a, &x->stack, step, at, fault);
		parts += fetch_ends_part(step->op);
	}
	emit_zero(e, a->base, at, a->key + (int)e->maps->key_size);
	return i;
}

/* Returns whether the value that step i adds is always 0. */
static bool value_is_zero(const struct emitter *e, const struct fetch_program *p, size_t i)
{
	const struct fetch_step *before = &p->steps[i - 1];

	return i > p->npredicate && before->op == FETCH_IMM && !before->value && emit_column(e, i - 1) < 0 &&
	       p->aggregate->columns[p->steps[i].a].histogram == AGG_PLAIN;
}

/* Emits the steps of the columns, from step i on. */
static void emit_columns(struct emitter *e, struct expressions *x, const struct adding *a, size_t i)
{
	const struct fetch_program *p = x->p;
	label fault = label_new(e), next;
	size_t begin = e->n;

	for (; i < p->npredicate + p->naggregate && !e->error; i++) {
		const struct fetch_step *step = &p->steps[i];

		emit_expressions_target(e, x, i);
		if (step->op != FETCH_AGG) {
			i = emit_expressions_step(e, x, i, fault);
			continue;
		}
		emit_top_to_r1(e, &x->stack);
		x->stack = (struct value_stack){ 0 };
		emit_add(e, a, &p->aggregate->columns[step->a], step->a,
		         value_is_zero(e, p, i) && x->targets[i - x->from] < 0);
		if (!label_is_used(e, fault, begin))
			continue;
		next = label_new(e);
		emit(e, BPF_JMP_A(next));
		label_place(e, fault);
		emit_unread(e, step->a, step->a + 1);
		label_place(e, next);
		fault = label_new(e);
		begin = e->n;
	}
}

bool aggregate_is_light(const struct emitter *e, const struct fetch_program *p)
{
	return e->role == SITE_HIT && e->maps->key_size <= LIGHT_KEY_SIZE &&
	       expressions_are_light(p, p->npredicate, p->npredicate + p->naggregate);
}

void emit_aggregate(struct emitter *e, const struct fetch_program *p, bool light)
{
	const struct adding a = { light ? BPF_REG_10 : BPF_REG_7, light ? AT_LIGHT_KEY : SCRATCH_KEY };
	label fault = label_new(e), end = label_new(e);
	size_t begin = e->n;
	struct expressions x;

	if (!emit_expressions_open(e, &x, p, p->npredicate, p->npredicate + p->naggregate)) {
		emit_columns(e, &x, &a, emit_parts(e, &x, &a, fault));
		if (label_is_used(e, fault, begin)) {
			emit(e, BPF_JMP_A(end));
			label_place(e, fault);
			emit_unread(e, 0, p->aggregate->ncolumns);
		}
	}
	label_place(e, end);
	emit_expressions_close(&x);
}

size_t emit_aggregate_bound(const struct fetch_program *p, const struct fetch_step *step)
{
	switch (step->op) {
	case FETCH_KEYSTR: return 70 + 12 * p->aggregate->ncolumns;
	case FETCH_KEYCOMM: return 12;
	case FETCH_KEYSTACK: return 60 + AGG_FRAMES;
	case FETCH_AGG: return p->aggregate->columns[step->a].histogram == AGG_PLAIN ? 130 : 180;
	default: return 0;
	}
}
