/* SPDX-License-Identifier: MIT */
/*
 * A thread of another process, held by ptrace(2), and made to call a function there.
 * x86-64.
 *
 * Whatever becomes of the holder, the thread goes on where it was: tracee.c
 * says how.
 */
#ifndef RUNTIME_AGENT_TRACEE_H
#define RUNTIME_AGENT_TRACEE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/user.h>

#define TRACEE_XSTATE_MAX 16384
#define TRACEE_STACK_ROOM 65536                     /* what a call may use below the stack pointer */
#define TRACEE_IMAGE_MAX (TRACEE_XSTATE_MAX + 1024) /* what a call that has its own place needs of it */

struct tracee {
	pid_t pid, tid;
	bool held;  /* it is traced by us */
	bool known; /* regs are its own, as it was stopped; the call returns to them */
	struct user_regs_struct regs;
	enum {
		TRACEE_AS_IT_WAS, /* stopped, nothing of it changed */
		TRACEE_CALLING,   /* on its way, and comes back by itself */
		TRACEE_RETURNED,  /* stopped before it takes back what it was */
		TRACEE_CRASHED,   /* stopped by a signal in the middle of the call */
	} state;
	bool saved;       /* what follows */
	uint64_t signals; /* blocked */
	size_t xstate_size;
	_Alignas(64) unsigned char xstate[TRACEE_XSTATE_MAX];
};

/* What a call needs of the process's C library. */
struct tracee_call {
	uint64_t function;
	const char *text; /* its first argument, shorter than PATH_MAX; NULL */
	uint64_t second;
	uint64_t restorer; /* where signal handlers return to: rt_sigreturn(2) */
	uint64_t keeper;   /* mov %rax,(%rbx); pop %rbx; ret. 0: the result is not asked for */
	uint64_t slot;     /* writable memory that serves instead of the thread's stack, without a text; 0 */
};

/*
 * Runs fn, which may use all of the below, in a thread of its own and returns what it returns, with its error message. When
 * that thread ends, the kernel lets go of each thread of the target that did not stop in time, and the target goes on.
 */
int tracee_run(int (*fn)(void *arg), void *arg);

/*
 * Stops the thread. -EPERM: it cannot be traced; -ESRCH: there is none; -EAGAIN: it
 * is in an uninterruptible sleep; -EINPROGRESS: it is in a call that would return
 * early, as a blocked write(2); -ETIMEDOUT: it went into one, and stops when it
 * comes out, unless tracee_run() has returned. Other than for these it is to be let go.
 */
int tracee_hold(struct tracee *t, pid_t pid, pid_t tid);

/* Whether it is in a sequence that the kernel begins anew when it is interrupted, rseq(2): it would not know that it was. */
bool tracee_is_restartable(const struct tracee *t);

/*
 * Calls; 0, and *result where there is a keeper. -ETIMEDOUT: it has not returned
 * within the ns given, and does so by itself later; -EFAULT: it crashed; -ESRCH: it
 * has ended. May be called again after 0.
 */
int tracee_call(struct tracee *t, const struct tracee_call *call, uint64_t timeout_ns, uint64_t *result);

/* Into its memory; -EFAULT. */
int tracee_write(const struct tracee *t, uint64_t at, const void *bytes, size_t size);

/* As it was before it was held, or left to come back. */
void tracee_let_go(struct tracee *t);

#endif
