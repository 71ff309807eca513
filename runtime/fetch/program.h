/* SPDX-License-Identifier: MIT */
/*
 * Fetch programs: the few steps that read a site's arguments and decide by them.
 *
 * A program is a list of steps for a machine with a stack of 64-bit values. It is
 * made once, from a site's operands and its filter, and knows nothing of how it
 * will be run: fetch_run() interprets it (the reference, for tests), kernel/emit.c
 * turns it into BPF, agent/slot-*.c into machine code. The three agree on
 * everything said here:
 *
 * - Arithmetic is on 64 bits and wraps. Shifts count modulo 64. Division by zero
 *   gives 0 with remainder 0; INT64_MIN / -1 wraps.
 * - A load that cannot be read sets the fault of the argument in work and goes on
 *   with its next argument; in the predicate, it makes the predicate false.
 * - A string is read byte by byte up to its NUL, and no further than one byte
 *   past what is wanted of it: 129 bytes for an argument, length + 2 for
 *   FETCH_STREQ, length + 1 for FETCH_PREFIX. A fault on any of these bytes is the
 *   string's fault, whatever the bytes before it say.
 * - An argument's value is its length, 0 to 127, and RECORD_STRING_CUT where none
 *   of its first 128 bytes is NUL; so many bytes are stored, padded with zeroes
 *   to 8. An argument with a fault has the value 0, and stores nothing.
 * - The predicate, if there is one, comes first and ends with FETCH_TEST.
 * - Every path leaves the stack empty; its depth at each step is known when the
 *   program is made and is at most FETCH_DEPTH_MAX.
 */
#ifndef RUNTIME_FETCH_PROGRAM_H
#define RUNTIME_FETCH_PROGRAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "runtime/record.h"

#define FETCH_DEPTH_MAX 16
#define FETCH_LITERAL_MAX 64 /* bytes of a string that a filter compares with */

enum fetch_opcode {
	FETCH_IMM,    /* push value */
	FETCH_REG,    /* push register number a (sdt/operand.h's numbers) */
	FETCH_EXTEND, /* top = a bytes of top, from bit b on, extended by sign if c */
	FETCH_LOAD,   /* top = a bytes at address top, extended by sign if c */
	FETCH_ARG,    /* pop into argument a */
	FETCH_STRING, /* pop an address; the string there is argument a */

	/* What follows is for predicates. y = pop, x = pop, push x op y, comparisons giving 0 or 1. */
	FETCH_ADD,
	FETCH_SUB,
	FETCH_MUL,
	FETCH_DIV,
	FETCH_MOD, /* c: signed */
	FETCH_AND,
	FETCH_OR,
	FETCH_XOR,
	FETCH_SHL,
	FETCH_SHR, /* c: signed (arithmetic right shift) */
	FETCH_EQ,
	FETCH_NE,
	FETCH_LT,
	FETCH_LE,  /* c: signed */
	FETCH_NOT, /* top = !top */
	FETCH_NEG, /* top = -top */
	FETCH_COM, /* top = ~top */
	FETCH_PID,
	FETCH_TID,    /* push */
	FETCH_JZ,     /* if top == 0, go on at step value and keep top; else pop. Forward only */
	FETCH_JNZ,    /* likewise, != 0 */
	FETCH_STREQ,  /* top = the string at address top equals literal a */
	FETCH_PREFIX, /* top = the string at address top begins with literal a */
	FETCH_COMMEQ,
	FETCH_COMMPREFIX, /* push whether the thread's name equals / begins with literal a */
	FETCH_TEST,       /* pop; 0: the hit is filtered and the program ends */
};

struct fetch_step {
	uint8_t op;
	uint8_t a, b, c;
	int64_t value;
};

struct fetch_literal {
	uint8_t length;
	char bytes[FETCH_LITERAL_MAX];
};

struct fetch_program {
	struct fetch_step *steps;
	size_t nsteps;
	size_t npredicate; /* of these, steps of the predicate; 0: there is none */
	struct fetch_literal *literals;
	size_t nliterals;
	uint8_t role;    /* enum site_role: what a backend does with hits of sites that have it */
	bool of_site;    /* its steps depend on the site's address: another site needs a program of its own */
	size_t nmissing; /* arguments that cannot be read: their kind is PP_FAULT and their value 0 */
	size_t nargs;
	uint8_t kind[RECORD_ARGS_MAX]; /* enum pp_kind of each argument's value */
	uint8_t size[RECORD_ARGS_MAX]; /* bytes it had in the target (floats are of 4 or 8) */
};

struct pp_image;
struct pp_site;

/*
 * Compiles a site's operands, typed by its probe's signature. *program is the
 * caller's, to be given to fetch_release(). An operand that cannot be read makes
 * only its own argument missing: if program->nmissing is not 0, pp_error() is the
 * reason of the first. Returns 0, -ENOMEM, or -EINVAL or -ENOTSUP if the operands
 * cannot be told apart or are of an unknown CPU.
 */
int fetch_compile(const struct pp_site *site, struct fetch_program *program);
void fetch_release(struct fetch_program *program);
/* Two programs that do the same are equal: 0; else <0 or >0, an order to sort by. */
int fetch_compare(const struct fetch_program *a, const struct fetch_program *b);

/* What a step does to the stack's depth: -1, 0 or 1 (a jump that is not taken). */
int fetch_effect(uint8_t op);

/*
 * Looks at a program that came from outside, for a CPU with so many registers.
 * 0: it keeps all the rules above, and depths[i] (room for nsteps) is the depth
 * before step i. -EBADMSG, with a sentence.
 */
int fetch_check(const struct fetch_program *program, unsigned nregisters, uint8_t *depths);
/* The same without a sentence: what is wrong, and at which step; NULL: nothing. */
const char *fetch_fault(const struct fetch_program *program, unsigned nregisters, uint8_t *depths, size_t *at);

/* ---- the reference interpreter ---- */

struct fetch_machine {
	const uint64_t *registers; /* by number; 17 on x86-64, 33 on aarch64 */
	/* 0, or -EFAULT; to is always filled (zeroes on a fault) */
	int (*read)(void *arg, uint64_t address, void *to, size_t size);
	void *arg;
	pid_t pid, tid;
	const char *comm;
};

/*
 * 1: a record was written to record (room for RECORD_SIZE_MAX; time and point are
 * the caller's); 0: filtered.
 */
int fetch_run(const struct fetch_program *program, const struct fetch_machine *machine, struct record *record);

#endif
