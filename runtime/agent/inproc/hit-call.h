/* SPDX-License-Identifier: MIT */
/* System calls of hits. */
#ifndef RUNTIME_AGENT_INPROC_HIT_CALL_H
#define RUNTIME_AGENT_INPROC_HIT_CALL_H

#include <errno.h>

#include "runtime/agent/inproc/agent.h"

/* calls_allowed() of calls.c, which this code must not call. */
static inline bool hit_may_call(void)
{
	return __atomic_load_n(&agent.calls, __ATOMIC_SEQ_CST) > __atomic_load_n(&agent.sealed, __ATOMIC_SEQ_CST);
}

/* Returns the calling thread's element of agent.flight. */
static inline uint32_t *hit_flight(void)
{
	uintptr_t self = (uintptr_t)__builtin_thread_pointer();

	return &agent.flight[(self >> 12 ^ self >> 20) % FLIGHTS].n;
}

/*
 * Makes a system call for a hit. Returns its result, or -ENOSYS without making it if
 * calls are off. A thread that sets a filter for all threads turns calls off, then
 * waits for those in flight (flights_wait()).
 */
static inline long hit_call(long number, long a, long b, long c, long d, long e, long f)
{
	uint32_t *flight = hit_flight();
	long result = -ENOSYS;

	if (!hit_may_call())
		return result;
	__atomic_fetch_add(flight, 1, __ATOMIC_SEQ_CST);
	if (hit_may_call())
		result = cpu_call(number, a, b, c, d, e, f);
	__atomic_fetch_sub(flight, 1, __ATOMIC_RELEASE);
	return result;
}

/* Returns whether the thread may read the clock. */
static inline bool clock_is_allowed(const struct hit_thread *t)
{
	return !t->muted && !__atomic_load_n(&agent.clockless, __ATOMIC_RELAXED) && (agent.has_ticks || hit_may_call());
}

#endif
