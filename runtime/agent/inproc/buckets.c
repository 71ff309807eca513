/* SPDX-License-Identifier: MIT */
/* The token buckets of probes whose hits are limited by a rate. */
#include "runtime/agent/inproc/agent.h"
#include "runtime/agent/inproc/buckets.h"

#define CHAINS 1024u

/* Returns so many ns in ticks of the rings' clock. */
static uint64_t clock_ticks(uint64_t ns)
{
	return agent.has_ticks && agent.tick_ns ? (uint64_t)(((unsigned __int128)ns << 32) / agent.tick_ns) : ns;
}

struct hit_bucket *bucket_get(uint64_t call, uint32_t rate)
{
	static struct hit_bucket *chains[CHAINS];
	struct hit_bucket **chain = &chains[(call ^ call >> 32) % CHAINS], *bucket;

	for (bucket = *chain; bucket; bucket = bucket->after)
		if (bucket->call == call && bucket->rate == rate)
			return bucket;
	bucket = calls_prepare() ? arena_alloc(sizeof(*bucket)) : NULL;
	if (!bucket)
		return NULL;
	bucket->interval = clock_ticks(rate_interval(rate));
	bucket->tolerance = clock_ticks(rate_tolerance(rate));
	bucket->call = call;
	bucket->rate = rate;
	bucket->after = *chain;
	*chain = bucket;
	return bucket;
}
