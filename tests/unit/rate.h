/* SPDX-License-Identifier: MIT */
/*
 * A model of --rate. The time of each hit is known only to be between two times. The model describes the bucket by the time at which
 * it would be full if no more hits came, of which it knows an earliest and a latest value. A hit passes if a token is left, which is so
 * if the bucket would be full at most `room` after the hit. The time then becomes one interval later.
 */
#ifndef TESTS_UNIT_RATE_H
#define TESTS_UNIT_RATE_H

#include <check.h>
#include <stdbool.h>
#include <stdint.h>

#include "tests/unit/random.h"

struct rate_model {
	int64_t interval, room; /* the time for a token; the time for all tokens but one */
	int64_t earliest, latest;
	long npassed, nstopped, nunknown; /* hits that must pass, that must not pass, and that may do either */
};

/* Fails if the hit, which came between these times, must have passed and did not, or the other way round. */
static inline void rate_check(struct rate_model *m, int64_t from, int64_t to, bool passed)
{
	const bool must = m->latest <= from + m->room, must_not = m->earliest > to + m->room;

	ck_assert_msg(
		passed ? !must_not : !must,
		"seed %llu: a hit %s: interval %lld, room %lld, full from %lld to %lld after the hit, which took %lld",
		(unsigned long long)seed, passed ? "passes" : "is stopped", (long long)m->interval, (long long)m->room,
		(long long)(m->earliest - from), (long long)(m->latest - from), (long long)(to - from));
	m->npassed += must;
	m->nstopped += must_not;
	m->nunknown += !must && !must_not;
	if (!passed) {
		if (m->earliest <= from + m->room)
			m->earliest = from + m->room + 1;
		return;
	}
	if (m->latest > to + m->room)
		m->latest = to + m->room;
	m->earliest = (m->earliest > from ? m->earliest : from) + m->interval;
	m->latest = (m->latest > to ? m->latest : to) + m->interval;
}

/* Returns how long to wait before a hit: mostly 0, else up to a few intervals. */
static inline int64_t rate_pause(const struct rate_model *m, int64_t most)
{
	int64_t pause = below(4) ? 0 : (int64_t)(random_bits() % (4 * (uint64_t)m->interval));

	return pause < most ? pause : most;
}

#endif
