/* SPDX-License-Identifier: MIT */
/* The tokens of a filter. Functions return 0, or -EINVAL with an error message as filter_compile() describes it. */
#ifndef RUNTIME_FETCH_LEX_H
#define RUNTIME_FETCH_LEX_H

#include "runtime/fetch/program.h"

enum token_kind { TOKEN_END, TOKEN_NUMBER, TOKEN_DECIMAL, TOKEN_CHAR, TOKEN_TEXT, TOKEN_NAME, TOKEN_OPERATOR };

struct token {
	enum token_kind kind;
	size_t at, length;                    /* where it is in the text */
	const struct binary_operator *binary; /* set if the token is a binary operator */
};

/* Values of binary_operator.op that are not opcodes. */
enum { OPERATOR_AND = 128, OPERATOR_OR, OPERATOR_GT, OPERATOR_GE, OPERATOR_MATCH };

struct binary_operator {
	char text[3];
	uint8_t precedence; /* as in C, from 1 for || */
	uint8_t op;         /* enum fetch_opcode, or OPERATOR_* */
};

struct tokens {
	const char *text;
	struct token next;
	size_t end; /* of next, in the text */
};

/* Sets the error message, with the text and a caret below the offset at. Returns -EINVAL. */
__attribute__((format(printf, 3, 4))) int token_error(const struct tokens *t, size_t at, const char *format, ...);

/* Reads the next token into t->next. */
int token_next(struct tokens *t);

/* Returns true if the next token is this operator of one character. */
bool token_is(const struct tokens *t, char c);

/* Returns true if the next token is "." or "->". */
bool token_is_field(const struct tokens *t);

int token_number(const struct tokens *t, const struct token *token, uint64_t *value);

/* Reads a TOKEN_DECIMAL. The result does not depend on the locale. */
int token_decimal(const struct tokens *t, const struct token *token, double *value);

int token_char(const struct tokens *t, const struct token *token, int64_t *value);

/* Which part of a string a literal is: bit 0: more may follow it; bit 1: more may precede it. */
enum match { MATCH_ALL, MATCH_PREFIX, MATCH_SUFFIX, MATCH_PART };

/*
 * Reads a TOKEN_TEXT. If pattern is set, the text is the right side of =~: a star at its beginning or its end is then not
 * part of the literal, but sets *match.
 */
int token_text(const struct tokens *t, const struct token *token, bool pattern, struct fetch_literal *literal,
               enum match *match);

#endif
