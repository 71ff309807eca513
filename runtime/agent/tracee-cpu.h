/* SPDX-License-Identifier: MIT */
/* Between the parts of the tracee: tracee-stop.c, tracee-CPU.c, tracee.c. Each uses only those before it. */
#ifndef RUNTIME_AGENT_TRACEE_CPU_H
#define RUNTIME_AGENT_TRACEE_CPU_H

#include "runtime/agent/tracee.h"

#define TRACEE_STOP_NS 1000000000ull /* time for a thread to stop */

/* ---- tracee-stop.c ---- */

/* Waits until the thread stops and stores its status. Returns -ETIMEDOUT, or -ESRCH if it has ended. */
int tracee_wait_stop(const struct tracee *t, uint64_t timeout_ns, int *status);
/* Returns whether a status is a stop by PTRACE_INTERRUPT or by job control, or one at a system call. */
bool tracee_is_event_stop(int status);
bool tracee_is_syscall_stop(int status);

struct tracee_status {
	char state; /* 0: not known */
	unsigned long long pending, shared, blocked;
};
struct tracee_status tracee_read_status(const struct tracee *t);

/*
 * Says what a stop would do to the system call that the thread is in. Returns 0 if it does not return early, -EINPROGRESS
 * if it does, see tracee.c, or -EBUSY if this is not known, because the thread waits for a CPU.
 */
int tracee_check_sleep(const struct tracee *t);

/* ---- tracee-CPU.c ---- */

/* Reads regs. Returns 0 or a negative errno. */
int tracee_read_regs(struct tracee *t);
/*
 * Writes a signal frame with the thread's state, and sets the registers so that the thread runs the function and then
 * returns through the frame. Stores where the stack pointer is after the return, and where the result will be.
 */
int tracee_begin_call(struct tracee *t, const struct tracee_call *call, uint64_t *return_sp, uint64_t *result_at);
/* Returns 1 if the thread is at the system call that restores its state from the frame, else 0 or a negative errno. */
int tracee_at_return(const struct tracee *t, uint64_t return_sp);
/* Restores the state of a thread that is UNCHANGED or CRASHED, or RETURNED. */
void tracee_restore(const struct tracee *t);
void tracee_restore_returned(const struct tracee *t);

#endif
