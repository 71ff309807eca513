/* SPDX-License-Identifier: MIT */
/*
 * The CPU time of a hit has three parts.
 *
 * 1. The trap. It is measured in this process: the time of a loop over a nop that is armed with an empty program, minus
 *    the time of the same loop unarmed. The clock is the thread's CPU time, because elapsed time grows with the load of
 *    the machine. A second figure, measured at a `ret`, is for instructions that the kernel single-steps.
 * 2. The program. The kernel adds up how long BPF programs run (BPF_ENABLE_STATS), but in elapsed time: a thread that
 *    is preempted in a program makes the program look slow. So the time is read in short slices, and slices that are
 *    much slower than the others are left out.
 * 3. The limit by targets. If every point belongs to a named process, hits cannot take more CPU time than these
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

#include "base/array.h"
#include "base/clock.h"
#include "base/error.h"
#include "runtime/cpu.h"
#include "runtime/kernel/link.h"
#include "runtime/process.h"
#include "sdt/image.h"
#include "sdt/operand.h"

#define TRIES 7
#define ROUNDS 400 /* of one try: 2 ms if a trap takes 5 us */
#define SLICES_MAX 40
#define READINGS_MAX 2000 /* of programs, in one measurement */

/* ---- traps ---- */

/* Written in assembly, because a compiler may put an endbr64 at the beginning of a function. */
__asm__(".pushsection .text\n\t.balign 16\n\t.hidden pp_overhead_nop\n\t.globl pp_overhead_nop\n"
        "pp_overhead_nop:\n\tnop\n\t.hidden pp_overhead_ret\n\t.globl pp_overhead_ret\n"
        "pp_overhead_ret:\n\tret\n\t.popsection");
__attribute__((visibility("hidden"))) void pp_overhead_nop(void);
__attribute__((visibility("hidden"))) void pp_overhead_ret(void);
#ifdef __x86_64__
/* An instruction that is common at the entry of functions and that the kernel single-steps. */
__asm__(".pushsection .text\n\t.balign 16\n\t.hidden pp_overhead_lea\n\t.globl pp_overhead_lea\n"
        "pp_overhead_lea:\n\tlea (%rax), %rax\n\tret\n\t.popsection");
/* The second instruction of a site. */
__asm__(".pushsection .text\n\t.balign 16\n\t.hidden pp_overhead_nop10\n\t.globl pp_overhead_nop10\n"
        "pp_overhead_nop10:\n\t.byte 0x66, 0x2e, 0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0\n\tret\n\t.popsection");
__attribute__((visibility("hidden"))) void pp_overhead_nop10(void);
#else
__asm__(".pushsection .text\n\t.balign 16\n\t.hidden pp_overhead_lea\n\t.globl pp_overhead_lea\n"
        "pp_overhead_lea:\n\tadd x0, x0, #0\n\tret\n\t.popsection");
#define pp_overhead_nop10 pp_overhead_nop
#endif
__attribute__((visibility("hidden"))) void pp_overhead_lea(void);

static uint64_t clock_cpu_ns(clockid_t clock)
{
	struct timespec t;

	return clock_gettime(clock, &t) ? 0 : (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* Returns the CPU time of ROUNDS calls: the least of several tries. */
static uint64_t site_loop(void (*site)(void))
{
	uint64_t best = ~0ull;

	for (int try = 0; try < TRIES; try++) {
		uint64_t start = clock_cpu_ns(CLOCK_THREAD_CPUTIME_ID), took;

		for (int i = 0; i < ROUNDS; i++)
			site();
		took = clock_cpu_ns(CLOCK_THREAD_CPUTIME_ID) - start;
		if (took < best)
			best = took;
	}
	return best;
}

static const struct mapping *mapping_of_code(const struct process *process, uint64_t address)
{
	for (size_t i = 0; i < process->nmaps; i++) {
		const struct mapping *m = &process->maps[i];

		if (m->exec && address >= m->start && address < m->end)
			return m;
	}
	return NULL;
}

/*
 * Arms the first instruction of a function in this process, with an empty program. Returns a link, or a negative errno.
 */
static int site_arm(void (*site)(void))
{
	uint64_t zero = 0, offset;
	struct link_points points = { .n = 1, .offsets = &offset, .semaphores = &zero, .cookies = &zero };
	const struct mapping *m;
	struct process *self;
	int fd = -ENOENT, prog;

	if (process_open(getpid(), &self))
		return -ESRCH;
	m = process_read_maps(self) ? NULL : mapping_of_code(self, (uintptr_t)site);
	if (!m)
		goto out;
	prog = link_program_empty();
	if (prog < 0)
		goto out;
	offset = (uintptr_t)site - m->start + m->offset;
	fd = link_multi_supported() ? link_multi(prog, m->path, getpid(), &points)
	                            : link_perf(prog, m->path, getpid(), offset, 0, 0, false);
	close(prog);
out:
	process_free(self);
	return fd;
}

static double site_trap_ns(void (*site)(void))
{
	uint64_t bare = site_loop(site), armed;
	int fd = site_arm(site);

	armed = fd >= 0 ? site_loop(site) : bare;
	link_close(fd);
	return armed > bare ? (double)(armed - bare) / ROUNDS : 0;
}

double overhead_trap_ns(void)
{
	static double known = -1;

	if (known < 0)
		known = site_trap_ns(pp_overhead_nop);
	return known;
}

double overhead_step_ns(void)
{
	static double known = -1;

	if (known < 0)
		known = site_trap_ns(pp_overhead_ret);
	return known > overhead_trap_ns() ? known : overhead_trap_ns();
}

/* Returns the same for the call that the kernel makes of the second instruction of a site. */
static double overhead_fast_ns(void)
{
	static double known = -1;

	if (known < 0)
		known = site_trap_ns(pp_overhead_nop10);
	return known > 0 && known < overhead_trap_ns() ? known : overhead_trap_ns();
}

/* Returns whether the point is a return instruction, which has no flags in its role. */
static bool point_is_stepped(const struct manifest_point *point)
{
	return point->role == SITE_LEAVE;
}

double overhead_point_ns(const struct attachment *attachment, uint32_t point)
{
	const struct manifest_point *p = &manifest_points(attachment->manifest)[point];

	if (manifest_point_is_fast(p))
		return overhead_fast_ns();
	return point_is_stepped(p) ? overhead_step_ns() : overhead_trap_ns();
}

/*
 * Returns the time of the fastest single call, by the clock of durations. A call that was preempted is not the fastest.
 */
static uint64_t site_fastest_call(void (*site)(void))
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

static double site_least_trap_ns(void (*site)(void))
{
	uint64_t bare = site_fastest_call(site), armed;
	int fd = site_arm(site);

	armed = fd >= 0 ? site_fastest_call(site) : bare;
	link_close(fd);
	return armed > bare ? (double)(armed - bare) : 0;
}

double overhead_call_ns(const struct pp_site *entry)
{
	static double known[2] = { -1, -1 };
	bool steps = !cpu_code(MACHINE_HERE)->is_emulated(entry->code);

	if (known[steps] < 0)
		known[steps] = site_least_trap_ns(steps ? pp_overhead_lea : pp_overhead_nop);
	return known[steps];
}

/* ---- programs ---- */

struct programs {
	int *fds;
	size_t n, room;
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
		int fd;

		if (s->links[i].dead)
			continue;
		if (ALLOC_GROW(p->fds, p->n + 1, p->room))
			return -ENOMEM;
		fd = s->links[i].prog_fd >= 0 ? dup(s->links[i].prog_fd)
		                              : pin_get(&s->session->pins, "prog", (int)attachment->number, (int)i);
		if (fd < 0)
			continue;
		/* The links of one program are neighbours. */
		if (bpf_obj_get_info_by_fd(fd, &info, &size) || info.id == last) {
			close(fd);
			continue;
		}
		last = info.id;
		p->fds[p->n++] = fd;
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

static int slice_compare(const void *a, const void *b)
{
	const struct slice *x = a, *y = b;
	double p = (double)x->ns / (double)x->runs, q = (double)y->ns / (double)y->runs;

	return (p > q) - (p < q);
}

/* Returns the mean ns of a run, without the slices in which a thread was preempted within a program. */
static double slices_ns_per_run(struct slice *slices, size_t n)
{
	uint64_t runs = 0, ns = 0;
	double quarter;

	if (!n)
		return 0;
	qsort(slices, n, sizeof(*slices), slice_compare);
	quarter = (double)slices[n / 4].ns / (double)slices[n / 4].runs;
	for (size_t i = 0; i < n; i++) {
		if ((double)slices[i].ns / (double)slices[i].runs > 3 * quarter)
			break;
		runs += slices[i].runs;
		ns += slices[i].ns;
	}
	return runs ? (double)ns / (double)runs : quarter;
}

static void programs_measure(const struct programs *p, int ms, struct overhead *overhead)
{
	struct slice slices[SLICES_MAX];
	uint64_t start = clock_ns(), runs, ns, first;
	size_t n = 0, readings = p->n ? READINGS_MAX / p->n : 1;

	readings = readings > SLICES_MAX ? SLICES_MAX : readings ? readings : 1;
	programs_read(p, &runs, &ns);
	first = runs;
	/*
	 * The times to wake up are absolute: after a late wake-up, which makes a slice long, the next slices are
	 * shorter.
	 */
	for (size_t i = 0; i < readings; i++) {
		uint64_t runs_before = runs, ns_before = ns, next = start + (uint64_t)ms * 1000000 * (i + 1) / readings;

		clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME,
		                &(struct timespec){ (time_t)(next / 1000000000), (long)(next % 1000000000) }, NULL);
		programs_read(p, &runs, &ns);
		if (runs > runs_before)
			slices[n++] = (struct slice){ runs - runs_before, ns - ns_before };
	}
	overhead->time = clock_ns() - start;
	overhead->runs = runs - first;
	overhead->program_ns = slices_ns_per_run(slices, n);
}

int overhead_measure(const struct pp_session *session, attachment_choice *mine, int ms, struct overhead *overhead)
{
	struct programs programs = { 0 };
	int stats = bpf_enable_stats(BPF_STATS_RUN_TIME), err = 0;

	*overhead = (struct overhead){ 0 };
	if (stats < 0)
		return error_set(errno, "cannot measure BPF programs: %s", strerror(errno));
	for (size_t i = 0; i < session->nattachments && !err; i++)
		if (mine(session->attachments[i]))
			err = programs_add(&programs, session->attachments[i]);
	if (!err)
		programs_measure(&programs, ms, overhead);
	programs_close(&programs);
	close(stats);
	return err;
}

/* ---- targets ---- */

void targets_cpu_release(struct targets_cpu *t)
{
	free(t->list);
	*t = (struct targets_cpu){ 0 };
}

static int target_compare_pid(const void *a, const void *b)
{
	const struct target_cpu *x = a, *y = b;

	return (x->pid > y->pid) - (x->pid < y->pid);
}

/* Adds the processes of an attachment. Returns -ENOENT if a point is armed for every process, or -ENOMEM. */
static int targets_cpu_add(struct targets_cpu *t, const struct attachment *attachment)
{
	if (attachment->backend->pid_namespace(attachment))
		return -ENOENT;
	for (uint32_t p = 0; p < attachment->manifest->npoints; p++) {
		pid_t pid = (pid_t)manifest_points(attachment->manifest)[p].pid;

		if (!pid)
			return -ENOENT;
		if (t->n && t->list[t->n - 1].pid == pid)
			continue;
		if (ALLOC_GROW(t->list, t->n + 1, t->room))
			return -ENOMEM;
		t->list[t->n++] = (struct target_cpu){ .pid = pid };
	}
	return 0;
}

static void targets_cpu_unique(struct targets_cpu *t)
{
	size_t n = 0;

	if (t->n)
		qsort(t->list, t->n, sizeof(*t->list), target_compare_pid);
	for (size_t i = 0; i < t->n; i++)
		if (!n || t->list[n - 1].pid != t->list[i].pid)
			t->list[n++] = t->list[i];
	t->n = n;
}

void targets_cpu_read(struct targets_cpu *t, const struct pp_session *session, attachment_choice *mine)
{
	targets_cpu_release(t);
	for (size_t i = 0; i < session->nattachments; i++)
		if (mine(session->attachments[i]) && targets_cpu_add(t, session->attachments[i])) {
			targets_cpu_release(t);
			return;
		}
	targets_cpu_unique(t);
	for (size_t i = 0; i < t->n; i++) {
		clockid_t clock;

		t->list[i].ns = clock_getcpuclockid(t->list[i].pid, &clock) ? 0 : clock_cpu_ns(clock);
	}
	t->known = t->n > 0;
}

double targets_cpu_used(const struct targets_cpu *before, const struct targets_cpu *now)
{
	uint64_t used = 0;

	if (!before->known || !now->known || before->n != now->n)
		return -1;
	for (size_t i = 0; i < now->n; i++) {
		if (before->list[i].pid != now->list[i].pid || !before->list[i].ns ||
		    now->list[i].ns < before->list[i].ns)
			return -1; /* a process has ended */
		used += now->list[i].ns - before->list[i].ns;
	}
	return (double)used;
}

/* ---- all parts ---- */

uint64_t overhead_hits(const struct attachment *attachment, uint32_t point)
{
	const struct kernel_attachment *s = attachment->state;
	uint64_t hits = 0;

	for (unsigned i = 0; i < s->shards; i++)
		hits += __atomic_load_n(&s->counts[(size_t)point * s->shards + i].hits, __ATOMIC_RELAXED);
	return hits;
}

static bool attachment_is_kernels(const struct attachment *attachment)
{
	return attachment->backend == &backend_kernel;
}

/* Returns the number of hits so far of the points that `is` is true for. */
static uint64_t session_hits_of(const struct pp_session *session, bool (*is)(const struct manifest_point *point))
{
	uint64_t n = 0;

	for (size_t i = 0; i < session->nattachments; i++) {
		const struct attachment *attachment = session->attachments[i];

		if (!attachment_is_kernels(attachment))
			continue;
		for (uint32_t p = 0; p < attachment->manifest->npoints; p++)
			if (is(&manifest_points(attachment->manifest)[p]))
				n += overhead_hits(attachment, p);
	}
	return n;
}

/* Returns the most that traps add to the duration of a call of any attachment. */
static double session_call_ns(const struct pp_session *session)
{
	double most = 0;

	for (size_t i = 0; i < session->nattachments; i++) {
		const struct attachment *attachment = session->attachments[i];
		const struct kernel_attachment *s = attachment_is_kernels(attachment) ? attachment->state : NULL;

		for (uint32_t p = 0; s && s->returns.counts && p < attachment->manifest->npoints; p++)
			if ((double)s->returns.counts[p].overhead > most)
				most = (double)s->returns.counts[p].overhead;
	}
	return most;
}

static double share_of(uint64_t part, uint64_t all)
{
	return (double)(part < all ? part : all) / (double)all;
}

int kernel_cost(struct pp_session *session, int ms, struct pp_cost *cost)
{
	struct targets_cpu before = { 0 }, after = { 0 };
	uint64_t steps = session_hits_of(session, point_is_stepped),
		 fast = session_hits_of(session, manifest_point_is_fast);
	struct overhead measured;
	double used;
	int err;

	targets_cpu_read(&before, session, attachment_is_kernels);
	err = overhead_measure(session, attachment_is_kernels, ms, &measured);
	targets_cpu_read(&after, session, attachment_is_kernels);
	steps = session_hits_of(session, point_is_stepped) - steps;
	fast = session_hits_of(session, manifest_point_is_fast) - fast;
	used = targets_cpu_used(&before, &after);
	targets_cpu_release(&before);
	targets_cpu_release(&after);
	if (err)
		return err;
	*cost = (struct pp_cost){ .hits = measured.runs,
		                  .trap_ns = overhead_trap_ns(),
		                  .program_ns = measured.program_ns,
		                  .call_ns = session_call_ns(session) };
	if (cost->hits && steps)
		cost->trap_ns += (overhead_step_ns() - overhead_trap_ns()) * share_of(steps, cost->hits);
	if (cost->hits && fast)
		cost->trap_ns += (overhead_fast_ns() - overhead_trap_ns()) * share_of(fast, cost->hits);
	if (!measured.time)
		return 0;
	cost->share = (double)cost->hits * (cost->trap_ns + cost->program_ns) / (double)measured.time;
	if (used >= 0 && cost->share > used / (double)measured.time)
		cost->share = used / (double)measured.time;
	return 0;
}
