/* SPDX-License-Identifier: MIT */
/*
 * Compares filters with an evaluator of expression trees. The trees are random. They are evaluated as in C, and then written
 * as text, with the parentheses that C's precedences need or with more.
 */
#include <check.h>
#include <ctype.h>
#include <elf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "runtime/fetch/filter.h"
#include "runtime/fetch/print.h"
#include "sdt/image.h"
#include "tests/unit/interpreter.h"
#include "tests/unit/random.h"

#define EXPRESSIONS 100000

/* ---- a site with an argument of each kind ---- */

#define BASE 0x600000u
#define ROOM 4096

static char memory[ROOM];
static uint64_t registers[17];
static char comm[16];

static int read_memory(void *arg, uint64_t address, void *to, size_t size)
{
	(void)arg;
	memset(to, 0, size);
	if (address < BASE || address - BASE > ROOM - size)
		return -EFAULT;
	memcpy(to, memory + (address - BASE), size);
	return 0;
}

static struct fetch_machine machine = { .registers = registers, .read = read_memory, .comm = comm };

enum { INT, UINT, LONG, ULONG, CHAR, BOOL, SHORT, INDEXED, POINTER, PATH, NAME, FLOAT, REQUEST, STATE, FLAT, ARGS };

/* The fields of the structure that an argument points to. */
static struct pp_field fields[] = {
	{ "s1", "signed char", 'i', 0, 0, 0, 1 },       { "c", "char", 'c', 0, 0, 1, 1 },
	{ "u2", "unsigned short", 'u', 0, 0, 2, 2 },    { "i4", "int", 'i', 0, 0, 4, 4 },
	{ "len", "unsigned long", 'u', 0, 0, 8, 8 },    { "path", "const char *", 's', 0, 0, 16, 8 },
	{ "raw", "void *", 'p', 0, 0, 24, 8 },          { "kind", "unsigned", 'u', 0, 3, 32, 1 },
	{ "more", "int", 'i', 3, 10, 32, 2 },           { "far", "long", 'i', 5, 60, 33, 9 },
	{ "wide", "unsigned long", 'u', 1, 63, 42, 8 }, { "tag", "char [8]", 'x', 0, 0, 50, 8 },
	{ "in", "struct inner", 'x', 0, 0, 58, 8 },     { "w", "double", 'f', 0, 0, 66, 8 },
	{ "all", "unsigned long", 'u', 0, 64, 74, 8 },  { "done", "bool", 'b', 0, 0, 82, 1 },
	{ "five", "long", 'i', 1, 38, 83, 5 },          { "away", "int", 'i', 0, 0, 0xfffffff0, 4 },
};
#define FIELDS (sizeof(fields) / sizeof(*fields))
static struct pp_type request = { .name = "struct request", .size = 90, .fields = fields, .nfields = FIELDS };
static struct pp_enumerator states[] = {
	{ "STOPPED", 0 }, { "RUNNING", 1 }, { "LOST", -3 }, { "FAR", 0x7fffffff }, { "i", 5 },
};
static struct pp_type state_type = { .name = "enum state", .size = 4, .values = states, .nvalues = 5 };

static struct pp_arg args[ARGS] = {
	[INT] = { "i", "int", 'i', NULL, 0 },
	[UINT] = { "u", "unsigned", 'u', NULL, 0 },
	[LONG] = { "l", "long", 'i', NULL, 0 },
	[ULONG] = { "ul", "unsigned long", 'u', NULL, 0 },
	[CHAR] = { "c", "char", 'c', NULL, 0 },
	[BOOL] = { "flag", "bool", 'b', NULL, 0 },
	[SHORT] = { "_s2", "short", 'i', NULL, 0 },
	[INDEXED] = { "x", "unsigned long", 'u', NULL, 0 },
	[POINTER] = { "p", "void *", 'p', NULL, 0 },
	[PATH] = { "path", "const char *", 's', NULL, 0 },
	[NAME] = { "name", "const char *", 's', NULL, 0 },
	[FLOAT] = { "f", "double", 'f', NULL, 0 },
	[REQUEST] = { "req", "const struct request *", 'p', &request, 0 },
	[STATE] = { "state", "enum state", 'i', &state_type, 0 },
	[FLAT] = { "q.x[1]", "long", 'i', NULL, 0 },
};
static struct pp_image image = { .path = "it", .machine = EM_X86_64, .is_64 = true };
static struct pp_probe probe = { .image = &image, .provider = "it", .name = "here", .args = args, .nargs = ARGS };
static struct pp_site site = {
	.probe = &probe,
	.operands = "-4@%eax 4@%ecx -8@%rdx 8@%rbx -1@%sil 1@%dil -2@-16(%rbp) 8@8(%r8,%r9,8) 8@%r10 8@%r11 8@(%r12) "
		    "8@%r13 8@%r14 -4@%r15d -8@%r15",
};
static struct pp_probe untyped_probe = { .image = &image, .provider = "it", .name = "untyped" };
static struct pp_site untyped = { .probe = &untyped_probe, .operands = "-4@%eax 8@%r11 -8@%rdx 8@%r11" };

static struct fetch_program compiled(const struct pp_site *of, const char *expr)
{
	struct fetch_program program;
	uint8_t depths[4096];
	int err;

	ck_assert_msg(!fetch_compile(of, &program), "%s", pp_error());
	err = filter_compile(expr, of, &program);
	ck_assert_msg(!err, "%s\n(seed %llu)", pp_error(), (unsigned long long)seed);
	ck_assert_uint_lt(program.nsteps, sizeof(depths));
	ck_assert_msg(!fetch_check(&program, 17, depths), "%s: %s", expr, pp_error());
	return program;
}

static int passes(const struct pp_site *of, const char *expr)
{
	struct fetch_program program = compiled(of, expr);
	union {
		struct record record;
		char room[RECORD_SIZE_MAX];
	} out;
	int answer = fetch_run(&program, &machine, &out.record);

	fetch_release(&program);
	return answer;
}

/* ---- trees ---- */

enum sort { CONSTANT, ENUMERATOR, ARGUMENT, FIELD, PID, TID, COMPARE_TEXT, UNARY, BINARY };
enum binary { OR, AND, BITOR, XOR, BITAND, EQ, NE, LT, LE, GT, GE, SHL, SHR, ADD, SUB, MUL, DIV, MOD };

static const struct {
	const char *text;
	int binds; /* precedence as in C, higher binds tighter */
} binaries[] = {
	{ "||", 1 }, { "&&", 2 }, { "|", 3 },  { "^", 4 },  { "&", 5 },  { "==", 6 },
	{ "!=", 6 }, { "<", 7 },  { "<=", 7 }, { ">", 7 },  { ">=", 7 }, { "<<", 8 },
	{ ">>", 8 }, { "+", 9 },  { "-", 9 },  { "*", 10 }, { "/", 10 }, { "%", 10 },
};

struct tree {
	enum sort sort;
	int op; /* enum binary, the character of a unary operator, or the number of an argument, field or enumerator */
	uint64_t constant;
	char text[72]; /* the string to compare with */
	bool prefix, negated, reversed, of_comm, of_field;
	struct tree *left, *right;
};

struct c_value {
	uint64_t bits;
	bool is_unsigned, fault;
};

static const uint64_t edges[] = {
	0,
	1,
	2,
	3,
	7,
	8,
	63,
	64,
	65,
	127,
	128,
	255,
	256,
	32767,
	65535,
	0x7fffffff,
	0x80000000,
	0xffffffff,
	0x100000000,
	INT64_MAX,
	0x8000000000000000,
	0xffffffffffffff80,
	0xffffffffffff8000,
	0xffffffff80000000,
	UINT64_MAX - 1,
	UINT64_MAX,
};

static uint64_t number(void)
{
	switch (below(4)) {
	case 0: return random_bits() >> below(64);
	case 1: return below(10);
	default: return edges[below(sizeof(edges) / sizeof(*edges))];
	}
}

static const char *const texts[] = { "",
	                             "a",
	                             "ab",
	                             "abc",
	                             "/api/",
	                             "/api/x",
	                             "/api",
	                             "x\"y\\z*\n\xc3\xa4",
	                             "sh",
	                             "worker-1",
	                             "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef" };

static struct tree *make(int depth)
{
	struct tree *t = calloc(1, sizeof(*t));
	unsigned choice = below(depth > 0 ? 20 : 7);

	if (choice < 3) {
		t->sort = below(3) ? ARGUMENT : below(4) ? FIELD : ENUMERATOR;
		t->op = t->sort == ARGUMENT ? below(POINTER + 3) : t->sort == FIELD ? below(FIELDS) : below(4);
		if (t->sort == ARGUMENT && t->op > POINTER)
			t->op = t->op == POINTER + 1 ? STATE : FLAT;
		while (t->sort == FIELD && strchr("xfs", fields[t->op].class))
			t->op = below(FIELDS);
	} else if (choice < 5) {
		t->sort = CONSTANT;
		t->constant = number();
	} else if (choice < 6) {
		t->sort = below(2) ? PID : TID;
	} else if (choice < 7) {
		t->sort = COMPARE_TEXT;
		t->op = below(2) ? PATH : NAME;
		t->of_comm = below(3) == 0;
		t->of_field = !t->of_comm && below(3) == 0;
		if (t->of_field)
			t->op = below(2) ? 5 : 11; /* path, tag */
		t->prefix = below(2);
		t->negated = !t->prefix && below(2);
		t->reversed = !t->prefix && below(3) == 0;
		do
			strcpy(t->text, texts[below(sizeof(texts) / sizeof(*texts))]);
		while (t->of_comm && strlen(t->text) > 15);
	} else if (choice < 10) {
		t->sort = UNARY;
		t->op = "!~-+"[below(4)];
		t->left = make(depth - 1);
	} else {
		t->sort = BINARY;
		t->op = choice < 13 ? below(2) : below(MOD + 1);
		t->left = make(depth - 1);
		t->right = make(depth - 1);
	}
	return t;
}

static void tree_free(struct tree *t)
{
	if (!t)
		return;
	tree_free(t->left);
	tree_free(t->right);
	free(t);
}

/* ---- the value of a tree in C ---- */

static int64_t load_signed(uint64_t bits, int size)
{
	switch (size) {
	case 1: return (int8_t)bits;
	case 2: return (int16_t)bits;
	default: return (int32_t)bits;
	}
}

static struct c_value eval_argument(int arg)
{
	uint64_t word = 0;

	switch (arg) {
	case INT: return (struct c_value){ load_signed(registers[0], 4), false, false };
	case UINT: return (struct c_value){ (uint32_t)registers[1], false, false };
	case LONG: return (struct c_value){ registers[2], false, false };
	case ULONG: return (struct c_value){ registers[3], true, false };
	case CHAR: return (struct c_value){ load_signed(registers[6], 1), false, false };
	case BOOL: return (struct c_value){ (uint8_t)registers[7], false, false };
	case SHORT: {
		bool fault = read_memory(NULL, registers[5] - 16, &word, 2) != 0;

		return (struct c_value){ load_signed(word, 2), false, fault };
	}
	case INDEXED: {
		bool fault = read_memory(NULL, registers[8] + registers[9] * 8 + 8, &word, 8) != 0;

		return (struct c_value){ word, true, fault };
	}
	case STATE: return (struct c_value){ load_signed(registers[15], 4), false, false };
	case FLAT: return (struct c_value){ registers[15], false, false };
	default: return (struct c_value){ registers[10], true, false };
	}
}

/* Bit by bit. */
static struct c_value eval_field(const struct pp_field *field)
{
	unsigned bits = field->bits ? field->bits : 8 * field->size;
	bool is_signed = strchr("ic", field->class);
	uint64_t value = 0;

	for (unsigned i = 0; i < bits; i++) {
		unsigned at = field->bit + i;
		unsigned char byte;

		if (read_memory(NULL, registers[14] + field->offset + at / 8, &byte, 1))
			return (struct c_value){ .fault = true };
		value |= (uint64_t)(byte >> at % 8 & 1) << i;
	}
	if (is_signed && bits < 64 && value >> (bits - 1))
		value |= UINT64_MAX << bits;
	return (struct c_value){ value, bits == 64 && !is_signed, false };
}

static struct c_value eval_text(const struct tree *t)
{
	uint64_t address = registers[11];
	size_t length = strlen(t->text), wanted = length + (t->prefix ? 1 : 2);
	const char *string = comm;
	bool same;

	if (!t->of_comm) {
		if (t->of_field && t->op == 11)
			address = registers[14] + fields[11].offset;
		else if (t->of_field && read_memory(NULL, registers[14] + fields[5].offset, &address, 8))
			return (struct c_value){ .fault = true };
		else if (!t->of_field && t->op == NAME && read_memory(NULL, registers[12], &address, 8))
			return (struct c_value){ .fault = true };
		if (address < BASE || address >= BASE + ROOM)
			return (struct c_value){ .fault = true };
		string = memory + (address - BASE);
		size_t there = BASE + ROOM - address;

		if (strnlen(string, there) == there && there < wanted)
			return (struct c_value){ .fault = true };
	}
	same = !strncmp(string, t->text, t->prefix ? length : length + 1);
	return (struct c_value){ same != t->negated, false, false };
}

static struct c_value eval(const struct tree *t);

static uint64_t eval_unsigned(enum binary op, uint64_t x, uint64_t y)
{
	switch (op) {
	case LT: return x < y;
	case LE: return x <= y;
	case GT: return x > y;
	case GE: return x >= y;
	case DIV: return y ? x / y : 0;
	case MOD: return y ? x % y : 0;
	case SHR: return x >> y % 64;
	case EQ: return x == y;
	case NE: return x != y;
	case BITOR: return x | y;
	case XOR: return x ^ y;
	case BITAND: return x & y;
	case SHL: return x << y % 64;
	case ADD: return x + y;
	case SUB: return x - y;
	case MUL: return x * y;
	default: abort();
	}
}

static uint64_t eval_signed(enum binary op, int64_t x, int64_t y)
{
	__int128 wide_x = x, wide_y = y; /* which do not overflow */

	switch (op) {
	case LT: return x < y;
	case LE: return x <= y;
	case GT: return x > y;
	case GE: return x >= y;
	case DIV: return y ? (uint64_t)(wide_x / wide_y) : 0;
	case MOD: return y ? (uint64_t)(wide_x % wide_y) : 0;
	case SHR: return x >> ((uint64_t)y % 64);
	case ADD: return (uint64_t)(wide_x + wide_y);
	case SUB: return (uint64_t)(wide_x - wide_y);
	case MUL: return (uint64_t)(wide_x * wide_y);
	default: return eval_unsigned(op, x, y);
	}
}

static struct c_value eval_binary(const struct tree *t)
{
	struct c_value x = eval(t->left), y, result = { 0 };
	bool is_unsigned;

	if (x.fault)
		return x;
	if ((t->op == AND && !x.bits) || (t->op == OR && x.bits))
		return (struct c_value){ t->op == OR, false, false };
	y = eval(t->right);
	if (y.fault)
		return y;
	if (t->op == AND || t->op == OR)
		return (struct c_value){ y.bits != 0, false, false };
	is_unsigned = t->op == SHL || t->op == SHR ? x.is_unsigned : x.is_unsigned || y.is_unsigned;
	result.bits = is_unsigned ? eval_unsigned(t->op, x.bits, y.bits) : eval_signed(t->op, x.bits, y.bits);
	result.is_unsigned = is_unsigned && binaries[t->op].binds != 6 && binaries[t->op].binds != 7;
	return result;
}

static struct c_value eval(const struct tree *t)
{
	struct c_value x;

	switch (t->sort) {
	case CONSTANT: return (struct c_value){ t->constant, t->constant > INT64_MAX, false };
	case ENUMERATOR: return (struct c_value){ states[t->op].value, false, false };
	case ARGUMENT: return eval_argument(t->op);
	case FIELD: return eval_field(&fields[t->op]);
	case PID: return (struct c_value){ machine.pid, false, false };
	case TID: return (struct c_value){ machine.tid, false, false };
	case COMPARE_TEXT: return eval_text(t);
	case UNARY:
		x = eval(t->left);
		if (t->op == '!')
			return (struct c_value){ !x.bits, false, x.fault };
		if (t->op != '+')
			x.bits = t->op == '~' ? ~x.bits : 0 - x.bits;
		return x;
	default: return eval_binary(t);
	}
}

/* Returns the maximum depth of the stack, including the address of an argument. */
static int deepest(const struct tree *t)
{
	int left, right;

	switch (t->sort) {
	case ARGUMENT: return t->op == SHORT ? 2 : t->op == INDEXED ? 3 : 1;
	case FIELD:
		if (fields[t->op].bits && (fields[t->op].size & (fields[t->op].size - 1)))
			return 3;
		return fields[t->op].offset || (fields[t->op].bits && fields[t->op].bits < 64) ? 2 : 1;
	case COMPARE_TEXT: return t->of_field ? 2 : 1;
	case UNARY: return deepest(t->left);
	case BINARY:
		left = deepest(t->left);
		right = deepest(t->right) + (t->op != OR && t->op != AND);
		return left > right ? left : right;
	default: return 1;
	}
}

/* ---- the text of a tree ---- */

struct text {
	char at[65536];
	size_t n;
	bool spaced; /* with random spaces */
};

static void put(struct text *to, const char *word)
{
	/* Two adjacent operators may form a third one. */
	bool glue = to->n && !isalnum((unsigned char)to->at[to->n - 1]) && !isalnum((unsigned char)*word);
	bool stick = to->n && (isalnum((unsigned char)to->at[to->n - 1]) || to->at[to->n - 1] == '_') &&
	             (isalnum((unsigned char)*word) || *word == '_');

	if (glue || stick || (to->spaced && below(2)))
		to->at[to->n++] = " \t\n"[to->spaced ? below(3) : 0];
	to->n += sprintf(to->at + to->n, "%s", word);
}

static void put_text(struct text *to, const char *text, bool pattern)
{
	char quoted[300] = "\"";
	size_t n = 1;

	for (; *text; text++) {
		unsigned char c = *text;

		if (c == '"' || c == '\\' || (pattern && c == '*'))
			n += sprintf(quoted + n, "\\%c", c);
		else if (c == '\n')
			n += sprintf(quoted + n, "\\n");
		else if (c > 126 && below(2))
			n += sprintf(quoted + n, below(2) ? "\\x%02x" : "\\%03o", c);
		else
			quoted[n++] = c;
	}
	strcpy(quoted + n, pattern ? "*\"" : "\"");
	put(to, quoted);
}

static void put_number(struct text *to, uint64_t n)
{
	char word[32];

	if (n > ' ' && n < 127 && n != '\'' && n != '\\' && below(2))
		sprintf(word, "'%c'", (int)n);
	else
		sprintf(word, (const char *[]){ "%llu", "0x%llx", "0X%llX", "0%llo" }[below(4)], (unsigned long long)n);
	put(to, word);
}

static void put_field(struct text *to, int field)
{
	put(to, below(4) ? "req" : "arg12");
	put(to, below(2) ? "->" : ".");
	put(to, fields[field].name);
}

static void write_tree(struct text *to, const struct tree *t, int outer)
{
	int binds = t->sort == BINARY         ? binaries[t->op].binds
	            : t->sort == COMPARE_TEXT ? 6
	            : t->sort == UNARY        ? 11
	                                      : 12;
	bool parenthesis = binds < outer || below(12) == 0;

	if (parenthesis)
		put(to, "(");
	switch (t->sort) {
	case CONSTANT: put_number(to, t->constant); break;
	case ENUMERATOR: put(to, states[t->op].name); break;
	case ARGUMENT: {
		char number[8];

		sprintf(number, "arg%d", t->op);
		put(to, below(4) ? args[t->op].name : number);
		break;
	}
	case FIELD: put_field(to, t->op); break;
	case PID:
	case TID: put(to, t->sort == PID ? "pid" : "tid"); break;
	case COMPARE_TEXT: {
		const char *name = t->of_comm ? "comm" : args[t->of_field ? 0 : t->op].name;

		if (t->reversed)
			put_text(to, t->text, false);
		else if (t->of_field)
			put_field(to, t->op);
		else
			put(to, name);
		put(to, t->prefix ? "=~" : t->negated ? "!=" : "==");
		if (t->reversed && t->of_field)
			put_field(to, t->op);
		else if (t->reversed)
			put(to, name);
		else
			put_text(to, t->text, t->prefix);
		break;
	}
	case UNARY:
		put(to, (char[]){ t->op, 0 });
		write_tree(to, t->left, 11);
		break;
	case BINARY:
		write_tree(to, t->left, binds);
		put(to, binaries[t->op].text);
		write_tree(to, t->right, binds + 1);
	}
	if (parenthesis)
		put(to, ")");
}

static uint64_t pick_address(void)
{
	switch (below(8)) {
	case 0: return 0;
	case 1: return BASE + ROOM - below(12);
	case 2: return number();
	default: return BASE + 0x400 + 0x80 * below(sizeof(texts) / sizeof(*texts));
	}
}

static void new_inputs(void)
{
	uint64_t name = pick_address();

	for (int i = 0; i < 17; i++)
		registers[i] = number();
	for (int i = 0; i < 0x400; i++)
		memory[i] = random_bits() >> 20;
	memset(memory + 0x400, 0, ROOM - 0x400);
	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
		strcpy(memory + 0x400 + 0x80 * i, texts[i]);
	memcpy(memory + ROOM - 12, "/api/abcabca", 12); /* no NUL */
	if (below(2))
		memory[ROOM - 1] = 0;
	memcpy(memory + 0x300, &name, 8);
	registers[5] = BASE + 16 + below(0x300);
	if (below(8)) {
		registers[9] = below(0x50);
		registers[8] = BASE;
	}
	if (below(8) == 0)
		registers[5] = BASE + 15; /* one byte too low */
	registers[11] = pick_address();
	registers[12] = below(10) ? BASE + 0x300 : pick_address();
	registers[14] = below(8) ? BASE + below(0x300 - 100) : below(2) ? BASE + ROOM - below(95) : number();
	if (registers[14] - BASE < ROOM - 100) {
		const char *text = texts[1 + below(6)];
		uint64_t path = pick_address();

		memcpy(memory + (registers[14] - BASE) + fields[5].offset, &path, 8);
		if (below(2))
			memcpy(memory + (registers[14] - BASE) + fields[11].offset, text, strnlen(text, 6) + 1);
	}
	machine.pid = below(4) ? 1 + below(4000000) : below(10);
	machine.tid = below(4) ? 1 + below(4000000) : below(10);
	do
		strncpy(comm, texts[below(sizeof(texts) / sizeof(*texts))], 15);
	while (strlen(comm) >= 15);
}

START_TEST(as_c_would)
{
	static struct text text;
	long faults = 0, passed = 0, deep = 0, decided = 0, runs = 0;

	for (int n = 0; n < EXPRESSIONS; n++) {
		struct tree *tree = make(1 + below(n % 100 ? 6 : 12));
		struct fetch_program program;
		uint8_t depths[4096];
		bool seen[2] = { false, false };
		int err;

		text.n = 0;
		text.spaced = below(2);
		write_tree(&text, tree, 0);
		ck_assert_int_eq(fetch_compile(&site, &program), 0);
		err = filter_compile(text.at, &site, &program);
		if (text.n > FILTER_LENGTH_MAX || deepest(tree) > FETCH_DEPTH_MAX) {
			ck_assert_msg(err == -EINVAL, "%s\n(seed %llu)", text.at, (unsigned long long)seed);
			ck_assert_uint_eq(program.npredicate, 0);
			deep++;
			goto next;
		}
		ck_assert_msg(!err, "%s\n(seed %llu)", pp_error(), (unsigned long long)seed);
		ck_assert_uint_lt(program.nsteps, sizeof(depths));
		ck_assert_msg(!fetch_check(&program, 17, depths), "%s\n%s", text.at, pp_error());
		for (int i = 0; i < 4; i++) {
			union {
				struct record record;
				char room[RECORD_SIZE_MAX];
			} out;
			struct c_value truth;
			int answer, expected;

			new_inputs();
			truth = eval(tree);
			expected = !truth.fault && truth.bits;
			answer = fetch_run(&program, &machine, &out.record);
			ck_assert_msg(answer == expected,
			              "%s\nis %d, and the filter says %d (seed %llu, expression %d)", text.at, expected,
			              answer, (unsigned long long)seed, n);
			seen[answer] = true;
			faults += truth.fault;
			passed += answer;
			runs++;
			if (answer) { /* the predicate does not change the arguments */
				ck_assert_uint_eq(out.record.value[LONG], registers[2]);
				ck_assert_uint_eq(out.record.value[CHAR], (uint64_t)(int8_t)registers[6]);
			}
		}
		decided += seen[0] && seen[1];
	next:
		fetch_release(&program);
		tree_free(tree);
	}
	fprintf(stderr,
	        "seed %llu: %ld runs, %ld passed, %ld faults; %d expressions, %ld of them were both, %ld refused\n",
	        (unsigned long long)seed, runs, passed, faults, EXPRESSIONS, decided, deep);
	/* The corpus has enough of each case. */
	ck_assert_int_gt(passed, runs / 10);
	ck_assert_int_lt(passed, runs - runs / 10);
	ck_assert_int_gt(faults, runs / 100);
	ck_assert_int_gt(decided, EXPRESSIONS / 20);
	ck_assert_int_lt(deep, EXPRESSIONS / 10);
}
END_TEST

static bool has_jumps(const struct tree *t)
{
	return t && ((t->sort == BINARY && (t->op == OR || t->op == AND)) || has_jumps(t->left) || has_jumps(t->right));
}

/* The values of --print: each is its own argument, and a fault marks only that one. */
START_TEST(printed_as_c_would)
{
	static struct text text;
	long faults = 0, runs = 0, refused = 0;

	for (int n = 0; n < EXPRESSIONS / 4; n++) {
		struct tree *tree = make(1 + below(5));
		struct fetch_program program;
		uint8_t depths[4096];
		int err;

		text.n = 0;
		text.spaced = below(2);
		write_tree(&text, tree, 0);
		if (text.n + 8 > FILTER_LENGTH_MAX || deepest(tree) > FETCH_DEPTH_MAX) {
			tree_free(tree);
			continue;
		}
		strcpy(text.at + text.n, ", i");
		ck_assert_int_eq(fetch_compile(&site, &program), 0);
		err = print_compile(text.at, &site, &program);
		if (has_jumps(tree)) {
			ck_assert_msg(err == -EINVAL && strstr(pp_error(), "can only be used in filters"), "%s\n%s",
			              text.at, pp_error());
			refused++;
			goto next;
		}
		ck_assert_msg(!err, "%s\n(seed %llu)", pp_error(), (unsigned long long)seed);
		ck_assert_msg(!fetch_check(&program, 17, depths), "%s\n%s", text.at, pp_error());
		ck_assert_uint_eq(program.nargs, 2);
		ck_assert_str_eq(program.printed->args[1].name, "i");
		for (int i = 0; i < 3; i++) {
			union {
				struct record record;
				char room[RECORD_SIZE_MAX];
			} out;
			struct c_value truth;

			new_inputs();
			truth = eval(tree);
			ck_assert_int_eq(fetch_run(&program, &machine, &out.record), 1);
			ck_assert_msg(out.record.faults == truth.fault &&
			                      (truth.fault || out.record.value[0] == truth.bits),
			              "%s\nis %llx, and the record has %llx, faults %x (seed %llu, expression %d)",
			              text.at, (unsigned long long)truth.bits, (unsigned long long)out.record.value[0],
			              out.record.faults, (unsigned long long)seed, n);
			ck_assert_uint_eq(out.record.value[1], (uint64_t)(int32_t)registers[0]);
			faults += truth.fault;
			runs++;
		}
	next:
		fetch_release(&program);
		tree_free(tree);
	}
	ck_assert_int_gt(runs, EXPRESSIONS / 8);
	ck_assert_int_gt(faults, runs / 100);
	ck_assert_int_gt(refused, EXPRESSIONS / 100);
}
END_TEST

/* ---- chosen expressions ---- */

START_TEST(chosen_expressions)
{
	static const struct {
		const char *expr;
		int passes;
	} cases[] = {
		{ "i == -2", 1 },
		{ "i<0", 1 },
		{ "u == 4294967294", 1 },
		{ "u < 0", 0 },
		{ "i < u", 1 },  /* both are signed 64-bit values */
		{ "i < ul", 0 }, /* ul makes it unsigned: -2 is the larger */
		{ "l >> 1 == -4", 1 },
		{ "ul >> 63 == 0 && (ul | 1 << 63) >> 63 == 1", 1 },
		{ "-1 >> 70 == -1", 1 }, /* shifts count modulo 64 */
		{ "1 / 0 == 0 && 1 % 0 == 0", 1 },
		{ "-7 / 2 == -3 && -7 % 2 == -1", 1 },
		{ "flags == 1 || flag", 1 },
		{ "c == '\\xff' && c == -1 && c != 255", 1 },
		{ "'\\xff' < 0 && '\\xff' >> 1 == -1", 1 },
		{ "'A' == 65 && '\\n' == 012 && '\\'' == 0x27 && '\"' == 34", 1 },
		{ "18446744073709551615 > 0", 1 },
		{ "9223372036854775808 > 9223372036854775807", 1 },
		{ "!!7 == 1 && (2 && 4) == 1 && (0 || 4) == 1 && (4 || 0) == 1", 1 },
		{ "(2 && 4) + (3 || 0) == 2", 1 },
		{ "1 + 2 * 3 == 7 && (1 + 2) * 3 == 9 && 10 - 4 - 3 == 3 && 2 + 3 << 1 == 10", 1 },
		{ "6 & 3 == 3", 0 }, /* as in C: 6 & (3 == 3) */
		{ "1 | 6 ^ 2 & 3 && 1", 1 },
		{ "- -1 == 1 && ~0 == -1 && - ~ !0 == 2", 1 },
		{ "path == \"/api/x\"", 1 },
		{ "\"/api/x\" == path", 1 },
		{ "path != \"/api/x\"", 0 },
		{ "path == \"/api/\"", 0 },
		{ "path == \"/api/xy\"", 0 },
		{ "path =~ \"/api/*\"", 1 },
		{ "path =~ \"/api/x*\"", 1 },
		{ "path =~ \"*\"", 1 },
		{ "path =~ \"\"", 0 },
		{ "path =~ \"/api/x\"", 1 },
		{ "path =~ \"/api/\"", 0 },
		{ "path =~ \"api*\"", 0 },
		{ "!(path == \"no\")", 1 },
		{ "name == \"x\"", 0 }, /* cannot be read, so it is false */
		{ "name != \"x\"", 0 }, /* and so is its opposite */
		{ "!(name == \"x\")", 0 },
		{ "i == -2 || name == \"x\"", 1 }, /* the string is not read */
		{ "name == \"x\" || i == -2", 0 },
		{ "i != -2 && name == \"x\" || l", 1 },
		{ "comm == \"worker\"", 1 },
		{ "comm =~ \"work*\" && comm != \"work\"", 1 },
		{ "pid == 100 && tid == 101", 1 },
		{ "arg0 == i && arg9 == \"/api/x\"", 1 },
		{ "p == \"/api/x\"", 1 }, /* a pointer to an unknown type */
		{ "p > 4096", 1 },
		{ "1", 1 },
		{ "0", 0 },
		{ "2", 1 },
	};

	registers[0] = 0x1fffffffe;
	registers[1] = 0xfffffffe;
	registers[2] = -7;
	registers[3] = 5;
	registers[6] = 0xff;
	registers[7] = 1;
	registers[10] = registers[11] = BASE + 0x400;
	registers[12] = 0;
	strcpy(memory + 0x400, "/api/x");
	strcpy(comm, "worker");
	machine.pid = 100;
	machine.tid = 101;
	args[FLOAT].name = "flags";
	args[FLOAT].class = 'i';
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		ck_assert_msg(passes(&site, cases[i].expr) == cases[i].passes, "%s is not %d", cases[i].expr,
		              cases[i].passes);
	args[FLOAT].name = "f";
	args[FLOAT].class = 'f';

	ck_assert_int_eq(passes(&untyped, "arg0 == -2 && arg1 == \"/api/x\" && arg3 =~ \"/a*\" && arg2 == -7"), 1);
	ck_assert_int_eq(passes(&untyped, "arg1 > 0x600000"), 1);
}
END_TEST

/* ---- floating-point numbers compare as in C ---- */

static struct pp_site floating = { .probe = &untyped_probe,
	                           .operands = "4@%eax 8@%r13 4f@%ecx 8f@%rdx 4@%eax",
	                           .floats = 3 };

static const char *const comparisons[] = { "<", "<=", ">", ">=", "==", "!=" };

static bool compared(double x, int comparison, double y)
{
	return comparison == 0   ? x < y
	       : comparison == 1 ? x <= y
	       : comparison == 2 ? x > y
	       : comparison == 3 ? x >= y
	       : comparison == 4 ? x == y
	                         : x != y;
}

START_TEST(floats_as_c_would)
{
	static const double values[] = {
		0.0,
		-0.0,
		1,
		-1,
		1.2,
		-1.2,
		1.5,
		2,
		3,
		255,
		1e-310,
		-1e-310,
		5e-324,
		1e-45,
		1e-38,
		1e38,
		-1e38,
		1e300,
		-1e300,
		(double)INT64_MAX,
		(double)INT64_MIN,
		1.0 / 3,
		__builtin_inf(),
		-__builtin_inf(),
		__builtin_nan(""),
		-__builtin_nan(""),
		1.7976931348623157e308,
		-1.7976931348623157e308,
		16777217,
	};
	static const char *const constants[] = {
		"0",
		"-0",
		"0.0",
		"-0.0",
		"1",
		"-1",
		"1.2",
		"-1.2",
		"(1.5)",
		"-(2.0)",
		"+3",
		"255",
		"0xff",
		"'\\x02'",
		"1e300",
		"-1e300",
		"1e999",
		"-1e999",
		"1e-310",
		"5e-324",
		"1E-45",
		"1e38",
		"18446744073709551615",
		"-9223372036854775807",
		"0.3333333333333333333333",
		"1.7976931348623157e+308",
		"16777217",
	};
	static const double meant[] = {
		0,
		0,
		0,
		-0.0,
		1,
		-1,
		1.2,
		-1.2,
		1.5,
		-2,
		3,
		255,
		255,
		2,
		1e300,
		-1e300,
		__builtin_inf(),
		-__builtin_inf(),
		1e-310,
		5e-324,
		1e-45,
		1e38,
		18446744073709551615.0,
		-9223372036854775808.0,
		1.0 / 3,
		1.7976931348623157e308,
		16777217,
	};
	static const char *const arguments[] = { "arg0", "arg1", "arg2", "arg3" };
	static const int reversed[] = { 2, 3, 0, 1, 4, 5 };
	char expr[128];

	for (size_t v = 0; v < sizeof(values) / sizeof(*values); v++) {
		float narrow = (float)values[v];
		uint32_t narrow_bits;

		memcpy(&registers[13], &values[v], 8);
		registers[2] = registers[13];
		memcpy(&narrow_bits, &narrow, 4);
		registers[0] = 0xa5a5a5a500000000 | narrow_bits; /* the bytes above its 4 must be ignored */
		registers[1] = registers[0];
		for (size_t c = 0; c < sizeof(constants) / sizeof(*constants); c++)
			for (int op = 0; op < 6; op++)
				for (int a = 0; a < 4; a++) {
					double x = a % 2 ? values[v] : narrow, y = a % 2 ? meant[c] : (float)meant[c];

					snprintf(expr, sizeof(expr), "%s %s %s", arguments[a], comparisons[op],
					         constants[c]);
					ck_assert_msg(passes(&floating, expr) == compared(x, op, y),
					              "%s, with the value %a", expr, x);
					snprintf(expr, sizeof(expr), "arg4 * 0 != 1 && (%s %s %s)", constants[c],
					         comparisons[reversed[op]], arguments[a]);
					ck_assert_msg(passes(&floating, expr) == compared(x, op, y),
					              "%s, with the value %a", expr, x);
				}
	}
	registers[13] = 0x3ff3333333333333; /* 1.2; the signature has the class */
	ck_assert(passes(&site, "f == 1.2 && f > 1.19 && 2 > f"));
}
END_TEST

/* An argument named pid hides the process's pid. It keeps its name arg0. */
START_TEST(hiding_names)
{
	args[INT].name = "pid";
	args[PATH].name = "comm";
	registers[0] = 7;
	machine.pid = 100;
	registers[11] = BASE + 0x400;
	strcpy(memory + 0x400, "text");
	strcpy(comm, "worker");
	ck_assert_int_eq(passes(&site, "pid == 7 && arg0 == 7 && comm == \"text\""), 1);
	args[INT].name = "i";
	args[PATH].name = "path";
}
END_TEST

/* ---- errors ---- */

#define A64 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

START_TEST(refused)
{
	static const struct {
		const char *expr, *error;
	} cases[] = {
		{ "", "the filter is empty\n\n^" },
		{ "   ", "expected a value before the end of the filter\n   \n   ^" },
		{ "i ==", "expected a value before the end of the filter\ni ==\n    ^" },
		{ "i = 1", "'=' is assignment; use '==' to compare\ni = 1\n  ^" },
		{ "i == 1)", "unmatched ')'\ni == 1)\n      ^" },
		{ "(i == 1", "expected ')'\n(i == 1\n       ^" },
		{ "i 1", "expected an operator\ni 1\n  ^" },
		{ "i == == 1", "expected a value\ni == == 1\n     ^" },
		{ "i && && u", "expected a value\ni && && u\n     ^" },
		{ "() == 1", "expected a value\n() == 1\n ^" },
		{ "i @ 1", "invalid character\ni @ 1\n  ^" },
		{ "i ? 1 : 2", "invalid character\ni ? 1 : 2\n  ^" },
		{ "sise > 1",
		  "unknown name 'sise': it:here has i, u, l, ul, c, flag, _s2, x, p, path, name, f, req, state, q.x[1], and every probe has pid, "
		  "tid, comm and cpu\nsise > 1\n^" },
		{ "arg15 == 1",
		  "unknown name 'arg15': it:here has i, u, l, ul, c, flag, _s2, x, p, path, name, f, req, state, q.x[1], and every probe has pid, "
		  "tid, comm and cpu\narg15 == 1\n^" },
		{ "1 + f", "'f' is a floating-point number: it can only be compared with a constant\n1 + f\n    ^" },
		{ "f", "'f' is a floating-point number: it can only be compared with a constant\nf\n^" },
		{ "!f", "'f' is a floating-point number: it can only be compared with a constant\n!f\n ^" },
		{ "f == l", "'f' is a floating-point number: it can only be compared with a constant\nf == l\n^" },
		{ "f =~ \"1\"",
		  "'f' is a floating-point number: it can only be compared with a constant\nf =~ \"1\"\n^" },
		{ "f && 1", "'f' is a floating-point number: it can only be compared with a constant\nf && 1\n^" },
		{ "i > 1.5", "a decimal number can only be compared with a floating-point argument\ni > 1.5\n    ^" },
		{ "f > 1.5 + 1",
		  "a decimal number can only be compared with a floating-point argument\nf > 1.5 + 1\n    ^" },
		{ "1.5 > 1", "a decimal number can only be compared with a floating-point argument\n1.5 > 1\n^" },
		{ "f > 1.", "expected digits after the decimal point\nf > 1.\n     ^" },
		{ "f > 1e", "invalid digit 'e' in a number of base 10\nf > 1e\n     ^" },
		{ "i > 12ab", "invalid digit 'a' in a number of base 10\ni > 12ab\n      ^" },
		{ "i > 10u", "invalid digit 'u' in a number of base 10\ni > 10u\n      ^" },
		{ "i > 089", "invalid digit '8' in a number of base 8\ni > 089\n     ^" },
		{ "i > 0xfg", "invalid digit 'g' in a number of base 16\ni > 0xfg\n       ^" },
		{ "i > 0x", "expected digits after '0x'\ni > 0x\n    ^" },
		{ "18446744073709551616 > i", "the number does not fit in 64 bits\n18446744073709551616 > i\n^" },
		{ "i > 0x10000000000000000", "the number does not fit in 64 bits\ni > 0x10000000000000000\n    ^" },
		{ "path",
		  "'path' is a string: it can only be compared with a quoted string, by ==, != or =~\npath\n^" },
		{ "!path",
		  "'path' is a string: it can only be compared with a quoted string, by ==, != or =~\n!path\n ^" },
		{ "i && (path)",
		  "'path' is a string: it can only be compared with a quoted string, by ==, != or =~\ni && (path)\n      ^" },
		{ "comm || i",
		  "'comm' is a string: it can only be compared with a quoted string, by ==, != or =~\ncomm || i\n^" },
		{ "path == 0",
		  "'path' is a string: it can only be compared with a quoted string, by ==, != or =~\npath == 0\n^" },
		{ "1 < path",
		  "'path' is a string: it can only be compared with a quoted string, by ==, != or =~\n1 < path\n    ^" },
		{ "path == name",
		  "'path' is a string: it can only be compared with a quoted string, by ==, != or =~\npath == name\n^" },
		{ "path + \"a\"",
		  "'path' is a string: it can only be compared with a quoted string, by ==, != or =~\npath + \"a\"\n^" },
		{ "path < \"a\"",
		  "'path' is a string: it can only be compared with a quoted string, by ==, != or =~\npath < \"a\"\n^" },
		{ "\"a\"", "a quoted string can only be compared, by ==, != or =~\n\"a\"\n^" },
		{ "-\"a\"", "a quoted string can only be compared, by ==, != or =~\n-\"a\"\n ^" },
		{ "i == \"a\"", "cannot compare an integer with a string\ni == \"a\"\n^" },
		{ "\"a\" != l", "cannot compare an integer with a string\n\"a\" != l\n       ^" },
		{ "p + 1 == \"a\"", "cannot compare an integer with a string\np + 1 == \"a\"\n^" },
		{ "\"a\" == \"a\"", "cannot compare two quoted strings\n\"a\" == \"a\"\n       ^" },
		{ "path =~ name", "expected a quoted pattern on the right of =~\npath =~ name\n        ^" },
		{ "\"a*\" =~ path", "expected a quoted pattern on the right of =~\n\"a*\" =~ path\n        ^" },
		{ "i =~ 1", "expected a quoted pattern on the right of =~\ni =~ 1\n     ^" },
		{ "path =~ \"a*b\"",
		  "'*' is only supported at the beginning and at the end of a pattern: write '\\*' to match the character\npath =~ \"a*b\"\n          ^" },
		{ "path =~ \"a?\"",
		  "'?' is not supported in a pattern: write '\\?' to match the character\npath =~ \"a?\"\n          ^" },
		{ "path =~ \"[a]*\"",
		  "'[' is not supported in a pattern: write '\\[' to match the character\npath =~ \"[a]*\"\n         ^" },
		{ "path == \"a", "unterminated string\npath == \"a\n        ^" },
		{ "path == \"a\\\"", "unterminated string\npath == \"a\\\"\n        ^" },
		{ "c == 'a", "unterminated character constant\nc == 'a\n     ^" },
		{ "c == ''", "empty character constant\nc == ''\n     ^" },
		{ "c == 'ab'",
		  "more than one character in a character constant: write strings in double quotes\nc == 'ab'\n     ^" },
		{ "c == '\\q'", "unknown escape sequence\nc == '\\q'\n      ^" },
		{ "path == \"\\400\"", "unknown escape sequence\npath == \"\\400\"\n         ^" },
		{ "path == \"\\x\"", "unknown escape sequence\npath == \"\\x\"\n         ^" },
		{ "path == \"a\\0b\"", "a string cannot contain a NUL byte\npath == \"a\\0b\"\n          ^" },
		{ "comm == \"0123456789abcdef\"",
		  "a thread's name has at most 15 bytes\ncomm == \"0123456789abcdef\"\n        ^" },
		{ "i\t==\n\"\x01\xff\"", "cannot compare an integer with a string\ni == \"??\"\n^" },
		{ "path == \"" A64 "a\"", "a string in a filter has at most 64 bytes\npath == \"" A64 "a\"\n         "
		                          "                                                                ^" },
		{ "req->sise > 1",
		  "'struct request' has no field 'sise': it has s1, c, u2, i4, len, path, raw, kind, more, far, wide, tag, in, w, "
		  "all, done, five, away\nreq->sise > 1\n     ^" },
		{ "1 == req . in",
		  "'in' is neither an integer nor a string: its type is 'struct inner'\n1 == req . in\n           ^" },
		{ "req->w > i",
		  "'req->w' is a floating-point number: it can only be compared with a constant\nreq->w > i\n^" },
		{ "req->path",
		  "'req->path' is a string: it can only be compared with a quoted string, by ==, != or =~\nreq->path\n^" },
		{ "req->tag == 0",
		  "'req->tag' is a string: it can only be compared with a quoted string, by ==, != or =~\nreq->tag == 0\n^" },
		{ "req->len == \"a\"", "cannot compare an integer with a string\nreq->len == \"a\"\n^" },
		{ "i->x", "the fields of 'i' are not known\ni->x\n   ^" },
		{ "p->x", "the fields of 'p' are not known\np->x\n   ^" },
		{ "state->x", "the fields of 'state' are not known\nstate->x\n       ^" },
		{ "req->", "expected the name of a field\nreq->\n     ^" },
		{ "req->1", "expected the name of a field\nreq->1\n     ^" },
		{ "req.path[i]", "expected a number\nreq.path[i]\n         ^" },
		{ "req.path[1", "expected ']'\nreq.path[1\n          ^" },
		{ "req.raw->x == 1", "the fields of 'req.raw' are not known\nreq.raw->x == 1\n         ^" },
		{ "q.y == 1",
		  "unknown name 'q.y': it:here has i, u, l, ul, c, flag, _s2, x, p, path, name, f, req, state, "
		  "q.x[1], and every probe has pid, tid, comm and cpu\nq.y == 1\n^" },
		{ "RUNING == 1",
		  "unknown name 'RUNING': it:here has i, u, l, ul, c, flag, _s2, x, p, path, name, f, req, state, "
		  "q.x[1], and every probe has pid, tid, comm and cpu\nRUNING == 1\n^" },
		{ ". == 1", "expected a value\n. == 1\n^" },
		{ "-> 1", "expected a value\n-> 1\n^" },
		{ "[1]", "expected a value\n[1]\n^" },
		{ "(req)->len", "expected an operator\n(req)->len\n     ^" },
		{ "1 ] 2", "expected an operator\n1 ] 2\n  ^" },
		/* The message shows the part of a long expression around the error. */
		{ "i == 1111111111 || i == 2222222222 || i == 3333333333 || i == 4444444444 || i == 5555555555 || "
		  "i == 6666666666 || j == 7 || i == 8888888888 || i == 9999999999 || i == 1010101010 || i == 1111111111",
		  "unknown name 'j': it:here has i, u, l, ul, c, flag, _s2, x, p, path, name, f, req, state, q.x[1], and every probe has pid, tid, "
		  "comm and cpu\n"
		  "...44444 || i == 5555555555 || i == 6666666666 || j == 7 || i == 8888888888 || i == 9999999999 ||...\n"
		  "                                                  ^" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct fetch_program program, before;

		ck_assert_int_eq(fetch_compile(&site, &program), 0);
		ck_assert_int_eq(fetch_compile(&site, &before), 0);
		ck_assert_msg(filter_compile(cases[i].expr, &site, &program) == -EINVAL, "%s", cases[i].expr);
		ck_assert_str_eq(pp_error(), cases[i].error);
		ck_assert_int_eq(fetch_compare(&program, &before), 0);
		fetch_release(&program);
		fetch_release(&before);
	}
}
END_TEST

static int try(const char *expr)
{
	struct fetch_program program;
	int err;

	ck_assert_int_eq(fetch_compile(&site, &program), 0);
	err = filter_compile(expr, &site, &program);
	fetch_release(&program);
	return err;
}

START_TEST(limits)
{
	char expr[8 * FILTER_LENGTH_MAX];
	struct fetch_program program;

	memset(expr, '(', sizeof(expr));
	for (int n = FILTER_NESTING_MAX; n <= FILTER_NESTING_MAX + 1; n++) {
		sprintf(expr + n, "1%.*s", n, ")))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))))");
		ck_assert_int_eq(try(expr), n > FILTER_NESTING_MAX ? -EINVAL : 0);
		expr[n] = '(';
	}
	ck_assert_ptr_nonnull(strstr(pp_error(), "nested more than 64 levels deep"));
	memset(expr, '!', FILTER_LENGTH_MAX);
	strcpy(expr + FILTER_NESTING_MAX, "1");
	ck_assert_int_eq(try(expr), 0);
	strcpy(expr + FILTER_NESTING_MAX, "!1");
	ck_assert_int_eq(try(expr), -EINVAL);

	memset(expr, ' ', sizeof(expr));
	strcpy(expr + FILTER_LENGTH_MAX - 1, "1");
	ck_assert_int_eq(try(expr), 0);
	strcpy(expr + FILTER_LENGTH_MAX, "1");
	ck_assert_int_eq(try(expr), -EINVAL);
	ck_assert_str_eq(pp_error(), "the filter has 1025 bytes: the maximum is 1024");

	*expr = 0;
	for (int i = 1; i < FETCH_DEPTH_MAX; i++)
		strcat(expr, "1+(");
	strcpy(expr + strlen(expr), "l))))))))))))))))");
	expr[strlen(expr) - 1] = 0;
	ck_assert_int_eq(try(expr), 0);
	*expr = 0;
	for (int i = 0; i < FETCH_DEPTH_MAX; i++)
		strcat(expr, "1+(");
	strcat(expr, "l))))))))))))))))");
	ck_assert_int_eq(try(expr), -EINVAL);
	ck_assert_str_eq(pp_error(), "the filter needs more than 16 values on its stack here; use fewer parentheses\n"
	                             "1+(1+(1+(1+(1+(1+(1+(1+(1+(1+(1+(1+(1+(1+(1+(1+(l))))))))))))))))\n"
	                             "                                                ^");

	/* As many strings as an expression can have. */
	*expr = 0;
	while (strlen(expr) + 11 <= FILTER_LENGTH_MAX)
		strcat(expr, "\"\"==path||");
	strcat(expr, "1");
	ck_assert_int_eq(try(expr), 0);

	ck_assert_int_eq(fetch_compile(&site, &program), 0);
	ck_assert_int_eq(filter_compile("i == 1", &site, &program), 0);
	ck_assert_int_eq(filter_compile("i == 1", &site, &program), -EINVAL);
	fetch_release(&program);
}
END_TEST

/* Random text gives a valid program, or an error whose caret is below the text. */
START_TEST(anything)
{
	static const char *const words[] = {
		"i",     "ul",        "path",
		"name",  "comm",      "pid",
		"f",     "p",         "arg3",
		"arg99", "\"a*\"",    "\"",
		"'",     "'a'",       "\\",
		"(",     "(",         ")",
		")",     "!",         "~",
		"-",     "+",         "*",
		"/",     "%",         "<<",
		">>",    "<",         ">",
		"<=",    "==",        "!=",
		"=~",    "&&",        "||",
		"&",     "|",         "^",
		"=",     "req",       "->",
		".",     "[",         "]",
		"len",   "tag",       "RUNNING",
		"state", "req->",     "q.x[1]",
		"0",     "1",         "07",
		"0x",    "0xff",      "99999999999999999999",
		" ",     "\n",        "\xff",
		"1.0",   "\"\\x41\"", "\"\\*\"",
		"?",     ",",
	};
	long good = 0;

	for (int n = 0; n < EXPRESSIONS; n++) {
		struct fetch_program program;
		char expr[300] = "";
		size_t length = 0;
		int err;

		for (unsigned left = below(n % 2 ? 8 : 30); left; left--) {
			if (below(20))
				length += sprintf(expr + length, "%s", words[below(sizeof(words) / sizeof(*words))]);
			else
				expr[length++] = 1 + below(255);
			if (length > sizeof(expr) - 30)
				break;
		}
		expr[length] = 0;
		ck_assert_int_eq(fetch_compile(&site, &program), 0);
		err = filter_compile(expr, &site, &program);
		if (!err) {
			union {
				struct record record;
				char room[RECORD_SIZE_MAX];
			} out;
			uint8_t depths[4096];

			ck_assert_msg(!fetch_check(&program, 17, depths), "%s: %s", expr, pp_error());
			new_inputs();
			fetch_run(&program, &machine, &out.record);
			good++;
		} else {
			const char *second = strchr(pp_error(), '\n'),
				   *third = second ? strchr(second + 1, '\n') : NULL;

			ck_assert_int_eq(err, -EINVAL);
			ck_assert_msg(third && !strchr(third + 1, '\n'), "%s", pp_error());
			ck_assert_msg(strspn(third + 1, " ") == strlen(third + 1) - 1 &&
			                      third[strlen(third) - 1] == '^',
			              "%s", pp_error());
			ck_assert_msg(strlen(third) - 2 <= (size_t)(third - second - 1), "%s", pp_error());
		}
		fetch_release(&program);
	}
	fprintf(stderr, "seed %llu: %ld of %d texts are filters\n", (unsigned long long)seed, good, EXPRESSIONS);
	ck_assert_int_gt(good, EXPRESSIONS / 1000);
}
END_TEST

/* A program that fetch_check() accepts can be run. */
START_TEST(damaged_programs)
{
	long good = 0;

	for (int n = 0; n < EXPRESSIONS; n++) {
		struct fetch_program program =
			compiled(&site, n % 2 ? "i < 3 && path =~ \"/a*\" || x" : "comm == \"sh\" || ul / l");
		uint8_t depths[4096];
		union {
			struct record record;
			char room[RECORD_SIZE_MAX];
		} out;

		for (unsigned left = 1 + below(3); left; left--) {
			struct fetch_step *step = &program.steps[below(program.nsteps)];

			switch (below(8)) {
			case 0: step->op = below(FETCH_TEST + 3); break;
			case 1: step->a = below(20); break;
			case 2: step->b = below(70); break;
			case 3: step->c = below(3); break;
			case 4: step->value = (int64_t)below(program.nsteps + 5) - 2; break;
			case 5: program.npredicate = below(program.nsteps + 2); break;
			case 6: program.nargs = below(RECORD_ARGS_MAX + 2); break;
			case 7: *step = program.steps[below(program.nsteps)]; break;
			}
		}
		if (!fetch_check(&program, 17, depths)) {
			new_inputs();
			fetch_run(&program, &machine, &out.record);
			good++;
		}
		fetch_release(&program);
	}
	fprintf(stderr, "seed %llu: %ld of %d damaged programs are valid\n", (unsigned long long)seed, good,
	        EXPRESSIONS);
	ck_assert_int_gt(good, EXPRESSIONS / 1000);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("filter");
	TCase *tc = tcase_create("filter");
	SRunner *runner = srunner_create(suite);
	int failed;

	seed_set();
	tcase_set_timeout(tc, 300);
	tcase_add_test(tc, as_c_would);
	tcase_add_test(tc, printed_as_c_would);
	tcase_add_test(tc, chosen_expressions);
	tcase_add_test(tc, floats_as_c_would);
	tcase_add_test(tc, hiding_names);
	tcase_add_test(tc, refused);
	tcase_add_test(tc, limits);
	tcase_add_test(tc, anything);
	tcase_add_test(tc, damaged_programs);
	suite_add_tcase(suite, tc);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? 1 : 0;
}
