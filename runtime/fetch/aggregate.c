/* SPDX-License-Identifier: MIT */
/*
 * Aggregates: calls of functions over expressions, with the expressions of a key.
 *
 *     AGGREGATE = CALL {"," CALL} ["by" EXPRESSION {"," EXPRESSION}]
 *     CALL      = "count" "(" ")" | FUNCTION "(" EXPRESSION ")" | "lhist" "(" EXPRESSION "," LOW "," HIGH "," STEP ")"
 *
 * The key is evaluated before the values, but stands after them. So the calls are first parsed to find their end, then the
 * key is compiled, then the calls are parsed again.
 *
 * Each call has a column. Calls without a histogram share a column if the text of their expressions is equal.
 */
#include "runtime/fetch/aggregate.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "runtime/fetch/parser.h"
#include "runtime/fetch/stack.h"
#include "sdt/image.h"

struct aggregate_parser {
	struct parser p;
	struct fetch_aggregate a;
	struct token values[AGG_COLUMNS_MAX]; /* the text of each column's expression */
	const struct pp_site *site;
};

static const struct {
	const char *name;
	uint8_t function, histogram;
} functions[] = {
	{ "count", PP_COUNT, AGG_PLAIN },  { "sum", PP_SUM, AGG_PLAIN },     { "min", PP_MIN, AGG_PLAIN },
	{ "max", PP_MAX, AGG_PLAIN },      { "avg", PP_AVG, AGG_PLAIN },     { "hist", PP_HIST, AGG_LOG2 },
	{ "lhist", PP_LHIST, AGG_LINEAR }, { "pct", PP_PCT, AGG_LOGLINEAR },
};

#define FUNCTIONS_TEXT "count(), sum(x), min(x), max(x), avg(x), hist(x), lhist(x, low, high, step) and pct(x)"

static bool token_is_name(const struct tokens *t, const char *name)
{
	return t->next.kind == TOKEN_NAME && t->next.length == strlen(name) &&
	       !memcmp(t->text + t->next.at, name, t->next.length);
}

/* Sets *function to the index of the next token's function. */
static int function_parse(struct aggregate_parser *ap, size_t *function)
{
	struct parser *p = &ap->p;

	for (*function = 0; *function < sizeof(functions) / sizeof(*functions); ++*function)
		if (token_is_name(&p->tokens, functions[*function].name))
			return token_next(&p->tokens);
	return parser_fail(p, p->tokens.next.at, "expected a function: there are " FUNCTIONS_TEXT);
}

static int operator_expect(struct parser *p, char c)
{
	if (!token_is(&p->tokens, c))
		return parser_fail(p, p->tokens.next.at, "expected '%c'", c);
	return token_next(&p->tokens);
}

/* Parses ", NUMBER", which may have a sign. */
static int bound_parse(struct parser *p, int64_t *bound)
{
	bool negative;
	uint64_t value;
	int err = operator_expect(p, ',');

	if (err)
		return err;
	negative = token_is(&p->tokens, '-');
	err = negative ? token_next(&p->tokens) : 0;
	if (err)
		return err;
	if (p->tokens.next.kind != TOKEN_NUMBER)
		return parser_fail(p, p->tokens.next.at, "expected a number");
	err = token_number(&p->tokens, &p->tokens.next, &value);
	if (err)
		return err;
	if (value > INT64_MAX)
		return parser_fail(p, p->tokens.next.at, "the number does not fit in 63 bits");
	*bound = negative ? -(int64_t)value : (int64_t)value;
	return token_next(&p->tokens);
}

static int bounds_parse(struct parser *p, const struct token *token, struct agg_column *column)
{
	int err = bound_parse(p, &column->low);

	err = err ? err : bound_parse(p, &column->high);
	err = err ? err : bound_parse(p, &column->step);
	if (err)
		return err;
	if (column->step <= 0 || column->low >= column->high || (column->is_unsigned && column->low < 0))
		return parser_fail(p, token->at, "invalid bounds: low must be below high, and the step above 0");
	if (!agg_column_is_valid(column))
		return parser_fail(p, token->at, "the histogram has more than %d steps", AGG_LINEAR_MAX);
	return 0;
}

/* Returns the column without a histogram whose expression has this text, or ncolumns. */
static size_t column_find(const struct aggregate_parser *ap, const struct token *value)
{
	const char *text = ap->p.tokens.text;
	size_t i;

	for (i = 0; i < ap->a.ncolumns; i++)
		if (ap->a.columns[i].histogram == AGG_PLAIN && ap->values[i].length == value->length &&
		    !memcmp(text + ap->values[i].at, text + value->at, value->length))
			break;
	return i;
}

/* Parses the arguments of a call and pushes the value. *value is the text of the expression. */
static int arguments_parse(struct aggregate_parser *ap, size_t function, struct agg_column *column, struct token *value)
{
	struct parser *p = &ap->p;
	struct value result;
	int err;

	*value = p->tokens.next;
	if (functions[function].function == PP_COUNT) {
		value->length = 0;
		parser_emit(p, value, FETCH_IMM, false, 0);
		return p->error;
	}
	err = parser_expression(p, &result);
	if (err)
		return err;
	value->length = p->tokens.next.at - value->at;
	column->is_unsigned = result.is_unsigned;
	err = value_want_integer(p, &result);
	return err || column->histogram != AGG_LINEAR ? err : bounds_parse(p, value, column);
}

static int call_parse(struct aggregate_parser *ap)
{
	struct parser *p = &ap->p;
	struct agg_column column = { 0 };
	struct token token = p->tokens.next, value;
	size_t function, before = p->nsteps, at;
	int err = function_parse(ap, &function);

	if (err)
		return err;
	if (ap->a.ncalls == AGG_CALLS_MAX)
		return parser_fail(p, token.at, "more than %d functions", AGG_CALLS_MAX);
	err = operator_expect(p, '(');
	if (err)
		return err;
	column.histogram = functions[function].histogram;
	err = arguments_parse(ap, function, &column, &value);
	if (err)
		return err;
	ap->a.calls[ap->a.ncalls] = (struct agg_call){ .function = functions[function].function, .at = token.at };
	ap->a.calls[ap->a.ncalls].length = p->tokens.next.at + 1 - token.at;
	at = column.histogram == AGG_PLAIN ? column_find(ap, &value) : ap->a.ncolumns;
	ap->a.calls[ap->a.ncalls++].column = at;
	if (at < ap->a.ncolumns) {
		p->nsteps = before;
		p->depth--;
	} else {
		ap->values[at] = value;
		ap->a.columns[ap->a.ncolumns++] = column;
		parser_emit_step(p, &token, &(struct fetch_step){ .op = FETCH_AGG, .a = at });
	}
	return p->error ? p->error : operator_expect(p, ')');
}

static int calls_parse(struct aggregate_parser *ap)
{
	int err;

	while (!(err = call_parse(ap)) && token_is(&ap->p.tokens, ','))
		if ((err = token_next(&ap->p.tokens)))
			break;
	return err;
}

/* Emits the steps that write what the walk of a stack begins with. */
static int stack_words_emit(struct aggregate_parser *ap, const struct token *token, uint8_t part)
{
	struct fetch_step steps[STACK_STEPS_MAX];
	size_t n;

	for (uint8_t i = 0; i < part; i++)
		if (ap->a.parts[i].kind == PP_STACK)
			return parser_fail(&ap->p, token->at, "a key has one stack");
	n = stack_steps(ap->site, part, steps);
	if (!n)
		return -ENOTSUP;
	parser_emit_steps(&ap->p, token, steps, n);
	return ap->p.error;
}

/* An unsigned integer of less than 64 bits is a signed one in a key, so that sites with arguments of both types share a table. */
static enum pp_kind integer_part_kind(const struct value *value)
{
	if (value->kind == PP_MISSING || value->kind == PP_UNSIGNED)
		return value->is_unsigned ? PP_UNSIGNED : PP_SIGNED;
	return value->kind;
}

/* Emits the step that ends a part of the key, whose value is on the stack. */
static int part_emit(struct aggregate_parser *ap, const struct value *value, struct agg_part *part)
{
	struct parser *p = &ap->p;
	uint8_t i = ap->a.nparts;
	enum fetch_opcode op = FETCH_KEY;
	int err;

	part->kind = PP_STRING;
	part->names = value->names;
	if (value->type == TYPE_COMM) {
		op = FETCH_KEYCOMM;
	} else if (value->type == TYPE_STACK) {
		part->kind = PP_STACK;
		op = FETCH_KEYSTACK;
		err = stack_words_emit(ap, &value->token, i);
		if (err)
			return err;
	} else if (value->type == TYPE_STRING || (value->type == TYPE_INTEGER && value->kind == PP_STRING)) {
		op = FETCH_KEYSTR;
		err = value_want_terminated(p, value);
		if (err)
			return err;
	} else {
		err = value_want_integer(p, value);
		if (err)
			return err;
		part->kind = integer_part_kind(value);
	}
	parser_emit_step(p, &value->token, &(struct fetch_step){ .op = op, .a = i });
	ap->a.nparts++;
	return p->error;
}

static int part_parse(struct aggregate_parser *ap)
{
	struct parser *p = &ap->p;
	struct token first = p->tokens.next;
	struct agg_part *part = &ap->a.parts[ap->a.nparts];
	struct value value;
	int err;

	if (ap->a.nparts == AGG_PARTS_MAX)
		return parser_fail(p, first.at, "a key has at most %d parts", AGG_PARTS_MAX);
	err = parser_expression(p, &value);
	if (err)
		return err;
	part->at = first.at;
	part->length = p->tokens.next.at - first.at;
	while (part->length && p->tokens.text[part->at + part->length - 1] == ' ')
		part->length--;
	return part_emit(ap, &value, part);
}

static int key_parse(struct aggregate_parser *ap)
{
	struct parser *p = &ap->p;
	int err;

	if (!token_is_name(&p->tokens, "by"))
		return parser_fail(p, p->tokens.next.at, "expected ',', 'by' or the end");
	do {
		err = token_next(&p->tokens);
		err = err ? err : part_parse(ap);
		if (err)
			return err;
	} while (token_is(&p->tokens, ','));
	return p->tokens.next.kind == TOKEN_END ? 0 : parser_fail(p, p->tokens.next.at, "expected ',' or the end");
}

static int aggregate_parse(struct aggregate_parser *ap)
{
	struct tokens start = ap->p.tokens, end;
	int err = token_next(&ap->p.tokens);

	if (!err)
		err = calls_parse(ap);
	if (err || ap->p.tokens.next.kind == TOKEN_END)
		return err;
	ap->p.nsteps = ap->p.nliterals = ap->a.ncolumns = ap->a.ncalls = 0;
	err = key_parse(ap);
	if (err)
		return err;
	end = ap->p.tokens;
	ap->p.tokens = start;
	err = token_next(&ap->p.tokens);
	if (!err)
		err = calls_parse(ap);
	ap->p.tokens = end;
	return err;
}

int aggregate_compile(const char *expr, const struct pp_site *site, struct fetch_program *program)
{
	struct aggregate_parser ap = { .site = site };
	size_t length = strlen(expr);
	struct fetch_aggregate *made;
	int err;

	if (length > AGGREGATE_LENGTH_MAX)
		return error_set(EINVAL, "the aggregate has %zu bytes: the maximum is %d", length,
		                 AGGREGATE_LENGTH_MAX);
	parser_begin(&ap.p, expr, site, program);
	err = aggregate_parse(&ap);
	if (err)
		goto out;
	made = calloc(1, sizeof(*made));
	if (!made) {
		err = error_nomem();
		goto out;
	}
	*made = ap.a;
	made->text = strdup(expr);
	err = made->text ? parser_insert(&ap.p, program, program->npredicate, program->npredicate) : error_nomem();
	if (err) {
		free(made->text);
		free(made);
		goto out;
	}
	program->aggregate = made;
	program->naggregate = ap.p.nsteps;
	for (size_t i = 0; i < made->nparts; i++)
		program->of_site |= made->parts[i].kind == PP_STACK; /* stack.c */
out:
	parser_release(&ap.p);
	return err;
}
