/* SPDX-License-Identifier: MIT */
/*
 * The BPF program that runs at the hits of a group of points.
 *
 * For each hit the program
 *
 * 1. checks that the process is in scope (emit_process_check, emit_scope_check);
 * 2. finds the point's counters and checks that the point is enabled (emit_counters);
 * 3. checks that the link that takes over from this one has not counted the hit already (emit_handover);
 * 4. finds the frame of the call, if the site leaves a function (emit_leave in emit-returns.c) or ends a call between probes
 *    (emit_end in emit-calls.c);
 * 5. counts the hit, for the process as well if the point is armed for every process (emit_process_count);
 * 6. adds a frame for the call and ends, if the site is the entry of a function whose returns are armed (emit_call in
 *    emit-returns.c), or begins a call between probes (emit_begin in emit-calls.c);
 * 7. evaluates the predicate (emit_predicates), samples (emit-sample.c) and computes the aggregate (emit-aggregate.c);
 * 8. checks that the session records (emit_reader_check);
 * 9. builds the record (emit_record) and puts it into the ring, or into the flight recorder (emit_output).
 *
 * A program serves several fetch programs (specs), and the cookie says which one a point has. Specs that differ in
 * constants and registers only form a group and share their code (emit-specs.c). Steps 7 and 9 each begin with a tree of
 * comparisons that leads to the code of the group. Step 7 is left out if no spec has a predicate or an aggregate.
 *
 * Predicates are evaluated, keys and records are built in scratch memory, which is the thread's task storage. The reason is
 * that the program may sleep on a page fault while it reads the process's memory. Per-CPU memory could meanwhile be
 * overwritten by another thread, and space that is reserved in the ring would make readers wait until the page fault is
 * over. If the kernel has no memory for task storage, the hit counts as lost, and the columns of its aggregate count it as
 * unread. A hit that is only counted needs no scratch memory.
 */
#include "runtime/kernel/emit.h"

#include <elf.h>
#include <errno.h>
#include <probepoint.h>
#include <stdlib.h>

#include "base/error.h"
#include "runtime/kernel/emitter.h"
#include "runtime/kernel/namespace.h"
#include "runtime/kernel/scope.h"
#include "sdt/operand.h"

/* The state of emitting a program. */
struct phases {
	struct emitter e;
	const struct emit_specs *specs;
	unsigned shards;
	bool has_predicates, has_aggregates, has_samples;
	bool is_light;                        /* emit_predicates() needs no scratch memory */
	size_t ncolumns;                      /* of the aggregate that has most */
	label *predicates, *records, *begins; /* the code of each group */
	label fetch, output;
	label missed, unmatched, known; /* of calls between probes */
	label out;                      /* the end of the program; increments no counter */
	label filtered, idle, lost;     /* increment this counter and end */
	label unsampled;                /* the same, of the struct kernel_sample in r8 */
	label no_scratch;               /* the same as lost; the aggregate is unread */
};

/* ---- 1. the process ---- */

/* r0 = AT_PIDTGID = process id << 32 | thread id */
static void emit_process_ids(struct emitter *e, label out)
{
	const struct kernel_namespace *ns = e->maps->ns;

	if (ns && ns->inode) {
		emit(e, BPF_EMIT_CALL(BPF_FUNC_get_current_task));
		emit_namespace_process(e, ns, PIDTYPE_TGID, out);
		emit(e, BPF_MOV64_REG(BPF_REG_9, BPF_REG_0));
		emit(e, BPF_ALU64_IMM(BPF_LSH, BPF_REG_9, 32));
		emit(e, BPF_EMIT_CALL(BPF_FUNC_get_current_task));
		emit_namespace_thread(e, ns, out);
		emit(e, BPF_ALU64_REG(BPF_OR, BPF_REG_0, BPF_REG_9));
	} else {
		emit(e, BPF_EMIT_CALL(BPF_FUNC_get_current_pid_tgid));
	}
	emit(e, BPF_STX_MEM(BPF_DW, BPF_REG_10, BPF_REG_0, AT_PIDTGID));
}

/* Checks the pid in the cookie. Leaves the cookie in r7. */
static void emit_process_check(struct emitter *e, label out)
{
	label any = label_new(e);

	emit(e, BPF_MOV64_REG(BPF_REG_6, BPF_REG_1));
	emit(e, BPF_EMIT_CALL(BPF_FUNC_get_attach_cookie));
	emit(e, BPF_STX_MEM(BPF_DW, BPF_REG_10, BPF_REG_0, AT_COOKIE));
	emit(e, BPF_MOV64_REG(BPF_REG_7, BPF_REG_0));
	emit_process_ids(e, out);
	emit(e, BPF_ALU64_IMM(BPF_RSH, BPF_REG_0, 32));
	emit(e, BPF_MOV64_REG(BPF_REG_1, BPF_REG_7));
	emit(e, BPF_ALU64_IMM(BPF_RSH, BPF_REG_1, COOKIE_POINT_BITS + COOKIE_SPEC_BITS));
	emit(e, BPF_ALU64_IMM(BPF_AND, BPF_REG_1, (1 << COOKIE_PID_BITS) - 1));
	emit(e, BPF_JMP_IMM(BPF_JEQ, BPF_REG_1, 0, any));
	emit(e, BPF_JMP_REG(BPF_JNE, BPF_REG_0, BPF_REG_1, out));
	label_place(e, any);
}

/* r0 = the process group of the thread */
static void emit_process_group(struct emitter *e, const struct kernel_scope *scope, label out)
{
	const int at[3] = { scope->at.signal, scope->at.pids + 8 * PIDTYPE_PGID, scope->at.numbers + scope->at.nr };

	emit(e, BPF_EMIT_CALL(BPF_FUNC_get_current_task));
	if (e->maps->ns && e->maps->ns->inode) {
		emit_namespace_process(e, e->maps->ns, PIDTYPE_PGID, out);
		return;
	}
	for (int i = 0; i < 3; i++) {
		emit(e, BPF_MOV64_REG(BPF_REG_3, BPF_REG_0));
		emit(e, BPF_ALU64_IMM(BPF_ADD, BPF_REG_3, at[i]));
		emit(e, BPF_ST_MEM(BPF_DW, BPF_REG_10, AT_WORD, 0));
		emit_stack_address(e, BPF_REG_1, AT_WORD);
		emit(e, BPF_MOV64_IMM(BPF_REG_2, i == 2 ? 4 : 8));
		emit(e, BPF_EMIT_CALL(BPF_FUNC_probe_read_kernel));
		emit(e, BPF_JMP_IMM(BPF_JNE, BPF_REG_0, 0, out));
		emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_0, BPF_REG_10, AT_WORD));
	}
}

static void emit_scope_check(struct emitter *e, const struct kernel_scope *scope, label out)
{
	switch (scope->kind) {
	case SCOPE_PROCESSES: return;
	case SCOPE_CGROUP:
		emit_imm64(e, BPF_REG_1, scope->cgroup_level);
		emit(e, BPF_EMIT_CALL(BPF_FUNC_get_current_ancestor_cgroup_id));
		emit_imm64(e, BPF_REG_1, (int64_t)scope->cgroup);
		emit(e, BPF_JMP_REG(BPF_JNE, BPF_REG_0, BPF_REG_1, out));
		return;
	case SCOPE_CHILDREN:
		emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_0, BPF_REG_10, AT_PIDTGID));
		emit(e, BPF_ALU64_IMM(BPF_RSH, BPF_REG_0, 32));
		break;
	case SCOPE_PGRP: emit_process_group(e, scope, out); break;
	}
	emit(e, BPF_STX_MEM(BPF_W, BPF_REG_10, BPF_REG_0, AT_KEY));
	emit_map_fd(e, BPF_REG_1, scope->map);
	emit_stack_address(e, BPF_REG_2, AT_KEY);
	emit(e, BPF_EMIT_CALL(BPF_FUNC_map_lookup_elem));
	emit(e, BPF_JMP_IMM(BPF_JEQ, BPF_REG_0, 0, out));
}

/* ---- 2. the point's counters ---- */

/* r9 = the counters of the point in the CPU's shard. r7 is the cookie. */
static void emit_counters(struct emitter *e, unsigned shards, label out)
{
	emit(e, BPF_MOV64_REG(BPF_REG_8, BPF_REG_7));
	emit(e, BPF_ALU64_IMM(BPF_AND, BPF_REG_8, (1 << COOKIE_POINT_BITS) - 1));
	emit(e, BPF_EMIT_CALL(BPF_FUNC_get_smp_processor_id));
	emit(e, BPF_ALU64_IMM(BPF_AND, BPF_REG_0, (int32_t)shards - 1));
	emit(e, BPF_ALU64_IMM(BPF_MUL, BPF_REG_8, (int32_t)shards));
	emit(e, BPF_ALU64_REG(BPF_ADD, BPF_REG_8, BPF_REG_0));
	emit(e, BPF_STX_MEM(BPF_W, BPF_REG_10, BPF_REG_8, AT_KEY));
	emit_map_fd(e, BPF_REG_1, e->maps->counts);
	emit_stack_address(e, BPF_REG_2, AT_KEY);
	emit(e, BPF_EMIT_CALL(BPF_FUNC_map_lookup_elem));
	emit(e, BPF_JMP_IMM(BPF_JEQ, BPF_REG_0, 0, out));
	emit(e, BPF_MOV64_REG(BPF_REG_9, BPF_REG_0));
	emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_1, BPF_REG_9, offsetof(struct kernel_counts, off)));
	emit(e, BPF_JMP_IMM(BPF_JNE, BPF_REG_1, 0, out));
}

/* ---- 3. handover ---- */

/*
 * While a link takes over from another, both see the hit. The newer link sees it first, because the kernel adds
 * consumers at the front of its list. The newer link adds an entry for point, generation and thread to the handover
 * map; the older link deletes the entry and does not count a hit that had one. r7 is the cookie.
 */
static void emit_handover(struct emitter *e, label out)
{
	label newer = label_new(e), done = label_new(e);

	emit_map_value(e, BPF_REG_1, e->maps->control);
	emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_1, BPF_REG_1, offsetof(struct kernel_control, handover)));
	emit(e, BPF_JMP_IMM(BPF_JEQ, BPF_REG_1, 0, done));
	emit(e, BPF_ALU64_IMM(BPF_SUB, BPF_REG_1, 1));
	emit(e, BPF_MOV64_REG(BPF_REG_2, BPF_REG_7));
	emit(e, BPF_ALU64_IMM(BPF_RSH, BPF_REG_2, COOKIE_POINT_BITS + COOKIE_SPEC_BITS + COOKIE_PID_BITS));
	emit(e, BPF_ALU64_IMM(BPF_AND, BPF_REG_2, 1));
	emit(e, BPF_MOV64_REG(BPF_REG_8, BPF_REG_1));
	emit(e, BPF_ALU64_IMM(BPF_LSH, BPF_REG_8, 32));
	emit_point(e, BPF_REG_3);
	emit(e, BPF_ALU64_REG(BPF_OR, BPF_REG_8, BPF_REG_3));
	emit(e, BPF_STX_MEM(BPF_DW, BPF_REG_10, BPF_REG_8, AT_KEY));
	emit(e, BPF_JMP_REG(BPF_JEQ, BPF_REG_1, BPF_REG_2, newer));

	emit_map_fd(e, BPF_REG_1, e->maps->handover);
	emit_stack_address(e, BPF_REG_2, AT_KEY);
	emit(e, BPF_EMIT_CALL(BPF_FUNC_map_delete_elem));
	emit(e, BPF_JMP_IMM(BPF_JEQ, BPF_REG_0, 0, out));
	emit(e, BPF_JMP_A(done));

	label_place(e, newer);
	emit(e, BPF_ST_MEM(BPF_DW, BPF_REG_10, AT_WORD, 0));
	emit_map_fd(e, BPF_REG_1, e->maps->handover);
	emit_stack_address(e, BPF_REG_2, AT_KEY);
	emit_stack_address(e, BPF_REG_3, AT_WORD);
	emit(e, BPF_MOV64_IMM(BPF_REG_4, BPF_ANY));
	emit(e, BPF_EMIT_CALL(BPF_FUNC_map_update_elem));
	label_place(e, done);
}

/* ---- 5. hits by process ---- */

/* Increments the element of the point and process in the map `processes`. Adds the element if it does not exist. */
static void emit_process_count(struct emitter *e)
{
	label add = label_new(e), full = label_new(e), done = label_new(e);

	emit_point(e, BPF_REG_1);
	emit(e, BPF_STX_MEM(BPF_W, BPF_REG_10, BPF_REG_1, AT_WORD));
	emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_1, BPF_REG_10, AT_PIDTGID));
	emit(e, BPF_ALU64_IMM(BPF_RSH, BPF_REG_1, 32));
	emit(e, BPF_STX_MEM(BPF_W, BPF_REG_10, BPF_REG_1, AT_WORD + 4));
	for (int try = 0; try < 2; try++) {
		emit_map_fd(e, BPF_REG_1, e->maps->processes);
		emit_stack_address(e, BPF_REG_2, AT_WORD);
		emit(e, BPF_EMIT_CALL(BPF_FUNC_map_lookup_elem));
		emit(e, BPF_JMP_IMM(BPF_JEQ, BPF_REG_0, 0, try ? full : add));
		emit_atomic_add(e, BPF_REG_0, 0, 1);
		emit(e, BPF_JMP_A(done));
		if (try)
			break;
		label_place(e, add);
		emit(e, BPF_ST_MEM(BPF_DW, BPF_REG_10, AT_KEY, 1));
		emit_map_fd(e, BPF_REG_1, e->maps->processes);
		emit_stack_address(e, BPF_REG_2, AT_WORD);
		emit_stack_address(e, BPF_REG_3, AT_KEY);
		emit(e, BPF_MOV64_IMM(BPF_REG_4, BPF_NOEXIST));
		emit(e, BPF_EMIT_CALL(BPF_FUNC_map_update_elem));
		emit(e, BPF_JMP_IMM(BPF_JEQ, BPF_REG_0, 0, done));
		/* Another thread has added the element, or the map is full. */
	}
	label_place(e, full);
	emit_count(e, offsetof(struct kernel_counts, other));
	label_place(e, done);
}

/* ---- 4, 6. calls between probes ---- */

/* Jumps to the code of the group of the spec in r1. The group is known to be in [from, to). */
static void emit_dispatch(struct emitter *e, const label *code, size_t from, size_t to)
{
	const struct emit_group *groups = e->specs->groups;
	size_t middle = from + (to - from) / 2;
	label right;

	if (e->error)
		return;
	if (to - from == 1) {
		emit(e, BPF_JMP_A(code[from]));
		return;
	}
	right = label_new(e);
	emit(e, BPF_JMP_IMM(BPF_JGE, BPF_REG_1, (int32_t)groups[middle].from, right));
	emit_dispatch(e, code, from, middle);
	label_place(e, right);
	emit_dispatch(e, code, middle, to);
}

/* Places the label of the code of a group. Returns the group's first fetch program. */
static const struct fetch_program *emit_group_begin(struct phases *p, const label *code, size_t group)
{
	p->e.group = &p->specs->groups[group];
	label_place(&p->e, code[group]);
	return p->specs->programs[p->e.group->from];
}

/* Returns the bits, in the record's words and faults, of the arguments that the begin of a call does not have. */
static int32_t program_missing(const struct fetch_program *program)
{
	uint32_t faults = 0;

	for (size_t i = 0; i < FETCH_ENTRY_MAX; i++)
		if (i >= program->nargs || program->kind[i] == PP_FAULT)
			faults |= 1u << (8 + i);
	return (int32_t)faults;
}

/* Reads what the spec's begin keeps, or only the key of the call. */
static void emit_begin_arguments(struct phases *p, const struct fetch_program *program)
{
	struct emitter *e = &p->e;

	if (e->role == SITE_CALL) {
		emit(e, BPF_ST_MEM(BPF_W, BPF_REG_7, AT_RECORD_WORDS, program_missing(program)));
		emit_arguments(e, program);
	}
	if (program->nkey)
		emit_key(e, program, e->role == SITE_CALL ? p->missed : p->unmatched);
	emit(e, BPF_JMP_A(p->known));
}

/* Reads the arguments and the key of a begin, or the key of an end. */
static void emit_begins(struct phases *p)
{
	struct emitter *e = &p->e;

	emit_scratch(e, e->role == SITE_CALL ? p->missed : p->unmatched);
	emit_spec(e, BPF_REG_1);
	emit_dispatch(e, p->begins, 0, p->specs->ngroups);
	for (size_t i = 0; i < p->specs->ngroups; i++)
		emit_begin_arguments(p, emit_group_begin(p, p->begins, i));
	e->group = NULL;
	label_place(e, p->known);
}

/* The end of a call between probes. The code at `unmatched` is at the end of the program. */
static void emit_end_call(struct phases *p)
{
	if (p->e.match == MATCH_KEY)
		emit_begins(p);
	emit_end(&p->e, p->unmatched, p->out);
}

static void emit_begin_call(struct phases *p)
{
	emit_begins(p);
	emit_begin(&p->e, p->missed, p->out);
	label_place(&p->e, p->missed);
	emit_missed(&p->e, p->out);
}

/* ---- 7. predicates and aggregates ---- */

static void emit_sampling(struct phases *p)
{
	if (p->has_samples)
		emit_sample(&p->e, &p->specs->programs[0]->sample, p->shards, p->unsampled, p->lost);
}

/* Emits predicates and aggregates. */
static void emit_predicates(struct phases *p)
{
	struct emitter *e = &p->e;

	if (!p->is_light)
		emit_scratch(e, p->no_scratch);
	emit_spec(e, BPF_REG_1);
	emit_dispatch(e, p->predicates, 0, p->specs->ngroups);
	for (size_t i = 0; i < p->specs->ngroups; i++) {
		const struct fetch_program *program = emit_group_begin(p, p->predicates, i);

		emit_predicate(e, program, p->filtered);
		if (p->has_aggregates)
			emit_sampling(p);
		if (program->naggregate)
			emit_aggregate(e, program, p->is_light);
		emit(e, BPF_JMP_A(p->fetch));
	}
	e->group = NULL;
}

/* ---- 8. recording ---- */

static void emit_reader_check(struct emitter *e, label idle)
{
	emit_map_value(e, BPF_REG_8, e->maps->config);
	emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_8, BPF_REG_8, offsetof(struct kernel_config, record_until)));
	emit(e, BPF_JMP_IMM(BPF_JEQ, BPF_REG_8, 0, idle));
	emit(e, BPF_EMIT_CALL(BPF_FUNC_ktime_get_ns));
	emit(e, BPF_JMP_REG(BPF_JGE, BPF_REG_0, BPF_REG_8, idle));
	emit(e, BPF_STX_MEM(BPF_DW, BPF_REG_10, BPF_REG_0, AT_TIME));
}

/* ---- 9. the record ---- */

/* Fills in the part of a record that does not depend on the spec. */
static void emit_record_head(struct emitter *e)
{
	emit(e, BPF_ST_MEM(BPF_W, BPF_REG_7, AT_THREAD(attachment), (int32_t)e->attachment));
	emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_1, BPF_REG_10, AT_PIDTGID));
	emit(e, BPF_STX_MEM(BPF_W, BPF_REG_7, BPF_REG_1, AT_THREAD(tid)));
	emit(e, BPF_ALU64_IMM(BPF_RSH, BPF_REG_1, 32));
	emit(e, BPF_STX_MEM(BPF_W, BPF_REG_7, BPF_REG_1, AT_THREAD(pid)));
	emit(e, BPF_ST_MEM(BPF_W, BPF_REG_7, AT_THREAD(kept), 0));
	emit(e, BPF_MOV64_REG(BPF_REG_1, BPF_REG_7));
	emit(e, BPF_ALU64_IMM(BPF_ADD, BPF_REG_1, AT_THREAD(comm)));
	emit(e, BPF_MOV64_IMM(BPF_REG_2, sizeof(((struct record_thread *)0)->comm)));
	emit(e, BPF_EMIT_CALL(BPF_FUNC_get_current_comm));
	emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_1, BPF_REG_10, AT_TIME));
	emit(e, BPF_STX_MEM(BPF_DW, BPF_REG_7, BPF_REG_1, AT_RECORD(time)));
	emit_point(e, BPF_REG_1);
	emit(e, BPF_STX_MEM(BPF_W, BPF_REG_7, BPF_REG_1, AT_RECORD_POINT));
}

static size_t program_strings(const struct fetch_program *program)
{
	size_t n = 0;

	for (size_t i = 0; i < program->nargs; i++)
		n += program->kind[i] == PP_STRING;
	return n;
}

size_t emit_scratch_size(const struct fetch_program *const *programs, size_t nprograms)
{
	size_t most = EMIT_SCRATCH_SIZE;

	for (size_t i = 0; i < nprograms; i++) {
		size_t size = SCRATCH_SIZE(program_strings(programs[i]), fetch_string_max(programs[i]));

		most = size > most ? size : most;
	}
	return most;
}

/* Fills in the arguments of one spec. r3 = the size of the record with its struct record_thread. */
static void emit_record(struct emitter *e, const struct fetch_program *program, label output)
{
	int size = (int)(sizeof(struct record_thread) + sizeof(struct record)) + 8 * (int)program->nargs;
	size_t nstrings = program_strings(program);
	bool is_long =
		sizeof(struct record) + 8 * program->nargs + nstrings * RECORD_STRING_ROOM(fetch_string_max(program)) >
		8 * 255;
	emit(e, BPF_ST_MEM(BPF_W, BPF_REG_7, AT_RECORD_WORDS, (size - (int)sizeof(struct record_thread)) / 8));
	if (nstrings)
		emit(e, BPF_MOV64_IMM(BPF_REG_8, SCRATCH_RECORD + size));
	emit_registers(e);
	emit_arguments(e, program);
	if (nstrings) {
		emit(e, BPF_MOV64_REG(BPF_REG_1, BPF_REG_8));
		emit(e, BPF_ALU64_IMM(BPF_SUB, BPF_REG_1, SCRATCH_RECORD + sizeof(struct record_thread)));
		emit(e, BPF_ALU64_IMM(BPF_RSH, BPF_REG_1, 3));
		emit(e, BPF_STX_MEM(BPF_B, BPF_REG_7, BPF_REG_1, AT_RECORD_WORDS));
		if (is_long) {
			emit(e, BPF_ALU64_IMM(BPF_RSH, BPF_REG_1, 8));
			emit(e, BPF_STX_MEM(BPF_B, BPF_REG_7, BPF_REG_1, AT_RECORD_POINT + 3));
		}
		emit(e, BPF_MOV64_REG(BPF_REG_3, BPF_REG_8));
		emit(e, BPF_ALU64_IMM(BPF_SUB, BPF_REG_3, SCRATCH_RECORD));
	} else {
		emit(e, BPF_MOV64_IMM(BPF_REG_3, size));
	}
	emit(e, BPF_JMP_A(output));
}

static void emit_records(struct phases *p)
{
	struct emitter *e = &p->e;

	if (p->is_light || (!p->has_predicates && !p->has_aggregates))
		emit_scratch(e, p->lost);
	emit_record_head(e);
	emit_spec(e, BPF_REG_1);
	emit_dispatch(e, p->records, 0, p->specs->ngroups);
	for (size_t i = 0; i < p->specs->ngroups; i++)
		emit_record(e, emit_group_begin(p, p->records, i), p->output);
	e->group = NULL;
}

/* Puts the record of r3 bytes into the ring. */
static void emit_ring(struct emitter *e, label lost)
{
	emit_map_fd(e, BPF_REG_1, e->maps->ring);
	emit(e, BPF_MOV64_REG(BPF_REG_2, BPF_REG_7));
	emit(e, BPF_ALU64_IMM(BPF_ADD, BPF_REG_2, SCRATCH_RECORD));
	emit(e, BPF_MOV64_IMM(BPF_REG_4, BPF_RB_NO_WAKEUP));
	emit(e, BPF_EMIT_CALL(BPF_FUNC_ringbuf_output));
	emit(e, BPF_JMP_IMM(BPF_JNE, BPF_REG_0, 0, lost));
}

/* Stores the record of r3 bytes. Then emits the code at the labels lost, filtered and idle. */
static void emit_output(struct phases *p)
{
	struct emitter *e = &p->e;

	label_place(e, p->output);
	if (e->maps->flight_parts)
		emit_flight(e, p->lost);
	else
		emit_ring(e, p->lost);
	emit_count(e, offsetof(struct kernel_counts, recorded));
	emit(e, BPF_JMP_A(p->out));

	label_place(e, p->no_scratch);
	if (p->has_aggregates && !p->is_light)
		emit_aggregate_unread(e, p->ncolumns);
	label_place(e, p->lost);
	emit_count(e, offsetof(struct kernel_counts, lost));
	emit(e, BPF_JMP_A(p->out));

	label_place(e, p->filtered);
	if (p->has_predicates) { /* the verifier refuses code that is never reached */
		emit_count(e, offsetof(struct kernel_counts, filtered));
		emit(e, BPF_JMP_A(p->out));
	}

	if (p->has_samples) {
		label_place(e, p->unsampled);
		emit_atomic_add(e, BPF_REG_8, offsetof(struct kernel_sample, unsampled), 1);
		emit(e, BPF_JMP_A(p->out));
	}

	label_place(e, p->idle);
	emit_count(e, offsetof(struct kernel_counts, idle));
}

/* ---- the whole program ---- */

static int phases_open(struct phases *p)
{
	const struct fetch_sample *sample = &p->specs->programs[0]->sample;
	const size_t ngroups = p->specs->ngroups;

	p->predicates = calloc(3 * ngroups, sizeof(*p->predicates));
	if (!p->predicates)
		return error_nomem();
	p->records = p->predicates + ngroups;
	p->begins = p->records + ngroups;
	p->is_light = true;
	p->has_samples = sample->every > 1 || sample->rate;
	for (size_t i = 0; i < ngroups; i++) {
		const struct fetch_program *program = p->specs->programs[p->specs->groups[i].from];

		p->predicates[i] = label_new(&p->e);
		p->records[i] = label_new(&p->e);
		p->begins[i] = label_new(&p->e);
		p->has_predicates |= program->npredicate > 0;
		p->has_aggregates |= program->naggregate > 0;
		if (program->naggregate && program->aggregate->ncolumns > p->ncolumns)
			p->ncolumns = program->aggregate->ncolumns;
		p->is_light &= !program->npredicate && aggregate_is_light(&p->e, program);
	}
	/* Without them emit_predicates() is left out, and r7 is not scratch memory yet. */
	p->is_light |= !p->has_predicates && !p->has_aggregates;
	p->fetch = label_new(&p->e);
	p->output = label_new(&p->e);
	p->out = label_new(&p->e);
	p->filtered = label_new(&p->e);
	p->idle = label_new(&p->e);
	p->unsampled = label_new(&p->e);
	p->lost = label_new(&p->e);
	p->no_scratch = label_new(&p->e);
	p->missed = label_new(&p->e);
	p->unmatched = label_new(&p->e);
	p->known = label_new(&p->e);
	return 0;
}

static void emit_phases(struct phases *p)
{
	struct emitter *e = &p->e;
	bool between = e->match != MATCH_EXACT && e->match != MATCH_RETURN;

	emit_process_check(e, p->out);
	if (e->maps->scope)
		emit_scope_check(e, e->maps->scope, p->out);
	emit_counters(e, p->shards, p->out);
	emit_handover(e, p->out);
	if (e->role == SITE_LEAVE && between)
		emit_end_call(p);
	else if (e->role == SITE_LEAVE)
		emit_leave(e, p->out);
	emit_count(e, offsetof(struct kernel_counts, hits));
	if (e->role == SITE_CALL && between)
		emit_begin_call(p);
	else if (e->role == SITE_CALL)
		emit_call(e, p->out);
	if (e->role == SITE_CALL)
		return;
	if (e->maps->processes >= 0)
		emit_process_count(e);
	if (p->has_predicates || p->has_aggregates)
		emit_predicates(p);
	label_place(e, p->fetch);
	if (!p->has_aggregates)
		emit_sampling(p);
	emit_reader_check(e, p->idle);
	emit_records(p);
	emit_output(p);
	if (e->role == SITE_LEAVE && between) {
		emit(e, BPF_JMP_A(p->out));
		label_place(e, p->unmatched);
		emit_unmatched(e, p->out);
	}
}

int emit_program(const struct emit_specs *specs, const struct emit_maps *maps, uint32_t attachment, unsigned shards,
                 struct emitted *out)
{
	struct phases p = {
		.e = { .maps = maps,
		       .specs = specs,
		       .attachment = attachment,
		       .cpu = cpu_of(MACHINE_HERE, true),
		       .abi = abi_of(MACHINE_HERE),
		       .role = specs->programs[0]->role,
		       .match = specs->programs[0]->match },
		.specs = specs,
		.shards = shards,
	};
	int err = phases_open(&p);

	if (err)
		return err;
	emit_phases(&p);
	label_place(&p.e, p.out);
	emit_exit(&p.e);
	free(p.predicates);
	return emitter_finish(&p.e, out);
}

size_t emit_size_bound(const struct fetch_program *program)
{
	size_t cost = 16 + (program->naggregate ? EMIT_SAMPLE_MAX : 0);

	for (size_t i = 0; i < program->nsteps; i++)
		switch (program->steps[i].op) {
		case FETCH_STRING:
		case FETCH_STRINGN: cost += 60; break;
		case FETCH_STREQ:
		case FETCH_PREFIX:
		case FETCH_SEARCH:
		case FETCH_COMMEQ:
		case FETCH_COMMPREFIX: cost += 60 + 2 * FETCH_LITERAL_MAX; break;
		case FETCH_DIV:
		case FETCH_MOD: cost += 20; break;
		default: cost += 14 + emit_aggregate_bound(program, &program->steps[i]);
		}
	return cost;
}
