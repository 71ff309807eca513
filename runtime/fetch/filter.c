/* SPDX-License-Identifier: MIT */
/*
 * Filters: expressions over a site's arguments, compiled in one pass.
 *
 * The parser climbs precedences and emits steps as it goes, so that an operand's
 * steps are there before its operator is known. What it keeps of an operand is a
 * struct value: its type, and where it stood for the caret of an error. Integers
 * have left one 64-bit value on the stack, and so have strings in the target: their
 * address. Strings in quotes and comm have emitted nothing yet; what they are
 * compared with decides about their step.
 *
 * A floating-point argument leaves an integer that orders all of its type, the key:
 * its bits b, or for negative ones b ^ 0x7fff... So -0 has the key -1 and 0 the key
 * 0; keys above that of infinity and below -1 less that are NaNs. A comparison with a
 * constant asks whether the key lies in a range, which no NaN does.
 *
 * && and || jump over their right side with the left one's value kept on the
 * stack, which is therefore made 0 or 1 first where it may be anything else.
 */
#include "runtime/fetch/filter.h"

#include <errno.h>
#include <probepoint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/fetch/parser.h"
#include "base/error.h"
#include "sdt/image.h"

#define COMM_MAX 15
#define PRECEDENCE_EQUALITY 6 /* ==, != and =~ */
#define PRECEDENCE_ORDER 7    /* <, <=, > and >= */

#define fail parser_fail
#define emit parser_emit

_Static_assert(FILTER_LENGTH_MAX / sizeof("a==\"\"") < 256, "a step names a literal in 8 bits");

/* ---- steps ---- */

static int out_of_memory(void)
{
	return error_set(ENOMEM, "out of memory compiling a filter");
}

int parser_emit_step(struct parser *p, const struct token *token, const struct fetch_step *step)
{
	p->depth += fetch_effect(step->op);
	if (p->depth > FETCH_DEPTH_MAX)
		return fail(p, token->at, "the filter keeps more than %d values waiting here: use fewer parentheses",
		            FETCH_DEPTH_MAX);
	if (p->nsteps == p->room) {
		size_t room = p->room ? 2 * p->room : 32;
		void *grown = realloc(p->steps, room * sizeof(*p->steps));

		if (!grown)
			return out_of_memory();
		p->steps = grown;
		p->room = room;
	}
	p->steps[p->nsteps++] = *step;
	return 0;
}

int parser_emit(struct parser *p, const struct token *token, enum fetch_opcode op, bool is_signed, int64_t value)
{
	return parser_emit_step(p, token, &(struct fetch_step){ .op = op, .c = is_signed, .value = value });
}

static int emit_literal(struct parser *p, const struct token *token, enum fetch_opcode op,
                        const struct fetch_literal *literal)
{
	void *grown = realloc(p->literals, (p->nliterals + 1) * sizeof(*p->literals));

	if (!grown)
		return out_of_memory();
	p->literals = grown;
	p->literals[p->nliterals++] = *literal;
	return parser_emit_step(p, token, &(struct fetch_step){ .op = op, .a = p->nliterals - 1 });
}

static int emit_truth(struct parser *p, const struct value *value)
{
	int err = 0;

	for (int i = 0; !value->is_truth && !err && i < 2; i++)
		err = emit(p, &value->token, FETCH_NOT, false, 0);
	return err;
}

/* ---- operands ---- */

static int constant(struct parser *p, uint64_t number, struct value *value)
{
	value->type = TYPE_INTEGER;
	value->is_constant = true;
	value->is_unsigned = number > INT64_MAX;
	value->is_truth = number <= 1;
	return emit(p, &value->token, FETCH_IMM, false, number);
}

static int want_integer(const struct parser *p, const struct value *value)
{
	switch (value->type) {
	case TYPE_INTEGER: return 0;
	case TYPE_TEXT: return fail(p, value->token.at, "a string can only be compared, by ==, != or =~");
	case TYPE_FLOAT:
		return fail(p, value->token.at, "'%.*s' is a floating-point number: compare it with a constant",
		            (int)value->token.length, p->tokens.text + value->token.at);
	case TYPE_DECIMAL:
		return fail(p, value->token.at,
		            "a number with a point or an exponent can only be compared with a "
		            "floating-point argument");
	default:
		return fail(p, value->token.at, "'%.*s' is a string: compare it with one in quotes, by ==, != or =~",
		            (int)value->token.length, p->tokens.text + value->token.at);
	}
}

static int expression(struct parser *p, int precedence, struct value *left);
static int operand(struct parser *p, struct value *value);

static int unary(struct parser *p, struct value *value)
{
	struct token token = p->tokens.next;
	char c = p->tokens.text[token.at];
	int err = token_next(&p->tokens);

	if (!err && c == '(') {
		err = expression(p, 1, value);
		if (!err && !token_is(&p->tokens, ')'))
			err = fail(p, p->tokens.next.at, "a ')' is missing here");
		return err ? err : token_next(&p->tokens);
	}
	if (!err)
		err = operand(p, value);
	if (!err && value->type == TYPE_DECIMAL && (c == '-' || c == '+')) {
		value->number = c == '-' ? -value->number : value->number;
		return 0;
	}
	if (!err)
		err = want_integer(p, value);
	value->may_be_string = false;
	if (err || c == '+')
		return err;
	value->is_unsigned &= c != '!';
	value->is_truth = c == '!';
	if (c == '-' && value->is_constant) {
		p->steps[p->nsteps - 1].value = -(uint64_t)p->steps[p->nsteps - 1].value;
		return 0;
	}
	value->is_constant = false;
	return emit(p, &token, c == '!' ? FETCH_NOT : c == '-' ? FETCH_NEG : FETCH_COM, false, 0);
}

static int operand(struct parser *p, struct value *value)
{
	uint64_t n = 0;
	int64_t c = 0;
	int err;

	*value = (struct value){ .token = p->tokens.next };
	switch (p->tokens.next.kind) {
	case TOKEN_END:
		return fail(p, p->tokens.next.at,
		            p->tokens.next.at ? "the filter ends where a value should follow" : "the filter is empty");
	case TOKEN_NUMBER:
		err = token_number(&p->tokens, &p->tokens.next, &n);
		if (!err)
			err = constant(p, n, value);
		break;
	case TOKEN_DECIMAL:
		value->type = TYPE_DECIMAL;
		err = token_decimal(&p->tokens, &p->tokens.next, &value->number);
		break;
	case TOKEN_CHAR:
		err = token_char(&p->tokens, &p->tokens.next, &c);
		if (!err)
			err = constant(p, c, value);
		value->is_unsigned = false; /* a char is signed */
		break;
	case TOKEN_TEXT:
		value->type = TYPE_TEXT;
		err = 0;
		break;
	case TOKEN_NAME: return parser_name(p, value);
	default:
		if (!strchr("(!~-+", p->tokens.text[p->tokens.next.at]) || p->tokens.next.length > 1)
			return fail(p, p->tokens.next.at, "a value is missing before this");
		if (++p->nesting > FILTER_NESTING_MAX)
			return fail(p, p->tokens.next.at, "the filter is nested more than %d deep", FILTER_NESTING_MAX);
		err = unary(p, value);
		p->nesting--;
		return err;
	}
	return err ? err : token_next(&p->tokens);
}

/* ---- operators ---- */

static int compare_strings(struct parser *p, const struct operator* operator, const struct value * left,
                           const struct value *right)
{
	const struct value *text = right->type == TYPE_TEXT ? right : left;
	const struct value *other = text == right ? left : right;
	struct fetch_literal found;
	bool prefix;
	int err;

	if (operator->op == OPERATOR_MATCH && right->type != TYPE_TEXT)
		return fail(p, right->token.at, "=~ has a pattern in quotes on its right");
	if (operator->precedence != PRECEDENCE_EQUALITY || text->type != TYPE_TEXT)
		return want_integer(p, left->type != TYPE_INTEGER ? left : right);
	if (other->type == TYPE_TEXT)
		return fail(p, right->token.at, "there are strings in quotes on both sides");
	if (other->type == TYPE_INTEGER && !other->may_be_string)
		return fail(p, other->token.at, "an integer is compared with a string");
	err = token_text(&p->tokens, &text->token, operator->op == OPERATOR_MATCH, &found, &prefix);
	if (!err && other->type == TYPE_COMM && found.length > COMM_MAX)
		err = fail(p, text->token.at, "the name of a thread has at most %d bytes", COMM_MAX);
	if (!err && other->type == TYPE_COMM)
		err = emit_literal(p, &other->token, prefix ? FETCH_COMMPREFIX : FETCH_COMMEQ, &found);
	else if (!err)
		err = emit_literal(p, &other->token, prefix ? FETCH_PREFIX : FETCH_STREQ, &found);
	if (!err && operator->op == FETCH_NE)
		err = emit(p, &other->token, FETCH_NOT, false, 0);
	return err;
}

static int integers(struct parser *p, const struct token *token, const struct value *left, const struct value *right,
                    struct value *result)
{
	bool is_unsigned = left->is_unsigned || right->is_unsigned, matters = true, negate = false;
	enum fetch_opcode op = token->operator->op;
	int err;

	result->is_truth = true;
	switch (token->operator->op) {
	case OPERATOR_GT:
	case OPERATOR_GE:
		op = token->operator->op == OPERATOR_GT ? FETCH_LE : FETCH_LT;
		negate = true;
		break;
	case FETCH_LT:
	case FETCH_LE: break;
	case FETCH_EQ:
	case FETCH_NE: matters = false; break;
	case FETCH_SHL:
	case FETCH_SHR:
		is_unsigned = left->is_unsigned;
		matters = op == FETCH_SHR;
		result->is_truth = false;
		break;
	default: matters = op == FETCH_DIV || op == FETCH_MOD; result->is_truth = false;
	}
	err = emit(p, token, op, matters && !is_unsigned, 0);
	if (!err && negate)
		err = emit(p, token, FETCH_NOT, false, 0);
	result->is_unsigned = is_unsigned && !result->is_truth;
	return err;
}

/* The key of a number in the type of size bytes, to which it is rounded. */
static int64_t float_key(double number, unsigned size)
{
	float narrow = (float)number;
	int64_t bits;
	int32_t narrow_bits;

	memcpy(&narrow_bits, &narrow, sizeof(narrow_bits));
	memcpy(&bits, &number, sizeof(bits));
	if (size == 4)
		bits = narrow_bits;
	return bits < 0 ? bits ^ FLOAT_MAGNITUDE(size) : bits;
}

/* Takes back the step of an integer constant, which is the one at place, and gives its value. */
static double take_constant(struct parser *p, const struct value *value, size_t place)
{
	int64_t n;

	if (value->type == TYPE_DECIMAL)
		return value->number;
	n = p->steps[place].value;
	memmove(p->steps + place, p->steps + place + 1, (p->nsteps - place - 1) * sizeof(*p->steps));
	p->nsteps--;
	p->depth--;
	return value->is_unsigned ? (double)(uint64_t)n : (double)n;
}

/* middle: how many steps there were when those of the left side had been emitted. */
static int compare_floats(struct parser *p, const struct token *token, const struct value *left,
                          const struct value *right, size_t middle)
{
	const struct value *argument = left->type == TYPE_FLOAT ? left : right;
	const struct value *other = argument == left ? right : left;
	int64_t infinity = FLOAT_INFINITY(argument->size), key, low = -1 - infinity, high = infinity;
	bool is_zero;
	unsigned op = token->operator->op;
	double number;
	int err;

	if (argument->type != TYPE_FLOAT ||
	    token->operator->precedence<PRECEDENCE_EQUALITY || token->operator->precedence> PRECEDENCE_ORDER ||
	    op == OPERATOR_MATCH)
		return want_integer(p, left->type != TYPE_INTEGER ? left : right);
	if (other->type != TYPE_DECIMAL && (other->type != TYPE_INTEGER || !other->is_constant))
		return want_integer(p, argument);
	number = take_constant(p, other, other == right ? p->nsteps - 1 : middle - 1);
	key = float_key(number, argument->size);
	is_zero = key == 0 || key == -1; /* both zeroes are equal */
	if (argument == right)
		op = op == FETCH_LT      ? OPERATOR_GT
		     : op == FETCH_LE    ? OPERATOR_GE
		     : op == OPERATOR_GT ? FETCH_LT
		     : op == OPERATOR_GE ? FETCH_LE
		                         : op;
	if (op != FETCH_LT && op != FETCH_LE)
		low = (is_zero ? -1 : key) + (op == OPERATOR_GT ? (is_zero ? 2 : 1) : 0);
	if (op != OPERATOR_GT && op != OPERATOR_GE)
		high = (is_zero ? 0 : key) - (op == FETCH_LT ? (is_zero ? 2 : 1) : 0);
	err = emit(p, token, FETCH_IMM, false, low);
	if (!err)
		err = emit(p, token, FETCH_SUB, false, 0);
	if (!err)
		err = emit(p, token, FETCH_IMM, false, (int64_t)((uint64_t)high - (uint64_t)low));
	if (!err)
		err = emit(p, token, FETCH_LE, false, 0);
	if (!err && low > high) /* beyond infinity there is nothing */
		err = emit(p, token, FETCH_IMM, false, 0);
	if (!err && low > high)
		err = emit(p, token, FETCH_AND, false, 0);
	if (!err && op == FETCH_NE)
		err = emit(p, token, FETCH_NOT, false, 0);
	return err;
}

/* left operator right, with the steps of left there already. */
static int binary(struct parser *p, const struct token *token, struct value *left)
{
	const struct operator* operator= token->operator;
	struct value right, result = { .type = TYPE_INTEGER, .token = left->token };
	bool is_logical = operator->op == OPERATOR_AND || operator->op == OPERATOR_OR;
	size_t jump = 0, middle = p->nsteps;
	int err = 0;

	if (is_logical) {
		err = want_integer(p, left);
		if (!err && operator->op == OPERATOR_OR)
			err = emit_truth(p, left);
		jump = p->nsteps;
		if (!err)
			err = emit(p, token, operator->op == OPERATOR_AND ? FETCH_JZ : FETCH_JNZ, false, 0);
	}
	if (!err)
		err = expression(p, operator->precedence + 1, &right);
	if (err)
		return err;
	if (is_logical) {
		err = want_integer(p, &right);
		if (!err)
			err = emit_truth(p, &right);
		if (!err)
			p->steps[jump].value = p->nsteps;
		result.is_truth = true;
	} else if (left->type == TYPE_FLOAT || left->type == TYPE_DECIMAL || right.type == TYPE_FLOAT ||
	           right.type == TYPE_DECIMAL) {
		err = compare_floats(p, token, left, &right, middle);
		result.is_truth = true;
	} else if (operator->op == OPERATOR_MATCH || left->type != TYPE_INTEGER || right.type != TYPE_INTEGER) {
		err = compare_strings(p, operator, left, &right);
		result.is_truth = true;
	} else {
		err = integers(p, token, left, &right, &result);
	}
	*left = result;
	return err;
}

static int expression(struct parser *p, int precedence, struct value *left)
{
	int err = operand(p, left);

	while (!err && p->tokens.next.operator&& p->tokens.next.operator->precedence >= precedence) {
		struct token token = p->tokens.next;

		err = token_next(&p->tokens);
		if (!err)
			err = binary(p, &token, left);
	}
	return err;
}

static int predicate(struct parser *p)
{
	struct value value;
	int err = token_next(&p->tokens);

	if (!err)
		err = expression(p, 1, &value);
	if (!err && p->tokens.next.kind != TOKEN_END)
		err = fail(p, p->tokens.next.at,
		           token_is(&p->tokens, ')') ? "no '(' is open here" : "an operator is missing before this");
	if (!err)
		err = want_integer(p, &value);
	return err ? err : emit(p, &value.token, FETCH_TEST, false, 0);
}

int filter_compile(const char *expr, const struct pp_site *site, struct fetch_program *program)
{
	struct parser parser = { .tokens = { .text = expr }, .probe = site->probe, .program = program };
	size_t length = strlen(expr), n;
	struct fetch_step *steps;
	int err;

	if (program->npredicate)
		return error_set(EINVAL, "a probe takes one filter: join them by &&");
	if (length > FILTER_LENGTH_MAX)
		return error_set(EINVAL, "the filter has %zu bytes, and %d are the most", length, FILTER_LENGTH_MAX);
	err = predicate(&parser);
	if (err)
		goto out;
	n = parser.nsteps;
	steps = realloc(parser.steps, (n + program->nsteps) * sizeof(*steps));
	if (!steps) {
		err = out_of_memory();
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
	return 0;
out:
	free(parser.steps);
	free(parser.literals);
	return err;
}
