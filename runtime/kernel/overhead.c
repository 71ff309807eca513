/* SPDX-License-Identifier: MIT */
/*
 * What a hit costs, in CPU time.
 *
 * 1. The trap. It is calibrated in this process: a loop over a nop, armed with a program that does nothing, less the
 *    same loop unarmed. The clock is the thread's CPU time, because wall time grows with the load of the machine. A
 *    second figure is for instructions that the kernel single-steps, measured at a `ret`.
 * 2. The program. The kernel adds up how long BPF programs run (BPF_ENABLE_STATS), but by a wall clock: a thread that
 *    is preempted in a program makes it look slow. The time is therefore read in short slices, and slices that stand
 *    out are left out.
 * 3. The targets. If every point belongs to a process that was named, hits cannot cost more CPU time than these
 *    processes used.
 */
#include "runtime/kernel/overhead.h"

#include <bpf/bpf.h>
#include <elf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "runtime/kernel/link.h"
#include "runtime/process.h"
#include "base/error.h"
#include "sdt/image.h"
#include "sdt/operand.h"

#define TRIES 7
#define ROUNDS 400 /* of one try: 2 ms where a trap costs 5 us */
#define SLICES_MAX 40
#define READINGS_MAX 2000 /* of programs, in one measurement */

/* ---- traps ---------------------------------------------------------------------- */

/* In assembly, because a compiler may put an endbr64 at the start of a function. */
__asm__(".pushsection .text\n\t.balign 16\n\t.hidden pp_cost_nop\n\t.globl pp_cost_nop\n"
        "pp_cost_nop:\n\tnop\n\t.hidden pp_cost_ret\n\t.globl pp_cost_ret\n"
        "pp_cost_ret:\n\tret\n\t.popsection");
__attribute__((visibility("hidden"))) void pp_cost_nop(void);
__attribute__((visibility("hidden"))) void pp_cost_ret(void);
#ifdef __x86_64__
/* An instruction of the kind that stands at the entry of functions and that the kernel single-steps. */
__asm__(".pushsection .text\n\t.balign 16\n\t.hidden pp_cost_lea\n\t.globl pp_cost_lea\n"
        "pp_cost_lea:\n\tlea (%rax), %rax\n\tret\n\t.popsection");
__attribute__((visibility("hidden"))) void pp_cost_lea(void);
#else
#define pp_cost_lea pp_cost_nop
#endif

static uint64_t cpu_ns(clockid_t clock)
{
	struct timespec t;

	return clock_gettime(clock, &t) ? 0 : (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static uint64_t loop(void (*site)(void))
{
	uint64_t best = ~0ull;

	for (int try = 0; try < TRIES; try++) {
		uint64_t start = cpu_ns(CLOCK_THREAD_CPUTIME_ID), took;

		for (int i = 0; i < ROUNDS; i++)
			site();
		took = cpu_ns(CLOCK_THREAD_CPUTIME_ID) - start;
		if (took < best)
			best = took;
	}
	return best;
}

/* Arms a function's first instruction in this process. Returns a link, or a negative errno. */
static int arm_site(void (*site)(void))
{
	struct process *self;
	int fd = -ENOENT, prog;

	if (process_open(getpid(), &self))
		return -ESRCH;
	if (process_read_maps(self)) {
		process_free(self);
		return -ESRCH;
	}
	prog = link_program_empty();
	for (size_t i = 0; i < self->nmaps && prog >= 0; i++) {
		const struct mapping *m = &self->maps[i];
		uint64_t address = (uintptr_t)site, zero = 0, offset = address - m->start + m->offset;
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

static double trap_at(void (*site)(void))
{
	uint64_t bare = loop(site), armed;
	int fd = arm_site(site);

	armed = fd >= 0 ? loop(site) : bare;
	link_close(fd);
	return armed > bare ? (double)(armed - bare) / ROUNDS : 0;
}

double cost_trap(void)
{
	static double known = -1;

	if (known < 0)
		known = trap_at(pp_cost_nop);
	return known;
}

double cost_step(void)
{
	static double known = -1;

	if (known < 0)
		known = trap_at(pp_cost_ret);
	return known > cost_trap() ? known : cost_trap();
}

/* The fastest of single calls, by the clock that durations are taken with. Preemption does not enter it. */
static uint64_t fastest_call(void (*site)(void))
{
	uint64_t best = ~0ull;

	for (int i = 0; i < ROUNDS; i++) {
		uint64_t start = clock_ns(), ns;

		site();
		ns = clock_ns() - start;
		best = ns < best ? ns : best;
	}
	return best;
}

static double least_trap_at(void (*site)(void))
{
	uint64_t bare = fastest_call(site), armed;
	int fd = arm_site(site);

	armed = fd >= 0 ? fastest_call(site) : bare;
	link_close(fd);
	return armed > bare ? (double)(armed - bare) : 0;
}

/* Whether the kernel does what the instruction does without executing it: nop, push, jmp, call. */
static bool is_emulated(const uint8_t *code)
{
	while (*code == 0x66)
		code++;
	code += *code == 0x41;
	return *code == 0x90 || (*code >= 0x50 && *code <= 0x57) || *code == 0xe8 || *code == 0xe9 || *code == 0xeb;
}

double cost_call(const struct pp_site *entry)
{
	static double known[2] = { -1, -1 };
	bool steps = MACHINE_HERE == EM_X86_64 && !is_emulated(entry->code);

	if (known[steps] < 0)
		known[steps] = least_trap_at(steps ? pp_cost_lea : pp_cost_nop);
	return known[steps];
}

/* ---- programs ------------------------------------------------------------------- */

struct programs {
	int *fds;
	size_t n;
};

static void programs_close(struct programs *p)
{
	for (size_t i = 0; i < p->n; i++)
		close(p->fds[i]);
	free(p->fds);
}

static int programs_add(struct programs *p, const struct attachment *attachment)
{
	const struct kernel_attachment *s = attachment->state;
	uint32_t last = 0;

	for (size_t i = 0; i < s->nlinks; i++) {
		struct bpf_prog_info info = { 0 };
		uint32_t size = sizeof(info);
		int fd, *more;

		if (s->links[i].dead)
			continue;
		fd = s->links[i].prog_fd >= 0 ? dup(s->links[i].prog_fd)
		                              : store_get(&s->session->store, "prog", (int)attachment->number, (int)i);
		if (fd < 0)
			continue;
		/* The links of one program are neighbours. */
		if (bpf_obj_get_info_by_fd(fd, &info, &size) || info.id == last) {
			close(fd);
			continue;
		}
		last = info.id;
		more = realloc(p->fds, (p->n + 1) * sizeof(*more));
		if (!more) {
			close(fd);
			return error_nomem();
		}
		p->fds = more;
		more[p->n++] = fd;
	}
	return 0;
}

static void programs_read(const struct programs *p, uint64_t *runs, uint64_t *ns)
{
	*runs = *ns = 0;
	for (size_t i = 0; i < p->n; i++) {
		struct bpf_prog_info info = { 0 };
		uint32_t size = sizeof(info);

		if (bpf_obj_get_info_by_fd(p->fds[i], &info, &size))
			continue;
		*runs += info.run_cnt;
		*ns += info.run_time_ns;
	}
}

struct slice {
	uint64_t runs, ns;
};

static int by_ns_per_run(const void *a, const void *b)
{
	const struct slice *x = a, *y = b;
	double p = (double)x->ns / (double)x->runs, q = (double)y->ns / (double)y->runs;

	return (p > q) - (p < q);
}

/* The mean of the slices, without those in which a thread was preempted within a program. */
static double ns_per_run(struct slice *slices, size_t n)
{
	uint64_t runs = 0, ns = 0;
	double quarter;

	if (!n)
		return 0;
	qsort(slices, n, sizeof(*slices), by_ns_per_run);
	quarter = (double)slices[n / 4].ns / (double)slices[n / 4].runs;
	for (size_t i = 0; i < n; i++) {
		if ((double)slices[i].ns / (double)slices[i].runs > 3 * quarter)
			break;
		runs += slices[i].runs;
		ns += slices[i].ns;
	}
	return runs ? (double)ns / (double)runs : quarter;
}

int cost_measure(const struct pp_session *session, cost_choice *mine, int ms, struct cost *cost)
{
	struct slice slices[SLICES_MAX];
	struct programs programs = { 0 };
	uint64_t start, runs, ns, first;
	size_t n = 0, readings;
	int stats = bpf_enable_stats(BPF_STATS_RUN_TIME), err = 0;

	*cost = (struct cost){ 0 };
	if (stats < 0)
		return error_set(errno, "the kernel does not measure programs for this user: %s", strerror(errno));
	for (size_t i = 0; i < session->nattachments && !err; i++)
		if (mine(session->attachments[i]))
			err = programs_add(&programs, session->attachments[i]);
	readings = programs.n ? READINGS_MAX / programs.n : 1;
	readings = readings > SLICES_MAX ? SLICES_MAX : readings ? readings : 1;
	start = clock_ns();
	programs_read(&programs, &runs, &ns);
	first = runs;
	/* A late wake-up makes a slice long, and the next ones short. */
	for (size_t i = 0; i < readings && !err; i++) {
		uint64_t runs_before = runs, ns_before = ns, next = start + (uint64_t)ms * 1000000 * (i + 1) / readings;

		clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME,
		                &(struct timespec){ (time_t)(next / 1000000000), (long)(next % 1000000000) }, NULL);
		programs_read(&programs, &runs, &ns);
		if (runs > runs_before)
			slices[n++] = (struct slice){ runs - runs_before, ns - ns_before };
	}
	cost->time = clock_ns() - start;
	cost->runs = runs - first;
	cost->program_ns = ns_per_run(slices, n);
	programs_close(&programs);
	close(stats);
	return err;
}

/* ---- targets -------------------------------------------------------------------- */

void targets_cpu_release(struct targets_cpu *t)
{
	free(t->list);
	*t = (struct targets_cpu){ 0 };
}

static int by_pid(const void *a, const void *b)
{
	const struct target_cpu *x = a, *y = b;

	return (x->pid > y->pid) - (x->pid < y->pid);
}

void targets_cpu_read(struct targets_cpu *t, const struct pp_session *session, cost_choice *mine)
{
	size_t n = 0;

	targets_cpu_release(t);
	for (size_t i = 0; i < session->nattachments; i++) {
		const struct attachment *attachment = session->attachments[i];

		for (uint32_t p = 0; mine(attachment) && p < attachment->manifest->npoints; p++) {
			pid_t pid = (pid_t)manifest_points(attachment->manifest)[p].pid;
			struct target_cpu *more;

			if (!pid) {
				targets_cpu_release(t);
				return; /* it may be any process */
			}
			if (t->n && t->list[t->n - 1].pid == pid)
				continue;
			more = realloc(t->list, (t->n + 1) * sizeof(*more));
			if (!more) {
				targets_cpu_release(t);
				return;
			}
			t->list = more;
			more[t->n++] = (struct target_cpu){ .pid = pid };
		}
	}
	if (t->n)
		qsort(t->list, t->n, sizeof(*t->list), by_pid);
	for (size_t i = 0; i < t->n; i++)
		if (!n || t->list[n - 1].pid != t->list[i].pid)
			t->list[n++] = t->list[i];
	t->n = n;
	for (size_t i = 0; i < n; i++) {
		clockid_t clock;

		t->list[i].ns = clock_getcpuclockid(t->list[i].pid, &clock) ? 0 : cpu_ns(clock);
	}
	t->known = n > 0;
}

double targets_cpu_used(const struct targets_cpu *before, const struct targets_cpu *now)
{
	uint64_t used = 0;

	if (!before->known || !now->known || before->n != now->n)
		return -1;
	for (size_t i = 0; i < now->n; i++) {
		if (before->list[i].pid != now->list[i].pid || !before->list[i].ns ||
		    now->list[i].ns < before->list[i].ns)
			return -1; /* one has ended */
		used += now->list[i].ns - before->list[i].ns;
	}
	return (double)used;
}

/* ---- all of it ------------------------------------------------------------------ */

uint64_t cost_hits(const struct attachment *attachment, uint32_t point)
{
	const struct kernel_attachment *s = attachment->state;
	uint64_t hits = 0;

	for (unsigned i = 0; i < s->shards; i++)
		hits += __atomic_load_n(&s->counts[(size_t)point * s->shards + i].hits, __ATOMIC_RELAXED);
	return hits;
}

double cost_trap_of(const struct attachment *attachment, uint32_t point)
{
	return manifest_points(attachment->manifest)[point].role == SITE_LEAVE ? cost_step() : cost_trap();
}

static bool by_kernel(const struct attachment *attachment)
{
	return attachment->backend == &backend_kernel;
}

/* Hits so far where the kernel single-steps. */
static uint64_t steps(const struct pp_session *session)
{
	uint64_t n = 0;

	for (size_t i = 0; i < session->nattachments; i++)
		for (uint32_t p = 0;
		     by_kernel(session->attachments[i]) && p < session->attachments[i]->manifest->npoints; p++)
			if (manifest_points(session->attachments[i]->manifest)[p].role == SITE_LEAVE)
				n += cost_hits(session->attachments[i], p);
	return n;
}

int kernel_cost(struct pp_session *session, int ms, struct pp_cost *cost)
{
	struct targets_cpu before = { 0 }, after = { 0 };
	struct cost measured;
	uint64_t stepped = steps(session);
	double used;
	int err;

	targets_cpu_read(&before, session, by_kernel);
	err = cost_measure(session, by_kernel, ms, &measured);
	targets_cpu_read(&after, session, by_kernel);
	stepped = steps(session) - stepped;
	used = targets_cpu_used(&before, &after);
	targets_cpu_release(&before);
	targets_cpu_release(&after);
	if (err)
		return err;
	*cost = (struct pp_cost){ .hits = measured.runs, .trap_ns = cost_trap(), .program_ns = measured.program_ns };
	if (cost->hits && stepped)
		cost->trap_ns += (cost_step() - cost->trap_ns) * (double)(stepped < cost->hits ? stepped : cost->hits) /
		                 (double)cost->hits;
	if (measured.time)
		cost->share = (double)cost->hits * (cost->trap_ns + cost->program_ns) / (double)measured.time;
	if (measured.time && used >= 0 && cost->share > used / (double)measured.time)
		cost->share = used / (double)measured.time;
	for (size_t i = 0; i < session->nattachments; i++) {
		const struct attachment *attachment = session->attachments[i];
		const struct kernel_attachment *s = attachment->state;

		for (uint32_t p = 0; by_kernel(attachment) && s->calls.counts && p < attachment->manifest->npoints; p++)
			if ((double)s->calls.counts[p].overhead > cost->call_ns)
				cost->call_ns = (double)s->calls.counts[p].overhead;
	}
	return 0;
}
