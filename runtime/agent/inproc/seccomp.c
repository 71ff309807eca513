/* SPDX-License-Identifier: MIT */
/* The agent's preparation for a filter of system calls that the program is about to set. calls.c has the rules. */
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "runtime/agent/inproc/agent.h"
#include "runtime/agent/inproc/calls.h"
#include "runtime/agent/inproc/flights.h"
#include "runtime/agent/inproc/lifecycle.h"
#include "runtime/agent/inproc/seccomp.h"

#ifndef SECCOMP_FILTER_FLAG_TSYNC
#define SECCOMP_FILTER_FLAG_TSYNC 1
#endif

/* Turns off the system calls of hits for good. all_threads: the filter will be for all threads of the process. */
static void calls_seal(bool all_threads)
{
	bool armed = __atomic_load_n(&agent.narmed, __ATOMIC_RELAXED);

	if (all_threads)
		agent_retire();
	else if (armed && agent_is_running() && !__atomic_exchange_n(&agent.sealed, 1, __ATOMIC_SEQ_CST))
		agent_request_rescan(true); /* disarms points whose filters need calls */
	__atomic_store_n(&agent.sealed, 1, __ATOMIC_SEQ_CST);
	if (all_threads)
		flights_wait();
}

/* Copies what the program has passed a pointer to, which may be invalid. Returns whether it is readable. */
static bool filter_copy(void *to, const void *from, size_t size)
{
	struct iovec here = { to, size }, there = { (void *)from, size };

	return cpu_call(SYS_process_vm_readv, cpu_call(SYS_gettid, 0, 0, 0, 0, 0, 0), (long)&here, 1, (long)&there, 1,
	                0) == (long)size;
}

/* Returns whether the instruction can return an action that is worse than to let the call pass or fail. */
static bool instruction_can_kill(const struct sock_filter *instruction)
{
	uint32_t action = instruction->k & SECCOMP_RET_ACTION_FULL;

	if (BPF_CLASS(instruction->code) != BPF_RET)
		return false;
	return BPF_RVAL(instruction->code) != BPF_K ||
	       (action != SECCOMP_RET_ALLOW && action != SECCOMP_RET_ERRNO && action != SECCOMP_RET_LOG);
}

/* Returns whether a filter, the address of a struct sock_fprog, can do worse to a call than to let it pass or fail. */
static bool filter_can_kill(unsigned long filter)
{
	struct sock_filter some[64];
	struct sock_fprog program;

	if (!filter)
		return false; /* the call will fail */
	if (!agent.tid)
		return true; /* without a thread, the agent makes no call that the program did not ask for */
	if (calls_sealed() || agent.began_filtered || !filter_copy(&program, (const void *)filter, sizeof(program)))
		return true;
	for (size_t i = 0, n; i < program.len; i += n) {
		n = program.len - i < 64 ? program.len - i : 64;
		if (!filter_copy(some, program.filter + i, n * sizeof(*some)))
			return true;
		for (size_t k = 0; k < n; k++)
			if (instruction_can_kill(&some[k]))
				return true;
	}
	__atomic_store_n(&agent.harmless, true, __ATOMIC_RELAXED);
	return false;
}

/* Call this when the thread must not read the clock any more: gives back its rings, and prevents that it takes others. */
static void thread_mute(void)
{
	agent_thread.muted |= MUTED_CLOCK;
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	rings_release(NULL);
}

/*
 * A filter of the program's only thread is a sandbox for all of the program, and the
 * agent's thread without that filter would be a way out of it. Returns whether the
 * agent's thread was stopped.
 */
static bool filter_announced(bool kills, bool all_threads)
{
	if (calls_sealed())
		return false;
	if (kills)
		calls_seal(all_threads);
	/* A filter for all threads is the agent's as well. */
	return agent.tid && !all_threads && agent_stop(true);
}

static bool prctl_announced(unsigned long option, unsigned long value, unsigned long filter)
{
	if (option == PR_SET_SECCOMP) {
		if (value == SECCOMP_MODE_STRICT)
			thread_mute();
		return filter_announced(value == SECCOMP_MODE_STRICT || filter_can_kill(filter), false);
	}
	if (option == PR_SET_TSC) {
		__atomic_store_n(&agent.clockless, value == PR_TSC_SIGSEGV, __ATOMIC_RELAXED);
		if (value == PR_TSC_SIGSEGV)
			thread_mute();
		else
			agent_thread.muted &= ~MUTED_CLOCK;
	}
	return false;
}

bool seccomp_before_call(long number, unsigned long a, unsigned long b, unsigned long c)
{
	if (number == SYS_prctl)
		return prctl_announced(a, b, c);
	if (number != SYS_seccomp || a > SECCOMP_SET_MODE_FILTER)
		return false;
	if (a == SECCOMP_SET_MODE_STRICT) {
		thread_mute();
		return filter_announced(true, false);
	}
	return filter_announced(filter_can_kill(c), b & SECCOMP_FILTER_FLAG_TSYNC);
}
