/* SPDX-License-Identifier: MIT */
/*
 * Sampling of hits that have passed the predicate.
 *
 * 1. Each `every`th hit is chosen, counted for each of the point's counters (for each CPU, or for a few together).
 * 2. Of these, a hit is chosen if the probe's bucket has a token. All CPUs share the bucket. Most hits of a busy probe only read
 *    it, because it is written at most `rate` times a second.
 */
#include <stddef.h>

#include "runtime/kernel/emitter.h"

#define TRIES 4 /* to take a token, while other CPUs take theirs */

/* r0 = the element of the map whose number is in a register. Jumps to lost if it does not exist. */
static void emit_sample_at(struct emitter *e, int number, label lost)
{
	emit(e, BPF_STX_MEM(BPF_W, BPF_REG_10, number, AT_WORD));
	emit_map_fd(e, BPF_REG_1, e->maps->samples);
	emit_stack_address(e, BPF_REG_2, AT_WORD);
	emit(e, BPF_EMIT_CALL(BPF_FUNC_map_lookup_elem));
	emit(e, BPF_JMP_IMM(BPF_JEQ, BPF_REG_0, 0, lost));
}

static void emit_every(struct emitter *e, uint32_t every, label unsampled)
{
	emit(e, BPF_MOV64_IMM(BPF_REG_1, 1));
	emit(e,
	     BPF_ATOMIC_OP(BPF_DW, BPF_ADD | BPF_FETCH, BPF_REG_8, BPF_REG_1, offsetof(struct kernel_sample, passed)));
	emit(e, BPF_ALU64_IMM(BPF_ADD, BPF_REG_1, 1));
	emit(e, BPF_ALU64_IMM(BPF_MOD, BPF_REG_1, (int32_t)every));
	emit(e, BPF_JMP_IMM(BPF_JNE, BPF_REG_1, 0, unsampled));
}

/* r5 is the bucket, r1 the time. */
static void emit_token(struct emitter *e, uint32_t rate, label unsampled)
{
	const int32_t interval = (int32_t)rate_interval(rate), tolerance = (int32_t)rate_tolerance(rate);
	label taken = label_new(e);

	for (int i = 0; i < TRIES; i++) {
		label later = label_new(e);

		emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_2, BPF_REG_5, offsetof(struct kernel_sample, next)));
		emit(e, BPF_JMP_REG(BPF_JLT, BPF_REG_1, BPF_REG_2, unsampled));
		emit(e, BPF_MOV64_REG(BPF_REG_3, BPF_REG_2));
		emit(e, BPF_ALU64_IMM(BPF_ADD, BPF_REG_3, interval));
		emit(e, BPF_MOV64_REG(BPF_REG_4, BPF_REG_1));
		emit(e, BPF_ALU64_IMM(BPF_ADD, BPF_REG_4, interval - tolerance));
		emit(e, BPF_JMP_REG(BPF_JGE, BPF_REG_3, BPF_REG_4, later));
		emit(e, BPF_MOV64_REG(BPF_REG_3, BPF_REG_4));
		label_place(e, later);
		emit(e, BPF_MOV64_REG(BPF_REG_0, BPF_REG_2));
		emit(e, BPF_ATOMIC_OP(BPF_DW, BPF_CMPXCHG, BPF_REG_5, BPF_REG_3, offsetof(struct kernel_sample, next)));
		emit(e, BPF_JMP_REG(BPF_JEQ, BPF_REG_0, BPF_REG_2, taken));
	}
	emit(e, BPF_JMP_A(unsampled));
	label_place(e, taken);
}

void emit_sample(struct emitter *e, const struct fetch_sample *sample, unsigned shards, label unsampled, label lost)
{
	emit(e, BPF_EMIT_CALL(BPF_FUNC_get_smp_processor_id));
	emit(e, BPF_ALU64_IMM(BPF_AND, BPF_REG_0, (int32_t)shards - 1));
	emit_point(e, BPF_REG_8);
	emit(e, BPF_ALU64_IMM(BPF_MUL, BPF_REG_8, (int32_t)shards));
	emit(e, BPF_ALU64_REG(BPF_ADD, BPF_REG_8, BPF_REG_0));
	emit_sample_at(e, BPF_REG_8, lost);
	emit(e, BPF_MOV64_REG(BPF_REG_8, BPF_REG_0));
	if (sample->every > 1)
		emit_every(e, sample->every, unsampled);
	if (!sample->rate)
		return;
	emit(e, BPF_EMIT_CALL(BPF_FUNC_ktime_get_ns));
	emit(e, BPF_STX_MEM(BPF_DW, BPF_REG_10, BPF_REG_0, AT_TIME));
	emit(e, BPF_LDX_MEM(BPF_W, BPF_REG_3, BPF_REG_8, offsetof(struct kernel_sample, bucket)));
	emit_sample_at(e, BPF_REG_3, lost);
	emit(e, BPF_MOV64_REG(BPF_REG_5, BPF_REG_0));
	emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_1, BPF_REG_10, AT_TIME));
	emit_token(e, sample->rate, unsampled);
}
