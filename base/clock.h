/* SPDX-License-Identifier: MIT */
/*
 * Clocks. Records have the time of CLOCK_MONOTONIC in the machine's first time namespace, because that is what the
 * kernel gives its programs. clock_ns() is that clock, wherever this process runs.
 *
 * The time of day of a record is its time and an offset, which changes: when the wall clock is set, and when the
 * machine was suspended, because CLOCK_MONOTONIC stands still meanwhile. So the offset is sampled again and again, and
 * a record takes the offset of the first sample after it.
 */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

uint64_t clock_ns(void);

/*
 * What a process's time namespace adds to CLOCK_MONOTONIC, in ns; pid 0: this process's. 0 if that is not known, as in
 * kernels without time namespaces.
 */
int64_t clock_shift(pid_t pid);

#define WALL_STEPS 64

struct wall {
	/* The offset of records from `from` on, up to the next step; steps[0] is of all before, too. */
	struct wall_step {
		uint64_t from;
		int64_t offset;
	} steps[WALL_STEPS];
	size_t nsteps;   /* the oldest are forgotten */
	uint64_t looked; /* the last sample */
};

/* Samples the offset. Returns 1 if it has changed since the last sample. */
int wall_look(struct wall *wall);
/* ns since 1970 of a record's time. Samples if the record is later than the last sample. */
int64_t wall_time(struct wall *wall, uint64_t time);

#endif
