/* SPDX-License-Identifier: MIT */
#include "runtime/fetch/program.h"

#include <errno.h>
#include <limits.h>
#include <probepoint.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/order.h"
#include "runtime/fetch/print.h"
#include "sdt/image.h"
#include "sdt/operand.h"
#include "sdt/signature.h"

#define OPERAND_STEPS_MAX 10

struct steps {
	struct fetch_step at[RECORD_ARGS_MAX * OPERAND_STEPS_MAX];
	size_t n;
};

static void steps_add(struct steps *steps, enum fetch_opcode op, uint8_t a, uint8_t b, uint8_t c, int64_t value)
{
	steps->at[steps->n++] = (struct fetch_step){ .op = op, .a = a, .b = b, .c = c, .value = value };
}

static void steps_add_immediate(struct steps *steps, int64_t value)
{
	steps_add(steps, FETCH_IMM, 0, 0, 0, value);
}

/* Pushes the scaled index of a memory operand. */
static void steps_add_index(struct steps *steps, const struct operand *operand)
{
	steps_add(steps, FETCH_REG, operand->index, 0, 0, 0);
	if (operand->index_size)
		steps_add(steps, FETCH_EXTEND, abs(operand->index_size), 0, operand->index_size < 0, 0);
	if (operand->scale == 1)
		return;
	steps_add_immediate(steps, operand->scale);
	steps_add(steps, FETCH_MUL, 0, 0, 0, 0);
}

/* Pushes the address of a memory operand. A static one is relative to the site's address, which is in the pc. */
static void steps_add_address(struct steps *steps, const struct pp_site *site, const struct operand *operand)
{
	const struct pp_image *image = site->probe->image;
	bool is_static = operand->kind == OPERAND_STATIC, is_64 = !image || image->is_64;
	int base = is_static ? cpu_of(image->machine, image->is_64)->pc : operand->reg;
	int index = is_static ? -1 : operand->index;
	uint64_t offset = operand->value;

	if (is_static)
		offset -= site->address;
	if (base < 0 && index < 0) {
		steps_add_immediate(steps, is_64 ? offset : (uint32_t)offset);
		return;
	}
	if (base >= 0)
		steps_add(steps, FETCH_REG, base, 0, 0, 0);
	if (index >= 0)
		steps_add_index(steps, operand);
	if (base >= 0 && index >= 0)
		steps_add(steps, FETCH_ADD, 0, 0, 0, 0);
	if (offset) {
		steps_add_immediate(steps, offset);
		steps_add(steps, FETCH_ADD, 0, 0, 0, 0);
	}
	if (!is_64) /* addresses wrap at 32 bits */
		steps_add(steps, FETCH_EXTEND, 4, 0, 0, 0);
}

/* Extends the low size bytes of value to 64 bits. */
static uint64_t constant_extend(uint64_t value, unsigned size, bool is_signed)
{
	unsigned rest = 64 - 8 * size;

	return is_signed ? (uint64_t)((int64_t)(value << rest) >> rest) : value << rest >> rest;
}

static void steps_add_value(struct steps *steps, const struct pp_site *site, const struct operand *operand,
                            bool is_signed)
{
	switch (operand->kind) {
	case OPERAND_CONST:
		steps_add_immediate(steps, constant_extend(operand->value, operand->size, is_signed));
		break;
	case OPERAND_REG:
		steps_add(steps, FETCH_REG, operand->reg, 0, 0, 0);
		if (operand->size != 8)
			steps_add(steps, FETCH_EXTEND, operand->size, operand->shift, is_signed, 0);
		break;
	case OPERAND_MEM:
	case OPERAND_STATIC:
		steps_add_address(steps, site, operand);
		steps_add(steps, FETCH_LOAD, operand->size, 0, is_signed, 0);
		break;
	case OPERAND_NONE: steps_add_immediate(steps, 0); break;
	}
}

/* Returns the kind of an argument. The signature decides where it fits the operand's size; arg is NULL without one. */
static enum pp_kind argument_kind(const struct pp_arg *arg, const struct operand *operand, bool is_float)
{
	switch (arg ? arg->class : PPN_CLASS_NONE) {
	case PPN_CLASS_SIGNED: return PP_SIGNED;
	case PPN_CLASS_UNSIGNED: return PP_UNSIGNED;
	case PPN_CLASS_POINTER:
		if (operand->size >= 4 && arg->type && signature_is_char_pointer(arg->type))
			return PP_STRING;
		return PP_POINTER;
	case PPN_CLASS_STRING:
		if (operand->size >= 4)
			return PP_STRING;
		break;
	case PPN_CLASS_BOOL: return PP_BOOL;
	case PPN_CLASS_CHAR: return PP_CHAR;
	case PPN_CLASS_FLOAT:
		if (operand->size >= 2)
			return PP_FLOAT;
		break;
	}
	if (is_float && operand->size >= 4)
		return PP_FLOAT;
	return operand->is_signed ? PP_SIGNED : PP_UNSIGNED;
}

static bool operand_is_valid(const struct operand *o)
{
	return o->kind == OPERAND_NONE ||
	       ((o->size == 1 || o->size == 2 || o->size == 4 || o->size == 8) && o->shift + 8 * o->size <= 64);
}

static void argument_compile(const struct pp_site *site, const struct operand *operand, size_t i, size_t *nstrings,
                             struct steps *steps, struct fetch_program *program)
{
	const struct pp_arg *arg = i < site->probe->nargs ? &site->probe->args[i] : NULL;
	bool is_float = operand->is_float || (i < 32 && site->floats >> i & 1);
	enum pp_kind kind = operand->kind == OPERAND_NONE ? PP_FAULT : argument_kind(arg, operand, is_float);

	program->nmissing += kind == PP_FAULT;
	program->of_site |= operand->kind == OPERAND_STATIC;
	if (kind == PP_STRING && (*nstrings)++ >= RECORD_STRINGS_MAX)
		kind = PP_POINTER;
	steps_add_value(steps, site, operand, kind == PP_SIGNED || (kind == PP_CHAR && operand->is_signed));
	if (kind == PP_STRING)
		steps_add(steps, FETCH_STRING, i, 0, 0, RECORD_STRING_DEFAULT);
	else
		steps_add(steps, FETCH_ARG, i, 0, 0, 0);
	program->kind[i] = kind;
	program->size[i] = operand->size;
}

int fetch_compile(const struct pp_site *site, struct fetch_program *program)
{
	const struct pp_probe *probe = site->probe;
	struct operand operands[OPERANDS_MAX];
	struct steps steps = { .n = 0 };
	size_t nstrings = 0, nbad = 0;
	int n = 0;

	memset(program, 0, sizeof(*program));
	if (site->operands)
		n = operands_read(probe->image, site->operands, operands, &nbad);
	if (n < 0)
		return n;
	if (n > RECORD_ARGS_MAX)
		n = RECORD_ARGS_MAX;
	for (int i = 0; i < n; i++) {
		if (!operand_is_valid(&operands[i]))
			return error_set(EINVAL, "argument %d of %s:%s has an invalid size of %d bytes", i,
			                 probe->provider, probe->name, operands[i].size);
		argument_compile(site, &operands[i], i, &nstrings, &steps, program);
	}
	if (steps.n) {
		program->steps = malloc(steps.n * sizeof(*program->steps));
		if (!program->steps)
			return error_nomem();
		memcpy(program->steps, steps.at, steps.n * sizeof(*program->steps));
	}
	program->nsteps = steps.n;
	program->nargs = n;
	return 0;
}

/* Returns the index of the first step of an argument. */
static size_t argument_first(const struct fetch_program *program, unsigned i)
{
	size_t at = program->npredicate + program->naggregate;

	for (unsigned passed = 0; passed < i; at++)
		passed += fetch_ends_argument(program->steps[at].op);
	return at;
}

int fetch_set_length(struct fetch_program *program, unsigned i, unsigned length)
{
	size_t from = argument_first(program, length), n = argument_first(program, length + 1) - 1 - from;
	size_t end = argument_first(program, i + 1) - 1;
	struct fetch_step *steps;

	if (program->kind[i] != PP_STRING)
		return error_set(EINVAL, "argument %u cannot be the address of a string", i);
	if (program->kind[length] == PP_STRING || program->kind[length] == PP_FLOAT ||
	    program->kind[length] == PP_FAULT)
		return error_set(EINVAL, "argument %u cannot be the length of a string", length);
	steps = malloc((program->nsteps + n) * sizeof(*steps));
	if (!steps)
		return error_nomem();
	memcpy(steps, program->steps, end * sizeof(*steps));
	memcpy(steps + end, program->steps + from, n * sizeof(*steps));
	memcpy(steps + end + n, program->steps + end, (program->nsteps - end) * sizeof(*steps));
	steps[end + n].op = FETCH_STRINGN;
	free(program->steps);
	program->steps = steps;
	program->nsteps += n;
	return 0;
}

bool fetch_has_length(const struct fetch_program *program, unsigned i)
{
	return program->steps[argument_first(program, i + 1) - 1].op == FETCH_STRINGN;
}

void fetch_set_pointer(struct fetch_program *program, unsigned i)
{
	struct fetch_step *last = &program->steps[argument_first(program, i + 1) - 1];

	last->op = FETCH_ARG;
	last->value = 0;
	program->kind[i] = PP_POINTER;
}

void fetch_set_string_max(struct fetch_program *program, unsigned max)
{
	for (size_t i = program->npredicate + program->naggregate; i < program->nsteps; i++)
		if (program->steps[i].op == FETCH_STRING || program->steps[i].op == FETCH_STRINGN)
			program->steps[i].value = max;
}

void fetch_printed_free(struct fetch_printed *printed)
{
	if (!printed)
		return;
	arena_release(&printed->arena);
	free(printed);
}

void fetch_release(struct fetch_program *program)
{
	if (!program)
		return;
	free(program->steps);
	free(program->literals);
	fetch_printed_free(program->printed);
	if (program->aggregate)
		free(program->aggregate->text);
	free(program->aggregate);
	memset(program, 0, sizeof(*program));
}

/* The parts of steps that a comparison ignores. */
struct ignored {
	bool constants, registers;
};

static int step_compare(const struct fetch_step *a, const struct fetch_step *b, struct ignored ignored)
{
	ORDER(a->op, b->op);
	if (!ignored.registers || a->op != FETCH_REG)
		ORDER(a->a, b->a);
	ORDER(a->b, b->b);
	ORDER(a->c, b->c);
	if (!ignored.constants || a->op != FETCH_IMM)
		ORDER(a->value, b->value);
	return 0;
}

static int literal_compare(const struct fetch_literal *a, const struct fetch_literal *b)
{
	ORDER(a->length, b->length);
	return memcmp(a->bytes, b->bytes, a->length);
}

/* The expressions are equal, because they belong to one request. */
static int printed_compare(const struct fetch_program *a, const struct fetch_program *b)
{
	ORDER(!a->printed, !b->printed);
	for (size_t i = 0; a->printed && i < a->nargs; i++)
		ORDER((uintptr_t)a->printed->args[i].values, (uintptr_t)b->printed->args[i].values);
	return 0;
}

/* So are these. */
static int aggregate_compare(const struct fetch_aggregate *a, const struct fetch_aggregate *b)
{
	int order = 0;

	ORDER(!a, !b);
	if (!a)
		return 0;
	ORDER(a->ncolumns, b->ncolumns);
	ORDER(a->nparts, b->nparts);
	order = memcmp(a->columns, b->columns, a->ncolumns * sizeof(*a->columns));
	for (size_t i = 0; !order && i < a->nparts; i++) {
		ORDER(a->parts[i].kind, b->parts[i].kind);
		ORDER((uintptr_t)a->parts[i].names, (uintptr_t)b->parts[i].names);
	}
	return order;
}

static int program_order(const struct fetch_program *a, const struct fetch_program *b, struct ignored ignored)
{
	int order = 0;

	ORDER(a->role, b->role);
	ORDER(a->match, b->match);
	ORDER(a->nkey, b->nkey);
	ORDER(a->sample.every, b->sample.every);
	ORDER(a->sample.rate, b->sample.rate);
	ORDER(a->nsteps, b->nsteps);
	ORDER(a->npredicate, b->npredicate);
	ORDER(a->naggregate, b->naggregate);
	ORDER(a->nargs, b->nargs);
	ORDER(a->nliterals, b->nliterals);
	for (size_t i = 0; !order && i < a->nsteps; i++)
		order = step_compare(&a->steps[i], &b->steps[i], ignored);
	for (size_t i = 0; !order && i < a->nliterals; i++)
		order = literal_compare(&a->literals[i], &b->literals[i]);
	if (!order)
		order = aggregate_compare(a->aggregate, b->aggregate);
	if (!order)
		order = memcmp(a->kind, b->kind, a->nargs);
	if (!order)
		order = memcmp(a->size, b->size, a->nargs);
	if (!order)
		order = printed_compare(a, b);
	return order;
}

int fetch_compare(const struct fetch_program *a, const struct fetch_program *b)
{
	return program_order(a, b, (struct ignored){ 0 });
}

int fetch_compare_shape(const struct fetch_program *a, const struct fetch_program *b, bool registers)
{
	return program_order(a, b, (struct ignored){ .constants = true, .registers = registers });
}

int fetch_check(const struct fetch_program *program, unsigned nregisters, uint8_t *depths)
{
	size_t at;
	const char *fault = fetch_fault(program, nregisters, depths, &at);

	return fault ? error_set(EBADMSG, "invalid fetch program: %s (step %zu)", fault, at) : 0;
}
