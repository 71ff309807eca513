/* SPDX-License-Identifier: MIT */
/*
 * Trampolines for aarch64.
 *
 * The program being probed knows nothing of the branch, so everything is kept: the
 * flags by mrs and msr, the registers below in a frame of our own. There is no red
 * zone. Vector registers are not touched; what calls C is in entry-aarch64.c.
 *
 *     x0     top of the program's stack; the rest of it is in the frame
 *     x1 x2  second operand, scratch
 *     x3     where the next string goes
 *     x4     the thread's ring
 *     x5 x6  the record; its time
 *     x30    is the program's, but for the moment of a call
 *
 * At each step the program's depth is known, and so the place in the frame of each
 * value below the top:
 *
 *     sp + 8 * i      value i from the bottom
 *     c->frame - 80   x0 to x6 and the flags, then x30 while something is called
 *     c->frame        the program's stack pointer
 *
 * Space in the ring is taken by an exclusive load and store. The ring is the
 * thread's, but a signal handler's record may come in the middle: a return from it
 * ends the exclusive access, so that the store fails and is tried again. For the
 * same reason counters are increased by one atomic instruction where the CPU has
 * them, by a pair where not, though no other thread writes there. (A site between
 * the program's own ldxr and stxr would make these fail for ever; no compiler puts
 * one there, and a breakpoint would do the same.)
 *
 * The time is written last, and with release: the reader of it sees the rest.
 */
#include <probepoint.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "runtime/agent/inproc/asm-aarch64.h"

#define SAVED 80
#define FRAME 256 /* bytes from the stack pointer on that are loaded directly, where they are in its page */
#define HWCAP_ATOMIC (1u << 8)
#define HWCAP_VECTORS (1u << 22) /* SVE */

_Static_assert(AGENT_RING_SIZE == 256u << 10, "and_ring()");
_Static_assert(RECORD_SIZE_MAX < 4096, "an immediate of 12 bits");

/* ---- calls and registers of the program ---- */

/* What is called keeps all but x0 and x1. */
static void call_table(struct code *c, void *const *entry)
{
	uint32_t offset;

	str(c, X30, SP, c->frame - 16);
	offset = page_of(c, X30, entry);
	ldr(c, X30, X30, offset);
	put(c, 0xd63f0000 | X30 << 5); /* blr */
	ldr(c, X30, SP, c->frame - 16);
}

/* A register of the program's. */
static void get(struct code *c, unsigned to, unsigned reg)
{
	if (reg == PC)
		set(c, to, c->site);
	else if (reg == SP)
		add(c, to, SP, c->frame);
	else if (reg <= X6)
		ldr(c, to, SP, c->frame - SAVED + 8 * reg);
	else
		move(c, to, reg);
}

/* x0 = size bytes of x0, from a bit on */
static void extend(struct code *c, unsigned size, unsigned bit, bool is_signed)
{
	put(c, (is_signed ? 0x93400000 : 0xd3400000) | bit << 16 | (bit + 8 * size - 1) << 10 | X0 << 5 | X0);
}

/* x0 = size bytes at base + offset, which is not negative */
static void load_direct(struct code *c, unsigned base, uint32_t offset, unsigned size, bool is_signed)
{
	static const uint32_t opcode[9][2] = {
		[1] = { 0x39400000, 0x39800000 },
		[2] = { 0x79400000, 0x79800000 },
		[4] = { 0xb9400000, 0xb9800000 },
		[8] = { 0xf9400000, 0xf9400000 },
	};

	if (offset % size || offset / size > 4095) {
		add(c, X1, base, offset);
		base = X1;
		offset = 0;
	}
	put(c, opcode[size][is_signed] | offset / size << 10 | base << 5 | X0);
}

/* ---- steps ---- */

/* x0 = what is at x0: directly where that is on the thread's stack, at or above the stack pointer. */
static void load_checked(struct body *body, const struct fetch_step *step)
{
	struct code *c = body->c;
	uint32_t back = code_label(c), fault = body_fault(body, 0), slow;

	slow = code_stub(c, (struct stub){
				    .kind = STUB_LOAD,
				    .size = step->a,
				    .is_signed = step->c,
				    .back = back,
				    .fault = fault,
			    });
	add(c, X1, SP, c->frame);
	compare(c, X0, X1);
	b_if(c, LO, slow);
	thread_pointer(c, X2);
	load_tls(c, X1, X2, offsetof(struct thread, sure_low), 8);
	put(c, 0xeb206000 | X1 << 16 | SP << 5 | XZR); /* cmp sp, x1 */
	b_if(c, LO, slow);
	load_tls(c, X1, X2, offsetof(struct thread, sure_last), 8);
	compare(c, X0, X1);
	b_if(c, HI, slow);
	load_direct(c, X0, 0, step->a, step->c);
	code_here(c, back);
}

/* x0 = x0 op x1 */
static void binary(struct code *c, const struct fetch_step *step)
{
	static const uint32_t simple[] = {
		[FETCH_ADD] = ADD, [FETCH_SUB] = SUB, [FETCH_MUL] = MUL,  [FETCH_AND] = AND,
		[FETCH_OR] = ORR,  [FETCH_XOR] = EOR, [FETCH_SHL] = LSLV,
	};

	switch (step->op) {
	case FETCH_DIV: op(c, step->c ? SDIV : UDIV, X0, X0, X1); break;
	case FETCH_MOD:
		op(c, step->c ? SDIV : UDIV, X2, X0, X1);
		op(c, MSUB | X0 << 10, X0, X2, X1);
		compare(c, X1, XZR);
		op(c, CSEL | EQ << 12, X0, XZR, X0);
		break;
	case FETCH_SHR: op(c, step->c ? ASRV : LSRV, X0, X0, X1); break;
	case FETCH_EQ:
	case FETCH_NE:
		compare(c, X0, X1);
		set_if(c, X0, step->op == FETCH_EQ ? EQ : NE);
		break;
	case FETCH_LT:
		compare(c, X0, X1);
		set_if(c, X0, step->c ? LT : LO);
		break;
	case FETCH_LE:
		compare(c, X0, X1);
		set_if(c, X0, step->c ? LE : LS);
		break;
	default: op(c, simple[step->op], X0, X0, X1);
	}
}

/*
 * A load above the stack pointer, directly if it lies in the page of the byte below,
 * which the trampoline has written: a stack may end right here.
 */
static void load_frame(struct body *body, int32_t offset, const struct fetch_step *load)
{
	struct code *c = body->c;
	uint32_t back = code_label(c), slow;

	slow = code_stub(c, (struct stub){
				    .kind = STUB_LOAD_FRAME,
				    .size = load->a,
				    .is_signed = load->c,
				    .offset = offset,
				    .back = back,
				    .fault = body_fault(body, 0),
			    });
	add(c, X1, SP, c->frame - 1);
	put(c, 0x92400000 | 11 << 10 | X1 << 5 | X1);                           /* and x1, x1, 4095 */
	put(c, 0xf1000000 | (4095 - (offset + load->a)) << 10 | X1 << 5 | XZR); /* cmp x1, # */
	b_if(c, HI, slow);
	load_direct(c, SP, c->frame + offset, load->a, load->c);
	code_here(c, back);
}

/* Addresses known now, or known to be in the function's frame, need no call. How many steps that took, or 0. */
static size_t load_known(struct body *body, size_t i, size_t end)
{
	const struct fetch_step *s = &body->p->steps[i], *load;
	int64_t offset;
	size_t n = body_load_beside(body, i, end, &load, &offset);
	struct code *c = body->c;

	if (!n)
		return 0;
	if (s->a == SP && offset >= 0 && offset <= FRAME - load->a) {
		load_frame(body, offset, load);
		return n;
	}
	if (s->a == PC && image_has(c->image, c->site + offset, load->a)) {
		set(c, X1, c->site + offset);
		load_direct(c, X1, 0, load->a, load->c);
		return n;
	}
	return 0;
}

static void literal_call(struct body *body, const struct fetch_step *step, void *const *entry, bool prefix)
{
	struct code *c = body->c;

	set(c, X1, (uintptr_t)&body->p->literals[step->a]);
	set(c, X2, (uintptr_t)c->image);
	set(c, X3, prefix);
	call_table(c, entry);
	cbnz(c, X1, body_fault(body, 0));
}

size_t trampoline_step(struct body *body, size_t i, size_t end)
{
	const struct fetch_step *s = &body->p->steps[i];
	unsigned depth = body->depths[i];
	struct code *c = body->c;
	size_t known;

	switch (s->op) {
	case FETCH_IMM:
	case FETCH_REG:
		known = s->op == FETCH_REG ? load_known(body, i, end) : 0;
		if (known)
			return i + known;
		if (depth && i + 1 < end && step_is_binary(s[1].op) && !c->is_target[i + 1]) {
			if (s->op == FETCH_IMM)
				set(c, X1, s->value);
			else
				get(c, X1, s->a);
			binary(c, &s[1]);
			return i + 2;
		}
		if (depth)
			str(c, X0, SP, 8 * (depth - 1));
		if (s->op == FETCH_IMM)
			set(c, X0, s->value);
		else
			get(c, X0, s->a);
		break;
	case FETCH_EXTEND: extend(c, s->a, s->b, s->c); break;
	case FETCH_LOAD: load_checked(body, s); break;
	case FETCH_ARG: str(c, X0, X5, VALUE(s->a)); break;
	case FETCH_STRING:
		set(c, X1, (uintptr_t)c->image);
		set(c, X2, s->a);
		call_table(c, &c->table->string);
		move(c, X3, X0);
		break;
	case FETCH_NOT:
		compare(c, X0, XZR);
		set_if(c, X0, EQ);
		break;
	case FETCH_NEG: op(c, SUB, X0, XZR, X0); break;
	case FETCH_COM: op(c, ORN, X0, XZR, X0); break;
	case FETCH_PID:
		if (depth)
			str(c, X0, SP, 8 * (depth - 1));
		load_near_word(c, X0, &c->life->pid);
		break;
	case FETCH_TID:
		if (depth)
			str(c, X0, SP, 8 * (depth - 1));
		thread_pointer(c, X0);
		load_tls(c, X0, X0, offsetof(struct thread, tid), 4);
		break;
	case FETCH_JZ:
	case FETCH_JNZ:
		if (s->op == FETCH_JZ)
			cbz(c, X0, c->step_label[s->value]);
		else
			cbnz(c, X0, c->step_label[s->value]);
		if (depth > 1)
			ldr(c, X0, SP, 8 * (depth - 2));
		break;
	case FETCH_STREQ:
	case FETCH_PREFIX: literal_call(body, s, &c->table->match, s->op == FETCH_PREFIX); break;
	case FETCH_COMMEQ:
	case FETCH_COMMPREFIX:
		if (depth)
			str(c, X0, SP, 8 * (depth - 1));
		literal_call(body, s, &c->table->comm, s->op == FETCH_COMMPREFIX);
		break;
	case FETCH_TEST: cbz(c, X0, body->filtered); break;
	default:
		move(c, X1, X0);
		ldr(c, X0, SP, 8 * (depth - 2));
		binary(c, s);
	}
	return i + 1;
}

static void stubs(struct code *c)
{
	for (uint32_t i = 0; i < c->nstubs && !c->bad; i++) {
		const struct stub *s = &c->stubs[i];

		code_here(c, s->label);
		switch (s->kind) {
		case STUB_LOAD_FRAME:
			add(c, X0, SP, c->frame + s->offset);
			/* fall through */
		case STUB_LOAD:
			set(c, X1, s->size);
			call_table(c, &c->table->load);
			cbnz(c, X1, s->fault);
			extend(c, s->size, 0, s->is_signed);
			break;
		case STUB_FAULT_ARGUMENT:
			put(c, 0xb9400000 | 12 / 4 << 10 | X5 << 5 | X1); /* ldr w1, [x5, 12] */
			set(c, X2, 1u << (8 + s->argument));
			op(c, ORR, X1, X1, X2);
			put(c, 0xb9000000 | 12 / 4 << 10 | X5 << 5 | X1); /* str */
			str(c, XZR, X5, VALUE(s->argument));
			break;
		}
		b(c, s->back);
	}
	c->nstubs = 0;
}

/* ---- one consumer ---- */

static bool has_atomics(void)
{
	return getauxval(AT_HWCAP) & HWCAP_ATOMIC;
}

/* One more at x1. */
static void increase(struct code *c)
{
	uint32_t again = code_label(c);

	if (has_atomics()) {
		set(c, X2, 1);
		op(c, 0xf8200000, X0, X1, X2); /* ldadd x2, x0, [x1] */
		return;
	}
	code_here(c, again);
	put(c, 0xc85f7c00 | X1 << 5 | X0); /* ldxr x0, [x1] */
	add(c, X0, X0, 1);
	op(c, 0xc8007c00, X0, X1, X2);   /* stxr w2, x0, [x1] */
	jump(c, 0x35000000 | X2, again); /* cbnz w2 */
}

static void count(struct code *c, uint32_t slot, size_t which)
{
	set(c, X1, AGENT_COUNTS_IN_RING + slot * sizeof(struct agent_count) + which);
	op(c, ADD, X1, X1, X4);
	increase(c);
}

static void count_shared(struct code *c, const struct trampoline_consumer *consumer, size_t which)
{
	set(c, X1, (uintptr_t)consumer->shm + shm_overflow_at + consumer->slot * sizeof(struct agent_count) + which);
	increase(c);
}

/* x6 = the time; jumps where that is too late to record. has_ring: the thread may read the clock. */
static void take_time(struct code *c, const struct trampoline_consumer *consumer, uint32_t idle, bool has_ring)
{
	if (!has_ring) {
		call_table(c, &c->table->late);
		move(c, X6, X0);
	} else if (trampoline_clock_invariant()) {
		put(c, 0xd53be040 | X6); /* mrs x6, cntvct_el0 */
	} else {
		call_table(c, &c->table->now);
		move(c, X6, X0);
	}
	set(c, X1, (uintptr_t)&consumer->shm->record_until);
	ldr(c, X1, X1, 0);
	compare(c, X6, X1);
	b_if(c, HS, idle);
}

/* x5 = the record, of so many words. */
static void reserve(struct code *c, unsigned words, uint32_t begin, uint32_t full)
{
	uint32_t again = code_label(c);

	code_here(c, begin);
	add(c, X1, X4, offsetof(struct agent_ring, head));
	ldr(c, X2, X4, offsetof(struct agent_ring, limit));
	code_here(c, again);
	put(c, 0xc85f7c00 | X1 << 5 | X0); /* ldxr x0, [x1] */
	add(c, X5, X0, 8 * words);
	compare(c, X5, X2);
	b_if(c, HI, full);
	op(c, 0xc8007c00, X5, X1, X3); /* stxr w3, x5, [x1] */
	jump(c, 0x35000000 | X3, again);
	put(c, 0x92400000 | 61 << 16 | 14 << 10 | X0 << 5 | X0); /* and x0, x0, AGENT_RING_SIZE - 8 */
	op(c, ADD, X5, X4, X0);
	add(c, X5, X5, AGENT_DATA_IN_RING);
}

static void consume(struct code *c, const struct trampoline_consumer *consumer)
{
	const struct fetch_program *p = &consumer->program->fetch;
	uint32_t have = code_label(c), take = code_label(c), again = code_label(c), full = code_label(c),
		 next = code_label(c);
	uint32_t filtered = code_label(c), idle = code_label(c), lost = code_label(c);
	uint32_t shared_filtered = code_label(c), shared_idle = code_label(c);
	unsigned nstrings = 0, words;

	for (size_t i = 0; i < p->nargs; i++)
		nstrings += p->steps && p->kind[i] == PP_STRING;
	words = 2 + p->nargs + nstrings * (RECORD_STRING_CUT / 8);

	thread_pointer(c, X4);
	load_tls(c, X4, X4, offsetof(struct thread, ring) + consumer->index * sizeof(void *), 8);
	cbz(c, X4, take);
	code_here(c, have);
	code_predicate(c, consumer->program, filtered);
	take_time(c, consumer, idle, true);
	reserve(c, words, again, full);
	set(c, X1, words);
	str(c, X1, X5, 0);
	set(c, X1, (uint64_t)words << 32 | consumer->slot);
	str(c, X1, X5, 8);
	if (nstrings)
		add(c, X3, X5, VALUE(p->nargs));
	code_arguments(c, consumer->program);
	if (nstrings) {
		set(c, X1, words);
		call_table(c, &c->table->shrink);
	}
	put(c, 0xc89ffc00 | X5 << 5 | X6); /* stlr x6, [x5] */
	count(c, consumer->slot, RECORDED);
	b(c, next);

	stubs(c);
	code_here(c, filtered);
	count(c, consumer->slot, FILTERED);
	b(c, next);
	code_here(c, idle);
	count(c, consumer->slot, IDLE);
	b(c, next);
	code_here(c, full);
	set(c, X1, (uintptr_t)&consumer->shm->overwrite);
	ldr(c, X1, X1, 0); /* with what is reserved beside it, 0 */
	cbz(c, X1, lost);
	call_table(c, &c->table->room);
	cbz(c, X1, again);
	code_here(c, lost);
	count(c, consumer->slot, LOST);
	b(c, next);

	code_here(c, take);
	set(c, X1, consumer->index);
	call_table(c, &c->table->take);
	move(c, X4, X0);
	cbnz(c, X4, have);
	code_predicate(c, consumer->program, shared_filtered);
	take_time(c, consumer, shared_idle, false);
	count_shared(c, consumer, LOST);
	b(c, next);
	code_here(c, shared_idle);
	count_shared(c, consumer, IDLE);
	b(c, next);
	stubs(c);
	code_here(c, shared_filtered);
	count_shared(c, consumer, FILTERED);
	code_here(c, next);
}

static uint32_t deepest(const struct trampoline_consumer *consumers, size_t n)
{
	uint32_t depth = 0;

	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < consumers[i].program->fetch.nsteps; k++)
			if (consumers[i].program->depths[k] > depth)
				depth = consumers[i].program->depths[k];
	return depth;
}

static bool resolve(struct code *c)
{
	for (uint32_t i = 0; i < c->njumps; i++) {
		int32_t to = c->labels[c->jumps[i].label], distance = (to - (int32_t)c->jumps[i].at) / 4;
		uint32_t instruction;

		if (to < 0)
			return false;
		memcpy(&instruction, c->bytes + c->jumps[i].at, 4);
		if (instruction >> 26 == 5)
			instruction |= distance & 0x3ffffff;
		else
			instruction |= (distance & 0x7ffff) << 5;
		memcpy(c->bytes + c->jumps[i].at, &instruction, 4);
	}
	return true;
}

size_t trampoline_make(uint8_t code[TRAMPOLINE_MAX], uintptr_t at, uintptr_t site,
                       const struct trampoline_consumer *consumers, size_t n, const struct image *image,
                       const struct trampoline_table *table, const struct life *life)
{
	struct code *c = code_begin(code, at, site, consumers, n, image, table, life);
	uint32_t end, saved;
	int64_t back;

	if (!c)
		return 0;
	end = code_label(c);
	saved = (deepest(consumers, n) + 1) / 2 * 16;
	c->frame = saved + SAVED;
	put(c, 0xd1000000 | c->frame << 10 | SP << 5 | SP); /* sub sp, sp, frame */
	stp(c, X0, X1, saved);
	stp(c, X2, X3, saved + 16);
	put(c, 0xd53b4200 | X0); /* mrs x0, nzcv */
	stp(c, X4, X5, saved + 32);
	stp(c, X6, X0, saved + 48);
	load_near_word(c, X1, &life->alive);
	cbz(c, X1, end);
	for (size_t i = 0; i < n && !c->bad; i++)
		consume(c, &consumers[i]);
	code_here(c, end);
	ldp(c, X6, X0, saved + 48);
	ldp(c, X4, X5, saved + 32);
	put(c, 0xd51b4200 | X0); /* msr nzcv, x0 */
	ldp(c, X2, X3, saved + 16);
	ldp(c, X0, X1, saved);
	add(c, SP, SP, c->frame);
	back = (int64_t)(site + SITE_NOP - (at + c->n)) >> 2;
	put(c, 0x14000000 | (back & 0x3ffffff));
	if (c->bad || back != (int32_t)((uint32_t)back << 6) >> 6 || !resolve(c))
		return 0;
	return c->n;
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

/* Its counter always is; newer kernels can take it from a process. */
bool trampoline_clock_invariant(void)
{
	static int8_t known = -1;
	int tsc = 0;

	if (known < 0)
		known = cpu_call(SYS_prctl, PR_GET_TSC, (long)&tsc, 0, 0, 0, 0) || tsc == PR_TSC_ENABLE;
	return known;
}

uint64_t trampoline_ticks(void)
{
	uint64_t now;

	__asm__ volatile("mrs %0, cntvct_el0" : "=r"(now));
	return now;
}

void trampoline_table_fill(struct trampoline_table *table)
{
	entry_sve = !!(getauxval(AT_HWCAP) & HWCAP_VECTORS);
	table->load = entry_load;
	table->string = entry_string;
	table->match = entry_match;
	table->comm = entry_comm;
	table->now = entry_now;
	table->late = entry_late;
	table->shrink = entry_shrink;
	table->room = entry_room;
	table->take = entry_take;
}
