/* SPDX-License-Identifier: MIT */
/*
 * Trampolines for aarch64: the instructions for what compile.c asks for.
 *
 * The probed program does not know of the branch, so everything is kept: the flags by
 * mrs and msr, the registers below in a frame of the trampoline. The ABI has no red
 * zone. Vector registers are not touched; entry-aarch64.c enters C.
 *
 *     x0     the top; the values below it are in the frame
 *     x1 x2  the second operand, scratch
 *     x3     the address of the next string
 *     x4     the thread's ring
 *     x5 x6  the record; its time
 *     x30    the program's, except during a call
 *
 * The depth is known at each step, and with it the place in the frame of each value
 * below the top:
 *
 *     sp + 8 * i      value i from the bottom
 *     c->frame - 80 - the size of the longest key: the key of an aggregate
 *     c->frame - 80   x0 to x6 and the flags, then x30 during a call, and the call of the program that ends
 *     c->frame        the program's stack pointer
 *
 * An exclusive load and store reserves space in the ring. The ring is the thread's,
 * but the record of a signal handler may come in the middle: the return from the
 * handler ends the exclusive access, so that the store fails and is tried again. For
 * the same reason counters are increased by one atomic instruction if the CPU has it,
 * else by an exclusive pair, although no other thread writes there.
 *
 * A site between the program's own ldxr and stxr would make these fail forever. No
 * compiler places one there, and a breakpoint would have the same effect.
 *
 * The time is written last, with release, so that a reader of the time sees the rest
 * of the record.
 */
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "runtime/agent/inproc/asm-aarch64.h"
#include "runtime/agent/inproc/compile.h"

#define SAVED 80 /* bytes of the frame: x0 to x6, the flags, x30, and the call that ends */
#define HWCAP_ATOMIC (1u << 8)

_Static_assert(AGENT_DATA_IN_RING < 16u << 20, "gen_reserve() adds it");
_Static_assert(RECORD_SIZE_MAX < 1u << 24, "gen_reserve() adds an immediate of 24 bits");

/* ---- parts of the agent ---- */

static void load_near_word(struct codebuf *c, unsigned rt, const uint32_t *near)
{
	uint32_t offset = a64_adrp(c, rt, near);

	a64_ldrw(c, rt, rt, offset);
}

/* rt = a field of struct hit_thread, of 4 or 8 bytes. base: the thread pointer. */
static void load_thread_field(struct codebuf *c, unsigned rt, unsigned base, size_t field, unsigned size)
{
	uint32_t offset = trampoline_tls(field);

	if (offset >> 12) {
		a64_add_imm(c, rt, base, offset & ~4095u);
		base = rt;
	}
	a64_ldr_size(c, size, false, rt, base, offset & 4095);
}

/* Calls an entry, which keeps all registers but x0 and x1. */
static void gen_call(struct codebuf *c, void *const *entry)
{
	uint32_t offset;

	a64_str(c, X30, SP, c->frame - 16);
	offset = a64_adrp(c, X30, entry);
	a64_ldr(c, X30, X30, offset);
	a64_blr(c, X30);
	a64_ldr(c, X30, SP, c->frame - 16);
}

/* ---- the frame ---- */

/* Returns the size of the longest key. */
static uint32_t key_max(const struct trampoline_consumer *consumers, size_t n)
{
	uint32_t size = 0;

	for (size_t i = 0; i < n; i++)
		if (consumers[i].program->key_size > size)
			size = consumers[i].program->key_size;
	return (size + 15) & ~15u;
}

static uint32_t depth_max(const struct trampoline_consumer *consumers, size_t n)
{
	uint32_t depth = 0;

	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < consumers[i].program->fetch.nsteps; k++)
			if (consumers[i].program->depths[k] > depth)
				depth = consumers[i].program->depths[k];
	return depth;
}

void gen_enter(struct codebuf *c, const struct trampoline_consumer *consumers, size_t n, uint32_t end)
{
	uint32_t saved = (depth_max(consumers, n) + 1) / 2 * 16 + key_max(consumers, n);

	c->key = key_max(consumers, n);
	c->frame = saved + SAVED;
	a64_sub_imm(c, SP, SP, c->frame);
	a64_stp_sp(c, X0, X1, saved);
	a64_stp_sp(c, X2, X3, saved + 16);
	a64_mrs_nzcv(c, X0);
	a64_stp_sp(c, X4, X5, saved + 32);
	a64_stp_sp(c, X6, X0, saved + 48);
	load_near_word(c, X1, &c->life->alive);
	a64_cbz(c, X1, end);
}

bool gen_leave(struct codebuf *c)
{
	uint32_t saved = c->frame - SAVED;
	int64_t distance;

	a64_ldp_sp(c, X6, X0, saved + 48);
	a64_ldp_sp(c, X4, X5, saved + 32);
	a64_msr_nzcv(c, X0);
	a64_ldp_sp(c, X2, X3, saved + 16);
	a64_ldp_sp(c, X0, X1, saved);
	a64_add_imm(c, SP, SP, c->frame);
	distance = (int64_t)(c->site + SITE_NOP - (c->at + c->n)) >> 2;
	a64_put(c, A64_B | (distance & A64_B_MASK));
	return distance == (int32_t)((uint32_t)distance << 6) >> 6;
}

void gen_jump(struct codebuf *c, uint32_t label)
{
	a64_b(c, label);
}

void gen_link(struct codebuf *c, uint32_t at, int32_t to)
{
	int32_t distance = (to - (int32_t)at) / 4;
	uint32_t instruction;

	memcpy(&instruction, c->bytes + at, 4);
	if (instruction >> 26 == A64_B >> 26)
		instruction |= distance & A64_B_MASK;
	else
		instruction |= (distance & 0x7ffff) << 5;
	memcpy(c->bytes + at, &instruction, 4);
}

/* ---- steps ---- */

void gen_spill(struct codebuf *c, unsigned depth)
{
	if (depth)
		a64_str(c, X0, SP, 8 * (depth - 1));
}

static void load_register(struct codebuf *c, unsigned to, unsigned reg)
{
	if (reg == REGISTER_PC)
		a64_mov_imm(c, to, c->site);
	else if (reg == REGISTER_SP)
		a64_add_imm(c, to, SP, c->frame);
	else if (reg <= X6)
		a64_ldr(c, to, SP, c->frame - SAVED + 8 * reg);
	else
		a64_mov(c, to, reg);
}

void gen_operand(struct codebuf *c, enum operand to, const struct fetch_step *step, unsigned words)
{
	unsigned reg = to == OPERAND_TOP ? X0 : X1;

	(void)words;
	if (step->op == FETCH_IMM)
		a64_mov_imm(c, reg, step->value);
	else
		load_register(c, reg, step->a);
}

void gen_pop_operands(struct codebuf *c, unsigned depth)
{
	a64_mov(c, X1, X0);
	a64_ldr(c, X0, SP, 8 * (depth - 2));
}

void gen_drop(struct codebuf *c, unsigned depth)
{
	if (depth > 1)
		a64_ldr(c, X0, SP, 8 * (depth - 2));
}

static void gen_compare(struct codebuf *c, enum a64_condition condition)
{
	a64_cmp(c, X0, X1);
	a64_cset(c, X0, condition);
}

void gen_binary(struct codebuf *c, const struct fetch_step *step)
{
	static const uint32_t simple[] = {
		[FETCH_ADD] = A64_ADD, [FETCH_SUB] = A64_SUB, [FETCH_MUL] = A64_MUL,  [FETCH_AND] = A64_AND,
		[FETCH_OR] = A64_ORR,  [FETCH_XOR] = A64_EOR, [FETCH_SHL] = A64_LSLV,
	};

	switch (step->op) {
	case FETCH_DIV: a64_op(c, step->c ? A64_SDIV : A64_UDIV, X0, X0, X1); break;
	case FETCH_MOD:
		a64_op(c, step->c ? A64_SDIV : A64_UDIV, X2, X0, X1);
		a64_msub(c, X0, X2, X1, X0);
		a64_cmp(c, X1, XZR);
		a64_csel(c, X0, XZR, X0, A64_EQ);
		break;
	case FETCH_SHR: a64_op(c, step->c ? A64_ASRV : A64_LSRV, X0, X0, X1); break;
	case FETCH_EQ: gen_compare(c, A64_EQ); break;
	case FETCH_NE: gen_compare(c, A64_NE); break;
	case FETCH_LT: gen_compare(c, step->c ? A64_LT : A64_LO); break;
	case FETCH_LE: gen_compare(c, step->c ? A64_LE : A64_LS); break;
	default: a64_op(c, simple[step->op], X0, X0, X1);
	}
}

void gen_unary(struct codebuf *c, unsigned op)
{
	switch (op) {
	case FETCH_NOT:
		a64_cmp(c, X0, XZR);
		a64_cset(c, X0, A64_EQ);
		break;
	case FETCH_NEG: a64_op(c, A64_SUB, X0, XZR, X0); break;
	default: a64_op(c, A64_ORN, X0, XZR, X0);
	}
}

void gen_extend(struct codebuf *c, unsigned size, unsigned bit, bool is_signed)
{
	a64_bfx(c, is_signed, X0, X0, bit, bit + 8 * size - 1);
}

void gen_pid(struct codebuf *c)
{
	load_near_word(c, X0, &c->life->pid);
}

void gen_tid(struct codebuf *c)
{
	a64_mrs_tpidr(c, X0);
	load_thread_field(c, X0, X0, offsetof(struct hit_thread, tid), 4);
}

void gen_jump_if(struct codebuf *c, bool zero, uint32_t label)
{
	if (zero)
		a64_cbz(c, X0, label);
	else
		a64_cbnz(c, X0, label);
}

/* ---- loads ---- */

/* x0 = size bytes at base + offset, which is not negative */
static void load_direct(struct codebuf *c, unsigned base, uint32_t offset, const struct fetch_step *load)
{
	unsigned size = load->a;

	if (offset % size || offset / size > 4095) {
		a64_add_imm(c, X1, base, offset);
		base = X1;
		offset = 0;
	}
	a64_ldr_size(c, size, load->c, X0, base, offset);
}

void gen_load(struct codebuf *c, const struct fetch_step *load, unsigned words, uint32_t stub)
{
	(void)words;
	/* At or above the program's stack pointer, ... */
	a64_add_imm(c, X1, SP, c->frame);
	a64_cmp(c, X0, X1);
	a64_b_cond(c, A64_LO, stub);
	/* ... on the stack that sure_low and sure_last are of, and not above sure_last. */
	a64_mrs_tpidr(c, X2);
	load_thread_field(c, X1, X2, offsetof(struct hit_thread, sure_low), 8);
	a64_cmp_sp(c, X1);
	a64_b_cond(c, A64_LO, stub);
	load_thread_field(c, X1, X2, offsetof(struct hit_thread, sure_last), 8);
	a64_cmp(c, X0, X1);
	a64_b_cond(c, A64_HI, stub);
	load_direct(c, X0, 0, load);
}

/* The trampoline has written to the page of the byte below the stack pointer. */
void gen_frame_check(struct codebuf *c, int32_t end, uint32_t stub)
{
	a64_add_imm(c, X1, SP, c->frame - 1);
	a64_and_bits(c, X1, X1, 0, 12);
	a64_cmp_imm(c, X1, 4095 - end);
	a64_b_cond(c, A64_HI, stub);
}

void gen_load_frame(struct codebuf *c, int32_t offset, const struct fetch_step *load)
{
	load_direct(c, SP, c->frame + offset, load);
}

void gen_load_address(struct codebuf *c, uint64_t address, const struct fetch_step *load)
{
	a64_mov_imm(c, X1, address);
	load_direct(c, X1, 0, load);
}

/* ---- what enters C ---- */

void gen_match(struct codebuf *c, void *const *entry, const struct fetch_literal *literal, unsigned how, uint32_t fault)
{
	a64_mov_imm(c, X1, (uintptr_t)literal);
	a64_mov_imm(c, X2, (uintptr_t)c->image);
	a64_mov_imm(c, X3, how);
	gen_call(c, entry);
	a64_cbnz(c, X1, fault);
}

void gen_string(struct codebuf *c, uint32_t how)
{
	a64_mov_imm(c, X1, (uintptr_t)c->image);
	a64_mov_imm(c, X2, how);
	gen_call(c, &c->table->string);
	a64_mov(c, X3, X0);
}

void gen_hash(struct codebuf *c, uint32_t fault)
{
	a64_mov_imm(c, X1, (uintptr_t)c->image);
	gen_call(c, &c->table->hash);
	a64_cbnz(c, X1, fault);
}

/* ---- calls ---- */

static void gen_call_arguments(struct codebuf *c, const struct trampoline_consumer *consumer)
{
	a64_mov_imm(c, X1, (uint64_t)consumer->program->fetch.match << 32 | consumer->slot);
	a64_mov_imm(c, X2, consumer->call);
}

void gen_call_begin(struct codebuf *c, const struct trampoline_consumer *consumer)
{
	gen_call_arguments(c, consumer);
	gen_call(c, &c->table->begin);
	a64_mov(c, X5, X0);
}

void gen_call_find(struct codebuf *c, const struct trampoline_consumer *consumer, uint32_t none)
{
	gen_call_arguments(c, consumer);
	gen_call(c, &c->table->end);
	a64_cbz(c, X0, none);
	a64_str(c, X0, SP, c->frame - 8);
}

void gen_call_done(struct codebuf *c)
{
	a64_ldr(c, X0, SP, c->frame - 8);
	a64_strw(c, XZR, X0, offsetof(struct agent_call, state));
}

void gen_duration(struct codebuf *c, unsigned words)
{
	(void)words;
	a64_ldr(c, X0, SP, c->frame - 8);
	a64_ldr(c, X0, X0, 0);
}

void gen_entry(struct codebuf *c, unsigned words, unsigned i, uint32_t fault)
{
	(void)words;
	a64_ldr(c, X0, SP, c->frame - 8);
	a64_ldrw(c, X1, X0, offsetof(struct agent_call, words_faults));
	a64_and_bits(c, X1, X1, 8 + i, 1);
	a64_cbnz(c, X1, fault);
	a64_ldr(c, X0, X0, VALUE(i));
}

void gen_argument(struct codebuf *c, unsigned i)
{
	a64_str(c, X0, X5, VALUE(i));
}

void gen_frame_address(struct codebuf *c, int32_t offset)
{
	a64_add_imm(c, X0, SP, c->frame + offset);
}

void gen_load_call(struct codebuf *c, const struct stub *stub)
{
	a64_mov_imm(c, X1, stub->size);
	gen_call(c, &c->table->load);
	a64_cbnz(c, X1, stub->fault);
	gen_extend(c, stub->size, 0, stub->is_signed);
}

void gen_argument_fault(struct codebuf *c, unsigned i)
{
	a64_ldrw(c, X1, X5, offsetof(struct shared_record, words_faults));
	a64_mov_imm(c, X2, 1u << (8 + i));
	a64_op(c, A64_ORR, X1, X1, X2);
	a64_strw(c, X1, X5, offsetof(struct shared_record, words_faults));
	a64_str(c, XZR, X5, VALUE(i));
}

/* The frame has room for all values at any time. */
void gen_discard(struct codebuf *c, unsigned words)
{
	(void)c, (void)words;
}

/* ---- aggregates ---- */

/* The frame has room for the longest key. */
void gen_key_begin(struct codebuf *c, unsigned size)
{
	(void)c, (void)size;
}

void gen_key_end(struct codebuf *c)
{
	(void)c;
}

static uint32_t key_at(const struct codebuf *c)
{
	return c->frame - SAVED - c->key;
}

void gen_key(struct codebuf *c, unsigned offset)
{
	a64_str(c, X0, SP, key_at(c) + offset);
}

void gen_key_string(struct codebuf *c, void *const *entry, unsigned offset, uint32_t fault)
{
	a64_mov_imm(c, X1, (uintptr_t)c->image);
	a64_add_imm(c, X2, SP, key_at(c) + offset);
	gen_call(c, entry);
	a64_cbnz(c, X1, fault);
}

void gen_key_stack(struct codebuf *c, unsigned offset)
{
	a64_add_imm(c, X2, SP, key_at(c) + offset);
	gen_call(c, &c->table->keystack);
}

void gen_aggregate(struct codebuf *c, const struct hit_group *group, const struct agg_column *column, unsigned what)
{
	a64_mov_imm(c, X1, (uintptr_t)group);
	a64_add_imm(c, X2, SP, key_at(c));
	a64_mov_imm(c, X3, (uintptr_t)column);
	a64_mov_imm(c, X5, what);
	gen_call(c, &c->table->aggregate);
}

bool gen_aggregate_near(struct codebuf *c, const struct hit_group *group, const struct agg_column *column,
                        unsigned what, uint32_t stub)
{
	(void)c, (void)group, (void)column, (void)what, (void)stub;
	return false;
}

void gen_unread(struct codebuf *c, const struct hit_group *group, unsigned first, unsigned n)
{
	a64_mov_imm(c, X1, (uintptr_t)group);
	a64_mov_imm(c, X2, first);
	a64_mov_imm(c, X3, n);
	gen_call(c, &c->table->unread);
}

void gen_cpu(struct codebuf *c, uint32_t fault)
{
	gen_call(c, &c->table->cpu);
	a64_cbnz(c, X1, fault);
}

/* ---- rings and records ---- */

void gen_ring(struct codebuf *c, unsigned shm, uint32_t none)
{
	a64_mrs_tpidr(c, X4);
	load_thread_field(c, X4, X4, offsetof(struct hit_thread, ring) + shm * sizeof(void *), 8);
	a64_cbz(c, X4, none);
}

void gen_ring_take(struct codebuf *c, unsigned shm, uint32_t taken)
{
	a64_mov_imm(c, X1, shm);
	gen_call(c, &c->table->take);
	a64_mov(c, X4, X0);
	a64_cbnz(c, X4, taken);
}

void gen_time(struct codebuf *c)
{
	a64_mrs_cntvct(c, X6);
}

void gen_time_call(struct codebuf *c, void *const *entry)
{
	gen_call(c, entry);
	a64_mov(c, X6, X0);
}

void gen_time_check(struct codebuf *c, const struct agent_shm *shm, uint32_t late)
{
	a64_mov_imm(c, X1, (uintptr_t)&shm->record_until);
	a64_ldr(c, X1, X1, 0);
	a64_cmp(c, X6, X1);
	a64_b_cond(c, A64_HS, late);
}

void gen_never_check(struct codebuf *c, const struct agent_shm *shm, uint32_t late)
{
	a64_mov_imm(c, X1, (uintptr_t)&shm->record_until);
	a64_ldr(c, X1, X1, 0);
	a64_cbz(c, X1, late);
}

void gen_reserve(struct codebuf *c, unsigned words, uint32_t retry, uint32_t full)
{
	uint32_t again = codebuf_label(c);

	(void)retry;
	a64_add_imm(c, X1, X4, offsetof(struct agent_ring, head));
	a64_ldr(c, X2, X4, offsetof(struct agent_ring, limit));
	codebuf_here(c, again);
	a64_ldxr(c, X0, X1);
	a64_add_imm(c, X5, X0, 8 * words);
	a64_cmp(c, X5, X2);
	a64_b_cond(c, A64_HI, full);
	a64_stxr(c, X3, X5, X1);
	a64_cbnzw(c, X3, again);
	a64_mrs_tpidr(c, X2);
	load_thread_field(c, X2, X2, offsetof(struct hit_thread, mask) + c->consumer->index * sizeof(uint32_t), 4);
	a64_op(c, A64_AND, X0, X0, X2);
	a64_op(c, A64_ADD, X5, X4, X0);
	a64_add_imm(c, X5, X5, AGENT_DATA_IN_RING);
}

void gen_ring_room(struct codebuf *c, const struct agent_shm *shm, uint32_t retry, uint32_t lost)
{
	a64_mov_imm(c, X1, (uintptr_t)&shm->overwrite);
	a64_ldrw(c, X1, X1, 0);
	a64_cbz(c, X1, lost);
	gen_call(c, &c->table->room);
	a64_cbz(c, X1, retry);
}

void gen_record(struct codebuf *c, unsigned words, uint32_t slot)
{
	a64_mov_imm(c, X1, words);
	a64_str(c, X1, X5, 0);
	a64_mov_imm(c, X1, (uint64_t)(words & 255) << 32 | slot);
	a64_str(c, X1, X5, offsetof(struct shared_record, point_words));
}

void gen_strings(struct codebuf *c, unsigned offset)
{
	a64_add_imm(c, X3, X5, offset);
}

void gen_shrink(struct codebuf *c, unsigned words)
{
	a64_mov_imm(c, X1, words);
	gen_call(c, &c->table->shrink);
}

void gen_publish(struct codebuf *c)
{
	a64_stlr(c, X6, X5);
}

static bool has_atomics(void)
{
	return getauxval(AT_HWCAP) & HWCAP_ATOMIC;
}

/* Adds one to the counter at x1. */
static void gen_increment(struct codebuf *c)
{
	uint32_t again = codebuf_label(c);

	if (has_atomics()) {
		a64_mov_imm(c, X2, 1);
		a64_ldadd(c, X2, X0, X1);
		return;
	}
	codebuf_here(c, again);
	a64_ldxr(c, X0, X1);
	a64_add_imm(c, X0, X0, 1);
	a64_stxr(c, X2, X0, X1);
	a64_cbnzw(c, X2, again);
}

void gen_count(struct codebuf *c, uint32_t slot, size_t counter)
{
	a64_mov_imm(c, X1, AGENT_COUNTS_IN_RING + slot * sizeof(struct agent_count) + counter);
	a64_op(c, A64_ADD, X1, X1, X4);
	gen_increment(c);
}

void gen_count_shared(struct codebuf *c, const struct trampoline_consumer *consumer, size_t counter)
{
	a64_mov_imm(c, X1,
	            (uintptr_t)consumer->shm + shm_overflow_at + consumer->slot * sizeof(struct agent_count) + counter);
	gen_increment(c);
}

/* ---- sampling ---- */

#define COUNT_AT(name) offsetof(struct agent_count, name)

void gen_every(struct codebuf *c, const struct trampoline_consumer *consumer, bool has_ring, uint32_t unsampled)
{
	const struct fetch_sample *sample = &consumer->program->fetch.sample;
	const uint32_t at = consumer->slot * sizeof(struct agent_count);

	a64_mov_imm(c, X1, has_ring ? AGENT_COUNTS_IN_RING + at : (uintptr_t)consumer->shm + shm_overflow_at + at);
	if (has_ring)
		a64_op(c, A64_ADD, X1, X1, X4);
	a64_ldr(c, X0, X1, COUNT_AT(idle));
	a64_ldr(c, X2, X1, COUNT_AT(recorded));
	a64_op(c, A64_ADD, X0, X0, X2);
	a64_ldr(c, X2, X1, COUNT_AT(lost));
	a64_op(c, A64_ADD, X0, X0, X2);
	a64_add_imm(c, X0, X0, 1);
	a64_ldr(c, X2, X1, COUNT_AT(unsampled));
	if (!sample->rate) {
		a64_mov_imm(c, X1, sample->every - 1);
		a64_op(c, A64_MUL, X0, X0, X1);
		a64_cmp(c, X0, X2);
		a64_b_cond(c, A64_HI, unsampled);
		return;
	}
	a64_op(c, A64_ADD, X0, X0, X2);
	a64_mov_imm(c, X1, sample->every);
	a64_op(c, A64_UDIV, X2, X0, X1);
	a64_msub(c, X0, X2, X1, X0);
	a64_cbnz(c, X0, unsampled);
}

void gen_token(struct codebuf *c, struct hit_bucket *bucket, uint32_t unsampled)
{
	a64_mov_imm(c, X1, (uintptr_t)bucket);
	a64_ldr(c, X2, X1, 0);
	a64_cmp(c, X6, X2);
	a64_b_cond(c, A64_LO, unsampled);
	gen_call(c, &c->table->token);
	a64_cbnz(c, X1, unsampled);
}

/* ---- the CPU ---- */

int32_t trampoline_tls(size_t offset)
{
	return (char *)&agent_thread - (char *)__builtin_thread_pointer() + offset;
}

bool trampoline_cpu_ok(void)
{
	return true;
}

/* The counter is always invariant. Newer kernels can forbid it to a process. */
bool trampoline_clock_invariant(void)
{
	static int8_t known = -1;
	int tsc = 0;

	if (known < 0)
		known = cpu_call(SYS_prctl, PR_GET_TSC, (long)&tsc, 0, 0, 0, 0) || tsc == PR_TSC_ENABLE;
	return known;
}
