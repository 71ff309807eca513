/* SPDX-License-Identifier: MIT */
/* The part of Check that unit/trampoline.c needs, for CPUs that Check is not installed for. The first failure ends a test. */
#ifndef TESTS_CHECK_H
#define TESTS_CHECK_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define CK_ENV 0
#define ck_abort_msg(...)                                       \
	do {                                                    \
		fprintf(stderr, "%s:%d: ", __FILE__, __LINE__); \
		fprintf(stderr, __VA_ARGS__);                   \
		fputc('\n', stderr);                            \
		exit(1);                                        \
	} while (0)
#define ck_assert_msg(x, ...)                      \
	do {                                       \
		if (!(x))                          \
			ck_abort_msg(__VA_ARGS__); \
	} while (0)
#define ck_assert(x) ck_assert_msg(x, "%s", #x)
#define ck_compare(x, op, y)                                                                       \
	do {                                                                                       \
		unsigned long long ck_x = (unsigned long long)(x), ck_y = (unsigned long long)(y); \
                                                                                                   \
		ck_assert_msg(ck_x op ck_y, "%s is %llu, not %s %llu", #x, ck_x, #op, ck_y);       \
	} while (0)
#define ck_assert_uint_eq(x, y) ck_compare(x, ==, y)
#define ck_assert_uint_ge(x, y) ck_compare(x, >=, y)
#define ck_assert_uint_gt(x, y) ck_compare(x, >, y)
#define ck_assert_uint_le(x, y) ck_compare(x, <=, y)
#define ck_assert_uint_lt(x, y) ck_compare(x, <, y)
#define ck_assert_mem_eq(x, y, size) ck_assert(!memcmp(x, y, size))
#define ck_assert_int_gt(x, y) ck_compare(x, >, y)
#define ck_assert_int_lt(x, y) ck_compare(x, <, y)
#define ck_assert_ptr_ne(x, y) ck_assert((x) != (y))
#define ck_assert_ptr_null(x) ck_assert(!(x))
#define ck_assert_ptr_nonnull(x) ck_assert(x)
#define ck_assert_int_eq(x, y) ck_compare(x, ==, y)

#define START_TEST(name) static void name(void)
#define END_TEST

/* Each test runs in its own process, as with Check. */
struct suite {
	int failed;
};
typedef struct suite Suite, TCase, SRunner;

static Suite the_suite;

static inline void tcase_add(Suite *suite, void (*test)(void), const char *name)
{
	int status;

	if (getenv("CK_ONLY")) { /* for debugging: runs this test only, in this process */
		if (!strcmp(getenv("CK_ONLY"), name))
			test();
		return;
	}
	fflush(NULL);
	if (!fork()) {
		test();
		exit(0);
	}
	wait(&status);
	suite->failed += status != 0;
	printf("%s: %s\n", name, status ? "failed" : "passed");
}

#define suite_create(name) (&the_suite)
#define tcase_create(name) (&the_suite)
#define tcase_set_timeout(tcase, seconds)
#define tcase_add_test(tcase, test) tcase_add(tcase, test, #test)
#define suite_add_tcase(suite, tcase)
#define srunner_create(suite) (suite)
#define srunner_run_all(runner, how)
#define srunner_ntests_failed(runner) ((runner)->failed)
#define srunner_free(runner)

#endif
