/* SPDX-License-Identifier: MIT */
/*
 * The reference interpreter of fetch programs. The tests compare the kernel's and the agent's code with it. It follows
 * the rules at the top of runtime/fetch/program.h in the most direct way.
 */
#ifndef TESTS_UNIT_INTERPRETER_H
#define TESTS_UNIT_INTERPRETER_H

#include <errno.h>
#include <string.h>

#include "runtime/fetch/program.h"

struct fetch_machine {
	const uint64_t *registers; /* by number; 17 on x86-64, 33 on aarch64 */
	/* Reads size bytes of memory. Returns 0 or -EFAULT, and then fills *to with zeroes. */
	int (*read)(void *arg, uint64_t address, void *to, size_t size);
	void *arg;
	pid_t pid, tid;
	uint64_t exec; /* struct agg_stack */
	unsigned cpu;
	const char *comm;
	/*
	 * Receives what the aggregate computes: a value of a column under the key's parts, as struct agg_key has them. If
	 * unread is set, the value or the key could not be read. NULL: nothing is computed.
	 */
	void (*aggregate)(void *arg, unsigned column, const uint8_t *parts, size_t size, uint64_t value, bool unread);
	/* Of a SITE_LEAVE: the arguments of the begin, a bit for each that could not be read, and the ns since then. */
	uint64_t entry[FETCH_ENTRY_MAX];
	uint32_t entry_faults;
	uint64_t duration;
	/* Hits that passed the predicate so far, from which the program's `every` chooses. NULL: all hits are chosen. */
	uint64_t *passed;
};

/* Extends size bytes of value, from bit on, to 64 bits. */
static uint64_t machine_extend(uint64_t value, unsigned size, unsigned bit, bool is_signed)
{
	unsigned rest = 64 - 8 * size;

	value = value >> bit << rest;
	return is_signed ? (uint64_t)((int64_t)value >> rest) : value >> rest;
}

static int machine_load(const struct fetch_machine *m, uint64_t *top, const struct fetch_step *step)
{
	unsigned char bytes[8] = { 0 };
	uint64_t value = 0;
	int err = m->read(m->arg, *top, bytes, step->a);

	for (unsigned i = 0; i < step->a; i++)
		value |= (uint64_t)bytes[i] << 8 * i;
	*top = machine_extend(value, step->a, 0, step->c);
	return err;
}

/*
 * Reads a string into to, without its NUL. Returns its length, max - 1 if none of its first max - 1 bytes is NUL, or
 * -EFAULT.
 */
static int machine_load_string(const struct fetch_machine *m, uint64_t address, char *to, unsigned max)
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

static uint64_t machine_divide(uint64_t x, uint64_t y, bool is_signed, bool remainder)
{
	if (!y)
		return 0;
	if (!is_signed)
		return remainder ? x % y : x / y;
	if (y == UINT64_MAX)
		return remainder ? 0 : -x;
	return remainder ? (int64_t)x % (int64_t)y : (int64_t)x / (int64_t)y;
}

static uint64_t machine_binary(const struct fetch_step *step, uint64_t x, uint64_t y)
{
	switch (step->op) {
	case FETCH_ADD: return x + y;
	case FETCH_SUB: return x - y;
	case FETCH_MUL: return x * y;
	case FETCH_DIV: return machine_divide(x, y, step->c, false);
	case FETCH_MOD: return machine_divide(x, y, step->c, true);
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

static bool machine_matches(const struct fetch_literal *literal, const char *string, size_t length, bool prefix)
{
	return (prefix ? length >= literal->length : length == literal->length) &&
	       !memcmp(string, literal->bytes, literal->length);
}

/* Replaces the address *top by whether the string there matches. Returns 0 or -EFAULT. */
static int machine_match(const struct fetch_machine *m, const struct fetch_literal *literal, bool prefix, uint64_t *top)
{
	char string[FETCH_LITERAL_MAX + 1];
	int length = machine_load_string(m, *top, string, literal->length + (prefix ? 1 : 2));

	if (length < 0)
		return length;
	*top = machine_matches(literal, string, length, prefix);
	return 0;
}

/* Replaces the address *top by whether the literal is in the string there, or at its end. Returns 0 or -EFAULT. */
static int machine_search(const struct fetch_machine *m, const struct fetch_literal *literal, bool at_end,
                          uint64_t *top)
{
	char string[FETCH_SEARCH_MAX + 2] = { 0 }, wanted[FETCH_LITERAL_MAX + 1] = { 0 };
	int length = machine_load_string(m, *top, string, FETCH_SEARCH_MAX + 2);
	bool longer = length > FETCH_SEARCH_MAX;

	if (length < 0)
		return length;
	memcpy(wanted, literal->bytes, literal->length);
	string[longer ? FETCH_SEARCH_MAX : length] = 0;
	length = strlen(string);
	if (at_end)
		*top = !longer && length >= literal->length && !strcmp(string + length - literal->length, wanted);
	else
		*top = strstr(string, wanted) != NULL;
	return 0;
}

/* Reads a string that has a length, at most max + 1 bytes. Returns how many, or -EFAULT. */
static int machine_load_bytes(const struct fetch_machine *m, uint64_t address, uint64_t length, char *to, unsigned max)
{
	unsigned n = length > max ? max + 1 : length;

	if ((int64_t)length < 0)
		return -EFAULT;
	for (unsigned i = 0; i < n; i++)
		if (m->read(m->arg, address + i, to + i, 1))
			return -EFAULT;
	return n;
}

/*
 * Appends the string at address, of at most max bytes, to the record's strings. size: its length, NULL if it ends with its
 * NUL. Returns 0 or -EFAULT.
 */
static int machine_store_string(const struct fetch_machine *m, uint64_t address, const uint64_t *size, unsigned max,
                                uint64_t *length, char **strings)
{
	char string[RECORD_STRING_ROOM(RECORD_STRING_MAX)] = { 0 };
	int n = size ? machine_load_bytes(m, address, *size, string, max)
	             : machine_load_string(m, address, string, max + 2);

	if (n < 0)
		return n;
	*length = n;
	memcpy(*strings, string, (n + 7) & ~7);
	*strings += (n + 7) & ~7;
	return 0;
}

/* Replaces the address *top by a hash of the string there. Returns 0 or -EFAULT. */
static int machine_hash(const struct fetch_machine *m, uint64_t *top)
{
	unsigned char bytes[FETCH_HASH_BYTES] = { 0 };
	uint64_t hash = FETCH_HASH_SEED;

	for (int i = 0; i < FETCH_HASH_BYTES; i++) {
		if (m->read(m->arg, *top + i, &bytes[i], 1))
			return -EFAULT;
		if (!bytes[i])
			break;
	}
	for (int i = 0; i < FETCH_HASH_BYTES; i += 8) {
		uint64_t word = 0;

		for (int k = 0; k < 8; k++)
			word |= (uint64_t)bytes[i + k] << 8 * k;
		hash = (hash ^ word) * FETCH_HASH_FACTOR;
		hash ^= hash >> 32;
	}
	*top = hash;
	return 0;
}

/* The state of a run. The stack's top is *top; stack[0] is below its first value. */
struct machine_run {
	const struct fetch_program *program;
	const struct fetch_machine *machine;
	struct record *record;
	uint64_t stack[FETCH_DEPTH_MAX + 1], *top;
	char *strings; /* where the record's next string goes */
	size_t next;   /* the step after this one */
	uint8_t parts[AGG_KEY_SIZE_MAX];
	size_t parts_size; /* of the key so far */
};

/* Walks the stack, whose first words are in place. */
static void machine_stack(const struct fetch_machine *m, uint8_t *part)
{
	struct agg_stack stack;
	uint64_t words[AGG_WORDS], lowest, at, frame[2];
	size_t n = 1;

	memcpy(words, part, sizeof(words));
	lowest = words[AGG_WORD_SP];
	at = words[AGG_WORD_FRAME];
	stack = (struct agg_stack){ .pid = words[AGG_WORD_PID], .exec = m->exec, .frames = { words[AGG_WORD_SITE] } };
	if (words[AGG_WORD_RETURN])
		stack.frames[n++] = words[AGG_WORD_RETURN];
	while (n < AGG_FRAMES && at >= lowest && at - lowest <= AGG_FRAME_SIZE_MAX && at % 8 == 0 &&
	       !m->read(m->arg, at, frame, sizeof(frame)) && frame[1]) {
		stack.frames[n++] = frame[1];
		lowest = at + 16;
		at = frame[0];
	}
	memcpy(part, &stack, sizeof(stack));
}

/* Appends a part to the key. Returns 0 or -EFAULT. */
static int machine_key(struct machine_run *run, const struct fetch_step *step)
{
	const struct fetch_machine *m = run->machine;
	uint8_t *part = run->parts + run->parts_size;
	char string[AGG_STRING + 1] = { 0 };
	int length;

	if (step->op == FETCH_KEY) {
		memcpy(part, run->top--, 8);
		run->parts_size += 8;
		return 0;
	}
	if (step->op == FETCH_KEYWORD) {
		memcpy(part + 8 * step->b, run->top--, 8);
		return 0;
	}
	if (step->op == FETCH_KEYSTACK) {
		machine_stack(m, part);
		run->parts_size += AGG_STACK;
		return 0;
	}
	if (step->op == FETCH_KEYCOMM) {
		strncpy(string, m->comm, AGG_STRING - 1);
		length = (int)strlen(string);
	} else {
		length = machine_load_string(m, *run->top--, string, AGG_STRING);
		if (length < 0)
			return length;
		/* One of the first 63 bytes is NUL, or the byte after them decides. */
		if (length == AGG_STRING - 1) {
			char last;

			if (m->read(m->arg, run->top[1] + length, &last, 1))
				return -EFAULT;
			string[length] = last ? AGG_CUT : 0;
		}
	}
	memset(part, 0, AGG_STRING);
	memcpy(part, string, length);
	part[AGG_STRING - 1] = string[AGG_STRING - 1];
	run->parts_size += AGG_STRING;
	return 0;
}

static void machine_aggregate(struct machine_run *run, unsigned column, uint64_t value, bool unread)
{
	if (run->machine->aggregate)
		run->machine->aggregate(run->machine->arg, column, run->parts, run->parts_size, value, unread);
}

/* After a fault at step i of the aggregate: reports the columns that are unread, and returns the next step to run. */
static size_t machine_unread(struct machine_run *run, size_t i)
{
	const struct fetch_program *program = run->program;
	size_t end = program->npredicate + program->naggregate;
	bool in_key = false;

	for (size_t k = i; k < end; k++)
		in_key |= fetch_ends_part(program->steps[k].op);
	run->top = run->stack;
	while (program->steps[i].op != FETCH_AGG)
		i++;
	machine_aggregate(run, program->steps[i].a, 0, true);
	if (!in_key)
		return i + 1;
	for (unsigned c = program->steps[i].a + 1; c < program->aggregate->ncolumns; c++)
		machine_aggregate(run, c, 0, true);
	return end;
}

/* Runs one step. Returns 0, -EFAULT, or 1 if the hit is filtered. */
static int machine_step(struct machine_run *run, const struct fetch_step *step)
{
	const struct fetch_machine *m = run->machine;
	const struct fetch_literal *literals = run->program->literals;

	switch (step->op) {
	case FETCH_IMM: *++run->top = step->value; return 0;
	case FETCH_REG: *++run->top = m->registers[step->a]; return 0;
	case FETCH_EXTEND: *run->top = machine_extend(*run->top, step->a, step->b, step->c); return 0;
	case FETCH_LOAD: return machine_load(m, run->top, step);
	case FETCH_ARG: run->record->value[step->a] = *run->top--; return 0;
	case FETCH_STRING:
		if (machine_store_string(m, *run->top--, NULL, step->value, &run->record->value[step->a],
		                         &run->strings))
			run->record->faults |= 1u << step->a;
		return 0;
	case FETCH_STRINGN:
		run->top -= 2;
		if (machine_store_string(m, run->top[1], &run->top[2], step->value, &run->record->value[step->a],
		                         &run->strings))
			run->record->faults |= 1u << step->a;
		return 0;
	case FETCH_NOT: *run->top = !*run->top; return 0;
	case FETCH_NEG: *run->top = -*run->top; return 0;
	case FETCH_COM: *run->top = ~*run->top; return 0;
	case FETCH_PID: *++run->top = m->pid; return 0;
	case FETCH_TID: *++run->top = m->tid; return 0;
	case FETCH_JZ:
	case FETCH_JNZ:
		if (!*run->top == (step->op == FETCH_JZ))
			run->next = step->value;
		else
			run->top--;
		return 0;
	case FETCH_STREQ:
	case FETCH_PREFIX: return machine_match(m, &literals[step->a], step->op == FETCH_PREFIX, run->top);
	case FETCH_SEARCH: return machine_search(m, &literals[step->a], step->c, run->top);
	case FETCH_COMMEQ:
	case FETCH_COMMPREFIX:
		*++run->top =
			machine_matches(&literals[step->a], m->comm, strlen(m->comm), step->op == FETCH_COMMPREFIX);
		return 0;
	case FETCH_TEST: return !*run->top--;
	case FETCH_CPU: *++run->top = m->cpu; return 0;
	case FETCH_HASH: return machine_hash(m, run->top);
	case FETCH_DURATION: *++run->top = m->duration; return 0;
	case FETCH_ENTRY: *++run->top = m->entry[step->a]; return m->entry_faults >> step->a & 1 ? -EFAULT : 0;
	case FETCH_KEY:
	case FETCH_KEYWORD:
	case FETCH_KEYSTACK:
	case FETCH_KEYSTR:
	case FETCH_KEYCOMM: return machine_key(run, step);
	case FETCH_AGG: machine_aggregate(run, step->a, *run->top--, false); return 0;
	default:
		run->top--;
		*run->top = machine_binary(step, run->top[0], run->top[1]);
		return 0;
	}
}

/*
 * Runs the program and writes a record, but for its time and point. The record has room for RECORD_SIZE_MAX. Returns 1,
 * 0 if the hit was filtered, or -1 if it was not chosen.
 */
static int fetch_run(const struct fetch_program *program, const struct fetch_machine *machine, struct record *record)
{
	struct machine_run run = { .program = program, .machine = machine, .record = record };
	const size_t end = program->nsteps - program->nkey;

	run.top = run.stack;
	run.strings = (char *)&record->value[program->nargs];
	memset(record->value, 0, 8 * program->nargs);
	record->faults = 0;
	/* One more turn than steps, for a program without arguments. */
	for (size_t i = 0; i <= end; i = run.next) {
		int result;

		if (i == program->npredicate && machine->passed && program->sample.every &&
		    ++*machine->passed % program->sample.every)
			return -1;
		run.next = i + 1;
		if (i == end)
			break;
		result = machine_step(&run, &program->steps[i]);
		if (result == 1 || (result && i < program->npredicate))
			return 0;
		if (!result)
			continue;
		if (i < program->npredicate + program->naggregate) {
			run.next = machine_unread(&run, i);
			continue;
		}
		while (!fetch_ends_argument(program->steps[i].op))
			i++;
		record->faults |= 1u << program->steps[i].a;
		run.top = run.stack;
		run.next = i + 1;
	}
	record_set_words(record, (run.strings - (char *)record) / 8);
	return 1;
}

/* Computes the key of a call. Returns 0 or -EFAULT. */
static inline int fetch_run_key(const struct fetch_program *program, const struct fetch_machine *machine, uint64_t *key)
{
	struct machine_run run = { .program = program, .machine = machine };

	run.top = run.stack;
	for (size_t i = program->nsteps - program->nkey; i < program->nsteps; i++)
		if (machine_step(&run, &program->steps[i]))
			return -EFAULT;
	*key = *run.top;
	return 0;
}

#endif
