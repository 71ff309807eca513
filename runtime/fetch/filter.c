/* SPDX-License-Identifier: MIT */
/*
 * Filters: expressions over a site's arguments, compiled in one pass.
 *
 * 1. The parser uses precedence climbing. It emits steps as it parses, so the steps of an operand are there before its
 *    operator is known. A struct value keeps the operand's type, and its place for the caret of an error message.
 * 2. An integer and a string in the target push one value of 64 bits; a string's is its address. Quoted strings and comm
 *    emit nothing, because the other operand decides on their step.
 * 3. A floating-point value pushes its bits. A comparison replaces them by a key, an integer in the order of the type's
 *    values: its bits b, or b ^ 0x7fff... for a negative number. So -0 has the key -1 and 0 has the key 0. Keys above the key of infinity, and keys below the
 *    key of -infinity, belong to NaNs. A comparison with a constant asks whether the key is in a range, and no range
 *    includes the keys of NaNs.
 * 4. && and || jump over their right side and keep the left one's value on the stack. So they make it 0 or 1 first if it
 *    can be anything else.
 */
#include "runtime/fetch/filter.h"

#include <errno.h>
#include <probepoint.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "runtime/fetch/parser.h"
#include "sdt/image.h"

static int expression_parse(struct parser *p, int precedence, struct value *left);
static int value_parse(struct parser *p, struct value *value);

static int constant_emit(struct parser *p, uint64_t number, struct value *value)
{
	value->type = TYPE_INTEGER;
	value->is_constant = true;
	value->is_unsigned = number > INT64_MAX;
	value->is_truth = number <= 1;
	parser_emit(p, &value->token, FETCH_IMM, false, number);
	return p->error;
}

static int parentheses_parse(struct parser *p, struct value *value)
{
	int err = token_next(&p->tokens);

	if (err)
		return err;
	err = expression_parse(p, 1, value);
	if (err)
		return err;
	if (!token_is(&p->tokens, ')'))
		return parser_fail(p, p->tokens.next.at, "expected ')'");
	return token_next(&p->tokens);
}

static int unary_parse(struct parser *p, struct value *value)
{
	struct token token = p->tokens.next;
	char c = p->tokens.text[token.at];
	int err = token_next(&p->tokens);

	if (err)
		return err;
	err = value_parse(p, value);
	if (err)
		return err;
	if (value->type == TYPE_DECIMAL && (c == '-' || c == '+')) {
		value->number = c == '-' ? -value->number : value->number;
		return 0;
	}
	err = value_want_integer(p, value);
	value->may_be_string = false;
	value->kind = PP_MISSING;
	value->names = NULL;
	value->size = 8;
	if (err || c == '+')
		return err;
	value->is_unsigned &= c != '!';
	value->is_truth = c == '!';
	if (c == '-' && value->is_constant) {
		p->steps[p->nsteps - 1].value = -(uint64_t)p->steps[p->nsteps - 1].value;
		return 0;
	}
	value->is_constant = false;
	parser_emit(p, &token, c == '!' ? FETCH_NOT : c == '-' ? FETCH_NEG : FETCH_COM, false, 0);
	return p->error;
}

static int nested_parse(struct parser *p, struct value *value)
{
	const struct token *token = &p->tokens.next;
	int err;

	if (!strchr("(!~-+", p->tokens.text[token->at]) || token->length > 1)
		return parser_fail(p, token->at, "expected a value");
	if (++p->nesting > FILTER_NESTING_MAX)
		return parser_fail(p, token->at, "the filter is nested more than %d levels deep", FILTER_NESTING_MAX);
	err = token_is(&p->tokens, '(') ? parentheses_parse(p, value) : unary_parse(p, value);
	p->nesting--;
	return err;
}

/* Parses the constant that is the current token, without consuming it. */
static int constant_parse(struct parser *p, struct value *value)
{
	const struct token *token = &p->tokens.next;
	uint64_t number = 0;
	int64_t c = 0;
	int err;

	switch (token->kind) {
	case TOKEN_NUMBER:
		err = token_number(&p->tokens, token, &number);
		return err ? err : constant_emit(p, number, value);
	case TOKEN_CHAR:
		err = token_char(&p->tokens, token, &c);
		if (!err)
			err = constant_emit(p, c, value);
		value->is_unsigned = false; /* char is signed */
		return err;
	case TOKEN_DECIMAL: value->type = TYPE_DECIMAL; return token_decimal(&p->tokens, token, &value->number);
	default: value->type = TYPE_TEXT; return 0;
	}
}

static int value_parse(struct parser *p, struct value *value)
{
	const struct token *token = &p->tokens.next;
	int err;

	*value = (struct value){ .token = *token, .kind = PP_MISSING, .size = 8, .from = p->nsteps };
	switch (token->kind) {
	case TOKEN_END:
		return parser_fail(p, token->at,
		                   token->at ? "expected a value before the end of the filter" : "the filter is empty");
	case TOKEN_NAME: return parser_name(p, value);
	case TOKEN_OPERATOR: return nested_parse(p, value);
	default: err = constant_parse(p, value); return err ? err : token_next(&p->tokens);
	}
}

/* Parses ", LENGTH" of a string. The steps that push it become value->length. */
static int string_length_parse(struct parser *p, struct value *value)
{
	size_t from = p->nsteps;
	struct value length;
	int err = token_next(&p->tokens);

	if (!err)
		err = parser_expression(p, &length);
	if (!err)
		err = value_want_integer(p, &length);
	return err ? err : parser_take_length(p, from, value);
}

int parser_string_call(struct parser *p, struct value *value)
{
	struct token token = value->token;
	bool no_jumps = p->no_jumps;
	size_t from = p->nsteps;
	int err = token_next(&p->tokens);

	p->no_jumps = true; /* the steps can be moved */
	err = err ? err : parser_expression(p, value);
	if (err)
		return err;
	if (value->type == TYPE_STRING && !value->length)
		value->may_be_string = true; /* str(path, 10) */
	else
		err = value_want_integer(p, value);
	if (err)
		return err;
	*value = (struct value){ .type = TYPE_STRING, .token = token, .kind = PP_STRING, .size = 8, .from = from };
	if (token_is(&p->tokens, ','))
		err = string_length_parse(p, value);
	p->no_jumps = no_jumps;
	if (err)
		return err;
	if (!token_is(&p->tokens, ')'))
		return parser_fail(p, p->tokens.next.at, "expected ')'");
	value->token.length = p->tokens.next.at + 1 - token.at;
	return token_next(&p->tokens);
}

/* Parses the right side of && or ||. The steps of the left one have been emitted. */
static int logical_parse(struct parser *p, const struct token *token, const struct value *left)
{
	bool is_or = token->binary->op == OPERATOR_OR;
	struct value right;
	size_t jump;
	int err = value_want_integer(p, left);

	if (err)
		return err;
	if (is_or)
		parser_emit_truth(p, left);
	jump = p->nsteps;
	err = parser_emit_jump(p, token, is_or ? FETCH_JNZ : FETCH_JZ);
	if (err)
		return err;
	err = expression_parse(p, token->binary->precedence + 1, &right);
	if (err)
		return err;
	err = value_want_integer(p, &right);
	if (err)
		return err;
	parser_emit_truth(p, &right);
	if (!p->error)
		p->steps[jump].value = p->nsteps;
	return p->error;
}

/* Parses the right side of a binary operator and emits the operator. The steps of the left side have been emitted. */
static int binary_parse(struct parser *p, const struct token *token, struct value *left)
{
	struct value right, result = { .type = TYPE_INTEGER, .token = left->token, .kind = PP_MISSING, .size = 8 };
	size_t left_steps = p->nsteps;
	int err;

	result.from = left->from;
	if (token->binary->op == OPERATOR_AND || token->binary->op == OPERATOR_OR) {
		err = logical_parse(p, token, left);
		result.is_truth = true;
	} else {
		err = expression_parse(p, token->binary->precedence + 1, &right);
		if (err)
			return err;
		err = operator_emit(p, token, left, &right, left_steps, &result);
	}
	*left = result;
	return err;
}

static int expression_parse(struct parser *p, int precedence, struct value *left)
{
	int err = value_parse(p, left);

	while (!err && p->tokens.next.binary && p->tokens.next.binary->precedence >= precedence) {
		struct token token = p->tokens.next;

		err = token_next(&p->tokens);
		if (!err)
			err = binary_parse(p, &token, left);
	}
	return err;
}

int parser_expression(struct parser *p, struct value *value)
{
	return expression_parse(p, 1, value);
}

static int predicate_parse(struct parser *p)
{
	struct value value;
	int err = expression_parse(p, 1, &value);

	if (err)
		return err;
	if (p->tokens.next.kind != TOKEN_END)
		return parser_fail(p, p->tokens.next.at,
		                   token_is(&p->tokens, ')') ? "unmatched ')'" : "expected an operator");
	err = value_want_integer(p, &value);
	if (err)
		return err;
	parser_emit(p, &value.token, FETCH_TEST, false, 0);
	return p->error;
}

int filter_compile(const char *expr, const struct pp_site *site, struct fetch_program *program)
{
	struct parser parser;
	size_t length = strlen(expr), n;
	struct fetch_step *steps;
	int err;

	if (program->npredicate || program->naggregate)
		return error_set(EINVAL, "a probe has at most one filter; join filters with &&");
	if (length > FILTER_LENGTH_MAX)
		return error_set(EINVAL, "the filter has %zu bytes: the maximum is %d", length, FILTER_LENGTH_MAX);
	parser_begin(&parser, expr, site, program);
	err = token_next(&parser.tokens);
	if (!err)
		err = predicate_parse(&parser);
	if (err)
		goto out;
	n = parser.nsteps;
	steps = realloc(parser.steps, (n + program->nsteps) * sizeof(*steps));
	if (!steps) {
		err = error_nomem();
		goto out;
	}
	if (program->nsteps)
		memcpy(steps + n, program->steps, program->nsteps * sizeof(*steps));
	free(program->steps);
	program->steps = steps;
	program->nsteps += n;
	program->npredicate = n;
	program->literals = parser.literals;
	program->nliterals = parser.nliterals;
	parser.steps = NULL;
	parser.literals = NULL;
out:
	parser_release(&parser);
	return err;
}

static int call_key_parse(struct parser *p)
{
	struct value value;
	int err = token_next(&p->tokens);

	if (!err)
		err = expression_parse(p, 1, &value);
	if (err)
		return err;
	if (p->tokens.next.kind != TOKEN_END)
		return parser_fail(p, p->tokens.next.at, "expected an operator");
	err = value_want_terminated(p, &value);
	if (err)
		return err;
	if (value.type == TYPE_STRING) {
		parser_emit(p, &value.token, FETCH_HASH, false, 0);
		return p->error;
	}
	if (p->nliterals)
		return parser_fail(p, value.token.at, "a key cannot compare strings");
	return value_want_integer(p, &value);
}

int key_compile(const char *expr, const struct pp_site *site, const struct fetch_program *program,
                struct fetch_steps *key)
{
	struct parser parser = { .tokens = { .text = expr }, .probe = site->probe, .program = program };
	size_t length = strlen(expr);
	int err;

	if (length > FILTER_LENGTH_MAX)
		return error_set(EINVAL, "the key has %zu bytes: the maximum is %d", length, FILTER_LENGTH_MAX);
	err = call_key_parse(&parser);
	for (size_t i = 0; !err && i < parser.nsteps; i++)
		if (parser.steps[i].op == FETCH_JZ || parser.steps[i].op == FETCH_JNZ)
			err = error_set(EINVAL, "a key cannot have && and ||");
	free(parser.literals);
	if (err)
		free(parser.steps);
	else
		*key = (struct fetch_steps){ parser.steps, parser.nsteps };
	return err;
}
