/* SPDX-License-Identifier: MIT */
/*
 * Random fetch programs, with predicates and without, run by the kernel as BPF and
 * by the reference interpreter at the same hits of this very program: both must
 * filter alike and leave the same record to the last byte.
 */
#include <elf.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#include "runtime/filter.h"
#include "sdt/image.h"
#include "tests/kernel/hit.h"

#define PAGE 4096
#define PROGRAMS 60
#define HITS 6

static char *memory;        /* two pages of bytes, one on each side that cannot be read */
static uint64_t registers[17];

static void map_memory(void)
{
	char *at = mmap(NULL, 4 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	ck_assert_ptr_ne(at, MAP_FAILED);
	memory = at + PAGE;
	ck_assert(!mprotect(memory, 2 * PAGE, PROT_READ | PROT_WRITE));
}

/* Words that literals are made of too, so that they meet; ends of words and of pages in every position. */
static const char *const words[] = { "", "a", "ab", "abc", "abcdefg", "abcdefgh", "abcdefghi", "GET", "GET /index",
	"\xc3\xa4\xff", "0123456789012345678901234567890123456789012345678901234567890123" /* FETCH_LITERAL_MAX */ };
#define NWORDS (sizeof(words) / sizeof(*words))

static void new_memory(void)
{
	for (size_t i = 0; i < 2 * PAGE;) {
		const char *word = words[below(NWORDS)];
		size_t length = strlen(word) + (below(4) != 0);

		if (below(8) == 0) {
			memory[i++] = random_bits();
			continue;
		}
		if (length > 2 * PAGE - i)
			length = 2 * PAGE - i;
		memcpy(memory + i, word, length);
		i += length;
	}
	if (below(2))
		memset(memory + 2 * PAGE - 200, 'x', 200 - below(3)); /* long ones at the end */
	else if (below(2)) {
		const char *word = words[below(NWORDS)];
		size_t length = strlen(word) + below(2);

		memcpy(memory + 2 * PAGE - length, word, length);
	}
}

static uint64_t interesting(void)
{
	static const uint64_t some[] = { 0, 1, 2, 7, 8, 63, 64, 65, 255, 256, 32767, 32768, 65535, INT32_MAX, 1ull << 31,
		UINT32_MAX, 1ull << 32, INT64_MAX, 1ull << 63, UINT64_MAX, UINT64_MAX - 1, -128, -(1ll << 31), -(1ll << 31) - 1 };

	switch (below(4)) {
	case 0: return some[below(sizeof(some) / sizeof(*some))];
	case 1: return below(100);
	case 2: return -(uint64_t)below(100);
	default: return random_bits() >> below(64);
	}
}

static uint64_t some_address(void)
{
	switch (below(12)) {
	case 0: return interesting();
	case 1: return (uint64_t)memory - below(140);
	case 2: return (uint64_t)memory + 2 * PAGE - below(10);
	case 3: return (uint64_t)memory + PAGE - below(140);
	case 4: return (uint64_t)memory + 2 * PAGE - below(200);
	case 5: return (uint64_t)words[below(NWORDS)];
	case 6: return random_bits() | 1ull << 63; /* the kernel's half */
	default: return (uint64_t)memory + below(2 * PAGE);
	}
}

static void new_registers(void)
{
	for (int i = 0; i < 16; i++)
		registers[i] = below(2) ? some_address() : interesting();
	registers[16] = (uint64_t)hit_here;
}

/* ---- programs ---- */

struct maker {
	struct fetch_program p;
	struct fetch_step steps[2048];
	struct fetch_literal literals[64];
	unsigned depth, budget;
	bool predicate;
};

static void step(struct maker *m, int op, int a, int b, int c, int64_t value)
{
	m->steps[m->p.nsteps++] = (struct fetch_step){ op, a, b, c, value };
	m->depth += fetch_effect(op);
}

static int size(void)
{
	return 1 << below(4);
}

static void expression(struct maker *m);

static void address_expression(struct maker *m)
{
	if (below(3) == 0 || m->depth + 2 > FETCH_DEPTH_MAX) {
		step(m, FETCH_IMM, 0, 0, 0, some_address());
		return;
	}
	step(m, FETCH_REG, below(17), 0, 0, 0);
	if (below(2)) {
		step(m, FETCH_IMM, 0, 0, 0, (int64_t)below(64) - 32);
		step(m, FETCH_ADD, 0, 0, 0, 0);
	}
}

static int literal(struct maker *m)
{
	struct fetch_literal *l = &m->literals[m->p.nliterals];
	const char *word = words[below(NWORDS)];

	l->length = strlen(word);
	memcpy(l->bytes, word, l->length);
	if (l->length && below(4) == 0)
		l->length = below(l->length + 1);
	if (l->length && below(12) == 0)
		l->bytes[below(l->length)] ^= 1 << below(8);
	return m->p.nliterals++;
}

static void comparison(struct maker *m)
{
	if (m->p.nliterals == 64) {
		step(m, FETCH_PID, 0, 0, 0, 0);
	} else if (below(3) == 0) {
		step(m, below(2) ? FETCH_COMMEQ : FETCH_COMMPREFIX, literal(m), 0, 0, 0);
	} else {
		address_expression(m);
		step(m, below(2) ? FETCH_STREQ : FETCH_PREFIX, literal(m), 0, 0, 0);
	}
}

static void leaf(struct maker *m)
{
	switch (below(m->predicate ? 7 : 4)) {
	case 0:
		step(m, FETCH_IMM, 0, 0, 0, interesting());
		break;
	case 1:
		step(m, FETCH_REG, below(17), 0, 0, 0);
		break;
	case 2:
	case 3:
		address_expression(m);
		step(m, FETCH_LOAD, size(), 0, below(2), 0);
		break;
	case 4:
		step(m, below(2) ? FETCH_PID : FETCH_TID, 0, 0, 0, 0);
		break;
	default:
		comparison(m);
	}
}

/* Pushes one value. */
static void expression(struct maker *m)
{
	int s = size(), jump;

	if (!m->budget || m->depth + 3 >= FETCH_DEPTH_MAX) {
		leaf(m);
		return;
	}
	m->budget--;
	switch (below(8)) {
	case 0:
	case 1:
		leaf(m);
		break;
	case 2:
		expression(m);
		step(m, FETCH_EXTEND, s, below(64 - 8 * s + 1), below(2), 0);
		break;
	case 3:
		expression(m);
		step(m, FETCH_NOT + below(3), 0, 0, below(2), 0);
		break;
	case 4:
		if (m->predicate) {
			expression(m);
			jump = m->p.nsteps;
			step(m, below(2) ? FETCH_JZ : FETCH_JNZ, 0, 0, 0, 0);
			expression(m);
			m->steps[jump].value = m->p.nsteps;
			break;
		}
		/* fall through */
	default:
		expression(m);
		expression(m);
		step(m, FETCH_ADD + below(FETCH_LE - FETCH_ADD + 1), 0, 0, below(2), 0);
	}
}

static void make(struct maker *m, struct fetch_program *program)
{
	uint8_t depths[2048];
	unsigned nstrings = 0;

	memset(m, 0, sizeof(*m));
	if (below(3)) {
		m->predicate = true;
		m->budget = below(24);
		expression(m);
		step(m, FETCH_TEST, 0, 0, 0, 0);
		m->p.npredicate = m->p.nsteps;
	}
	m->predicate = false;
	m->p.nargs = below(4) ? below(6) : below(RECORD_ARGS_MAX + 1);
	for (size_t i = 0; i < m->p.nargs; i++) {
		m->p.size[i] = 8;
		if (below(3) == 0 && nstrings < RECORD_STRINGS_MAX) {
			nstrings++;
			address_expression(m);
			step(m, FETCH_STRING, i, 0, 0, 0);
			m->p.kind[i] = PP_STRING;
		} else {
			m->budget = below(4);
			expression(m);
			step(m, FETCH_ARG, i, 0, 0, 0);
			m->p.kind[i] = PP_UNSIGNED;
		}
	}
	*program = m->p;
	program->steps = malloc((m->p.nsteps + 1) * sizeof(*m->steps));
	memcpy(program->steps, m->steps, m->p.nsteps * sizeof(*m->steps));
	program->literals = malloc(sizeof(m->literals));
	memcpy(program->literals, m->literals, sizeof(m->literals));
	ck_assert_msg(!fetch_check(program, 17, depths), "seed %llu: %s", (unsigned long long)seed, pp_error());
}

static void show(const struct fetch_program *p)
{
	static const char *const names[] = { "IMM", "REG", "EXTEND", "LOAD", "ARG", "STRING", "ADD", "SUB", "MUL", "DIV",
		"MOD", "AND", "OR", "XOR", "SHL", "SHR", "EQ", "NE", "LT", "LE", "NOT", "NEG", "COM", "PID", "TID", "JZ", "JNZ",
		"STREQ", "PREFIX", "COMMEQ", "COMMPREFIX", "TEST" };

	for (size_t i = 0; i < p->nsteps; i++)
		fprintf(stderr, "%3zu %s a %u b %u c %u value %#llx\n", i, names[p->steps[i].op], p->steps[i].a, p->steps[i].b,
		        p->steps[i].c, (unsigned long long)p->steps[i].value);
	for (size_t i = 0; i < p->nliterals; i++)
		fprintf(stderr, "literal %zu: \"%.*s\"\n", i, p->literals[i].length, p->literals[i].bytes);
	for (int i = 0; i < 17; i++)
		fprintf(stderr, "r%d %#llx\n", i, (unsigned long long)registers[i]);
}

static void show_record(const char *who, const struct record *r)
{
	fprintf(stderr, "%s: words %u faults %#x\n", who, r->words, r->faults);
	for (unsigned i = 0; i + 2 < r->words; i++)
		fprintf(stderr, "    [%u] %#llx\n", i, (unsigned long long)r->value[i]);
}

static union {
	struct record record;
	char room[RECORD_SIZE_MAX];
} wanted[PROGRAMS];

static void one_hit(struct armed *a, const struct fetch_program *programs, struct pp_counts *expected)
{
	struct fetch_machine machine = { .registers = registers, .read = hit_read, .pid = getpid(), .tid = getpid() };
	bool recorded[PROGRAMS] = { false }, got[PROGRAMS] = { false };
	const struct record_thread *thread;
	const struct record *record;
	char comm[16];
	size_t size;

	strcpy(comm, words[below(9)]);
	prctl(PR_SET_NAME, comm);
	machine.comm = comm;
	new_memory();
	new_registers();
	hit_run(registers);
	for (int i = 0; i < PROGRAMS; i++) {
		recorded[i] = fetch_run(&programs[i], &machine, &wanted[i].record);
		expected[i].hits++;
		if (recorded[i])
			expected[i].recorded++;
		else
			expected[i].filtered++;
	}
	while (backend_kernel.reader_next(a->reader, 0, &thread, &record, &size) > 0) {
		const struct record *w;
		uint32_t i = record->point;

		ck_assert_uint_lt(i, PROGRAMS);
		ck_assert(!got[i]);
		got[i] = true;
		w = &wanted[i].record;
		if (!recorded[i] || record->words != w->words || record->faults != w->faults || size != 8u * w->words ||
		    memcmp(record->value, w->value, 8 * w->words - sizeof(*w))) {
			show(&programs[i]);
			if (recorded[i])
				show_record("interpreter", w);
			show_record("kernel", record);
			ck_abort_msg("seed %llu: interpreter and kernel differ", (unsigned long long)seed);
		}
		ck_assert_uint_eq(thread->pid, getpid());
		ck_assert_uint_eq(thread->tid, gettid());
		ck_assert_str_eq(thread->comm, comm);
	}
	for (int i = 0; i < PROGRAMS; i++)
		if (recorded[i] != got[i]) {
			show(&programs[i]);
			ck_abort_msg("seed %llu: the interpreter %s, and the kernel does not", (unsigned long long)seed,
			             recorded[i] ? "records" : "filters");
		}
}

START_TEST(as_interpreted)
{
	static struct fetch_program programs[PROGRAMS];
	static struct maker maker;
	int rounds = getenv("PROBEPOINT_LONG") ? 1000 : 60;
	long kept = 0, all = 0;

	hit_open();
	map_memory();
	for (int round = 0; round < rounds; round++) {
		struct pp_counts expected[PROGRAMS] = { 0 };
		struct armed a;

		for (int i = 0; i < PROGRAMS; i++)
			make(&maker, &programs[i]);
		arm_programs(&a, programs, PROGRAMS);
		for (int hit = 0; hit < HITS; hit++)
			one_hit(&a, programs, expected);
		for (int i = 0; i < PROGRAMS; i++) {
			struct pp_counts counts;

			backend_kernel.counts(a.segment, i, &counts);
			ck_assert_uint_eq(counts.hits, HITS);
			ck_assert_mem_eq(&counts, &expected[i], sizeof(counts));
			kept += counts.recorded;
			all += counts.hits;
			fetch_release(&programs[i]);
		}
		disarm_programs(&a);
	}
	fprintf(stderr, "%ld of %ld runs recorded\n", kept, all);
	/* Neither always nor never. */
	ck_assert_int_gt(kept, all / 4);
	ck_assert_int_lt(kept, all / 10 * 9);
}
END_TEST

/* ---- filters with fields, as filter_compile() makes them ---- */

static struct pp_field fields[] = {
	{ "b", "signed char", 'i', 0, 0, 3, 1 },   { "h", "unsigned short", 'u', 0, 0, 5, 2 },
	{ "i", "int", 'i', 0, 0, 8, 4 },           { "l", "unsigned long", 'u', 0, 0, 0, 8 },
	{ "s", "const char *", 's', 0, 0, 16, 8 }, { "t", "char [8]", 'x', 0, 0, 24, 8 },
	{ "far", "long", 'i', 5, 60, 33, 9 },      { "bit", "unsigned", 'u', 7, 1, 42, 1 },
	{ "five", "int", 'i', 3, 30, 44, 5 },      { "before", "int", 'i', 0, 0, 0xffffff00, 4 },
};
static struct pp_enumerator states[] = { { "UP", 1 }, { "DOWN", -1 } };
static struct pp_type type = { .name = "struct r", .fields = fields, .nfields = sizeof(fields) / sizeof(*fields) };
static struct pp_type state = { .name = "enum s", .values = states, .nvalues = 2 };
static struct pp_arg filter_args[] = {
	{ "r", "struct r *", 'p', &type }, { "q", "struct r *", 'p', &type }, { "e", "enum s", 'i', &state },
};
static struct pp_image filter_image = { .path = "it", .machine = EM_X86_64, .is_64 = true };
static struct pp_probe filter_probe = { .image = &filter_image, .provider = "it", .name = "here", .args = filter_args,
	                                .nargs = 3 };
static struct pp_site filter_site = { .probe = &filter_probe, .operands = "8@%rdi 8@8(%rsi) -4@%edx" };

static void put_filter(char **to, int depth)
{
	static const char *const integers[] = { "r->b", "r->h", "r->i", "r->l", "q->far", "r->far", "r->bit", "q->five",
		"r->five", "r->before", "q->l", "e", "UP", "DOWN", "pid", "0", "1", "-1", "255", "r", "(r->s == \"ab\")",
		"(r->s =~ \"a*\")", "(q->t == \"abc\")", "(r->t =~ \"G*\")", "(comm == \"a\")" };
	static const char *const operators[] = { "+", "-", "&&", "||", "&&", "||", "<", ">=", "==", "!=", "&", "|", ">>", "%" };

	if (!depth || below(5) == 0) {
		*to += sprintf(*to, "%s", integers[below(sizeof(integers) / sizeof(*integers))]);
		return;
	}
	*to += sprintf(*to, "%s(", below(4) ? "" : "!");
	put_filter(to, depth - 1);
	*to += sprintf(*to, " %s ", operators[below(sizeof(operators) / sizeof(*operators))]);
	put_filter(to, depth - 1);
	*to += sprintf(*to, ")");
}

START_TEST(fields_as_interpreted)
{
	static struct fetch_program programs[PROGRAMS];
	int rounds = getenv("PROBEPOINT_LONG") ? 100000 / PROGRAMS : 25;
	long kept = 0, all = 0;

	hit_open();
	map_memory();
	for (int round = 0; round < rounds; round++) {
		struct pp_counts expected[PROGRAMS] = { 0 };
		struct armed a;

		for (int i = 0; i < PROGRAMS; i++) {
			char text[4096], *end = text;

			put_filter(&end, below(4));
			ck_assert_msg(!fetch_compile(&filter_site, &programs[i]), "%s", pp_error());
			ck_assert_msg(!filter_compile(text, &filter_site, &programs[i]), "%s", pp_error());
		}
		arm_programs(&a, programs, PROGRAMS);
		for (int hit = 0; hit < HITS; hit++)
			one_hit(&a, programs, expected);
		for (int i = 0; i < PROGRAMS; i++) {
			kept += expected[i].recorded;
			all += HITS;
			fetch_release(&programs[i]);
		}
		disarm_programs(&a);
	}
	fprintf(stderr, "%ld of %ld filters let pass\n", kept, all);
	ck_assert_int_gt(kept, all / 10);
	ck_assert_int_lt(kept, all / 10 * 9);
}
END_TEST

/* Strings of every length up to more than is recorded, up to the page's last byte, in memory that held longer ones. */
START_TEST(ends_of_strings)
{
	struct fetch_step steps[] = {
		{ FETCH_REG, 6, 0, 0, 0 }, { FETCH_STRING, 0, 0, 0, 0 }, { FETCH_REG, 7, 0, 0, 0 }, { FETCH_STRING, 1, 0, 0, 0 },
		{ FETCH_REG, 8, 0, 0, 0 }, { FETCH_STRING, 2, 0, 0, 0 }, { FETCH_REG, 9, 0, 0, 0 }, { FETCH_ARG, 3, 0, 0, 0 },
	};
	struct fetch_program program = { .steps = steps, .nsteps = 8, .nargs = 4, .kind = { PP_STRING, PP_STRING, PP_STRING } };
	const struct record_thread *thread;
	const struct record *record;
	struct armed a;
	size_t size;

	hit_open();
	map_memory();
	arm_programs(&a, &program, 1);
	for (unsigned length = 0; length <= 200; length++)
		for (int terminated = 0; terminated < 2; terminated++) {
			char *end = memory + 2 * PAGE, *at = end - length - terminated;
			unsigned stored = length < 128 ? length : 128, words = (stored + 7) / 8;
			bool good = terminated || length > 128;
			char padded[128] = { 0 };

			memset(memory, 'x', 2 * PAGE);
			memory[300] = 0;
			memset(at, 'a', length);
			if (terminated)
				end[-1] = 0;
			memset(padded, 'a', stored);
			registers[6] = registers[7] = registers[8] = (uint64_t)memory;
			registers[9] = 0x5555;
			hit_run(registers);
			ck_assert_int_eq(backend_kernel.reader_next(a.reader, 0, &thread, &record, &size), 1);
			registers[6] = registers[8] = (uint64_t)at;
			hit_run(registers);
			ck_assert_int_eq(backend_kernel.reader_next(a.reader, 0, &thread, &record, &size), 1);
			ck_assert_msg(record->faults == (good ? 0 : 5), "%u bytes%s: faults %#x", length, terminated ? " and NUL" : "",
			              record->faults);
			ck_assert_uint_eq(record->value[0], good ? stored : 0);
			ck_assert_uint_eq(record->value[1], 128);
			ck_assert_uint_eq(record->value[2], good ? stored : 0);
			ck_assert_uint_eq(record->value[3], 0x5555);
			ck_assert_uint_eq(record->words, 2 + 4 + 16 + (good ? 2 * words : 0));
			if (good) {
				ck_assert_mem_eq(&record->value[4], padded, 8 * words);
				ck_assert_mem_eq(&record->value[4 + words + 16], padded, 8 * words);
			}
			for (unsigned i = 0; i < 128; i++)
				ck_assert_int_eq(((char *)&record->value[4 + (good ? words : 0)])[i], 'x');
		}
	disarm_programs(&a);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("emit");
	TCase *tc = tcase_create("emit");
	SRunner *runner = srunner_create(suite);
	int failed = need_kernel();

	if (failed)
		return failed;
	seed_set();
	tcase_set_timeout(tc, 3600);
	tcase_add_test(tc, as_interpreted);
	tcase_add_test(tc, fields_as_interpreted);
	tcase_add_test(tc, ends_of_strings);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
