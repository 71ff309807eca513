/* SPDX-License-Identifier: MIT */
/*
 * The processes in scope, for programs to check.
 *
 * 1. SCOPE_CHILDREN is a map of process ids. A program at sched_process_fork adds the child of a process in the map,
 *    before the child runs. A program at sched_process_exit removes a process when its last thread exits, because
 *    another process may get its id.
 * 2. SCOPE_PGRP is a map of process group ids, which does not change.
 * 3. SCOPE_CGROUP is the id of a control group and its depth. The kernel has a helper that returns the ancestor of the
 *    current process's control group at that depth.
 *
 * The offsets of members of kernel structs come from the kernel's own BTF.
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
#include "runtime/kernel/namespace.h"
#include "sdt/btf.h"
#include "base/error.h"

#define SCOPE_PROCESSES_MAX 65536

int tracepoint_attach(const char *tracepoint, const struct bpf_insn *insns, size_t n)
{
	int id = libbpf_find_vmlinux_btf_id(tracepoint, BPF_TRACE_RAW_TP), prog, link, err;
	LIBBPF_OPTS(bpf_prog_load_opts, opts, .expected_attach_type = BPF_TRACE_RAW_TP, .attach_btf_id = id);

	if (id < 0)
		return error_set(EOPNOTSUPP, "this kernel does not have BTF of its tracepoint '%s'", tracepoint);
	prog = program_load(BPF_PROG_TYPE_TRACING, "pp_members", insns, n, &opts);
	if (prog < 0) {
		char *why = strdup(pp_error());

		prog = error_set(-prog, "cannot load the program of tracepoint '%s': %s", tracepoint,
		                 why ? why : strerror(-prog));
		free(why);
		return prog;
	}
	link = bpf_raw_tracepoint_open(NULL, prog);
	err = errno;
	close(prog);
	return link < 0 ? error_set(err, "cannot attach to tracepoint '%s': %s", tracepoint, strerror(err)) : link;
}

/* r0 = the process id of the task at r0, in the session's pid namespace. Changes r1 to r5, r8 and AT_WORD. */
static void emit_task_process(struct emitter *e, const struct kernel_namespace *ns, int tgid, label out)
{
	if (ns->inode)
		emit_namespace_process(e, ns, PIDTYPE_TGID, out);
	else
		emit(e, BPF_LDX_MEM(BPF_W, BPF_REG_0, BPF_REG_0, tgid));
}

/* sched_process_fork: adds the child to the map if its parent is in it. */
static void emit_fork(struct emitter *e, int map, int tgid, const struct kernel_namespace *ns)
{
	label end = label_new(e);

	emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_6, BPF_REG_1, 0)); /* the parent */
	emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_7, BPF_REG_1, 8)); /* the child */
	emit(e, BPF_LDX_MEM(BPF_W, BPF_REG_2, BPF_REG_6, tgid));
	emit(e, BPF_LDX_MEM(BPF_W, BPF_REG_3, BPF_REG_7, tgid));
	emit(e, BPF_JMP_REG(BPF_JEQ, BPF_REG_2, BPF_REG_3, end)); /* a thread, not a process */
	emit(e, BPF_MOV64_REG(BPF_REG_0, BPF_REG_6));
	emit_task_process(e, ns, tgid, end);
	emit(e, BPF_STX_MEM(BPF_W, BPF_REG_10, BPF_REG_0, AT_KEY));
	emit_map_fd(e, BPF_REG_1, map);
	emit_stack_address(e, BPF_REG_2, AT_KEY);
	emit(e, BPF_EMIT_CALL(BPF_FUNC_map_lookup_elem));
	emit(e, BPF_JMP_IMM(BPF_JEQ, BPF_REG_0, 0, end));
	emit(e, BPF_MOV64_REG(BPF_REG_0, BPF_REG_7));
	emit_task_process(e, ns, tgid, end);
	emit(e, BPF_STX_MEM(BPF_W, BPF_REG_10, BPF_REG_0, AT_KEY));
	emit_map_fd(e, BPF_REG_1, map);
	emit_stack_address(e, BPF_REG_2, AT_KEY);
	emit(e, BPF_MOV64_REG(BPF_REG_3, BPF_REG_2)); /* the value does not matter */
	emit(e, BPF_MOV64_IMM(BPF_REG_4, BPF_ANY));
	emit(e, BPF_EMIT_CALL(BPF_FUNC_map_update_elem));
	label_place(e, end);
	emit_exit(e);
}

/* sched_process_exit: removes the process from the map if its last thread exits. */
static void emit_process_exit(struct emitter *e, int map, int tgid, int signal, int live,
                              const struct kernel_namespace *ns)
{
	label end = label_new(e);

	emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_6, BPF_REG_1, 0));
	emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_4, BPF_REG_6, signal));
	emit(e, BPF_LDX_MEM(BPF_W, BPF_REG_4, BPF_REG_4, live));
	emit(e, BPF_JMP_IMM(BPF_JNE, BPF_REG_4, 0, end)); /* other threads continue */
	emit(e, BPF_MOV64_REG(BPF_REG_0, BPF_REG_6));
	emit_task_process(e, ns, tgid, end);
	emit(e, BPF_STX_MEM(BPF_W, BPF_REG_10, BPF_REG_0, AT_KEY));
	emit_map_fd(e, BPF_REG_1, map);
	emit_stack_address(e, BPF_REG_2, AT_KEY);
	emit(e, BPF_EMIT_CALL(BPF_FUNC_map_delete_elem));
	label_place(e, end);
	emit_exit(e);
}

/* Finishes the program and attaches it. Returns the link, or a negative errno with an error message. */
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

static int scope_follow_forks(struct kernel_scope *scope, const struct kernel_namespace *ns, const struct btf *btf)
{
	int tgid = btf_member_at(btf, "task_struct", "tgid"), signal = btf_member_at(btf, "task_struct", "signal");
	int live = btf_member_at(btf, "signal_struct", "live");
	struct emitter fork = { 0 }, exit = { 0 };

	if (tgid < 0 || signal < 0 || live < 0)
		return error_set(EOPNOTSUPP, "--children: this kernel's BTF does not describe processes");
	emit_fork(&fork, scope->map, tgid, ns);
	scope->fork_link = tracepoint_emit("sched_process_fork", &fork);
	if (scope->fork_link < 0)
		return scope->fork_link;
	emit_process_exit(&exit, scope->map, tgid, signal, live, ns);
	scope->exit_link = tracepoint_emit("sched_process_exit", &exit);
	return scope->exit_link < 0 ? scope->exit_link : 0;
}

static int scope_find_pgrp(struct kernel_scope *scope, const struct btf *btf)
{
	scope->at.signal = btf_member_at(btf, "task_struct", "signal");
	scope->at.pids = btf_member_at(btf, "signal_struct", "pids");
	scope->at.numbers = btf_member_at(btf, "pid", "numbers");
	scope->at.nr = btf_member_at(btf, "upid", "nr");
	if (scope->at.signal < 0 || scope->at.pids < 0 || scope->at.numbers < 0 || scope->at.nr < 0)
		return error_set(EOPNOTSUPP, "--pgrp: this kernel's BTF does not describe process groups");
	return 0;
}

static int scope_fill(struct kernel_scope *scope, const struct scope *request)
{
	for (size_t i = 0; i < request->npids; i++) {
		uint32_t key = request->pids[i], value = 0;

		if (request->kind == SCOPE_PGRP) {
			pid_t group = getpgid(request->pids[i]);

			if (group < 0)
				return error_set(errno, "pid %d: cannot read the process group: %s", request->pids[i],
				                 strerror(errno));
			if (!group)
				return error_set(EOPNOTSUPP,
				                 "pid %d: its process group is outside of this pid namespace",
				                 request->pids[i]);
			key = group;
		}
		if (bpf_map_update_elem(scope->map, &key, &value, BPF_ANY))
			return error_set(errno, "cannot fill a BPF map: %s", strerror(errno));
	}
	return 0;
}

static int scope_find_cgroup(struct kernel_scope *scope, const char *dir)
{
	char path[PATH_MAX];
	struct statfs fs;
	struct stat st, up;

	if (!realpath(dir, path) || statfs(path, &fs) || stat(path, &st))
		return error_set(errno, "cannot open '%s': %s", dir, strerror(errno));
	if (fs.f_type != CGROUP2_SUPER_MAGIC)
		return error_set(EINVAL, "'%s' is not a control group; name a directory of the cgroup2 file system",
		                 dir);
	scope->cgroup = st.st_ino;
	/* The depth is the number of directories from there to the root of the file system. */
	for (scope->cgroup_level = 0;; scope->cgroup_level++) {
		size_t n = strlen(path);

		if (n + 4 > sizeof(path))
			return error_set(ENAMETOOLONG, "cannot open '%s': %s", dir, strerror(ENAMETOOLONG));
		strcpy(path + n, "/..");
		if (stat(path, &up))
			return error_set(errno, "cannot stat '%s': %s", path, strerror(errno));
		if (up.st_dev != st.st_dev)
			return 0;
	}
}

static int scope_open_map(struct kernel_scope *scope, const struct scope *request, const struct kernel_namespace *ns)
{
	struct btf *btf;
	int err;

	scope->map = bpf_map_create(BPF_MAP_TYPE_HASH, "pp_members", 4, 4, SCOPE_PROCESSES_MAX, NULL);
	if (scope->map < 0)
		return error_set(errno, "cannot create a BPF map: %s", strerror(errno));
	err = scope_fill(scope, request);
	if (err)
		return err;
	btf = btf__load_vmlinux_btf();
	if (!btf)
		return error_set(EOPNOTSUPP, "--children and --pgrp: this kernel does not have BTF");
	err = scope->kind == SCOPE_CHILDREN ? scope_follow_forks(scope, ns, btf) : scope_find_pgrp(scope, btf);
	btf__free(btf);
	return err;
}

int kernel_scope_open(struct kernel_scope *scope, const struct scope *request, const struct kernel_namespace *ns)
{
	int err;

	*scope = KERNEL_SCOPE_NONE;
	scope->kind = request->kind;
	if (scope->kind == SCOPE_PROCESSES)
		return 0;
	if (scope->kind == SCOPE_CGROUP)
		return scope_find_cgroup(scope, request->cgroup);
	err = scope_open_map(scope, request, ns);
	if (err)
		kernel_scope_close(scope);
	return err;
}

void kernel_scope_close(struct kernel_scope *scope)
{
	if (scope->map >= 0)
		close(scope->map);
	if (scope->fork_link >= 0)
		close(scope->fork_link);
	if (scope->exit_link >= 0)
		close(scope->exit_link);
	scope->map = scope->fork_link = scope->exit_link = -1;
}
