/* SPDX-License-Identifier: MIT */
/* What the parser of filters (filter.c) and those names that stand in them (filter-name.c) share. */
#ifndef RUNTIME_FETCH_PARSER_H
#define RUNTIME_FETCH_PARSER_H

#include "runtime/fetch/lex.h"

enum type { TYPE_INTEGER, TYPE_STRING, TYPE_TEXT, TYPE_COMM, TYPE_FLOAT, TYPE_DECIMAL };

struct value {
	enum type type;
	struct token token; /* its first; of a name, all of it */
	bool is_unsigned;   /* of 64 bits */
	bool is_truth;      /* 0 or 1 */
	bool is_constant;   /* its only step is a FETCH_IMM */
	uint8_t size;       /* of TYPE_FLOAT: 4 or 8 bytes */
	double number;      /* of TYPE_DECIMAL, which has emitted nothing */
	bool may_be_string; /* an integer that may be a string's address for all that is known */
};

struct pp_probe;

struct parser {
	struct tokens tokens;
	const struct pp_probe *probe;
	const struct fetch_program *program;
	struct fetch_step *steps;
	size_t nsteps, room;
	struct fetch_literal *literals;
	size_t nliterals;
	int depth, nesting;
};

#define parser_fail(p, ...) token_error(&(p)->tokens, __VA_ARGS__)

int parser_emit_step(struct parser *p, const struct token *token, const struct fetch_step *step);
int parser_emit(struct parser *p, const struct token *token, enum fetch_opcode op, bool is_signed, int64_t value);

/* Where filters order floating-point numbers as integers: a double's or a float's infinity; see filter.c. */
#define FLOAT_INFINITY(size) ((size) == 4 ? 0x7f800000 : 0x7ff0000000000000)
#define FLOAT_MAGNITUDE(size) ((size) == 4 ? 0x7fffffff : INT64_MAX)

/* The name that is the next token, with the fields behind it: takes their tokens, and emits what gives its value. */
int parser_name(struct parser *p, struct value *value);

#endif
