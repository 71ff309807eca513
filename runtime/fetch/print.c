/* SPDX-License-Identifier: MIT */
/*
 * Lists of expressions whose values a record holds: each becomes an argument that is named after its text.
 *
 *     PRINT = EXPRESSION {"," EXPRESSION}
 *
 * The arguments of the site, which the expressions are about, are then not recorded.
 */
#include "runtime/fetch/print.h"

#include <errno.h>
#include <probepoint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "runtime/fetch/parser.h"
#include "sdt/image.h"

/* The arguments of the program that is being made. */
struct print {
	struct parser p;
	struct fetch_printed *printed;
	uint8_t kind[RECORD_ARGS_MAX], size[RECORD_ARGS_MAX];
	size_t n, nstrings;
};

/* Emits the step that ends an argument, whose value is on the stack. */
static int value_end(struct print *print, const struct value *value, size_t i)
{
	struct parser *p = &print->p;
	const struct token *token = &value->token;
	bool is_string = value->type == TYPE_STRING || (value->type == TYPE_INTEGER && value->kind == PP_STRING);

	if (value->type == TYPE_COMM)
		return parser_fail(p, token->at, "each record has the thread's name already");
	if (value->type == TYPE_STACK)
		return value_want_integer(p, value);
	if (value->type == TYPE_TEXT || value->type == TYPE_DECIMAL)
		return parser_fail(p, token->at, "expected a name or an expression, not a constant");
	print->size[i] = value->size;
	print->kind[i] = is_string                   ? PP_STRING
	                 : value->type == TYPE_FLOAT ? PP_FLOAT
	                 : value->kind != PP_MISSING ? value->kind
	                 : value->is_unsigned        ? PP_UNSIGNED
	                                             : PP_SIGNED;
	if (!is_string) {
		parser_emit_step(p, token, &(struct fetch_step){ .op = FETCH_ARG, .a = i });
		return p->error;
	}
	if (print->nstrings++ == RECORD_STRINGS_MAX)
		return parser_fail(p, token->at, "a record holds at most %d strings", RECORD_STRINGS_MAX);
	parser_emit_steps(p, token, value->length, value->nlength);
	parser_emit_step(p, token,
	                 &(struct fetch_step){ .op = value->length ? FETCH_STRINGN : FETCH_STRING,
	                                       .a = i,
	                                       .value = RECORD_STRING_DEFAULT });
	return p->error;
}

/* Sets the name of an argument to the text of its expression. */
static int printed_name(struct print *print, const struct token *first, struct fetch_printed_arg *arg)
{
	const char *text = print->p.tokens.text + first->at;
	size_t length = print->p.tokens.next.at - first->at;

	while (length && text[length - 1] == ' ')
		length--;
	arg->name = arena_strndup(&print->printed->arena, text, length);
	return arg->name ? 0 : error_nomem();
}

static int item_parse(struct print *print)
{
	struct token first = print->p.tokens.next;
	struct fetch_printed_arg *arg = &print->printed->args[print->n];
	struct value value;
	int err;

	if (print->n == RECORD_ARGS_MAX)
		return parser_fail(&print->p, first.at, "a record holds at most %d values", RECORD_ARGS_MAX);
	err = parser_expression(&print->p, &value);
	if (!err)
		err = value_end(print, &value, print->n);
	if (!err)
		err = printed_name(print, &first, arg);
	arg->values = err ? NULL : value.names;
	print->n += !err;
	return err;
}

static int list_parse(struct print *print)
{
	struct parser *p = &print->p;
	int err = item_parse(print);

	while (!err && token_is(&p->tokens, ',')) {
		err = token_next(&p->tokens);
		err = err ? err : item_parse(print);
	}
	if (err || p->tokens.next.kind == TOKEN_END)
		return err;
	return parser_fail(p, p->tokens.next.at,
	                   token_is(&p->tokens, ')') ? "unmatched ')'" : "expected ',' or an operator");
}

/* Replaces the steps of the program's arguments by those of the parser. Keeps the key of a call, which follows them. */
static int program_set_arguments(struct print *print, struct fetch_program *program)
{
	int err = parser_insert(&print->p, program, program->npredicate + program->naggregate,
	                        program->nsteps - program->nkey);

	if (err)
		return err;
	program->nargs = print->n;
	program->nmissing = 0;
	memcpy(program->kind, print->kind, sizeof(program->kind));
	memcpy(program->size, print->size, sizeof(program->size));
	return 0;
}

int print_compile(const char *list, const struct pp_site *site, struct fetch_program *program)
{
	struct print print = { .n = 0 };
	int err;

	if (strlen(list) > PRINT_LENGTH_MAX)
		return error_set(EINVAL, "the list to print has %zu bytes: the maximum is %d", strlen(list),
		                 PRINT_LENGTH_MAX);
	print.printed = calloc(1, sizeof(*print.printed));
	if (!print.printed)
		return error_nomem();
	parser_begin(&print.p, list, site, program);
	err = token_next(&print.p.tokens);
	print.p.no_jumps = true;
	if (!err)
		err = list_parse(&print);
	if (!err)
		err = program_set_arguments(&print, program);
	parser_release(&print.p);
	if (err)
		fetch_printed_free(print.printed);
	else
		program->printed = print.printed;
	return err;
}

/* Returns whether the type of an argument names strings of C++, as std::string and std::string_view do. */
static bool probe_has_strings(const struct pp_probe *probe, size_t nargs)
{
	for (size_t i = 0; i < probe->nargs && i < nargs; i++)
		if (probe->args[i].type && probe->args[i].class != PPN_CLASS_STRING &&
		    strstr(probe->args[i].type, "string"))
			return true;
	return false;
}

int print_strings(const struct pp_site *site, struct fetch_program *program)
{
	const struct pp_probe *probe = site->probe;
	char list[RECORD_ARGS_MAX * sizeof("arg00, ")] = "";
	size_t length = 0;
	int err;

	if (!probe_has_strings(probe, program->nargs) || program->nmissing || program->printed)
		return 0;
	for (size_t i = 0; i < program->nargs; i++)
		length += (size_t)sprintf(list + length, "%sarg%zu", i ? ", " : "", i);
	err = print_compile(list, site, program);
	if (err)
		return err == -EINVAL ? 0 : err;
	for (size_t i = 0; i < program->nargs && i < probe->nargs; i++) {
		const char *name = probe->args[i].name;

		name = arena_strndup(&program->printed->arena, name, strlen(name));
		if (!name)
			return error_nomem();
		program->printed->args[i].name = name;
	}
	return 0;
}
