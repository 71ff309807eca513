/* SPDX-License-Identifier: MIT */
#include "runtime/kernel/namespace.h"

#include <bpf/btf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "runtime/kernel/kernel.h"
#include "runtime/kernel/task-iterator.h"
#include "sdt/btf.h"

uint32_t namespace_own(void)
{
	struct stat st;

	/* Kernels without pid namespaces do not have the file. */
	return stat("/proc/self/ns/pid", &st) || st.st_ino == PID_INIT_INO ? 0 : (uint32_t)st.st_ino;
}

/*
 * /proc of an outer namespace shows this process with another pid, which can equal the own one. Its status then lists the pids
 * in both.
 */
bool namespace_has_proc(void)
{
	FILE *f = fopen("/proc/self/status", "re");
	int pid = 0, inner, n = 0;
	char line[256];

	while (f && n < 1 && fgets(line, sizeof(line), f))
		n = sscanf(line, "NSpid: %d %d", &pid, &inner);
	if (f)
		fclose(f);
	if (n < 1) { /* a kernel without pid namespaces */
		n = readlink("/proc/self", line, sizeof(line) - 1) > 0;
		pid = getpid();
	}
	return n == 1 && pid == getpid();
}

bool namespace_is_foreign(const struct kernel_session *k)
{
	return k->config && k->config->pid_namespace != namespace_own();
}

int namespace_check(const struct kernel_session *k, const char *name, const char *what)
{
	if (!namespace_is_foreign(k))
		return 0;
	if (!k->config->pid_namespace)
		return error_set(EXDEV,
		                 "cannot %s session '%s' here: its process ids are those of the initial pid namespace; "
		                 "run the command outside of the container, or use another session (-s)",
		                 what, name);
	return error_set(
		EXDEV,
		"cannot %s session '%s' here: its process ids are those of pid namespace %u; run the command there "
		"(nsenter -p -m -t PID), or use another session (-s)",
		what, name, (unsigned)k->config->pid_namespace);
}

static bool offsets_find(struct kernel_namespace *ns, const struct btf *btf)
{
	const int upid = btf__find_by_name_kind(btf, "upid", BTF_KIND_STRUCT);

	ns->at.signal = btf_member_at(btf, "task_struct", "signal");
	ns->at.thread_pid = btf_member_at(btf, "task_struct", "thread_pid");
	ns->at.pids = btf_member_at(btf, "signal_struct", "pids");
	ns->at.level = btf_member_at(btf, "pid", "level");
	ns->at.numbers = btf_member_at(btf, "pid", "numbers");
	ns->at.nr = btf_member_at(btf, "upid", "nr");
	ns->at.ns = btf_member_at(btf, "upid", "ns");
	ns->at.upid = upid < 0 ? -1 : (int)btf__type_by_id(btf, (uint32_t)upid)->size;
	ns->at.inum = btf_member_at(btf, "pid_namespace", "ns");
	if (ns->at.inum >= 0) {
		int inum = btf_member_at(btf, "ns_common", "inum");

		ns->at.inum = inum < 0 ? -1 : ns->at.inum + inum;
	}
	return ns->at.signal >= 0 && ns->at.thread_pid >= 0 && ns->at.pids >= 0 && ns->at.level >= 0 &&
	       ns->at.numbers >= 0 && ns->at.nr >= 0 && ns->at.ns >= 0 && ns->at.upid > 0 && ns->at.inum >= 0;
}

int namespace_describe(struct kernel_namespace *ns)
{
	struct btf *btf;
	uint64_t level = 0;
	size_t n = 0;
	bool found;

	*ns = (struct kernel_namespace){ .inode = namespace_own() };
	if (!ns->inode)
		return 0;
	btf = btf__load_vmlinux_btf();
	found = btf && offsets_find(ns, btf);
	if (found) {
		const struct task_word word = { .at = { ns->at.thread_pid, ns->at.level }, .n = 2, .size = BPF_W };

		found = tasks_read_word(btf, &word, 0, gettid(), &level, &n) && n == 1;
	}
	btf__free(btf);
	if (!found)
		return error_set(EOPNOTSUPP,
		                 "the kernel's BTF does not describe pid namespaces; run the command outside of the "
		                 "container");
	ns->level = (int)level;
	return 0;
}

/* ---- programs ---- */

/* AT_WORD = size bytes at r0 + at, and r0 = AT_WORD; the rest of it is 0. Changes r1 to r5. */
static void emit_read(struct emitter *e, int at, int size, label out)
{
	emit(e, BPF_MOV64_REG(BPF_REG_3, BPF_REG_0));
	emit(e, BPF_ALU64_IMM(BPF_ADD, BPF_REG_3, at));
	emit(e, BPF_ST_MEM(BPF_DW, BPF_REG_10, AT_WORD, 0));
	emit_stack_address(e, BPF_REG_1, AT_WORD);
	emit(e, BPF_MOV64_IMM(BPF_REG_2, size));
	emit(e, BPF_EMIT_CALL(BPF_FUNC_probe_read_kernel));
	emit(e, BPF_JMP_IMM(BPF_JNE, BPF_REG_0, 0, out));
	emit(e, BPF_LDX_MEM(BPF_DW, BPF_REG_0, BPF_REG_10, AT_WORD));
}

/* r0 = the number in the namespace of the struct pid at r0 */
static void emit_number(struct emitter *e, const struct kernel_namespace *ns, label out)
{
	const int number = ns->at.numbers + ns->level * ns->at.upid;

	emit(e, BPF_JMP_IMM(BPF_JEQ, BPF_REG_0, 0, out));
	emit(e, BPF_MOV64_REG(BPF_REG_8, BPF_REG_0));
	emit_read(e, ns->at.level, 4, out);
	emit(e, BPF_JMP_IMM(BPF_JLT, BPF_REG_0, ns->level, out));
	emit(e, BPF_MOV64_REG(BPF_REG_0, BPF_REG_8));
	emit_read(e, number + ns->at.ns, 8, out);
	emit_read(e, ns->at.inum, 4, out);
	emit_imm64(e, BPF_REG_1, ns->inode);
	emit(e, BPF_JMP_REG(BPF_JNE, BPF_REG_0, BPF_REG_1, out));
	emit(e, BPF_MOV64_REG(BPF_REG_0, BPF_REG_8));
	emit_read(e, number + ns->at.nr, 4, out);
}

void emit_namespace_process(struct emitter *e, const struct kernel_namespace *ns, int type, label out)
{
	emit_read(e, ns->at.signal, 8, out);
	emit_read(e, ns->at.pids + 8 * type, 8, out);
	emit_number(e, ns, out);
}

void emit_namespace_thread(struct emitter *e, const struct kernel_namespace *ns, label out)
{
	emit_read(e, ns->at.thread_pid, 8, out);
	emit_number(e, ns, out);
}
