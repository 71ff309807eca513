/* SPDX-License-Identifier: MIT */
/*
 * Owners. In a process that starts after arming, nobody would raise a semaphore in .bss or one that shares its page with
 * the RELRO attachment (runtime/kernel/semaphore.h). A process of ours, the owner, raises it:
 *
 * 1. A uprobe at the file's entry point (of a library: its DT_INIT function) reports each process that arrives there.
 *    By then the file is mapped and RELRO is protected.
 * 2. The owner reads the report and raises the semaphores. The process runs meanwhile, so its first hits may be missed,
 *    which the report says.
 * 3. A command that the request starts is stopped at its exec(), by ptrace, until its semaphores are raised.
 *
 * The owner ends when none of its points is armed, when the session is gone, or, if links are pinned nowhere, with the
 * process that holds them. It has no descriptors but its own, so it keeps nothing armed.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/pidfd.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "runtime/kernel/emitter.h"
#include "runtime/kernel/kernel.h"
#include "runtime/kernel/link.h"
#include "runtime/process.h"
#include "runtime/kernel/semaphore.h"
#include "base/error.h"
#include "sdt/image.h"

#define RING_SIZE 65536
#define LOOK_MS 1000 /* how often the owner looks whether it is needed */
#define HOOKS_MAX 64
#define FOLLOW_NS 1000000000

struct owner {
	struct attachment *attachment;
	struct arm_point *const *points;
	size_t npoints;
	int ring, hooks[HOOKS_MAX];
	size_t nhooks;
	int session_process; /* pidfd; -1: the session outlives it */
	pid_t command;       /* 0: none */
};

/* What the owner says when it is ready. */
struct hello {
	pid_t pid;
	int stops_command;
};

/* A process that may load the file later needs one as well. */
static bool needs_owner(const struct arm_point *point)
{
	const struct process *process = point->process;

	if (point->error || !semaphore_by_hand(point->site))
		return false;
	return !process || process->is_command ||
	       !process_mapping(process, point->image->device, point->image->inode, point->site->offset, NULL);
}

/* ---- the hook --------------------------------------------------------------------- */

static uint64_t dynamic_init(const struct pp_image *image, int fd, const Elf64_Ehdr *header)
{
	for (int i = 0; i < header->e_phnum; i++) {
		Elf64_Phdr p;
		Elf64_Dyn d;

		if (pread(fd, &p, sizeof(p), (off_t)(header->e_phoff + (uint64_t)i * sizeof(p))) != sizeof(p))
			return 0;
		if (p.p_type != PT_DYNAMIC || p.p_filesz > image->size)
			continue;
		for (uint64_t at = 0; at + sizeof(d) <= p.p_filesz; at += sizeof(d)) {
			if (pread(fd, &d, sizeof(d), (off_t)(p.p_offset + at)) != sizeof(d) || d.d_tag == DT_NULL)
				break;
			if (d.d_tag == DT_INIT)
				return d.d_un.d_ptr;
		}
	}
	return 0;
}

/* False: a library, or a static program that can be loaded anywhere. */
static bool is_program(const struct pp_image *image)
{
	Elf64_Ehdr header;
	bool yes = image->type == ET_EXEC;
	int fd = image->is_64 && !yes ? image_reopen(image) : -1;

	if (fd < 0)
		return yes;
	if (pread(fd, &header, sizeof(header), 0) == sizeof(header) && header.e_phentsize == sizeof(Elf64_Phdr))
		for (int i = 0; i < header.e_phnum && !yes; i++) {
			Elf64_Phdr p;

			yes = pread(fd, &p, sizeof(p), (off_t)(header.e_phoff + (uint64_t)i * sizeof(p))) ==
			              sizeof(p) &&
			      p.p_type == PT_INTERP;
		}
	close(fd);
	return yes;
}

/* The file offset of the first instruction that every process runs in the image. 0: not known. */
static uint64_t entry_of(const struct pp_image *image)
{
	Elf64_Ehdr header;
	int fd = image->is_64 ? image_reopen(image) : -1;
	uint64_t address = 0, offset;

	if (fd < 0)
		return 0;
	if (pread(fd, &header, sizeof(header), 0) == sizeof(header) && header.e_phentsize == sizeof(Elf64_Phdr)) {
		address = is_program(image) ? header.e_entry : dynamic_init(image, fd, &header);
		if (!address)
			address = header.e_entry; /* a static program that can be loaded anywhere */
	}
	close(fd);
	return address && !image_offset(image, address, &offset) ? offset : 0;
}

/* A program that reports the process's number. */
static int load_hook(int ring)
{
	struct emitter e = { 0 };
	int fd = -ENOMEM;

	call(&e, BPF_FUNC_get_current_pid_tgid);
	alu_imm(&e, BPF_RSH, BPF_REG_0, 32);
	store(&e, BPF_DW, BPF_REG_10, -8, BPF_REG_0);
	map(&e, BPF_REG_1, ring);
	address(&e, BPF_REG_2, -8);
	imm64(&e, BPF_REG_3, 8);
	imm64(&e, BPF_REG_4, 0);
	call(&e, BPF_FUNC_ringbuf_output);
	imm64(&e, BPF_REG_0, 0);
	emitter_add(&e, INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0));
	if (!emitter_resolve(&e))
		fd = link_program(e.insns, e.n);
	emitter_release(&e);
	free(e.insns);
	return fd;
}

static int hook(struct owner *o, const struct pp_image *image, int prog)
{
	uint64_t offset = entry_of(image), cookie = 0;
	struct link_points at = { .n = 1, .offsets = &offset, .cookies = &cookie };
	char path[64];
	int file, fd;

	if (!offset || o->nhooks == HOOKS_MAX)
		return -ENOENT;
	fd = link_file(image->path, image->device, image->inode, &file, path, sizeof(path));
	if (fd)
		return fd;
	fd = link_multi_supported() ? link_multi(prog, path, 0, &at) : link_perf(prog, path, 0, offset, 0, 0);
	close(file);
	if (fd >= 0)
		o->hooks[o->nhooks++] = fd;
	return fd < 0 ? fd : 0;
}

/* ---- the owner -------------------------------------------------------------------- */

static void raise_in(struct owner *o, pid_t pid)
{
	struct process *process;
	int lock = -1;
	const struct store *store = &((struct kernel_attachment *)o->attachment->state)->session->store;

	if (process_open(pid, &process))
		return;
	/* Commands that disarm hold this lock; a descriptor of our own excludes them. */
	if (store->dir >= 0 && (lock = open(store->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) >= 0)
		while (flock(lock, LOCK_EX) && errno == EINTR)
			;
	for (size_t i = 0, end; i < o->npoints; i = end) {
		const struct process *of = o->points[i]->process;

		end = i + arm_points_run(o->points + i, o->npoints - i);
		for (size_t k = i; k < end; k++)
			if (!kernel_armed(o->attachment, o->points[k]->point) && !o->points[k]->error)
				o->points[k]->error = -ECANCELED;
		if (!of || of->pid == pid)
			semaphores_raise_in(process, o->points + i, end - i, kernel_raised_record, o->attachment);
	}
	if (lock >= 0)
		close(lock);
	process_free(process);
}

static int reported(void *o, void *data, size_t size)
{
	if (size == sizeof(uint64_t))
		raise_in(o, (pid_t) * (uint64_t *)data);
	return 0;
}

static bool needed(const struct owner *o)
{
	const struct kernel_attachment *s = o->attachment->state;

	if (s->session->store.dir >= 0 &&
	    access(store_path(&s->session->store, "switch", (int)o->attachment->number, -1), F_OK))
		return false;
	for (size_t i = 0; i < o->npoints; i++)
		if (!o->points[i]->error && kernel_armed(o->attachment, o->points[i]->point))
			return true;
	return false;
}

/* True if the command maps an image of the points. */
static bool maps_any(const struct owner *o)
{
	struct process *process;
	bool maps = false;

	if (process_open(o->command, &process))
		return false;
	if (!process_read_maps(process))
		for (size_t i = 0; i < o->npoints && !maps; i++)
			maps = process_mapping(process, o->points[i]->image->device, o->points[i]->image->inode,
			                       o->points[i]->site->offset, NULL);
	process_free(process);
	return maps;
}

/*
 * Waits for the command's exec(), at which its program is mapped and has not run. If that is another program (env, a
 * shell), follows it for a second, because it may be about to execute the one that is meant.
 */
static void stop_command(struct owner *o)
{
	uint64_t until = 0;
	bool end = false;

	for (;;) {
		int status, event, signal = 0;
		pid_t pid = waitpid(o->command, &status, __WALL | (until ? WNOHANG : 0));

		if (!pid && clock_ns() < until) {
			nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
			continue;
		}
		if (!pid) {
			end = !ptrace(PTRACE_INTERRUPT, o->command, NULL, NULL);
			until = 0;
			if (end)
				continue;
		}
		if (pid != o->command || !WIFSTOPPED(status))
			return;
		event = status >> 16;
		if (event == PTRACE_EVENT_EXEC) {
			raise_in(o, o->command);
			end |= maps_any(o);
			until = clock_ns() + FOLLOW_NS;
		} else if (!event) {
			signal = WSTOPSIG(status);
		}
		if (end) {
			ptrace(PTRACE_DETACH, o->command, NULL, signal);
			return;
		}
		/* A stop by job control lasts until SIGCONT. */
		if (event == PTRACE_EVENT_STOP && WSTOPSIG(status) != SIGTRAP)
			ptrace(PTRACE_LISTEN, o->command, NULL, NULL);
		else
			ptrace(PTRACE_CONT, o->command, NULL, signal);
	}
}

static int compare_fds(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

/* Closes all descriptors but those: links of the session must not live on in this process. */
static void keep_only(int *fds, size_t n)
{
	int from = 0;

	qsort(fds, n, sizeof(*fds), compare_fds);
	for (size_t i = 0; i < n; i++) {
		if (fds[i] < from)
			continue;
		if (fds[i] > from)
			close_range((unsigned)from, (unsigned)fds[i] - 1, 0);
		from = fds[i] + 1;
	}
	close_range((unsigned)from, ~0u, 0);
	for (int fd = open("/dev/null", O_RDWR); fd >= 0 && fd < 2;)
		fd = dup(fd);
}

__attribute__((noreturn)) static void run(struct owner *o, int ready, int parent)
{
	struct kernel_attachment *s = o->attachment->state;
	struct store *store = &s->session->store;
	int keep[HOOKS_MAX + 8], signals[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE };
	struct ring_buffer *ring;
	size_t n = 0;
	sigset_t none;
	char byte = 0;

	setsid();
	/* The inherited one is the command's, whose lock would outlive the command if that is killed. */
	if (store->dir >= 0 && (store->dir = open(store->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
		_exit(1);
	for (size_t i = 0; i < sizeof(signals) / sizeof(*signals); i++)
		signal(signals[i], signals[i] == SIGTERM ? SIG_DFL : SIG_IGN);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	for (size_t i = 0; i < o->nhooks; i++)
		keep[n++] = o->hooks[i];
	keep[n++] = o->ring;
	keep[n++] = ready;
	keep[n++] = parent;
	if (s->raised_fd >= 0)
		keep[n++] = s->raised_fd;
	if (store->dir >= 0)
		keep[n++] = store->dir;
	if (o->session_process >= 0)
		keep[n++] = o->session_process;
	/* 0 to 2 are the user's terminal or pipes. */
	for (size_t i = 0; i < n; i++)
		if (keep[i] < 3)
			_exit(1);
	keep_only(keep, n);
	if (chdir("/"))
		_exit(1);
	/* A tracer without CAP_SYS_PTRACE would take a set-user-ID program's privileges away. */
	if (o->command && (geteuid() || ptrace(PTRACE_SEIZE, o->command, NULL, PTRACE_O_TRACEEXEC)))
		o->command = 0;
	ring = ring_buffer__new(o->ring, reported, o, NULL);

	const struct hello hello = { .pid = getpid(), .stops_command = o->command != 0 };

	if (!ring || write(ready, &hello, sizeof(hello)) != sizeof(hello))
		_exit(1);
	close(ready);
	/* The parent raises in the processes that there are; it closes the pipe's other end when it is done. */
	while (read(parent, &byte, 1) < 0 && errno == EINTR)
		;
	close(parent);
	if (o->command)
		stop_command(o);
	while (needed(o)) {
		struct pollfd fds[] = { { .fd = o->ring, .events = POLLIN },
			                { .fd = o->session_process, .events = POLLIN } };

		if (poll(fds, 2, LOOK_MS) < 0 && errno != EINTR)
			break;
		if (fds[1].revents)
			break;
		ring_buffer__consume(ring);
	}
	_exit(0);
}

/* ---- its start -------------------------------------------------------------------- */

static void remark(struct arm_point *point, pid_t owner, bool hooked, bool stopped)
{
	const char *why = point->site->semaphore_in_bss ? "its semaphore is in .bss, where the kernel raises none"
	                                                : "its semaphore shares a page with RELRO";

	if (point->reason)
		return;
	if (!hooked && !stopped)
		point->reason =
			error_format("%s, so it does not count in processes that start later: arm them by -p when they "
		                     "run",
		                     why);
	else if (!stopped)
		point->reason = error_format(
			"%s, so process %d raises it in processes that start later, just after their start", why,
			owner);
}

int kernel_owner_start(struct attachment *attachment, struct arm_point *const *points, size_t npoints, int *done)
{
	struct kernel_attachment *s = attachment->state;
	struct owner o = {
		.attachment = attachment, .points = points, .npoints = npoints, .ring = -1, .session_process = -1
	};
	const struct pp_image *last = NULL;
	int ready[2] = { -1, -1 }, parent[2] = { -1, -1 }, prog = -1, err = 0;
	bool any = false, hooked = false;
	struct hello hello = { 0 };
	pid_t pid = -1;

	*done = -1;
	for (size_t i = 0; i < npoints; i++)
		any |= needs_owner(points[i]);
	if (!any)
		return 0;
	o.ring = kernel_map_create(BPF_MAP_TYPE_RINGBUF, "pp_starts", 0, 0, RING_SIZE, 0);
	if (o.ring >= 0)
		prog = load_hook(o.ring);
	for (size_t i = 0; i < npoints; i++) {
		if (!needs_owner(points[i]))
			continue;
		if (points[i]->process && points[i]->process->is_command)
			o.command = points[i]->process->pid;
		if (points[i]->image != last && prog >= 0)
			hooked |= !hook(&o, points[i]->image, prog);
		last = points[i]->image;
	}
	if (!kernel_is_pinned(s))
		o.session_process = pidfd_open(getpid(), 0);
	if ((hooked || o.command) && !pipe2(ready, O_CLOEXEC) && !pipe2(parent, O_CLOEXEC) && (pid = fork()) == 0) {
		if (!process_fork_untraced()) { /* not this process's child, so that it need not wait for it */
			close(ready[0]);
			close(parent[1]);
			run(&o, ready[1], parent[0]);
		}
		_exit(0);
	}
	if (ready[1] >= 0)
		close(ready[1]);
	if (parent[0] >= 0)
		close(parent[0]);
	while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	while (pid > 0 && read(ready[0], &hello, sizeof(hello)) < 0 && errno == EINTR)
		;
	if (ready[0] >= 0)
		close(ready[0]);
	*done = parent[1];
	for (size_t i = 0; i < npoints; i++)
		if (needs_owner(points[i]))
			remark(points[i], hello.pid, hello.pid && hooked,
			       hello.stops_command && points[i]->process && points[i]->process->is_command &&
			               is_program(points[i]->image));
	for (size_t i = 0; i < o.nhooks; i++)
		close(o.hooks[i]);
	if (prog >= 0)
		close(prog);
	if (o.ring >= 0)
		close(o.ring);
	if (o.session_process >= 0)
		close(o.session_process);
	return err;
}
