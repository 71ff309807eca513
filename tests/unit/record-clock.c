/* SPDX-License-Identifier: MIT */
/*
 * The conversion of records' times, with a simulated counter whose samples are inexact. Times keep their order, also a
 * second before the last sample and at the sample itself, and differ from the true times by no more than the samples'
 * errors explain.
 */
#include <check.h>
#include <math.h>

#include "runtime/agent/record-clock.h"
#include "tests/unit/random.h"

#define SECOND 1000000000ull
#define ERROR_NS 300      /* of a sample */
#define DISTANCE 2000000u /* ns between the last two samples */

struct counter {
	double ns_per_tick;
	uint64_t ticks, ns; /* one moment */
};

static uint64_t counter_at(const struct counter *c, uint64_t ns)
{
	return c->ticks + (uint64_t)((double)(ns - c->ns) / c->ns_per_tick);
}

static struct clock_sample inexact_sample(const struct counter *c, uint64_t ns)
{
	return (struct clock_sample){ counter_at(c, ns), ns + below(2 * ERROR_NS) - ERROR_NS };
}

/* Converts n times from a true time on, the distance apart. */
static void check_order(const struct counter *c, const struct record_clock *clock, const struct mapped_shm *shm,
                        uint64_t from, uint64_t distance, unsigned n)
{
	uint64_t last = 0, now = clock->last.ns + SECOND, age = clock->last.ns - shm->base_ns;

	for (unsigned i = 0; i < n; i++) {
		uint64_t ns = from + i * distance, got,
			 ago = ns < clock->last.ns ? clock->last.ns - ns : ns - clock->last.ns;
		double near = ago < SECOND ? (double)ago : 1e9, wrong;

		got = record_clock_to_ns(clock, shm, counter_at(c, ns), &now);
		if (got < last)
			ck_abort_msg("%llu ns before the sample, of %llu: %llu after %llu", (unsigned long long)ago,
			             (unsigned long long)age, (unsigned long long)got, (unsigned long long)last);
		last = got;
		wrong = fabs((double)got - (double)ns);
		if (wrong > 2 * ERROR_NS + near * 2 * ERROR_NS / DISTANCE + 10)
			ck_abort_msg("%llu ns before the sample, of %llu: %.0f ns wrong", (unsigned long long)ago,
			             (unsigned long long)age, wrong);
	}
}

START_TEST(times_keep_their_order)
{
	for (int round = 0; round < 500; round++) {
		struct counter c = { 0.25 + below(1000) / 500.0, 1 + (random_bits() >> 16), SECOND + below(SECOND) };
		uint64_t age = below(2) ? below(1u << 31) : below(1000) * 3 * SECOND, last = c.ns + age + 2 * DISTANCE;
		struct clock_sample base = inexact_sample(&c, c.ns), before = inexact_sample(&c, last - DISTANCE);
		struct record_clock clock = { .last = inexact_sample(&c, last) };
		struct mapped_shm shm = { .clock = AGENT_CLOCK_TSC, .base_ticks = base.ticks, .base_ns = base.ns };

		clock.slope = (double)(clock.last.ns - before.ns) / (double)(clock.last.ticks - before.ticks);
		check_order(&c, &clock, &shm, last - 5000, 100, 100);
		if (age > SECOND + 2 * SECOND / 1000)
			check_order(&c, &clock, &shm, last - SECOND - SECOND / 1000, 1000, 2000);
		check_order(&c, &clock, &shm, c.ns, 1 + age / 1000, 1000);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("record-clock");
	TCase *tests = tcase_create("record-clock");
	SRunner *runner;
	int failed;

	seed_set();
	tcase_add_test(tests, times_keep_their_order);
	suite_add_tcase(suite, tests);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
