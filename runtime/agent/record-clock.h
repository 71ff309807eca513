/* SPDX-License-Identifier: MIT */
/*
 * Conversion of records' times to CLOCK_MONOTONIC. A region's clock is usually the CPU's counter. The reader samples
 * both clocks in each pass. A record's time lies between two samples; if it is earlier than the first sample, between
 * that and what the agent sampled when it made the region.
 */
#ifndef RUNTIME_AGENT_RECORD_CLOCK_H
#define RUNTIME_AGENT_RECORD_CLOCK_H

#include "runtime/agent/shm.h"

struct record_clock {
	struct clock_sample {
		uint64_t ticks, ns; /* both clocks at the same moment */
	} last;
	double slope; /* ns per tick between the last two samples */
};

/* Takes two samples, 2 ms apart. */
void record_clock_open(struct record_clock *clock);
/* Takes a sample. */
void record_clock_update(struct record_clock *clock);
/* Returns a time of the region's clock in ns of CLOCK_MONOTONIC. If it is later than *now, reads *now again and returns at most that. */
uint64_t record_clock_to_ns(const struct record_clock *clock, const struct mapped_shm *shm, uint64_t time,
                            uint64_t *now);
/* Returns ns of CLOCK_MONOTONIC in the region's clock. */
uint64_t record_clock_from_ns(const struct record_clock *clock, const struct mapped_shm *shm, uint64_t ns);

#endif
