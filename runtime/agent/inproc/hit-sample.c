/* SPDX-License-Identifier: MIT */
/* The limit of a rate: see runtime/fetch/program.h. The rules of hit-read.c hold here, too. */
#include "runtime/agent/inproc/hit-call.h"

struct hit_result trampoline_token(uint64_t time, struct hit_bucket *bucket)
{
	uint64_t next = __atomic_load_n(&bucket->next, __ATOMIC_RELAXED), later, burst;
	struct hit_result answer = { 0, 0 };

	/* No time is known: the hit is counted as idle or lost later. */
	if (time == UINT64_MAX)
		return answer;
	do {
		if (time < next) {
			answer.fault = 1;
			return answer;
		}
		later = next + bucket->interval;
		burst = time + bucket->interval - bucket->tolerance;
	} while (!__atomic_compare_exchange_n(&bucket->next, &next, later > burst ? later : burst, true,
	                                      __ATOMIC_RELAXED, __ATOMIC_RELAXED));
	return answer;
}
