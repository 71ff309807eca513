/* SPDX-License-Identifier: MIT */
/* Return addresses follow call instructions. The encodings are those that as(1) makes of the instruction beside them. */
#include <check.h>
#include <elf.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/call-site.h"

struct encoding {
	size_t n;
	uint8_t bytes[8];
};

/* Returns what call_site_is_before() says of the code that ends with these bytes. fill: what is before them. */
static bool follows(int machine, const struct encoding *e, uint8_t fill)
{
	uint8_t code[CALL_SITE_BEFORE + CALL_SITE_AFTER];

	memset(code, fill, sizeof(code));
	memcpy(code + CALL_SITE_BEFORE - e->n, e->bytes, e->n);
	return call_site_is_before(machine, code);
}

START_TEST(test_calls)
{
	static const struct encoding calls[] = {
		{ 5, { 0xe8, 1, 2, 3, 4 } },                         /* call rel32 */
		{ 2, { 0xff, 0xd0 } },                               /* call *%rax */
		{ 3, { 0x41, 0xff, 0xd7 } },                         /* call *%r15 */
		{ 2, { 0xff, 0x13 } },                               /* call *(%rbx) */
		{ 3, { 0xff, 0x50, 0x10 } },                         /* call *16(%rax) */
		{ 4, { 0xff, 0x54, 0x24, 0x08 } },                   /* call *8(%rsp) */
		{ 3, { 0xff, 0x14, 0xc2 } },                         /* call *(%rdx,%rax,8) */
		{ 6, { 0xff, 0x15, 0x10, 0x20, 0, 0 } },             /* call *0x2010(%rip) */
		{ 6, { 0xff, 0x90, 0x00, 0x01, 0, 0 } },             /* call *256(%rax) */
		{ 7, { 0xff, 0x94, 0xc3, 0x00, 0x01, 0, 0 } },       /* call *256(%rbx,%rax,8) */
		{ 7, { 0xff, 0x14, 0xc5, 0x00, 0x20, 0x40, 0 } },    /* call *0x402000(,%rax,8) */
		{ 8, { 0x42, 0xff, 0x94, 0xe3, 0x00, 0x01, 0, 0 } }, /* call *256(%rbx,%r12,8) */
	};
	static const struct encoding others[] = {
		{ 5, { 0xe9, 1, 2, 3, 4 } },             /* jmp rel32 */
		{ 2, { 0xff, 0xe0 } },                   /* jmp *%rax */
		{ 6, { 0xff, 0x25, 0x10, 0x20, 0, 0 } }, /* jmp *0x2010(%rip) */
		{ 2, { 0xff, 0xc0 } },                   /* inc %eax */
		{ 3, { 0x48, 0x89, 0xe5 } },             /* mov %rsp,%rbp */
		{ 1, { 0xc3 } },                         /* ret */
	};

	for (size_t i = 0; i < sizeof(calls) / sizeof(*calls); i++)
		ck_assert_msg(follows(EM_X86_64, &calls[i], 0x90), "call %zu", i);
	for (size_t i = 0; i < sizeof(others) / sizeof(*others); i++)
		ck_assert_msg(!follows(EM_X86_64, &others[i], 0x90), "other %zu", i);
	ck_assert(follows(EM_AARCH64, &(struct encoding){ 4, { 0x10, 0, 0, 0x94 } }, 0));        /* bl */
	ck_assert(follows(EM_AARCH64, &(struct encoding){ 4, { 0x00, 0x02, 0x3f, 0xd6 } }, 0));  /* blr x16 */
	ck_assert(!follows(EM_AARCH64, &(struct encoding){ 4, { 0x10, 0, 0, 0x14 } }, 0));       /* b */
	ck_assert(!follows(EM_AARCH64, &(struct encoding){ 4, { 0xc0, 0x03, 0x5f, 0xd6 } }, 0)); /* ret */
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("call-site");
	TCase *cases = tcase_create("call-site");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_test(cases, test_calls);
	suite_add_tcase(suite, cases);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
