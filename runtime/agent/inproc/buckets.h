/* SPDX-License-Identifier: MIT */
#ifndef RUNTIME_AGENT_INPROC_BUCKETS_H
#define RUNTIME_AGENT_INPROC_BUCKETS_H

#include "runtime/agent/inproc/hit.h"

/*
 * Finds or makes the bucket of the points that have this number (trampoline_consumer.call), which a later attachment may
 * have again, and this rate. Returns NULL without memory. For the agent's thread.
 */
struct hit_bucket *bucket_get(uint64_t call, uint32_t rate);

#endif
