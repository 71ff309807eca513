/* SPDX-License-Identifier: MIT */
#include "runtime/agent/record-clock.h"

#ifdef __x86_64__
#include <x86intrin.h>
#endif

#include "base/clock.h"

#define OPEN_NS 2000000   /* between the first two samples */
#define UPDATE_NS 1000000 /* over a shorter time an interrupted sample would count for too much */
#define NEAR_NS 1e9       /* before a sample, its slope is exact enough */

static uint64_t ticks_now(void)
{
#ifdef __x86_64__
	return __rdtsc();
#elif defined __aarch64__
	uint64_t now;

	__asm__ volatile("mrs %0, cntvct_el0" : "=r"(now));
	return now;
#else
	return clock_ns();
#endif
}

/* Samples several times and returns the sample that took least, because it was not interrupted. */
static struct clock_sample clock_sample_now(void)
{
	struct clock_sample best = { 0, 0 };
	uint64_t least = ~0ull;

	for (int i = 0; i < 4; i++) {
		uint64_t before = ticks_now(), ns = clock_ns(), after = ticks_now();

		if (after - before < least) {
			least = after - before;
			best = (struct clock_sample){ before + least / 2, ns };
		}
	}
	return best;
}

static bool slope_is_plausible(double slope)
{
	return slope > 0.05 && slope < 50; /* 20 MHz to 20 GHz */
}

static double slope_between(struct clock_sample a, struct clock_sample b)
{
	return b.ticks > a.ticks && b.ns > a.ns ? (double)(b.ns - a.ns) / (double)(b.ticks - a.ticks) : 0;
}

void record_clock_open(struct record_clock *clock)
{
	struct clock_sample first = clock_sample_now();

	while (clock_ns() - first.ns < OPEN_NS)
		;
	clock->last = clock_sample_now();
	clock->slope = slope_between(first, clock->last);
}

void record_clock_update(struct record_clock *clock)
{
	struct clock_sample now = clock_sample_now();
	double slope;

	if (now.ns - clock->last.ns < UPDATE_NS)
		return;
	slope = slope_between(clock->last, now);
	if (slope_is_plausible(slope))
		clock->slope = slope;
	clock->last = now;
}

/* Converts a time of the CPU's counter that is later than the last sample. */
static uint64_t ticks_after_sample(const struct record_clock *clock, uint64_t ticks, uint64_t now)
{
	double after = (double)(ticks - clock->last.ticks) * clock->slope;

	return after < 1e18 ? clock->last.ns + (uint64_t)after : now;
}

/*
 * Converts one that is earlier. The slope of the last two samples holds for NEAR_NS before the last one. From there a
 * line leads to the sample of the region, because a slope over 2 ms is not exact enough for more. The lines meet, so
 * that records keep their order.
 */
static uint64_t ticks_before_sample(const struct record_clock *clock, const struct mapped_shm *shm, uint64_t ticks)
{
	const double ago = (double)(clock->last.ticks - ticks), near = NEAR_NS / clock->slope;
	double ns = ago * clock->slope;

	if (ago > near) {
		struct clock_sample base = { shm->base_ticks, shm->base_ns };
		struct clock_sample bend = { clock->last.ticks - (uint64_t)near, clock->last.ns - (uint64_t)NEAR_NS };
		double slope = slope_between(base, bend);

		if (slope_is_plausible(slope))
			ns = NEAR_NS + (ago - near) * slope;
	}
	return ns < (double)clock->last.ns ? clock->last.ns - (uint64_t)ns : 0;
}

uint64_t record_clock_to_ns(const struct record_clock *clock, const struct mapped_shm *shm, uint64_t time,
                            uint64_t *now)
{
	if (shm->clock == AGENT_CLOCK_MONOTONIC)
		time -= (uint64_t)shm->shift;
	else if (time >= clock->last.ticks)
		time = ticks_after_sample(clock, time, *now);
	else
		time = ticks_before_sample(clock, shm, time);
	/* A record may be newer than *now, because threads write while the reader drains. */
	if (time > *now)
		*now = clock_ns();
	return time < *now ? time : *now;
}

uint64_t record_clock_from_ns(const struct record_clock *clock, const struct mapped_shm *shm, uint64_t ns)
{
	double slope = slope_is_plausible(clock->slope) ? clock->slope : 1;

	if (shm->clock == AGENT_CLOCK_MONOTONIC)
		return ns + (uint64_t)shm->shift;
	return clock->last.ticks + (uint64_t)((double)(ns - clock->last.ns) / slope);
}
