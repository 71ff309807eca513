/* SPDX-License-Identifier: MIT */
/*
 * Kernels after 6.18 replace an armed nop of 10 bytes, at its first hit, by two instructions: lea -128(%rsp), %rsp and a
 * call of a page that the kernel maps into the process, the trampoline. It makes a system call, uprobe(), instead of the
 * trap. A hit then costs about a quarter.
 *
 * This is not transparent, so a request must ask for it (--fast). A point is armed this way only if all of this is true:
 *
 * 1. The kernel does it. It answers uprobe() outside of a trampoline with EPROTO.
 * 2. The site is one of sys/sdt.h or the plugin of this project on x86-64, and its nop is in memory as in the file, or
 *    a uprobe has armed it. A jump of the agent, or a change of another tool, would be damaged when the kernel disarms.
 * 3. The point is for one process, so that the process can be checked.
 * 4. No thread of the process dispatches its system calls (PR_SET_SYSCALL_USER_DISPATCH): it would get SIGSYS for
 *    uprobe(). Children and programs that exec(2) starts do not inherit the setting. ptrace(2) can read it only of a
 *    stopped thread, so a BPF iterator over the threads reads it (syscall_work in struct thread_info).
 * 5. The addresses of the process are random, its heap too. Otherwise the trampoline may be mapped just after the heap, which
 *    could then not grow. So there must be room for a page between the program's data and the heap.
 * 6. No operand refers to the address of the instruction, which is the second one's at a hit.
 */
#include "runtime/kernel/fast.h"

#include <bpf/btf.h>
#include <elf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/personality.h>
#include <unistd.h>

#include "base/error.h"
#include "runtime/arm-point.h"
#include "runtime/cpu.h"
#include "runtime/fetch/program.h"
#include "runtime/insn-check.h"
#include "runtime/kernel/task-iterator.h"
#include "runtime/kernel/text-places.h"
#include "runtime/process.h"
#include "sdt/btf.h"
#include "sdt/image.h"
#include "sdt/operand.h"

/* ---- the kernel ---- */

static const char *kernel_why_not(void)
{
	switch (kernel_uprobe_error()) {
	case EPROTO: return NULL;
	case ENXIO:
	case ENOSYS: return "this kernel does not replace 10-byte nops by calls (Linux 7.2 does)";
	default: return "the kernel does not say whether it replaces 10-byte nops by calls (a seccomp filter?)";
	}
}

static bool file_read_number(const char *path, int base, unsigned long *number)
{
	char text[32] = "", *end;
	FILE *f = fopen(path, "re");
	bool read = f && fgets(text, sizeof(text), f);

	if (f)
		fclose(f);
	*number = strtoul(text, &end, base);
	return read && end != text;
}

/* ---- system calls that the process dispatches ---- */

/* Returns the value of SYSCALL_WORK_BIT_SYSCALL_USER_DISPATCH, or -1. */
static int dispatch_bit(const struct btf *btf)
{
	const int id = btf__find_by_name_kind(btf, "syscall_work_bit", BTF_KIND_ENUM);
	const struct btf_type *type = id < 0 ? NULL : btf__type_by_id(btf, (uint32_t)id);

	for (int i = 0; type && i < btf_vlen(type); i++) {
		const struct btf_enum *e = &btf_enum(type)[i];
		const char *name = btf__name_by_offset(btf, e->name_off);

		if (name && !strcmp(name, "SYSCALL_WORK_BIT_SYSCALL_USER_DISPATCH"))
			return e->val;
	}
	return -1;
}

static const char *dispatch_why_not(pid_t pid)
{
	struct btf *btf = btf__load_vmlinux_btf();
	const int bit = btf ? dispatch_bit(btf) : -1;
	const int info = bit < 0 ? -1 : btf_member_at(btf, "task_struct", "thread_info"),
		  work = bit < 0 ? -1 : btf_member_at(btf, "thread_info", "syscall_work");
	const struct task_word word = { .at = { info + work }, .n = 1, .size = BPF_DW };
	const char *why = "it is not known whether a thread dispatches its system calls (PR_SET_SYSCALL_USER_DISPATCH)";
	uint64_t bits;
	size_t n;

	if (info >= 0 && work >= 0 && tasks_read_word(btf, &word, pid, 0, &bits, &n) && n)
		why = bits >> bit & 1 ? "a thread dispatches its system calls (PR_SET_SYSCALL_USER_DISPATCH)" : NULL;
	btf__free(btf);
	return why;
}

/* ---- addresses ---- */

/* Reads field 47 of /proc/PID/stat, the begin of the heap. The name before the fields may contain anything. */
static bool heap_start(pid_t tid, uint64_t *start)
{
	char path[48], text[2048], *field;
	FILE *f;
	size_t n;

	snprintf(path, sizeof(path), "/proc/%d/stat", tid);
	f = fopen(path, "re");
	n = f ? fread(text, 1, sizeof(text) - 1, f) : 0;
	if (f)
		fclose(f);
	text[n] = 0;
	field = strrchr(text, ')'); /* field 2 */
	for (int i = 3; field && i <= 47; i++) {
		field = strchr(field, ' ');
		field += field != NULL;
	}
	*start = field ? strtoull(field, NULL, 10) : 0;
	return *start != 0;
}

static const char *heap_why_not(const struct process *process)
{
	const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	uint64_t start;

	if (!heap_start(process->tid, &start))
		return "the begin of the process's heap cannot be read";
	start &= -page;
	for (size_t i = 0; i < process->nmaps; i++)
		if (process->maps[i].start < start && process->maps[i].end + page > start)
			return "the heap begins just after other memory, so the kernel's page could stop it from growing";
	return NULL;
}

static const char *process_why_not(const struct process *process)
{
	unsigned long level, persona;
	char path[48];
	const char *why;

	if (!file_read_number("/proc/sys/kernel/randomize_va_space", 10, &level) || level != 2)
		return "addresses are not random here (kernel.randomize_va_space is not 2)";
	snprintf(path, sizeof(path), "/proc/%d/personality", process->tid);
	if (!file_read_number(path, 16, &persona))
		return "the personality of the process cannot be read";
	if (persona & ADDR_NO_RANDOMIZE)
		return "the addresses of the process are not random (setarch -R, or a debugger)";
	if (process->is_command)
		return NULL;
	why = heap_why_not(process);
	return why ? why : dispatch_why_not(process->pid);
}

/* ---- points ---- */

static bool program_reads_pc(const struct fetch_program *program)
{
	for (size_t i = 0; i < program->nsteps; i++)
		if (program->steps[i].op == FETCH_REG && program->steps[i].a == cpu_of(EM_X86_64, true)->pc)
			return true;
	return false;
}

static const char *site_why_not(const struct arm_point *point)
{
	const struct cpu_code *cpu = cpu_code(point->image->machine);

	if (!point->site->noted || !cpu->fast_at || !cpu->is_unarmed(point->site->code + cpu->fast_at))
		return "the probe has no 10-byte nop";
	return program_reads_pc(point->program) ? "an argument is at an address relative to the instruction" : NULL;
}

static void point_clear_fast(struct arm_point *point, const char *why)
{
	point->fast = false;
	arm_point_remark(point, error_format("--fast: %s; armed at the first byte of the site", why));
}

/* Clears fast where the nop in memory is neither the file's nor that of a uprobe. */
static int run_check_memory(struct arm_point *const *run, size_t n)
{
	const struct process *process = run[0]->process;
	struct text_places p = { 0 };
	int err = text_places_find(&p, process, run, n);
	bool denied = !err && text_places_read(&p, process, run) != 0;

	for (size_t k = 0; k < p.n && !err; k++) {
		struct arm_point *point = run[p.list[k].point];
		const struct text_place *place = &p.list[k];

		if (!point->fast || point->error)
			continue;
		if (denied || !place->got)
			point_clear_fast(point, "the code in memory cannot be read");
		else if (!text_rest_is_files(point, place->bytes) ||
		         !(text_start_is_files(point, place->bytes) || text_is_armed(point, place->bytes)))
			point_clear_fast(point, "the agent or another tool has changed the site's nop");
	}
	text_places_release(&p);
	return err;
}

/* Chooses for points of one image and process. *last and *last_why are of the process before. */
static int run_choose(struct arm_point *const *run, size_t n, const struct process **last, const char **last_why)
{
	const struct process *process = run[0]->process;
	const char *kernel = kernel_why_not(), *why;
	bool any = false;

	for (size_t i = 0; i < n; i++) {
		if (!run[i]->fast || run[i]->error)
			continue;
		why = site_why_not(run[i]);
		if (!why)
			why = kernel;
		if (!why && !process)
			why = "only a request for processes that run can check them, so name them (-p)";
		if (!why && process != *last) {
			*last = process;
			*last_why = process_why_not(process);
		}
		if (!why)
			why = *last_why;
		if (why)
			point_clear_fast(run[i], why);
		any |= run[i]->fast;
	}
	return any && !process->is_command ? run_check_memory(run, n) : 0;
}

int fast_choose(struct arm_point *const *points, size_t npoints)
{
	const struct process *last = NULL;
	const char *last_why = NULL;
	int err = 0;

	for (size_t i = 0, n; i < npoints && !err; i += n) {
		n = arm_points_run(points + i, npoints - i);
		err = run_choose(points + i, n, &last, &last_why);
	}
	return err;
}
