/* SPDX-License-Identifier: MIT */
/* Records come out of the heap in the order of their times, and equal times in the order in which they were added. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/reorder.h"

struct sample {
	uint64_t time, number;
};

static int compare(const void *a, const void *b)
{
	const struct sample *x = a, *y = b;

	if (x->time != y->time)
		return x->time < y->time ? -1 : 1;
	return x->number < y->number ? -1 : x->number > y->number;
}

static void add(struct reorder *reorder, const struct sample *sample, size_t nargs)
{
	struct record_thread thread = { .tid = (uint32_t)sample->number };
	_Alignas(8) char bytes[sizeof(struct record) + 8 * RECORD_ARGS_MAX] = { 0 };
	struct record *record = (struct record *)bytes;

	record->time = sample->time;
	record->value[0] = sample->number;
	ck_assert_int_eq(reorder_add(reorder, NULL, &thread, record, sizeof(*record) + 8 * nargs), 0);
}

START_TEST(random_order)
{
	enum { N = 5000 };
	static struct sample samples[N];
	struct reorder reorder = { 0 };
	size_t bytes = 0;

	srand((unsigned)_i);
	for (size_t i = 0; i < N; i++) {
		/* nearly sorted, random, few different times, descending */
		uint64_t times[] = { i + rand() % 5, rand(), rand() % 7, N - i };

		samples[i] = (struct sample){ times[_i % 4], i };
		add(&reorder, &samples[i], 1 + i % RECORD_ARGS_MAX);
	}
	qsort(samples, N, sizeof(*samples), compare);
	ck_assert_uint_eq(reorder.n, N);
	bytes = reorder.nbytes;
	ck_assert_uint_gt(bytes, N * sizeof(struct record));
	for (size_t i = 0; i < N; i++) {
		struct held_record *held;
		const struct record *record;

		ck_assert_uint_eq(reorder_time(&reorder), samples[i].time);
		held = reorder_take(&reorder);
		record = (const struct record *)held->record;
		ck_assert_uint_eq(record->time, samples[i].time);
		ck_assert_uint_eq(record->value[0], samples[i].number);
		ck_assert_uint_eq(held->thread.tid, samples[i].number);
		free(held);
	}
	ck_assert_uint_eq(reorder.n, 0);
	ck_assert_uint_eq(reorder.nbytes, 0);
	reorder_release(&reorder);
}
END_TEST

START_TEST(release_frees_all)
{
	struct reorder reorder = { 0 };

	for (uint64_t i = 0; i < 100; i++)
		add(&reorder, &(struct sample){ i, i }, 1);
	reorder_release(&reorder);
	ck_assert_uint_eq(reorder.n, 0);
	reorder_release(&reorder);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("reorder");
	TCase *tests = tcase_create("reorder");
	SRunner *runner;
	int failed;

	tcase_add_loop_test(tests, random_order, 0, 8);
	tcase_add_test(tests, release_frees_all);
	suite_add_tcase(suite, tests);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
