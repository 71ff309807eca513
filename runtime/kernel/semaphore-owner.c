/* SPDX-License-Identifier: MIT */
/*
 * The semaphore owner: a process that raises semaphores in processes that start after arming.
 *
 * The kernel cannot raise semaphores in .bss, and raises the wrong copy of semaphores that share a page with RELRO
 * (semaphore.h). Therefore:
 *
 * 1. A hook (semaphore-hook.h) reports each process that loads the file.
 * 2. The owner reads the report and raises the semaphores. The process runs meanwhile, so its first hits may be missed.
 *    The points' reasons say so.
 * 3. If the request starts a command, the owner stops it at its exec() by ptrace until its semaphores are raised.
 * 4. The owner ends when none of its points is armed, when the session is removed, or, if links are not pinned, with
 *    the process that has them. It closes all other descriptors, so that it does not keep anything armed.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/pidfd.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "runtime/kernel/kernel.h"
#include "runtime/kernel/semaphore-hook.h"
#include "runtime/kernel/semaphore.h"
#include "runtime/process.h"
#include "sdt/image.h"

#define RING_SIZE 65536
#define CHECK_MS 1000 /* how often the owner checks whether it is needed */
#define HOOKS_MAX 64
#define FOLLOW_NS 1000000000

struct semaphore_owner {
	struct attachment *attachment;
	struct arm_point *const *points;
	size_t npoints;
	int ring, hooks[HOOKS_MAX];
	size_t nhooks;
	int session_process; /* pidfd of the process that has the links; -1: they are pinned */
	pid_t command;       /* 0: none */
};

/* The message that the owner writes when it is ready. */
struct owner_hello {
	pid_t pid;
	int stops_command;
};

static bool point_is_commands(const struct arm_point *point)
{
	return point->process && point->process->is_command;
}

/* Returns true if a process may load the point's file later. */
static bool point_needs_owner(const struct arm_point *point)
{
	const struct process *process = point->process;

	if (point->error || !semaphore_by_hand(point->site))
		return false;
	return !process || process->is_command ||
	       !process_mapping(process, point->image->device, point->image->inode, point->site->offset, NULL);
}

/* ---- raising ---- */

/* Takes the session's lock, which commands that disarm hold, by a descriptor of its own. Returns it, or -1. */
static int owner_lock_session(const struct session_pins *pins)
{
	int lock = pins->dir < 0 ? -1 : open(pins->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	while (lock >= 0 && flock(lock, LOCK_EX) && errno == EINTR)
		;
	return lock;
}

static void owner_raise_in(struct semaphore_owner *o, pid_t pid)
{
	struct process *process;
	int lock;

	if (process_open(pid, &process))
		return;
	lock = owner_lock_session(&((struct kernel_attachment *)o->attachment->state)->session->pins);
	for (size_t i = 0, end; i < o->npoints; i = end) {
		const struct process *of = o->points[i]->process;

		end = i + arm_points_run(o->points + i, o->npoints - i);
		for (size_t k = i; k < end; k++)
			if (!kernel_armed(o->attachment, o->points[k]->point) && !o->points[k]->error)
				o->points[k]->error = -ECANCELED;
		if (!of || of->pid == pid)
			semaphores_raise_in(process, o->points + i, end - i, semaphore_raised_record, o->attachment);
	}
	if (lock >= 0)
		close(lock);
	process_free(process);
}

/* Handles a report of a hook. */
static int owner_report(void *o, void *data, size_t size)
{
	if (size == sizeof(uint64_t))
		owner_raise_in(o, (pid_t) * (uint64_t *)data);
	return 0;
}

/* Returns true if a point is still armed. */
static bool owner_has_points(const struct semaphore_owner *o)
{
	const struct kernel_attachment *s = o->attachment->state;

	if (s->session->pins.dir >= 0 &&
	    access(pin_path(&s->session->pins, "switch", (int)o->attachment->number, -1), F_OK))
		return false;
	for (size_t i = 0; i < o->npoints; i++)
		if (!o->points[i]->error && kernel_armed(o->attachment, o->points[i]->point))
			return true;
	return false;
}

/* ---- the command ---- */

/* Returns true if the command maps an image of the points. */
static bool command_maps_any(const struct semaphore_owner *o)
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

/* Lets the stopped command continue. end: ends tracing. A stop by job control lasts until SIGCONT. */
static void command_continue(const struct semaphore_owner *o, int status, int signal, bool end)
{
	if (end)
		ptrace(PTRACE_DETACH, o->command, NULL, signal);
	else if (status >> 16 == PTRACE_EVENT_STOP && WSTOPSIG(status) != SIGTRAP)
		ptrace(PTRACE_LISTEN, o->command, NULL, NULL);
	else
		ptrace(PTRACE_CONT, o->command, NULL, signal);
}

/*
 * Waits for the command's exec(), at which its program is mapped and has not run, and raises the semaphores. If the
 * program does not map the images (env, a shell), follows the command for a second, because it may execute another
 * program soon.
 */
static void command_stop_at_exec(struct semaphore_owner *o)
{
	uint64_t until = 0; /* 0: wait without limit */
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
			owner_raise_in(o, o->command);
			end |= command_maps_any(o);
			until = clock_ns() + FOLLOW_NS;
		} else if (!event) {
			signal = WSTOPSIG(status);
		}
		command_continue(o, status, signal, end);
		if (end)
			return;
	}
}

/* ---- the process ---- */

static int fd_compare(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

/* Closes all other descriptors: links of the session must not live on in this process. Opens /dev/null as 0 to 2. */
static void fds_keep_only(int *fds, size_t n)
{
	int from = 0;

	qsort(fds, n, sizeof(*fds), fd_compare);
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

static void owner_close_others(struct semaphore_owner *o, int ready, int parent)
{
	const struct kernel_attachment *s = o->attachment->state;
	const int others[] = { o->ring, ready, parent, s->raised_fd, s->session->pins.dir, o->session_process };
	int keep[HOOKS_MAX + sizeof(others) / sizeof(*others)];
	size_t n = 0;

	for (size_t i = 0; i < o->nhooks; i++)
		keep[n++] = o->hooks[i];
	for (size_t i = 0; i < sizeof(others) / sizeof(*others); i++)
		if (others[i] >= 0)
			keep[n++] = others[i];
	/* 0 to 2 are the user's terminal or pipes, which this process must not keep. */
	for (size_t i = 0; i < n; i++)
		if (keep[i] < 3)
			_exit(1);
	fds_keep_only(keep, n);
}

/* Detaches this process from the command that started it. */
static void owner_detach(struct semaphore_owner *o, int ready, int parent)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE };
	struct session_pins *pins = &((struct kernel_attachment *)o->attachment->state)->session->pins;
	sigset_t none;

	setsid();
	/* The inherited descriptor shares the command's lock, which would outlive the command if that is killed. */
	if (pins->dir >= 0 && (pins->dir = open(pins->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
		_exit(1);
	for (size_t i = 0; i < sizeof(signals) / sizeof(*signals); i++)
		signal(signals[i], signals[i] == SIGTERM ? SIG_DFL : SIG_IGN);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	owner_close_others(o, ready, parent);
	if (chdir("/"))
		_exit(1);
}

__attribute__((noreturn)) static void owner_main(struct semaphore_owner *o, int ready, int parent)
{
	struct owner_hello hello;
	struct ring_buffer *ring;
	char byte = 0;

	owner_detach(o, ready, parent);
	/* A set-user-ID program loses its privileges if its tracer lacks CAP_SYS_PTRACE. */
	if (o->command && (geteuid() || ptrace(PTRACE_SEIZE, o->command, NULL, PTRACE_O_TRACEEXEC)))
		o->command = 0;
	ring = ring_buffer__new(o->ring, owner_report, o, NULL);
	hello = (struct owner_hello){ .pid = getpid(), .stops_command = o->command != 0 };
	if (!ring || write(ready, &hello, sizeof(hello)) != sizeof(hello))
		_exit(1);
	close(ready);
	/* The parent raises semaphores in running processes, and closes its end of the pipe when it has done so. */
	while (read(parent, &byte, 1) < 0 && errno == EINTR)
		;
	close(parent);
	if (o->command)
		command_stop_at_exec(o);
	while (owner_has_points(o)) {
		struct pollfd fds[] = { { .fd = o->ring, .events = POLLIN },
			                { .fd = o->session_process, .events = POLLIN } };

		if (poll(fds, 2, CHECK_MS) < 0 && errno != EINTR)
			break;
		if (fds[1].revents)
			break;
		ring_buffer__consume(ring);
	}
	_exit(0);
}

/* ---- starting the process ---- */

/* Sets the reason of a point whose semaphore the owner raises late, or not at all. */
static void point_set_reason(struct arm_point *point, pid_t owner, bool hooked, bool stopped)
{
	const char *why = point->site->semaphore_in_bss ? "the kernel cannot raise its semaphore, which is in .bss"
	                                                : "its semaphore shares a page with RELRO";

	if (point->reason || stopped)
		return;
	if (!hooked)
		point->reason = error_format("%s: it does not count in processes that start later; arm them with -p "
		                             "when they run",
		                             why);
	else
		point->reason = error_format("%s: process %d raises it in processes that start later, just after their "
		                             "start",
		                             why, owner);
}

/* Attaches hooks to the images of the points. Returns true if at least one was attached. */
static bool owner_hook_images(struct semaphore_owner *o)
{
	const struct pp_image *last = NULL;
	int prog;

	o->ring = kernel_map_create(BPF_MAP_TYPE_RINGBUF, "pp_starts", 0, 0, RING_SIZE, 0);
	prog = o->ring < 0 ? -1 : hook_load(o->ring);
	if (prog < 0)
		return false;
	for (size_t i = 0; i < o->npoints && o->nhooks < HOOKS_MAX; i++) {
		int fd;

		if (!point_needs_owner(o->points[i]) || o->points[i]->image == last)
			continue;
		last = o->points[i]->image;
		fd = hook_attach(last, prog);
		if (fd >= 0)
			o->hooks[o->nhooks++] = fd;
	}
	close(prog);
	return o->nhooks > 0;
}

/*
 * Creates the process and waits until it is ready. Returns the descriptor that the caller closes when it has raised
 * semaphores, or -1. hello->pid is 0 if the process could not be started.
 */
static int owner_fork(struct semaphore_owner *o, struct owner_hello *hello)
{
	int ready[2], parent[2];
	pid_t pid;

	if (pipe2(ready, O_CLOEXEC))
		return -1;
	if (pipe2(parent, O_CLOEXEC)) {
		close(ready[0]);
		close(ready[1]);
		return -1;
	}
	pid = fork();
	if (!pid) {
		if (!process_fork_untraced()) { /* not a child, so that this process need not wait for it */
			close(ready[0]);
			close(parent[1]);
			owner_main(o, ready[1], parent[0]);
		}
		_exit(0);
	}
	close(ready[1]);
	close(parent[0]);
	while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	while (pid > 0 && read(ready[0], hello, sizeof(*hello)) < 0 && errno == EINTR)
		;
	close(ready[0]);
	return parent[1];
}

int semaphore_owner_start(struct attachment *attachment, struct arm_point *const *points, size_t npoints)
{
	struct semaphore_owner o = {
		.attachment = attachment, .points = points, .npoints = npoints, .ring = -1, .session_process = -1
	};
	struct owner_hello hello = { 0 };
	bool any = false, hooked;
	int done = -1;

	for (size_t i = 0; i < npoints; i++) {
		if (!point_needs_owner(points[i]))
			continue;
		any = true;
		if (point_is_commands(points[i]))
			o.command = points[i]->process->pid;
	}
	if (!any)
		return -1;
	hooked = owner_hook_images(&o);
	if (!kernel_is_pinned(attachment->state))
		o.session_process = pidfd_open(getpid(), 0);
	if (hooked || o.command)
		done = owner_fork(&o, &hello);
	for (size_t i = 0; i < npoints; i++)
		if (point_needs_owner(points[i]))
			point_set_reason(points[i], hello.pid, hello.pid && hooked,
			                 hello.stops_command && point_is_commands(points[i]) &&
			                         image_is_program(points[i]->image));
	for (size_t i = 0; i < o.nhooks; i++)
		close(o.hooks[i]);
	if (o.ring >= 0)
		close(o.ring);
	if (o.session_process >= 0)
		close(o.session_process);
	return done;
}
