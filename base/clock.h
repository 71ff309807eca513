/* SPDX-License-Identifier: MIT */
/*
 * Clocks. Records have the time of CLOCK_MONOTONIC in the initial time namespace, because that is what BPF programs get.
 * clock_ns() returns that time in any time namespace.
 *
 * The time of day of a record is its time plus an offset. The offset changes when the wall clock is set, and when the
 * machine was suspended, because CLOCK_MONOTONIC stops meanwhile. So the offset is sampled repeatedly, and a record uses
 * the offset of the first sample after it.
 */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

/* Returns the time in ns. */
uint64_t clock_ns(void);

/* Returns CLOCK_MONOTONIC of this process's own time namespace, in ns. */
static inline uint64_t clock_local_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/*
 * Returns what the time namespace of a process adds to CLOCK_MONOTONIC, in ns; pid 0 means the calling process. Returns 0
 * if it is not known, as in kernels without time namespaces.
 */
int64_t clock_shift(pid_t pid);

#define WALL_STEPS 64

struct wall {
	/* The offset of records from `from` to the next step. steps[0] also applies to earlier records. */
	struct wall_step {
		uint64_t from;
		int64_t offset;
	} steps[WALL_STEPS];
	size_t nsteps;    /* the oldest are dropped */
	uint64_t sampled; /* time of the last sample */
};

/* Samples the offset. Returns 1 if it changed since the last sample, else 0. */
int wall_sample(struct wall *wall);
/* Returns a record's time of day, in ns since 1970. Samples the offset first if the record is later than the last sample. */
int64_t wall_time(struct wall *wall, uint64_t time);

#endif
