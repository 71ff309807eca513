/* SPDX-License-Identifier: MIT */
/*
 * Random fetch programs, and memory for them to read. The suite defines PROGRAM_REGISTERS,
 * the number of registers, before it includes this file, and afterwards the functions that
 * are declared below: they choose addresses to read from.
 */
#ifndef TESTS_UNIT_PROGRAMS_H
#define TESTS_UNIT_PROGRAMS_H

#include <check.h>
#include <probepoint.h>
#include <string.h>

#include "runtime/fetch/program.h"
#include "base/error.h"
#include "tests/unit/random.h"

struct maker {
	struct fetch_program p;
	struct fetch_step steps[2048];
	struct fetch_literal literals[64];
	struct fetch_aggregate aggregate;
	unsigned depth, budget;
	bool predicate;
};

/* Whether programs may have aggregates and use FETCH_CPU. */
static bool makes_aggregates;
/* Whether the programs belong to ends of calls, and how many arguments of the begin they use. */
static bool makes_ends;
static unsigned nentries = FETCH_ENTRY_MAX;

static uint64_t some_address(void);
/* Pushes a register whose value may be one of these addresses, or close to one. */
static void near_register(struct maker *m);

/* ---- memory ---- */

/* Words for memory and for literals, so that they often match. Words and pages end at all positions. */
static const char
	*const words[] = { "",
	                   "a",
	                   "ab",
	                   "abc",
	                   "abcdefg",
	                   "abcdefgh",
	                   "abcdefghi",
	                   "GET",
	                   "GET /index",
	                   "\xc3\xa4\xff",
	                   "0123456789012345678901234567890123456789012345678901234567890123" /* FETCH_LITERAL_MAX */ };
#define NWORDS (sizeof(words) / sizeof(*words))

static void fill(char *at, size_t n)
{
	for (size_t i = 0; i < n;) {
		const char *word = words[below(NWORDS)];
		size_t length = strlen(word) + (below(4) != 0);

		if (below(8) == 0) {
			at[i++] = random_bits();
			continue;
		}
		if (length > n - i)
			length = n - i;
		memcpy(at + i, word, length);
		i += length;
	}
	if (below(2)) {
		memset(at + n - 200, 'x', 200 - below(3)); /* long ones at the end */
	} else if (below(2)) {
		const char *word = words[below(NWORDS)];
		size_t length = strlen(word) + below(2);

		memcpy(at + n - length, word, length);
	}
}

static uint64_t interesting(void)
{
	static const uint64_t some[] = { 0,
		                         1,
		                         2,
		                         7,
		                         8,
		                         63,
		                         64,
		                         65,
		                         255,
		                         256,
		                         32767,
		                         32768,
		                         65535,
		                         INT32_MAX,
		                         1ull << 31,
		                         UINT32_MAX,
		                         1ull << 32,
		                         INT64_MAX,
		                         1ull << 63,
		                         UINT64_MAX,
		                         UINT64_MAX - 1,
		                         -128,
		                         -(1ll << 31),
		                         -(1ll << 31) - 1 };

	switch (below(4)) {
	case 0: return some[below(sizeof(some) / sizeof(*some))];
	case 1: return below(100);
	case 2: return -(uint64_t)below(100);
	default: return random_bits() >> below(64);
	}
}

/* ---- programs ---- */

static void step(struct maker *m, int op, int a, int b, int c, int64_t value)
{
	m->steps[m->p.nsteps++] = (struct fetch_step){ op, a, b, c, value };
	m->depth += fetch_effect(op);
}

static void address_expression(struct maker *m)
{
	if (below(3) == 0 || m->depth + 2 > FETCH_DEPTH_MAX)
		step(m, FETCH_IMM, 0, 0, 0, some_address());
	else
		near_register(m);
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
		switch (below(3)) {
		case 0: step(m, FETCH_STREQ, literal(m), 0, 0, 0); break;
		case 1: step(m, FETCH_PREFIX, literal(m), 0, 0, 0); break;
		default: step(m, FETCH_SEARCH, literal(m), 0, below(2), 0);
		}
	}
}

static void leaf(struct maker *m)
{
	if (makes_ends && !below(4)) {
		if (nentries && below(4))
			step(m, FETCH_ENTRY, below(nentries), 0, 0, 0);
		else
			step(m, FETCH_DURATION, 0, 0, 0, 0);
		return;
	}
	switch (below(m->predicate ? 7 : 5)) {
	case 0: step(m, FETCH_IMM, 0, 0, 0, interesting()); break;
	case 1: step(m, FETCH_REG, below(PROGRAM_REGISTERS), 0, 0, 0); break;
	case 2:
	case 3:
		address_expression(m);
		step(m, FETCH_LOAD, 1 << below(4), 0, below(2), 0);
		break;
	case 4:
		step(m, makes_aggregates && !below(3) ? FETCH_CPU : below(2) ? FETCH_PID : FETCH_TID, 0, 0, 0, 0);
		break;
	default: comparison(m);
	}
}

/*
 * Pushes one value. It is never an address: only address_expression() pushes addresses, because memory that changes is
 * not read.
 */
static void expression(struct maker *m)
{
	int s = 1 << below(4), jump;

	if (!m->budget || m->depth + 3 >= FETCH_DEPTH_MAX) {
		leaf(m);
		return;
	}
	m->budget--;
	switch (below(8)) {
	case 0:
	case 1: leaf(m); break;
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

/* The length of a string: often a small one, sometimes of more than a string has, rarely a negative one. */
static void length_expression(struct maker *m)
{
	switch (below(4)) {
	case 0: step(m, FETCH_IMM, 0, 0, 0, interesting()); break;
	case 1: step(m, FETCH_REG, below(PROGRAM_REGISTERS), 0, 0, 0); break;
	default: step(m, FETCH_IMM, 0, 0, 0, below(300)); break;
	}
}

/* How many bytes the strings of a program have at most: mostly the default. */
static int some_string_max(void)
{
	switch (below(4)) {
	case 0: return 1 + below(RECORD_STRING_MAX);
	case 1: return 1 + below(300);
	default: return RECORD_STRING_DEFAULT;
	}
}

static void make_part(struct maker *m, unsigned i)
{
	m->aggregate.parts[i].kind = PP_STRING;
	switch (below(4)) {
	case 0: step(m, FETCH_KEYCOMM, i, 0, 0, 0); break;
	case 1:
		address_expression(m);
		step(m, FETCH_KEYSTR, i, 0, 0, 0);
		break;
	default:
		m->budget = below(5);
		expression(m);
		step(m, FETCH_KEY, i, 0, 0, 0);
		m->aggregate.parts[i].kind = PP_SIGNED;
	}
}

static void make_column(struct maker *m, unsigned i)
{
	struct agg_column *column = &m->aggregate.columns[i];

	do {
		*column = (struct agg_column){ .histogram = below(4), .is_unsigned = below(2) };
		if (column->histogram == AGG_LINEAR) {
			column->low = (int64_t)interesting();
			column->step = 1 + below(1000);
			/* It may wrap: then the column is not valid. */
			column->high =
				(int64_t)((uint64_t)column->low + (uint64_t)column->step * below(AGG_LINEAR_MAX));
		}
	} while (!agg_column_is_valid(column));
	if (below(4)) {
		m->budget = below(8);
		expression(m);
	} else {
		step(m, FETCH_IMM, 0, 0, 0, 0);
	}
	step(m, FETCH_AGG, i, 0, 0, 0);
}

static void make_aggregate(struct maker *m)
{
	m->aggregate.nparts = below(AGG_PARTS_MAX + 1);
	m->aggregate.ncolumns = 1 + below(below(4) ? 3 : AGG_COLUMNS_MAX);
	m->predicate = true;
	for (unsigned i = 0; i < m->aggregate.nparts; i++)
		make_part(m, i);
	for (unsigned i = 0; i < m->aggregate.ncolumns; i++)
		make_column(m, i);
	m->p.naggregate = m->p.nsteps - m->p.npredicate;
	m->p.aggregate = &m->aggregate;
}

static void program_finish(struct maker *m, struct fetch_program *program, uint8_t *depths)
{
	*program = m->p;
	program->steps = m->steps;
	program->literals = m->literals;
	ck_assert_msg(!fetch_check(program, PROGRAM_REGISTERS, depths), "seed %llu: %s", (unsigned long long)seed,
	              pp_error());
}

/* A new one; its steps and literals are the maker's. depths: one for each of its steps. */
static inline void make_program(struct maker *m, struct fetch_program *program, uint8_t *depths)
{
	unsigned nstrings = 0;
	int string_max = some_string_max();

	memset(m, 0, sizeof(*m));
	m->p.role = makes_ends ? SITE_LEAVE : SITE_HIT;
	if (below(3)) {
		m->predicate = true;
		m->budget = below(24);
		expression(m);
		step(m, FETCH_TEST, 0, 0, 0, 0);
		m->p.npredicate = m->p.nsteps;
	}
	if (makes_aggregates)
		make_aggregate(m);
	m->predicate = false;
	m->p.nargs = below(4) ? below(6) : below(RECORD_ARGS_MAX + 1);
	for (size_t i = 0; i < m->p.nargs; i++) {
		m->p.size[i] = 8;
		if (below(3) == 0 && nstrings < RECORD_STRINGS_MAX) {
			nstrings++;
			address_expression(m);
			if (below(3) == 0)
				length_expression(m);
			step(m, m->depth == 2 ? FETCH_STRINGN : FETCH_STRING, i, 0, 0, string_max);
			m->p.kind[i] = PP_STRING;
		} else {
			m->budget = below(4);
			expression(m);
			step(m, FETCH_ARG, i, 0, 0, 0);
			m->p.kind[i] = PP_UNSIGNED;
		}
	}
	program_finish(m, program, depths);
}

static inline void *copy_of(const void *from, size_t size)
{
	void *copy = malloc(size + 1);

	ck_assert_ptr_nonnull(copy);
	return memcpy(copy, from ? from : "", from ? size : 0);
}

/*
 * Returns another constant for step i. Addresses stay in known memory, because the interpreter cannot read some mappings
 * that the kernel can, such as [vvar].
 */
static int64_t other_constant(const struct fetch_program *p, size_t i)
{
	uint8_t next = i + 1 < p->nsteps ? p->steps[i + 1].op : FETCH_OPCODES;
	int64_t value = p->steps[i].value;

	if (next == FETCH_ADD)
		return (int64_t)((uint64_t)value + below(32));
	if (next == FETCH_LOAD || next == FETCH_STRING || value >> 32 == (int64_t)(some_address() >> 32))
		return (int64_t)some_address();
	return (int64_t)interesting();
}

/*
 * Makes a program of the same shape with other constants, and, if all parts of the program allow it, with other registers. It has its
 * own steps and literals.
 */
static inline void make_alike(const struct fetch_program *from, struct fetch_program *program)
{
	*program = *from;
	program->steps = copy_of(from->steps, from->nsteps * sizeof(*from->steps));
	program->literals = copy_of(from->literals, from->nliterals * sizeof(*from->literals));
	if (from->aggregate) {
		program->aggregate = copy_of(from->aggregate, sizeof(*from->aggregate));
		program->aggregate->text = from->aggregate->text ? strdup(from->aggregate->text) : NULL;
	}
	for (size_t i = 0; i < program->nsteps; i++)
		if (program->steps[i].op == FETCH_IMM && below(3))
			program->steps[i].value = other_constant(from, i);
	for (size_t i = 0; i < program->nsteps && !from->npredicate && !from->naggregate; i++)
		if (program->steps[i].op == FETCH_REG && below(2))
			program->steps[i].a = below(PROGRAM_REGISTERS);
	ck_assert_int_eq(fetch_compare_shape(from, program, !from->npredicate && !from->naggregate), 0);
}

/* ---- calls ---- */

/* Appends a key: a value or the hash of a string. */
static void make_key(struct maker *m)
{
	size_t from = m->p.nsteps;

	m->predicate = false;
	m->budget = below(4);
	if (below(2)) {
		address_expression(m);
		step(m, FETCH_HASH, 0, 0, 0, 0);
	} else {
		expression(m);
	}
	m->p.nkey = m->p.nsteps - from;
}

/* Makes the program of a begin, which keeps up to FETCH_ENTRY_MAX integers. */
static inline void make_begin(struct maker *m, struct fetch_program *begin, uint8_t *depths, enum site_match match)
{
	memset(m, 0, sizeof(*m));
	m->p.role = SITE_CALL;
	m->p.match = match;
	m->p.nargs = below(FETCH_ENTRY_MAX + 1);
	for (size_t i = 0; i < m->p.nargs; i++) {
		m->budget = below(4);
		expression(m);
		step(m, FETCH_ARG, i, 0, 0, 0);
		m->p.kind[i] = PP_UNSIGNED;
		m->p.size[i] = 8;
	}
	if (match == MATCH_KEY)
		make_key(m);
	program_finish(m, begin, depths);
}

/* Makes the program of its end, mostly with an equal key. */
static inline void make_end(struct maker *m, struct fetch_program *end, uint8_t *depths,
                            const struct fetch_program *begin)
{
	makes_ends = true;
	make_program(m, end, depths);
	makes_ends = false;
	m->p.match = begin->match;
	if (begin->nkey && !below(8)) {
		make_key(m);
	} else if (begin->nkey) {
		m->p.nkey = begin->nkey;
		memcpy(m->steps + m->p.nsteps, begin->steps + begin->nsteps - begin->nkey,
		       begin->nkey * sizeof(*m->steps));
		m->p.nsteps += m->p.nkey;
	}
	program_finish(m, end, depths);
}

/* ---- what differs ---- */

static void show(const struct fetch_program *p, const uint64_t *registers)
{
	static const char *const names[] = {
		"IMM",   "REG",    "EXTEND",  "LOAD",       "ARG",    "STRING", "ADD",      "SUB",   "MUL",
		"DIV",   "MOD",    "AND",     "OR",         "XOR",    "SHL",    "SHR",      "EQ",    "NE",
		"LT",    "LE",     "NOT",     "NEG",        "COM",    "PID",    "TID",      "JZ",    "JNZ",
		"STREQ", "PREFIX", "COMMEQ",  "COMMPREFIX", "CPU",    "HASH",   "DURATION", "ENTRY", "TEST",
		"KEY",   "KEYSTR", "KEYCOMM", "AGG",        "SEARCH", "STRINGN"
	};

	for (size_t i = 0; i < p->nsteps; i++)
		fprintf(stderr, "%3zu %s a %u b %u c %u value %#llx\n", i, names[p->steps[i].op], p->steps[i].a,
		        p->steps[i].b, p->steps[i].c, (unsigned long long)p->steps[i].value);
	fprintf(stderr, "predicate: %zu steps, aggregate: %zu\n", p->npredicate, p->naggregate);
	if (p->aggregate && p->aggregate->text)
		fprintf(stderr, "%s\n", p->aggregate->text);
	for (size_t i = 0; i < p->nliterals; i++)
		fprintf(stderr, "literal %zu: \"%.*s\"\n", i, p->literals[i].length, p->literals[i].bytes);
	for (int i = 0; i < PROGRAM_REGISTERS; i++)
		fprintf(stderr, "r%d %#llx\n", i, (unsigned long long)registers[i]);
}

static inline void show_record(const char *who, const struct record *r)
{
	fprintf(stderr, "%s: words %u faults %#x\n", who, record_words(r), r->faults);
	for (unsigned i = 0; i + 2 < record_words(r); i++)
		fprintf(stderr, "    [%u] %#llx\n", i, (unsigned long long)r->value[i]);
}

#endif
