/* SPDX-License-Identifier: MIT */
/*
 * Trampolines for x86-64: the instructions for what compile.c asks for.
 *
 * The probed program does not know of the jump, so everything is kept:
 *
 * - the red zone, by moving the stack pointer with lea, which leaves the flags alone;
 * - the flags, by lahf and seto, because popf would cost more than all the rest;
 * - the six registers below, by pushes.
 *
 * Vector registers are not touched.
 *
 *     rax      the top; the values below it are on the machine's stack
 *     rcx      the second operand, scratch
 *     rdx      the address of the next string
 *     rbx      the thread's ring
 *     rsi rdi  the record; its time
 *
 * The depth is known at each step, and with it the offset of each saved register to
 * the stack pointer.
 *
 * One compare and exchange without lock prefix reserves space in the ring. It need
 * not be atomic among processors, because the ring is the thread's, but the record of
 * a signal handler may come in the middle. Nothing refers to a record before its time
 * is written, which is last. Other processes can write to the ring's header; whatever
 * they write there, the trampoline writes nothing outside of the ring's data.
 */
#include <cpuid.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "runtime/agent/inproc/asm-x86_64.h"
#include "runtime/agent/inproc/compile.h"

#define SAVED_WORDS 7                             /* pushed by gen_enter(): rax, the flags, and the five below */
#define STACK_OFFSET (RED_ZONE + 8 * SAVED_WORDS) /* of the program's stack pointer */

/* Offsets of the saved registers; -1: not saved. */
static const int8_t saved_at[8] = {
	[RAX] = 48, [RCX] = 32, [RDX] = 24, [RBX] = 16, [RSP] = -1, [RBP] = -1, [RSI] = 8, [RDI] = 0,
};

_Static_assert(sizeof(struct shared_cell) == 1 << 5, "gen_aggregate_near() shifts by 5 bits");

static struct x86_mem thread_field(size_t offset)
{
	return x86_fs(trampoline_tls(offset));
}

/* ---- the frame ---- */

void gen_enter(struct codebuf *c, const struct trampoline_consumer *consumers, size_t n, uint32_t end)
{
	(void)consumers, (void)n;
	x86_lea(c, RSP, x86_at(RSP, -RED_ZONE));
	x86_push(c, RAX);
	x86_lahf(c);
	x86_seto_al(c);
	x86_push(c, RAX);
	x86_push(c, RCX);
	x86_push(c, RDX);
	x86_push(c, RBX);
	x86_push(c, RSI);
	x86_push(c, RDI);
	x86_cmpl_mem_imm8(c, x86_rip(&c->life->alive), 0);
	x86_jcc(c, X86_E, end);
}

bool gen_leave(struct codebuf *c)
{
	x86_pop(c, RDI);
	x86_pop(c, RSI);
	x86_pop(c, RBX);
	x86_pop(c, RDX);
	x86_pop(c, RCX);
	x86_pop(c, RAX);
	x86_add_al_imm(c, 127); /* overflows if seto wrote 1 */
	x86_sahf(c);
	x86_pop(c, RAX);
	x86_lea(c, RSP, x86_at(RSP, RED_ZONE));
	x86_jmp_address(c, c->site + SITE_AT + SITE_NOP);
	return true;
}

void gen_jump(struct codebuf *c, uint32_t label)
{
	x86_jmp(c, label);
}

void gen_link(struct codebuf *c, uint32_t at, int32_t to)
{
	int32_t disp = to - (int32_t)(at + 4);

	memcpy(c->bytes + at, &disp, 4);
}

/* ---- steps ---- */

void gen_spill(struct codebuf *c, unsigned depth)
{
	if (depth)
		x86_push(c, RAX);
}

static void load_register(struct codebuf *c, int to, unsigned reg, unsigned words)
{
	words += c->extra;
	if (reg == REGISTER_PC)
		x86_mov_imm(c, to, c->site);
	else if (reg == REGISTER_SP)
		x86_lea(c, to, x86_at(RSP, STACK_OFFSET + c->key + 8 * words));
	else if (reg < 8 && saved_at[reg] >= 0)
		x86_mov_load(c, to, x86_at(RSP, saved_at[reg] + c->key + 8 * words));
	else
		x86_mov(c, to, reg);
}

void gen_operand(struct codebuf *c, enum operand to, const struct fetch_step *step, unsigned words)
{
	int reg = to == OPERAND_TOP ? RAX : RCX;

	if (step->op == FETCH_IMM)
		x86_mov_imm(c, reg, step->value);
	else
		load_register(c, reg, step->a, words);
}

void gen_pop_operands(struct codebuf *c, unsigned depth)
{
	(void)depth;
	x86_mov(c, RCX, RAX);
	x86_pop(c, RAX);
}

void gen_drop(struct codebuf *c, unsigned depth)
{
	if (depth > 1)
		x86_pop(c, RAX);
}

/* rax = the quotient or remainder of rax and rcx, without the traps: by 0 it is 0, and the least number by -1 wraps. */
static void gen_divide(struct codebuf *c, bool is_signed, bool remainder)
{
	uint32_t zero = codebuf_label(c), minus_one = codebuf_label(c), done = codebuf_label(c);

	x86_test(c, RCX, RCX);
	x86_jcc(c, X86_E, zero);
	x86_push(c, RDX);
	if (is_signed) {
		x86_cmp_imm8(c, RCX, -1);
		x86_jcc(c, X86_E, minus_one);
		x86_cqo(c);
		x86_idiv(c, RCX);
	} else {
		x86_xorl(c, RDX, RDX);
		x86_div(c, RCX);
	}
	if (remainder)
		x86_mov(c, RAX, RDX);
	x86_pop(c, RDX);
	x86_jmp(c, done);
	codebuf_here(c, minus_one);
	x86_pop(c, RDX);
	if (!remainder) {
		x86_neg(c, RAX);
		x86_jmp(c, done);
	}
	codebuf_here(c, zero);
	x86_xorl(c, RAX, RAX);
	codebuf_here(c, done);
}

/* rax = whether the condition holds */
static void gen_condition(struct codebuf *c, enum x86_condition condition)
{
	x86_setcc(c, condition, RAX);
	x86_movzbl(c, RAX, RAX);
}

static void gen_compare(struct codebuf *c, const struct fetch_step *step)
{
	enum x86_condition condition;

	switch (step->op) {
	case FETCH_EQ: condition = X86_E; break;
	case FETCH_NE: condition = X86_NE; break;
	case FETCH_LT: condition = step->c ? X86_L : X86_B; break;
	default: condition = step->c ? X86_LE : X86_BE;
	}
	x86_cmp(c, RAX, RCX);
	gen_condition(c, condition);
}

void gen_binary(struct codebuf *c, const struct fetch_step *step)
{
	switch (step->op) {
	case FETCH_ADD: x86_add(c, RAX, RCX); break;
	case FETCH_SUB: x86_sub(c, RAX, RCX); break;
	case FETCH_MUL: x86_imul(c, RAX, RCX); break;
	case FETCH_DIV:
	case FETCH_MOD: gen_divide(c, step->c, step->op == FETCH_MOD); break;
	case FETCH_AND: x86_and(c, RAX, RCX); break;
	case FETCH_OR: x86_or(c, RAX, RCX); break;
	case FETCH_XOR: x86_xor(c, RAX, RCX); break;
	case FETCH_SHL: x86_shl_cl(c, RAX); break;
	case FETCH_SHR:
		if (step->c)
			x86_sar_cl(c, RAX);
		else
			x86_shr_cl(c, RAX);
		break;
	default: gen_compare(c, step);
	}
}

void gen_unary(struct codebuf *c, unsigned op)
{
	switch (op) {
	case FETCH_NOT:
		x86_test(c, RAX, RAX);
		gen_condition(c, X86_E);
		break;
	case FETCH_NEG: x86_neg(c, RAX); break;
	default: x86_not(c, RAX);
	}
}

/* rax = its low size bytes, extended */
static void extend_low(struct codebuf *c, unsigned size, bool is_signed)
{
	switch (size << 1 | is_signed) {
	case 2: x86_movzbl(c, RAX, RAX); break;
	case 3: x86_movsbq(c, RAX, RAX); break;
	case 4: x86_movzwl(c, RAX, RAX); break;
	case 5: x86_movswq(c, RAX, RAX); break;
	case 8: x86_movl(c, RAX, RAX); break;
	case 9: x86_cltq(c); break;
	}
}

void gen_extend(struct codebuf *c, unsigned size, unsigned bit, bool is_signed)
{
	if (bit)
		x86_shr_imm(c, RAX, bit);
	extend_low(c, size, is_signed);
}

void gen_pid(struct codebuf *c)
{
	x86_movl_load(c, RAX, x86_rip(&c->life->pid));
}

void gen_tid(struct codebuf *c)
{
	x86_movl_load(c, RAX, thread_field(offsetof(struct hit_thread, tid)));
}

void gen_jump_if(struct codebuf *c, bool zero, uint32_t label)
{
	x86_test(c, RAX, RAX);
	x86_jcc(c, zero ? X86_E : X86_NE, label);
}

/* ---- loads ---- */

/* rax = size bytes there, extended */
static void load_direct(struct codebuf *c, struct x86_mem from, const struct fetch_step *load)
{
	switch (load->a << 1 | load->c) {
	case 2: x86_movzbl_load(c, RAX, from); break;
	case 3: x86_movsbq_load(c, RAX, from); break;
	case 4: x86_movzwl_load(c, RAX, from); break;
	case 5: x86_movswq_load(c, RAX, from); break;
	case 8: x86_movl_load(c, RAX, from); break;
	case 9: x86_movslq_load(c, RAX, from); break;
	default: x86_mov_load(c, RAX, from);
	}
}

void gen_load(struct codebuf *c, const struct fetch_step *load, unsigned words, uint32_t stub)
{
	/* At or above the saved registers, ... */
	x86_lea(c, RCX, x86_at(RSP, c->key + 8 * (SAVED_WORDS + c->extra + words)));
	x86_cmp(c, RAX, RCX);
	x86_jcc(c, X86_B, stub);
	/* ... on the stack that sure_low and sure_last are of, and not above sure_last. */
	x86_cmp_load(c, RSP, thread_field(offsetof(struct hit_thread, sure_low)));
	x86_jcc(c, X86_B, stub);
	x86_cmp_load(c, RAX, thread_field(offsetof(struct hit_thread, sure_last)));
	x86_jcc(c, X86_A, stub);
	load_direct(c, x86_at(RAX, 0), load);
}

void gen_frame_check(struct codebuf *c, int32_t end, uint32_t stub)
{
	x86_lea(c, RAX, x86_at(RSP, STACK_OFFSET + c->key + 8 * c->extra - 1));
	x86_andl_eax_imm(c, 4095);
	x86_cmpl_eax_imm(c, 4095 - end);
	x86_jcc(c, X86_A, stub);
}

void gen_load_frame(struct codebuf *c, int32_t offset, const struct fetch_step *load)
{
	load_direct(c, x86_at(RSP, offset + STACK_OFFSET + (int32_t)(c->key + 8 * c->extra)), load);
}

void gen_load_address(struct codebuf *c, uint64_t address, const struct fetch_step *load)
{
	x86_mov_imm(c, RCX, address);
	load_direct(c, x86_at(RCX, 0), load);
}

/* ---- what enters C ---- */

static void gen_call(struct codebuf *c, void *const *entry)
{
	x86_call_mem(c, x86_rip(entry));
}

void gen_match(struct codebuf *c, void *const *entry, const struct fetch_literal *literal, unsigned how, uint32_t fault)
{
	x86_mov_imm(c, RCX, how);
	x86_mov_imm(c, RDI, (uintptr_t)literal);
	x86_mov_imm(c, RSI, (uintptr_t)c->image);
	gen_call(c, entry);
	x86_jcc(c, X86_NE, fault);
}

void gen_string(struct codebuf *c, uint32_t how)
{
	x86_push(c, RDI);
	x86_mov_imm(c, RDI, (uintptr_t)c->image);
	x86_mov_imm(c, RCX, how);
	gen_call(c, &c->table->string);
	x86_pop(c, RDI);
	x86_mov(c, RDX, RAX);
}

void gen_hash(struct codebuf *c, uint32_t fault)
{
	x86_mov_imm(c, RDI, (uintptr_t)c->image);
	gen_call(c, &c->table->hash);
	x86_jcc(c, X86_NE, fault);
}

/* ---- calls ---- */

static void gen_call_arguments(struct codebuf *c, const struct trampoline_consumer *consumer)
{
	x86_mov_imm(c, RDI, (uint64_t)consumer->program->fetch.match << 32 | consumer->slot);
	x86_mov(c, RSI, RBX);
	x86_mov_imm(c, RDX, consumer->call);
}

void gen_call_begin(struct codebuf *c, const struct trampoline_consumer *consumer)
{
	gen_call_arguments(c, consumer);
	gen_call(c, &c->table->begin);
	x86_mov(c, RSI, RAX);
}

/* Pushes the call. Its words are below all values. */
void gen_call_find(struct codebuf *c, const struct trampoline_consumer *consumer, uint32_t none)
{
	gen_call_arguments(c, consumer);
	gen_call(c, &c->table->end);
	x86_test(c, RAX, RAX);
	x86_jcc(c, X86_E, none);
	x86_push(c, RAX);
	c->extra = 1;
}

void gen_call_done(struct codebuf *c)
{
	x86_pop(c, RAX);
	c->extra = 0;
	x86_movl_store_imm(c, x86_at(RAX, offsetof(struct agent_call, state)), CALL_NONE);
}

void gen_duration(struct codebuf *c, unsigned words)
{
	x86_mov_load(c, RAX, x86_at(RSP, (int32_t)(c->key + 8 * words)));
	x86_mov_load(c, RAX, x86_indirect(RAX));
}

void gen_entry(struct codebuf *c, unsigned words, unsigned i, uint32_t fault)
{
	x86_mov_load(c, RAX, x86_at(RSP, (int32_t)(c->key + 8 * words)));
	x86_testl_mem_imm(c, x86_at(RAX, offsetof(struct agent_call, words_faults)), 1u << (8 + i));
	x86_jcc(c, X86_NE, fault);
	x86_mov_load(c, RAX, x86_at(RAX, VALUE(i)));
}

void gen_argument(struct codebuf *c, unsigned i)
{
	x86_mov_store(c, x86_at(RSI, VALUE(i)), RAX);
}

void gen_frame_address(struct codebuf *c, int32_t offset)
{
	x86_lea(c, RAX, x86_at(RSP, offset + STACK_OFFSET + (int32_t)(c->key + 8 * c->extra)));
}

void gen_load_call(struct codebuf *c, const struct stub *stub)
{
	x86_mov_imm(c, RCX, stub->size);
	gen_call(c, &c->table->load);
	x86_jcc(c, X86_NE, stub->fault);
	extend_low(c, stub->size, stub->is_signed);
}

void gen_argument_fault(struct codebuf *c, unsigned i)
{
	x86_orl_mem_imm(c, x86_at(RSI, offsetof(struct shared_record, words_faults)), 1u << (8 + i));
	x86_mov_store_imm(c, x86_at32(RSI, VALUE(i)), 0);
}

void gen_discard(struct codebuf *c, unsigned words)
{
	if (words)
		x86_lea(c, RSP, x86_at(RSP, 8 * words));
}

/* ---- aggregates ---- */

void gen_key_begin(struct codebuf *c, unsigned size)
{
	x86_lea(c, RSP, x86_at(RSP, -(int32_t)size));
	c->key = size;
}

void gen_key_end(struct codebuf *c)
{
	x86_lea(c, RSP, x86_at(RSP, c->key));
	c->key = 0;
}

void gen_key(struct codebuf *c, unsigned offset)
{
	x86_mov_store(c, x86_at(RSP, offset), RAX);
}

void gen_key_string(struct codebuf *c, void *const *entry, unsigned offset, uint32_t fault)
{
	x86_mov_imm(c, RDI, (uintptr_t)c->image);
	x86_lea(c, RSI, x86_at(RSP, offset));
	gen_call(c, entry);
	x86_jcc(c, X86_NE, fault);
}

void gen_key_stack(struct codebuf *c, unsigned offset)
{
	x86_lea(c, RSI, x86_at(RSP, offset));
	gen_call(c, &c->table->keystack);
}

void gen_aggregate(struct codebuf *c, const struct hit_group *group, const struct agg_column *column, unsigned what)
{
	x86_mov_imm(c, RDI, (uintptr_t)group);
	x86_mov(c, RSI, RSP);
	x86_mov_imm(c, RDX, (uintptr_t)column);
	x86_mov_imm(c, RCX, what);
	gen_call(c, &c->table->aggregate);
}

/* rcx = the bucket of rax. Jumps if rax is in one that is rare: below 0, or 0 for powers of two. */
static void gen_bucket(struct codebuf *c, const struct agg_column *column, uint32_t stub)
{
	uint32_t exact = codebuf_label(c);

	x86_test(c, RAX, RAX);
	if (column->histogram == AGG_LOG2)
		x86_jcc(c, column->is_unsigned ? X86_E : X86_LE, stub);
	else if (!column->is_unsigned)
		x86_jcc(c, X86_L, stub);
	if (column->histogram == AGG_LOG2) {
		x86_bsr(c, RCX, RAX);
		x86_lea(c, RCX, x86_at(RCX, 2));
		return;
	}
	/* 1 + v up to 63, then 1 + 32 * (log - 5) + (v >> (log - 5)): agg_bucket() in fewer steps */
	x86_mov(c, RDX, RAX);
	x86_xorl(c, RCX, RCX);
	x86_cmp_imm8(c, RAX, 64);
	x86_jcc(c, X86_B, exact);
	x86_bsr(c, RCX, RAX);
	x86_lea(c, RCX, x86_at(RCX, -5));
	x86_shr_cl(c, RDX);
	x86_shl_imm(c, RCX, 5);
	codebuf_here(c, exact);
	x86_lea(c, RCX, x86_sum_at32(RCX, RDX, 1));
}

/* rcx = (rcx ^ word) * rdx, then rcx ^= rcx >> 29: see key_hash_word() */
static void gen_hash_word(struct codebuf *c, int word)
{
	if (word != X86_NO_INDEX)
		x86_xor(c, RCX, word);
	x86_imul(c, RCX, RDX);
	x86_mov(c, RSI, RCX);
	x86_shr_imm(c, RSI, KEY_HASH_SHIFT);
	x86_xor(c, RCX, RSI);
}

/*
 * rcx = the offset of the key in the hash table. Its first word is first, and if there are buckets, what is at the
 * stack pointer, and in rcx. rdi: its second word, if it has one.
 */
static void gen_key_hash(struct codebuf *c, const struct hit_table *table, uint64_t first, bool buckets, bool second)
{
	uint64_t hash = key_hash_word(0, first);

	if (!buckets && !second) {
		x86_mov_imm(c, RCX, 4 * (key_hash_end(hash) >> table->shift));
		return;
	}
	x86_mov_imm(c, RDX, KEY_HASH_FACTOR);
	if (buckets)
		gen_hash_word(c, X86_NO_INDEX);
	else
		x86_mov_imm(c, RCX, hash);
	if (second)
		gen_hash_word(c, RDI);
	x86_imul(c, RCX, RDX);
	x86_shr_imm(c, RCX, table->shift);
	x86_shl_imm(c, RCX, 2);
}

/* Adds rax to the cell at rsi, or jumps if that changes its least or greatest value. */
static void gen_cell_add(struct codebuf *c, bool is_unsigned, uint32_t stub)
{
	x86_mov(c, RCX, RAX);
	if (!is_unsigned) {
		x86_mov_imm(c, RDX, 1ull << 63);
		x86_xor(c, RCX, RDX);
	}
	x86_cmp_load(c, RCX, x86_at(RSI, offsetof(struct shared_cell, high)));
	x86_jcc(c, X86_A, stub);
	x86_not(c, RCX);
	x86_cmp_load(c, RCX, x86_at(RSI, offsetof(struct shared_cell, low)));
	x86_jcc(c, X86_A, stub);
	x86_add_mem(c, x86_at(RSI, offsetof(struct shared_cell, sum)), RAX);
	x86_inc_mem(c, x86_at(RSI, offsetof(struct shared_cell, count)));
}

/* Other processes can write to the table: the number that is found there is checked before it is used. */
bool gen_aggregate_near(struct codebuf *c, const struct hit_group *group, const struct agg_column *column,
                        unsigned what, uint32_t stub)
{
	const struct hit_table *table = group->table;
	const uint64_t first = group->group | (uint64_t)(what & 255) << 32;
	const bool second = what >> 8 == 2, buckets = column->histogram != AGG_PLAIN;
	uint32_t max = table->ncells;

	if (table->first >= AGENT_RING_CELLS)
		return false;
	if (max > AGENT_RING_CELLS - table->first)
		max = AGENT_RING_CELLS - table->first;
	if (buckets) {
		gen_bucket(c, column, stub);
		x86_shl_imm(c, RCX, 48);
		x86_mov_imm(c, RDX, first);
		x86_or(c, RCX, RDX);
		x86_mov_store(c, x86_at(RSP, 0), RCX);
	}
	if (second)
		x86_mov_load(c, RDI, x86_at(RSP, sizeof(first)));
	gen_key_hash(c, table, first, buckets, second);
	x86_mov_imm(c, RDX, (uintptr_t)table->index);
	x86_movl_load(c, RSI, x86_sum(RDX, RCX));
	x86_lea(c, RSI, x86_at(RSI, -1));
	x86_cmp_imm(c, RSI, max);
	x86_jcc(c, X86_AE, stub);
	x86_imul_imm(c, RCX, RSI, table->key_size);
	x86_mov_imm(c, RDX, (uintptr_t)table->keys);
	x86_add(c, RCX, RDX);
	if (buckets)
		x86_mov_load(c, RDX, x86_at(RSP, 0));
	else
		x86_mov_imm(c, RDX, first);
	x86_cmp_load(c, RDX, x86_at(RCX, 0));
	x86_jcc(c, X86_NE, stub);
	if (second) {
		x86_cmp_load(c, RDI, x86_at(RCX, sizeof(first)));
		x86_jcc(c, X86_NE, stub);
	}
	x86_shl_imm(c, RSI, 5);
	x86_lea(c, RSI, x86_sum_at32(RBX, RSI, AGENT_CELLS_IN_RING + table->first * sizeof(struct shared_cell)));
	gen_cell_add(c, column->is_unsigned, stub);
	return true;
}

void gen_unread(struct codebuf *c, const struct hit_group *group, unsigned first, unsigned n)
{
	x86_mov_imm(c, RDI, (uintptr_t)group);
	x86_mov_imm(c, RDX, n);
	x86_mov_imm(c, RCX, first);
	gen_call(c, &c->table->unread);
}

void gen_cpu(struct codebuf *c, uint32_t fault)
{
	uint32_t known = codebuf_label(c);

	if (agent.rseq_at) {
		x86_movl_load(c, RAX, x86_fs(agent.rseq_at + RSEQ_CPU));
		x86_cmpl_eax_imm(c, INT32_MAX); /* a thread that has not registered it has a negative number there */
		x86_jcc(c, X86_BE, known);
	}
	gen_call(c, &c->table->cpu);
	x86_jcc(c, X86_NE, fault);
	codebuf_here(c, known);
}

/* ---- rings and records ---- */

void gen_ring(struct codebuf *c, unsigned shm, uint32_t none)
{
	x86_mov_load(c, RBX, thread_field(offsetof(struct hit_thread, ring) + shm * sizeof(void *)));
	x86_test(c, RBX, RBX);
	x86_jcc(c, X86_E, none);
}

void gen_ring_take(struct codebuf *c, unsigned shm, uint32_t taken)
{
	x86_mov_imm(c, RDI, shm);
	gen_call(c, &c->table->take);
	x86_mov(c, RBX, RAX);
	x86_test(c, RBX, RBX);
	x86_jcc(c, X86_NE, taken);
}

void gen_time(struct codebuf *c)
{
	x86_rdtsc(c);
	x86_shl_imm(c, RDX, 32);
	x86_lea(c, RDI, x86_sum(RDX, RAX));
}

void gen_time_call(struct codebuf *c, void *const *entry)
{
	gen_call(c, entry);
	x86_mov(c, RDI, RAX);
}

void gen_time_check(struct codebuf *c, const struct agent_shm *shm, uint32_t late)
{
	x86_mov_imm(c, RCX, (uintptr_t)&shm->record_until);
	x86_cmp_load(c, RDI, x86_indirect(RCX));
	x86_jcc(c, X86_AE, late);
}

void gen_never_check(struct codebuf *c, const struct agent_shm *shm, uint32_t late)
{
	x86_mov_imm(c, RCX, (uintptr_t)&shm->record_until);
	x86_cmp_mem_imm8(c, x86_indirect(RCX), 0);
	x86_jcc(c, X86_E, late);
}

void gen_reserve(struct codebuf *c, unsigned words, uint32_t retry, uint32_t full)
{
	x86_mov_load(c, RAX, x86_at(RBX, offsetof(struct agent_ring, head)));
	x86_lea(c, RCX, x86_at(RAX, 8 * words));
	x86_cmp_load(c, RCX, x86_at(RBX, offsetof(struct agent_ring, limit)));
	x86_jcc(c, X86_A, full);
	x86_cmpxchg(c, x86_at(RBX, offsetof(struct agent_ring, head)), RCX);
	x86_jcc(c, X86_NE, retry);
	x86_andl_load(c, RAX, thread_field(offsetof(struct hit_thread, mask) + c->consumer->index * sizeof(uint32_t)));
	x86_lea(c, RSI, x86_sum_at32(RBX, RAX, AGENT_DATA_IN_RING));
}

void gen_ring_room(struct codebuf *c, const struct agent_shm *shm, uint32_t retry, uint32_t lost)
{
	x86_mov_imm(c, RCX, (uintptr_t)&shm->overwrite);
	x86_cmpl_mem_imm8(c, x86_indirect(RCX), 0);
	x86_jcc(c, X86_E, lost);
	x86_push(c, RDI);
	x86_mov(c, RDI, RBX);
	gen_call(c, &c->table->room);
	x86_pop(c, RDI);
	x86_jcc(c, X86_E, retry);
}

void gen_record(struct codebuf *c, unsigned words, uint32_t slot)
{
	x86_mov_store_imm(c, x86_indirect(RSI), words);
	x86_movl_store_imm(c, x86_at(RSI, offsetof(struct shared_record, point_words)), slot);
	x86_movl_store_imm(c, x86_at(RSI, offsetof(struct shared_record, words_faults)), words & 255);
}

void gen_strings(struct codebuf *c, unsigned offset)
{
	x86_lea(c, RDX, x86_at(RSI, offset));
}

void gen_shrink(struct codebuf *c, unsigned words)
{
	x86_push(c, RDI);
	x86_mov(c, RDI, RBX);
	x86_mov_imm(c, RCX, words);
	gen_call(c, &c->table->shrink);
	x86_pop(c, RDI);
}

void gen_publish(struct codebuf *c)
{
	x86_mov_store(c, x86_indirect(RSI), RDI);
}

void gen_count(struct codebuf *c, uint32_t slot, size_t counter)
{
	x86_inc_mem(c, x86_at32(RBX, AGENT_COUNTS_IN_RING + slot * sizeof(struct agent_count) + counter));
}

void gen_count_shared(struct codebuf *c, const struct trampoline_consumer *consumer, size_t counter)
{
	x86_mov_imm(c, RCX,
	            (uintptr_t)consumer->shm + shm_overflow_at + consumer->slot * sizeof(struct agent_count) + counter);
	x86_lock_inc_mem(c, x86_indirect(RCX));
}

/* ---- sampling ---- */

#define COUNT_AT(name) x86_at(RSI, offsetof(struct agent_count, name))

void gen_every(struct codebuf *c, const struct trampoline_consumer *consumer, bool has_ring, uint32_t unsampled)
{
	const struct fetch_sample *sample = &consumer->program->fetch.sample;

	if (has_ring)
		x86_lea(c, RSI, x86_at32(RBX, AGENT_COUNTS_IN_RING + consumer->slot * sizeof(struct agent_count)));
	else
		x86_mov_imm(c, RSI,
		            (uintptr_t)consumer->shm + shm_overflow_at + consumer->slot * sizeof(struct agent_count));
	x86_mov_load(c, RAX, COUNT_AT(idle));
	x86_add_load(c, RAX, COUNT_AT(recorded));
	x86_add_load(c, RAX, COUNT_AT(lost));
	x86_lea(c, RAX, x86_at(RAX, 1));
	if (!sample->rate) {
		x86_imul_imm(c, RAX, RAX, sample->every - 1);
		x86_cmp_load(c, RAX, COUNT_AT(unsampled));
		x86_jcc(c, X86_A, unsampled);
		return;
	}
	x86_add_load(c, RAX, COUNT_AT(unsampled));
	x86_mov_imm(c, RCX, sample->every);
	x86_xorl(c, RDX, RDX);
	x86_div(c, RCX);
	x86_test(c, RDX, RDX);
	x86_jcc(c, X86_NE, unsampled);
}

void gen_token(struct codebuf *c, struct hit_bucket *bucket, uint32_t unsampled)
{
	x86_mov_imm(c, RSI, (uintptr_t)bucket);
	x86_cmp_load(c, RDI, x86_indirect(RSI));
	x86_jcc(c, X86_B, unsampled);
	gen_call(c, &c->table->token);
	x86_jcc(c, X86_NE, unsampled);
}

/* ---- the CPU ---- */

int32_t trampoline_tls(size_t offset)
{
	char *at = (char *)&agent_thread;

	/* Hides the symbol: linkers can relax its address, but not the sum with a constant. */
	__asm__("" : "+r"(at));
	return at - (char *)__builtin_thread_pointer() + offset;
}

bool trampoline_cpu_ok(void)
{
	unsigned a, b, c, d;

	return __get_cpuid(0x80000001, &a, &b, &c, &d) && (c & 1); /* lahf in 64-bit mode */
}

bool trampoline_clock_invariant(void)
{
	static int8_t known = -1;
	unsigned a, b, c, d;
	int tsc = 0;

	if (known < 0)
		known = __get_cpuid(0x80000007, &a, &b, &c, &d) && (d & 1u << 8) &&
		        !cpu_call(SYS_prctl, PR_GET_TSC, (long)&tsc, 0, 0, 0, 0) && tsc == PR_TSC_ENABLE;
	return known;
}
