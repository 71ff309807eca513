/* SPDX-License-Identifier: MIT */
/*
 * A libFuzzer target (tests/fuzz/run.sh): compiles the input as a filter. If it compiles,
 * the result must be a valid fetch program, which is run.
 */
#include <elf.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/fetch/aggregate.h"
#include "runtime/fetch/filter.h"
#include "sdt/image.h"
#include "tests/unit/interpreter.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct pp_field fields[] = {
	{ "a", "int", 'i', 0, 0, 4, 4 },       { "b", "long", 'i', 5, 60, 8, 9 },
	{ "s", "char *", 's', 0, 0, 24, 8 },   { "t", "char [8]", 'x', 0, 0, 32, 8 },
	{ "x", "struct y", 'x', 0, 0, 40, 8 }, { "d", "double", 'f', 0, 0, 48, 8 },
};
static struct pp_enumerator values[] = { { "ON", 1 }, { "OFF", -1 } };
static const struct pp_type type = { .name = "struct x", .size = 56, .fields = fields, .nfields = 6 };
static const struct pp_type state = { .name = "enum e", .size = 4, .values = values, .nvalues = 2 };
static struct pp_arg args[] = {
	{ "i", "enum e", 'i', &state, 0 }, { "u", "unsigned long", 'u', NULL, 0 },
	{ "s", "char *", 's', NULL, 0 },   { "p", "struct x *", 'p', &type, 0 },
	{ "f", "double", 'f', NULL, 0 },   { "q.c[0]", "char", 'c', NULL, 0 },
};
static struct pp_image image = { .path = "it", .machine = EM_X86_64, .is_64 = true };
static struct pp_probe probe = { .image = &image, .provider = "it", .name = "here", .args = args, .nargs = 6 };
static struct pp_site site = {
	.probe = &probe,
	.operands = "-4@-4(%rbp) 8@8(%rdx,%rcx,8) 8@%rsi 8@%rdi 8@%r8 -1@%ah 8@%r9",
};

/* One byte in eight is a NUL; one address in sixteen is not readable. */
static int read_memory(void *arg, uint64_t address, void *to, size_t size)
{
	(void)arg;
	memset(to, 0, size);
	if (address % 16 == 15)
		return -1;
	for (size_t i = 0; i < size; i++)
		((char *)to)[i] = (address + i) % 8 ? 'a' + (address + i) % 3 : 0;
	return 0;
}

/* Checks what an aggregate computes for a hit. */
static void take(void *arg, unsigned column, const uint8_t *parts, size_t size, uint64_t value, bool unread)
{
	const struct fetch_program *program = arg;
	const struct agg_column *c = &program->aggregate->columns[column];
	uint64_t low, high;

	(void)parts;
	if (column >= program->aggregate->ncolumns || size > AGG_KEY_SIZE_MAX)
		abort();
	agg_bucket_range(c, agg_bucket(c, value), &low, &high);
	if (!unread && (agg_less(c, (int64_t)value, (int64_t)low) || agg_less(c, (int64_t)high, (int64_t)value)))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint64_t registers[17] = { 0x1234, 3, 0x1000, 4, 5, 0x2004, 0x3001, 0x300f, 8, 0x3008 };
	struct fetch_machine machine = {
		.registers = registers, .read = read_memory, .pid = 7, .tid = 8, .comm = "a", .aggregate = take
	};
	union {
		struct record record;
		char room[RECORD_SIZE_MAX];
	} out;
	struct fetch_program program; /* read_memory() does not use arg, take() does */
	char *expr = malloc(size + 1);
	uint8_t *depths;

	machine.arg = &program;
	memcpy(expr, data, size);
	expr[size] = 0;
	if (fetch_compile(&site, &program))
		abort();
	if (!filter_compile(expr, &site, &program)) {
		depths = malloc(program.nsteps);
		if (fetch_check(&program, 17, depths))
			abort();
		fetch_run(&program, &machine, &out.record);
		free(depths);
	}
	if (!program.naggregate && !aggregate_compile(expr, &site, &program)) {
		depths = malloc(program.nsteps);
		if (fetch_check(&program, 17, depths))
			abort();
		fetch_run(&program, &machine, &out.record);
		free(depths);
	}
	fetch_release(&program);
	free(expr);
	return 0;
}
