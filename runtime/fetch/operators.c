/* SPDX-License-Identifier: MIT */
/* The steps of a filter's binary operators, by the types of their operands. */
#include <errno.h>
#include <string.h>

#include "base/half.h"
#include "runtime/fetch/parser.h"

#define COMM_MAX 15
#define PRECEDENCE_EQUALITY 6 /* ==, != and =~ */
#define PRECEDENCE_ORDER 7    /* <, <=, > and >= */

int value_want_integer(const struct parser *p, const struct value *value)
{
	const char *text = p->tokens.text + value->token.at;
	int length = (int)value->token.length;

	switch (value->type) {
	case TYPE_INTEGER: return 0;
	case TYPE_TEXT: return parser_fail(p, value->token.at, "a quoted string can only be compared, by ==, != or =~");
	case TYPE_FLOAT:
		return parser_fail(p, value->token.at,
		                   "'%.*s' is a floating-point number: it can only be compared with a constant", length,
		                   text);
	case TYPE_DECIMAL:
		return parser_fail(p, value->token.at,
		                   "a decimal number can only be compared with a floating-point argument");
	case TYPE_STACK:
		return parser_fail(p, value->token.at, "a stack can only be a key of an aggregate, after 'by'");
	default:
		return parser_fail(p, value->token.at,
		                   "'%.*s' is a string: it can only be compared with a quoted string, by ==, != or =~",
		                   length, text);
	}
}

int value_want_terminated(const struct parser *p, const struct value *value)
{
	if (!value->length || value->is_terminated)
		return 0;
	return parser_fail(p, value->token.at, "a string with a length cannot be a key: it may not end with a NUL");
}

/*
 * Compares a string that has a length: first the length, then the bytes. The steps of its address, which are the last, move
 * to after the comparison of the length.
 */
static int sized_emit(struct parser *p, const struct value *string, const struct fetch_literal *literal, bool prefix)
{
	const struct token *token = &string->token;
	struct value address = { 0 };
	size_t jump;
	int err = parser_take_length(p, string->from, &address);

	if (err)
		return err;
	parser_emit_steps(p, token, string->length, string->nlength);
	parser_emit(p, token, FETCH_IMM, false, literal->length);
	parser_emit(p, token, prefix ? FETCH_LT : FETCH_EQ, false, 0);
	if (prefix)
		parser_emit(p, token, FETCH_NOT, false, 0);
	jump = p->nsteps;
	err = parser_emit_jump(p, token, FETCH_JZ);
	if (err)
		return err;
	parser_emit_steps(p, token, address.length, address.nlength);
	parser_emit_literal(p, token, FETCH_PREFIX, literal);
	if (!p->error)
		p->steps[jump].value = (int64_t)p->nsteps;
	return p->error;
}

static int strings_emit(struct parser *p, const struct binary_operator *op, const struct value *left,
                        const struct value *right)
{
	const struct value *text = right->type == TYPE_TEXT ? right : left;
	const struct value *other = text == right ? left : right;
	bool is_comm = other->type == TYPE_COMM, prefix;
	struct fetch_literal literal;
	enum match match;
	int err;

	if (left->type == TYPE_STACK || right->type == TYPE_STACK)
		return value_want_integer(p, left->type == TYPE_STACK ? left : right);
	if (op->op == OPERATOR_MATCH && right->type != TYPE_TEXT)
		return parser_fail(p, right->token.at, "expected a quoted pattern on the right of =~");
	if (op->precedence != PRECEDENCE_EQUALITY || text->type != TYPE_TEXT)
		return value_want_integer(p, left->type != TYPE_INTEGER ? left : right);
	if (other->type == TYPE_TEXT)
		return parser_fail(p, right->token.at, "cannot compare two quoted strings");
	if (other->type == TYPE_INTEGER && !other->may_be_string)
		return parser_fail(p, other->token.at, "cannot compare an integer with a string");
	err = token_text(&p->tokens, &text->token, op->op == OPERATOR_MATCH, &literal, &match);
	if (err)
		return err;
	prefix = match == MATCH_PREFIX;
	if (match & MATCH_SUFFIX && (is_comm || (other->length && !other->is_terminated)))
		return parser_fail(p, text->token.at, "'*' at the beginning of a pattern is not supported for %s",
		                   is_comm ? "a thread's name" : "strings with a length");
	if (other->length && !other->is_terminated) {
		err = sized_emit(p, other, &literal, prefix);
		if (err)
			return err;
		if (op->op == FETCH_NE)
			parser_emit(p, &other->token, FETCH_NOT, false, 0);
		return p->error;
	}
	if (is_comm && literal.length > COMM_MAX)
		return parser_fail(p, text->token.at, "a thread's name has at most %d bytes", COMM_MAX);
	if (is_comm)
		parser_emit_literal(p, &other->token, prefix ? FETCH_COMMPREFIX : FETCH_COMMEQ, &literal);
	else
		parser_emit_literal(p, &other->token,
		                    match & MATCH_SUFFIX ? FETCH_SEARCH
		                    : prefix             ? FETCH_PREFIX
		                                         : FETCH_STREQ,
		                    &literal);
	if (match == MATCH_SUFFIX && !p->error)
		p->steps[p->nsteps - 1].c = 1;
	if (op->op == FETCH_NE)
		parser_emit(p, &other->token, FETCH_NOT, false, 0);
	return p->error;
}

static int integers_emit(struct parser *p, const struct token *token, const struct value *left,
                         const struct value *right, struct value *result)
{
	bool is_unsigned = left->is_unsigned || right->is_unsigned;
	bool sign_matters = true, negate = false;
	enum fetch_opcode op = token->binary->op;

	result->is_truth = true;
	switch (token->binary->op) {
	case OPERATOR_GT:
	case OPERATOR_GE:
		op = token->binary->op == OPERATOR_GT ? FETCH_LE : FETCH_LT;
		negate = true;
		break;
	case FETCH_LT:
	case FETCH_LE: break;
	case FETCH_EQ:
	case FETCH_NE: sign_matters = false; break;
	case FETCH_SHL:
	case FETCH_SHR:
		is_unsigned = left->is_unsigned;
		sign_matters = op == FETCH_SHR;
		result->is_truth = false;
		break;
	default: sign_matters = op == FETCH_DIV || op == FETCH_MOD; result->is_truth = false;
	}
	parser_emit(p, token, op, sign_matters && !is_unsigned, 0);
	if (negate)
		parser_emit(p, token, FETCH_NOT, false, 0);
	result->is_unsigned = is_unsigned && !result->is_truth;
	return p->error;
}

/* Returns the key (see filter.c) of a number, which is rounded to a float of size bytes first. */
static int64_t float_key(double number, unsigned size)
{
	float narrow = (float)number;
	int64_t bits;
	int32_t narrow_bits;

	memcpy(&narrow_bits, &narrow, sizeof(narrow_bits));
	memcpy(&bits, &number, sizeof(bits));
	if (size == 4)
		bits = narrow_bits;
	if (size == 2)
		bits = (int16_t)half_from_double(number);
	return bits < 0 ? bits ^ FLOAT_MAGNITUDE(size) : bits;
}

/* Removes the step of an integer constant, which has the index at. Returns the constant's value. */
static double constant_take(struct parser *p, const struct value *value, size_t at)
{
	int64_t n;

	if (value->type == TYPE_DECIMAL)
		return value->number;
	n = p->steps[at].value;
	memmove(p->steps + at, p->steps + at + 1, (p->nsteps - at - 1) * sizeof(*p->steps));
	p->nsteps--;
	p->depth--;
	return value->is_unsigned ? (double)(uint64_t)n : (double)n;
}

/* Returns the operator that compares the same operands in the opposite order. */
static unsigned operator_swapped(unsigned op)
{
	switch (op) {
	case FETCH_LT: return OPERATOR_GT;
	case FETCH_LE: return OPERATOR_GE;
	case OPERATOR_GT: return FETCH_LT;
	case OPERATOR_GE: return FETCH_LE;
	default: return op;
	}
}

/* Replaces the key on the stack by whether it is in the range from low to high, which is empty if low > high. */
static void key_range_emit(struct parser *p, const struct token *token, int64_t low, int64_t high)
{
	parser_emit(p, token, FETCH_IMM, false, low);
	parser_emit(p, token, FETCH_SUB, false, 0);
	parser_emit(p, token, FETCH_IMM, false, (int64_t)((uint64_t)high - (uint64_t)low));
	parser_emit(p, token, FETCH_LE, false, 0);
	if (low <= high)
		return;
	parser_emit(p, token, FETCH_IMM, false, 0);
	parser_emit(p, token, FETCH_AND, false, 0);
}

/* Replaces the bits of a float on the stack, whose steps begin at `from`, by its key. */
static void key_emit(struct parser *p, const struct value *value, size_t from)
{
	const struct token *token = &value->token;

	if (value->size < 8)
		parser_emit_step(p, token, &(struct fetch_step){ .op = FETCH_EXTEND, .a = value->size, .c = true });
	parser_repeat(p, token, from, p->nsteps); /* twice, because no step copies a value */
	parser_emit(p, token, FETCH_IMM, false, 63);
	parser_emit(p, token, FETCH_SHR, true, 0);
	parser_emit(p, token, FETCH_IMM, false, FLOAT_MAGNITUDE(value->size));
	parser_emit(p, token, FETCH_AND, false, 0);
	parser_emit(p, token, FETCH_XOR, false, 0);
}

/* Compares a float with a constant: its key is in a range of keys. */
static int floats_emit(struct parser *p, const struct token *token, const struct value *left, const struct value *right,
                       size_t left_steps)
{
	const struct value *argument = left->type == TYPE_FLOAT ? left : right;
	const struct value *other = argument == left ? right : left;
	int64_t infinity = FLOAT_INFINITY(argument->size), low = -1 - infinity, high = infinity, key;
	unsigned op = argument == left ? token->binary->op : operator_swapped(token->binary->op);
	unsigned precedence = token->binary->precedence;
	size_t from;
	bool is_zero;

	if (argument->type != TYPE_FLOAT || precedence < PRECEDENCE_EQUALITY || precedence > PRECEDENCE_ORDER ||
	    op == OPERATOR_MATCH)
		return value_want_integer(p, left->type != TYPE_INTEGER ? left : right);
	if (other->type != TYPE_DECIMAL && (other->type != TYPE_INTEGER || !other->is_constant))
		return value_want_integer(p, argument);
	from = argument->from - (other == left && other->type == TYPE_INTEGER); /* a constant's step is before it */
	key = float_key(constant_take(p, other, other == right ? p->nsteps - 1 : left_steps - 1), argument->size);
	key_emit(p, argument, from);
	is_zero = key == 0 || key == -1; /* both zeros are equal */
	if (op != FETCH_LT && op != FETCH_LE)
		low = (is_zero ? -1 : key) + (op == OPERATOR_GT ? (is_zero ? 2 : 1) : 0);
	if (op != OPERATOR_GT && op != OPERATOR_GE)
		high = (is_zero ? 0 : key) - (op == FETCH_LT ? (is_zero ? 2 : 1) : 0);
	key_range_emit(p, token, low, high);
	if (op == FETCH_NE)
		parser_emit(p, token, FETCH_NOT, false, 0);
	return p->error;
}

static bool is_number(const struct value *value)
{
	return value->type == TYPE_FLOAT || value->type == TYPE_DECIMAL;
}

int operator_emit(struct parser *p, const struct token *token, const struct value *left, const struct value *right,
                  size_t left_steps, struct value *result)
{
	result->is_truth = true;
	if (is_number(left) || is_number(right))
		return floats_emit(p, token, left, right, left_steps);
	if (token->binary->op == OPERATOR_MATCH || left->type != TYPE_INTEGER || right->type != TYPE_INTEGER)
		return strings_emit(p, token->binary, left, right);
	return integers_emit(p, token, left, right, result);
}
