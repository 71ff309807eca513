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
 * The steps of an argument are those that the program has for it already.
 *
 * && and || jump over their right side with the left one's value kept on the
 * stack, which is therefore made 0 or 1 first where it may be anything else.
 */
#include "runtime/filter.h"

#include <ctype.h>
#include <errno.h>
#include <probepoint.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sdt/error.h"
#include "sdt/image.h"

#define SHOWN_MAX 100 /* of a long expression, around the caret */
#define COMM_MAX 15

_Static_assert(FILTER_LENGTH_MAX / sizeof("a==\"\"") < 256, "a step names a literal in 8 bits");

enum token_kind { TOKEN_END, TOKEN_NUMBER, TOKEN_CHAR, TOKEN_TEXT, TOKEN_NAME, TOKEN_OPERATOR };

struct token {
	enum token_kind kind;
	size_t at, length;
	const struct operator *operator; /* if it can stand between two operands */
};

enum type { TYPE_INTEGER, TYPE_STRING, TYPE_TEXT, TYPE_COMM };

struct value {
	enum type type;
	struct token token; /* its first */
	bool is_unsigned;   /* of 64 bits */
	bool is_truth;      /* 0 or 1 */
	bool is_constant;   /* its only step is a FETCH_IMM */
	bool may_be_string; /* an integer that may be a string's address for all that is known */
};

struct parser {
	const char *text;
	const struct pp_probe *probe;
	const struct fetch_program *program;
	struct token token; /* to be looked at next */
	size_t end;         /* of it */
	struct fetch_step *steps;
	size_t nsteps, room;
	struct fetch_literal *literals;
	size_t nliterals;
	int depth, nesting;
};

enum { AND = 128, OR, GT, GE, MATCH }; /* no steps of their own */

static const struct operator {
	char text[3];
	uint8_t precedence;
	uint8_t op;
} operators[] = { /* longer ones first */
	{ "||", 1, OR },        { "&&", 2, AND },       { "==", 6, FETCH_EQ },  { "!=", 6, FETCH_NE },
	{ "=~", 6, MATCH },     { "<=", 7, FETCH_LE },  { ">=", 7, GE },        { "<<", 8, FETCH_SHL },
	{ ">>", 8, FETCH_SHR }, { "|", 3, FETCH_OR },   { "^", 4, FETCH_XOR },  { "&", 5, FETCH_AND },
	{ "<", 7, FETCH_LT },   { ">", 7, GT },         { "+", 9, FETCH_ADD },  { "-", 9, FETCH_SUB },
	{ "*", 10, FETCH_MUL }, { "/", 10, FETCH_DIV }, { "%", 10, FETCH_MOD },
};

__attribute__((format(printf, 3, 4)))
static int fail(const struct parser *p, size_t at, const char *format, ...)
{
	size_t length = strlen(p->text), from = 0;
	char sentence[512], shown[SHOWN_MAX + 1];
	va_list args;

	va_start(args, format);
	vsnprintf(sentence, sizeof(sentence), format, args);
	va_end(args);
	if (length > SHOWN_MAX && at > SHOWN_MAX / 2)
		from = at - SHOWN_MAX / 2;
	snprintf(shown, sizeof(shown), "%s", p->text + from);
	for (char *c = shown; *c; c++)
		if (*c < ' ' || *c > '~')
			*c = isspace((unsigned char)*c) ? ' ' : '?';
	if (from)
		memcpy(shown, "...", 3);
	if (length - from > SHOWN_MAX)
		memcpy(shown + SHOWN_MAX - 3, "...", 3);
	return error_set(EINVAL, "%s\n%s\n%*s^", sentence, shown, (int)(at - from), "");
}

/* ---- tokens ---- */

static bool is_name(char c)
{
	return isalnum((unsigned char)c) || c == '_';
}

static int next_quoted(struct parser *p, struct token *token)
{
	char quote = p->text[token->at];
	size_t end = token->at + 1;

	while (p->text[end] && p->text[end] != quote)
		end += p->text[end] == '\\' && p->text[end + 1] ? 2 : 1;
	if (!p->text[end])
		return fail(p, token->at, "a %s is not closed", quote == '"' ? "string" : "character");
	token->kind = quote == '"' ? TOKEN_TEXT : TOKEN_CHAR;
	token->length = end + 1 - token->at;
	return 0;
}

static int next(struct parser *p)
{
	struct token token = { .kind = TOKEN_END, .at = p->end };
	int err = 0;

	while (isspace((unsigned char)p->text[token.at]))
		token.at++;
	char c = p->text[token.at];

	if (c == '"' || c == '\'') {
		err = next_quoted(p, &token);
	} else if (is_name(c)) {
		token.kind = isdigit((unsigned char)c) ? TOKEN_NUMBER : TOKEN_NAME;
		while (is_name(p->text[token.at + token.length]))
			token.length++;
	} else if (c) {
		token.kind = TOKEN_OPERATOR;
		token.length = 1;
		for (size_t i = 0; !token.operator && i < sizeof(operators) / sizeof(*operators); i++)
			if (!strncmp(p->text + token.at, operators[i].text, strlen(operators[i].text))) {
				token.operator = &operators[i];
				token.length = strlen(operators[i].text);
			}
		if (!token.operator && !strchr("()!~", c))
			err = c == '=' ? fail(p, token.at, "'=' assigns, and a filter compares: write '=='")
			               : fail(p, token.at, "no filter has this character in it");
	}
	p->token = token;
	p->end = token.at + token.length;
	return err;
}

static bool next_is(const struct parser *p, char c)
{
	return p->token.kind == TOKEN_OPERATOR && p->token.length == 1 && p->text[p->token.at] == c;
}

/* Takes one character, escaped or not, at *at; its value. A star that means "anything" is -EAGAIN. */
static int unescape(const struct parser *p, size_t *at, bool pattern)
{
	static const char from[] = "abfnrtv\\'\"?", to[] = "\a\b\f\n\r\t\v\\'\"?";
	const char *text = p->text + *at, *found;
	int value = 0, n = 0;

	if (*text != '\\') {
		++*at;
		if (pattern && *text == '*')
			return -EAGAIN;
		if (pattern && (*text == '?' || *text == '['))
			return fail(p, *at - 1, "a pattern knows only a '*' at its end: write '\\%c' for the character", *text);
		return (unsigned char)*text;
	}
	text++;
	found = memchr(from, *text, sizeof(from) - 1);
	if (found) {
		value = (unsigned char)to[found - from];
		n = 1;
	} else if (pattern && (*text == '*' || *text == '[')) {
		value = *text;
		n = 1;
	} else if (*text == 'x') {
		for (n = 1; n < 3 && isxdigit((unsigned char)text[n]); n++)
			value = value * 16 + (isdigit((unsigned char)text[n]) ? text[n] - '0' : (text[n] | 32) - 'a' + 10);
		n = n > 1 ? n : 0;
	} else {
		while (n < 3 && text[n] >= '0' && text[n] <= '7')
			value = value * 8 + text[n++] - '0';
	}
	if (!n || value > 255)
		return fail(p, *at, "no such escape sequence is known");
	*at += n + 1;
	return value;
}

static int number(const struct parser *p, const struct token *token, uint64_t *value)
{
	const char *digits = p->text + token->at, *end = digits + token->length;
	unsigned base = 10;

	if (*digits == '0' && token->length > 1) {
		base = (digits[1] | 32) == 'x' ? 16 : 8;
		digits += base == 16 ? 2 : 1;
	}
	if (digits == end)
		return fail(p, token->at, "no digits follow '0x'");
	for (*value = 0; digits < end; digits++) {
		unsigned digit = isdigit((unsigned char)*digits) ? (unsigned)(*digits - '0') : (unsigned)(*digits | 32) - 'a' + 10;

		if (digit >= base)
			return fail(p, digits - p->text, "'%c' is no digit of a number of base %u", *digits, base);
		if (__builtin_mul_overflow(*value, base, value) || __builtin_add_overflow(*value, digit, value))
			return fail(p, token->at, "the number does not fit in 64 bits");
	}
	if (*end == '.')
		return fail(p, end - p->text, "filters know integers only");
	return 0;
}

/* ---- steps ---- */

static int out_of_memory(void)
{
	return error_set(ENOMEM, "out of memory compiling a filter");
}

static int emit_step(struct parser *p, const struct token *token, const struct fetch_step *step)
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

static int emit(struct parser *p, const struct token *token, enum fetch_opcode op, bool is_signed, int64_t value)
{
	return emit_step(p, token, &(struct fetch_step){ .op = op, .c = is_signed, .value = value });
}

static int emit_literal(struct parser *p, const struct token *token, enum fetch_opcode op, const struct fetch_literal *literal)
{
	void *grown = realloc(p->literals, (p->nliterals + 1) * sizeof(*p->literals));

	if (!grown)
		return out_of_memory();
	p->literals = grown;
	p->literals[p->nliterals++] = *literal;
	return emit_step(p, token, &(struct fetch_step){ .op = op, .a = p->nliterals - 1 });
}

static int emit_argument(struct parser *p, const struct token *token, size_t i)
{
	const struct fetch_step *step = p->program->steps;
	int err = 0;

	for (size_t passed = 0; passed < i; step++)
		passed += step->op == FETCH_ARG || step->op == FETCH_STRING;
	for (; !err && step->op != FETCH_ARG && step->op != FETCH_STRING; step++)
		err = emit_step(p, token, step);
	return err;
}

static int emit_truth(struct parser *p, const struct value *value)
{
	int err = 0;

	for (int i = 0; !value->is_truth && !err && i < 2; i++)
		err = emit(p, &value->token, FETCH_NOT, false, 0);
	return err;
}

/* ---- operands ---- */

static int argument(struct parser *p, size_t i, struct value *value)
{
	enum pp_kind kind = p->program->kind[i];
	bool typed = i < p->probe->nargs && p->probe->args[i].class != PPN_CLASS_NONE;
	bool is_wide = p->program->size[i] == 8;

	if (kind == PP_FLOAT)
		return fail(p, value->token.at, "'%.*s' is a floating-point number, and filters know integers and strings only",
		            (int)value->token.length, p->text + value->token.at);
	value->type = kind == PP_STRING ? TYPE_STRING : TYPE_INTEGER;
	value->is_unsigned = is_wide && kind != PP_SIGNED && kind != PP_CHAR;
	value->may_be_string = is_wide && (kind == PP_POINTER || !typed);
	return emit_argument(p, &value->token, i);
}

static int unknown_name(const struct parser *p, const struct token *token)
{
	size_t length = 0, nargs = p->program->nargs;
	char names[256] = "nothing";

	for (size_t i = 0; i < nargs && length < sizeof(names); i++) {
		if (i < p->probe->nargs)
			length += snprintf(names + length, sizeof(names) - length, "%s%.64s", i ? ", " : "",
			                   p->probe->args[i].name);
		else
			length += snprintf(names + length, sizeof(names) - length, "%sarg%zu", i ? ", " : "", i);
	}
	if (length >= sizeof(names))
		strcpy(names + sizeof(names) - 4, "...");
	return fail(p, token->at, "'%.*s' is no argument of %.64s:%.64s: it has %s, and there are pid, tid and comm",
	            token->length > 64 ? 64 : (int)token->length, p->text + token->at, p->probe->provider, p->probe->name,
	            names);
}

static int name(struct parser *p, struct value *value)
{
	const char *text = p->text + value->token.at;
	size_t length = value->token.length, nargs = p->program->nargs;
	char number[24];

	for (size_t i = 0; i < nargs && i < p->probe->nargs; i++)
		if (strlen(p->probe->args[i].name) == length && !memcmp(p->probe->args[i].name, text, length))
			return argument(p, i, value);
	for (size_t i = 0; i < nargs; i++)
		if ((size_t)snprintf(number, sizeof(number), "arg%zu", i) == length && !memcmp(number, text, length))
			return argument(p, i, value);
	value->type = TYPE_INTEGER;
	if (length == 3 && !memcmp(text, "pid", 3))
		return emit(p, &value->token, FETCH_PID, false, 0);
	if (length == 3 && !memcmp(text, "tid", 3))
		return emit(p, &value->token, FETCH_TID, false, 0);
	value->type = TYPE_COMM;
	if (length == 4 && !memcmp(text, "comm", 4))
		return 0;
	return unknown_name(p, &value->token);
}

static int constant(struct parser *p, uint64_t number, struct value *value)
{
	value->type = TYPE_INTEGER;
	value->is_constant = true;
	value->is_unsigned = number > INT64_MAX;
	value->is_truth = number <= 1;
	return emit(p, &value->token, FETCH_IMM, false, number);
}

static int character(struct parser *p, struct value *value)
{
	size_t at = value->token.at + 1, end = value->token.at + value->token.length - 1;
	int c, err;

	if (at == end)
		return fail(p, value->token.at, "there is no character between the quotes");
	c = unescape(p, &at, false);
	if (c < 0)
		return c;
	if (at != end)
		return fail(p, value->token.at, "there is more than one character between the quotes: strings stand in \"\"");
	err = constant(p, (int64_t)(signed char)c, value);
	value->is_unsigned = false;
	return err;
}

static int want_integer(const struct parser *p, const struct value *value)
{
	switch (value->type) {
	case TYPE_INTEGER:
		return 0;
	case TYPE_TEXT:
		return fail(p, value->token.at, "a string can only be compared, by ==, != or =~");
	default:
		return fail(p, value->token.at, "'%.*s' is a string: compare it with one in quotes, by ==, != or =~",
		            (int)value->token.length, p->text + value->token.at);
	}
}

static int expression(struct parser *p, int precedence, struct value *left);
static int operand(struct parser *p, struct value *value);

static int unary(struct parser *p, struct value *value)
{
	struct token token = p->token;
	char c = p->text[token.at];
	int err = next(p);

	if (!err && c == '(') {
		err = expression(p, 1, value);
		if (!err && !next_is(p, ')'))
			err = fail(p, p->token.at, "a ')' is missing here");
		return err ? err : next(p);
	}
	if (!err)
		err = operand(p, value);
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
	int err;

	*value = (struct value){ .token = p->token };
	switch (p->token.kind) {
	case TOKEN_END:
		return fail(p, p->token.at, p->token.at ? "the filter ends where a value should follow" : "the filter is empty");
	case TOKEN_NUMBER:
		err = number(p, &p->token, &n);
		if (!err)
			err = constant(p, n, value);
		break;
	case TOKEN_CHAR:
		err = character(p, value);
		break;
	case TOKEN_TEXT:
		value->type = TYPE_TEXT;
		err = 0;
		break;
	case TOKEN_NAME:
		err = name(p, value);
		break;
	default:
		if (!strchr("(!~-+", p->text[p->token.at]) || p->token.length > 1)
			return fail(p, p->token.at, "a value is missing before this");
		if (++p->nesting > FILTER_NESTING_MAX)
			return fail(p, p->token.at, "the filter is nested more than %d deep", FILTER_NESTING_MAX);
		err = unary(p, value);
		p->nesting--;
		return err;
	}
	return err ? err : next(p);
}

/* ---- operators ---- */

static int literal(const struct parser *p, const struct token *token, bool pattern, struct fetch_literal *literal,
                   bool *prefix)
{
	size_t at = token->at + 1, end = token->at + token->length - 1;

	*prefix = false;
	memset(literal, 0, sizeof(*literal));
	while (at < end) {
		size_t start = at;
		int c = unescape(p, &at, pattern);

		if (c == -EAGAIN && at == end) {
			*prefix = true;
			return 0;
		}
		if (c == -EAGAIN)
			return fail(p, start, "a '*' can only end a pattern: write '\\*' for the character");
		if (c < 0)
			return c;
		if (!c)
			return fail(p, start, "no string has a NUL byte in it");
		if (literal->length == FETCH_LITERAL_MAX)
			return fail(p, start, "strings in filters have at most %d bytes", FETCH_LITERAL_MAX);
		literal->bytes[literal->length++] = c;
	}
	return 0;
}

static int compare_strings(struct parser *p, const struct operator *operator, const struct value *left,
                           const struct value *right)
{
	const struct value *text = right->type == TYPE_TEXT ? right : left;
	const struct value *other = text == right ? left : right;
	struct fetch_literal found;
	bool prefix;
	int err;

	if (operator->op == MATCH && right->type != TYPE_TEXT)
		return fail(p, right->token.at, "=~ has a pattern in quotes on its right");
	if ((operator->op != FETCH_EQ && operator->op != FETCH_NE && operator->op != MATCH) || text->type != TYPE_TEXT)
		return want_integer(p, left->type != TYPE_INTEGER ? left : right);
	if (other->type == TYPE_TEXT)
		return fail(p, right->token.at, "there are strings in quotes on both sides");
	if (other->type == TYPE_INTEGER && !other->may_be_string)
		return fail(p, other->token.at, "an integer is compared with a string");
	err = literal(p, &text->token, operator->op == MATCH, &found, &prefix);
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
	case GT:
	case GE:
		op = token->operator->op == GT ? FETCH_LE : FETCH_LT;
		negate = true;
		break;
	case FETCH_LT:
	case FETCH_LE:
		break;
	case FETCH_EQ:
	case FETCH_NE:
		matters = false;
		break;
	case FETCH_SHL:
	case FETCH_SHR:
		is_unsigned = left->is_unsigned;
		matters = op == FETCH_SHR;
		result->is_truth = false;
		break;
	default:
		matters = op == FETCH_DIV || op == FETCH_MOD;
		result->is_truth = false;
	}
	err = emit(p, token, op, matters && !is_unsigned, 0);
	if (!err && negate)
		err = emit(p, token, FETCH_NOT, false, 0);
	result->is_unsigned = is_unsigned && !result->is_truth;
	return err;
}

/* left operator right, with the steps of left there already. */
static int binary(struct parser *p, const struct token *token, struct value *left)
{
	const struct operator *operator = token->operator;
	struct value right, result = { .type = TYPE_INTEGER, .token = left->token };
	bool is_logical = operator->op == AND || operator->op == OR;
	size_t jump = 0;
	int err = 0;

	if (is_logical) {
		err = want_integer(p, left);
		if (!err && operator->op == OR)
			err = emit_truth(p, left);
		jump = p->nsteps;
		if (!err)
			err = emit(p, token, operator->op == AND ? FETCH_JZ : FETCH_JNZ, false, 0);
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
	} else if (operator->op == MATCH || left->type != TYPE_INTEGER || right.type != TYPE_INTEGER) {
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

	while (!err && p->token.operator && p->token.operator->precedence >= precedence) {
		struct token token = p->token;

		err = next(p);
		if (!err)
			err = binary(p, &token, left);
	}
	return err;
}

static int predicate(struct parser *p)
{
	struct value value;
	int err = next(p);

	if (!err)
		err = expression(p, 1, &value);
	if (!err && p->token.kind != TOKEN_END)
		err = fail(p, p->token.at, next_is(p, ')') ? "no '(' is open here" : "an operator is missing before this");
	if (!err)
		err = want_integer(p, &value);
	return err ? err : emit(p, &value.token, FETCH_TEST, false, 0);
}

int filter_compile(const char *expr, const struct pp_site *site, struct fetch_program *program)
{
	struct parser parser = { .text = expr, .probe = site->probe, .program = program };
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
