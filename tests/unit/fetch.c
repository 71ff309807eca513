/* SPDX-License-Identifier: MIT */
/*
 * Fetch programs give values that were computed by hand, from artificial registers and memory. One test uses this program
 * itself as the image, and its memory.
 */
#include <check.h>
#include <elf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/fetch/program.h"
#include "sdt/image.h"
#include "sdt/operand.h"
#include "tests/unit/interpreter.h"

#define BASE 0x7f0000001000u /* 4096 bytes can be read, and none around them */
#define ROOM 4096
#define NUMBERS (BASE + 0x100)
#define TEXT (BASE + 0x200)

static unsigned char memory[ROOM];

static const uint64_t registers[17] = {
	[0] = 0x88f7e6d5c4b3a291, /* rax: the top bit of each part is set */
	[1] = 3,                  /* rcx */
	[2] = NUMBERS,            /* rdx */
	[3] = UINT64_MAX,         /* rbx */
	[4] = BASE,               /* rsp */
	[5] = NUMBERS + 16,       /* rbp */
	[6] = TEXT,               /* rsi */
	[7] = 0x7066554433221100, /* rdi: the top bit of each part is clear */
	[8] = 0x0808080808080888,
	[9] = NUMBERS / 8,
	[10] = 0x1010,
	[11] = 0,
	[12] = BASE + ROOM,
	[13] = -(uint64_t)8,
	[14] = NUMBERS + 16,
	[15] = 0xf0f1f2f3f4f5f6f7,
	[16] = 0x555555554000 + 0x1234, /* rip */
};

static int read_memory(void *arg, uint64_t address, void *to, size_t size)
{
	size_t there = address >= BASE && address < BASE + ROOM ? BASE + ROOM - address : 0;

	(void)arg;
	memset(to, 0, size);
	if (size > there)
		return -EFAULT;
	memcpy(to, memory + (address - BASE), size);
	return 0;
}

static const struct fetch_machine machine = {
	.registers = registers,
	.read = read_memory,
	.pid = 100,
	.tid = 101,
	.comm = "it",
};

static struct pp_image image = { .path = "it", .machine = EM_X86_64, .is_64 = true };

static union {
	struct record record;
	unsigned char room[RECORD_SIZE_MAX + 8];
} out;

/* Compiles operands with these classes ("" or NULL: no signature) and runs the program. */
static void run(const char *operands, const char *classes, struct fetch_program *program)
{
	struct pp_arg args[RECORD_ARGS_MAX + 40] = { 0 };
	struct pp_probe probe = { .image = &image, .provider = "it", .name = "here", .args = args };
	struct pp_site site = { .probe = &probe, .address = 0x1234, .operands = (char *)operands };

	for (; classes && classes[probe.nargs]; probe.nargs++)
		args[probe.nargs].class = classes[probe.nargs];
	ck_assert_msg(!fetch_compile(&site, program), "%s: %s", operands, pp_error());
	ck_assert_uint_eq(program->npredicate, 0);
	memset(&out, 0xa5, sizeof(out));
	ck_assert_int_eq(fetch_run(program, &machine, &out.record), 1);
	ck_assert_uint_eq(out.room[RECORD_SIZE_MAX], 0xa5);
}

static const struct one {
	const char *operand;
	const char *class;
	uint64_t value;
	enum pp_kind kind;
	int size;
} ones[] = {
	{ "8@%rax", "", 0x88f7e6d5c4b3a291, PP_UNSIGNED, 8 },
	{ "-8@%rax", "", 0x88f7e6d5c4b3a291, PP_SIGNED, 8 },
	{ "4@%eax", "", 0xc4b3a291, PP_UNSIGNED, 4 },
	{ "-4@%eax", "", 0xffffffffc4b3a291, PP_SIGNED, 4 },
	{ "-4@%rax", "", 0xffffffffc4b3a291, PP_SIGNED, 4 },
	{ "2@%ax", "", 0xa291, PP_UNSIGNED, 2 },
	{ "-2@%ax", "", 0xffffffffffffa291, PP_SIGNED, 2 },
	{ "1@%al", "", 0x91, PP_UNSIGNED, 1 },
	{ "-1@%al", "", 0xffffffffffffff91, PP_SIGNED, 1 },
	{ "1@%ah", "", 0xa2, PP_UNSIGNED, 1 },
	{ "-1@%ah", "", 0xffffffffffffffa2, PP_SIGNED, 1 },
	{ "-8@%rdi", "", 0x7066554433221100, PP_SIGNED, 8 },
	{ "-4@%edi", "", 0x33221100, PP_SIGNED, 4 },
	{ "-1@%dil", "", 0, PP_SIGNED, 1 },
	{ "-1@%r8b", "", 0xffffffffffffff88, PP_SIGNED, 1 },
	{ "2@%r15w", "", 0xf6f7, PP_UNSIGNED, 2 },
	{ "4@%r15d", "", 0xf4f5f6f7, PP_UNSIGNED, 4 },
	{ "-8@%rsp", "", BASE, PP_SIGNED, 8 },

	{ "4@$7", "", 7, PP_UNSIGNED, 4 },
	{ "-4@$-7", "", -7ull, PP_SIGNED, 4 },
	{ "1@$-1", "", 0xff, PP_UNSIGNED, 1 },
	{ "-1@$255", "", -1ull, PP_SIGNED, 1 },
	{ "-4@$4294967295", "", -1ull, PP_SIGNED, 4 },
	{ "8@$-1", "", UINT64_MAX, PP_UNSIGNED, 8 },
	{ "-8@$0x7fffffffffffffff", "", INT64_MAX, PP_SIGNED, 8 },
	{ "2@$65537", "", 1, PP_UNSIGNED, 2 },

	/* NUMBERS holds 80 81 82 ... */
	{ "8@(%rdx)", "", 0x8786858483828180, PP_UNSIGNED, 8 },
	{ "-4@(%rdx)", "", 0xffffffff83828180, PP_SIGNED, 4 },
	{ "4@(%rdx)", "", 0x83828180, PP_UNSIGNED, 4 },
	{ "-2@-15(%rbp)", "", 0xffffffffffff8281, PP_SIGNED, 2 },
	{ "1@-16(%rbp)", "", 0x80, PP_UNSIGNED, 1 },
	{ "-1@8+-16+1(%rbp)", "", 0xffffffffffffff89, PP_SIGNED, 1 },
	{ "1@-12+3+1(%rbp)", "", 0x88, PP_UNSIGNED, 1 },
	{ "1@(%rdx,%rcx)", "", 0x83, PP_UNSIGNED, 1 },
	{ "1@(%rdx,%rcx,1)", "", 0x83, PP_UNSIGNED, 1 },
	{ "2@1(%rdx,%rcx,2)", "", 0x8887, PP_UNSIGNED, 2 },
	{ "4@8(%rdx,%rcx,4)", "", 0x97969594, PP_UNSIGNED, 4 },
	{ "8@-16(%rdx,%rcx,8)", "", 0x8f8e8d8c8b8a8988, PP_UNSIGNED, 8 },
	{ "1@1(%rdx,%rbx,1)", "", 0x80, PP_UNSIGNED, 1 }, /* index -1 */
	{ "1@40(%rdx,%rbx,8)", "", 0xa0, PP_UNSIGNED, 1 },
	{ "1@(%r14,%r13,2)", "", 0x80, PP_UNSIGNED, 1 },    /* scaled past 64 bits */
	{ "2@5(,%r9,8)", "", 0x8685, PP_UNSIGNED, 2 },      /* no base */
	{ "2@0x7f0000001102", "", 0x8382, PP_UNSIGNED, 2 }, /* no base and no index */
	{ "2@0x7effffff0102(%r10)", "", 0, PP_FAULT, 2 },
	{ "4@-4(%r12)", "", 0xeeeeeeee, PP_UNSIGNED, 4 }, /* the last bytes */
	{ "4@-3(%r12)", "", 0, PP_FAULT, 4 },
	{ "8@-7(%r12)", "", 0, PP_FAULT, 8 },
	{ "1@(%r12)", "", 0, PP_FAULT, 1 },
	{ "1@-1(%rsp)", "", 0, PP_FAULT, 1 },
	{ "-8@(%r11)", "", 0, PP_FAULT, 8 },
	{ "8@(%rbx)", "", 0, PP_FAULT, 8 },

	/* The signature decides on the kind, and so on the sign. */
	{ "4@%eax", "i", 0xffffffffc4b3a291, PP_SIGNED, 4 },
	{ "-4@%eax", "u", 0xc4b3a291, PP_UNSIGNED, 4 },
	{ "-4@$-7", "u", 0xfffffff9, PP_UNSIGNED, 4 },
	{ "4@$4294967289", "i", -7ull, PP_SIGNED, 4 },
	{ "8@%rdx", "p", NUMBERS, PP_POINTER, 8 },
	{ "-8@%rdx", "p", NUMBERS, PP_POINTER, 8 },
	{ "1@%al", "b", 0x91, PP_BOOL, 1 },
	{ "-1@%al", "b", 0x91, PP_BOOL, 1 },
	{ "-1@%al", "c", 0xffffffffffffff91, PP_CHAR, 1 },
	{ "1@%al", "c", 0x91, PP_CHAR, 1 },
	{ "-4@%eax", "f", 0xc4b3a291, PP_FLOAT, 4 },
	{ "-8@%rax", "f", 0x88f7e6d5c4b3a291, PP_FLOAT, 8 },
	{ "-4@(%rdx)", "f", 0x83828180, PP_FLOAT, 4 },
	{ "2@%ax", "f", 0xa291, PP_FLOAT, 2 },
	{ "1@%al", "f", 0x91, PP_UNSIGNED, 1 }, /* floats have at least 2 bytes */
	{ "8f@%rax", "", 0x88f7e6d5c4b3a291, PP_FLOAT, 8 },
	{ "-4f@(%rdx)", "", 0x83828180, PP_FLOAT, 4 },
	{ "-4@%eax", "x", 0xffffffffc4b3a291, PP_SIGNED, 4 },
	{ "2@%ax", "s", 0xa291, PP_UNSIGNED, 2 }, /* addresses have at least 4 bytes */
};

static void fill_memory(void)
{
	memset(memory, 0xee, sizeof(memory));
	for (int i = 0; i < 128; i++)
		memory[0x100 + i] = 0x80 + i;
}

START_TEST(each_form)
{
	const struct one *one = &ones[_i];
	struct fetch_program program;

	fill_memory();
	run(one->operand, one->class, &program);
	ck_assert_uint_eq(program.nargs, 1);
	ck_assert_int_eq(program.size[0], one->size);
	if (one->kind == PP_FAULT) {
		ck_assert_uint_eq(out.record.faults, 1);
	} else {
		ck_assert_msg(program.kind[0] == one->kind, "%s: kind %d", one->operand, program.kind[0]);
		ck_assert_uint_eq(out.record.faults, 0);
	}
	ck_assert_msg(out.record.value[0] == one->value, "%s: 0x%llx is not 0x%llx", one->operand,
	              (unsigned long long)out.record.value[0], (unsigned long long)one->value);
	ck_assert_uint_eq(record_words(&out.record), 3);
	fetch_release(&program);
}
END_TEST

/* In one program, arguments do not disturb each other. */
START_TEST(together)
{
	char operands[RECORD_ARGS_MAX * 32], classes[RECORD_ARGS_MAX + 1];
	int n = sizeof(ones) / sizeof(*ones), first = _i;
	struct fetch_program program;
	uint32_t faults = 0;

	fill_memory();
	*operands = 0;
	memset(classes, 0, sizeof(classes));
	for (int i = 0; i < RECORD_ARGS_MAX; i++) {
		const struct one *one = &ones[(first + 5 * i) % n];

		sprintf(operands + strlen(operands), " %s", one->operand);
		classes[i] = *one->class ? *one->class : PPN_CLASS_NONE;
		faults |= (one->kind == PP_FAULT) << i;
	}
	run(operands, classes, &program);
	ck_assert_uint_eq(out.record.faults, faults);
	for (int i = 0; i < RECORD_ARGS_MAX; i++)
		ck_assert_uint_eq(out.record.value[i], ones[(first + 5 * i) % n].value);
	fetch_release(&program);
}
END_TEST

static const int lengths[] = { 0, 1, 6, 7, 8, 9, 63, 64, 119, 120, 121, 126, 127, 128, 129, 200 };

START_TEST(strings)
{
	int length = lengths[_i], kept = length < 128 ? length : 128;
	struct fetch_program program;

	fill_memory();
	memory[0x200 + length] = 0;
	for (int i = 0; i < length; i++)
		memory[0x200 + i] = 'a' + i % 26;
	memcpy(memory + 0x400, "second", 7);
	run("-4@$5 8@%rsi 8@1024(%rsp) 8@$0x7f0000001400", "ispsu", &program);
	ck_assert_int_eq(program.kind[1], PP_STRING);
	ck_assert_int_eq(program.kind[2], PP_POINTER);
	fetch_release(&program);
	run("-4@$5 8@%rsi 8@$0x7f0000001400", "iss", &program);
	ck_assert_uint_eq(out.record.faults, 0);
	ck_assert_uint_eq(out.record.value[0], 5);
	ck_assert_uint_eq(out.record.value[1], kept);
	ck_assert_uint_eq(out.record.value[2], 6);

	unsigned char *text = out.room + 16 + 24, padded = (kept + 7) / 8 * 8;

	ck_assert_mem_eq(text, memory + 0x200, kept);
	for (int i = kept; i < padded; i++)
		ck_assert_uint_eq(text[i], 0);
	ck_assert_mem_eq(text + padded, "second\0", 8);
	ck_assert_uint_eq(record_words(&out.record), (16 + 24 + padded + 8) / 8);
	fetch_release(&program);
}
END_TEST

/* The bytes of a string that are read are exactly those of the rules, at the end of memory. */
START_TEST(strings_that_run_out)
{
	static const struct {
		int there;
		bool nul, fault;
		uint64_t length;
	} cases[] = {
		{ 1, true, false, 0 },     { 1, false, true, 0 },      { 50, true, false, 49 },
		{ 50, false, true, 0 },    { 128, true, false, 127 },  { 128, false, true, 0 },
		{ 129, true, false, 128 }, { 129, false, false, 128 }, { 130, false, false, 128 },
		{ 0, false, true, 0 },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct fetch_program program;
		char operands[96];

		fill_memory();
		if (cases[i].nul)
			memory[ROOM - 1] = 0;
		sprintf(operands, "8@$%llu 8@$%llu -2@$-2 8@$0", BASE + ROOM - (unsigned long long)cases[i].there,
		        (unsigned long long)TEXT);
		memcpy(memory + 0x200, "after", 6);
		run(operands, "ssis", &program);
		ck_assert_uint_eq(out.record.value[0], cases[i].length);
		ck_assert_uint_eq(out.record.faults, cases[i].fault ? 9 : 8);
		ck_assert_uint_eq(out.record.value[1], 5);
		ck_assert_uint_eq(out.record.value[2], -2ull);
		ck_assert_uint_eq(out.record.value[3], 0);
		ck_assert_mem_eq(out.room + 16 + 32 + (cases[i].length + 7) / 8 * 8, "after\0\0", 8);
		ck_assert_uint_eq(record_words(&out.record), (16 + 32 + (cases[i].length + 7) / 8 * 8 + 8) / 8);
		fetch_release(&program);
	}
}
END_TEST

START_TEST(a_string_pointer_in_memory)
{
	struct fetch_program program;
	uint64_t pointer = TEXT;

	fill_memory();
	memcpy(memory + 0x10, &pointer, 8);
	strcpy((char *)memory + 0x200, "found");
	run("8@16(%rsp) 8@(%r12)", "ss", &program);
	ck_assert_uint_eq(out.record.faults, 2);
	ck_assert_uint_eq(out.record.value[0], 5);
	ck_assert_uint_eq(out.record.value[1], 0);
	ck_assert_uint_eq(record_words(&out.record), 5);
	fetch_release(&program);
}
END_TEST

START_TEST(too_many)
{
	char operands[64 * 16] = "", classes[64] = "";
	struct fetch_program program;

	fill_memory();
	memset(memory + 0x200, 'x', 300);
	for (int i = 0; i < RECORD_ARGS_MAX + 6; i++) {
		strcat(operands, "8@%rsi ");
		strcat(classes, i % 2 && i < 20 ? "u" : "s"); /* 10 strings up to 20, then 4 */
	}
	run(operands, classes, &program);
	ck_assert_uint_eq(program.nargs, RECORD_ARGS_MAX);
	for (int i = 0; i < RECORD_ARGS_MAX; i++) {
		int kind = i >= 22 ? PP_POINTER : i % 2 && i < 20 ? PP_UNSIGNED : PP_STRING;

		ck_assert_int_eq(program.kind[i], kind);
		ck_assert_uint_eq(out.record.value[i], kind == PP_STRING ? 128 : TEXT);
	}
	ck_assert_uint_eq(record_words(&out.record), (16 + 8 * RECORD_ARGS_MAX + 12 * 128) / 8);
	fetch_release(&program);
}
END_TEST

START_TEST(all_faults)
{
	char operands[32 * 32] = "";
	struct fetch_program program;

	for (int i = 0; i < RECORD_ARGS_MAX; i++)
		strcat(operands, "-4@(%r11,%r11) ");
	run(operands, "", &program);
	ck_assert_uint_eq(out.record.faults, (1u << RECORD_ARGS_MAX) - 1);
	for (int i = 0; i < RECORD_ARGS_MAX; i++)
		ck_assert_uint_eq(out.record.value[i], 0);
	fetch_release(&program);
}
END_TEST

START_TEST(nothing)
{
	struct fetch_program program;

	run("", "", &program);
	ck_assert_uint_eq(program.nargs, 0);
	ck_assert_uint_eq(record_words(&out.record), 2);
	ck_assert_uint_eq(out.record.faults, 0);
	fetch_release(&program);
	run(NULL, "iii", &program);
	ck_assert_uint_eq(program.nargs, 0);
	fetch_release(&program);
	fetch_release(&program);
	fetch_release(NULL);
	run("-4@%eax -4@%edi", "i", &program); /* the signature has fewer */
	ck_assert_uint_eq(program.nargs, 2);
	ck_assert_int_eq(program.kind[1], PP_SIGNED);
	fetch_release(&program);
}
END_TEST

/* Only operands that cannot be read are missing. The reason names the first one. */
START_TEST(what_cannot_be_read)
{
	static const struct {
		const char *operands, *names, missing[3];
	} some[] = {
		{ "8@%xmm0 -4@%edi 8@%rdi", "%xmm0", { 1, 0, 0 } },
		{ "-4@%edi 4@.LC1(%rip) 8@%rdi", ".LC1", { 0, 1, 0 } },
		{ "-4@%edi 8@%rdi 8@%fs:x@tpoff", "%fs:x", { 0, 0, 1 } },
		{ "3@%eax -4@%edi 8@(%rdx,%rdi,257)", "3@%eax", { 1, 0, 1 } },
		{ "8@%ymm1 8@nowhere_at_all(%rip) -1@%ah", "%ymm1", { 1, 1, 0 } },
	};
	struct pp_arg args[] = { { .class = PPN_CLASS_NONE },
		                 { .class = PPN_CLASS_NONE },
		                 { .class = PPN_CLASS_STRING } };
	struct pp_image *self;

	ck_assert_int_eq(pp_image_open("/proc/self/exe", &self), 0);
	for (size_t i = 0; i < sizeof(some) / sizeof(*some); i++) {
		struct pp_probe probe = { .image = self, .provider = "it", .name = "here", .args = args, .nargs = 3 };
		struct pp_site site = { .probe = &probe, .operands = (char *)some[i].operands };
		struct fetch_program program;
		size_t nmissing = 0;

		ck_assert_msg(!fetch_compile(&site, &program), "%s: %s", some[i].operands, pp_error());
		ck_assert_uint_eq(program.nargs, 3);
		for (int k = 0; k < 3; k++) {
			nmissing += some[i].missing[k];
			ck_assert_msg((program.kind[k] == PP_FAULT) == some[i].missing[k], "%s: argument %d",
			              some[i].operands, k);
		}
		ck_assert_uint_eq(program.nmissing, nmissing);
		ck_assert_msg(strstr(pp_error(), some[i].names), "%s: %s", some[i].operands, pp_error());
		ck_assert_int_eq(fetch_run(&program, &machine, &out.record), 1);
		for (int k = 0; k < 3; k++)
			ck_assert_msg(!some[i].missing[k] || !out.record.value[k], "%s: argument %d", some[i].operands,
			              k);
		fetch_release(&program);
	}
	pp_image_free(self);
}
END_TEST

/* A program that uses the site's address is marked, because sites with the same operands cannot share it. */
START_TEST(whose_program)
{
	static const struct {
		const char *operands;
		int machine;
		bool of_site;
	} some[] = {
		{ "8@%rdi -4@8(%rsp)", EM_X86_64, false },
		{ "-4@$7", EM_X86_64, false },
		{ "8@%rdi -8@check_fetch_number", EM_X86_64, true },
		{ "-8@check_fetch_number(%rip)", EM_X86_64, true },
		{ "8@check_fetch_number", EM_AARCH64, true },
		{ "8@[x0, #:lo12:check_fetch_number]", EM_AARCH64, true },
		{ "8@[x0, 8] -4@w1", EM_AARCH64, false },
	};
	struct pp_image *self;

	ck_assert_int_eq(pp_image_open("/proc/self/exe", &self), 0);
	for (size_t i = 0; i < sizeof(some) / sizeof(*some); i++) {
		struct pp_probe probe = { .image = self, .provider = "it", .name = "here" };
		struct pp_site site = { .probe = &probe, .operands = (char *)some[i].operands };
		struct fetch_program program;

		self->machine = some[i].machine;
		ck_assert_msg(!fetch_compile(&site, &program), "%s: %s", some[i].operands, pp_error());
		ck_assert_msg(program.of_site == some[i].of_site && !program.nmissing, "%s", some[i].operands);
		fetch_release(&program);
	}
	pp_image_free(self);
}
END_TEST

/* char * is a string with any qualifiers of the pointer. Other pointers are not strings. */
START_TEST(char_pointers)
{
	static const struct {
		const char *type;
		enum pp_kind kind;
	} some[] = {
		{ "char *", PP_STRING },
		{ "char *const", PP_STRING },
		{ "char * restrict", PP_STRING },
		{ "char *const volatile", PP_STRING },
		{ "char **", PP_POINTER },
		{ "char *const *", PP_POINTER },
		{ "unsigned char *", PP_POINTER },
		{ "signed char *", PP_POINTER },
		{ "void *", PP_POINTER },
		{ "volatile char *", PP_POINTER },
		{ "char (*)[4]", PP_POINTER },
		{ "char (*)(char *)", PP_POINTER },
		{ "charm *", PP_POINTER },
		{ "char8_t *", PP_POINTER },
		{ "char", PP_POINTER },
		{ "", PP_POINTER },
	};

	for (size_t i = 0; i < sizeof(some) / sizeof(*some); i++) {
		struct pp_arg arg = { .class = PPN_CLASS_POINTER, .type = (char *)some[i].type };
		struct pp_probe probe = { .image = &image, .provider = "it", .name = "here", .args = &arg, .nargs = 1 };
		struct pp_site site = { .probe = &probe, .operands = "8@%rdi" };
		struct fetch_program program;

		ck_assert_int_eq(fetch_compile(&site, &program), 0);
		ck_assert_msg(program.kind[0] == some[i].kind, "%s", some[i].type);
		fetch_release(&program);
	}
}
END_TEST

/* Operands with symbols of this program. They are volatile so that the compiler does not assume values. */
volatile int64_t check_fetch_number = -1234567890123;
volatile short check_fetch_array[4] = { 1, -2, 3, -4 };
const char *volatile check_fetch_text = "of the image";

void check_fetch_site(void);
__attribute__((noinline)) void check_fetch_site(void)
{
	__asm__ volatile("");
}

static int read_own(void *arg, uint64_t address, void *to, size_t size)
{
	(void)arg;
	memcpy(to, (void *)(uintptr_t)address, size);
	return 0;
}

START_TEST(the_image_itself)
{
	static struct pp_arg args[] = { { .class = 'i' }, { .class = 'i' }, { .class = 'u' }, { .class = 's' } };
	uint64_t own[17] = { [16] = (uintptr_t)check_fetch_site };
	struct fetch_machine m = { .registers = own, .read = read_own, .comm = "it" };
	struct pp_probe probe = { .provider = "it", .name = "here", .args = args, .nargs = 4 };
	struct pp_site site = { .probe = &probe };
	struct fetch_program program;
	struct pp_image *self;

	ck_assert_msg(!pp_image_open("/proc/self/exe", &self), "%s", pp_error());
	probe.image = self;
	ck_assert_msg(!image_symbol(self, "check_fetch_site", &site.address), "%s", pp_error());
	site.operands = "-8@check_fetch_number(%rip) -2@6+check_fetch_array(%rip) 2@check_fetch_array+2(%rip) "
			"8@check_fetch_text(%rip)";
	ck_assert_msg(!fetch_compile(&site, &program), "%s", pp_error());
	ck_assert_int_eq(fetch_run(&program, &m, &out.record), 1);
	ck_assert_int_eq((int64_t)out.record.value[0], -1234567890123);
	ck_assert_int_eq((int64_t)out.record.value[1], -4);
	ck_assert_uint_eq(out.record.value[2], 65534);
	ck_assert_uint_eq(out.record.value[3], 12);
	ck_assert_mem_eq(&out.record.value[4], "of the image\0\0\0", 16);
	check_fetch_number = 42;
	ck_assert_int_eq(fetch_run(&program, &m, &out.record), 1);
	ck_assert_int_eq((int64_t)out.record.value[0], 42);
	check_fetch_number = -1234567890123;
	fetch_release(&program);
	pp_image_free(self);
}
END_TEST

static struct fetch_program variant(int i)
{
	struct fetch_program p = {
		.steps = calloc(4, sizeof(*p.steps)),
		.nsteps = 3,
		.literals = calloc(2, sizeof(*p.literals)),
		.nliterals = 1,
		.npredicate = 1,
		.nargs = 1,
		.kind = { PP_SIGNED },
		.size = { 4 },
	};

	p.steps[0] = (struct fetch_step){ .op = FETCH_REG, .a = 3, .b = 0, .c = 1, .value = 9 };
	p.steps[2] = (struct fetch_step){ .op = FETCH_ARG };
	p.literals[0].length = 3;
	memcpy(p.literals[0].bytes, "abc???", 6); /* bytes after the length are ignored */
	switch (i) {
	case 1: p.nsteps = 2; break;
	case 2: p.npredicate = 2; break;
	case 3: p.nargs = 0; break;
	case 4: p.nliterals = 2; break;
	case 5: p.nliterals = 0; break;
	case 6: p.steps[0].op = FETCH_IMM; break;
	case 7: p.steps[0].a = 200; break;
	case 8: p.steps[0].b = 8; break;
	case 9: p.steps[0].c = 0; break;
	case 10: p.steps[0].value = -9; break;
	case 11: p.steps[0].value = INT64_MIN; break;
	case 12: p.steps[0].value = INT64_MAX; break;
	case 13: p.steps[2].a = 1; break;
	case 14: p.literals[0].length = 2; break;
	case 15: p.literals[0].bytes[2] = (char)0xff; break;
	case 16: p.kind[0] = PP_CHAR; break;
	case 17: p.size[0] = 8; break;
	case 18: p.nsteps = 4; break;
	}
	return p;
}

#define VARIANTS 19

static int sign(int x)
{
	return (x > 0) - (x < 0);
}

START_TEST(an_order)
{
	struct fetch_program p[VARIANTS], twin;

	for (int i = 0; i < VARIANTS; i++)
		p[i] = variant(i);
	for (int i = 0; i < VARIANTS; i++) {
		twin = variant(i);
		twin.literals[0].bytes[20] = 'x';
		twin.kind[1] = PP_STRING;
		ck_assert_int_eq(fetch_compare(&p[i], &twin), 0);
		fetch_release(&twin);
		for (int j = 0; j < VARIANTS; j++) {
			int order = sign(fetch_compare(&p[i], &p[j]));

			ck_assert_msg((order == 0) == (i == j), "%d and %d", i, j);
			ck_assert_int_eq(order, -sign(fetch_compare(&p[j], &p[i])));
			for (int k = 0; k < VARIANTS; k++)
				if (order < 0 && fetch_compare(&p[j], &p[k]) < 0)
					ck_assert_msg(fetch_compare(&p[i], &p[k]) < 0, "%d < %d < %d", i, j, k);
		}
	}
	for (int i = 0; i < VARIANTS; i++)
		fetch_release(&p[i]);
}
END_TEST

#define STEP(...)                 \
	{                         \
		.op = __VA_ARGS__ \
	}

/* Each program breaks one rule, except the first two. */
static const struct {
	int sound;
	size_t nsteps, npredicate, nargs;
	struct fetch_step steps[20];
	enum pp_kind kind;
} programs[] = {
	{ 1, 2, 0, 1, { STEP(FETCH_REG, 16), STEP(FETCH_ARG, 0) }, PP_SIGNED },
	{ 1,
	  6,
	  4,
	  1,
	  { STEP(FETCH_PID), STEP(FETCH_JZ, .value = 3), STEP(FETCH_COMMEQ, 0), STEP(FETCH_TEST), STEP(FETCH_TID),
	    STEP(FETCH_STRING, 0, .value = 127) },
	  PP_STRING },
	{ 0, 2, 0, 1, { STEP(FETCH_REG, 17), STEP(FETCH_ARG, 0) }, PP_SIGNED },
	{ 0, 2, 0, 1, { STEP(FETCH_OPCODES), STEP(FETCH_ARG, 0) }, PP_SIGNED },
	{ 0, 2, 0, 1, { STEP(255), STEP(FETCH_ARG, 0) }, PP_SIGNED },
	{ 0, 2, 0, 1, { STEP(FETCH_PID), STEP(FETCH_ARG, 1) }, PP_SIGNED },
	{ 0, 2, 0, 1, { STEP(FETCH_PID), STEP(FETCH_STRING, 0, .value = 127) }, PP_SIGNED },
	{ 0, 2, 0, 1, { STEP(FETCH_PID), STEP(FETCH_ARG, 0) }, PP_STRING },
	{ 0, 2, 0, 0, { STEP(FETCH_PID), STEP(FETCH_ARG, 0) }, PP_SIGNED },
	{ 0, 2, 0, 2, { STEP(FETCH_PID), STEP(FETCH_ARG, 0) }, PP_SIGNED },
	{ 0, 2, 0, RECORD_ARGS_MAX + 1, { STEP(FETCH_PID), STEP(FETCH_ARG, 0) }, PP_SIGNED },
	{ 0, 4, 0, 2, { STEP(FETCH_PID), STEP(FETCH_ARG, 0), STEP(FETCH_PID), STEP(FETCH_ARG, 0) }, PP_SIGNED },
	{ 0, 2, 3, 1, { STEP(FETCH_PID), STEP(FETCH_ARG, 0) }, PP_SIGNED },
	{ 0, 1, 0, 0, { STEP(FETCH_PID) }, PP_SIGNED }, /* leaves a value */
	{ 0, 3, 0, 1, { STEP(FETCH_PID), STEP(FETCH_PID), STEP(FETCH_ARG, 0) }, PP_SIGNED },
	{ 0, 1, 0, 1, { STEP(FETCH_ARG, 0) }, PP_SIGNED }, /* pops an empty stack */
	{ 0, 3, 0, 1, { STEP(FETCH_NOT), STEP(FETCH_PID), STEP(FETCH_ARG, 0) }, PP_SIGNED },
	{ 0, 3, 0, 1, { STEP(FETCH_PID), STEP(FETCH_ADD), STEP(FETCH_ARG, 0) }, PP_SIGNED },
	{ 0, 3, 0, 1, { STEP(FETCH_PID), STEP(FETCH_EXTEND, 3), STEP(FETCH_ARG, 0) }, PP_SIGNED },
	{ 0, 3, 0, 1, { STEP(FETCH_PID), STEP(FETCH_EXTEND, 8, 8), STEP(FETCH_ARG, 0) }, PP_SIGNED },
	{ 0, 3, 0, 1, { STEP(FETCH_PID), STEP(FETCH_EXTEND, 4, 0, 2), STEP(FETCH_ARG, 0) }, PP_SIGNED },
	{ 0, 3, 0, 1, { STEP(FETCH_PID), STEP(FETCH_LOAD, 16), STEP(FETCH_ARG, 0) }, PP_SIGNED },
	{ 0, 3, 0, 1, { STEP(FETCH_PID), STEP(FETCH_LOAD, 0), STEP(FETCH_ARG, 0) }, PP_SIGNED },
	{ 0, 2, 0, 0, { STEP(FETCH_PID), STEP(FETCH_TEST) }, PP_SIGNED }, /* a test without a predicate */
	{ 0, 1, 1, 0, { STEP(FETCH_PID) }, PP_SIGNED },                   /* a predicate without a test */
	{ 0, 3, 3, 0, { STEP(FETCH_PID), STEP(FETCH_PID), STEP(FETCH_TEST) }, PP_SIGNED },
	{ 0, 4, 4, 0, { STEP(FETCH_PID), STEP(FETCH_TEST), STEP(FETCH_PID), STEP(FETCH_TEST) }, PP_SIGNED },
	{ 0, 2, 2, 1, { STEP(FETCH_PID), STEP(FETCH_ARG, 0) }, PP_SIGNED },
	{ 0, 2, 2, 0, { STEP(FETCH_COMMEQ, 1), STEP(FETCH_TEST) }, PP_SIGNED }, /* the only literal is 0 */
	{ 0, 3, 3, 0, { STEP(FETCH_PID), STEP(FETCH_JZ, .value = 0), STEP(FETCH_TEST) }, PP_SIGNED },
	{ 0, 4, 4, 0, { STEP(FETCH_PID), STEP(FETCH_JZ, .value = 1), STEP(FETCH_PID), STEP(FETCH_TEST) }, PP_SIGNED },
	{ 0, 4, 4, 0, { STEP(FETCH_PID), STEP(FETCH_JZ, .value = 4), STEP(FETCH_PID), STEP(FETCH_TEST) }, PP_SIGNED },
	{ 0,
	  4,
	  4,
	  0,
	  { STEP(FETCH_PID), STEP(FETCH_JZ, .value = INT64_MIN), STEP(FETCH_PID), STEP(FETCH_TEST) },
	  PP_SIGNED },
	{ 0,
	  4,
	  4,
	  0,
	  { STEP(FETCH_PID), STEP(FETCH_JZ, .value = INT64_MAX), STEP(FETCH_PID), STEP(FETCH_TEST) },
	  PP_SIGNED },
	{ 0, 4, 4, 0, { STEP(FETCH_PID), STEP(FETCH_JZ, .value = 2), STEP(FETCH_PID), STEP(FETCH_TEST) }, PP_SIGNED },
	{ 0,
	  6,
	  6,
	  0,
	  { STEP(FETCH_PID), STEP(FETCH_JZ, .value = 5), STEP(FETCH_PID), STEP(FETCH_PID), STEP(FETCH_JZ, .value = 5),
	    STEP(FETCH_TEST) },
	  PP_SIGNED }, /* two depths at step 5 */
	{ 0,
	  19,
	  0,
	  1,
	  { STEP(FETCH_PID), STEP(FETCH_PID), STEP(FETCH_PID), STEP(FETCH_PID), STEP(FETCH_PID), STEP(FETCH_PID),
	    STEP(FETCH_PID), STEP(FETCH_PID), STEP(FETCH_PID), STEP(FETCH_PID), STEP(FETCH_PID), STEP(FETCH_PID),
	    STEP(FETCH_PID), STEP(FETCH_PID), STEP(FETCH_PID), STEP(FETCH_PID), STEP(FETCH_PID), STEP(FETCH_ADD),
	    STEP(FETCH_ARG, 0) },
	  PP_SIGNED },
};

START_TEST(rules)
{
	struct fetch_literal literal = { .length = 1, .bytes = "a" };
	struct fetch_program program = {
		.nsteps = programs[_i].nsteps,
		.npredicate = programs[_i].npredicate,
		.nargs = programs[_i].nargs,
		.kind = { programs[_i].kind },
		.literals = &literal,
		.nliterals = 1,
	};
	uint8_t *depths = malloc(program.nsteps);
	int err;

	program.steps = malloc(program.nsteps * sizeof(*program.steps));
	memcpy(program.steps, programs[_i].steps, program.nsteps * sizeof(*program.steps));
	err = fetch_check(&program, 17, depths);
	ck_assert_int_eq(err, programs[_i].sound ? 0 : -EBADMSG);
	literal.length = 255;
	err = fetch_check(&program, 17, depths);
	ck_assert_int_eq(err, _i ? -EBADMSG : 0); /* the second one has a literal */
	free(program.steps);
	free(depths);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("fetch");
	TCase *tc = tcase_create("fetch");
	SRunner *runner = srunner_create(suite);
	int failed;

	tcase_set_timeout(tc, 300);
	tcase_add_loop_test(tc, each_form, 0, sizeof(ones) / sizeof(*ones));
	tcase_add_loop_test(tc, together, 0, sizeof(ones) / sizeof(*ones));
	tcase_add_loop_test(tc, strings, 0, sizeof(lengths) / sizeof(*lengths));
	tcase_add_test(tc, strings_that_run_out);
	tcase_add_test(tc, a_string_pointer_in_memory);
	tcase_add_test(tc, too_many);
	tcase_add_test(tc, all_faults);
	tcase_add_test(tc, nothing);
	tcase_add_test(tc, whose_program);
	tcase_add_test(tc, char_pointers);
	if (MACHINE_HERE == EM_X86_64) {
		tcase_add_test(tc, what_cannot_be_read);
		tcase_add_test(tc, the_image_itself);
	} else {
		printf("skipped: what_cannot_be_read, the_image_itself: operands of x86-64 in this program\n");
	}
	tcase_add_test(tc, an_order);
	tcase_add_loop_test(tc, rules, 0, sizeof(programs) / sizeof(*programs));
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
