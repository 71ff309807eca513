/* SPDX-License-Identifier: MIT */
/*
 * What a hit costs. The kernel measures how long BPF programs run, if asked to
 * (BPF_ENABLE_STATS); what the trap costs around them it does not say. That is measured
 * on a nop of this process's own, with a program that does nothing: the time of a
 * loop over it, armed less not armed.
 */
#include "runtime/kernel/cost.h"

#include <bpf/bpf.h>
#include <elf.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "runtime/clock.h"
#include "runtime/kernel/link.h"
#include "runtime/process.h"
#include "sdt/error.h"
#include "sdt/image.h"
#include "sdt/operand.h"

#define ROUNDS 2000

int cost_begin(void)
{
	int fd = bpf_enable_stats(BPF_STATS_RUN_TIME);

	return fd >= 0 ? fd : error_set(errno, "the kernel does not measure programs for this user: %s", strerror(errno));
}

void cost_read(const struct segment *segment, struct cost *cost)
{
	const struct kernel_segment *s = segment->state;
	uint32_t last = 0;

	for (size_t i = 0; i < s->nlinks; i++) {
		struct bpf_prog_info info = { 0 };
		uint32_t size = sizeof(info);
		int fd = s->links[i].prog_fd;

		if (fd < 0)
			fd = store_get(&s->session->store, "prog", (int)segment->number, (int)i);
		/* The links of one program stand together. */
		if (fd >= 0 && !bpf_obj_get_info_by_fd(fd, &info, &size) && info.id != last) {
			cost->runs += info.run_cnt;
			cost->ns += info.run_time_ns;
			last = info.id;
		}
		if (fd >= 0 && fd != s->links[i].prog_fd)
			close(fd);
	}
	cost->time = clock_ns();
}

__attribute__((noinline, aligned(16))) static void site(void)
{
	__asm__ volatile("nop\n\tnop");
}

#ifdef __x86_64__
/* Of the instructions that the kernel executes out of line, step by step. */
__attribute__((noinline, aligned(16))) static void stepped(void)
{
	__asm__ volatile("lea (%%rax), %%rax\n\tnop" ::: "rax");
}
#else
#define stepped site
#endif

static uint64_t loop(void (*volatile function)(void), int rounds)
{
	uint64_t best = ~0ull;

	for (int try = 0; try < 3; try++) {
		uint64_t start = clock_ns();

		for (int i = 0; i < rounds; i++)
			function();
		if (clock_ns() - start < best)
			best = clock_ns() - start;
	}
	return best;
}

/* Where the instruction of stepped() is: behind what the compiler puts before it. */
static uint64_t instruction(void (*function)(void))
{
	static const unsigned char lea[] = { 0x48, 0x8d, 0x00 };
	const unsigned char *at = (const unsigned char *)(uintptr_t)function;

	for (size_t i = 0; function != site && i < 16; i++)
		if (!memcmp(at + i, lea, sizeof(lea)))
			return (uintptr_t)at + i;
	return (uintptr_t)at;
}

/* Arms the function in this process: a link, or a negative errno. */
static int arm_site(void (*function)(void))
{
	static const struct bpf_insn nothing[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	struct process *self;
	int fd = -ENOENT, prog;

	if (process_open(getpid(), &self))
		return -ESRCH;
	if (process_read_maps(self)) {
		process_free(self);
		return -ESRCH;
	}
	prog = link_program(nothing, 2);
	for (size_t i = 0; i < self->nmaps && prog >= 0; i++) {
		const struct mapping *m = &self->maps[i];
		uint64_t address = instruction(function), zero = 0, offset = address - m->start + m->offset;
		struct link_points points = { .n = 1, .offsets = &offset, .semaphores = &zero, .cookies = &zero };

		if (m->exec && address >= m->start && address < m->end)
			fd = link_multi_supported() ? link_multi(prog, m->path, getpid(), &points)
			                            : link_perf(prog, m->path, getpid(), offset, 0, 0);
	}
	if (prog >= 0)
		close(prog);
	process_free(self);
	return fd;
}

/* The fastest of single calls: what other threads and the scheduler add is not in it. */
static uint64_t fastest(void (*volatile function)(void), int rounds)
{
	uint64_t best = ~0ull;

	for (int i = 0; i < rounds; i++) {
		uint64_t start = clock_ns(), ns;

		function();
		ns = clock_ns() - start;
		best = ns < best ? ns : best;
	}
	return best;
}

/* ns that a trap at the function's instruction takes at least. */
static double measure_least(void (*function)(void))
{
	uint64_t bare = fastest(function, ROUNDS / 10), armed;
	int fd = arm_site(function);

	armed = fd >= 0 ? fastest(function, ROUNDS / 10) : bare;
	link_close(fd);
	return armed > bare ? (double)(armed - bare) : 0;
}

/* ns of a trap at the function's instruction. */
static double measure(void (*function)(void), int rounds)
{
	uint64_t bare = loop(function, rounds), armed;
	int fd = arm_site(function);

	armed = fd >= 0 ? loop(function, rounds) : bare;
	link_close(fd);
	return armed > bare ? (double)(armed - bare) / rounds : 0;
}

double cost_trap(void)
{
	static double known = -1;

	if (known < 0)
		known = measure(site, ROUNDS);
	return known;
}

/* Whether the kernel does what the instruction does without executing it: nop, push, jmp, call. */
static bool is_emulated(const uint8_t *code)
{
	while (*code == 0x66)
		code++;
	code += *code == 0x41;
	return *code == 0x90 || (*code >= 0x50 && *code <= 0x57) || *code == 0xe8 || *code == 0xe9 || *code == 0xeb;
}

double cost_call(const struct pp_site *at)
{
	static double known[2] = { -1, -1 };
	bool steps = MACHINE_HERE == EM_X86_64 && !is_emulated(at->code);

	if (known[steps] < 0)
		known[steps] = measure_least(steps ? stepped : site);
	return known[steps];
}

int kernel_cost(struct pp_session *session, int ms, struct pp_cost *cost)
{
	struct cost before = { 0 }, after = { 0 };
	int fd = cost_begin();

	if (fd < 0)
		return fd;
	for (size_t i = 0; i < session->nsegments; i++)
		if (session->segments[i]->backend == &backend_kernel)
			cost_read(session->segments[i], &before);
	nanosleep(&(struct timespec){ ms / 1000, ms % 1000 * 1000000l }, NULL);
	for (size_t i = 0; i < session->nsegments; i++)
		if (session->segments[i]->backend == &backend_kernel)
			cost_read(session->segments[i], &after);
	close(fd);
	*cost = (struct pp_cost){ .hits = after.runs - before.runs, .trap_ns = cost_trap() };
	for (size_t i = 0; i < session->nsegments; i++) {
		const struct segment *segment = session->segments[i];
		const struct kernel_segment *s = segment->state;

		for (uint32_t p = 0; segment->backend == &backend_kernel && s->calls.counts && p < segment->desc->npoints; p++)
			if ((double)s->calls.counts[p].overhead > cost->call_ns)
				cost->call_ns = (double)s->calls.counts[p].overhead;
	}
	if (cost->hits)
		cost->program_ns = (double)(after.ns - before.ns) / (double)cost->hits;
	if (after.time > before.time)
		cost->share = (double)cost->hits * (cost->trap_ns + cost->program_ns) / (double)(after.time - before.time);
	return 0;
}
