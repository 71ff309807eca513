/* SPDX-License-Identifier: MIT */
#include "runtime/kernel/emitter.h"

#include <errno.h>
#include <stdlib.h>

#include "base/error.h"

void emitter_add(struct emitter *e, struct bpf_insn insn)
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

label label_new(struct emitter *e)
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

void label_place(struct emitter *e, label l)
{
	if (!e->error)
		e->labels[l] = (int)e->n;
}

void label_jump(struct emitter *e, label l)
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

int emitter_resolve(struct emitter *e)
{
	if (e->error)
		return error_set(-e->error, "out of memory");
	for (size_t i = 0; i < e->njumps; i++) {
		int distance = e->labels[e->jumps[i].to] - (int)e->jumps[i].insn - 1;

		if (distance != (int16_t)distance)
			return error_set(E2BIG, "a BPF program of %zu instructions, which is too long", e->n);
		e->insns[e->jumps[i].insn].off = (int16_t)distance;
	}
	return 0;
}

void emitter_release(struct emitter *e)
{
	free(e->labels);
	free(e->jumps);
}

int emit_check_stack(const struct bpf_insn *insns, size_t n)
{
	int lowest = 0;

	for (size_t i = 0; i < n; i++) {
		const struct bpf_insn *insn = &insns[i], *next = i + 1 < n ? insn + 1 : NULL;
		int class = BPF_CLASS(insn->code);
		bool access = (class == BPF_LDX && insn->src_reg == BPF_REG_10) ||
		              ((class == BPF_ST || class == BPF_STX) && insn->dst_reg == BPF_REG_10);
		bool copies = insn->code == (BPF_ALU64 | BPF_MOV | BPF_X) && insn->src_reg == BPF_REG_10;

		if (access && insn->off < lowest)
			lowest = insn->off;
		/* address(): a copy of r10, and the next instruction adds a constant to it. */
		if (copies && (!next || next->code != (BPF_ALU64 | BPF_ADD | BPF_K) || next->dst_reg != insn->dst_reg))
			return error_set(
				EINVAL, "internal error: instruction %zu of a BPF program copies the frame pointer", i);
		if (copies && next->imm < lowest)
			lowest = next->imm;
	}
	if (lowest < -EMIT_STACK_MAX)
		return error_set(EINVAL, "internal error: a BPF program uses %d bytes of stack, not %d at most",
		                 -lowest, EMIT_STACK_MAX);
	return 0;
}
