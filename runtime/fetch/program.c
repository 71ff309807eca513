/* SPDX-License-Identifier: MIT */
#include "runtime/fetch/program.h"

#include <errno.h>
#include <limits.h>
#include <probepoint.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "sdt/image.h"
#include "sdt/operand.h"
#include "sdt/signature.h"

#define OPERAND_STEPS_MAX 10

struct steps {
	struct fetch_step at[RECORD_ARGS_MAX * OPERAND_STEPS_MAX];
	size_t n;
};

static void add(struct steps *steps, enum fetch_opcode op, uint8_t a, uint8_t b, uint8_t c, int64_t value)
{
	steps->at[steps->n++] = (struct fetch_step){ .op = op, .a = a, .b = b, .c = c, .value = value };
}

/* Size bytes of value from bit on, extended to 64 bits. */
static uint64_t extend(uint64_t value, unsigned size, unsigned bit, bool is_signed)
{
	unsigned rest = 64 - 8 * size;

	value = value >> bit << rest;
	return is_signed ? (uint64_t)((int64_t)value >> rest) : value >> rest;
}

static void add_address(struct steps *steps, const struct pp_site *site, const struct operand *operand)
{
	const struct pp_image *image = site->probe->image;
	bool is_static = operand->kind == OPERAND_STATIC, is_64 = !image || image->is_64;
	int base = is_static ? cpu_of(image->machine, image->is_64)->pc : operand->reg;
	int index = is_static ? -1 : operand->index;
	uint64_t offset = operand->value;

	if (is_static)
		offset -= site->address;
	if (base >= 0)
		add(steps, FETCH_REG, base, 0, 0, 0);
	if (index >= 0) {
		add(steps, FETCH_REG, index, 0, 0, 0);
		if (operand->index_size)
			add(steps, FETCH_EXTEND, abs(operand->index_size), 0, operand->index_size < 0, 0);
		if (operand->scale != 1) {
			add(steps, FETCH_IMM, 0, 0, 0, operand->scale);
			add(steps, FETCH_MUL, 0, 0, 0, 0);
		}
		if (base >= 0)
			add(steps, FETCH_ADD, 0, 0, 0, 0);
	}
	if (base < 0 && index < 0) {
		add(steps, FETCH_IMM, 0, 0, 0, is_64 ? offset : (uint32_t)offset);
	} else {
		if (offset) {
			add(steps, FETCH_IMM, 0, 0, 0, offset);
			add(steps, FETCH_ADD, 0, 0, 0, 0);
		}
		if (!is_64) /* where the CPU wraps */
			add(steps, FETCH_EXTEND, 4, 0, 0, 0);
	}
}

static void add_value(struct steps *steps, const struct pp_site *site, const struct operand *operand, bool is_signed)
{
	switch (operand->kind) {
	case OPERAND_CONST: add(steps, FETCH_IMM, 0, 0, 0, extend(operand->value, operand->size, 0, is_signed)); break;
	case OPERAND_REG:
		add(steps, FETCH_REG, operand->reg, 0, 0, 0);
		if (operand->size != 8)
			add(steps, FETCH_EXTEND, operand->size, operand->shift, is_signed, 0);
		break;
	case OPERAND_MEM:
	case OPERAND_STATIC:
		add_address(steps, site, operand);
		add(steps, FETCH_LOAD, operand->size, 0, is_signed, 0);
		break;
	case OPERAND_NONE: add(steps, FETCH_IMM, 0, 0, 0, 0); break;
	}
}

static enum pp_kind kind_of(const struct pp_arg *arg, const struct operand *operand, bool is_float)
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
		if (operand->size >= 4)
			return PP_FLOAT;
		break;
	}
	if (is_float && operand->size >= 4)
		return PP_FLOAT;
	return operand->is_signed ? PP_SIGNED : PP_UNSIGNED;
}

static bool operand_is_sane(const struct operand *o)
{
	return o->kind == OPERAND_NONE ||
	       ((o->size == 1 || o->size == 2 || o->size == 4 || o->size == 8) && o->shift + 8 * o->size <= 64);
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
		const struct operand *operand = &operands[i];
		const struct pp_arg *arg = (size_t)i < probe->nargs ? &probe->args[i] : NULL;
		enum pp_kind kind;

		if (!operand_is_sane(operand))
			return error_set(EINVAL, "argument %d of %s:%s is of %d bytes, and 1, 2, 4 or 8 can be read", i,
			                 probe->provider, probe->name, operand->size);
		kind = operand->kind == OPERAND_NONE
		               ? PP_FAULT
		               : kind_of(arg, operand, operand->is_float || (i < 32 && site->floats >> i & 1));
		program->nmissing += kind == PP_FAULT;
		program->of_site |= operand->kind == OPERAND_STATIC;
		if (kind == PP_STRING && nstrings++ >= RECORD_STRINGS_MAX)
			kind = PP_POINTER;
		add_value(&steps, site, operand, kind == PP_SIGNED || (kind == PP_CHAR && operand->is_signed));
		add(&steps, kind == PP_STRING ? FETCH_STRING : FETCH_ARG, i, 0, 0, 0);
		program->kind[i] = kind;
		program->size[i] = operand->size;
	}
	if (steps.n) {
		program->steps = malloc(steps.n * sizeof(*program->steps));
		if (!program->steps)
			return error_set(ENOMEM, "out of memory compiling the operands of %s:%s", probe->provider,
			                 probe->name);
		memcpy(program->steps, steps.at, steps.n * sizeof(*program->steps));
	}
	program->nsteps = steps.n;
	program->nargs = n;
	return 0;
}

void fetch_release(struct fetch_program *program)
{
	if (!program)
		return;
	free(program->steps);
	free(program->literals);
	memset(program, 0, sizeof(*program));
}

#define ORDER(x, y)                                \
	do {                                       \
		if ((x) != (y))                    \
			return (x) < (y) ? -1 : 1; \
	} while (0)

static int step_compare(const struct fetch_step *a, const struct fetch_step *b)
{
	ORDER(a->op, b->op);
	ORDER(a->a, b->a);
	ORDER(a->b, b->b);
	ORDER(a->c, b->c);
	ORDER(a->value, b->value);
	return 0;
}

int fetch_compare(const struct fetch_program *a, const struct fetch_program *b)
{
	int order = 0;

	ORDER(a->role, b->role);
	ORDER(a->nsteps, b->nsteps);
	ORDER(a->npredicate, b->npredicate);
	ORDER(a->nargs, b->nargs);
	ORDER(a->nliterals, b->nliterals);
	for (size_t i = 0; !order && i < a->nsteps; i++)
		order = step_compare(&a->steps[i], &b->steps[i]);
	for (size_t i = 0; !order && i < a->nliterals; i++) {
		ORDER(a->literals[i].length, b->literals[i].length);
		order = memcmp(a->literals[i].bytes, b->literals[i].bytes, a->literals[i].length);
	}
	if (!order)
		order = memcmp(a->kind, b->kind, a->nargs);
	if (!order)
		order = memcmp(a->size, b->size, a->nargs);
	return order;
}

int fetch_check(const struct fetch_program *program, unsigned nregisters, uint8_t *depths)
{
	size_t at;
	const char *fault = fetch_fault(program, nregisters, depths, &at);

	return fault ? error_set(EBADMSG, "a fetch program %s (step %zu)", fault, at) : 0;
}

/* ---- the reference interpreter ---- */

static int read_value(const struct fetch_machine *m, uint64_t *top, const struct fetch_step *step)
{
	unsigned char bytes[8] = { 0 };
	uint64_t value = 0;
	int err = m->read(m->arg, *top, bytes, step->a);

	for (unsigned i = 0; i < step->a; i++)
		value |= (uint64_t)bytes[i] << 8 * i;
	*top = extend(value, step->a, 0, step->c);
	return err;
}

/* Its length: max - 1 where there was no NUL among the first max - 1 bytes; -EFAULT. */
static int read_string(const struct fetch_machine *m, uint64_t address, char *to, unsigned max)
{
	for (unsigned i = 0; i < max; i++) {
		char byte;

		if (m->read(m->arg, address + i, &byte, 1))
			return -EFAULT;
		if (!byte)
			return i;
		if (i < max - 1)
			to[i] = byte;
	}
	return max - 1;
}

static uint64_t divide(uint64_t x, uint64_t y, bool is_signed, bool remainder)
{
	if (!y)
		return 0;
	if (!is_signed)
		return remainder ? x % y : x / y;
	if (y == UINT64_MAX)
		return remainder ? 0 : -x;
	return remainder ? (int64_t)x % (int64_t)y : (int64_t)x / (int64_t)y;
}

static uint64_t binary(const struct fetch_step *step, uint64_t x, uint64_t y)
{
	switch (step->op) {
	case FETCH_ADD: return x + y;
	case FETCH_SUB: return x - y;
	case FETCH_MUL: return x * y;
	case FETCH_DIV: return divide(x, y, step->c, false);
	case FETCH_MOD: return divide(x, y, step->c, true);
	case FETCH_AND: return x & y;
	case FETCH_OR: return x | y;
	case FETCH_XOR: return x ^ y;
	case FETCH_SHL: return x << (y & 63);
	case FETCH_SHR: return step->c ? (uint64_t)((int64_t)x >> (y & 63)) : x >> (y & 63);
	case FETCH_EQ: return x == y;
	case FETCH_NE: return x != y;
	case FETCH_LT: return step->c ? (int64_t)x < (int64_t)y : x < y;
	case FETCH_LE: return step->c ? (int64_t)x <= (int64_t)y : x <= y;
	}
	return 0;
}

static bool matches(const struct fetch_literal *literal, const char *string, size_t length, bool prefix)
{
	return (prefix ? length >= literal->length : length == literal->length) &&
	       !memcmp(string, literal->bytes, literal->length);
}

/* top: an address before, the answer after. */
static int match_string(const struct fetch_machine *m, const struct fetch_literal *literal, bool prefix, uint64_t *top)
{
	char string[FETCH_LITERAL_MAX + 1];
	int length = read_string(m, *top, string, literal->length + (prefix ? 1 : 2));

	if (length < 0)
		return length;
	*top = matches(literal, string, length, prefix);
	return 0;
}

/* 0; -EFAULT: argument i cannot be read. */
static int store_string(const struct fetch_machine *m, uint64_t address, uint64_t *length, char **strings)
{
	char string[RECORD_STRING_CUT] = { 0 };
	int n = read_string(m, address, string, RECORD_STRING_CUT + 1);

	if (n < 0)
		return n;
	*length = n;
	memcpy(*strings, string, (n + 7) & ~7);
	*strings += (n + 7) & ~7;
	return 0;
}

int fetch_run(const struct fetch_program *program, const struct fetch_machine *machine, struct record *record)
{
	uint64_t values[FETCH_DEPTH_MAX + 1], *top = values; /* values[0] is below the first */
	char *strings = (char *)&record->value[program->nargs];
	int fault = 0;

	memset(record->value, 0, 8 * program->nargs);
	record->faults = 0;
	for (size_t i = 0; i < program->nsteps; i++) {
		const struct fetch_step *step = &program->steps[i];

		switch (step->op) {
		case FETCH_IMM: *++top = step->value; break;
		case FETCH_REG: *++top = machine->registers[step->a]; break;
		case FETCH_EXTEND: *top = extend(*top, step->a, step->b, step->c); break;
		case FETCH_LOAD: fault = read_value(machine, top, step); break;
		case FETCH_ARG: record->value[step->a] = *top--; break;
		case FETCH_STRING:
			if (store_string(machine, *top--, &record->value[step->a], &strings))
				record->faults |= 1u << step->a;
			break;
		case FETCH_NOT: *top = !*top; break;
		case FETCH_NEG: *top = -*top; break;
		case FETCH_COM: *top = ~*top; break;
		case FETCH_PID: *++top = machine->pid; break;
		case FETCH_TID: *++top = machine->tid; break;
		case FETCH_JZ:
		case FETCH_JNZ:
			if (!*top == (step->op == FETCH_JZ))
				i = step->value - 1;
			else
				top--;
			break;
		case FETCH_STREQ:
		case FETCH_PREFIX:
			fault = match_string(machine, &program->literals[step->a], step->op == FETCH_PREFIX, top);
			break;
		case FETCH_COMMEQ:
		case FETCH_COMMPREFIX:
			*++top = matches(&program->literals[step->a], machine->comm, strlen(machine->comm),
			                 step->op == FETCH_COMMPREFIX);
			break;
		case FETCH_TEST:
			if (!*top--)
				return 0;
			break;
		default: top--; *top = binary(step, top[0], top[1]);
		}
		if (fault) {
			if (i < program->npredicate)
				return 0;
			while (program->steps[i].op != FETCH_ARG && program->steps[i].op != FETCH_STRING)
				i++;
			record->faults |= 1u << program->steps[i].a;
			top = values;
			fault = 0;
		}
	}
	record->words = (strings - (char *)record) / 8;
	return 1;
}
