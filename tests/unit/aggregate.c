/* SPDX-License-Identifier: MIT */
/* Aggregates: the buckets of histograms, and the compiler of expressions, whose programs the reference interpreter runs. */
#include <check.h>
#include <elf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "runtime/fetch/aggregate.h"
#include "runtime/fetch/filter.h"
#include "sdt/image.h"
#include "tests/unit/interpreter.h"
#include "tests/unit/random.h"

/* ---- buckets ---- */

/* A value whose number of bits is random. */
static uint64_t random_value(void)
{
	uint64_t value = random_bits() >> (random_bits() % 64);

	return random_bits() % 4 ? value : -value;
}

static struct agg_column random_column(void)
{
	struct agg_column column = { .histogram = random_bits() % 4, .is_unsigned = random_bits() % 2 };
	uint64_t low = random_value(), n = 1 + random_bits() % AGG_LINEAR_MAX, step = 1 + (random_value() >> 24);

	if (column.histogram != AGG_LINEAR)
		return column;
	column.low = (int64_t)low;
	column.step = (int64_t)(step & INT64_MAX);
	column.high = (int64_t)(low + n * (step & INT64_MAX) - random_bits() % (step & INT64_MAX));
	return column;
}

START_TEST(buckets_hold_their_values)
{
	unsigned checked = 0;

	while (checked < 100000) {
		struct agg_column column = random_column();
		uint64_t value = random_value(), low, high;
		unsigned bucket;

		if (!agg_column_is_valid(&column))
			continue;
		checked++;
		bucket = agg_bucket(&column, value);
		ck_assert_uint_lt(bucket, agg_buckets(&column));
		agg_bucket_range(&column, bucket, &low, &high);
		ck_assert_msg(!agg_less(&column, (int64_t)value, (int64_t)low) &&
		                      !agg_less(&column, (int64_t)high, (int64_t)value),
		              "histogram %d, bucket %u: %llx is not in %llx to %llx (seed %llu)", column.histogram,
		              bucket, (unsigned long long)value, (unsigned long long)low, (unsigned long long)high,
		              (unsigned long long)seed);
		ck_assert_uint_eq(agg_bucket(&column, low), bucket);
		ck_assert_uint_eq(agg_bucket(&column, high), bucket);
		if (column.histogram == AGG_LOGLINEAR && bucket && value >= 64)
			ck_assert_uint_le((high - low) / (low / 32), 1);
	}
}
END_TEST

/* ---- programs ---- */

#define BASE 0x600000u

static char memory[256] = "short\0-----------------------------------------------------------------------------------";
static uint64_t registers[17];

static int read_memory(void *arg, uint64_t address, void *to, size_t size)
{
	(void)arg;
	memset(to, 0, size);
	if (address < BASE || address - BASE > sizeof(memory) - size)
		return -EFAULT;
	memcpy(to, memory + (address - BASE), size);
	return 0;
}

/* What the aggregate of one hit has computed. */
static struct result {
	unsigned column;
	size_t size;
	uint8_t parts[AGG_PARTS_MAX * AGG_STRING];
	uint64_t value;
	bool unread;
} results[AGG_COLUMNS_MAX];
static size_t nresults;

static void take(void *arg, unsigned column, const uint8_t *parts, size_t size, uint64_t value, bool unread)
{
	struct result *r = &results[nresults++];

	(void)arg;
	*r = (struct result){ .column = column, .size = size, .value = value, .unread = unread };
	memcpy(r->parts, parts, size);
}

static struct fetch_machine machine = {
	.registers = registers,
	.read = read_memory,
	.pid = 10,
	.tid = 11,
	.cpu = 3,
	.comm = "worker",
	.aggregate = take,
};

static struct pp_enumerator states[] = { { "OFF", 0 }, { "ON", 1 } };
static struct pp_type state_type = { .name = "enum state", .size = 4, .values = states, .nvalues = 2 };
static struct pp_arg args[] = {
	{ "size", "int", 'i', NULL, 0 },          { "far", "unsigned long", 'u', NULL, 0 },
	{ "path", "const char *", 's', NULL, 0 }, { "state", "enum state", 'u', &state_type, 0 },
	{ "by", "char *", 'p', NULL, 0 },         { "d", "double", 'f', NULL, 0 },
};
static struct pp_image image = { .path = "it", .machine = EM_X86_64, .is_64 = true };
static struct pp_probe probe = { .image = &image, .provider = "it", .name = "here", .args = args, .nargs = 6 };
static struct pp_site site = { .probe = &probe, .operands = "-4@%eax 8@%rdx 8@%rcx 4@%ebx 8@%rcx 8@%r8" };

/* Runs an expression at a hit. Returns the program, which the caller releases. */
static struct fetch_program hit(const char *expr, const char *filter)
{
	struct fetch_program program;
	uint8_t depths[4096];
	union {
		struct record record;
		char room[RECORD_SIZE_MAX];
	} out;

	nresults = 0;
	ck_assert_msg(!fetch_compile(&site, &program), "%s", pp_error());
	if (filter)
		ck_assert_msg(!filter_compile(filter, &site, &program), "%s", pp_error());
	ck_assert_msg(!aggregate_compile(expr, &site, &program), "%s", pp_error());
	ck_assert_msg(!fetch_check(&program, 17, depths), "%s: %s", expr, pp_error());
	fetch_run(&program, &machine, &out.record);
	return program;
}

START_TEST(values_and_keys_are_computed)
{
	struct fetch_program p;

	registers[0] = (uint64_t)-5; /* rax */
	registers[1] = BASE;         /* rcx */
	registers[2] = 1000;         /* rdx */
	registers[3] = 1;            /* rbx */

	p = hit("count(), sum(size + 1), max(size + 1), pct(far) by path, state, comm",
	        "size < 0 && path == \"short\"");
	ck_assert_uint_eq(p.aggregate->ncolumns, 3);
	ck_assert_uint_eq(p.aggregate->ncalls, 4);
	ck_assert_uint_eq(p.aggregate->calls[1].column, p.aggregate->calls[2].column);
	ck_assert_ptr_eq(p.aggregate->parts[1].names, &state_type);
	ck_assert_uint_eq(nresults, 3);
	ck_assert_int_eq((int64_t)results[1].value, -4);
	ck_assert_uint_eq(results[2].value, 1000);
	ck_assert_uint_eq(results[2].size, 64 + 8 + 64);
	ck_assert_str_eq((char *)results[2].parts, "short");
	ck_assert_uint_eq(results[2].parts[64], 1);
	ck_assert_str_eq((char *)results[2].parts + 72, "worker");
	fetch_release(&p);

	p = hit("count() by by", NULL); /* a char * that is not const is shown as a string */
	ck_assert_uint_eq(p.aggregate->parts[0].kind, PP_STRING);
	fetch_release(&p);
	p = hit("lhist(size, -10, 10, 5), avg(far) by cpu, far > 5 || size == 0", NULL);
	ck_assert_uint_eq(nresults, 2);
	ck_assert_uint_eq(results[0].parts[0], 3);
	ck_assert_uint_eq(results[0].parts[8], 1);
	fetch_release(&p);
	p = hit("count()", "size > 0");
	ck_assert_uint_eq(nresults, 0);
	fetch_release(&p);
}
END_TEST

START_TEST(strings_of_keys_are_cut_and_marked)
{
	for (unsigned n = 61; n < 67; n++) {
		struct fetch_program p;

		memset(memory, 'x', n);
		memory[n] = 0;
		registers[1] = BASE;
		p = hit("count() by path", NULL);
		ck_assert_uint_eq(results[0].parts[63], n > 63 ? AGG_CUT : 0);
		ck_assert_uint_eq(strspn((char *)results[0].parts, "x"), n > 63 ? 63 : n);
		fetch_release(&p);
	}
}
END_TEST

START_TEST(faults_are_unread)
{
	struct fetch_program p;

	registers[1] = 8; /* not readable */
	p = hit("count(), sum(size) by path", NULL);
	ck_assert_uint_eq(nresults, 2);
	ck_assert(results[0].unread && results[1].unread);
	fetch_release(&p);
	p = hit("count(), sum(path == \"a\"), sum(size) by size", NULL);
	ck_assert_uint_eq(nresults, 3);
	ck_assert(!results[0].unread && results[1].unread && !results[2].unread);
	fetch_release(&p);
}
END_TEST

START_TEST(errors_name_the_place)
{
	static const struct {
		const char *expr, *error;
	} cases[] = {
		{ "",
		  "expected a function: there are count(), sum(x), min(x), max(x), avg(x), hist(x), lhist(x, low, high, "
		  "step) and pct(x)\n\n^" },
		{ "size",
		  "expected a function: there are count(), sum(x), min(x), max(x), avg(x), hist(x), lhist(x, low, high, "
		  "step) and pct(x)\nsize\n^" },
		{ "count(size)", "expected ')'\ncount(size)\n      ^" },
		{ "sum(path)",
		  "'path' is a string: it can only be compared with a quoted string, by ==, != or =~\nsum(path)\n    ^" },
		{ "sum(d)", "'d' is a floating-point number: it can only be compared with a constant\nsum(d)\n    ^" },
		{ "count() size", "expected ',', 'by' or the end\ncount() size\n        ^" },
		{ "count() by", "expected a value before the end of the filter\ncount() by\n          ^" },
		{ "count() by 1,2,3,4", "a key has at most 3 parts\ncount() by 1,2,3,4\n                 ^" },
		{ "count() by \"x\"",
		  "a quoted string can only be compared, by ==, != or =~\ncount() by \"x\"\n           ^" },
		{ "lhist(size, 5, 1, 1)",
		  "invalid bounds: low must be below high, and the step above 0\nlhist(size, 5, 1, 1)\n"
		  "      ^" },
		{ "lhist(size, 0, 5000, 1)",
		  "the histogram has more than 1000 steps\nlhist(size, 0, 5000, 1)\n      ^" },
		{ "lhist(size, 0)", "expected ','\nlhist(size, 0)\n             ^" },
		{ "count(),count(),count(),count(),count(),count(),count(),count(),sum(1)",
		  "more than 8 functions\ncount(),count(),count(),count(),count(),count(),count(),count(),sum(1)\n"
		  "                                                                ^" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct fetch_program program;

		ck_assert(!fetch_compile(&site, &program));
		ck_assert_int_eq(aggregate_compile(cases[i].expr, &site, &program), -EINVAL);
		ck_assert_str_eq(pp_error(), cases[i].error);
		ck_assert_ptr_null(program.aggregate);
		fetch_release(&program);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("aggregate");
	TCase *tc = tcase_create("aggregate");
	SRunner *runner = srunner_create(suite);
	int failed;

	seed_set();
	tcase_set_timeout(tc, 300);
	tcase_add_test(tc, buckets_hold_their_values);
	tcase_add_test(tc, values_and_keys_are_computed);
	tcase_add_test(tc, strings_of_keys_are_cut_and_marked);
	tcase_add_test(tc, faults_are_unread);
	tcase_add_test(tc, errors_name_the_place);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
