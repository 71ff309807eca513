/* SPDX-License-Identifier: MIT */
/*
 * From fetch programs to BPF.
 *
 * The program's way with a hit: is the point's process meant; is the point still
 * on; has the link that takes over from this one counted the hit already; count;
 * evaluate the predicate; is anybody reading; build the record; output it.
 *
 * Two trees of comparisons lead to the code of each spec, one for the predicates
 * (only where there are any), one for the arguments. Predicates are evaluated and
 * records are built in scratch memory, which is the thread's task storage: the program
 * may sleep while it reads, so that per-CPU memory would be another thread's and a
 * reserved place in the ring would stall every reader behind a page fault. If the
 * kernel has no memory for it, the hit is counted as lost. A hit that is only counted
 * needs none.
 */
#include "runtime/kernel/emit.h"

#include <elf.h>
#include <errno.h>
#include <probepoint.h>
#include <stdlib.h>

#include "runtime/kernel/emitter.h"
#include "runtime/kernel/scope.h"
#include "base/error.h"
#include "sdt/operand.h"

static bool has_strings(const struct fetch_program *p)
{
	for (size_t i = 0; i < p->nargs; i++)
		if (p->kind[i] == PP_STRING)
			return true;
	return false;
}

struct ends {
	label filtered, idle, lost, output, fetch;
};

/* r7 = the thread's scratch memory */
static void find_scratch(struct emitter *e, label lost)
{
	call(e, BPF_FUNC_get_current_task_btf);
	map(e, BPF_REG_1, e->maps->scratch);
	mov(e, BPF_REG_2, BPF_REG_0);
	imm64(e, BPF_REG_3, 0);
	imm64(e, BPF_REG_4, BPF_LOCAL_STORAGE_GET_F_CREATE);
	call(e, BPF_FUNC_task_storage_get);
	jump_if(e, BPF_JEQ, BPF_REG_0, 0, lost);
	mov(e, BPF_REG_7, BPF_REG_0);
}

/* All of a record that does not depend on the fetch program. */
static void record_head(struct emitter *e)
{
	store_imm(e, BPF_W, BPF_REG_7, 0, (int32_t)e->attachment);
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
	load_point(e, BPF_REG_1);
	store(e, BPF_W, BPF_REG_7, sizeof(struct record_thread) + 8, BPF_REG_1);
}

static void arguments(struct emitter *e, const struct fetch_program *p, const struct ends *ends)
{
	int base = sizeof(struct record_thread) + sizeof(struct record) + 8 * (int)p->nargs;
	bool strings = has_strings(p);

	store_imm(e, BPF_W, BPF_REG_7, sizeof(struct record_thread) + 12,
	          (base - (int)sizeof(struct record_thread)) / 8);
	if (strings)
		imm64(e, BPF_REG_8, base);
	emit_arguments(e, p);
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
	label_place(e, right);
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
	case SCOPE_PROCESSES: return;
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
	case SCOPE_PGRP: process_group(e, m, out); break;
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
	label_place(e, any);
	if (e->maps->members)
		membership(e, e->maps->members, out);
	mov(e, BPF_REG_8, BPF_REG_7);
	alu_imm(e, BPF_AND, BPF_REG_8, (1 << COOKIE_POINT_BITS) - 1);
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
	 * (the kernel puts consumers in front). It leaves a mark, of point, generation
	 * and thread; the older one does not count what is marked.
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
	load_point(e, BPF_REG_3);
	alu(e, BPF_OR, BPF_REG_8, BPF_REG_3);
	store(e, BPF_DW, BPF_REG_10, AT_KEY, BPF_REG_8); /* beside it, AT_PIDTGID: the key */
	jump_if_reg(e, BPF_JEQ, BPF_REG_1, BPF_REG_2, insert);
	label_place(e, older);
	map(e, BPF_REG_1, e->maps->mark);
	address(e, BPF_REG_2, AT_KEY);
	call(e, BPF_FUNC_map_delete_elem);
	jump_if(e, BPF_JEQ, BPF_REG_0, 0, out);
	jump(e, counted);
	label_place(e, insert);
	store_imm(e, BPF_DW, BPF_REG_10, AT_WORD, 0);
	map(e, BPF_REG_1, e->maps->mark);
	address(e, BPF_REG_2, AT_KEY);
	address(e, BPF_REG_3, AT_WORD);
	imm64(e, BPF_REG_4, BPF_ANY);
	call(e, BPF_FUNC_map_update_elem);
	label_place(e, counted);
}

/* Adds to the hits of the thread's process. */
static void count_process(struct emitter *e)
{
	label add = label_new(e), full = label_new(e), done = label_new(e);

	load_point(e, BPF_REG_1);
	store(e, BPF_W, BPF_REG_10, AT_WORD, BPF_REG_1);
	load(e, BPF_DW, BPF_REG_1, BPF_REG_10, AT_PIDTGID);
	alu_imm(e, BPF_RSH, BPF_REG_1, 32);
	store(e, BPF_W, BPF_REG_10, AT_WORD + 4, BPF_REG_1);
	for (int try = 0; try < 2; try++) {
		map(e, BPF_REG_1, e->maps->processes);
		address(e, BPF_REG_2, AT_WORD);
		call(e, BPF_FUNC_map_lookup_elem);
		jump_if(e, BPF_JEQ, BPF_REG_0, 0, try ? full : add);
		add_to(e, BPF_REG_0, 0, 1);
		jump(e, done);
		if (try)
			break;
		label_place(e, add);
		store_imm(e, BPF_DW, BPF_REG_10, AT_KEY, 1);
		map(e, BPF_REG_1, e->maps->processes);
		address(e, BPF_REG_2, AT_WORD);
		address(e, BPF_REG_3, AT_KEY);
		imm64(e, BPF_REG_4, BPF_NOEXIST);
		call(e, BPF_FUNC_map_update_elem);
		jump_if(e, BPF_JEQ, BPF_REG_0, 0, done);
		/* Another thread was faster, or the map is full. */
	}
	label_place(e, full);
	count(e, offsetof(struct kernel_counts, other));
	label_place(e, done);
}

int emit_program(const struct fetch_program *const *programs, size_t nprograms, const struct emit_maps *maps,
                 uint32_t attachment, unsigned shards, struct emitted *out)
{
	struct emitter e = {
		.maps = maps, .attachment = attachment, .cpu = cpu_of(MACHINE_HERE, true), .role = programs[0]->role
	};
	label *code = calloc(2 * nprograms, sizeof(*code));
	bool predicates = false;
	int err;

	if (!code)
		return error_nomem();

	struct ends ends = { label_new(&e), label_new(&e), label_new(&e), label_new(&e), label_new(&e) };
	label out_label = label_new(&e);

	for (size_t i = 0; i < nprograms; i++) {
		code[i] = label_new(&e);
		code[nprograms + i] = label_new(&e);
		predicates |= programs[i]->npredicate > 0;
	}
	prologue(&e, shards, out_label, label_new(&e));
	if (e.role == SITE_LEAVE)
		emit_leave(&e, out_label);
	count(&e, offsetof(struct kernel_counts, hits));
	if (maps->processes >= 0 && e.role != SITE_CALL)
		count_process(&e);
	if (e.role == SITE_CALL) {
		emit_call(&e, out_label);
		goto out;
	}
	if (predicates) {
		find_scratch(&e, ends.lost);
		load_spec(&e, BPF_REG_1);
		dispatch(&e, code, 0, nprograms);
		for (size_t i = 0; i < nprograms; i++) {
			label_place(&e, code[i]);
			emit_predicate(&e, programs[i], ends.filtered);
			jump(&e, ends.fetch);
		}
	}
	label_place(&e, ends.fetch);
	map_value(&e, BPF_REG_8, maps->config);
	load(&e, BPF_DW, BPF_REG_8, BPF_REG_8, offsetof(struct kernel_config, record_until));
	jump_if(&e, BPF_JEQ, BPF_REG_8, 0, ends.idle);
	call(&e, BPF_FUNC_ktime_get_ns);
	jump_if_reg(&e, BPF_JGE, BPF_REG_0, BPF_REG_8, ends.idle);
	store(&e, BPF_DW, BPF_REG_10, AT_TIME, BPF_REG_0);
	if (!predicates)
		find_scratch(&e, ends.lost);
	record_head(&e);
	load_spec(&e, BPF_REG_1);
	dispatch(&e, code + nprograms, 0, nprograms);
	for (size_t i = 0; i < nprograms; i++) {
		label_place(&e, code[nprograms + i]);
		arguments(&e, programs[i], &ends);
	}

	label_place(&e, ends.output);
	map(&e, BPF_REG_1, maps->ring);
	mov(&e, BPF_REG_2, BPF_REG_7);
	imm64(&e, BPF_REG_4, BPF_RB_NO_WAKEUP);
	call(&e, BPF_FUNC_ringbuf_output);
	jump_if(&e, BPF_JNE, BPF_REG_0, 0, ends.lost);
	count(&e, offsetof(struct kernel_counts, recorded));
	jump(&e, out_label);
	label_place(&e, ends.lost);
	count(&e, offsetof(struct kernel_counts, lost));
	jump(&e, out_label);
	label_place(&e, ends.filtered);
	if (predicates) {
		count(&e, offsetof(struct kernel_counts, filtered));
		jump(&e, out_label);
	}
	label_place(&e, ends.idle);
	count(&e, offsetof(struct kernel_counts, idle));
out:
	label_place(&e, out_label);
	imm64(&e, BPF_REG_0, 0);
	emitter_add(&e, INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0));

	err = emitter_resolve(&e);
	free(code);
	emitter_release(&e);
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
		case FETCH_STREQ:
		case FETCH_PREFIX:
		case FETCH_COMMEQ:
		case FETCH_COMMPREFIX: cost += 60 + 2 * FETCH_LITERAL_MAX; break;
		case FETCH_DIV:
		case FETCH_MOD: cost += 20; break;
		default: cost += 14;
		}
	return cost;
}
