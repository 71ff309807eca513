/* SPDX-License-Identifier: MIT */
/*
 * A thread of another process that ptrace(2) stops and makes call a function. The thread then continues where it was,
 * even if the controller is killed: tracee.c says how.
 *
 * A CPU that has a tracee-CPU.c defines TRACEE_SUPPORTED here. Without it, waking and injecting are refused.
 */
#ifndef RUNTIME_AGENT_TRACEE_H
#define RUNTIME_AGENT_TRACEE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/user.h>

#if defined __x86_64__
#define TRACEE_SUPPORTED
#endif

#define TRACEE_XSTATE_MAX 16384
#define TRACEE_STUB_WORDS_MAX 5
#define TRACEE_STACK_ROOM 65536                     /* bytes below the stack pointer that a call may use */
#define TRACEE_IMAGE_MAX (TRACEE_XSTATE_MAX + 1024) /* bytes of struct tracee_call.stack that a call uses at most */

struct tracee {
	pid_t pid, tid;
	bool held;                    /* this process traces the thread */
	bool known;                   /* regs are valid */
	struct user_regs_struct regs; /* the thread's own, as it was stopped; calls return to them */
	enum {
		TRACEE_UNCHANGED, /* stopped, with its own state */
		TRACEE_CALLING,   /* runs the function, and returns without help */
		TRACEE_RETURNED,  /* stopped before the system call that restores its state */
		TRACEE_CRASHED,   /* stopped by a signal inside the function */
	} state;
	bool saved;       /* the fields below are valid */
	uint64_t signals; /* blocked ones */
	size_t xstate_size;
	_Alignas(64) unsigned char xstate[TRACEE_XSTATE_MAX];
};

/* A call, and what it needs from the process's C library. Addresses are the process's. */
struct tracee_call {
	uint64_t function;
	const char *text;  /* the first argument, shorter than PATH_MAX; NULL: none */
	uint64_t second;   /* the second argument */
	uint64_t restorer; /* where signal handlers return to: rt_sigreturn(2) */
	/* Code that stores the result, takes an odd number of words from the stack, and returns: mov %rax,(%rbx); pop; ret.
	 * 0: the result is not needed. */
	uint64_t result_stub;
	unsigned stub_words;
	uint64_t stack; /* writable memory to use instead of the thread's stack; only without a text; 0: none */
};

/*
 * Runs fn, which may use all functions below, in a thread of its own. Returns what fn returns, with its error message.
 * When that thread ends, the kernel releases each thread of the target that did not stop in time, so the target
 * continues.
 */
int tracee_run(int (*fn)(void *arg), void *arg);

/*
 * Stops the thread. After 0 and after errors other than those listed, the caller calls tracee_release().
 *
 * Returns -EPERM if it may not be traced, -ESRCH if it does not exist, -EAGAIN if it is in an uninterruptible sleep,
 * -EINPROGRESS if it is in a system call that would return early, such as a blocked write(2), -EBUSY if it waits for a CPU
 * and so may be about to enter such a call, or -ETIMEDOUT if it went into an uninterruptible sleep; it then stops after
 * that, unless tracee_run() has returned.
 */
int tracee_hold(struct tracee *t, pid_t pid, pid_t tid);

/*
 * Returns whether it is in a critical section of rseq(2), which the kernel aborts after an interruption. A call would
 * hide the interruption from the kernel.
 */
bool tracee_is_restartable(const struct tracee *t);

/*
 * Calls the function. Stores the result if the call has a result stub. Returns -ETIMEDOUT if the function has not
 * returned within timeout_ns (it then returns later without help), -EFAULT if the thread crashed, -ENOMEM if its stack
 * has no room, or -ESRCH if it has ended. After 0 it may be called again.
 */
int tracee_call(struct tracee *t, const struct tracee_call *call, uint64_t timeout_ns, uint64_t *result);

/* Writes to the thread's memory. Returns 0 or -EFAULT. */
int tracee_write(const struct tracee *t, uint64_t at, const void *bytes, size_t size);

/* Restores the thread as it was before tracee_hold() and stops tracing it. A thread in a call returns without help. */
void tracee_release(struct tracee *t);

/* ---- the registers of a thread that is held: tracee-CPU.c ---- */

uint64_t tracee_pc(const struct tracee *t);
uint64_t tracee_sp(const struct tracee *t);
uint64_t tracee_thread_pointer(const struct tracee *t);
/* Returns whether it runs code of the same kind as this process (64 bits). */
bool tracee_is_native(const struct tracee *t);
/* Returns the number of the system call in which it was stopped, -1 if none; stores the first argument. */
long tracee_syscall(const struct tracee *t, uint64_t *first);

#endif
