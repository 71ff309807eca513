/* SPDX-License-Identifier: MIT */
/*
 * The state of a filter's parser. filter.c parses expressions, operators.c emits the steps of binary operators, names.c
 * those of names. parser.c appends steps.
 */
#ifndef RUNTIME_FETCH_PARSER_H
#define RUNTIME_FETCH_PARSER_H

#include "runtime/fetch/lex.h"
#include "sdt/ctype.h"

/*
 * The type of an operand. Integers, strings and floats have emitted steps that push one value: a string pushes its
 * address, a float its bits. The others have emitted nothing: the operator decides on their step.
 */
enum type {
	TYPE_INTEGER,
	TYPE_STRING, /* in the target */
	TYPE_FLOAT,
	TYPE_TEXT,    /* a quoted string */
	TYPE_COMM,    /* the thread's name */
	TYPE_STACK,   /* the stack of calls */
	TYPE_DECIMAL, /* a constant with a decimal point or an exponent */
};

struct value {
	enum type type;
	struct token token;          /* the first token; for a name, all of its tokens */
	bool is_unsigned;            /* an unsigned integer of 64 bits */
	bool is_truth;               /* the value is 0 or 1 */
	bool is_constant;            /* an integer whose only step is a FETCH_IMM */
	bool may_be_string;          /* an integer that may be the address of a string */
	uint8_t size;                /* bytes of an argument or a field, 8 of others */
	uint8_t kind;                /* enum pp_kind of an argument or field, how records show it; else PP_MISSING */
	const struct pp_type *names; /* the enumeration that it belongs to; NULL: none */
	double number;               /* TYPE_DECIMAL */
	size_t from;                 /* the value's first step */
	/* TYPE_STRING: the steps that push the string's length; NULL: it ends with its NUL. Owned by the parser's types. */
	const struct fetch_step *length;
	size_t nlength;
	bool is_terminated; /* the string that has a length ends with a NUL too */
};

struct parser {
	struct tokens tokens;
	const struct pp_probe *probe;
	const struct fetch_program *program; /* reads the site's arguments */
	struct fetch_step *steps;
	size_t nsteps, steps_room;
	struct fetch_literal *literals;
	size_t nliterals, literals_room;
	struct ctypes types; /* released by parser_release() */
	int depth, nesting;
	bool no_jumps; /* the steps are those of an argument of the record */
	int error;     /* the first error of the functions that emit steps */
};

/*
 * Replaces the program's steps from `at` to `rest` by the parser's, whose literals follow the program's. Returns 0, -ENOMEM, or
 * -EINVAL with an error message. After an error the program is unchanged.
 */
int parser_insert(struct parser *p, struct fetch_program *program, size_t at, size_t rest);

/* filter.c: parses an expression that ends before a token that is not a binary operator. */
int parser_expression(struct parser *p, struct value *value);

/* Sets the parser to the start of the text. program reads the site's arguments. The caller calls parser_release(). */
void parser_begin(struct parser *p, const char *text, const struct pp_site *site, const struct fetch_program *program);
/* Frees what the parser has, also its steps and literals. */
void parser_release(struct parser *p);

#define parser_fail(p, ...) token_error(&(p)->tokens, __VA_ARGS__)

/*
 * These functions append a step. token is the place of an error. Errors are kept in p->error: after the first one the
 * functions do nothing, so that callers check p->error once after a sequence of steps.
 */
void parser_emit_step(struct parser *p, const struct token *token, const struct fetch_step *step);
void parser_emit(struct parser *p, const struct token *token, enum fetch_opcode op, bool is_signed, int64_t value);
/* Appends a step that uses the literal, and the literal. */
void parser_emit_literal(struct parser *p, const struct token *token, enum fetch_opcode op,
                         const struct fetch_literal *literal);
/* Appends a jump, whose target the caller sets. Returns p->error. */
int parser_emit_jump(struct parser *p, const struct token *token, enum fetch_opcode op);
/* Appends copies of the steps from `from` to before `to`. They have no jumps. */
void parser_repeat(struct parser *p, const struct token *token, size_t from, size_t to);
/* Appends steps. They have no jumps. */
void parser_emit_steps(struct parser *p, const struct token *token, const struct fetch_step *steps, size_t n);
/* Removes the steps from `from` on, which push the length of a string, and makes them value->length. */
int parser_take_length(struct parser *p, size_t from, struct value *value);
/* Makes the value on top of the stack 0 or 1. */
void parser_emit_truth(struct parser *p, const struct value *value);

/* The bits of infinity, and the mask of all bits but the sign, of a float of 2, 4 or 8 bytes. */
#define FLOAT_INFINITY(size) ((size) == 2 ? 0x7c00 : (size) == 4 ? 0x7f800000 : 0x7ff0000000000000)
#define FLOAT_MAGNITUDE(size) ((size) == 2 ? 0x7fff : (size) == 4 ? 0x7fffffff : INT64_MAX)

/* filter.c: parses what follows "str", which is an opening parenthesis: the address of a string, and maybe its length. */
int parser_string_call(struct parser *p, struct value *value);
/* Parses a name that is the next token, and the fields after it. Emits the steps that push its value. */
int parser_name(struct parser *p, struct value *value);

/* Returns 0 if the value is an integer, or -EINVAL with an error message that says how its type can be used. */
int value_want_integer(const struct parser *p, const struct value *value);

/* Returns 0, or -EINVAL with an error message if the value is a string that only its length ends. */
int value_want_terminated(const struct parser *p, const struct value *value);

/*
 * Emits a binary operator other than && and ||. The steps of both operands have been emitted; left_steps is the number of
 * steps at the end of the left one's. Sets the type of *result.
 */
int operator_emit(struct parser *p, const struct token *token, const struct value *left, const struct value *right,
                  size_t left_steps, struct value *result);

#endif
