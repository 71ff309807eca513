/* SPDX-License-Identifier: MIT */
/*
 * Names in filters: arguments, fields of what they point to, names of enumerations' values, and the process's own.
 *
 * The plugin takes a small structure apart: its members are arguments that are called p.x and p.tag[0]. So a name
 * is looked up as a whole first, written with dots, and only then is what stands behind its last dot a field.
 *
 * A field's value is the argument's own steps, which leave an address, the field's offset and a load. A bit-field may
 * lie across nine bytes, and no byte beside its own is read: it might be another page's. It is put together of
 * loads that are powers of two, and the address is made anew for each of these, for no step copies a value.
 */
#include <errno.h>
#include <probepoint.h>
#include <stdio.h>
#include <string.h>

#include "runtime/fetch/parser.h"
#include "runtime/fetch/filter.h"
#include "sdt/image.h"
#include "sdt/arg-types.h"

#define fail parser_fail
#define emit parser_emit

#define LIST_MAX 256 /* bytes of names that an error shows */

struct path {
	char text[FILTER_LENGTH_MAX + 1]; /* with dots for arrows, and no spaces */
	size_t base;                      /* how much of it is before the last field; 0: there is none */
	struct token field;
};

static int path_add(struct parser *p, struct path *path, size_t *length)
{
	const struct token *token = &p->tokens.next;

	memcpy(path->text + *length, p->tokens.text + token->at, token->length);
	*length += token->length;
	path->text[*length] = 0;
	return token_next(&p->tokens);
}

/* Takes the name and all that hangs on it. */
static int path_read(struct parser *p, struct path *path, struct token *whole)
{
	size_t length = 0;
	int err;

	path->base = 0;
	err = path_add(p, path, &length);
	while (!err && (token_is_field(&p->tokens) || token_is(&p->tokens, '['))) {
		bool is_field = token_is_field(&p->tokens);
		size_t from = length;

		if (is_field) {
			path->text[length++] = '.';
			err = token_next(&p->tokens);
			if (!err && p->tokens.next.kind != TOKEN_NAME)
				return fail(p, p->tokens.next.at, "the name of a field should follow here");
			path->base = from;
			path->field = p->tokens.next;
		} else {
			err = path_add(p, path, &length);
			if (!err && p->tokens.next.kind != TOKEN_NUMBER)
				return fail(p, p->tokens.next.at, "a number should follow here");
			if (!err)
				err = path_add(p, path, &length);
			if (!err && !token_is(&p->tokens, ']'))
				return fail(p, p->tokens.next.at, "a ']' is missing here");
		}
		whole->length = p->tokens.next.at + p->tokens.next.length - whole->at;
		if (!err)
			err = path_add(p, path, &length);
	}
	return err;
}

static bool is_number_of(const char *text, size_t length, size_t i)
{
	char number[24];

	return (size_t)snprintf(number, sizeof(number), "arg%zu", i) == length && !memcmp(number, text, length);
}

/* Which argument it is; -1: none. */
static int argument_named(const struct parser *p, const char *text, size_t length)
{
	size_t nargs = p->program->nargs;

	for (size_t i = 0; i < nargs && i < p->probe->nargs; i++)
		if (strlen(p->probe->args[i].name) == length && !memcmp(p->probe->args[i].name, text, length))
			return i;
	for (size_t i = 0; i < nargs; i++)
		if (is_number_of(text, length, i))
			return i;
	return -1;
}

/* ---- lists for errors ---- */

static void list_add(char *list, size_t *length, const char *name)
{
	if (*length < LIST_MAX)
		*length += snprintf(list + *length, LIST_MAX - *length, "%s%.64s", *length ? ", " : "", name);
	if (*length >= LIST_MAX)
		strcpy(list + LIST_MAX - 4, "...");
}

static int unknown_name(const struct parser *p, const struct token *token)
{
	size_t length = 0, nargs = p->program->nargs;
	char names[LIST_MAX] = "", number[24];

	for (size_t i = 0; i < nargs; i++) {
		snprintf(number, sizeof(number), "arg%zu", i);
		list_add(names, &length, i < p->probe->nargs ? p->probe->args[i].name : number);
	}
	return fail(p, token->at, "'%.*s' is no argument of %.64s:%.64s: it has %s, and there are pid, tid and comm",
	            token->length > 64 ? 64 : (int)token->length, p->tokens.text + token->at, p->probe->provider,
	            p->probe->name, *names ? names : "nothing");
}

static int unknown_field(const struct parser *p, const struct path *path, const struct pp_type *type)
{
	size_t length = 0;
	char names[LIST_MAX] = "";

	for (size_t i = 0; i < type->nfields; i++)
		list_add(names, &length, type->fields[i].name);
	return fail(p, path->field.at, "'%.*s' is no field of '%.64s': it has %s",
	            path->field.length > 64 ? 64 : (int)path->field.length, p->tokens.text + path->field.at, type->name,
	            names);
}

/* ---- what a name's value is made of ---- */

static int emit_argument(struct parser *p, const struct token *token, size_t i)
{
	const struct fetch_step *step = p->program->steps;
	int err = 0;

	for (size_t passed = 0; passed < i; step++)
		passed += step->op == FETCH_ARG || step->op == FETCH_STRING;
	for (; !err && step->op != FETCH_ARG && step->op != FETCH_STRING; step++)
		err = parser_emit_step(p, token, step);
	return err;
}

static int no_float(const struct parser *p, const struct token *token)
{
	return fail(p, token->at, "'%.*s' is a floating-point field, and filters read integer and string fields only",
	            (int)token->length, p->tokens.text + token->at);
}

/* Only this argument is missing at the site; its operand's text is what a user can look for in the file. */
static int unreadable(const struct parser *p, const struct token *token, size_t i)
{
	return fail(p, token->at,
	            "'%.*s' cannot be read at this site, because no reader can resolve its operand (argument %zu of "
	            "%.64s:%.64s)",
	            token->length > 64 ? 64 : (int)token->length, p->tokens.text + token->at, i, p->probe->provider,
	            p->probe->name);
}

/*
 * Leaves an integer that orders floating-point arguments: the bits of a positive
 * number, the complement of the magnitude of a negative one.
 */
static int emit_float(struct parser *p, size_t i, struct value *value)
{
	const struct token *token = &value->token;
	int err = 0;

	value->type = TYPE_FLOAT;
	value->size = p->program->size[i];
	for (int pass = 0; !err && pass < 2; pass++) { /* twice, because no step copies the top */
		err = emit_argument(p, token, i);
		if (!err && value->size == 4)
			err = parser_emit_step(p, token, &(struct fetch_step){ .op = FETCH_EXTEND, .a = 4, .c = true });
	}
	if (!err)
		err = emit(p, token, FETCH_IMM, false, 63);
	if (!err)
		err = emit(p, token, FETCH_SHR, true, 0);
	if (!err)
		err = emit(p, token, FETCH_IMM, false, FLOAT_MAGNITUDE(value->size));
	if (!err)
		err = emit(p, token, FETCH_AND, false, 0);
	return err ? err : emit(p, token, FETCH_XOR, false, 0);
}

static size_t address_size(const struct parser *p)
{
	return p->probe->image && !p->probe->image->is_64 ? 4 : 8;
}

static int argument(struct parser *p, size_t i, struct value *value)
{
	enum pp_kind kind = p->program->kind[i];
	bool typed = i < p->probe->nargs && p->probe->args[i].class != PPN_CLASS_NONE;
	bool is_pointer; /* a `char *` that is not const compares with numbers and with strings */

	if (kind == PP_FAULT)
		return unreadable(p, &value->token, i);
	if (kind == PP_FLOAT)
		return emit_float(p, i, value);
	is_pointer = kind == PP_POINTER || (kind == PP_STRING && typed && p->probe->args[i].class == PPN_CLASS_POINTER);
	value->type = kind == PP_STRING && !is_pointer ? TYPE_STRING : TYPE_INTEGER;
	value->is_unsigned = p->program->size[i] == 8 && kind != PP_SIGNED && kind != PP_CHAR;
	value->may_be_string = p->program->size[i] == address_size(p) && (is_pointer || !typed);
	return emit_argument(p, &value->token, i);
}

static int emit_field_address(struct parser *p, const struct token *token, size_t arg, uint64_t offset)
{
	int err = emit_argument(p, token, arg);

	if (!err && offset)
		err = emit(p, token, FETCH_IMM, false, (int64_t)offset);
	if (!err && offset)
		err = emit(p, token, FETCH_ADD, false, 0);
	if (!err && address_size(p) == 4)
		err = parser_emit_step(p, token, &(struct fetch_step){ .op = FETCH_EXTEND, .a = 4 });
	return err;
}

static int emit_load(struct parser *p, const struct token *token, unsigned size, bool is_signed)
{
	return parser_emit_step(p, token, &(struct fetch_step){ .op = FETCH_LOAD, .a = size, .c = is_signed });
}

static int emit_shift(struct parser *p, const struct token *token, enum fetch_opcode op, bool is_signed, unsigned by)
{
	int err = by ? emit(p, token, FETCH_IMM, false, by) : 0;

	return err || !by ? err : emit(p, token, op, is_signed, 0);
}

static int emit_bits(struct parser *p, const struct token *token, size_t arg, const struct pp_field *field)
{
	unsigned at = 0, size;
	int err = 0;

	for (unsigned left = field->size; !err && left; left -= size, at += size) {
		for (size = 8; size > left; size /= 2)
			;
		err = emit_field_address(p, token, arg, (uint64_t)field->offset + at);
		if (!err)
			err = emit_load(p, token, size, false);
		if (!err && at)
			err = emit_shift(p, token, FETCH_SHL, false, 8 * at - field->bit);
		else if (!err)
			err = emit_shift(p, token, FETCH_SHR, false, field->bit);
		if (!err && at)
			err = emit(p, token, FETCH_OR, false, 0);
	}
	if (!err)
		err = emit_shift(p, token, FETCH_SHL, false, 64 - field->bits);
	if (!err)
		err = emit_shift(p, token, FETCH_SHR, field->class == PPN_CLASS_SIGNED, 64 - field->bits);
	return err;
}

static bool is_text_array(const struct pp_field *field)
{
	return field->class == PPN_CLASS_NONE &&
	       (!strncmp(field->type, "char [", 6) || !strncmp(field->type, "const char [", 12));
}

static int field_of(struct parser *p, size_t arg, const struct path *path, struct value *value)
{
	const struct pp_type *type = arg < p->probe->nargs ? p->probe->args[arg].described : NULL;
	const struct token *token = &value->token;
	const struct pp_field *field;
	bool is_signed;
	char name[FILTER_LENGTH_MAX + 1];

	if (p->program->kind[arg] == PP_FAULT)
		return unreadable(p, token, arg);
	if (!type || !type->nfields || p->program->size[arg] != address_size(p))
		return fail(p, path->field.at, "of '%.*s' no fields are known", path->base > 64 ? 64 : (int)path->base,
		            path->text);
	snprintf(name, sizeof(name), "%s", path->text + path->base + 1);
	field = arg_find_field(&p->probe->args[arg], name);
	if (!field)
		return unknown_field(p, path, type);
	if (field->class == PPN_CLASS_FLOAT)
		return no_float(p, token);
	value->type = field->class == PPN_CLASS_STRING || is_text_array(field) ? TYPE_STRING : TYPE_INTEGER;
	if (is_text_array(field))
		return emit_field_address(p, token, arg, field->offset);
	if (field->class == PPN_CLASS_NONE || field->class == PPN_CLASS_VOID)
		return fail(p, path->field.at, "'%.*s' is neither an integer nor a string: it is of type '%.64s'",
		            (int)path->field.length, p->tokens.text + path->field.at, field->type);
	is_signed = field->class == PPN_CLASS_SIGNED || field->class == PPN_CLASS_CHAR;
	value->is_unsigned = (field->bits ? field->bits == 64 : field->size == 8) && !is_signed;
	if (field->bits)
		return emit_bits(p, token, arg, field);
	value->may_be_string = field->size == address_size(p) && field->class == PPN_CLASS_POINTER;
	int err = emit_field_address(p, token, arg, field->offset);

	return err ? err : emit_load(p, token, field->size, is_signed);
}

/* 0: it is none's; 1: it has been emitted. */
static int enumerator(struct parser *p, const char *name, struct value *value)
{
	const struct pp_enumerator *found = NULL;
	const struct pp_type *of = NULL;
	char class = 0;
	int err;

	for (size_t i = 0; i < p->probe->nargs; i++) {
		const struct pp_type *type = p->probe->args[i].described;

		for (size_t k = 0; type && k < type->nvalues; k++) {
			if (strcmp(type->values[k].name, name))
				continue;
			if (found && found->value != type->values[k].value)
				return fail(p, value->token.at,
				            "'%.64s' has one value in '%.64s' and another in '%.64s'", name, of->name,
				            type->name);
			found = &type->values[k];
			class = p->probe->args[i].class;
			of = type;
		}
	}
	if (!found)
		return 0;
	value->is_unsigned = found->value < 0 && class == PPN_CLASS_UNSIGNED;
	value->is_constant = true;
	value->is_truth = found->value == 0 || found->value == 1;
	err = emit(p, &value->token, FETCH_IMM, false, found->value);
	return err ? err : 1;
}

static int plain_name(struct parser *p, const char *name, struct value *value)
{
	int err;

	value->type = TYPE_INTEGER;
	if (!strcmp(name, "pid"))
		return emit(p, &value->token, FETCH_PID, false, 0);
	if (!strcmp(name, "tid"))
		return emit(p, &value->token, FETCH_TID, false, 0);
	if (!strcmp(name, "comm")) {
		value->type = TYPE_COMM;
		return 0;
	}
	err = enumerator(p, name, value);
	return err == 1 ? 0 : err ? err : unknown_name(p, &value->token);
}

int parser_name(struct parser *p, struct value *value)
{
	struct path path;
	int err, arg;

	err = path_read(p, &path, &value->token);
	if (err)
		return err;
	arg = argument_named(p, path.text, strlen(path.text));
	if (arg >= 0)
		return argument(p, arg, value);
	if (!path.base)
		return plain_name(p, path.text, value);
	arg = argument_named(p, path.text, path.base);
	return arg >= 0 ? field_of(p, arg, &path, value) : unknown_name(p, &value->token);
}
