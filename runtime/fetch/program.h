/* SPDX-License-Identifier: MIT */
/*
 * Fetch programs read the arguments of a site and evaluate its filter.
 *
 * A program is a list of steps for a machine with a stack of 64-bit values. It is compiled once, from the operands of a
 * site and its filter. It does not depend on how it runs: runtime/kernel/emit.c translates it to BPF,
 * runtime/agent/inproc/trampoline-CPU.c translates it to machine code, and tests/unit/interpreter.h is the reference that
 * the tests compare both with. All three follow these rules:
 *
 * 1. Arithmetic is on 64 bits and wraps. Shifts count modulo 64. Division by zero gives 0, and so does its remainder.
 *    INT64_MIN / -1 wraps.
 * 2. A load that faults sets the fault bit of the current argument, and the program continues with the next argument. In
 *    the predicate, a fault makes the predicate false.
 * 3. A string is read byte by byte up to its NUL, and at most one byte further than needed: N + 2 bytes for an argument
 *    of at most N bytes (`value` of its step, the same for all strings of a program), length + 2 bytes for FETCH_STREQ,
 *    length + 1 bytes for FETCH_PREFIX, FETCH_SEARCH_MAX + 2 bytes for FETCH_SEARCH, which is false for the end of a
 *    string that is longer than FETCH_SEARCH_MAX, and does not find what goes beyond that. A fault on any of these bytes is a fault of the string, whatever the bytes before
 *    it are. FETCH_STRINGN reads only as many bytes as its length says, at most N + 1. A negative length is a fault.
 * 4. The value of a string argument is its length, 0 to N, or N + 1 if it is longer. This many bytes are stored, padded
 *    with zeroes to a multiple of 8. An argument that faulted has the value 0 and stores no bytes.
 * 5. The predicate, if there is one, comes first and ends with FETCH_TEST. The aggregate's steps follow, then the steps
 *    of the arguments. Jumps stay in their part.
 * 6. The aggregate runs for each hit that passes the predicate. Its keys come before its values. If a key faults, all
 *    columns count the hit as unread. If a value faults, its column does, and the next value follows.
 * 7. A string of a key is read as far as its NUL or AGG_STRING bytes. A fault on any of these bytes is a fault.
 * 8. A stack is followed from frame to frame, as long as a frame can be read, its pointer is a multiple of 8, and it is above
 *    the last one by at most AGG_FRAME_SIZE_MAX. The first one may be at the stack pointer. A fault ends the stack.
 * 9. The key of a call comes last and leaves one value. A fault means that the call has no key.
 * 10. A hit that passes the predicate is sampled before the aggregate (struct fetch_sample): each `every`th hit passes, counted
 *    for each point and CPU (kernel) or thread (agent), and of those as many as `rate` allows.
 * 11. Every other path leaves the stack empty. The depth before each step is known when the program is compiled, and is at most
 *    FETCH_DEPTH_MAX.
 */
#ifndef RUNTIME_FETCH_PROGRAM_H
#define RUNTIME_FETCH_PROGRAM_H

#include <probepoint.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "runtime/aggregate.h"
#include "runtime/record.h"

struct fetch_printed;
struct pp_type;

#define FETCH_DEPTH_MAX 16
#define FETCH_LITERAL_MAX 64 /* bytes of a string that a filter compares with */
#define FETCH_ENTRY_MAX 6    /* arguments that a call's begin keeps for its end */
#define FETCH_HASH_BYTES 64  /* of a string that is a key */
/* Its hash h starts as the seed. For each of its words w: h = (h ^ w) * factor, h ^= h >> 32. */
#define FETCH_HASH_SEED 0x243f6a8885a308d3
#define FETCH_HASH_FACTOR 0x9e3779b97f4a7c15u
#define FETCH_SEARCH_MAX 256 /* bytes of a string that are searched for a literal */

enum fetch_opcode {
	FETCH_IMM,    /* push value */
	FETCH_REG,    /* push register number a (numbers of sdt/operand.h) */
	FETCH_EXTEND, /* top = a bytes of top, from bit b on, sign-extended if c */
	FETCH_LOAD,   /* top = a bytes at address top, sign-extended if c */
	FETCH_ARG,    /* pop into argument a */
	FETCH_STRING, /* pop an address; the string there, of at most `value` bytes, is argument a */

	/* Not for arguments that fetch_compile() makes. Binary: y = pop, x = pop, push x op y. Comparisons give 0 or 1. */
	FETCH_ADD,
	FETCH_SUB,
	FETCH_MUL,
	FETCH_DIV, /* c: signed */
	FETCH_MOD, /* c: signed */
	FETCH_AND,
	FETCH_OR,
	FETCH_XOR,
	FETCH_SHL,
	FETCH_SHR, /* c: arithmetic shift */
	FETCH_EQ,
	FETCH_NE,
	FETCH_LT,         /* c: signed */
	FETCH_LE,         /* c: signed */
	FETCH_NOT,        /* top = !top */
	FETCH_NEG,        /* top = -top */
	FETCH_COM,        /* top = ~top */
	FETCH_PID,        /* push */
	FETCH_TID,        /* push */
	FETCH_JZ,         /* if top == 0, jump forward to step value and keep top; else pop */
	FETCH_JNZ,        /* if top != 0, jump forward to step value and keep top; else pop */
	FETCH_STREQ,      /* top = the string at address top equals literal a */
	FETCH_PREFIX,     /* top = the string at address top begins with literal a */
	FETCH_COMMEQ,     /* push whether the thread's name equals literal a */
	FETCH_COMMPREFIX, /* push whether the thread's name begins with literal a */
	FETCH_CPU,        /* push the number of the CPU */
	FETCH_HASH, /* top = a hash of the string at address top, of its first 64 bytes at most; keys of calls only */

	/* Programs of SITE_LEAVE only. */
	FETCH_DURATION, /* push the ns since the call began */
	FETCH_ENTRY,    /* push argument a of the call's begin */

	FETCH_TEST, /* pop; if 0, the hit is filtered and the program ends */

	/* Aggregates only. */
	FETCH_KEY,     /* pop; part a of the key is this integer */
	FETCH_KEYSTR,  /* pop an address; part a of the key is the string there */
	FETCH_KEYCOMM, /* part a of the key is the thread's name */
	FETCH_AGG,     /* pop; add the value to column a under the key */

	FETCH_SEARCH,  /* top = literal a is in the string at address top; c: at its end */
	FETCH_STRINGN, /* pop a length and an address; so many bytes there, at most `value`, are argument a */

	/* Aggregates only. */
	FETCH_KEYWORD,  /* pop into word b of part a of the key, a struct agg_stack */
	FETCH_KEYSTACK, /* part a of the key, whose AGG_WORDS are in place, is the stack of calls */
	FETCH_OPCODES
};

/* The meaning of a hit of a site. */
enum site_role {
	SITE_HIT,   /* an event */
	SITE_CALL,  /* the begin of a call that another site of the probe ends */
	SITE_LEAVE, /* the end of a call, if its begin was seen */
};

/* How the end of a call finds its begin. */
enum site_match {
	MATCH_EXACT, /* the stack pointers are equal: func:SYMBOL%return */
	MATCH_FRAME, /* the thread's innermost call of the function that is not below the stack pointer: NAME__return */
	MATCH_THREAD, /* the thread's last begin: --latency */
	MATCH_KEY,    /* an equal key, in any thread of the process: --latency with --on */
	MATCH_RETURN, /* as MATCH_EXACT, but the kernel's uretprobe shows the end: --uretprobe */
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

#define AGG_CALLS_MAX 8

/* A part of a key. Its integer has 8 bytes, its string AGG_STRING, its stack AGG_STACK. */
struct agg_part {
	uint8_t kind;                /* enum pp_kind, how it is shown; PP_STRING: a string */
	uint16_t at, length;         /* its text in the expression */
	const struct pp_type *names; /* the enumeration whose names it is shown by; NULL: none. Belongs to the image */
};

/* One of the results that the expression asks for, such as max(size). */
struct agg_call {
	uint8_t function; /* enum pp_function */
	uint8_t column;
	uint16_t at, length; /* its text in the expression */
};

struct fetch_aggregate {
	char *text; /* the expression */
	size_t ncolumns, nparts, ncalls;
	struct agg_column columns[AGG_COLUMNS_MAX];
	struct agg_part parts[AGG_PARTS_MAX];
	struct agg_call calls[AGG_CALLS_MAX];
};

/* Returns the size of a part, in bytes. */
static inline size_t agg_part_size(enum pp_kind kind)
{
	return kind == PP_STRING ? AGG_STRING : kind == PP_STACK ? AGG_STACK : 8;
}

/* Which hits are recorded and aggregated, of those that pass the predicate. All are counted. */
struct fetch_sample {
	uint32_t every; /* each of so many hits; 0: all */
	uint32_t rate;  /* so many hits a second of a probe; 0: all */
};

#define FETCH_SAMPLE_MAX 1000000000u

/*
 * The limit of a rate is a token bucket: a hit passes if it is not earlier than `next`, which then becomes the later one of
 * next + interval and now + interval - tolerance. So the tokens of RATE_BURST_NS can be used at once. All in ns.
 */
#define RATE_BURST_NS 100000000u

static inline uint32_t rate_interval(uint32_t rate)
{
	return 1000000000u / rate;
}

static inline uint32_t rate_tolerance(uint32_t rate)
{
	return rate_interval(rate) < RATE_BURST_NS ? RATE_BURST_NS - rate_interval(rate) : 0;
}

struct fetch_program {
	struct fetch_step *steps;
	size_t nsteps;
	size_t npredicate;                 /* number of steps of the predicate, 0 without one */
	size_t naggregate;                 /* number of steps of the aggregate, which follow; 0 without one */
	struct fetch_aggregate *aggregate; /* NULL: none */
	struct fetch_literal *literals;
	size_t nliterals;
	struct fetch_sample sample;
	uint8_t role;  /* enum site_role: what a hit of the site means to the backend */
	uint8_t match; /* enum site_match, unless the role is SITE_HIT */
	size_t nkey;   /* the last steps: they push the key of a call, and are not among the arguments; 0 without one */
	bool of_site;  /* the steps depend on the site's address, so other sites cannot share the program */
	size_t nmissing;               /* arguments that cannot be read: their kind is PP_FAULT and their value 0 */
	struct fetch_printed *printed; /* print.h; NULL: the arguments are those of the probe */
	size_t nargs;
	uint8_t kind[RECORD_ARGS_MAX]; /* enum pp_kind of each argument's value */
	uint8_t size[RECORD_ARGS_MAX]; /* bytes of each argument in the target (4 or 8 for floats) */
};

struct pp_image;
struct pp_site;

/*
 * Compiles a site's operands, typed by its probe's signature. An operand that cannot be read makes only its own argument
 * missing: if program->nmissing is not 0, pp_error() is the reason of the first one.
 *
 * Returns 0, -ENOMEM, -EINVAL if the operands cannot be separated or have an invalid size, or -ENOTSUP if the CPU is
 * unknown. The caller releases *program with fetch_release().
 */
int fetch_compile(const struct pp_site *site, struct fetch_program *program);

/*
 * Makes argument i a string whose length is the value of another argument. No expression can be compiled into the program
 * afterwards. Returns 0, -ENOMEM, or -EINVAL with an error message.
 */
int fetch_set_length(struct fetch_program *program, unsigned i, unsigned length);
/* Returns true if argument i is a string with a length. */
bool fetch_has_length(const struct fetch_program *program, unsigned i);
/* Makes argument i, a string that ends with a NUL, a pointer. */
void fetch_set_pointer(struct fetch_program *program, unsigned i);
/* Sets how many bytes the strings of the record have at most. */
void fetch_set_string_max(struct fetch_program *program, unsigned max);

/* Frees the contents of the program, which may be all zeroes. */
void fetch_release(struct fetch_program *program);

/* Orders programs for sorting. Returns 0 if both do the same, or a number below or above 0. */
int fetch_compare(const struct fetch_program *a, const struct fetch_program *b);
/*
 * Compares as fetch_compare() does, but ignores the values of FETCH_IMM and, with `registers`, the registers of FETCH_REG. Programs of
 * equal shape differ only in these.
 */
int fetch_compare_shape(const struct fetch_program *a, const struct fetch_program *b, bool registers);

/* Returns true for the step that ends an argument. */
static inline bool fetch_ends_argument(uint8_t op)
{
	return op == FETCH_ARG || op == FETCH_STRING || op == FETCH_STRINGN;
}

/* Returns how many bytes a string of the record has at most. */
uint16_t fetch_string_max(const struct fetch_program *program);

/* Returns true for the step that ends a part of a key. */
static inline bool fetch_ends_part(uint8_t op)
{
	return (op >= FETCH_KEY && op <= FETCH_KEYCOMM) || op == FETCH_KEYSTACK;
}

/* Returns true for a step of aggregates that leaves the stack of values empty. */
static inline bool fetch_is_of_aggregate(uint8_t op)
{
	return fetch_ends_part(op) || op == FETCH_KEYWORD || op == FETCH_AGG;
}

/* Returns true if a is the number of a literal. */
bool fetch_uses_literal(uint8_t op);

/* Returns the change of the stack's depth by a step: -1, 0 or 1. For a jump: when it is not taken. */
int fetch_effect(uint8_t op);

/*
 * Checks a program from an untrusted source against the rules above. nregisters is the number of registers of the CPU.
 * Sets depths[i] to the stack's depth before step i; depths has room for nsteps. Returns 0, or -EBADMSG with an error
 * message.
 */
int fetch_check(const struct fetch_program *program, unsigned nregisters, uint8_t *depths);

/* Like fetch_check(), but sets no error message. Returns NULL, or what is wrong with step *at. */
const char *fetch_fault(const struct fetch_program *program, unsigned nregisters, uint8_t *depths, size_t *at);

#endif
