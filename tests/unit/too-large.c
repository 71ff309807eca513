/* SPDX-License-Identifier: MIT */
/*
 * A kernel that rejects large BPF programs (E2BIG): the fetch programs of a request are divided among smaller BPF
 * programs, and all points count. If one fetch program alone is too large, the error message says what to do.
 */
#include <bpf/bpf.h>
#include <dlfcn.h>

#include "runtime/kernel/emitter.h"
#include "runtime/kernel/link.h"
#include "tests/kernel/hit.h"

#define POINTS 24

static size_t insns_max = SIZE_MAX;
static unsigned loaded, rejected;

/* The library under test calls this function instead of libbpf's. The C name differs, because libbpf's versions declare it differently. */
int program_load_hook(int type, const char *name, const char *licence, const struct bpf_insn *insns, size_t ninsns,
                      void *opts) __asm__("bpf_prog_load");

int program_load_hook(int type, const char *name, const char *licence, const struct bpf_insn *insns, size_t ninsns,
                      void *opts)
{
	typeof(&program_load_hook) next = (typeof(&program_load_hook))dlsym(RTLD_NEXT, "bpf_prog_load");

	if (ninsns > insns_max) {
		rejected++;
		errno = E2BIG;
		return -E2BIG;
	}
	loaded += !strcmp(name, "probepoint");
	return next(type, name, licence, insns, ninsns, opts);
}

/* Makes programs whose code differs: program i passes if rax is i. */
static void programs_make(struct fetch_program *programs, struct fetch_step (*steps)[2 * POINTS + 4])
{
	for (size_t i = 0; i < POINTS; i++) {
		size_t n = 0;

		steps[i][n++] = (struct fetch_step){ .op = FETCH_REG, .a = 0 };
		for (size_t k = 0; k < i; k++)
			steps[i][n++] = (struct fetch_step){ .op = FETCH_NEG };
		steps[i][n++] = (struct fetch_step){ .op = FETCH_IMM, .value = i % 2 ? -(int64_t)i : (int64_t)i };
		steps[i][n++] = (struct fetch_step){ .op = FETCH_EQ };
		steps[i][n++] = (struct fetch_step){ .op = FETCH_TEST };
		programs[i] = (struct fetch_program){ .steps = steps[i], .nsteps = n, .npredicate = n };
	}
}

START_TEST(programs_are_divided)
{
	static struct fetch_step steps[POINTS][2 * POINTS + 4];
	static struct fetch_program programs[POINTS];
	uint64_t registers[16] = { 0 };
	unsigned together;
	struct armed a;

	hit_open();
	programs_make(programs, steps);
	loaded = 0;
	arm_programs(&a, programs, POINTS);
	disarm_programs(&a);
	together = loaded;
	insns_max = 450;
	loaded = rejected = 0;
	arm_programs(&a, programs, POINTS);
	fprintf(stderr, "%u BPF programs instead of %u, %u rejected\n", loaded, together, rejected);
	ck_assert_uint_gt(rejected, 0);
	ck_assert_uint_gt(loaded, together);
	registers[4] = (uint64_t)registers;
	for (registers[0] = 0; registers[0] < POINTS; registers[0]++)
		hit_run(registers);
	for (int i = 0; i < POINTS; i++) {
		struct pp_counts counts;

		backend_kernel.counts(a.attachment, i, &counts);
		ck_assert_uint_eq(counts.hits, POINTS);
		ck_assert_uint_eq(counts.filtered, POINTS - 1);
	}
	disarm_programs(&a);
}
END_TEST

START_TEST(error_says_what_to_do)
{
	const struct bpf_insn end[] = { BPF_MOV64_IMM(BPF_REG_0, 0), BPF_EXIT_INSN() };

	insns_max = 1;
	ck_assert_int_eq(link_program(end, 2), -E2BIG);
	ck_assert_str_eq(pp_error(),
	                 "the kernel rejects a BPF program of 2 instructions, because its verifier would follow more "
	                 "than a million: shorten the filter, the aggregate or the list of values");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("too-large");
	TCase *tc = tcase_create("too-large");
	SRunner *runner = srunner_create(suite);
	int failed = need_kernel();

	if (failed)
		return failed;
	seed_set();
	tcase_set_timeout(tc, 600);
	tcase_add_test(tc, programs_are_divided);
	tcase_add_test(tc, error_says_what_to_do);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
