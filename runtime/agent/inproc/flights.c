/* SPDX-License-Identifier: MIT */
#include <sys/syscall.h>

#include "runtime/agent/inproc/agent.h"
#include "runtime/agent/inproc/flights.h"

#define FLIGHT_YIELDS 2000

bool flights_wait(void)
{
	for (unsigned i = 0; i < FLIGHT_YIELDS; i++) {
		uint32_t n = 0;

		for (unsigned k = 0; k < FLIGHTS; k++)
			n += __atomic_load_n(&agent.flight[k].n, __ATOMIC_ACQUIRE);
		if (!n)
			return true;
		cpu_call(SYS_sched_yield, 0, 0, 0, 0, 0, 0);
	}
	return false;
}
