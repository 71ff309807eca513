/* SPDX-License-Identifier: MIT */
/* Random numbers. The seed is printed: set PROBEPOINT_SEED to it to repeat a run. */
#ifndef TESTS_UNIT_RANDOM_H
#define TESTS_UNIT_RANDOM_H

#include <check.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static uint64_t seed, seed_state;

/* splitmix64, by Sebastiano Vigna */
static inline uint64_t random_of(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

static inline uint64_t random_bits(void)
{
	return random_of(&seed_state);
}

static inline unsigned below(unsigned n)
{
	return random_bits() % n;
}

/* Returns how many rounds to run: normal, divided by $PROBEPOINT_SLOW but at least least; or in_long with --long. */
static inline int rounds_of(int normal, int least, int in_long)
{
	const char *slow = getenv("PROBEPOINT_SLOW");
	int divisor = slow ? atoi(slow) : 1;

	if (getenv("PROBEPOINT_LONG"))
		return in_long;
	if (divisor > 1)
		normal /= divisor;
	return normal > least ? normal : least;
}

static inline void seed_set(void)
{
	const char *given = getenv("PROBEPOINT_SEED");

	seed = given ? strtoull(given, NULL, 0) : (uint64_t)time(NULL) ^ (uint64_t)getpid() << 32;
	seed_state = seed;
	fprintf(stderr, "PROBEPOINT_SEED=%llu\n", (unsigned long long)seed);
}

/* Keeps the thread on its CPU, which has its own counters and number. */
static inline void stay_on_this_cpu(void)
{
	cpu_set_t one;

	CPU_ZERO(&one);
	CPU_SET(sched_getcpu(), &one);
	ck_assert(!sched_setaffinity(0, sizeof(one), &one));
}

#endif
