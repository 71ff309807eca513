/* SPDX-License-Identifier: MIT */
/*
 * gen SEED COUNT PREFIX [PARTS]: writes PREFIX.c, a program of COUNT functions with
 * random signatures that are called with random values; PREFIX.gdb, commands that
 * print the arguments of each probe as gdb sees them; and PREFIX.expected, the output
 * that gdb must print. This program chooses the values, so the expected output depends
 * neither on the plugin nor on our reader. gdb prints PARTS (12) operands of a function.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static unsigned parts_max = 12; /* operands of a function that gdb prints */
#define PARMS_MAX 14

enum kind { INT, BITS, LONG_DOUBLE, EXPONENT, ADDRESS, NOTHING };

/* A member of a parameter that is an operand of its own. */
struct gen_member {
	enum kind kind;
	int size;
	bool is_signed;
};

static const struct type {
	const char *name;
	const char *make; /* an expression; %s stands for the value of each member in turn */
	struct gen_member members[6];
} types[] = {
	{ "signed char", "%s", { { INT, 1, true } } },
	{ "unsigned char", "%s", { { INT, 1, false } } },
	{ "short", "%s", { { INT, 2, true } } },
	{ "unsigned short", "%s", { { INT, 2, false } } },
	{ "int", "%s", { { INT, 4, true } } },
	{ "unsigned", "%s", { { INT, 4, false } } },
	{ "long", "%s", { { INT, 8, true } } },
	{ "unsigned long", "%s", { { INT, 8, false } } },
	{ "_Bool", "(%s) & 1", { { INT, 0, false } } },
	{ "enum small", "(enum small)%s", { { INT, 4, false } } },
	{ "enum minus", "(enum minus)%s", { { INT, 4, true } } },
	{ "void *", "(void *)%s", { { INT, 8, false } } },
	{ "const char *", "(const char *)%s", { { INT, 8, false } } },
	{ "float", "as_float(%s)", { { BITS, 4, false } } },
	{ "double", "as_double(%s)", { { BITS, 8, false } } },
	{ "__int128",
	  "(__int128)((unsigned __int128)(unsigned long)(%s) | (unsigned __int128)(unsigned long)(%s) << 64)",
	  { { INT, 8, false }, { INT, 8, true } } },
	{ "_Complex double",
	  "__builtin_complex(as_double(%s), as_double(%s))",
	  { { BITS, 8, false }, { BITS, 8, false } } },
	{ "long double", "as_long_double(%s, %s)", { { LONG_DOUBLE, 8, false }, { EXPONENT, 2, false } } },
	{ "struct two", "((struct two){ %s, %s })", { { INT, 4, true }, { INT, 8, false } } },
	{ "struct four",
	  "((struct four){ %s, { %s, %s }, %s })",
	  { { INT, 2, true }, { INT, 1, false }, { INT, 1, false }, { INT, 4, false } } },
	{ "struct floats",
	  "((struct floats){ as_float(%s), as_double(%s) })",
	  { { BITS, 4, false }, { BITS, 8, false } } },
	{ "struct narrow", "((struct narrow){ %s, %s })", { { INT, 3, true }, { INT, 5, false } } },
	{ "struct large", "((struct large){ { %s } })", { { ADDRESS, 8, true } } },
	{ "vector", "((vector){ 1, 2, 3, 4 })", { { NOTHING, 0, 0 } } },
	{ "union either", "((union either){ 7 })", { { NOTHING, 0, 0 } } },
};

#define TYPES (sizeof types / sizeof *types)
#define SIMPLE 15 /* what a result can be */

static const char prologue[] =
	"typedef int vector __attribute__((vector_size(16)));\n"
	"enum small { SMALL_A, SMALL_B = 0x7fffffff };\n"
	"enum minus { MINUS_A = -0x7fffffff - 1, MINUS_B = 0x7fffffff };\n"
	"struct two { int a; unsigned long b; };\n"
	"struct four { short a; unsigned char b[2]; unsigned c; };\n"
	"struct floats { float x; double y; };\n"
	"struct narrow { int a : 3; unsigned b : 5; };\n"
	"struct large { long v[9]; };\n"
	"union either { int i; float f; };\n"
	"static volatile long zero;\n"
	"#define INLINE static inline __attribute__((always_inline))\n"
	"INLINE float as_float(unsigned b) { float f; __builtin_memcpy(&f, &b, 4); return f; }\n"
	"INLINE double as_double(unsigned long b) { double d; __builtin_memcpy(&d, &b, 8); return d; }\n"
	"INLINE long double as_long_double(unsigned long m, unsigned short e)\n"
	"{ long double d = 0; __builtin_memcpy(&d, &m, 8); __builtin_memcpy((char *)&d + 8, &e, 2); return d; }\n"
	"#define USED(x) __asm__ volatile(\"\" : : \"m\"(x))\n";

static uint64_t state;

static uint64_t number(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state * 0x2545f4914f6cdd1du;
}

static unsigned below(unsigned n)
{
	return (number() >> 33) % n;
}

/* Returns a random value of a member, as gdb must print it. */
static int64_t value(const struct gen_member *member)
{
	static const uint64_t favourites[] = { 0, 1, ~0ull, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0x7fffffff, 0x80000000u };
	uint64_t v = below(3) ? number() >> below(64) : favourites[below(10)];

	switch (member->kind) {
	case BITS: /* not a signalling NaN, which would be made quiet on its way */
		if (member->size == 4) {
			float f = (float)(int32_t)v / 8;
			uint32_t bits;

			memcpy(&bits, &f, 4);
			return bits;
		} else {
			double d = (double)(int64_t)v / 8;

			memcpy(&v, &d, 8);
			return (int64_t)v;
		}
	case LONG_DOUBLE: /* normal: the highest bit is one */ return (int64_t)(v | 1ull << 63);
	case EXPONENT: /* not zero, because GCC 11 folds such a constant to 1, without the plugin too */
		return (uint16_t)(v & 0x7fff ? v : v | 1); /* the highest bit is the sign */
	default: break;
	}
	switch (member->size) {
	case 0: return v & 1;
	case 1: return member->is_signed ? (int64_t)(int8_t)v : (int64_t)(uint8_t)v;
	case 2: return member->is_signed ? (int64_t)(int16_t)v : (int64_t)(uint16_t)v;
	case 3: return (int64_t)(v << 61) >> 61;
	case 4: return member->is_signed ? (int64_t)(int32_t)v : (int64_t)(uint32_t)v;
	case 5: return v & 31;
	default: return (int64_t)v;
	}
}

struct gen_call {
	const struct type *types[PARMS_MAX];
	unsigned nparms;
	const struct type *result;
};

static FILE *open_out(const char *prefix, const char *ending)
{
	char path[4096];
	FILE *out;

	snprintf(path, sizeof path, "%s%s", prefix, ending);
	out = fopen(path, "w");
	if (!out) {
		perror(path);
		exit(1);
	}
	return out;
}

/* Prints a call with random arguments to code, and to expected the line of its entry. */
static void print_call(FILE *code, FILE *expected, const struct gen_call *call, unsigned n)
{
	unsigned parts = 0;

	fprintf(expected, "f%u__entry", n);
	fprintf(code, "f%u(", n);
	for (unsigned p = 0; p < call->nparms; p++) {
		const struct type *type = call->types[p];
		const char *make = type->make;
		unsigned m = 0;

		fprintf(code, "%s", p ? ", " : "");
		for (; *make; make++) {
			int64_t v;

			if (strncmp(make, "%s", 2)) {
				fputc(*make, code);
				continue;
			}
			v = value(&type->members[m]);
			/* If the code reads the variable zero, the compiler does not know the value. */
			fprintf(code, "(long)0x%" PRIx64 "%s", (uint64_t)v, n % 2 ? " + zero" : "");
			if (parts++ < parts_max)
				fprintf(expected, " %" PRId64, v);
			m++;
			make++;
		}
	}
	fprintf(code, ")");
	fprintf(expected, "\n");
}

static void print_function(FILE *code, const struct gen_call *call, unsigned n, const char *body, const char *result)
{
	static const char *const how[] = { "__attribute__((noipa)) ", "static inline ", "",
		                           "static __attribute__((noinline)) " };

	fprintf(code, "%s%s f%u(", how[below(4)], call->result ? call->result->name : "void", n);
	for (unsigned p = 0; p < call->nparms; p++)
		fprintf(code, "%s%s p%u", p ? ", " : "", call->types[p]->name, p);
	fprintf(code, "%s)\n{\n", call->nparms ? "" : "void");
	for (unsigned p = 0; p < call->nparms; p++)
		if (below(2))
			fprintf(code, "\tUSED(p%u);\n", p);
	fprintf(code, "%s%s}\n\n", body, result);
}

/* Prints gdb commands that show the operands of the function's probes as numbers. */
static void print_commands(FILE *gdb, const struct gen_call *call, unsigned n, const char *program)
{
	unsigned parts = 0;

	fprintf(gdb, "break -probe-stap %s:f%u__entry\ncommands\nsilent\nprintf \"f%u__entry\"\n", program, n, n);
	for (unsigned p = 0; p < call->nparms; p++)
		for (const struct gen_member *m = call->types[p]->members;
		     m->kind != NOTHING && (m->size || m == call->types[p]->members) && m < call->types[p]->members + 6;
		     m++)
			if (parts < parts_max)
				fprintf(gdb, "printf \" %%lld\", (long long)%s$_probe_arg%u\n",
				        m->kind == ADDRESS ? "*(long *)" : "", parts++);
	fprintf(gdb,
	        "printf \"\\n\"\nif $_probe_argc != %u\nprintf \"f%u__entry has %%d arguments\\n\", $_probe_argc\nend\ncontinue\nend\n",
	        parts, n);
	fprintf(gdb, "break -probe-stap %s:f%u__return\ncommands\nsilent\nprintf \"f%u__return\"\n", program, n, n);
	if (call->result)
		fprintf(gdb, "printf \" %%lld\", (long long)$_probe_arg0\n");
	fprintf(gdb, "printf \"\\n\"\ncontinue\nend\n");
}

/* The files that a run writes. */
struct gen_output {
	FILE *code, *expected, *gdb;
	const char *program; /* provider of its probes */
};

/* The signature of a function, by chance. */
static void choose_signature(struct gen_call *call)
{
	call->nparms = below(4) ? below(7) : below(PARMS_MAX + 1);
	for (unsigned p = 0; p < call->nparms; p++)
		call->types[p] = &types[below(TYPES)];
	call->result = below(5) ? &types[below(SIMPLE)] : NULL;
}

/* Chooses and prints the return statement of function n to text, and to expected the line of its return. */
static void print_return(char *text, size_t size, FILE *expected, const struct gen_call *call, unsigned n)
{
	char constant[64];
	int64_t v;

	text[0] = 0;
	if (!call->result) {
		fprintf(expected, "f%u__return\n", n);
		return;
	}
	v = value(&call->result->members[0]);
	snprintf(constant, sizeof constant, "((long)0x%" PRIx64 "%s)", (uint64_t)v, below(2) ? " + zero" : "");
	snprintf(text, size, "\treturn ");
	snprintf(text + strlen(text), size - strlen(text), call->result->make, constant);
	strcat(text, ";\n");
	fprintf(expected, "f%u__return %" PRId64 "\n", n, v);
}

/* Prints function n. lines[i]: what gdb prints during a call of function i, after its entry; sets lines[n]. */
static void print_definition(const struct gen_output *out, struct gen_call *calls, char **lines, unsigned n)
{
	struct gen_call *call = &calls[n];
	char *body = NULL, result[256];
	size_t size, line_size;
	FILE *to_body = open_memstream(&body, &size), *to_line = open_memstream(&lines[n], &line_size);

	choose_signature(call);
	/* One function in three calls another one, which may be inlined. */
	if (n && !below(3)) {
		unsigned other = below(n);

		fprintf(to_body, "\t(void)");
		print_call(to_body, to_line, &calls[other], other);
		fprintf(to_body, ";\n\t__asm__ volatile(\"\");\n"); /* not a tail call */
		fprintf(to_line, "%s", lines[other]);
	}
	print_return(result, sizeof result, to_line, call, n);
	fclose(to_body);
	fclose(to_line);
	print_function(out->code, call, n, body, result);
	print_commands(out->gdb, call, n, out->program);
	free(body);
}

/* Prints main(), which calls each function once. */
static void print_main(const struct gen_output *out, const struct gen_call *calls, char **lines, unsigned count)
{
	fprintf(out->code, "int main(void)\n{\n");
	for (unsigned n = 0; n < count; n++) {
		fprintf(out->code, "\t");
		print_call(out->code, out->expected, &calls[n], n);
		fprintf(out->code, ";\n");
		fprintf(out->expected, "%s", lines[n]);
	}
	fprintf(out->code, "\treturn 0;\n}\n");
	fprintf(out->gdb, "run\n");
}

int main(int argc, char **argv)
{
	struct gen_output out;
	struct gen_call *calls;
	char **lines;
	unsigned count;

	if (argc != 4 && argc != 5)
		return 2;
	if (argc == 5)
		parts_max = (unsigned)strtoul(argv[4], NULL, 0);
	state = strtoull(argv[1], NULL, 0) * 2 + 1;
	count = (unsigned)strtoul(argv[2], NULL, 0);
	for (int i = 0; i < 20; i++)
		number();
	out.code = open_out(argv[3], ".c");
	out.expected = open_out(argv[3], ".expected");
	out.gdb = open_out(argv[3], ".gdb");
	out.program = strrchr(argv[3], '/') ? strrchr(argv[3], '/') + 1 : argv[3];
	calls = calloc(count, sizeof *calls);
	lines = calloc(count, sizeof *lines);
	if (!calls || !lines)
		return 1;

	fprintf(out.code, "%s\n", prologue);
	fprintf(out.gdb, "set pagination off\nset confirm off\nset width 0\n");
	for (unsigned n = 0; n < count; n++)
		print_definition(&out, calls, lines, n);
	print_main(&out, calls, lines, count);
	return fclose(out.code) || fclose(out.expected) || fclose(out.gdb);
}
