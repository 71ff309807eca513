/* SPDX-License-Identifier: MIT */
#include "base/clock.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define STEP_NS 1000000 /* smaller changes are ignored, because two clocks cannot be read at the same time */
#define TRIES 8

static int64_t clock_read_ns(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return t.tv_sec * 1000000000ll + t.tv_nsec;
}

int64_t clock_shift(pid_t pid)
{
	char path[48], line[128];
	long long seconds, ns;
	int64_t shift = 0;
	FILE *f;

	snprintf(path, sizeof(path), pid ? "/proc/%d/timens_offsets" : "/proc/self/timens_offsets", pid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "monotonic %lld %lld", &seconds, &ns) == 2)
			shift = seconds * 1000000000ll + ns;
	if (f)
		fclose(f);
	return shift;
}

static int64_t clock_own_shift(void)
{
	static int64_t shift;
	static int known; /* concurrent threads compute the same value */

	if (!__atomic_load_n(&known, __ATOMIC_ACQUIRE)) {
		__atomic_store_n(&shift, clock_shift(0), __ATOMIC_RELAXED);
		__atomic_store_n(&known, 1, __ATOMIC_RELEASE);
	}
	return __atomic_load_n(&shift, __ATOMIC_RELAXED);
}

uint64_t clock_ns(void)
{
	return (uint64_t)(clock_read_ns(CLOCK_MONOTONIC) - clock_own_shift());
}

/* Returns the offset of the closest of several readings, each of the wall clock between two of clock_ns(). */
static int64_t wall_read_offset(uint64_t *time)
{
	int64_t offset = 0, closest = INT64_MAX;

	for (int i = 0; i < TRIES && closest > STEP_NS / 1000; i++) {
		int64_t before = (int64_t)clock_ns(), wall = clock_read_ns(CLOCK_REALTIME), after = (int64_t)clock_ns();

		if (after - before >= closest)
			continue;
		closest = after - before;
		offset = wall - (before + closest / 2);
		*time = (uint64_t)after;
	}
	return offset;
}

int wall_sample(struct wall *wall)
{
	uint64_t time = 0, last = wall->sampled;
	int64_t offset = wall_read_offset(&time), change;

	wall->sampled = time;
	change = wall->nsteps ? offset - wall->steps[wall->nsteps - 1].offset : 0;
	if (wall->nsteps && change < STEP_NS && change > -STEP_NS)
		return 0;
	if (wall->nsteps == WALL_STEPS)
		memmove(wall->steps, wall->steps + 1, --wall->nsteps * sizeof(*wall->steps));
	wall->steps[wall->nsteps++] = (struct wall_step){ last, offset };
	return wall->nsteps > 1;
}

int64_t wall_time(struct wall *wall, uint64_t time)
{
	size_t i;

	if (!wall->nsteps || time > wall->sampled)
		wall_sample(wall);
	for (i = wall->nsteps - 1; i && wall->steps[i].from >= time; i--)
		;
	return (int64_t)time + wall->steps[i].offset;
}
