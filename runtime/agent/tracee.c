/* SPDX-License-Identifier: MIT */
/*
 * How a thread of another process calls a function and returns without help.
 *
 * The controller may be killed at any moment, or stop waiting for a function that does not return. The thread must then
 * neither be torn out of the function, whose locks would stay taken forever, nor return to an invalid address. So:
 *
 *  1. tracee_hold() stops the thread. It does not stop a thread in a system call that would return a part of what was
 *     asked for. The program would see that, because a blocked write(2) never returns a part without a signal handler.
 *     The controller cannot write the rest either: if it were killed meanwhile, the call would return a wrong number. A
 *     running thread may be about to enter one, so it is stopped only after it has been seen running for a
 *     while. That time is its own CPU time, because other threads may have the CPU.
 *  2. The call is made as the kernel calls a signal handler: on a signal frame, which holds the thread's whole state
 *     (registers, floating point and vector state, blocked signals), with the C library's return from signal handlers
 *     as the return address. Without the controller, the thread restores its state by rt_sigreturn(2).
 *  3. The frame's registers make a system call in which the thread was stopped begin again. All signals are blocked
 *     during the call.
 *  4. If the controller is alive when the function returns, it stops the thread before that rt_sigreturn(2) and
 *     restores the state by ptrace(2), at a stop at which the kernel decides about restarting the system call. So a
 *     system call with a timeout continues with the rest of it, and a signal that came meanwhile ends what it should.
 *
 * Each step leaves the thread able to continue without the controller: the registers that send it into the function are
 * set before signals are blocked, and restored after signals are unblocked.
 */
#include "runtime/agent/tracee.h"

#ifdef TRACEE_SUPPORTED

#include <errno.h>
#include <probepoint.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include "base/clock.h"
#include "base/error.h"
#include "runtime/agent/tracee-cpu.h"
#include "runtime/process.h"

/* ---- the thread that traces ---- */

struct tracer {
	int (*fn)(void *arg);
	void *arg;
	int err;
	char *message;
};

static void *tracer_thread(void *arg)
{
	struct tracer *tracer = arg;

	/*
	 * A thread that is to be stopped can enter a system call, which the stop would cut short, after tracee_hold() has looked at
	 * it. With a real-time policy, which root may set, no other thread runs in between here.
	 */
	pthread_setschedparam(pthread_self(), SCHED_FIFO, &(struct sched_param){ .sched_priority = 1 });
	tracer->err = tracer->fn(tracer->arg);
	tracer->message = tracer->err ? strdup(pp_error()) : NULL;
	return NULL;
}

int tracee_run(int (*fn)(void *arg), void *arg)
{
	struct tracer tracer = { .fn = fn, .arg = arg };
	sigset_t all, before;
	pthread_t thread;
	int err;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are for the caller's threads */
	err = pthread_create(&thread, NULL, tracer_thread, &tracer);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (err)
		return error_set(err, "cannot create a thread: %s", strerror(err));
	pthread_join(thread, NULL);
	if (tracer.message)
		error_set(-tracer.err, "%s", tracer.message);
	free(tracer.message);
	return tracer.err;
}

/* ---- stopping ---- */

int tracee_hold(struct tracee *t, pid_t pid, pid_t tid)
{
	int status, err;
	char state;

	t->pid = pid;
	t->tid = tid;
	t->held = t->known = t->saved = false;
	t->state = TRACEE_UNCHANGED;
	state = tracee_read_status(t).state;
	if (state == 'D')
		return -EAGAIN;
	err = state == 'T' ? 0 : tracee_check_sleep(t);
	if (err)
		return err;
	if (ptrace(PTRACE_SEIZE, tid, NULL, PTRACE_O_TRACESYSGOOD))
		return -errno;
	t->held = true;
	ptrace(PTRACE_INTERRUPT, tid, NULL, NULL);
	while (!(err = tracee_wait_stop(t, TRACEE_STOP_NS, &status)) && !tracee_is_event_stop(status))
		ptrace(PTRACE_CONT, tid, NULL, (long)(WSTOPSIG(status) & 0x7f));
	if (err) {
		t->held = false; /* nothing can be done to a thread that does not stop */
		return err;
	}
	err = tracee_read_regs(t);
	t->known = !err;
	return err;
}

/* ---- memory ---- */

int tracee_write(const struct tracee *t, uint64_t at, const void *bytes, size_t size)
{
	struct iovec local = { (void *)bytes, size }, remote = { (void *)at, size };

	return process_vm_writev(t->tid, &local, 1, &remote, 1, 0) == (ssize_t)size ? 0 : -EFAULT;
}

static int tracee_read(const struct tracee *t, uint64_t at, void *to, size_t size)
{
	struct iovec local = { to, size }, remote = { (void *)at, size };

	return process_vm_readv(t->tid, &local, 1, &remote, 1, 0) == (ssize_t)size ? 0 : -EFAULT;
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
	if (tracee_read(t, rseq.rseq_abi_pointer + 8, &at, sizeof(at)) || !at ||
	    tracee_read(t, at, &sequence, sizeof(sequence)))
		return false;
	return tracee_pc(t) - sequence.start < sequence.size;
}

/* ---- the call ---- */

/* Lets the thread run until it is about to restore its state. */
static int tracee_run_call(struct tracee *t, uint64_t return_sp, uint64_t timeout_ns)
{
	uint64_t until = clock_ns() + timeout_ns;
	long signal = 0;

	for (;;) {
		uint64_t now = clock_ns();
		int status, err;

		if (ptrace(PTRACE_SYSCALL, t->tid, NULL, signal))
			return -errno;
		err = tracee_wait_stop(t, until > now ? until - now : 0, &status);
		if (err)
			return err;
		signal = 0;
		if (tracee_is_event_stop(status))
			continue;
		if (WSTOPSIG(status) == SIGSTOP) { /* the signal that cannot be blocked */
			signal = SIGSTOP;
			continue;
		}
		if (!tracee_is_syscall_stop(status)) {
			t->state = TRACEE_CRASHED;
			return -EFAULT;
		}
		err = tracee_at_return(t, return_sp);
		if (err < 0)
			return err;
		if (err) {
			t->state = TRACEE_RETURNED;
			return 0;
		}
	}
}

/*
 * Extends the mapping of the first thread's stack to what a call may use. The kernel does so when the thread itself
 * uses the stack, and for process_read_forced(), but not for process_vm_writev(2) (since Linux 6.5).
 */
static int tracee_extend_stack(const struct tracee *t)
{
	char byte;
	int err = process_read_forced(t->pid, t->tid, tracee_sp(t) - TRACEE_STACK_ROOM, &byte, 1);

	return err == -EFAULT ? -ENOMEM : err;
}

int tracee_call(struct tracee *t, const struct tracee_call *call, uint64_t timeout_ns, uint64_t *result)
{
	uint64_t return_sp = 0, result_at = 0;
	int err = call->stack ? 0 : tracee_extend_stack(t);

	if (!err)
		err = tracee_begin_call(t, call, &return_sp, &result_at);
	if (!err)
		err = tracee_run_call(t, return_sp, timeout_ns);
	if (err == -ESRCH)
		t->held = false;
	if (err)
		return err;
	return call->result_stub ? tracee_read(t, result_at, result, sizeof(*result)) : 0;
}

/* ---- releasing ---- */

/* Stops a thread that runs the function, for as long as it takes to detach. Returns the signal to pass on. */
static long tracee_interrupt(const struct tracee *t)
{
	int status;

	ptrace(PTRACE_INTERRUPT, t->tid, NULL, NULL);
	if (tracee_wait_stop(t, TRACEE_STOP_NS, &status) || tracee_is_event_stop(status) ||
	    tracee_is_syscall_stop(status))
		return 0;
	return WSTOPSIG(status);
}

void tracee_release(struct tracee *t)
{
	long signal = 0;

	if (!t->held)
		return;
	if (t->state == TRACEE_CALLING)
		signal = tracee_interrupt(t);
	else if (t->state == TRACEE_RETURNED)
		tracee_restore_returned(t);
	else if (t->known)
		tracee_restore(t);
	ptrace(PTRACE_DETACH, t->tid, NULL, signal);
	t->held = false;
}

#endif
