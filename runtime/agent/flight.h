/* SPDX-License-Identifier: MIT */
/* Reads the records of a flight recorder out of one region, without changing it. */
#ifndef RUNTIME_AGENT_FLIGHT_H
#define RUNTIME_AGENT_FLIGHT_H

#include "runtime/agent/record-clock.h"
#include "runtime/backend.h"

struct flight_reading {
	struct record_clock *clock;
	snapshot_fn *fn; /* receives each record */
	void *arg;
	struct snapshot_gaps *gaps;
};

/* Returns 0, what fn returned if that is not 0, or -ENOMEM. */
int flight_read(const struct mapped_shm *shm, const struct flight_reading *reading);

#endif
