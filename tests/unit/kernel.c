/* SPDX-License-Identifier: MIT */
/* first */
/*
 * Operands of every form, compared in three ways: the kernel's record of a hit, the result of the reference
 * interpreter, and the values that this program has stored. It knows all registers at the site (hit.h) and keeps a copy
 * of all memory that operands point to, so that the expected values do not depend on the code under test.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <sys/mman.h>

#include "runtime/event.h"
#include "tests/kernel/hit.h"
#include "tests/unit/interpreter.h"

#ifdef __SANITIZE_ADDRESS__
#define SHADOWED true
#else
#define SHADOWED false
#endif

#define PAGE 4096
#define PROGRAMS 48
#define HITS 3
#define SITE_ARGS 12

/* ---- memory and its contents ---- */

struct region {
	char *start;
	const char *copy; /* NULL: the region itself; "": all zero */
	size_t size;
};

static struct region regions[8];
static size_t nregions, guarded; /* the number of regions between unreadable pages, which are the first ones */
static char *plain, *low, *lazy; /* data; data below 4 GiB; file-backed pages that are not in memory at a hit */
static char *plain_end;          /* the page after it cannot be read */
static int lazy_file;
static char lazy_copy[8 * PAGE];
static const char **table; /* addresses of strings, in plain memory */
#define TABLE 64

int64_t check_global[4];

static void add_region(char *start, size_t size, const char *copy)
{
	regions[nregions++] = (struct region){ start, copy, size };
}

/* Returns false if the address cannot be read. */
static bool byte_at(uint64_t address, char *byte)
{
	for (size_t i = 0; i < nregions; i++)
		if (address - (uint64_t)regions[i].start < regions[i].size) {
			size_t at = address - (uint64_t)regions[i].start;

			*byte = regions[i].copy ? regions[i].copy[at] : regions[i].start[at];
			return true;
		}
	return false;
}

#define GUARD (64 * PAGE)

/* Maps pages between pages that cannot be read. */
static char *map_guarded(size_t size, int flags)
{
	char *at = mmap(NULL, size + 2 * GUARD, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);

	ck_assert_ptr_ne(at, MAP_FAILED);
	ck_assert(!mprotect(at + GUARD, size, PROT_READ | PROT_WRITE));
	return at + GUARD;
}

static void map_all(void)
{
	char name[] = "/var/tmp/probepoint-check.XXXXXX";

	plain = map_guarded(4 * PAGE, 0);
	plain_end = plain + 4 * PAGE;
	add_region(plain, 4 * PAGE, NULL);
	low = map_guarded(PAGE, MAP_32BIT);
	add_region(low, PAGE, NULL);

	lazy_file = mkstemp(name);
	ck_assert_int_ge(lazy_file, 0);
	unlink(name);
	for (size_t i = 0; i < sizeof(lazy_copy); i++)
		lazy_copy[i] = random_bits() % 40 ? 'A' + random_bits() % 26 : 0;
	memset(lazy_copy + 2 * PAGE - 100, 'p', 200); /* longer than one page holds */
	memset(lazy_copy + 4 * PAGE, 'q', PAGE + 1);
	lazy_copy[8 * PAGE - 1] = 0;
	ck_assert_int_eq(write(lazy_file, lazy_copy, sizeof(lazy_copy)), sizeof(lazy_copy));
	ck_assert(!fsync(lazy_file));
	lazy = mmap(map_guarded(sizeof(lazy_copy), 0), sizeof(lazy_copy), PROT_READ, MAP_PRIVATE | MAP_FIXED, lazy_file,
	            0);
	ck_assert_ptr_ne(lazy, MAP_FAILED);
	madvise(lazy, sizeof(lazy_copy), MADV_RANDOM);
	add_region(lazy, sizeof(lazy_copy), lazy_copy);

	add_region(map_guarded(2 * PAGE, 0), 2 * PAGE, calloc(2, PAGE)); /* never accessed by this program */
	guarded = nregions;
	add_region((char *)check_global, sizeof(check_global), NULL);
	table = (const char **)(plain + PAGE);
}

static void drop_pages(void)
{
	unsigned char in_memory[8];

	ck_assert(!madvise(lazy, sizeof(lazy_copy), MADV_DONTNEED));
	posix_fadvise(lazy_file, 0, 0, POSIX_FADV_DONTNEED);
	ck_assert(!mincore(lazy, sizeof(lazy_copy), in_memory)); /* all pages are dropped if /var/tmp is on a disk */
}

static uint64_t unreadable(void)
{
	switch (below(7)) {
	case 0: return 0;
	case 1: return below(PAGE);
	case 2: return (uint64_t)plain_end + below(PAGE - 8);
	case 3: return (uint64_t)plain - 1 - below(PAGE - 8);
	case 4: return 0xffff888000000000 + below(1 << 20); /* kernel memory */
	case 5: return 0x0000800000000000 + below(PAGE);    /* not canonical */
	default: return UINT64_MAX - below(200);
	}
}

static uint64_t string_address(void)
{
	static const int lengths[] = { 0, 1, 7, 8, 9, 15, 16, 126, 127, 128, 129, 130 };
	const struct region *r;

	switch (below(8)) {
	case 0: return unreadable();
	case 1:
		return (uint64_t)plain_end - 1 -
		       lengths[below(12)]; /* it ends at the end of its page, or is not terminated there */
	case 2: return (uint64_t)plain + 3 * PAGE - below(140);
	case 3: return (uint64_t)lazy + PAGE * (1 + below(7)) - 1 - below(140);
	case 4: return (uint64_t)lazy + 4 * PAGE - below(3);
	case 5: return (uint64_t)low + below(PAGE - 140);
	default: r = &regions[below(guarded)]; return (uint64_t)r->start + below(r->size);
	}
}

/* Returns an address of size bytes that can be read, or not, or only in part. */
static uint64_t data_address(int size)
{
	const struct region *r = &regions[below(guarded)];

	switch (below(12)) {
	case 0: return unreadable();
	case 1: return (uint64_t)plain_end - below(10);
	case 2: return (uint64_t)lazy + PAGE * (1 + below(7)) - below(8);
	case 3: return (uint64_t)r->start - below(2);
	default: return (uint64_t)r->start + below(r->size - size + 1);
	}
}

static void new_memory(void)
{
	for (char *p = plain; p < plain_end; p++)
		*p = below(30) ? random_bits() : 0;
	for (size_t i = 0; i < PAGE; i++)
		low[i] = below(50) ? 'a' + below(26) : 0;
	for (int i = 0; i < 4; i++)
		check_global[i] = random_bits();
	for (int i = 0; i < TABLE; i++)
		table[i] = (const char *)string_address();
	if (below(2)) {
		memset(plain_end - 140, 'e', 139);
		plain_end[-1] = below(2) ? 0 : 'e';
	}
}

/* ---- operands ---- */

static uint64_t registers[17];

static const char *const names[17][4] = {
	/* names for 8, 4, 2 and 1 bytes */
	{ "rax", "eax", "ax", "al" },
	{ "rcx", "ecx", "cx", "cl" },
	{ "rdx", "edx", "dx", "dl" },
	{ "rbx", "ebx", "bx", "bl" },
	{ "rsp", "esp", "sp", "spl" },
	{ "rbp", "ebp", "bp", "bpl" },
	{ "rsi", "esi", "si", "sil" },
	{ "rdi", "edi", "di", "dil" },
	{ "r8", "r8d", "r8w", "r8b" },
	{ "r9", "r9d", "r9w", "r9b" },
	{ "r10", "r10d", "r10w", "r10b" },
	{ "r11", "r11d", "r11w", "r11b" },
	{ "r12", "r12d", "r12w", "r12b" },
	{ "r13", "r13d", "r13w", "r13b" },
	{ "r14", "r14d", "r14w", "r14b" },
	{ "r15", "r15d", "r15w", "r15b" },
	{ "rip" },
};

struct truth {
	char text[200];
	char class; /* of the signature; 0: no signature */
	int size;
	bool is_signed; /* by the operand */
	bool in_memory;
	uint64_t value; /* or the address */
	enum pp_kind kind;
};

static void new_registers(void)
{
	for (int i = 0; i < 16; i++)
		switch (below(4)) {
		case 0: registers[i] = random_bits(); break;
		case 1: registers[i] = (int64_t)below(2000) - 1000; break;
		case 2: registers[i] = data_address(8); break;
		case 3: registers[i] = string_address(); break;
		}
	registers[4] = hit_canonical(registers[4]);
	registers[16] = (uint64_t)hit_here;
}

static int width_index(int size)
{
	return size == 8 ? 0 : size == 4 ? 1 : size == 2 ? 2 : 3;
}

/* Writes a number in one of the forms of compilers and people. */
static int put_number(char *to, int64_t number)
{
	int part = (int)below(200) - 100;

	switch (below(4)) {
	case 0:
		return sprintf(to, "%s0x%" PRIx64, number < 0 ? "-" : "",
		               number < 0 ? -(uint64_t)number : (uint64_t)number);
	case 1: return sprintf(to, "%" PRId64 "%+d", (int64_t)((uint64_t)number - part), part);
	case 2: return sprintf(to, "%d%+" PRId64, part, (int64_t)((uint64_t)number - part));
	default: return sprintf(to, "%" PRId64, number);
	}
}

static void memory_operand(struct truth *t, uint64_t address)
{
	int base = below(16), index = below(15), scale = 1 << below(4),
	    n = sprintf(t->text, "%s%d@", t->is_signed ? "-" : "", t->size);
	uint64_t at = 0;

	if (index >= 4)
		index++; /* never the stack pointer */
	t->in_memory = true;
	t->value = address;
	switch (below(8)) {
	case 0: n += put_number(t->text + n, address); return;
	case 1: /* no base */
		n += put_number(t->text + n, address - registers[index] * scale);
		sprintf(t->text + n, "(,%%%s,%d)", names[index][0], scale);
		return;
	case 2: /* a global */
		at = below(sizeof(check_global) - t->size + 1);
		t->value = (uint64_t)check_global + at;
		if (!at)
			sprintf(t->text + n, "check_global(%%rip)");
		else
			sprintf(t->text + n, below(3) ? "%" PRIu64 "+check_global(%%rip)" : "check_global+%" PRIu64,
			        at);
		return;
	case 3: /* no displacement: the address is the sum of the registers */
		t->value = registers[base];
		if (below(2)) {
			t->value += registers[index] * scale;
			sprintf(t->text + n, "(%%%s,%%%s,%d)", names[base][0], names[index][0], scale);
		} else {
			sprintf(t->text + n, "(%%%s)", names[base][0]);
		}
		return;
	case 4:
	case 5:
		n += put_number(t->text + n, address - registers[base]);
		sprintf(t->text + n, "(%%%s)", names[base][0]);
		return;
	default:
		n += put_number(t->text + n, address - registers[base] - registers[index] * scale);
		if (scale == 1 && below(2))
			sprintf(t->text + n, "(%%%s,%%%s)", names[base][0], names[index][0]);
		else
			sprintf(t->text + n, "(%%%s,%%%s,%d)", names[base][0], names[index][0], scale);
	}
}

static void register_operand(struct truth *t, int reg, int width)
{
	t->value = registers[reg];
	sprintf(t->text, "%s%d@%%%s", t->is_signed ? "-" : "", t->size, names[reg][width]);
}

static void high_byte(struct truth *t)
{
	int reg = below(4);

	t->size = 1;
	t->value = registers[reg] >> 8;
	sprintf(t->text, "%s1@%%%ch", t->is_signed ? "-" : "", "acdb"[reg]);
}

static enum pp_kind kind_of(const struct truth *t)
{
	switch (t->class) {
	case 'i': return PP_SIGNED;
	case 'u': return PP_UNSIGNED;
	case 'p': return PP_POINTER;
	case 'b': return PP_BOOL;
	case 'c': return PP_CHAR;
	case 's': return PP_STRING;
	case 'f': return PP_FLOAT;
	default: return t->is_signed ? PP_SIGNED : PP_UNSIGNED;
	}
}

static void new_operand(struct truth *t)
{
	static const int sizes[] = { 1, 2, 4, 8 };
	int reg = below(17), width;

	memset(t, 0, sizeof(*t));
	t->size = sizes[below(4)];
	t->is_signed = below(2);
	width = width_index(t->size);
	if (below(4) == 0)
		t->class = "iupbc"[below(5)];
	if (below(3) == 0) {
		t->class = 's';
		t->size = below(6) ? 8 : 4;
		t->is_signed = below(4) == 0;
		width = width_index(t->size);
		if (below(3)) {
			memory_operand(t, (uint64_t)&table[below(TABLE)]);
		} else {
			register_operand(t, reg == 16 ? 0 : reg, width);
		}
	} else if (below(2)) {
		memory_operand(t, data_address(t->size));
		if (t->size >= 4 && below(8) == 0)
			t->class = 'f';
	} else if (below(8) == 0) {
		high_byte(t);
	} else if (below(6) == 0) {
		int n = sprintf(t->text, "%s%d@$", t->is_signed ? "-" : "", t->size);

		t->value = below(2) ? random_bits() : (uint64_t)((int64_t)below(600) - 300);
		put_number(t->text + n, t->value);
	} else {
		if (reg == 16)
			t->size = 8;
		/* sometimes a name that is wider than the operand's size */
		register_operand(t, reg, reg == 16 ? 0 : below(4) ? width_index(t->size) : 0);
	}
	t->kind = kind_of(t);
}

/* Uses all registers by all their names. */
static void each_register(struct truth *truths, size_t *n, bool is_signed)
{
	*n = 0;
	for (int reg = 0; reg < 16; reg++)
		for (int width = 0; width < 4; width++) {
			struct truth *t = &truths[(*n)++];

			*t = (struct truth){ .size = 8 >> width,
				             .is_signed = is_signed,
				             .kind = is_signed ? PP_SIGNED : PP_UNSIGNED };
			register_operand(t, reg, width);
		}
}

/* ---- expected values ---- */

static uint64_t extended(const struct truth *t, uint64_t bits)
{
	bool is_signed = t->kind == PP_SIGNED || (t->kind == PP_CHAR && t->is_signed);

	switch (t->size) {
	case 1: return is_signed ? (uint64_t)(int8_t)bits : (uint8_t)bits;
	case 2: return is_signed ? (uint64_t)(int16_t)bits : (uint16_t)bits;
	case 4: return is_signed ? (uint64_t)(int32_t)bits : (uint32_t)bits;
	default: return bits;
	}
}

/* Returns false if reading faults. */
static bool true_value(const struct truth *t, uint64_t *value)
{
	unsigned char bytes[8] = { 0 };

	*value = t->value;
	for (int i = 0; t->in_memory && i < t->size; i++)
		if (!byte_at(t->value + i, (char *)&bytes[i]))
			return false;
	if (t->in_memory)
		memcpy(value, bytes, sizeof(bytes));
	*value = extended(t, *value);
	return true;
}

static bool true_string(uint64_t address, char text[128], size_t *length, bool *cut)
{
	for (*length = 0; *length <= 128; ++*length) {
		char byte;

		if (!byte_at(address + *length, &byte))
			return false;
		if (!byte)
			break;
		if (*length < 128)
			text[*length] = byte;
	}
	*cut = *length >= 128;
	if (*cut)
		*length = 127;
	return true;
}

static void compare(const struct truth *t, const struct pp_event *event, size_t i)
{
	enum pp_kind kind = pp_event_arg_kind(event, i);
	uint64_t value;
	char text[128];
	size_t length, got_length;
	bool readable = true_value(t, &value), cut, got_cut;

	if (readable && t->kind == PP_STRING)
		readable = true_string(value, text, &length, &cut);
	if (!readable) {
		ck_assert_msg(kind == PP_FAULT, "seed %" PRIu64 ": %s (%c): no fault", seed, t->text, t->class);
		return;
	}
	ck_assert_msg(kind == t->kind, "seed %" PRIu64 ": %s (%c): kind %d, not %d; at 0x%" PRIx64, seed, t->text,
	              t->class, kind, t->kind, value);
	if (kind == PP_STRING) {
		const char *got = pp_event_arg_string(event, i, &got_length, &got_cut);

		ck_assert_msg(got_length == length && got_cut == cut && !memcmp(got, text, length) && !got[length],
		              "seed %" PRIu64 ": %s: \"%s\" of %zu, not \"%.*s\" of %zu", seed, t->text, got,
		              got_length, (int)length, text, length);
	} else if (kind == PP_FLOAT) {
		double number = pp_event_arg_float(event, i);
		double wanted;
		float single;

		memcpy(&wanted, &value, sizeof(wanted));
		memcpy(&single, &value, sizeof(single));
		if (t->size == 4)
			wanted = single;
		ck_assert_msg(number == wanted || (number != number && wanted != wanted),
		              "seed %" PRIu64 ": %s: %g, not %g", seed, t->text, number, wanted);
	} else {
		ck_assert_msg((uint64_t)pp_event_arg_int(event, i) == value,
		              "seed %" PRIu64 ": %s (%c): 0x%" PRIx64 ", not 0x%" PRIx64, seed, t->text, t->class,
		              (uint64_t)pp_event_arg_int(event, i), value);
	}
}

/* ---- points ---- */

struct site {
	struct truth truths[SITE_ARGS];
	size_t n;
};

static void compile(const struct site *site, struct fetch_program *program)
{
	struct pp_arg args[SITE_ARGS] = { 0 };
	char operands[SITE_ARGS * 200] = "";
	struct pp_probe probe = hit_probe;
	struct pp_site at = hit_site;

	for (size_t i = 0; i < site->n; i++) {
		sprintf(operands + strlen(operands), "%s%s", i ? " " : "", site->truths[i].text);
		args[i].class = site->truths[i].class;
	}
	probe.args = args;
	probe.nargs = site->n;
	at.probe = &probe;
	at.operands = operands;
	ck_assert_msg(!fetch_compile(&at, program), "seed %" PRIu64 ": \"%s\": %s", seed, operands, pp_error());
	ck_assert_uint_eq(program->nargs, site->n);
}

static void hit_and_compare(struct armed *a, const struct site *sites, const struct fetch_program *programs, size_t n)
{
	static union {
		struct record record;
		char room[RECORD_SIZE_MAX];
	} wanted;
	struct fetch_machine machine = {
		.registers = registers, .read = hit_read, .pid = getpid(), .tid = getpid(), .comm = ""
	};
	const struct record_thread *thread;
	const struct record *record;
	struct pp_event event;
	bool got[PROGRAMS] = { false };
	size_t size, count = 0;

	drop_pages();
	hit_run(registers);
	for (; backend_kernel.reader_next(a->reader, &thread, &record, &size) > 0; count++) {
		uint32_t i = record->point;

		ck_assert_uint_lt(i, n);
		ck_assert(!got[i]);
		got[i] = true;
		ck_assert_msg(!event_set(&event, a->attachment->manifest, thread, record, size), "%s", pp_error());
		ck_assert_uint_eq(pp_event_args(&event), sites[i].n);
		for (size_t k = 0; k < sites[i].n; k++)
			compare(&sites[i].truths[k], &event, k);
		ck_assert_int_eq(fetch_run(&programs[i], &machine, &wanted.record), 1);
		ck_assert_uint_eq(record_words(record), record_words(&wanted.record));
		ck_assert_uint_eq(record->faults, wanted.record.faults);
		ck_assert_mem_eq(record->value, wanted.record.value, 8 * record_words(record) - sizeof(*record));
	}
	ck_assert_uint_eq(count, n);
}

static void rounds(int n)
{
	static struct site sites[PROGRAMS];
	struct fetch_program programs[PROGRAMS];

	hit_open();
	map_all();
	for (int round = 0; round < n; round++) {
		struct armed a;

		new_memory();
		new_registers();
		for (int i = 0; i < PROGRAMS; i++) {
			sites[i].n = below(SITE_ARGS + 1);
			for (size_t k = 0; k < sites[i].n; k++)
				new_operand(&sites[i].truths[k]);
			compile(&sites[i], &programs[i]);
		}
		arm_programs(&a, programs, PROGRAMS);
		for (int hit = 0; hit < HITS; hit++) {
			new_memory();
			hit_and_compare(&a, sites, programs, PROGRAMS);
		}
		disarm_programs(&a);
		for (int i = 0; i < PROGRAMS; i++)
			fetch_release(&programs[i]);
	}
}

START_TEST(random_operands)
{
	rounds(getenv("PROBEPOINT_LONG") ? 1000 : 40);
}
END_TEST

START_TEST(random_operands_without_multi)
{
	setenv("PROBEPOINT_NO_UPROBE_MULTI", "1", 1);
	rounds(getenv("PROBEPOINT_LONG") ? 20 : 2);
}
END_TEST

START_TEST(registers_by_name)
{
	struct truth truths[64];
	struct site sites[6];
	struct fetch_program programs[6];
	struct armed a;
	size_t n;

	hit_open();
	map_all();
	for (int i = 0; i < 16; i++)
		registers[i] = random_bits();
	registers[16] = (uint64_t)hit_here;
	each_register(truths, &n, _i);
	for (size_t from = 0, i = 0; from < n; i++) {
		for (sites[i].n = 0; sites[i].n < SITE_ARGS && from < n; from++)
			sites[i].truths[sites[i].n++] = truths[from];
		compile(&sites[i], &programs[i]);
	}
	arm_programs(&a, programs, 6);
	hit_and_compare(&a, sites, programs, 6);
	disarm_programs(&a);
	for (int i = 0; i < 6; i++)
		fetch_release(&programs[i]);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("kernel");
	TCase *tc = tcase_create("kernel");
	SRunner *runner = srunner_create(suite);
	int failed = need_kernel();

	if (failed)
		return failed;
	seed_set();
	tcase_set_timeout(tc, 3600);
	tcase_add_loop_test(tc, registers_by_name, 0, 2);
	if (SHADOWED) {
		puts("skipped: random operands: the sanitizer's shadow lies where nothing should be readable");
	} else {
		tcase_add_test(tc, random_operands);
		tcase_add_test(tc, random_operands_without_multi);
	}
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
