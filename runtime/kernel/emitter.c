/* SPDX-License-Identifier: MIT */
#include "runtime/kernel/emitter.h"

#include <errno.h>
#include <stdlib.h>

#include "base/array.h"
#include "base/error.h"

#define STORAGE_TRIES 16

void emit(struct emitter *e, struct bpf_insn insn)
{
	if (!e->error)
		e->error = ALLOC_GROW(e->insns, e->n + 1, e->room);
	if (!e->error)
		e->insns[e->n++] = insn;
}

label label_new(struct emitter *e)
{
	if (!e->error && e->nlabels > INT16_MAX)
		e->error = error_set(E2BIG, "the BPF program is too long: more than %d labels", INT16_MAX);
	if (!e->error)
		e->error = ALLOC_GROW(e->labels, e->nlabels + 1, e->labels_room);
	if (e->error)
		return 0;
	e->labels[e->nlabels] = -1;
	return (label)e->nlabels++;
}

void label_place(struct emitter *e, label l)
{
	if (!e->error)
		e->labels[l] = (int)e->n;
}

static bool insn_is_jump(const struct bpf_insn *insn)
{
	return BPF_CLASS(insn->code) == BPF_JMP && BPF_OP(insn->code) != BPF_CALL && BPF_OP(insn->code) != BPF_EXIT;
}

bool label_is_used(const struct emitter *e, label l, size_t from)
{
	for (size_t i = from; i < e->n; i++)
		if (insn_is_jump(&e->insns[i]) && e->insns[i].off == l)
			return true;
	return false;
}

static int jumps_resolve(struct emitter *e)
{
	for (size_t i = 0; i < e->n; i++) {
		struct bpf_insn *insn = &e->insns[i];
		int distance;

		if (!insn_is_jump(insn))
			continue;
		distance = e->labels[insn->off] - (int)i - 1;
		if (distance != (int16_t)distance)
			return error_set(E2BIG, "the BPF program is too long: %zu instructions", e->n);
		insn->off = (int16_t)distance;
	}
	return 0;
}

int emitter_finish(struct emitter *e, struct emitted *out)
{
	int err = e->error ? e->error : jumps_resolve(e);

	free(e->labels);
	if (err) {
		free(e->insns);
		return err;
	}
	*out = (struct emitted){ e->insns, e->n };
	return 0;
}

int emit_check_stack(const struct bpf_insn *insns, size_t n)
{
	int lowest = 0;

	for (size_t i = 0; i < n; i++) {
		const struct bpf_insn *insn = &insns[i], *next = i + 1 < n ? insn + 1 : NULL;
		int class = BPF_CLASS(insn->code);
		bool accesses = (class == BPF_LDX && insn->src_reg == BPF_REG_10) ||
		                ((class == BPF_ST || class == BPF_STX) && insn->dst_reg == BPF_REG_10);
		bool copies = insn->code == (BPF_ALU64 | BPF_MOV | BPF_X) && insn->src_reg == BPF_REG_10;

		if (accesses && insn->off < lowest)
			lowest = insn->off;
		/* emit_stack_address() copies r10, and the next instruction adds a constant to the copy. */
		if (copies && (!next || next->code != (BPF_ALU64 | BPF_ADD | BPF_K) || next->dst_reg != insn->dst_reg))
			return error_set(
				EINVAL, "internal error: instruction %zu of a BPF program copies the frame pointer", i);
		if (copies && next->imm < lowest)
			lowest = next->imm;
	}
	if (lowest < -EMIT_STACK_MAX)
		return error_set(EINVAL, "internal error: a BPF program uses %d bytes of stack, more than %d", -lowest,
		                 EMIT_STACK_MAX);
	return 0;
}

/* ---- memory of the thread ---- */

void emit_thread_storage(struct emitter *e, int map, label none)
{
	label found = label_new(e), again = label_new(e);

	emit(e, BPF_MOV64_IMM(BPF_REG_7, 0));
	label_place(e, again);
	emit(e, BPF_EMIT_CALL(BPF_FUNC_get_current_task_btf));
	emit_map_fd(e, BPF_REG_1, map);
	emit(e, BPF_MOV64_REG(BPF_REG_2, BPF_REG_0));
	emit(e, BPF_MOV64_IMM(BPF_REG_3, 0));
	emit(e, BPF_MOV64_IMM(BPF_REG_4, BPF_LOCAL_STORAGE_GET_F_CREATE));
	emit(e, BPF_EMIT_CALL(BPF_FUNC_task_storage_get));
	emit(e, BPF_JMP_IMM(BPF_JNE, BPF_REG_0, 0, found));
	emit(e, BPF_ALU64_IMM(BPF_ADD, BPF_REG_7, 1));
	emit(e, BPF_JMP_IMM(BPF_JLT, BPF_REG_7, STORAGE_TRIES, again));
	emit(e, BPF_JMP_A(none));
	label_place(e, found);
	emit(e, BPF_MOV64_REG(BPF_REG_7, BPF_REG_0));
}

void emit_scratch(struct emitter *e, label lost)
{
	emit_thread_storage(e, e->maps->scratch, lost);
}
