/* SPDX-License-Identifier: MIT */
/* The words of a filter. Functions return 0 or -EINVAL with the sentence that filter_compile() promises. */
#ifndef RUNTIME_FETCH_LEX_H
#define RUNTIME_FETCH_LEX_H

#include "runtime/fetch/program.h"

enum token_kind { TOKEN_END, TOKEN_NUMBER, TOKEN_DECIMAL, TOKEN_CHAR, TOKEN_TEXT, TOKEN_NAME, TOKEN_OPERATOR };

struct token {
	enum token_kind kind;
	size_t at, length;
	const struct operator* operator; /* if it can stand between two operands */
};

/* For operator's op, beside the opcodes. */
enum { OPERATOR_AND = 128, OPERATOR_OR, OPERATOR_GT, OPERATOR_GE, OPERATOR_MATCH };

struct operator
{
	char text[3];
	uint8_t precedence; /* C's, from 1 for || */
	uint8_t op;
};

struct tokens {
	const char *text;
	struct token next;
	size_t end; /* of next */
};

__attribute__((format(printf, 3, 4))) int token_error(const struct tokens *t, size_t at, const char *format, ...);

int token_next(struct tokens *t);
bool token_is(const struct tokens *t, char c); /* whether the next is this operator, of one character */
bool token_is_field(const struct tokens *t);   /* ... is "." or "->" */

int token_number(const struct tokens *t, const struct token *token, uint64_t *value);
/* Of a TOKEN_DECIMAL, whatever the locale. */
int token_decimal(const struct tokens *t, const struct token *token, double *value);
int token_char(const struct tokens *t, const struct token *token, int64_t *value);
/* pattern: as =~ takes it; *prefix: it ends with a star, which is not in the literal. */
int token_text(const struct tokens *t, const struct token *token, bool pattern, struct fetch_literal *literal,
               bool *prefix);

#endif
