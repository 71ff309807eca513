/* SPDX-License-Identifier: MIT */
/*
 * Random operands of seven CPUs: each is printed from a model, as the CPU's compilers and assemblers write it, and must be
 * parsed back as the same. PROBEPOINT_LONG: a million of each CPU.
 */
#include "sdt/image.h"
#include "sdt/operand.h"
#include "tests/unit/elf.h"
#include "tests/unit/random.h"

#include <check.h>
#include <inttypes.h>

#define G (DATA + 0x10) /* the address of g */
#define PICK(array) array[below(sizeof(array) / sizeof(*(array)))]

/* A register that can be printed: its number, its size in bytes, the number of its first bit. */
struct reg {
	const char *name;
	int8_t number;
	uint8_t size, shift;
};

struct model {
	const char *cpu;
	uint16_t machine;
	bool is_32, big;
	const struct reg *registers; /* that an operand can be */
	size_t nregisters;
	const struct reg *bases; /* that an address can use */
	size_t nbases;
	/* Prints an operand of a kind, without its size. Returns false if the CPU does not have it. */
	bool (*print)(char *to, size_t room, const struct operand *o, const struct model *m);
};

static const struct reg *reg_of(const struct reg *registers, size_t n, int8_t number, uint8_t size, uint8_t shift)
{
	for (size_t i = 0; i < n; i++)
		if (registers[i].number == number &&
		    (!size || (registers[i].size == size && registers[i].shift == shift)))
			return &registers[i];
	return NULL;
}

static const char *base_name(const struct model *m, int8_t number)
{
	const struct reg *reg = reg_of(m->bases, m->nbases, number, 0, 0);

	ck_assert_msg(reg != NULL, "%s has no base %d", m->cpu, number);
	return reg->name;
}

/* The register with a random one of its names: "fp" or "x29". */
static const char *register_name(const struct model *m, const struct operand *o)
{
	const char *names[4];
	size_t n = 0;

	for (size_t i = 0; i < m->nregisters && n < 4; i++)
		if (m->registers[i].number == o->reg && m->registers[i].shift == o->shift &&
		    m->registers[i].size >= o->size)
			names[n++] = m->registers[i].name;
	return n ? names[below((unsigned)n)] : NULL;
}

/* Prints a number as a compiler or a person may: decimal, hexadecimal, or a sum. */
static void print_number(char *to, size_t room, int64_t value)
{
	int64_t part = (int64_t)below(2000) - 1000;

	switch (below(8)) {
	case 0:
		snprintf(to, room, "%s0x%" PRIx64, value < 0 ? "-" : "",
		         value < 0 ? 0 - (uint64_t)value : (uint64_t)value);
		return;
	case 1:
		if (value > -1000000000 && value < 1000000000) {
			snprintf(to, room, "%" PRId64 "%+" PRId64, value - part, part);
			return;
		}
		/* fall through */
	default: snprintf(to, room, "%" PRId64, value);
	}
}

/* g+8, 8+g, g-4 */
static void print_symbol(char *to, size_t room, uint64_t value)
{
	long long more = (long long)(value - G);

	if (!more)
		snprintf(to, room, "g");
	else if (below(2))
		snprintf(to, room, "g%+lld", more);
	else
		snprintf(to, room, "%lld+g", more);
}

static bool print_x86(char *to, size_t room, const struct operand *o, const struct model *m)
{
	char number[64] = "", index[32] = "", scale[8] = "";
	const char *space = below(4) ? "" : " ";

	if (o->kind == OPERAND_STATIC) {
		print_symbol(number, sizeof(number), (uint64_t)o->value);
		snprintf(to, room, m->is_32 || !below(4) ? "%s" : "%s(%%rip)", number);
		return true;
	}
	if (o->kind == OPERAND_REG) {
		snprintf(to, room, "%%%s",
		         reg_of(m->registers, m->nregisters, o->reg, (uint8_t)o->size, o->shift)->name);
		return true;
	}
	if (o->kind == OPERAND_CONST || o->value || below(2))
		print_number(number, sizeof(number), o->value);
	if (o->kind == OPERAND_CONST) {
		snprintf(to, room, "$%s", number);
		return true;
	}
	if (o->index == 4)
		return false;
	if (o->index >= 0)
		snprintf(index, sizeof(index), ",%s%%%s", space, base_name(m, o->index));
	if (o->index >= 0 && (o->scale > 1 || below(2)))
		snprintf(scale, sizeof(scale), ",%s%d", space, o->scale);
	snprintf(to, room, "%s(%%%s%s%s)", number, base_name(m, o->reg), index, scale);
	return true;
}

static bool print_arm64(char *to, size_t room, const struct operand *o, const struct model *m)
{
	const char *hash = below(2) ? "#" : "", *name;
	char number[64];
	int shift = o->scale == 1 ? 0 : o->scale == 2 ? 1 : o->scale == 4 ? 2 : 3;

	if (o->kind == OPERAND_STATIC) {
		print_symbol(number, sizeof(number), (uint64_t)o->value);
		if (below(2))
			snprintf(to, room, "%s", number);
		else
			snprintf(to, room, "[x%u, %s:lo12:%s]", below(29), hash, number);
		return true;
	}
	print_number(number, sizeof(number), o->value);
	if (o->kind == OPERAND_CONST) {
		snprintf(to, room, "%s%s", hash, number);
		return true;
	}
	if (o->kind == OPERAND_REG) {
		name = register_name(m, o);
		snprintf(to, room, "%s", name ? name : "");
		return name;
	}
	if (o->index >= 0) {
		if (o->value || o->index > 30)
			return false;
		if (shift || below(2))
			snprintf(to, room, "[%s, x%d, lsl %s%d]", base_name(m, o->reg), o->index, hash, shift);
		else
			snprintf(to, room, "[%s, x%d]", base_name(m, o->reg), o->index);
	} else if (o->value || below(2)) {
		snprintf(to, room, "[%s, %s%s]", base_name(m, o->reg), hash, number);
	} else {
		snprintf(to, room, "[%s]", base_name(m, o->reg));
	}
	return true;
}

static bool print_arm(char *to, size_t room, const struct operand *o, const struct model *m)
{
	const char *hash = below(2) ? "#" : "";
	char number[64], shift[16] = "";
	int bits = o->scale == 1 ? 0 : o->scale == 2 ? 1 : o->scale == 4 ? 2 : 3;

	print_number(number, sizeof(number), o->value);
	switch (o->kind) {
	case OPERAND_STATIC: print_symbol(to, room, (uint64_t)o->value); return true;
	case OPERAND_CONST: snprintf(to, room, "%s%s", hash, number); return true;
	case OPERAND_REG: snprintf(to, room, "%s", register_name(m, o)); return true;
	default: break;
	}
	if (o->index >= 0) {
		if (o->value)
			return false;
		if (bits || below(2))
			snprintf(shift, sizeof(shift), ", lsl %s%d", hash, bits);
		snprintf(to, room, "[%s, %s%s]", base_name(m, o->reg), base_name(m, o->index), shift);
	} else if (o->value || below(2)) {
		snprintf(to, room, "[%s, %s%s]", base_name(m, o->reg), hash, number);
	} else {
		snprintf(to, room, "[%s]", base_name(m, o->reg));
	}
	return true;
}

static bool print_ppc64(char *to, size_t room, const struct operand *o, const struct model *m)
{
	const char *prefix = below(3) ? "" : below(2) ? "r" : "%r";
	char number[64];

	(void)m;
	print_number(number, sizeof(number), o->value);
	switch (o->kind) {
	case OPERAND_STATIC: print_symbol(to, room, (uint64_t)o->value); return true;
	case OPERAND_CONST: snprintf(to, room, "i%s", number); return true;
	case OPERAND_REG: snprintf(to, room, "%s%d", prefix, o->reg); return true;
	default: break;
	}
	if (o->index >= 0 && (o->value || o->scale != 1))
		return false;
	if (o->index >= 0)
		snprintf(to, room, "%s%d,%s%d", prefix, o->reg, prefix, o->index);
	else
		snprintf(to, room, "%s(%s%d)", number, prefix, o->reg);
	return true;
}

static bool print_s390x(char *to, size_t room, const struct operand *o, const struct model *m)
{
	char number[64];

	(void)m;
	print_number(number, sizeof(number), o->value);
	switch (o->kind) {
	case OPERAND_STATIC: print_symbol(to, room, (uint64_t)o->value); return true;
	case OPERAND_CONST: snprintf(to, room, "%s", number); return true;
	case OPERAND_REG: snprintf(to, room, "%%r%d", o->reg); return true;
	default: break;
	}
	if (o->index >= 0 && o->scale != 1)
		return false;
	if (o->index >= 0)
		snprintf(to, room, "%s(%%r%d,%%r%d)", number, o->index, o->reg);
	else
		snprintf(to, room, "%s(%%r%d)", number, o->reg);
	return true;
}

static bool print_riscv64(char *to, size_t room, const struct operand *o, const struct model *m)
{
	char number[64];

	print_number(number, sizeof(number), o->value);
	switch (o->kind) {
	case OPERAND_STATIC:
		print_symbol(number, sizeof(number), (uint64_t)o->value);
		if (below(2))
			snprintf(to, room, "%s", number);
		else
			snprintf(to, room, "%%lo(%s)(%s)", number, m->bases[below((unsigned)m->nbases)].name);
		return true;
	case OPERAND_CONST: snprintf(to, room, "%s", o->value || below(2) ? number : "zero"); return true;
	case OPERAND_REG: snprintf(to, room, "%s", register_name(m, o)); return true;
	default: break;
	}
	if (o->index >= 0)
		return false;
	snprintf(to, room, "%s(%s)", number, base_name(m, o->reg));
	return true;
}

/* clang-format off */
#define OLD(a, n) { "e" a "x", n, 4, 0 }, { a "x", n, 2, 0 }, { a "l", n, 1, 0 }, { a "h", n, 1, 8 }
#define NEW(a, n) { a, n, 8, 0 }, { a "d", n, 4, 0 }, { a "w", n, 2, 0 }, { a "b", n, 1, 0 }

static const struct reg x86_64[] = {
	OLD("a", 0), OLD("c", 1), OLD("d", 2), OLD("b", 3), { "rax", 0, 8, 0 }, { "rbx", 3, 8, 0 }, { "rcx", 1, 8, 0 },
	{ "rdx", 2, 8, 0 }, { "rsi", 6, 8, 0 }, { "esi", 6, 4, 0 }, { "si", 6, 2, 0 }, { "sil", 6, 1, 0 }, { "rdi", 7, 8, 0 },
	{ "rbp", 5, 8, 0 }, { "bpl", 5, 1, 0 }, { "rsp", 4, 8, 0 }, NEW("r8", 8), NEW("r11", 11), NEW("r15", 15),
};
static const struct reg x86_64_bases[] = {
	{ "rax", 0, 8, 0 }, { "rcx", 1, 8, 0 }, { "rdx", 2, 8, 0 }, { "rbx", 3, 8, 0 }, { "rsp", 4, 8, 0 }, { "rbp", 5, 8, 0 },
	{ "rsi", 6, 8, 0 }, { "rdi", 7, 8, 0 }, { "r8", 8, 8, 0 }, { "r12", 12, 8, 0 }, { "r15", 15, 8, 0 },
};
static const struct reg i386[] = { OLD("a", 0), OLD("c", 1), OLD("d", 2), OLD("b", 3), { "esi", 6, 4, 0 }, { "di", 7, 2, 0 } };
static const struct reg i386_bases[] = {
	{ "eax", 0, 4, 0 }, { "ecx", 1, 4, 0 }, { "edx", 2, 4, 0 }, { "ebx", 3, 4, 0 }, { "esp", 4, 4, 0 }, { "ebp", 5, 4, 0 },
	{ "edi", 7, 4, 0 },
};
static const struct reg arm64[] = {
	{ "x0", 0, 8, 0 }, { "w0", 0, 4, 0 }, { "x1", 1, 8, 0 }, { "w17", 17, 4, 0 }, { "x29", 29, 8, 0 }, { "fp", 29, 8, 0 },
	{ "x30", 30, 8, 0 }, { "lr", 30, 8, 0 }, { "sp", 31, 8, 0 }, { "wsp", 31, 4, 0 },
};
static const struct reg arm64_bases[] = { { "sp", 31, 8, 0 }, { "x0", 0, 8, 0 }, { "x9", 9, 8, 0 }, { "x29", 29, 8, 0 } };
static const struct reg arm[] = {
	{ "r0", 0, 4, 0 }, { "r7", 7, 4, 0 }, { "fp", 11, 4, 0 }, { "r11", 11, 4, 0 }, { "ip", 12, 4, 0 }, { "sp", 13, 4, 0 },
	{ "r13", 13, 4, 0 }, { "lr", 14, 4, 0 }, { "sl", 10, 4, 0 }, { "r10", 10, 4, 0 },
};
static const struct reg ppc64[] = { { "", 3, 8, 0 }, { "", 9, 8, 0 }, { "", 10, 8, 0 }, { "", 31, 8, 0 }, { "", 1, 8, 0 } };
static const struct reg s390x[] = { { "", 2, 8, 0 }, { "", 15, 8, 0 }, { "", 1, 8, 0 }, { "", 11, 8, 0 } };
static const struct reg riscv64[] = {
	{ "a0", 10, 8, 0 }, { "x10", 10, 8, 0 }, { "s0", 8, 8, 0 }, { "fp", 8, 8, 0 }, { "sp", 2, 8, 0 }, { "t6", 31, 8, 0 },
	{ "s11", 27, 8, 0 }, { "a7", 17, 8, 0 }, { "ra", 1, 8, 0 },
};

#define REGS(a) a, sizeof(a) / sizeof(*(a))
static const struct model models[] = {
	{ "x86-64", EM_X86_64, false, false, REGS(x86_64), REGS(x86_64_bases), print_x86 },
	{ "i386", EM_386, true, false, REGS(i386), REGS(i386_bases), print_x86 },
	{ "aarch64", EM_AARCH64, false, false, REGS(arm64), REGS(arm64_bases), print_arm64 },
	{ "arm", EM_ARM, true, false, REGS(arm), REGS(arm), print_arm },
	{ "ppc64le", EM_PPC64, false, false, REGS(ppc64), REGS(ppc64), print_ppc64 },
	{ "s390x", EM_S390, false, true, REGS(s390x), REGS(s390x), print_s390x },
	{ "riscv64", EM_RISCV, false, false, REGS(riscv64), REGS(riscv64), print_riscv64 },
};
/* clang-format on */

static int64_t truncated(int64_t value, int size, bool is_signed)
{
	int rest = 64 - 8 * size;

	return is_signed ? (int64_t)((uint64_t)value << rest) >> rest : (int64_t)((uint64_t)value << rest >> rest);
}

static struct operand random_operand(const struct model *m)
{
	static const int8_t sizes[] = { 1, 2, 4, 8 };
	struct operand o = { .kind = (enum operand_kind)below(4), .reg = -1, .index = -1, .scale = 1 };
	const struct reg *reg;

	o.size = PICK(sizes);
	if (m->is_32 && o.size == 8)
		o.size = 4;
	o.is_signed = below(2);
	switch (o.kind) {
	case OPERAND_CONST: o.value = truncated((int64_t)random_bits() >> below(64), o.size, o.is_signed); break;
	case OPERAND_REG:
		reg = &m->registers[below((unsigned)m->nregisters)];
		o.reg = reg->number;
		o.shift = reg->shift;
		if (o.size > reg->size || m->print == print_x86)
			o.size = (int8_t)reg->size;
		break;
	case OPERAND_MEM:
		o.reg = m->bases[below((unsigned)m->nbases)].number;
		o.value = below(3) ? (int64_t)below(100000) - 50000 : 0;
		if (!below(3)) {
			o.index = m->bases[below((unsigned)m->nbases)].number;
			o.scale = (uint8_t)(1 << below(4));
		}
		break;
	default: o.value = (int64_t)(G + below(64));
	}
	return o;
}

static struct pp_image *image_of(const struct model *m)
{
	struct elf elf = { .is_32 = m->is_32, .big = m->big, .machine = m->machine };
	struct pp_image *image;

	elf_symbol(&elf, "g", G, 8, ELF64_ST_INFO(STB_GLOBAL, STT_OBJECT));
	ck_assert_int_eq(pp_image_open(elf_path(&elf), &image), 0);
	image_symbol(image, "g", &(uint64_t){ 0 }); /* while the file exists */
	elf_free(&elf);
	return image;
}

static void check_equal(const struct model *m, const char *text, const struct operand *got, const struct operand *o)
{
	ck_assert_msg(got->kind == o->kind && got->size == o->size && got->is_signed == o->is_signed &&
	                      got->reg == o->reg && got->index == o->index && got->shift == o->shift &&
	                      (o->index < 0 || got->scale == o->scale) && got->value == o->value,
	              "%s: \"%s\": kind %d size %d signed %d reg %d index %d scale %d shift %d value %" PRId64
	              ", wanted %d %d %d %d %d %d %d %" PRId64,
	              m->cpu, text, got->kind, got->size, got->is_signed, got->reg, got->index, got->scale, got->shift,
	              got->value, o->kind, o->size, o->is_signed, o->reg, o->index, o->scale, o->shift, o->value);
}

START_TEST(printed_and_parsed)
{
	const struct model *m = &models[_i];
	unsigned rounds = getenv("PROBEPOINT_LONG") ? 1000000 : 20000, kinds[4] = { 0 };
	struct pp_image *image = image_of(m);

	seed_set();
	for (unsigned i = 0; i < rounds;) {
		struct operand o = random_operand(m), got[OPERANDS_MAX];
		char text[160], sized[200];

		if (!m->print(text, sizeof(text), &o, m))
			continue;
		snprintf(sized, sizeof(sized), "%s%d@%s", o.is_signed ? "-" : "", o.size, text);
		ck_assert_msg(operands_parse(image, sized, got) == 1, "%s: \"%s\": %s", m->cpu, sized, pp_error());
		check_equal(m, sized, &got[0], &o);
		kinds[o.kind]++;
		i++;
	}
	for (int kind = 0; kind < 4; kind++)
		ck_assert_uint_gt(kinds[kind], rounds / 20);
	pp_image_free(image);
}
END_TEST

/* One operand that cannot be read does not hide the others. */
START_TEST(one_is_bad)
{
	static const char *const bad[] = { "%xmm0", "%xmm0", "v0", "[r0, #:x:y]", "99", "%f0", "fa0" };
	const struct model *m = &models[_i];
	struct pp_image *image = image_of(m);
	struct operand got[OPERANDS_MAX];
	char good[64], text[256];
	struct operand o = { .kind = OPERAND_REG, .size = 4, .reg = m->registers[0].number, .index = -1, .scale = 1 };
	size_t nbad;

	ck_assert(m->print(good, sizeof(good), &o, m));
	snprintf(text, sizeof(text), "4@%s 8@%s 4@%s", good, bad[_i], good);
	ck_assert_int_eq(operands_read(image, text, got, &nbad), 3);
	ck_assert_uint_eq(nbad, 1);
	ck_assert_int_eq(got[0].kind, OPERAND_REG);
	ck_assert_int_eq(got[1].kind, OPERAND_NONE);
	ck_assert_int_eq(got[2].kind, OPERAND_REG);
	pp_image_free(image);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("operand-cpus");
	TCase *tcase = tcase_create("operands");
	SRunner *runner;
	int failed;

	tcase_set_timeout(tcase, 600);
	tcase_add_loop_test(tcase, printed_and_parsed, 0, sizeof(models) / sizeof(*models));
	tcase_add_loop_test(tcase, one_is_bad, 0, sizeof(models) / sizeof(*models));
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
