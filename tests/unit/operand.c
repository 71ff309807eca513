/* SPDX-License-Identifier: MIT */
#include "sdt/image.h"
#include "sdt/operand.h"
#include "tests/unit/elf.h"

#include <check.h>
#include <errno.h>
#include <signal.h>
#ifdef __x86_64__
#include <asm/ptrace.h>
#include <stddef.h>
#endif

#define GLOBAL(type) ELF64_ST_INFO(STB_GLOBAL, type)
#define LOCAL(type) ELF64_ST_INFO(STB_LOCAL, type)

static struct pp_image *open_image(bool is_32, uint16_t type, uint16_t machine)
{
	struct elf elf = { .is_32 = is_32, .type = type, .machine = machine };
	struct pp_image *image;

	elf_symbol(&elf, "g", DATA + 0x10, 8, GLOBAL(STT_OBJECT));
	elf_symbol(&elf, "g.isra.0", DATA + 0x18, 8, LOCAL(STT_OBJECT));
	elf_symbol(&elf, "_ZN1a1bE", DATA + 0x20, 8, GLOBAL(STT_OBJECT));
	elf_symbol(&elf, "stdout@GLIBC_2.2.5", DATA + 0x28, 8, GLOBAL(STT_OBJECT));
	elf_symbol(&elf, "alias", DATA + 0x30, 8, GLOBAL(STT_OBJECT));
	elf_symbol(&elf, "alias", DATA + 0x30, 8, LOCAL(STT_OBJECT));
	elf_symbol(&elf, "twice", DATA + 0x38, 8, LOCAL(STT_OBJECT));
	elf_symbol(&elf, "twice", DATA + 0x40, 8, LOCAL(STT_OBJECT));
	elf_symbol(&elf, "tls", 0x10, 8, GLOBAL(STT_TLS));
	elf_symbol(&elf, "$dollar", DATA + 0x48, 8, GLOBAL(STT_OBJECT));
	ck_assert_int_eq(pp_image_open(elf_path(&elf), &image), 0);
	image_symbol(image, "g", &(uint64_t){ 0 }); /* while the file exists */
	elf_free(&elf);
	return image;
}

struct expected {
	const char *text;
	struct operand operand;
};

#define REG(t, s, n, sh)                                                                               \
	{                                                                                              \
		t,                                                                                     \
		{                                                                                      \
			.kind = OPERAND_REG, .size = s, .reg = n, .index = -1, .scale = 1, .shift = sh \
		}                                                                                      \
	}
#define SREG(t, s, n)                                                                                        \
	{                                                                                                    \
		t,                                                                                           \
		{                                                                                            \
			.kind = OPERAND_REG, .size = s, .is_signed = true, .reg = n, .index = -1, .scale = 1 \
		}                                                                                            \
	}
#define MEM(t, s, b, i, sc, v)                                                                        \
	{                                                                                             \
		t,                                                                                    \
		{                                                                                     \
			.kind = OPERAND_MEM, .size = s, .reg = b, .index = i, .scale = sc, .value = v \
		}                                                                                     \
	}
#define STATIC(t, s, v)                                                                                   \
	{                                                                                                 \
		t,                                                                                        \
		{                                                                                         \
			.kind = OPERAND_STATIC, .size = s, .reg = -1, .index = -1, .scale = 1, .value = v \
		}                                                                                         \
	}
#define CONST(t, s, sg, v)                                                                                     \
	{                                                                                                      \
		t,                                                                                             \
		{                                                                                              \
			.kind = OPERAND_CONST, .size = s, .is_signed = sg, .reg = -1, .index = -1, .scale = 1, \
			.value = v                                                                             \
		}                                                                                              \
	}

static void same(const char *text, const struct operand *got, const struct operand *want)
{
	ck_assert_msg(got->kind == want->kind, "%s: kind %d", text, got->kind);
	ck_assert_msg(got->size == want->size, "%s: size %d", text, got->size);
	ck_assert_msg(got->is_signed == want->is_signed, "%s: signed %d", text, got->is_signed);
	ck_assert_msg(got->is_float == want->is_float, "%s: float %d", text, got->is_float);
	ck_assert_msg(got->reg == want->reg, "%s: reg %d", text, got->reg);
	ck_assert_msg(got->index == want->index, "%s: index %d", text, got->index);
	ck_assert_msg(got->scale == want->scale, "%s: scale %d", text, got->scale);
	ck_assert_msg(got->shift == want->shift, "%s: shift %d", text, got->shift);
	ck_assert_msg(got->index_size == want->index_size, "%s: index size %d", text, got->index_size);
	ck_assert_msg(got->value == want->value, "%s: value %lld", text, (long long)got->value);
}

static void check_all(const struct pp_image *image, const struct expected *expected, size_t n)
{
	struct operand got[OPERANDS_MAX];

	for (size_t i = 0; i < n; i++) {
		ck_assert_msg(operands_parse(image, expected[i].text, got) == 1, "%s: %s", expected[i].text,
		              pp_error());
		same(expected[i].text, &got[0], &expected[i].operand);
	}
}

#define COUNT(array) (sizeof(array) / sizeof(*(array)))

START_TEST(registers)
{
	static const struct expected expected[] = {
		REG("8@%rax", 8, 0, 0),
		REG("8@%rcx", 8, 1, 0),
		REG("8@%rdx", 8, 2, 0),
		REG("8@%rbx", 8, 3, 0),
		REG("8@%rsp", 8, 4, 0),
		REG("8@%rbp", 8, 5, 0),
		REG("8@%rsi", 8, 6, 0),
		REG("8@%rdi", 8, 7, 0),
		REG("8@%r8", 8, 8, 0),
		REG("8@%r9", 8, 9, 0),
		REG("8@%r10", 8, 10, 0),
		REG("8@%r15", 8, 15, 0),
		REG("4@%eax", 4, 0, 0),
		REG("4@%esp", 4, 4, 0),
		REG("4@%edi", 4, 7, 0),
		REG("4@%r8d", 4, 8, 0),
		REG("4@%r15d", 4, 15, 0),
		REG("2@%ax", 2, 0, 0),
		REG("2@%si", 2, 6, 0),
		REG("2@%r9w", 2, 9, 0),
		REG("1@%al", 1, 0, 0),
		REG("1@%bl", 1, 3, 0),
		REG("1@%sil", 1, 6, 0),
		REG("1@%dil", 1, 7, 0),
		REG("1@%spl", 1, 4, 0),
		REG("1@%bpl", 1, 5, 0),
		REG("1@%r10b", 1, 10, 0),
		REG("1@%ah", 1, 0, 8),
		REG("1@%ch", 1, 1, 8),
		REG("1@%dh", 1, 2, 8),
		REG("1@%bh", 1, 3, 8),
		REG("8@%rip", 8, 16, 0),
		SREG("-4@%edi", 4, 7),
		SREG("-8@%r12", 8, 12),
		SREG("-1@%al", 1, 0),
		SREG("-2@%cx", 2, 1),
		/* narrower than the register: its low part; wider: the register, sign-extended */
		REG("4@%rax", 4, 0, 0),
		REG("1@%rdi", 1, 7, 0),
		REG("8@%eax", 4, 0, 0),
		SREG("-8@%eax", 4, 0),
		REG("4@%ah", 1, 0, 8),
		/* without a size: the register's size */
		REG("%eax", 4, 0, 0),
		REG("%rax", 8, 0, 0),
		REG("%ax", 2, 0, 0),
		REG("%bh", 1, 3, 8),
	};
	struct pp_image *image = open_image(false, ET_DYN, 0);

	check_all(image, expected, COUNT(expected));
	pp_image_free(image);
}
END_TEST

START_TEST(memory)
{
	static const struct expected expected[] = {
		MEM("8@-16(%rbp)", 8, 5, -1, 1, -16),
		MEM("8@(%rax)", 8, 0, -1, 1, 0),
		MEM("4@0x10(%rsp)", 4, 4, -1, 1, 16),
		MEM("4@-0x10(%rsp)", 4, 4, -1, 1, -16),
		MEM("8@-12+3+1(%rbp)", 8, 5, -1, 1, -8),
		MEM("8@8+-16(%rbp)", 8, 5, -1, 1, -8),
		MEM("8@(%rdx,%rdi,4)", 8, 2, 7, 4, 0),
		MEM("8@(%rdx,%rdi)", 8, 2, 7, 1, 0),
		MEM("2@8(%rdx,%rdi,8)", 2, 2, 7, 8, 8),
		MEM("8@( %rdx , %rdi , 4 )", 8, 2, 7, 4, 0),
		MEM("8@(,%r9,2)", 8, -1, 9, 2, 0),
		MEM("8@-4(,%r9,2)", 8, -1, 9, 2, -4),
		MEM("8@2147483647(%r13)", 8, 13, -1, 1, 2147483647),
		MEM("8@010(%rbp)", 8, 5, -1, 1, 8), /* the assembler reads octal */
		MEM("8@4096", 8, -1, -1, 1, 4096),
		MEM("-8(%rbp)", 8, 5, -1, 1, -8),
		STATIC("8@g(%rip)", 8, DATA + 0x10),
		STATIC("4@g+8(%rip)", 4, DATA + 0x18),
		STATIC("4@g-8(%rip)", 4, DATA + 0x8),
		STATIC("8@8+g(%rip)", 8, DATA + 0x18),
		STATIC("8@-4+g+8(%rip)", 8, DATA + 0x14),
		STATIC("8@g", 8, DATA + 0x10),
		STATIC("8@g+4", 8, DATA + 0x14),
		STATIC("8@g.isra.0(%rip)", 8, DATA + 0x18),
		STATIC("8@_ZN1a1bE(%rip)", 8, DATA + 0x20),
		STATIC("8@stdout(%rip)", 8, DATA + 0x28),
		STATIC("8@alias(%rip)", 8, DATA + 0x30),
	};
	struct pp_image *image = open_image(false, ET_DYN, 0);

	check_all(image, expected, COUNT(expected));
	pp_image_free(image);
}
END_TEST

START_TEST(constants)
{
	static const struct expected expected[] = {
		CONST("4@$7", 4, false, 7),
		CONST("-4@$7", 4, true, 7),
		CONST("-4@$-1", 4, true, -1),
		CONST("4@$-1", 4, false, 0xffffffff),
		CONST("-4@$4294967295", 4, true, -1),
		CONST("8@$-1", 8, false, -1),
		CONST("8@$0xffffffffffffffff", 8, false, -1),
		CONST("-8@$-9223372036854775808", 8, true, INT64_MIN),
		CONST("1@$0x1ff", 1, false, 0xff),
		CONST("-1@$255", 1, true, -1),
		CONST("-2@$32768", 2, true, -32768),
		CONST("-8@$0x10", 8, true, 16),
		CONST("8@$5+3", 8, false, 8),
		CONST("$7", 8, false, 7),
	};
	struct pp_image *image = open_image(false, ET_DYN, 0);

	check_all(image, expected, COUNT(expected));
	pp_image_free(image);
}
END_TEST

START_TEST(fixed_program)
{
	static const struct expected expected[] = {
		CONST("8@$g", 8, false, DATA + 0x10),          CONST("8@$g+4", 8, false, DATA + 0x14),
		MEM("8@g(,%rdi,8)", 8, -1, 7, 8, DATA + 0x10), MEM("8@g+8(%rax)", 8, 0, -1, 1, DATA + 0x18),
		STATIC("8@g(%rip)", 8, DATA + 0x10),
	};
	struct pp_image *image = open_image(false, ET_EXEC, 0);

	check_all(image, expected, COUNT(expected));
	pp_image_free(image);
}
END_TEST

START_TEST(float_tag)
{
	struct operand got[OPERANDS_MAX];
	struct pp_image *image = open_image(false, ET_DYN, 0);

	ck_assert_int_eq(operands_parse(image, "8f@-16(%rbp) 4f@%eax -8f@$1", got), 3);
	for (int i = 0; i < 3; i++)
		ck_assert(got[i].is_float);
	ck_assert_int_eq(got[0].size, 8);
	ck_assert_int_eq(got[1].size, 4);
	pp_image_free(image);
}
END_TEST

START_TEST(several)
{
	struct operand got[OPERANDS_MAX];
	char many[OPERANDS_MAX * 6 + 16] = "";
	struct pp_image *image = open_image(false, ET_DYN, 0);

	ck_assert_int_eq(operands_parse(image, "", got), 0);
	ck_assert_int_eq(operands_parse(image, "   ", got), 0);
	ck_assert_int_eq(operands_parse(image, "-4@%edi 8@-16(%rbp) 8@(%rdx, %rdi, 4)  2@$7 ", got), 4);
	ck_assert_int_eq(got[0].kind, OPERAND_REG);
	ck_assert_int_eq(got[1].value, -16);
	ck_assert_int_eq(got[2].index, 7);
	ck_assert_int_eq(got[3].kind, OPERAND_CONST);
	for (int i = 0; i < OPERANDS_MAX; i++)
		strcat(many, "1@$1 ");
	ck_assert_int_eq(operands_parse(image, many, got), OPERANDS_MAX);
	strcat(many, "1@$1");
	ck_assert_int_eq(operands_parse(image, many, got), -EINVAL);
	pp_image_free(image);
}
END_TEST

START_TEST(refused)
{
	static const struct {
		const char *text, *why;
	} rows[] = {
		{ "4@%fs:-4", "thread-local" },
		{ "4@%fs:x@tpoff", "thread-local" },
		{ "4@x@tpoff(%rax)", "thread-local" },
		{ "4@x@TPOFF(%rax)", "thread-local" },
		{ "8@f@GOTPCREL(%rip)", "GOT entry" },
		{ "8@f@GOTOFF(%rax)", "GOT entry" },
		{ "8@f@PLT", "not known" },
		{ "8@.LC1(%rip)", "local label" },
		{ "8@nosuch(%rip)", "nosuch" },
		{ "8@twice(%rip)", "several" },
		{ "8@tls(%rip)", "tls" },
		{ "8@$g", "only after the file is loaded" },
		{ "8@g(%rax)", "only after the file is loaded" },
		{ "8@g(,%rax,8)", "only after the file is loaded" },
		{ "8@g+g(%rip)", "two symbols" },
		{ "8@-g(%rip)", "missing" },
		{ "8@8(%rip)", "relative to" },
		{ "8@%xmm0", "vector" },
		{ "8@%ymm15", "vector" },
		{ "8@%st", "register is not known" },
		{ "8@%rxx", "register is not known" },
		{ "8@%", "register is not known" },
		{ "8@%r16", "register is not known" },
		{ "8@%rax1", "register is not known" },
		{ "8@%rax:", "follows" },
		{ "8@(%rax", "(BASE,INDEX,SCALE)" },
		{ "8@()", "(BASE,INDEX,SCALE)" },
		{ "8@(%rax,%rdi,3)", "scale" },
		{ "8@(%rax,%rdi,)", "scale" },
		{ "8@(%rax,%rdi,4,4)", "(BASE,INDEX,SCALE)" },
		{ "8@(%rax,%rsp)", "cannot be added" },
		{ "8@(%rip,%rax)", "cannot be added" },
		{ "8@(%ax)", "part of a register" },
		{ "8@(%al)", "part of a register" },
		{ "8@(%rax)x", "follows" },
		{ "8@(%rax)8", "follows" },
		{ "8@", "nothing" },
		{ "8@$", "missing" },
		{ "8@$x y", "x" },
		{ "8@(%rdx,%rdi,257)", "scale" },
		{ "8@(%rdx,%rdi,65537)", "scale" },
		{ "8@(%rdx,%rdi,4294967297)", "scale" },
		{ "8@(%rdx,%rdi,18446744073709551617)", "scale" },
		{ "257@%rax", "size" },
		{ "260@%eax", "size" },
		{ "8@$7x", "followed by a letter" },
		{ "8@$18446744073709551616", "64 bits" },
		{ "8@$-9223372036854775809", "64 bits" },
		{ "8@-(%rax)", "missing" },
		{ "8@08(%rax)", "follows" },
		{ "3@%eax", "size" },
		{ "16@%rax", "size" },
		{ "0@%rax", "size" },
		{ "-0@%rax", "size" },
		{ "99999999999999999999@%rax", "size" },
		{ "8@@%rax", "missing" },
		{ "8@[sp, 8]", "missing" },
		{ "8@*%rax", "missing" },
		{ "QWORD PTR [rbp-8]", "QWORD" },
		{ "8@\"g\"(%rip)", "missing" },
	};
	struct operand got[OPERANDS_MAX];
	char text[128];
	struct pp_image *image = open_image(false, ET_DYN, 0);

	for (size_t i = 0; i < COUNT(rows); i++) {
		snprintf(text, sizeof(text), "8@%%rdi %s 4@%%esi", rows[i].text);
		ck_assert_msg(operands_parse(image, text, got) == -EINVAL, "%s was accepted", rows[i].text);
		ck_assert_msg(strstr(pp_error(), rows[i].why) != NULL, "%s: %s", rows[i].text, pp_error());
		ck_assert_msg(strstr(pp_error(), image->path) != NULL, "%s", pp_error());
	}
	pp_image_free(image);
}
END_TEST

/* Any text gives a number of operands or -EINVAL. Sanitizers find other errors. */
START_TEST(nonsense)
{
	static const char *const parts[] = {
		"8",  "-",     "@",  "%", "rax",    "eax",   "(",    ")",    ",",   "4", "$", "+",
		"g",  "twice", "0x", "f", "rip",    " ",     ".L",   "fs:",  "GOT", "[", "]", "99999999999999999999",
		"x0", "w30",   "sp", "#", ":lo12:", "[x1, ", "sxtw", "lsl ", "xzr"
	};
	unsigned seed = 20240229;
	struct operand got[OPERANDS_MAX];
	char text[256];
	struct pp_image *image = open_image(false, ET_DYN, _i ? EM_AARCH64 : 0);
	int last = _i ? 32 : 16, taken = 0;

	for (int round = 0; round < 200000; round++) {
		int n;

		*text = '\0';
		for (int i = rand_r(&seed) % 12; i >= 0; i--)
			strcat(text, parts[(unsigned)rand_r(&seed) % COUNT(parts)]);
		n = operands_parse(image, text, got);
		ck_assert_msg(n == -EINVAL || (n >= 0 && n <= OPERANDS_MAX), "%s: %d", text, n);
		for (int i = 0; i < n; i++) {
			ck_assert(got[i].reg >= -1 && got[i].reg <= last && got[i].index >= -1 && got[i].index < last);
			ck_assert(got[i].size == 1 || got[i].size == 2 || got[i].size == 4 || got[i].size == 8);
			ck_assert(got[i].scale == 1 || got[i].scale == 2 || got[i].scale == 4 || got[i].scale == 8 ||
			          (_i && got[i].scale == 16));
		}
		taken += n > 0;
	}
	ck_assert_int_gt(taken, 20);
	pp_image_free(image);
}
END_TEST

START_TEST(other_cpus)
{
	struct operand got[OPERANDS_MAX];
	struct pp_image *image = open_image(true, ET_DYN, 0);

	ck_assert_int_eq(operands_parse(image, "-4@8(%esp) 4@%edi 1@%ah (%eax,%ecx,4)", got), 4);
	ck_assert_int_eq(got[0].reg, 4);
	ck_assert_int_eq(got[1].reg, 7);
	ck_assert_int_eq(got[2].shift, 8);
	ck_assert_int_eq(got[3].size, 4);
	ck_assert_int_eq(operands_parse(image, "4@%r8d", got), -EINVAL);
	ck_assert_int_eq(operands_parse(image, "4@%rax", got), -EINVAL);
	ck_assert_int_eq(operands_parse(image, "4@%sil", got), -EINVAL);
	pp_image_free(image);

	image = open_image(false, ET_DYN, EM_MIPS);
	ck_assert_int_eq(operands_parse(image, "8@$2", got), -ENOTSUP);
	ck_assert_int_eq(operands_parse(image, "", got), 0);
	pp_image_free(image);
	ck_assert(cpu_of(EM_MIPS, true) == NULL);
}
END_TEST

START_TEST(splitting)
{
	static const char text[] = " -4@[sp, 12]  8@%rax 8@(%rdx, %rdi) x";
	static const char *const parts[] = { "-4@[sp, 12]", "8@%rax", "8@(%rdx, %rdi)", "x" };
	size_t length, n = 0;

	for (const char *c = operands_next(text, &length); c; c = operands_next(c + length, &length), n++) {
		ck_assert_uint_lt(n, COUNT(parts));
		ck_assert_uint_eq(length, strlen(parts[n]));
		ck_assert_int_eq(strncmp(c, parts[n], length), 0);
	}
	ck_assert_uint_eq(n, COUNT(parts));
	ck_assert(operands_next("", &length) == NULL);
	ck_assert(operands_next("  ", &length) == NULL);
}
END_TEST

START_TEST(saved_registers)
{
#ifdef __x86_64__
	const struct cpu *cpu = cpu_of(EM_X86_64, true);
	static const uint16_t offsets[] = {
		offsetof(struct pt_regs, rax), offsetof(struct pt_regs, rcx), offsetof(struct pt_regs, rdx),
		offsetof(struct pt_regs, rbx), offsetof(struct pt_regs, rsp), offsetof(struct pt_regs, rbp),
		offsetof(struct pt_regs, rsi), offsetof(struct pt_regs, rdi), offsetof(struct pt_regs, r8),
		offsetof(struct pt_regs, r9),  offsetof(struct pt_regs, r10), offsetof(struct pt_regs, r11),
		offsetof(struct pt_regs, r12), offsetof(struct pt_regs, r13), offsetof(struct pt_regs, r14),
		offsetof(struct pt_regs, r15), offsetof(struct pt_regs, rip),
	};

	ck_assert_uint_eq(cpu->numbers, COUNT(offsets));
	for (size_t i = 0; i < COUNT(offsets); i++)
		ck_assert_msg(cpu->pt_regs[i] == offsets[i], "register %zu: %u, not %u", i, cpu->pt_regs[i],
		              offsets[i]);
	ck_assert_uint_eq(cpu->nregisters, 4 * 16 + 4 + 2);
#endif
}
END_TEST

/* ---- the same text in the assembler ---- */

struct assembled {
	unsigned char *code;
	size_t n;
};

/* Assembles lines, each padded to 16 bytes. Returns false without an assembler for x86-64. */
static bool assemble(const char *lines, struct assembled *result)
{
	char folder[] = "/tmp/check-operand-XXXXXX", command[256];
	bool done = false;
	FILE *file;

	ck_assert(mkdtemp(folder) != NULL);
	signal(SIGPIPE, SIG_IGN); /* the assembler of another CPU ends at --64 */
	snprintf(command, sizeof(command), "as --64 -o %s/o - 2>%s/errors", folder, folder);
	file = popen(command, "w");
	if (file) {
		fputs(lines, file);
		done = pclose(file) == 0;
	}
	snprintf(command, sizeof(command), "objcopy -O binary -j .text %s/o %s/code 2>>%s/errors && cat %s/code",
	         folder, folder, folder, folder);
	file = done ? popen(command, "r") : NULL;
	if (file) {
		result->code = malloc(1 << 20);
		result->n = fread(result->code, 1, 1 << 20, file);
		done = pclose(file) == 0 && result->n;
	}
	snprintf(command, sizeof(command), "rm -r %s", folder);
	done &= system(command) == 0;
	return done;
}

/* The number of a register is the one that the assembler encodes in "mov %reg, (%rax)". */
START_TEST(registers_as_assembled)
{
	const struct cpu *cpu = cpu_of(EM_X86_64, true);
	struct assembled got = { 0 };
	char lines[8192] = "";

	for (size_t i = 0; i < cpu->nregisters; i++)
		if (cpu->registers[i].number < 16)
			sprintf(lines + strlen(lines), ".balign 16\nmov %%%s, (%%rax)\n", cpu->registers[i].name);
	if (!assemble(lines, &got)) {
		printf("registers_as_assembled: skipped: no assembler for x86-64\n");
		free(got.code);
		return;
	}
	for (size_t i = 0, at = 0; i < cpu->nregisters; i++) {
		const struct cpu_register *reg = &cpu->registers[i];
		const unsigned char *c = got.code + at;
		int size = 4, number, shift = 0;
		unsigned char rex = 0;

		if (reg->number >= 16)
			continue;
		ck_assert_uint_lt(at + 4, got.n + 12);
		if (*c == 0x66)
			size = 2, c++;
		if ((*c & 0xf0) == 0x40)
			rex = *c++;
		if (rex & 8)
			size = 8;
		ck_assert(*c == 0x88 || *c == 0x89);
		if (*c++ == 0x88)
			size = 1;
		number = (*c >> 3 & 7) | (rex & 4 ? 8 : 0);
		if (size == 1 && !rex && number >= 4)
			number -= 4, shift = 8;
		ck_assert_msg(reg->number == number && reg->size == size && reg->shift == shift, "%s", reg->name);
		at += 16;
	}
	free(got.code);
}
END_TEST

/* Reads the address of "lea ADDRESS, %rax" (or mov, without REX.R): mod, rm, sib, displacement. */
static void decode(const unsigned char *c, struct operand *operand)
{
	unsigned char rex = 0, modrm, sib;
	int mod, rm;
	int32_t wide;

	*operand = (struct operand){ .kind = OPERAND_MEM, .size = 8, .reg = -1, .index = -1, .scale = 1 };
	if ((*c & 0xf0) == 0x40)
		rex = *c++;
	ck_assert_uint_eq(*c, 0x8d);
	modrm = c[1];
	c += 2;
	mod = modrm >> 6;
	rm = modrm & 7;
	if (rm == 4) {
		sib = *c++;
		if ((sib >> 3 & 7) != 4 || rex & 2) {
			operand->index = (int8_t)((sib >> 3 & 7) | (rex & 2 ? 8 : 0));
			operand->scale = (uint8_t)(1 << (sib >> 6));
		}
		if ((sib & 7) != 5 || mod)
			operand->reg = (int8_t)((sib & 7) | (rex & 1 ? 8 : 0));
		else
			mod = 2;
	} else {
		operand->reg = (int8_t)(rm | (rex & 1 ? 8 : 0));
	}
	memcpy(&wide, c, sizeof(wide));
	operand->value = mod == 1 ? (int8_t)*c : mod == 2 ? wide : 0;
}

START_TEST(memory_as_assembled)
{
	static const char *const names[] = { "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
		                             "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15" };
	enum { N = 4000 };
	static char texts[N][96], lines[N * 128];
	struct pp_image *image = open_image(false, ET_DYN, 0);
	struct operand got[OPERANDS_MAX], want;
	struct assembled code = { 0 };
	unsigned seed = 4711;
	char *line = lines;

	for (int i = 0; i < N; i++) {
		char *to = texts[i];
		int terms = rand_r(&seed) % 4, parts = rand_r(&seed) % 4, index;

		to += sprintf(to, "8@");
		for (int t = 0; t < terms; t++) {
			static const char *const forms[] = { "%d", "0x%x", "0%o" };

			to += sprintf(to, "%s", rand_r(&seed) % 2 ? "-" : t ? "+" : "");
			if (t && rand_r(&seed) % 8 == 0)
				to += sprintf(to, "-");
			to += sprintf(to, forms[rand_r(&seed) % 3],
			              rand_r(&seed) % (rand_r(&seed) % 2 ? 200 : 100000000));
		}
		do
			index = rand_r(&seed) % 16;
		while (index == 4);
		to += sprintf(to, "(");
		if (parts != 3)
			to += sprintf(to, "%%%s", names[rand_r(&seed) % 16]);
		if (parts > 0)
			to += sprintf(to, ",%s%%%s", rand_r(&seed) % 4 ? "" : " ", names[index]);
		if (parts > 1)
			to += sprintf(to, ",%d", 1 << rand_r(&seed) % 4);
		sprintf(to, ")");
		line += sprintf(line, ".balign 16\nlea %s, %%rax\n", texts[i] + 2);
	}
	if (!assemble(lines, &code)) {
		printf("memory_as_assembled: skipped: no assembler for x86-64\n");
	} else {
		ck_assert_uint_gt(code.n, (N - 1) * 16);
		for (int i = 0; i < N; i++) {
			decode(code.code + 16 * (size_t)i, &want);
			ck_assert_msg(operands_parse(image, texts[i], got) == 1, "%s: %s", texts[i], pp_error());
			same(texts[i], &got[0], &want);
		}
	}
	free(code.code);
	pp_image_free(image);
}
END_TEST

#define WMEM(t, s, b, i, sc, w)                                                                            \
	{                                                                                                  \
		t,                                                                                         \
		{                                                                                          \
			.kind = OPERAND_MEM, .size = s, .reg = b, .index = i, .scale = sc, .index_size = w \
		}                                                                                          \
	}

START_TEST(aarch64)
{
	static const struct expected expected[] = {
		REG("8@x0", 8, 0, 0),
		REG("8@x18", 8, 18, 0),
		REG("8@x30", 8, 30, 0),
		REG("8@sp", 8, 31, 0),
		REG("4@w7", 4, 7, 0),
		REG("4@x7", 4, 7, 0),
		REG("1@x29", 1, 29, 0),
		REG("2@w19", 2, 19, 0),
		REG("8@w7", 4, 7, 0),
		REG("w7", 4, 7, 0),
		REG("x7", 8, 7, 0),
		REG("8@fp", 8, 29, 0),
		REG("8@lr", 8, 30, 0),
		SREG("-4@x3", 4, 3),
		SREG("-1@w3", 1, 3),
		SREG("-8@x30", 8, 30),
		MEM("8@[sp]", 8, 31, -1, 1, 0),
		MEM("8@[sp, 16]", 8, 31, -1, 1, 16),
		MEM("4@[x29, -20]", 4, 29, -1, 1, -20),
		MEM("8@[x1,#8]", 8, 1, -1, 1, 8),
		MEM("8@[ x1 , #-0x10 ]", 8, 1, -1, 1, -16),
		MEM("[x2, 8+4]", 8, 2, -1, 1, 12),
		MEM("8@[x0, x1]", 8, 0, 1, 1, 0),
		MEM("8@[x0, x30, lsl 3]", 8, 0, 30, 8, 0),
		MEM("2@[sp, x1, lsl #1]", 2, 31, 1, 2, 0),
		MEM("8@[x0, x1, sxtx 3]", 8, 0, 1, 8, 0),
		MEM("8@[x0, x1, sxtx]", 8, 0, 1, 1, 0),
		WMEM("4@[x0, w1, sxtw 2]", 4, 0, 1, 4, -4),
		WMEM("4@[x0, w1, uxtw #2]", 4, 0, 1, 4, 4),
		WMEM("1@[x0, w1, sxtw]", 1, 0, 1, 1, -4),
		WMEM("1@[x0,w1,uxtw]", 1, 0, 1, 1, 4),
		WMEM("8@[x0, w1, uxtw 4]", 8, 0, 1, 16, 4),
		STATIC("8@[x0, #:lo12:g]", 8, DATA + 0x10),
		STATIC("8@[x0, :lo12:g+8]", 8, DATA + 0x18),
		STATIC("8@g", 8, DATA + 0x10),
		STATIC("8@g+4", 8, DATA + 0x14),
		CONST("4@12", 4, false, 12),
		CONST("-4@-12", 4, true, -12),
		CONST("4@-1", 4, false, 0xffffffff),
		CONST("8@-1", 8, false, -1),
		CONST("8@#7", 8, false, 7),
		CONST("8@4615063718147915776", 8, false, 4615063718147915776),
		CONST("8@0", 8, false, 0),
		CONST("-4@wzr", 4, true, 0),
		CONST("8@xzr", 8, false, 0),
		CONST("8@12+4", 8, false, 16),
	};
	static const char *const bad[] = {
		"8@",
		"8@x31",
		"8@w31",
		"8@x01",
		"8@r0",
		"8@%x0",
		"8@d0",
		"8@q31",
		"8@v1",
		"8@[",
		"8@[]",
		"8@[x0",
		"8@[x0,]",
		"8@[w0]",
		"8@[xzr]",
		"8@[pc, 8]",
		"8@[x0, sp]",
		"8@[x0, w1]",
		"8@[x0, w1, lsl 2]",
		"8@[x0, x1, sxtw 2]",
		"8@[x0, x1, lsl]",
		"8@[x0, x1, lsl 5]",
		"8@[x0, x1, lsl 33]",
		"8@[x0, x1, ror 1]",
		"8@[x0, 8]!",
		"8@[x0], 8",
		"8@[x0, 8",
		"8@[x0, g]",
		"8@[x0, #:lo12:nowhere]",
		"8@[x0, #:lo12:8]",
		"8@[x0, #:got_lo12:g]",
		"8@[x0, #:tprel_lo12:tls]",
		"8@:lo12:g",
		"8@nowhere",
		"8@x0x",
		"8@x0 ,",
		"8@[x0, x1, x2]",
		"8@[x0, d1]",
		"8@12x",
		"8@[8]",
		"8@$7",
		"16@x0",
	};
	struct pp_image *image = open_image(false, ET_DYN, EM_AARCH64);
	const struct cpu *cpu = cpu_of(EM_AARCH64, true);
	struct operand got[OPERANDS_MAX];

	check_all(image, expected, COUNT(expected));
	for (size_t i = 0; i < COUNT(bad); i++)
		ck_assert_msg(operands_parse(image, bad[i], got) == -EINVAL, "%s was accepted", bad[i]);
	ck_assert_int_eq(operands_parse(image, "-4@[x0, w1, sxtw 2] 8@[sp, 16] 4@x3 1@7", got), 4);
	ck_assert_uint_eq(cpu->numbers, 33);
	ck_assert_int_eq(cpu->pc, 32);
	for (size_t i = 0; i < cpu->numbers; i++)
		ck_assert_uint_eq(cpu->pt_regs[i], 8 * i);
	pp_image_free(image);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("operand");
	TCase *tcase = tcase_create("operand");
	SRunner *runner;
	int failed;

	tcase_set_timeout(tcase, 300);
	tcase_add_test(tcase, aarch64);
	tcase_add_test(tcase, registers);
	tcase_add_test(tcase, memory);
	tcase_add_test(tcase, constants);
	tcase_add_test(tcase, fixed_program);
	tcase_add_test(tcase, float_tag);
	tcase_add_test(tcase, several);
	tcase_add_test(tcase, refused);
	tcase_add_loop_test(tcase, nonsense, 0, 2);
	tcase_add_test(tcase, other_cpus);
	tcase_add_test(tcase, splitting);
	tcase_add_test(tcase, saved_registers);
	tcase_add_test(tcase, registers_as_assembled);
	tcase_add_test(tcase, memory_as_assembled);
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
