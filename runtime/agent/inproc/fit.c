/* SPDX-License-Identifier: MIT */
#include "runtime/agent/inproc/fit.h"

#include <sys/resource.h>

#include "runtime/agent/inproc/agent.h"
#include "runtime/agent/inproc/flights.h"

void regions_fit(void)
{
	struct rlimit limit;
	bool cuts = false;

	if (getrlimit(RLIMIT_AS, &limit) || limit.rlim_cur == RLIM_INFINITY)
		return;
	for (unsigned i = 0; i < SHMS_MAX; i++)
		cuts |= shm_is_too_large(&agent.shms[i], limit.rlim_cur);
	if (!cuts)
		return;
	/* No thread looks for a ring meanwhile: hit-ring.c. */
	__atomic_store_n(&agent.hidden, 1, __ATOMIC_SEQ_CST);
	/* If one is still about to take a ring, the agent's thread tries again within a second. */
	cuts = flights_wait();
	for (unsigned i = 0; cuts && i < SHMS_MAX; i++)
		if (shm_is_too_large(&agent.shms[i], limit.rlim_cur))
			shm_cut(&agent.shms[i], limit.rlim_cur);
	__atomic_store_n(&agent.hidden, 0, __ATOMIC_SEQ_CST);
}
