/* SPDX-License-Identifier: MIT */
/* The machine code that the backends recognize: each form that a site can have, per CPU. */
#include <check.h>
#include <elf.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/cpu.h"

enum { UPROBE = 1, BREAKPOINT = 2, JUMP = 4, UNARMED = 8, IS_NOP = 16, BECOMES_CALL = 32 };

struct form {
	int machine;
	const char *name, *code; /* code in hex */
	int is;                  /* what it is at the place where it is asked for; nops count at the agent's part too */
};

static const struct form forms[] = {
	{ EM_X86_64, "nop", "90", IS_NOP },
	{ EM_X86_64, "int3", "cc", UPROBE | BREAKPOINT },
	{ EM_X86_64, "int3 before the agent's nop", "cc662e0f1f840000000000", UPROBE | BREAKPOINT },
	{ EM_X86_64, "nop10", "662e0f1f840000000000", UNARMED | IS_NOP },
	{ EM_X86_64, "nop10 that an optimized uprobe has left", "662e0f1f84e812345678", UNARMED | IS_NOP },
	{ EM_X86_64, "jmp over the rest of the nop10", "eb080f1f840000000000", UNARMED },
	{ EM_X86_64, "jmp over less than the rest", "eb070f1f840000000000", 0 },
	{ EM_X86_64, "jmp to a trampoline", "e9123456780000000000", JUMP },
	{ EM_X86_64, "call of an optimized uprobe", "e812345678", 0 },
	{ EM_X86_64, "nop5", "0f1f440000", IS_NOP | BECOMES_CALL },
	{ EM_X86_64, "nop8", "0f1f840000000000", IS_NOP },
	{ EM_X86_64, "nop with a prefix", "6690", IS_NOP },
	{ EM_X86_64, "xchg %r8, %rax", "4190", 0 },
	{ EM_X86_64, "push %rbp", "554889e5", 0 },
	{ EM_X86_64, "int $3", "cd03", 0 },
	{ EM_386, "nop", "90", IS_NOP },
	{ EM_386, "int3", "cc", UPROBE | BREAKPOINT },
	{ EM_386, "nop5", "0f1f440000", IS_NOP | BECOMES_CALL },
	{ EM_AARCH64, "nop", "1f2003d5", UNARMED | IS_NOP },
	{ EM_AARCH64, "brk #5 of a uprobe", "a00020d4", UPROBE | BREAKPOINT },
	{ EM_AARCH64, "brk #0 of a debugger", "000020d4", BREAKPOINT },
	{ EM_AARCH64, "brk #0xf000", "00003ed4", BREAKPOINT },
	{ EM_AARCH64, "brk #6 of a uretprobe", "c00020d4", BREAKPOINT },
	{ EM_AARCH64, "b forward", "01000014", JUMP },
	{ EM_AARCH64, "b backward", "ffffff17", JUMP },
	{ EM_AARCH64, "bl", "01000094", 0 },
	{ EM_AARCH64, "stp x29, x30, [sp, #-16]!", "fd7bbfa9", 0 },
	{ EM_AARCH64, "yield, a hint like nop", "3f2003d5", 0 },
	{ EM_AARCH64, "bti c", "5f2403d5", 0 },
	{ EM_AARCH64, "ret", "c0035fd6", 0 },
	{ EM_PPC64, "nop", "00000060", UNARMED | IS_NOP },
	{ EM_PPC64, "trap", "0800e07f", UPROBE | BREAKPOINT },
};

static size_t form_bytes(const struct form *form, uint8_t code[16])
{
	size_t n = strlen(form->code) / 2;

	memset(code, 0xee, 16); /* bytes after the instruction must not matter */
	for (size_t i = 0; i < n; i++) {
		char byte[3] = { form->code[2 * i], form->code[2 * i + 1], 0 };

		code[i] = (uint8_t)strtoul(byte, NULL, 16);
	}
	return n;
}

START_TEST(each_form)
{
	const struct form *form = &forms[_i];
	const struct cpu_code *cpu = cpu_code(form->machine);
	uint8_t code[16];
	size_t n = form_bytes(form, code);
	int is;

	ck_assert_ptr_nonnull(cpu);
	is = (cpu->is_uprobe(code) ? UPROBE : 0) | (cpu->is_breakpoint(code) ? BREAKPOINT : 0) |
	     (cpu->is_jump(code) ? JUMP : 0) | (cpu->is_unarmed(code) ? UNARMED : 0) |
	     (cpu->is_nop(code, n) ? IS_NOP : 0) | (cpu->becomes_call(code, n) ? BECOMES_CALL : 0);
	ck_assert_msg(is == form->is, "machine %d, %s: recognized as %#x instead of %#x", form->machine, form->name, is,
	              form->is);
}
END_TEST

/*
 * A uprobe's breakpoint must also be refused as an instruction to arm, and a nop must not. The 10-byte nop is the agent's.
 * The kernel does not accept it, or replaces it by a call.
 */
START_TEST(refusal_agrees)
{
	const struct form *form = &forms[_i];
	const struct cpu_code *cpu = cpu_code(form->machine);
	uint8_t code[16];
	const char *why;

	form_bytes(form, code);
	why = cpu->why_refused(code, sizeof(code));
	if (form->is & BREAKPOINT)
		ck_assert_str_eq(why, CPU_IS_TRAP);
	if (form->is & IS_NOP && !(form->machine == EM_X86_64 && form->is & UNARMED))
		ck_assert_msg(!why, "%s: %s", form->name, why);
}
END_TEST

/* Linux arms the instructions that stand at entries and returns of aarch64 functions, except those in the first part. */
START_TEST(aarch64_refuses_what_linux_refuses)
{
	static const struct {
		const char *name, *code;
		bool refused, emulated;
	} insns[] = {
		{ "retaa", "ff0b5fd6", true, false },
		{ "retab", "ff0f5fd6", true, false },
		{ "braa", "21081fd7", true, false },
		{ "blraaz", "3f083fd6", true, false },
		{ "autiasp", "bf2303d5", true, false },
		{ "yield", "3f2003d5", true, false },
		{ "wfe", "5f2003d5", true, false },
		{ "ldxr", "207c5fc8", true, false },
		{ "svc", "010000d4", true, false },
		{ "ret", "c0035fd6", false, true },
		{ "br x1", "20001fd6", false, true },
		{ "blr x1", "20003fd6", false, true },
		{ "b", "01000014", false, true },
		{ "bl", "01000094", false, true },
		{ "b.eq", "20000054", false, true },
		{ "cbz", "200000b4", false, true },
		{ "tbnz", "20000837", false, true },
		{ "adrp", "00000090", false, true },
		{ "ldr literal", "20000058", true, false },
		{ "ldrsw literal", "20000098", true, false },
		{ "ldr q literal", "2000009c", true, false },
		{ "prfm literal", "200000d8", true, false },
		{ "msr nzcv", "00421bd5", true, false },
		{ "mrs nzcv", "00423bd5", false, false },
		{ "cpyfp", "40040119", true, false },
		{ "ldar", "20fcdfc8", false, false },
		{ "nop", "1f2003d5", false, true },
		{ "paciasp", "3f2303d5", false, false },
		{ "bti c", "5f2403d5", false, false },
		{ "stp", "fd7bbfa9", false, false },
		{ "sub sp", "ff4300d1", false, false },
	};

	for (size_t i = 0; i < sizeof(insns) / sizeof(*insns); i++) {
		struct form form = { .code = insns[i].code };
		uint8_t code[16];

		form_bytes(&form, code);
		ck_assert_msg(!cpu_code_aarch64.why_refused(code, sizeof(code)) != insns[i].refused, "refused: %s",
		              insns[i].name);
		ck_assert_msg(cpu_code_aarch64.is_emulated(code) == insns[i].emulated, "emulated: %s", insns[i].name);
	}
}
END_TEST

START_TEST(sizes_fit)
{
	static const int machines[] = { EM_X86_64, EM_386, EM_AARCH64, EM_PPC64 };

	for (size_t i = 0; i < sizeof(machines) / sizeof(*machines); i++) {
		const struct cpu_code *cpu = cpu_code(machines[i]);

		ck_assert_int_eq(cpu->machine, machines[i]);
		ck_assert_uint_ge(cpu->breakpoint_size, 1);
		ck_assert_uint_le(cpu->breakpoint_size, BREAKPOINT_SIZE_MAX);
	}
	ck_assert_ptr_null(cpu_code(EM_S390));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("cpu");
	TCase *tests = tcase_create("forms");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_add_loop_test(tests, each_form, 0, sizeof(forms) / sizeof(*forms));
	tcase_add_loop_test(tests, refusal_agrees, 0, sizeof(forms) / sizeof(*forms));
	tcase_add_test(tests, aarch64_refuses_what_linux_refuses);
	tcase_add_test(tests, sizes_fit);
	suite_add_tcase(suite, tests);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
