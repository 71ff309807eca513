/* SPDX-License-Identifier: MIT */
/*
 * Membership. The processes of SCOPE_CHILDREN are a map, which two programs keep:
 * at each fork the child of a member becomes one (before it runs), at the exit of
 * a process's last thread it is taken out, so that its number can go to somebody
 * else. Offsets in kernel structs come from the kernel's own BTF.
 */
#include "runtime/kernel/scope.h"

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <limits.h>
#include <linux/bpf.h>
#include <linux/magic.h>
#include <probepoint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "runtime/kernel/emitter.h"
#include "runtime/kernel/link.h"
#include "sdt/btf.h"
#include "base/error.h"

#define MEMBERS_MAX 65536

int tracepoint_attach(const char *tracepoint, const struct bpf_insn *insns, size_t n)
{
	int id = libbpf_find_vmlinux_btf_id(tracepoint, BPF_TRACE_RAW_TP), prog, link, err;
	LIBBPF_OPTS(bpf_prog_load_opts, opts, .expected_attach_type = BPF_TRACE_RAW_TP, .attach_btf_id = id);

	if (id < 0)
		return error_set(EOPNOTSUPP, "this kernel has no BTF of its tracepoint %s, which is needed",
		                 tracepoint);
	prog = program_load(BPF_PROG_TYPE_TRACING, "pp_members", insns, n, &opts);
	if (prog < 0) {
		char *why = strdup(pp_error());

		prog = error_set(-prog, "the kernel's tracepoint %s: %s", tracepoint, why ? why : strerror(-prog));
		free(why);
		return prog;
	}
	link = bpf_raw_tracepoint_open(NULL, prog);
	err = errno;
	close(prog);
	return link < 0 ? error_set(err, "cannot attach to the tracepoint %s: %s", tracepoint, strerror(err)) : link;
}

/* sched_process_fork: adds the child to the map if its parent is in it. */
static void emit_fork(struct emitter *e, int map, int tgid)
{
	label end = label_new(e);

	emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_2, BPF_REG_1, 0)); /* the parent */
	emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_3, BPF_REG_1, 8)); /* the child */
	emit(e, BPF_LDX_MEM(BPF_W, BPF_REG_6, BPF_REG_2, tgid));
	emit(e, BPF_LDX_MEM(BPF_W, BPF_REG_7, BPF_REG_3, tgid));
	emit(e, BPF_JMP_REG(BPF_JEQ, BPF_REG_6, BPF_REG_7, end)); /* a thread, not a process */
	emit(e, BPF_STX_MEM(BPF_W, BPF_REG_10, BPF_REG_6, -4));
	emit_map_fd(e, BPF_REG_1, map);
	emit_stack_address(e, BPF_REG_2, -4);
	emit(e, BPF_EMIT_CALL(BPF_FUNC_map_lookup_elem));
	emit(e, BPF_JMP_IMM(BPF_JEQ, BPF_REG_0, 0, end));
	emit(e, BPF_STX_MEM(BPF_W, BPF_REG_10, BPF_REG_7, -4));
	emit_map_fd(e, BPF_REG_1, map);
	emit_stack_address(e, BPF_REG_2, -4);
	emit(e, BPF_MOV64_REG(BPF_REG_3, BPF_REG_2)); /* the value does not matter */
	emit(e, BPF_MOV64_IMM(BPF_REG_4, BPF_ANY));
	emit(e, BPF_EMIT_CALL(BPF_FUNC_map_update_elem));
	label_place(e, end);
	emit_exit(e);
}

/* sched_process_exit: removes the process from the map if its last thread exits. */
static void emit_process_exit(struct emitter *e, int map, int tgid, int signal, int live)
{
	label end = label_new(e);

	emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_2, BPF_REG_1, 0));
	emit(e, BPF_LDX_MEM(BPF_W, BPF_REG_3, BPF_REG_2, tgid));
	emit(e, BPF_STX_MEM(BPF_W, BPF_REG_10, BPF_REG_3, -4));
	emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_4, BPF_REG_2, signal));
	emit(e, BPF_LDX_MEM(BPF_W, BPF_REG_4, BPF_REG_4, live));
	emit(e, BPF_JMP_IMM(BPF_JNE, BPF_REG_4, 0, end)); /* other threads continue */
	emit_map_fd(e, BPF_REG_1, map);
	emit_stack_address(e, BPF_REG_2, -4);
	emit(e, BPF_EMIT_CALL(BPF_FUNC_map_delete_elem));
	label_place(e, end);
	emit_exit(e);
}

/* Finishes the program and attaches it to the tracepoint. Returns the link, or a negative errno with an error message. */
static int tracepoint_emit(const char *tracepoint, struct emitter *e)
{
	struct emitted program;
	int fd = emitter_finish(e, &program);

	if (fd)
		return fd;
	fd = tracepoint_attach(tracepoint, program.insns, program.ninsns);
	free(program.insns);
	return fd;
}

static int follow_forks(struct members *m, const struct btf *btf)
{
	int tgid = btf_member_at(btf, "task_struct", "tgid"), signal = btf_member_at(btf, "task_struct", "signal");
	int live = btf_member_at(btf, "signal_struct", "live");
	struct emitter fork = { 0 }, exit = { 0 };

	if (tgid < 0 || signal < 0 || live < 0)
		return error_set(EOPNOTSUPP, "this kernel's BTF does not describe processes: --children needs it");
	emit_fork(&fork, m->map, tgid);
	m->fork_link = tracepoint_emit("sched_process_fork", &fork);
	if (m->fork_link < 0)
		return m->fork_link;
	emit_process_exit(&exit, m->map, tgid, signal, live);
	m->exit_link = tracepoint_emit("sched_process_exit", &exit);
	return m->exit_link < 0 ? m->exit_link : 0;
}

static int find_pgrp(struct members *m, const struct btf *btf)
{
	m->at.signal = btf_member_at(btf, "task_struct", "signal");
	m->at.pids = btf_member_at(btf, "signal_struct", "pids");
	m->at.numbers = btf_member_at(btf, "pid", "numbers");
	m->at.nr = btf_member_at(btf, "upid", "nr");
	if (m->at.signal < 0 || m->at.pids < 0 || m->at.numbers < 0 || m->at.nr < 0)
		return error_set(EOPNOTSUPP, "this kernel's BTF does not describe process groups: --pgrp needs it");
	return 0;
}

static int fill(struct members *m, const struct scope *scope)
{
	for (size_t i = 0; i < scope->npids; i++) {
		uint32_t key = scope->pids[i], value = 0;

		if (scope->kind == SCOPE_PGRP) {
			pid_t group = getpgid(scope->pids[i]);

			if (group < 0)
				return error_set(errno, "process %d: %s", scope->pids[i], strerror(errno));
			key = group;
		}
		if (bpf_map_update_elem(m->map, &key, &value, BPF_ANY))
			return error_set(errno, "cannot fill a BPF map: %s", strerror(errno));
	}
	return 0;
}

static int find_cgroup(struct members *m, const char *dir)
{
	char path[PATH_MAX];
	struct statfs fs;
	struct stat st, up;

	if (!realpath(dir, path) || statfs(path, &fs) || stat(path, &st))
		return error_set(errno, "%s: %s", dir, strerror(errno));
	if (fs.f_type != CGROUP2_SUPER_MAGIC)
		return error_set(EINVAL, "%s is no control group: name a folder of the cgroup2 file system", dir);
	m->cgroup = st.st_ino;
	/* its depth: how many folders up to where the file system begins */
	for (m->cgroup_level = 0;; m->cgroup_level++) {
		size_t n = strlen(path);

		if (n + 4 > sizeof(path))
			return error_set(ENAMETOOLONG, "%s: its name is too long", dir);
		strcpy(path + n, "/..");
		if (stat(path, &up))
			return error_set(errno, "%s: %s", path, strerror(errno));
		if (up.st_dev != st.st_dev)
			return 0;
	}
}

int members_open(struct members *m, const struct scope *scope)
{
	struct btf *btf = NULL;
	int err;

	*m = (struct members){ .kind = scope->kind, .map = -1, .fork_link = -1, .exit_link = -1 };
	if (scope->kind == SCOPE_PROCESSES)
		return 0;
	if (scope->kind == SCOPE_CGROUP)
		return find_cgroup(m, scope->cgroup);
	m->map = bpf_map_create(BPF_MAP_TYPE_HASH, "pp_members", 4, 4, MEMBERS_MAX, NULL);
	err = m->map < 0 ? error_set(errno, "cannot make a BPF map: %s", strerror(errno)) : fill(m, scope);
	if (!err && !(btf = btf__load_vmlinux_btf()))
		err = error_set(EOPNOTSUPP, "this kernel has no BTF: --children and --pgrp need it");
	if (!err)
		err = scope->kind == SCOPE_CHILDREN ? follow_forks(m, btf) : find_pgrp(m, btf);
	btf__free(btf);
	if (err)
		members_close(m);
	return err;
}

void members_close(struct members *m)
{
	if (m->map >= 0)
		close(m->map);
	if (m->fork_link >= 0)
		close(m->fork_link);
	if (m->exit_link >= 0)
		close(m->exit_link);
	m->map = m->fork_link = m->exit_link = -1;
}
