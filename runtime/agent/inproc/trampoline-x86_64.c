/* SPDX-License-Identifier: MIT */
/*
 * Trampolines for x86-64.
 *
 * The program being probed knows nothing of the jump, so everything is kept: the
 * red zone by moving the stack pointer with lea, which leaves the flags alone; the
 * flags by lahf and seto (popf would cost more than all the rest); the six registers
 * below by pushes. Vector registers are not touched.
 *
 *     rax      top of the program's stack; the rest of it is on the machine's
 *     rcx      second operand, scratch
 *     rdx      where the next string goes
 *     rbx      the thread's ring
 *     rsi rdi  the record; its time
 *
 * At each step the program's depth is known: with depth d the top is in rax and
 * d - 1 words are pushed, so a saved register's place, relative to the stack
 * pointer, is known as well.
 *
 * Space in the ring is taken by one compare and exchange without lock prefix. It
 * need not be atomic among processors, for the ring is the thread's, but a signal
 * handler's record may come in the middle. Nothing refers to a record before its
 * time is written, last; and whatever stands in the ring's header, which others can
 * write, nothing is written outside of the ring's data.
 *
 * A thread without a ring takes one; if there is none left it counts in cells that
 * it shares with others of its kind, by locked increments, in a second version of
 * the code that ends before anything is recorded.
 */
#include <cpuid.h>
#include <probepoint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <x86intrin.h>

#include "runtime/agent/inproc/asm-x86_64.h"

#define PUSHED 7
#define RED_ZONE 128
#define FRAME 256 /* bytes from the stack pointer on that are loaded directly, where they are in its page */

static const int8_t saved_at[8] = {
	[RAX] = 48, [RCX] = 32, [RDX] = 24, [RBX] = 16, [RSP] = -1, [RBP] = -1, [RSI] = 8, [RDI] = 0,
};

/* A register of the program's. */
static void get(struct code *c, int to, unsigned reg, unsigned words)
{
	if (reg == RIP)
		set(c, to, c->site);
	else if (reg == RSP)
		op_mem(c, 0x8d, to, RSP, RED_ZONE + 8 * (PUSHED + words));
	else if (reg < 8 && saved_at[reg] >= 0)
		op_mem(c, 0x8b, to, RSP, saved_at[reg] + 8 * words);
	else
		op_reg(c, 0x89, reg, to);
}

static void extend(struct code *c, unsigned size, bool is_signed)
{
	switch (size << 1 | is_signed) {
	case 2: PUT(c, 0x0f, 0xb6, 0xc0); break;
	case 3: PUT(c, 0x48, 0x0f, 0xbe, 0xc0); break;
	case 4: PUT(c, 0x0f, 0xb7, 0xc0); break;
	case 5: PUT(c, 0x48, 0x0f, 0xbf, 0xc0); break;
	case 8: PUT(c, 0x89, 0xc0); break;
	case 9: PUT(c, 0x48, 0x98); break;
	}
}

/* rax = size bytes at disp(base) */
static void load_direct(struct code *c, int base, int32_t disp, unsigned size, bool is_signed)
{
	switch (size << 1 | is_signed) {
	case 2: PUT(c, 0x0f, 0xb6); break;
	case 3: PUT(c, 0x48, 0x0f, 0xbe); break;
	case 4: PUT(c, 0x0f, 0xb7); break;
	case 5: PUT(c, 0x48, 0x0f, 0xbf); break;
	case 8: put8(c, 0x8b); break;
	case 9: PUT(c, 0x48, 0x63); break;
	default: PUT(c, 0x48, 0x8b);
	}
	modrm(c, RAX, base, disp);
}

/* ---- steps ---- */

/* rax = what is at rax: directly where that is on the thread's stack, above the red zone's end. */
static void load_checked(struct body *b, const struct fetch_step *step, unsigned words)
{
	struct code *c = b->c;
	uint32_t back = code_label(c), fault = body_fault(b, words), slow;

	slow = code_stub(c, (struct stub){
				    .kind = STUB_LOAD,
				    .size = step->a,
				    .is_signed = step->c,
				    .words = words,
				    .back = back,
				    .fault = fault,
			    });
	op_mem(c, 0x8d, RCX, RSP, 8 * (PUSHED + words));
	PUT(c, 0x48, 0x39, 0xc8); /* cmp %rcx, %rax */
	jcc(c, JB, slow);
	op_fs(c, 0x3b, RSP, trampoline_tls(offsetof(struct thread, sure_low)));
	jcc(c, JB, slow);
	op_fs(c, 0x3b, RAX, trampoline_tls(offsetof(struct thread, sure_last)));
	jcc(c, JA, slow);
	load_direct(c, RAX, 0, step->a, step->c);
	code_here(c, back);
}

static void divide(struct code *c, bool is_signed, bool remainder)
{
	uint32_t zero = code_label(c), minus = code_label(c), done = code_label(c);

	PUT(c, 0x48, 0x85, 0xc9); /* test %rcx, %rcx */
	jcc(c, JZ, zero);
	put8(c, 0x52); /* push %rdx */
	if (is_signed) {
		PUT(c, 0x48, 0x83, 0xf9, 0xff); /* cmp $-1, %rcx */
		jcc(c, JZ, minus);
		PUT(c, 0x48, 0x99, 0x48, 0xf7, 0xf9); /* cqo; idiv %rcx */
	} else {
		PUT(c, 0x31, 0xd2, 0x48, 0xf7, 0xf1); /* xor %edx, %edx; div %rcx */
	}
	if (remainder)
		PUT(c, 0x48, 0x89, 0xd0); /* mov %rdx, %rax */
	put8(c, 0x5a);                    /* pop %rdx */
	jmp(c, done);
	code_here(c, minus);
	put8(c, 0x5a);
	if (!remainder) {
		PUT(c, 0x48, 0xf7, 0xd8); /* neg %rax */
		jmp(c, done);
	}
	code_here(c, zero);
	PUT(c, 0x31, 0xc0); /* xor %eax, %eax */
	code_here(c, done);
}

/* rax = rax op rcx */
static void binary(struct code *c, const struct fetch_step *step)
{
	uint8_t condition;

	switch (step->op) {
	case FETCH_ADD: PUT(c, 0x48, 0x01, 0xc8); return;
	case FETCH_SUB: PUT(c, 0x48, 0x29, 0xc8); return;
	case FETCH_MUL: PUT(c, 0x48, 0x0f, 0xaf, 0xc1); return;
	case FETCH_DIV:
	case FETCH_MOD: divide(c, step->c, step->op == FETCH_MOD); return;
	case FETCH_AND: PUT(c, 0x48, 0x21, 0xc8); return;
	case FETCH_OR: PUT(c, 0x48, 0x09, 0xc8); return;
	case FETCH_XOR: PUT(c, 0x48, 0x31, 0xc8); return;
	case FETCH_SHL: PUT(c, 0x48, 0xd3, 0xe0); return;
	case FETCH_SHR: PUT(c, 0x48, 0xd3, step->c ? 0xf8 : 0xe8); return;
	case FETCH_EQ: condition = 0x94; break;
	case FETCH_NE: condition = 0x95; break;
	case FETCH_LT: condition = step->c ? 0x9c : 0x92; break;
	default: condition = step->c ? 0x9e : 0x96;
	}
	PUT(c, 0x48, 0x39, 0xc8);      /* cmp %rcx, %rax */
	PUT(c, 0x0f, condition, 0xc0); /* setcc %al */
	PUT(c, 0x0f, 0xb6, 0xc0);      /* movzbl %al, %eax */
}

/*
 * A load near the stack pointer. Below it the bytes are certainly there. Above it they
 * are if they lie in the page of the byte below: a stack may end right here.
 */
static void load_frame(struct body *b, int32_t offset, const struct fetch_step *load)
{
	struct code *c = b->c;
	uint32_t back = code_label(c), slow;

	if (offset + load->a > 0) {
		slow = code_stub(c, (struct stub){
					    .kind = STUB_LOAD_FRAME,
					    .size = load->a,
					    .is_signed = load->c,
					    .offset = offset,
					    .back = back,
					    .fault = body_fault(b, 0),
				    });
		op_mem(c, 0x8d, RAX, RSP, RED_ZONE + 8 * PUSHED - 1);
		put8(c, 0x25); /* and $4095, %eax */
		put32(c, 4095);
		put8(c, 0x3d); /* cmp $, %eax */
		put32(c, 4095 - (offset + load->a));
		jcc(c, JA, slow);
	}
	load_direct(c, RSP, offset + RED_ZONE + 8 * PUSHED, load->a, load->c);
	code_here(c, back);
}

/* Addresses known now, or known to be in the function's frame, need no call. How many steps that took, or 0. */
static size_t load_known(struct body *b, size_t i, size_t end)
{
	const struct fetch_step *s = &b->p->steps[i], *load;
	int64_t offset;
	size_t n = body_load_beside(b, i, end, &load, &offset);
	struct code *c = b->c;

	if (!n)
		return 0;
	if (s->a == RSP && offset >= -RED_ZONE && offset + load->a <= FRAME) {
		load_frame(b, offset, load);
		return n;
	}
	if (s->a == RIP && image_has(b->c->image, c->site + offset, load->a)) {
		set(c, RCX, c->site + offset);
		load_direct(c, RCX, 0, load->a, load->c);
		return n;
	}
	return 0;
}

static void literal_call(struct body *b, const struct fetch_step *step, void *const *entry, bool prefix, unsigned words)
{
	struct code *c = b->c;

	set(c, RCX, prefix);
	set(c, RDI, (uintptr_t)&b->p->literals[step->a]);
	set(c, RSI, (uintptr_t)c->image);
	call_table(c, entry);
	jcc(c, JNZ, body_fault(b, words));
}

size_t trampoline_step(struct body *b, size_t i, size_t end)
{
	const struct fetch_step *s = &b->p->steps[i];
	unsigned depth = b->depths[i], words = depth ? depth - 1 : 0;
	struct code *c = b->c;
	size_t known;

	switch (s->op) {
	case FETCH_IMM:
	case FETCH_REG:
		known = s->op == FETCH_REG ? load_known(b, i, end) : 0;
		if (known)
			return i + known;
		if (depth && i + 1 < end && step_is_binary(s[1].op) && !c->is_target[i + 1]) {
			if (s->op == FETCH_IMM)
				set(c, RCX, s->value);
			else
				get(c, RCX, s->a, words);
			binary(c, &s[1]);
			return i + 2;
		}
		if (depth) {
			put8(c, 0x50); /* push %rax */
			words++;
		}
		if (s->op == FETCH_IMM)
			set(c, RAX, s->value);
		else
			get(c, RAX, s->a, words);
		break;
	case FETCH_EXTEND:
		if (s->b)
			PUT(c, 0x48, 0xc1, 0xe8, s->b); /* shr */
		extend(c, s->a, s->c);
		break;
	case FETCH_LOAD: load_checked(b, s, words); break;
	case FETCH_ARG: op_mem(c, 0x89, RAX, RSI, VALUE(s->a)); break;
	case FETCH_STRING:
		put8(c, 0x57); /* push %rdi */
		set(c, RDI, (uintptr_t)c->image);
		set(c, RCX, s->a);
		call_table(c, &c->table->string);
		put8(c, 0x5f);
		op_reg(c, 0x89, RAX, RDX);
		break;
	case FETCH_NOT: PUT(c, 0x48, 0x85, 0xc0, 0x0f, 0x94, 0xc0, 0x0f, 0xb6, 0xc0); break;
	case FETCH_NEG: PUT(c, 0x48, 0xf7, 0xd8); break;
	case FETCH_COM: PUT(c, 0x48, 0xf7, 0xd0); break;
	case FETCH_PID:
		if (depth)
			put8(c, 0x50);
		PUT(c, 0x8b, 0x05);
		put_rip(c, (uintptr_t)&c->life->pid, 0);
		break;
	case FETCH_TID:
		if (depth)
			put8(c, 0x50);
		PUT(c, 0x64, 0x8b, 0x04, 0x25);
		put32(c, trampoline_tls(offsetof(struct thread, tid)));
		break;
	case FETCH_JZ:
	case FETCH_JNZ:
		PUT(c, 0x48, 0x85, 0xc0);
		jcc(c, s->op == FETCH_JZ ? JZ : JNZ, c->step_label[s->value]);
		if (depth > 1)
			put8(c, 0x58); /* pop %rax */
		break;
	case FETCH_STREQ:
	case FETCH_PREFIX: literal_call(b, s, &c->table->match, s->op == FETCH_PREFIX, words); break;
	case FETCH_COMMEQ:
	case FETCH_COMMPREFIX:
		if (depth) {
			put8(c, 0x50);
			words++;
		}
		literal_call(b, s, &c->table->comm, s->op == FETCH_COMMPREFIX, words);
		break;
	case FETCH_TEST:
		PUT(c, 0x48, 0x85, 0xc0);
		jcc(c, JZ, b->filtered);
		break;
	default:
		op_reg(c, 0x89, RAX, RCX);
		put8(c, 0x58);
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
			op_mem(c, 0x8d, RAX, RSP, s->offset + RED_ZONE + 8 * PUSHED);
			/* fall through */
		case STUB_LOAD:
			set(c, RCX, s->size);
			call_table(c, &c->table->load);
			jcc(c, JNZ, s->fault);
			extend(c, s->size, s->is_signed);
			break;
		case STUB_FAULT_ARGUMENT:
			PUT(c, 0x81, 0x4e, 0x0c); /* orl $, 12(%rsi) */
			put32(c, 1u << (8 + s->argument));
			PUT(c, 0x48, 0xc7, 0x86); /* movq $0, (%rsi) */
			put32(c, VALUE(s->argument));
			put32(c, 0);
			/* fall through */
		case STUB_FAULT_FILTERED:
			if (s->words)
				op_mem(c, 0x8d, RSP, RSP, 8 * s->words);
			break;
		}
		jmp(c, s->back);
	}
	c->nstubs = 0;
}

/* ---- one consumer ---- */

static void count(struct code *c, uint32_t slot, size_t which)
{
	PUT(c, 0x48, 0xff, 0x83); /* incq disp(%rbx) */
	put32(c, AGENT_COUNTS_IN_RING + slot * sizeof(struct agent_count) + which);
}

static void count_shared(struct code *c, const struct trampoline_consumer *consumer, size_t which)
{
	set(c, RCX, (uintptr_t)consumer->shm + shm_overflow_at + consumer->slot * sizeof(struct agent_count) + which);
	PUT(c, 0xf0, 0x48, 0xff, 0x01); /* lock incq (%rcx) */
}

/* rdi = the time; jumps where that is too late to record. has_ring: the thread may read the clock. */
static void take_time(struct code *c, const struct trampoline_consumer *consumer, uint32_t idle, bool has_ring)
{
	if (!has_ring) {
		call_table(c, &c->table->late);
		op_reg(c, 0x89, RAX, RDI);
	} else if (trampoline_clock_invariant()) {
		PUT(c, 0x0f, 0x31);             /* rdtsc */
		PUT(c, 0x48, 0xc1, 0xe2, 0x20); /* shl $32, %rdx */
		PUT(c, 0x48, 0x8d, 0x3c, 0x02); /* lea (%rdx,%rax), %rdi */
	} else {
		call_table(c, &c->table->now);
		op_reg(c, 0x89, RAX, RDI);
	}
	set(c, RCX, (uintptr_t)&consumer->shm->record_until);
	PUT(c, 0x48, 0x3b, 0x39); /* cmp (%rcx), %rdi */
	jcc(c, JAE, idle);
}

static void consume(struct code *c, const struct trampoline_consumer *consumer)
{
	const struct fetch_program *p = &consumer->program->fetch;
	uint32_t have = code_label(c), take = code_label(c), again = code_label(c), next = code_label(c);
	uint32_t filtered = code_label(c), idle = code_label(c), lost = code_label(c);
	uint32_t shared_filtered = code_label(c), shared_idle = code_label(c), full = code_label(c);
	unsigned nstrings = 0, words;

	for (size_t i = 0; i < p->nargs; i++)
		nstrings += p->steps && p->kind[i] == PP_STRING;
	words = 2 + p->nargs + nstrings * (RECORD_STRING_CUT / 8);

	op_fs(c, 0x8b, RBX, trampoline_tls(offsetof(struct thread, ring) + consumer->index * sizeof(void *)));
	PUT(c, 0x48, 0x85, 0xdb);
	jcc(c, JZ, take);
	code_here(c, have);
	code_predicate(c, consumer->program, filtered);
	take_time(c, consumer, idle, true);
	code_here(c, again);
	op_mem(c, 0x8b, RAX, RBX, offsetof(struct agent_ring, head));
	op_mem(c, 0x8d, RCX, RAX, 8 * words);
	op_mem(c, 0x3b, RCX, RBX, offsetof(struct agent_ring, limit));
	jcc(c, JA, full);
	PUT(c, 0x48, 0x0f, 0xb1); /* cmpxchg %rcx, head(%rbx) */
	modrm(c, RCX, RBX, offsetof(struct agent_ring, head));
	jcc(c, JNZ, again);
	put8(c, 0x25); /* and $, %eax */
	put32(c, (AGENT_RING_SIZE - 1) & ~7u);
	PUT(c, 0x48, 0x8d, 0xb4, 0x03); /* lea data(%rbx,%rax), %rsi */
	put32(c, AGENT_DATA_IN_RING);
	PUT(c, 0x48, 0xc7, 0x06); /* movq $, (%rsi) */
	put32(c, words);
	PUT(c, 0xc7, 0x46, 0x08); /* movl $, 8(%rsi) */
	put32(c, consumer->slot);
	PUT(c, 0xc7, 0x46, 0x0c); /* movl $, 12(%rsi) */
	put32(c, words);
	if (nstrings)
		op_mem(c, 0x8d, RDX, RSI, VALUE(p->nargs));
	code_arguments(c, consumer->program);
	if (nstrings) {
		put8(c, 0x57);
		op_reg(c, 0x89, RBX, RDI);
		set(c, RCX, words);
		call_table(c, &c->table->shrink);
		put8(c, 0x5f);
	}
	PUT(c, 0x48, 0x89, 0x3e); /* mov %rdi, (%rsi) */
	count(c, consumer->slot, RECORDED);
	jmp(c, next);

	stubs(c);
	code_here(c, filtered);
	count(c, consumer->slot, FILTERED);
	jmp(c, next);
	code_here(c, idle);
	count(c, consumer->slot, IDLE);
	jmp(c, next);
	code_here(c, full);
	set(c, RCX, (uintptr_t)&consumer->shm->overwrite);
	PUT(c, 0x83, 0x39, 0x00); /* cmpl $0, (%rcx) */
	jcc(c, JZ, lost);
	put8(c, 0x57);
	op_reg(c, 0x89, RBX, RDI);
	call_table(c, &c->table->room);
	put8(c, 0x5f);
	jcc(c, JZ, again);
	code_here(c, lost);
	count(c, consumer->slot, LOST);
	jmp(c, next);

	code_here(c, take);
	set(c, RDI, consumer->index);
	call_table(c, &c->table->take);
	op_reg(c, 0x89, RAX, RBX);
	PUT(c, 0x48, 0x85, 0xdb);
	jcc(c, JNZ, have);
	code_predicate(c, consumer->program, shared_filtered);
	take_time(c, consumer, shared_idle, false);
	count_shared(c, consumer, LOST);
	jmp(c, next);
	code_here(c, shared_idle);
	count_shared(c, consumer, IDLE);
	jmp(c, next);
	stubs(c);
	code_here(c, shared_filtered);
	count_shared(c, consumer, FILTERED);
	code_here(c, next);
}

size_t trampoline_make(uint8_t code[TRAMPOLINE_MAX], uintptr_t at, uintptr_t site,
                       const struct trampoline_consumer *consumers, size_t n, const struct image *image,
                       const struct trampoline_table *table, const struct life *life)
{
	struct code *c = code_begin(code, at, site, consumers, n, image, table, life);
	uint32_t end;

	if (!c)
		return 0;
	end = code_label(c);
	op_mem(c, 0x8d, RSP, RSP, -RED_ZONE);
	PUT(c, 0x50, 0x9f, 0x0f, 0x90, 0xc0, 0x50); /* push %rax; lahf; seto %al; push %rax */
	PUT(c, 0x51, 0x52, 0x53, 0x56, 0x57);       /* push %rcx, %rdx, %rbx, %rsi, %rdi */
	PUT(c, 0x83, 0x3d);                         /* cmpl $0, alive(%rip) */
	put_rip(c, (uintptr_t)&life->alive, 1);
	put8(c, 0);
	jcc(c, JZ, end);
	for (size_t i = 0; i < n && !c->bad; i++)
		consume(c, &consumers[i]);
	code_here(c, end);
	PUT(c, 0x5f, 0x5e, 0x5b, 0x5a, 0x59);
	PUT(c, 0x58, 0x04, 0x7f, 0x9e, 0x58); /* pop %rax; add $127, %al; sahf; pop %rax */
	op_mem(c, 0x8d, RSP, RSP, RED_ZONE);
	put8(c, 0xe9);
	put_rip(c, site + 1 + SITE_NOP, 0);
	if (c->bad)
		return 0;
	for (uint32_t i = 0; i < c->njumps; i++) {
		int32_t to = c->labels[c->jumps[i].label];
		uint32_t disp = to - (int32_t)(c->jumps[i].at + 4);

		if (to < 0)
			return 0;
		memcpy(code + c->jumps[i].at, &disp, 4);
	}
	return c->n;
}

/* ---- the CPU ---- */

int32_t trampoline_tls(size_t offset)
{
	char *at = (char *)&agent_thread;

	__asm__("" : "+r"(at)); /* a sum of 32 bits is more than linkers know to relax */
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

uint64_t trampoline_ticks(void)
{
	return __rdtsc();
}

void trampoline_table_fill(struct trampoline_table *table)
{
	table->load = entry_load;
	table->string = entry_string;
	table->match = entry_match;
	table->comm = entry_comm;
	table->now = entry_now;
	table->late = entry_late;
	table->shrink = entry_shrink;
	table->take = entry_take;
	table->room = entry_room;
}
