/* SPDX-License-Identifier: MIT */
/*
 * process_read_spans() reads many places of a process with few system calls. It must read the same bytes as a load, and
 * report as unreadable exactly the places that have a byte in an unreadable page.
 */
#include <probepoint.h>
#include <string.h>
#include <sys/mman.h>

#include "runtime/process.h"
#include "tests/unit/random.h"

#define PAGES 64
#define PAGE 4096ul
#define SPANS 5000

static uint8_t *memory;
static bool readable[PAGES];

static void memory_map(void)
{
	memory = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ck_assert_ptr_ne(memory, MAP_FAILED);
	for (size_t i = 0; i < PAGES * PAGE; i++)
		memory[i] = (uint8_t)random_bits();
	for (size_t i = 0; i < PAGES; i++) {
		readable[i] = below(6) != 0;
		if (!readable[i])
			ck_assert(!mprotect(memory + i * PAGE, PAGE, PROT_NONE));
	}
}

static int address_compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* Makes addresses at random, at equal distances, or at the ends of pages; sorted or not. */
static void addresses_make(uint64_t *addresses, size_t size)
{
	const size_t room = PAGES * PAGE - size, distance = 1 + below(below(2) ? 100 : 3000);
	const unsigned kind = below(3);

	for (size_t i = 0; i < SPANS; i++) {
		size_t at = kind == 0   ? below(room)
		            : kind == 1 ? i * distance % room
		                        : (1 + below(PAGES - 1)) * PAGE - below(size + 2);

		addresses[i] = (uintptr_t)memory + at;
	}
	if (below(2))
		qsort(addresses, SPANS, sizeof(*addresses), address_compare);
}

static bool span_is_readable(size_t at, size_t size)
{
	return readable[at / PAGE] && readable[(at + size - 1) / PAGE];
}

START_TEST(as_loaded)
{
	static uint64_t addresses[SPANS];
	static uint8_t bytes[16 * SPANS];
	static bool got[SPANS];
	struct process *process;
	long unread = 0, rounds = rounds_of(30, 10, 1000);

	ck_assert_msg(!process_open(getpid(), &process), "%s", pp_error());
	for (long round = 0; round < rounds; round++) {
		size_t size = 1 + below(16);

		memory_map();
		addresses_make(addresses, size);
		memset(bytes, 0, sizeof(bytes));
		ck_assert_int_eq(process_read_spans(process, addresses, SPANS, size, bytes, got), 0);
		for (size_t i = 0; i < SPANS; i++) {
			size_t at = addresses[i] - (uintptr_t)memory;

			ck_assert_msg(got[i] == span_is_readable(at, size), "seed %llu: %zu bytes at %#zx: got is %d",
			              (unsigned long long)seed, size, at, got[i]);
			unread += !got[i];
			if (got[i])
				ck_assert_mem_eq(bytes + i * size, memory + at, size);
		}
		ck_assert(!munmap(memory, PAGES * PAGE));
	}
	process_free(process);
	ck_assert_int_gt(unread, rounds * SPANS / 50);
	ck_assert_int_lt(unread, rounds * SPANS / 2);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("spans");
	TCase *tc = tcase_create("spans");
	SRunner *runner;
	int failed;

	seed_set();
	tcase_set_timeout(tc, 3600);
	tcase_add_test(tc, as_loaded);
	suite_add_tcase(suite, tc);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
