/* SPDX-License-Identifier: MIT */
/* Tests base/half.c with all numbers of 16 bits, and with those between them. */
#include <check.h>
#include <math.h>
#include <stdlib.h>

#include "base/half.h"

START_TEST(numbers)
{
	static const struct {
		uint16_t bits;
		double number;
	} known[] = {
		{ 0, 0 },
		{ 0x3c00, 1 },
		{ 0xc000, -2 },
		{ 0x3555, 0x1.554p-2 },
		{ 0x0001, 0x1p-24 },
		{ 0x7bff, 65504 },
		{ 0x0400, 0x1p-14 },
		{ 0x03ff, 0x1.ff8p-15 },
		{ 0x7c00, HUGE_VAL },
		{ 0xfc00, -HUGE_VAL },
	};

	for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++) {
		ck_assert(half_to_double(known[i].bits) == known[i].number);
		ck_assert_uint_eq(half_from_double(known[i].number), known[i].bits);
	}
	ck_assert(signbit(half_to_double(0x8000)));
	ck_assert(isnan(half_to_double(half_from_double(strtod("nan", NULL)))));
}
END_TEST

START_TEST(every_number_returns)
{
	for (unsigned bits = 0; bits < 0x10000; bits++) {
		double number = half_to_double((uint16_t)bits);

		if ((bits & 0x7fff) > 0x7c00)
			ck_assert(isnan(number));
		else
			ck_assert_uint_eq(half_from_double(number), bits);
	}
}
END_TEST

START_TEST(numbers_between_are_rounded)
{
	for (unsigned bits = 0; bits < 0x7c00; bits++) {
		double low = half_to_double((uint16_t)bits);
		double high = bits == 0x7bff ? 65536 : half_to_double((uint16_t)(bits + 1)), middle = (low + high) / 2;

		ck_assert(low < high);
		ck_assert_uint_eq(half_from_double(middle), bits + (bits & 1));
		ck_assert_uint_eq(half_from_double(-nextafter(middle, 0)), 0x8000 | bits);
		ck_assert_uint_eq(half_from_double(nextafter(middle, 1e9)), bits + 1);
	}
	ck_assert_uint_eq(half_from_double(1e300), 0x7c00);
	ck_assert_uint_eq(half_from_double(-1e-300), 0x8000);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("half");
	TCase *tc = tcase_create("half");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_test(tc, numbers);
	tcase_add_test(tc, every_number_returns);
	tcase_add_test(tc, numbers_between_are_rounded);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
