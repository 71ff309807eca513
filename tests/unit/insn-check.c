/* SPDX-License-Identifier: MIT */
/* Which instructions may be armed. The encodings are the output of the assemblers of their CPUs. */
#include <check.h>
#include <elf.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/insn-check.h"

struct insn_case {
	int machine;
	const char *name, *code; /* code in hex */
	const char *why;         /* a part of the reason; NULL: may be armed */
};

static const struct insn_case cases[] = {
	{ EM_X86_64, "nop", "90662e0f1f840000000000", NULL },
	{ EM_X86_64, "push %rbp", "554889e5", NULL },
	{ EM_X86_64, "endbr64", "f30f1efa55", NULL },
	{ EM_X86_64, "nop10", "662e0f1f840000000000", "cannot step over" },
	{ EM_X86_64, "cs nop", "2e90", "cannot step over" },
	{ EM_X86_64, "nopl 0(%rax)", "0f1f4000", NULL },
	{ EM_X86_64, "nopw", "660f1f440000", NULL },
	{ EM_X86_64, "mov $0xcc,%al", "b0cc", NULL },
	{ EM_X86_64, "syscall", "0f05", "execute wrongly" },
	{ EM_X86_64, "pushf", "9c9d", "execute wrongly" },
	{ EM_X86_64, "xchg %r8,%rax", "4990", "execute wrongly" },
	{ EM_X86_64, "xchg %r9,%rax", "4991", NULL },
	{ EM_X86_64, "sgdt (%rax)", "0f0100", "execute wrongly" },
	{ EM_X86_64, "smsw %eax", "0f01e0", "execute wrongly" },
	{ EM_X86_64, "rdtscp", "0f01f9", NULL },
	{ EM_X86_64, "movntss %xmm0,0(%rip)", "f30f2b0500000000", "execute wrongly" },
	{ EM_X86_64, "movntps %xmm0,0(%rip)", "0f2b0500000000", NULL },
	{ EM_X86_64, "cmove (%rax),%eax", "0f4400", NULL },
	{ EM_X86_64, "in (%dx),%eax", "ed", "cannot step over" },
	{ EM_X86_64, "iretq", "48cf", "cannot step over" },
	{ EM_X86_64, "mov %eax,%ss", "8ed0", "cannot step over" },
	{ EM_X86_64, "mov %eax,%gs", "8ee8", NULL },
	{ EM_X86_64, "callw", "66e81122", "cannot step over" },
	{ EM_X86_64, "rep stosb", "f3aa", "repeats itself" },
	{ EM_X86_64, "rep ret", "f3c3", NULL },
	{ EM_X86_64, "vpxor", "c5f1efc0", "cannot step over" },
	{ EM_X86_64, "vmovdqu (%rdi),%xmm0", "c5fa6f07", "cannot step over" },
	{ EM_X86_64, "vmovdqu %xmm0,(%rdi)", "c5fa7f07", "execute wrongly" },
	{ EM_X86_64, "vmovdqu64 %zmm0,(%rdi)", "62f1fe487f07", "execute wrongly" },
	{ EM_X86_64, "vfnmadd132ss", "c4e2699dc1", "execute wrongly" },
	{ EM_X86_64, "vxorps", "c5f857c0", NULL },
	{ EM_X86_64, "movdqu %xmm0,(%rdi)", "f30f7f07", NULL },
	{ EM_X86_64, "jb", "0f8211223344", NULL },
	{ EM_X86_64, "vfmaddps (FMA4)", "c4e3f968c1d0", "cannot step over" },
	{ EM_X86_64, "extrq (SSE4a)", "660f79c1", "cannot step over" },
	{ EM_X86_64, "vpcomb (XOP)", "8fe878ccc100", "execute wrongly" },
	{ EM_X86_64, "pop (%rax)", "8f00", NULL },
	{ EM_X86_64, "mfence", "0faef0", NULL },
	{ EM_X86_64, "lock addq $1, 8(%rsp)", "f0488344240801", "cannot step over" },
	{ EM_X86_64, "mov %ds:8(%rsp), %rax", "3e488b442408", "cannot step over" },
	{ EM_X86_64, "mov %fs:0, %rax", "64488b042500000000", NULL },
	{ EM_X86_64, "xchg %rax, 8(%rsp)", "4887442408", NULL },
	{ EM_X86_64, "xgetbv", "0f01d0", NULL },
	{ EM_386, "lock incl (%eax)", "f0ff00", "cannot step over" },
	{ EM_X86_64, "int3", "cc", "is a trap already" },
	{ EM_X86_64, "int $3", "cd03", "is a trap already" },
	{ EM_X86_64, "int $0x80", "cd80", "is a trap already" },
	{ EM_X86_64, "int1", "f1", "is a trap already" },
	{ EM_X86_64, "ud2", "0f0b", "is a trap already" },
	{ EM_X86_64, "ud1 %eax,%eax", "0fb9c0", "is a trap already" },
	{ EM_X86_64, "ud0 %eax,%eax", "0fffc0", "is a trap already" },
	{ EM_X86_64, "data16 int3", "66cc", "is a trap already" },
	{ EM_X86_64, "rex.W int3", "48cc", "is a trap already" },
	{ EM_X86_64, "hlt", "f4", "hlt" },
	{ EM_X86_64, "into", "ce", "not valid in 64-bit code" },
	{ EM_X86_64, "nopl 0(%rax,%rax,1)", "0f1f440000", "5-byte nop" },
	{ EM_X86_64, "nopw 0(%rax)", "660f1f4000", "5-byte nop" },
	{ EM_X86_64, "data16 data16 data16 data16 nop", "6666666690", "5-byte nop" },
	{ EM_X86_64, "data16 data16 data16 nop", "66666690", NULL },
	{ EM_X86_64, "nopl 0(%rax)", "0f1f8000000000", NULL },
	{ EM_386, "into", "ce", "is a trap already" },
	{ EM_386, "inc %eax; int3", "40cc", NULL },
	{ EM_386, "les (%eax),%edi", "c438", NULL },
	{ EM_386, "vpxor", "c5f1efc0", "cannot step over" },
	{ EM_386, "nop", "90", NULL },
	{ EM_AARCH64, "nop", "1f2003d5", NULL },
	{ EM_AARCH64, "stp x29, x30, [sp, #-16]!", "fd7bbfa9", NULL },
	{ EM_AARCH64, "bti c", "5f2403d5", NULL },
	{ EM_AARCH64, "brk #0", "000020d4", "is a trap already" },
	{ EM_AARCH64, "brk #0xf000", "00003ed4", "is a trap already" },
	{ EM_AARCH64, "hlt #0", "000040d4", "is a trap already" },
	{ EM_AARCH64, "udf #0", "00000000", "is a trap already" },
	{ EM_AARCH64, "udf #0xffff", "ffff0000", "is a trap already" },
	{ EM_AARCH64, "svc #0", "010000d4", "exception" },
	{ EM_AARCH64, "hvc #0", "020000d4", "exception" },
	{ EM_AARCH64, "ldxr x0, [x1]", "207c5fc8", "exclusive" },
	{ EM_AARCH64, "stxr w2, x0, [x1]", "207c02c8", "exclusive" },
	{ EM_AARCH64, "ldar x0, [x1]", "20fcdfc8", NULL },
	{ EM_PPC64, "nop", "00000060", NULL },
	{ EM_PPC64, "mflr r0", "a602087c", NULL },
	{ EM_PPC64, "trap", "0800e07f", "is a trap already" },
	{ EM_PPC64, "tweq r3,r4", "0820837c", "is a trap already" },
	{ EM_PPC64, "twi 31,r0,0", "0000e00f", "is a trap already" },
	{ EM_PPC64, "tdi 4,r3,1", "01008308", "is a trap already" },
	{ EM_PPC64, "td 4,r3,r4", "8820837c", "is a trap already" },
	{ EM_PPC64, "paddi", "00000006", "prefixed" },
	{ EM_S390, "anything", "0000", "unknown CPU" },
};

/* The errors are those of different kernels: see runtime/insn-check.c. */
START_TEST(nop5_by_kernel)
{
	static const uint8_t nop5[16] = { 0x0f, 0x1f, 0x44, 0x00, 0x00 }, nop10[16] = { 0x66, 0x2e, 0x0f, 0x1f, 0x84 };
	static const struct {
		int uprobe_error;
		bool refused;
	} kernels[] = {
		{ ENXIO, true },
		{ EPROTO, false },
		{ ENOSYS, false },
		{ EINVAL, true },
	};

	for (size_t i = 0; i < sizeof(kernels) / sizeof(*kernels); i++) {
		int error = kernels[i].uprobe_error;

		ck_assert_msg(!!insn_why_refused(EM_X86_64, nop5, sizeof(nop5), error) == kernels[i].refused, "%s",
		              strerror(error));
		ck_assert_msg(!!strstr(insn_why_refused(EM_X86_64, nop10, sizeof(nop10), error), "10-byte nop") ==
		                      (error == EPROTO),
		              "%s", strerror(error));
	}
}
END_TEST

START_TEST(each_instruction)
{
	const struct insn_case *c = &cases[_i];
	uint8_t code[16];
	size_t n = strlen(c->code) / 2;
	const char *why;

	memset(code, 0xee, sizeof(code)); /* bytes after the instruction must not matter */
	for (size_t i = 0; i < n; i++) {
		char byte[3] = { c->code[2 * i], c->code[2 * i + 1], 0 };

		code[i] = (uint8_t)strtoul(byte, NULL, 16);
	}
	why = insn_why_refused(c->machine, code, sizeof(code), ENXIO);
	if (!c->why)
		ck_assert_msg(!why, "%s: %s", c->name, why);
	else
		ck_assert_msg(why && strstr(why, c->why), "%s: \"%s\", not \"%s\"", c->name, why ? why : "", c->why);
}
END_TEST

/* Bytes past the size are not read (address sanitizer). */
START_TEST(few_bytes)
{
	for (int first = 0; first < 256; first++)
		for (size_t size = 0; size < 6; size++) {
			uint8_t *code = malloc(size ? size : 1);

			memset(code, first, size);
			insn_why_refused(EM_X86_64, code, size, ENXIO);
			insn_why_refused(EM_AARCH64, code, size, ENXIO);
			insn_why_refused(EM_PPC64, code, size, ENXIO);
			free(code);
		}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("check");
	TCase *tests = tcase_create("instructions");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_loop_test(tests, each_instruction, 0, sizeof(cases) / sizeof(*cases));
	tcase_add_test(tests, few_bytes);
	tcase_add_test(tests, nop5_by_kernel);
	suite_add_tcase(suite, tests);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
