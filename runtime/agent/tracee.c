/* SPDX-License-Identifier: MIT */
/*
 * A call in another process's thread that returns by itself.
 *
 * Who holds the thread may be killed at any moment, or lose patience with a function
 * that does not return; then the thread must neither be torn out of the function,
 * whose locks would stay taken for ever, nor return to nowhere. So it is called as
 * the kernel calls a signal handler: on a signal frame, which holds all that the
 * thread was (registers, floating point and vector state, blocked signals), with the
 * C library's own return from handlers behind it. Without us the thread takes all of
 * it back by rt_sigreturn(2).
 *
 * A thread that was stopped in a system call makes it anew then, which the frame's
 * registers say. While we live it is stopped before that rt_sigreturn(2) and given
 * back its state by ptrace(2), at a stop at which the kernel decides about restarting
 * the call: so that one with a timeout goes on with what was left of it, and a signal
 * that came meanwhile ends what it should. Each step leaves the thread such that it
 * can go on without us: the registers, which send it into the function, are set
 * before signals are blocked, and set back after they are unblocked.
 *
 * The layout is the kernel's, arch/x86/kernel/signal_64.c and fpu/signal.c: it takes
 * vector state only with both magic numbers, of no more than the thread's own size,
 * at an address that is a multiple of 64.
 */
#ifdef __x86_64__

#include <cpuid.h>
#include <elf.h>
#include <errno.h>
#include <limits.h>
#include <probepoint.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>

#include "runtime/agent/session.h"
#include "runtime/agent/tracee.h"
#include "base/clock.h"
#include "base/error.h"

#define STOP_NS 1000000000ull /* until a thread stops that can */
#define RUN_NS 1000000ull     /* a thread that runs for so long is not about to sleep in a write */
#define RUNS_SEEN 100         /* times that it is looked at for that */
#define RED_ZONE 256
#define XSTATE_HEADER 512 /* behind the state of fxsave: a word of what is not as at first */
#define XSTATE_LEAST 576

/* Of the kernel's own, which no header of the C library has. */
#define ERESTARTSYS 512
#define ERESTARTNOINTR 513
#define ERESTARTNOHAND 514
#define ERESTART_RESTARTBLOCK 516
#define UC_FP_XSTATE 1
#define UC_SIGCONTEXT_SS 2
#define UC_STRICT_RESTORE_SS 4

/* The kernel's struct rt_sigframe, up to where it is looked at. */
struct frame {
	uint64_t returns;
	uint64_t flags, link;
	struct {
		uint64_t at, flags, size;
	} stack;
	struct sigcontext regs;
	uint64_t signals;
};

_Static_assert(sizeof(struct sigcontext) == 256 && sizeof(struct _fpx_sw_bytes) == 48, "the kernel's layout");

/* What is written below the thread's stack pointer: upwards from where the function finds its return address. */
struct image {
	_Alignas(64) uint64_t unused[5];
	uint64_t keeper, keeper_rbx; /* at 40 */
	struct frame frame;          /* at 56 */
	uint64_t result;
	_Alignas(64) unsigned char xstate[TRACEE_XSTATE_MAX];
};

_Static_assert(sizeof(struct image) + 64 <= TRACEE_IMAGE_MAX, "room for it");
_Static_assert(offsetof(struct image, keeper) % 16 == 8 && offsetof(struct image, frame) % 16 == 8,
               "as behind a call instruction");

/* ---- stopping ---- */

/* Waits until the thread stops; its status. -ETIMEDOUT; -ESRCH: it has ended. */
static int wait_stop(const struct tracee *t, uint64_t ns, int *status)
{
	uint64_t until = clock_ns() + ns;

	for (;;) {
		pid_t got = waitpid(t->tid, status, __WALL | WNOHANG);

		if (got < 0 && errno != EINTR)
			return -ESRCH;
		if (got == t->tid)
			return WIFSTOPPED(*status) ? 0 : -ESRCH;
		if (clock_ns() > until)
			return -ETIMEDOUT;
		nanosleep(&(struct timespec){ .tv_nsec = 50000 }, NULL);
	}
}

static bool is_event_stop(int status)
{
	return status >> 16 == PTRACE_EVENT_STOP;
}

static bool is_call_stop(int status)
{
	return WSTOPSIG(status) == (SIGTRAP | 0x80);
}

struct thread_status {
	char state;
	unsigned long long pending, shared, blocked;
};

static struct thread_status read_status(const struct tracee *t)
{
	struct thread_status s = { 0 };
	char path[64], line[256];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/status", t->pid, t->tid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f)) {
		sscanf(line, "State: %c", &s.state);
		sscanf(line, "SigPnd: %llx", &s.pending);
		sscanf(line, "ShdPnd: %llx", &s.shared);
		sscanf(line, "SigBlk: %llx", &s.blocked);
	}
	if (f)
		fclose(f);
	return s;
}

enum sleep { SLEEP_NONE, SLEEP_RESTARTS, SLEEP_CUT_SHORT };

/* What stopping does to the system call that the thread sleeps in; SLEEP_NONE: it runs, or /proc does not say. */
static enum sleep read_sleep(const struct tracee *t)
{
	static const short writes[] = {
		SYS_write,    SYS_writev,   SYS_pwrite64, SYS_pwritev, SYS_pwritev2, SYS_sendto,          SYS_sendmsg,
		SYS_sendmmsg, SYS_sendfile, SYS_splice,   SYS_tee,     SYS_vmsplice, SYS_copy_file_range,
	};
	unsigned long long a[6];
	char path[64], line[256] = "";
	bool cut = false;
	long call;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/syscall", t->pid, t->tid);
	f = fopen(path, "re");
	if (!f)
		return SLEEP_NONE;
	if (!fgets(line, sizeof(line), f))
		*line = 0;
	fclose(f);
	if (sscanf(line, "%ld %llx %llx %llx %llx %llx %llx", &call, &a[0], &a[1], &a[2], &a[3], &a[4], &a[5]) != 7)
		return SLEEP_NONE;
	for (size_t i = 0; i < sizeof(writes) / sizeof(*writes); i++)
		cut |= call == writes[i];
	if (call == SYS_recvfrom || call == SYS_recvmmsg)
		cut |= (a[3] & MSG_WAITALL) != 0;
	if (call == SYS_recvmsg)
		cut |= (a[2] & MSG_WAITALL) != 0;
	if (call == SYS_recvmmsg)
		cut |= a[2] > 1 && !(a[3] & MSG_WAITFORONE);
	return cut ? SLEEP_CUT_SHORT : SLEEP_RESTARTS;
}

/* CPU time of the thread in ns, as of its last tick or switch. false: the kernel does not say. */
static bool read_cpu_time(const struct tracee *t, unsigned long long *ns)
{
	char path[64];
	bool known;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/schedstat", t->pid, t->tid);
	f = fopen(path, "re");
	known = f && fscanf(f, "%llu", ns) == 1;
	if (f)
		fclose(f);
	return known;
}

/*
 * Whether the thread is in a system call that returns a part of what was asked for if it is stopped. The program would
 * see that, because a blocking write(2) is never short without a signal handler. The controller cannot go on with the
 * rest either: if it were killed meanwhile, the call would return a wrong number. A running thread may be about to
 * sleep in such a call, so it has to be seen running for a while, of its own CPU time because others may have the CPU.
 */
static bool is_cut_short(const struct tracee *t)
{
	unsigned long long from, now;

	if (!read_cpu_time(t, &from))
		return read_sleep(t) == SLEEP_CUT_SHORT;
	for (unsigned i = 0; i < RUNS_SEEN; i++) {
		enum sleep sleep = read_sleep(t);

		if (sleep != SLEEP_NONE)
			return sleep == SLEEP_CUT_SHORT;
		if (!read_cpu_time(t, &now) || now - from >= RUN_NS)
			return false;
		nanosleep(&(struct timespec){ .tv_nsec = 100000 }, NULL);
	}
	return true;
}

struct run {
	int (*fn)(void *arg);
	void *arg;
	int err;
	char *message;
};

static void *run_thread(void *arg)
{
	struct run *run = arg;

	run->err = run->fn(run->arg);
	run->message = run->err ? strdup(pp_error()) : NULL;
	return NULL;
}

int tracee_run(int (*fn)(void *arg), void *arg)
{
	struct run run = { .fn = fn, .arg = arg };
	sigset_t all, before;
	pthread_t thread;
	int err;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are for the caller's threads */
	err = pthread_create(&thread, NULL, run_thread, &run);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (err)
		return error_set(err, "cannot make a thread: %s", strerror(err));
	pthread_join(thread, NULL);
	if (run.message)
		error_set(-run.err, "%s", run.message);
	free(run.message);
	return run.err;
}

int tracee_hold(struct tracee *t, pid_t pid, pid_t tid)
{
	int status, err;
	char state;

	t->pid = pid;
	t->tid = tid;
	t->held = t->known = t->saved = false;
	t->state = TRACEE_AS_IT_WAS;
	state = read_status(t).state;
	if (state == 'D')
		return -EAGAIN;
	if (state != 'T' && is_cut_short(t))
		return -EINPROGRESS;
	if (ptrace(PTRACE_SEIZE, tid, NULL, PTRACE_O_TRACESYSGOOD))
		return -errno;
	t->held = true;
	ptrace(PTRACE_INTERRUPT, tid, NULL, NULL);
	while (!(err = wait_stop(t, STOP_NS, &status)) && !is_event_stop(status))
		ptrace(PTRACE_CONT, tid, NULL, (long)(WSTOPSIG(status) & 0x7f));
	if (err)
		t->held = false; /* nothing can be done to one that does not stop */
	else if (ptrace(PTRACE_GETREGS, tid, NULL, &t->regs))
		err = -errno;
	else
		t->known = true;
	return err;
}

/* ---- system calls that were interrupted ---- */

static void again(struct user_regs_struct *regs, long long call)
{
	regs->rax = call;
	regs->orig_rax = -1;
	regs->rip -= 2;
}

/* These return EINTR when we stop them, though no signal came: they are called again. */
static void call_again(const struct tracee *t, struct user_regs_struct *regs)
{
	static const short calls[] = {
		SYS_epoll_wait, SYS_epoll_pwait, SYS_epoll_pwait2, SYS_rt_sigtimedwait,
		SYS_semop,      SYS_semtimedop,  SYS_io_getevents, SYS_io_uring_enter,
		SYS_read,       SYS_readv,       SYS_recvfrom,     SYS_recvmsg,
		SYS_recvmmsg,   SYS_accept,      SYS_accept4,      SYS_connect,
		SYS_write,      SYS_writev,      SYS_sendto,       SYS_sendmsg,
		SYS_sendmmsg,
	};
	struct thread_status s;

	if ((long)regs->rax != -EINTR)
		return;
	s = read_status(t);
	if ((s.pending | s.shared) & ~(t->saved ? t->signals : s.blocked))
		return;
	for (size_t i = 0; i < sizeof(calls) / sizeof(*calls); i++)
		if ((long)regs->orig_rax == calls[i]) {
			again(regs, calls[i]);
			return;
		}
}

/* What the kernel would do where no handler runs; anew: also what it would only go on with, as with a sleep. */
static void restart(const struct tracee *t, struct user_regs_struct *regs, bool anew)
{
	call_again(t, regs);
	if ((long)regs->orig_rax < 0)
		return;
	switch (-(long)regs->rax) {
	case ERESTARTSYS:
	case ERESTARTNOINTR:
	case ERESTARTNOHAND: again(regs, (long long)regs->orig_rax); break;
	case ERESTART_RESTARTBLOCK: again(regs, anew ? (long long)regs->orig_rax : SYS_restart_syscall); break;
	}
	regs->orig_rax = -1;
}

/* ---- the frame ---- */

static int save(struct tracee *t)
{
	struct iovec state = { t->xstate, sizeof(t->xstate) };

	if (t->saved)
		return 0;
	if (ptrace(PTRACE_GETREGSET, t->tid, (void *)NT_X86_XSTATE, &state) ||
	    ptrace(PTRACE_GETSIGMASK, t->tid, (void *)sizeof(t->signals), &t->signals))
		return -errno;
	if (state.iov_len < XSTATE_LEAST || state.iov_len >= sizeof(t->xstate))
		return -EOPNOTSUPP;
	t->xstate_size = state.iov_len;
	t->saved = true;
	return 0;
}

/* The state as far as it is in use: the kernel takes no more than the thread may have, which can be less than all. */
static size_t frame_xstate(const struct tracee *t, unsigned char *to)
{
	uint32_t size = XSTATE_LEAST, magic = FP_XSTATE_MAGIC2;
	struct _fpx_sw_bytes about = { .magic1 = FP_XSTATE_MAGIC1 };
	uint64_t used;

	memcpy(&used, t->xstate + XSTATE_HEADER, sizeof(used));
	for (unsigned i = 2; i < 63; i++) {
		unsigned length, offset, c, d;

		if (used >> i & 1 && __get_cpuid_count(0xd, i, &length, &offset, &c, &d) && offset + length > size)
			size = offset + length;
	}
	if (size > t->xstate_size)
		size = (uint32_t)t->xstate_size;
	memcpy(to, t->xstate, size);
	about.xstate_size = size;
	about.extended_size = size + sizeof(magic);
	about.xstate_bv = used | 3;
	memcpy(to + XSTATE_HEADER - sizeof(about), &about, sizeof(about));
	memcpy(to + size, &magic, sizeof(magic));
	return size + sizeof(magic);
}

static void frame_regs(const struct tracee *t, struct sigcontext *to)
{
	struct user_regs_struct r = t->regs;

	restart(t, &r, true);
	*to = (struct sigcontext){
		.r8 = r.r8,
		.r9 = r.r9,
		.r10 = r.r10,
		.r11 = r.r11,
		.r12 = r.r12,
		.r13 = r.r13,
		.r14 = r.r14,
		.r15 = r.r15,
		.rdi = r.rdi,
		.rsi = r.rsi,
		.rbp = r.rbp,
		.rbx = r.rbx,
		.rdx = r.rdx,
		.rax = r.rax,
		.rcx = r.rcx,
		.rsp = r.rsp,
		.rip = r.rip,
		.eflags = r.eflags,
		.cs = (unsigned short)r.cs,
		.__pad0 = (unsigned short)r.ss,
	};
}

int tracee_write(const struct tracee *t, uint64_t at, const void *bytes, size_t size)
{
	struct iovec here = { (void *)bytes, size }, there = { (void *)at, size };

	return process_vm_writev(t->tid, &here, 1, &there, 1, 0) == (ssize_t)size ? 0 : -EFAULT;
}

/* ---- the call ---- */

/*
 * The thread's registers such that it calls; what it needs is below its stack, the image at *at. A second call's is
 * in the same place: until it begins, the first one's frame is what the thread goes back by.
 */
static int begin(struct tracee *t, const struct tracee_call *call, uint64_t *at)
{
	struct user_regs_struct regs = t->regs;
	uint64_t text = t->regs.rsp - RED_ZONE - PATH_MAX, all = ~0ull;
	struct image image = { 0 };
	size_t size;
	int err = save(t);

	if (err)
		return err;
	*at = call->slot ? (call->slot + 63) & ~63ull : (text - sizeof(image)) & ~63ull;
	image.keeper = call->keeper;
	image.frame.returns = call->restorer;
	image.frame.flags = UC_FP_XSTATE | UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS;
	image.frame.stack.flags = ~0u; /* no such flags: the alternate stack stays what it is */
	frame_regs(t, &image.frame.regs);
	image.frame.regs.fpstate = (void *)(*at + offsetof(struct image, xstate));
	image.frame.signals = t->signals;
	size = offsetof(struct image, xstate) + frame_xstate(t, image.xstate);
	err = call->text ? tracee_write(t, text, call->text, strlen(call->text) + 1) : 0;
	if (!err)
		err = tracee_write(t, *at, &image, size);
	if (err)
		return err;
	regs.rdi = text;
	regs.rsi = call->second;
	regs.rax = 0;
	regs.rbx = *at + offsetof(struct image, result);
	regs.orig_rax = -1;
	regs.rip = call->function;
	regs.rsp = *at + (call->keeper ? offsetof(struct image, keeper) : offsetof(struct image, frame));
	regs.eflags &= ~0x500ull; /* direction, trap */
	if (ptrace(PTRACE_SETREGS, t->tid, NULL, &regs))
		return -errno;
	t->state = TRACEE_CALLING;
	return ptrace(PTRACE_SETSIGMASK, t->tid, (void *)sizeof(all), &all) ? -errno : 0;
}

/* Until it is about to take back what it was. */
static int run(struct tracee *t, uint64_t stack, uint64_t timeout_ns)
{
	uint64_t until = clock_ns() + timeout_ns;
	struct user_regs_struct regs;
	long signal = 0;

	for (;;) {
		uint64_t now = clock_ns();
		int status, err;

		if (ptrace(PTRACE_SYSCALL, t->tid, NULL, signal))
			return -errno;
		err = wait_stop(t, until > now ? until - now : 0, &status);
		if (err)
			return err;
		signal = 0;
		if (is_event_stop(status))
			continue;
		if (WSTOPSIG(status) == SIGSTOP) { /* the one that cannot be blocked */
			signal = SIGSTOP;
			continue;
		}
		if (!is_call_stop(status)) {
			t->state = TRACEE_CRASHED;
			return -EFAULT;
		}
		if (ptrace(PTRACE_GETREGS, t->tid, NULL, &regs))
			return -errno;
		if (regs.orig_rax == SYS_rt_sigreturn && regs.rsp == stack) {
			t->state = TRACEE_RETURNED;
			return 0;
		}
	}
}

static int read_bytes(const struct tracee *t, uint64_t at, void *to, size_t size)
{
	struct iovec here = { to, size }, there = { (void *)at, size };

	return process_vm_readv(t->tid, &here, 1, &there, 1, 0) == (ssize_t)size ? 0 : -EFAULT;
}

bool tracee_is_restartable(const struct tracee *t)
{
	struct {
		uint32_t version, flags;
		uint64_t start, size, abort;
	} sequence;
	struct __ptrace_rseq_configuration rseq;
	uint64_t at;

	if (ptrace(PTRACE_GET_RSEQ_CONFIGURATION, t->tid, (void *)sizeof(rseq), &rseq) <= 0 || !rseq.rseq_abi_pointer)
		return false;
	if (read_bytes(t, rseq.rseq_abi_pointer + 8, &at, sizeof(at)) || !at ||
	    read_bytes(t, at, &sequence, sizeof(sequence)))
		return false;
	return t->regs.rip - sequence.start < sequence.size;
}

int tracee_call(struct tracee *t, const struct tracee_call *call, uint64_t timeout_ns, uint64_t *result)
{
	uint64_t image;
	int err = begin(t, call, &image);

	if (!err)
		err = run(t, image + offsetof(struct image, frame) + 8, timeout_ns);
	if (err == -ESRCH)
		t->held = false;
	if (!err && call->keeper)
		err = read_bytes(t, image + offsetof(struct image, result), result, sizeof(*result));
	return err;
}

/* ---- going back ---- */

static void put_back(const struct tracee *t)
{
	struct iovec state = { (void *)t->xstate, t->xstate_size };

	ptrace(PTRACE_SETREGSET, t->tid, (void *)NT_X86_XSTATE, &state);
	ptrace(PTRACE_SETSIGMASK, t->tid, (void *)sizeof(t->signals), &t->signals);
}

/* Instead of its rt_sigreturn(2): over that to the stop behind it, at which system calls are restarted. */
static void put_back_returned(const struct tracee *t)
{
	struct user_regs_struct regs = t->regs;
	int status;

	put_back(t);
	restart(t, &regs, false);
	regs.orig_rax = -1;
	if (ptrace(PTRACE_SETREGS, t->tid, NULL, &regs) || ptrace(PTRACE_SYSCALL, t->tid, NULL, NULL) ||
	    wait_stop(t, STOP_NS, &status) || !is_call_stop(status))
		return;
	regs = t->regs;
	call_again(t, &regs);
	/* With it pending, the kernel goes the way on which it restarts. */
	if (!ptrace(PTRACE_INTERRUPT, t->tid, NULL, NULL))
		ptrace(PTRACE_SETREGS, t->tid, NULL, &regs);
}

/* On its way: it is only to be stopped for as long as it takes to let go. */
static long catch_up(const struct tracee *t)
{
	int status;

	ptrace(PTRACE_INTERRUPT, t->tid, NULL, NULL);
	return wait_stop(t, STOP_NS, &status) || is_event_stop(status) || is_call_stop(status) ? 0 : WSTOPSIG(status);
}

void tracee_let_go(struct tracee *t)
{
	struct user_regs_struct regs = t->regs;
	long signal = 0;

	if (!t->held)
		return;
	if (t->state == TRACEE_CALLING) {
		signal = catch_up(t);
	} else if (t->state == TRACEE_RETURNED) {
		put_back_returned(t);
	} else if (t->known) {
		if (t->state == TRACEE_CRASHED)
			put_back(t);
		call_again(t, &regs);
		ptrace(PTRACE_SETREGS, t->tid, NULL, &regs);
	}
	ptrace(PTRACE_DETACH, t->tid, NULL, signal);
	t->held = false;
}

#endif
