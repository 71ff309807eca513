/* SPDX-License-Identifier: MIT */
/*
 * Names in filters: arguments, fields of the structures that arguments point to, enumerators, and pid, tid and comm.
 *
 * 1. The plugin splits a small structure that is passed by value: its members are arguments with names like p.x and
 *    p.tag[0]. So a name is first looked up as a whole, written with dots. If this fails, the part after the last dot is a
 *    field, and the part before it an argument.
 * 2. A field's value is the steps of the argument, which push an address, then the field's offset and a load.
 * 3. A bit-field can lie across nine bytes, and no byte besides its own may be read, because it may be on another page.
 *    So the value is composed of loads whose sizes are powers of two. The address is computed again for each of them,
 *    because no step copies a value.
 */
#include <errno.h>
#include <probepoint.h>
#include <stdio.h>
#include <string.h>

#include "runtime/fetch/filter.h"
#include "runtime/fetch/parser.h"
#include "sdt/arg-types.h"
#include "sdt/image.h"
#include "sdt/signature.h"

#define LIST_MAX 256 /* bytes of names that an error message lists */
#define NAME_MAX_SHOWN 64

/* A name with the fields and indices after it. */
struct field_path {
	char text[FILTER_LENGTH_MAX + 1]; /* with dots for arrows and without spaces */
	size_t length;
	size_t base;        /* the length of the part before the last field, 0 without fields */
	struct token field; /* the last field */
};

/* Appends the next token to the path and reads the one after it. */
static int path_add_token(struct parser *p, struct field_path *path)
{
	const struct token *token = &p->tokens.next;

	memcpy(path->text + path->length, p->tokens.text + token->at, token->length);
	path->length += token->length;
	path->text[path->length] = 0;
	return token_next(&p->tokens);
}

/* Extends whole, which begins at the path's first token, to the next token. Then appends that token to the path. */
static int path_end_part(struct parser *p, struct field_path *path, struct token *whole)
{
	whole->length = p->tokens.next.at + p->tokens.next.length - whole->at;
	return path_add_token(p, path);
}

static int path_add_field(struct parser *p, struct field_path *path, struct token *whole)
{
	int err;

	path->base = path->length;
	path->text[path->length++] = '.';
	err = token_next(&p->tokens);
	if (err)
		return err;
	if (p->tokens.next.kind != TOKEN_NAME)
		return parser_fail(p, p->tokens.next.at, "expected the name of a field");
	path->field = p->tokens.next;
	return path_end_part(p, path, whole);
}

static int path_add_index(struct parser *p, struct field_path *path, struct token *whole)
{
	int err = path_add_token(p, path);

	if (err)
		return err;
	if (p->tokens.next.kind != TOKEN_NUMBER)
		return parser_fail(p, p->tokens.next.at, "expected a number");
	err = path_add_token(p, path);
	if (err)
		return err;
	if (!token_is(&p->tokens, ']'))
		return parser_fail(p, p->tokens.next.at, "expected ']'");
	return path_end_part(p, path, whole);
}

/* Parses a name with its fields and indices. Extends *whole, the name's token, to all of their text. */
static int path_parse(struct parser *p, struct field_path *path, struct token *whole)
{
	int err;

	path->length = path->base = 0;
	err = path_add_token(p, path);
	while (!err) {
		if (token_is_field(&p->tokens))
			err = path_add_field(p, path, whole);
		else if (token_is(&p->tokens, '['))
			err = path_add_index(p, path, whole);
		else
			break;
	}
	return err;
}

/* Returns true if the text is the name of argument i that every argument has, as "arg0". */
static bool is_numbered_name(const char *text, size_t length, size_t i)
{
	char number[24];

	return (size_t)snprintf(number, sizeof(number), "arg%zu", i) == length && !memcmp(number, text, length);
}

/* Returns the index of the argument with this name, or -1. */
static int argument_find(const struct parser *p, const char *text, size_t length)
{
	size_t nargs = p->program->nargs;

	for (size_t i = 0; i < nargs && i < p->probe->nargs; i++)
		if (strlen(p->probe->args[i].name) == length && !memcmp(p->probe->args[i].name, text, length))
			return i;
	for (size_t i = 0; i < nargs; i++)
		if (is_numbered_name(text, length, i))
			return i;
	return -1;
}

/* ---- error messages ---- */

static int shown_length(size_t length)
{
	return length > NAME_MAX_SHOWN ? NAME_MAX_SHOWN : (int)length;
}

/* Appends a name to a list of LIST_MAX bytes, which ends in "..." if it is full. */
static void name_list_add(char *list, size_t *length, const char *name)
{
	if (*length < LIST_MAX)
		*length += snprintf(list + *length, LIST_MAX - *length, "%s%.64s", *length ? ", " : "", name);
	if (*length >= LIST_MAX)
		strcpy(list + LIST_MAX - 4, "...");
}

static int unknown_name_error(const struct parser *p, const struct token *token)
{
	size_t length = 0, nargs = p->program->nargs;
	char names[LIST_MAX] = "", number[24];

	for (size_t i = 0; i < nargs; i++) {
		snprintf(number, sizeof(number), "arg%zu", i);
		name_list_add(names, &length, i < p->probe->nargs ? p->probe->args[i].name : number);
	}
	return parser_fail(p, token->at,
	                   "unknown name '%.*s': %.64s:%.64s has %s, and every probe has pid, tid, comm and cpu",
	                   shown_length(token->length), p->tokens.text + token->at, p->probe->provider, p->probe->name,
	                   *names ? names : "no arguments");
}

static int unknown_field_error(const struct parser *p, const struct field_path *path, const struct pp_type *type)
{
	size_t length = 0;
	char names[LIST_MAX] = "";

	for (size_t i = 0; i < type->nfields; i++)
		name_list_add(names, &length, type->fields[i].name);
	return parser_fail(p, path->field.at, "'%.64s' has no field '%.*s': it has %s", type->name,
	                   shown_length(path->field.length), p->tokens.text + path->field.at, names);
}

static int float_field_error(const struct parser *p, const struct token *token)
{
	return parser_fail(p, token->at,
	                   "'%.*s' is a floating-point field: filters read only integer and string fields",
	                   (int)token->length, p->tokens.text + token->at);
}

/* Argument i is missing at this site. The message has what a user needs to find its operand in the file. */
static int missing_argument_error(const struct parser *p, const struct token *token, size_t i)
{
	return parser_fail(
		p, token->at,
		"'%.*s' cannot be read at this site, because its operand cannot be resolved (argument %zu of "
		"%.64s:%.64s)",
		shown_length(token->length), p->tokens.text + token->at, i, p->probe->provider, p->probe->name);
}

/* ---- steps ---- */

/* Emits the steps that push argument i's value, or the address of a string. */
static void argument_emit_steps(struct parser *p, const struct token *token, size_t i)
{
	const struct fetch_step *step = p->program->steps + p->program->npredicate;

	for (size_t passed = 0; passed < i; step++)
		passed += step->op == FETCH_ARG || step->op == FETCH_STRING;
	for (; step->op != FETCH_ARG && step->op != FETCH_STRING; step++)
		parser_emit_step(p, token, step);
}

/* Emits the steps that push the key (see filter.c) of a floating-point argument. */
static void float_emit(struct parser *p, size_t i, struct value *value)
{
	const struct token *token = &value->token;

	value->type = TYPE_FLOAT;
	value->size = p->program->size[i];
	for (int copy = 0; copy < 2; copy++) { /* twice, because no step copies a value */
		argument_emit_steps(p, token, i);
		if (value->size < 8)
			parser_emit_step(p, token,
			                 &(struct fetch_step){ .op = FETCH_EXTEND, .a = value->size, .c = true });
	}
	parser_emit(p, token, FETCH_IMM, false, 63);
	parser_emit(p, token, FETCH_SHR, true, 0);
	parser_emit(p, token, FETCH_IMM, false, FLOAT_MAGNITUDE(value->size));
	parser_emit(p, token, FETCH_AND, false, 0);
	parser_emit(p, token, FETCH_XOR, false, 0);
}

static size_t address_size(const struct parser *p)
{
	return p->probe->image && !p->probe->image->is_64 ? 4 : 8;
}

static int argument_emit(struct parser *p, size_t i, struct value *value)
{
	enum pp_kind kind = p->program->kind[i];
	bool typed = i < p->probe->nargs && p->probe->args[i].class != PPN_CLASS_NONE;
	bool is_pointer; /* a `char *` that is not const can be compared with numbers and with strings */

	if (kind == PP_FAULT)
		return missing_argument_error(p, &value->token, i);
	if (kind == PP_FLOAT) {
		float_emit(p, i, value);
		return p->error;
	}
	is_pointer = kind == PP_POINTER || (kind == PP_STRING && typed && p->probe->args[i].class == PPN_CLASS_POINTER);
	value->type = kind == PP_STRING && !is_pointer ? TYPE_STRING : TYPE_INTEGER;
	value->is_unsigned = p->program->size[i] == 8 && kind != PP_SIGNED && kind != PP_CHAR;
	value->may_be_string = p->program->size[i] == address_size(p) && (is_pointer || !typed);
	value->kind = kind;
	if (i < p->probe->nargs && p->probe->args[i].described && p->probe->args[i].described->nvalues)
		value->names = p->probe->args[i].described;
	argument_emit_steps(p, &value->token, i);
	return p->error;
}

static void field_emit_address(struct parser *p, const struct token *token, size_t arg, uint64_t offset)
{
	argument_emit_steps(p, token, arg);
	if (offset) {
		parser_emit(p, token, FETCH_IMM, false, (int64_t)offset);
		parser_emit(p, token, FETCH_ADD, false, 0);
	}
	if (address_size(p) == 4)
		parser_emit_step(p, token, &(struct fetch_step){ .op = FETCH_EXTEND, .a = 4 });
}

static void load_emit(struct parser *p, const struct token *token, unsigned size, bool is_signed)
{
	parser_emit_step(p, token, &(struct fetch_step){ .op = FETCH_LOAD, .a = size, .c = is_signed });
}

static void shift_emit(struct parser *p, const struct token *token, enum fetch_opcode op, bool is_signed, unsigned by)
{
	if (!by)
		return;
	parser_emit(p, token, FETCH_IMM, false, by);
	parser_emit(p, token, op, is_signed, 0);
}

/* Emits the steps that push the value of a bit-field. */
static void bits_emit(struct parser *p, const struct token *token, size_t arg, const struct pp_field *field)
{
	unsigned at = 0, size;

	for (unsigned left = field->size; left; left -= size, at += size) {
		for (size = 8; size > left; size /= 2)
			;
		field_emit_address(p, token, arg, (uint64_t)field->offset + at);
		load_emit(p, token, size, false);
		if (!at) {
			shift_emit(p, token, FETCH_SHR, false, field->bit);
			continue;
		}
		shift_emit(p, token, FETCH_SHL, false, 8 * at - field->bit);
		parser_emit(p, token, FETCH_OR, false, 0);
	}
	shift_emit(p, token, FETCH_SHL, false, 64 - field->bits);
	shift_emit(p, token, FETCH_SHR, field->class == PPN_CLASS_SIGNED, 64 - field->bits);
}

static bool is_char_array(const struct pp_field *field)
{
	return field->class == PPN_CLASS_NONE &&
	       (!strncmp(field->type, "char [", 6) || !strncmp(field->type, "const char [", 12));
}

/* Returns how records show a field that is not an array. */
static enum pp_kind field_kind(const struct pp_field *field)
{
	switch (field->class) {
	case PPN_CLASS_SIGNED: return PP_SIGNED;
	case PPN_CLASS_POINTER: return signature_is_char_pointer(field->type) ? PP_STRING : PP_POINTER;
	case PPN_CLASS_STRING: return PP_STRING;
	case PPN_CLASS_BOOL: return PP_BOOL;
	case PPN_CLASS_CHAR: return PP_CHAR;
	default: return PP_UNSIGNED;
	}
}

/* Sets *value's type and emits the steps of a field. */
static int field_emit_value(struct parser *p, size_t arg, const struct pp_field *field, struct value *value)
{
	const struct token *token = &value->token;
	bool is_signed = field->class == PPN_CLASS_SIGNED || field->class == PPN_CLASS_CHAR;

	value->type = field->class == PPN_CLASS_STRING || is_char_array(field) ? TYPE_STRING : TYPE_INTEGER;
	if (is_char_array(field)) {
		field_emit_address(p, token, arg, field->offset);
		return p->error;
	}
	value->kind = field_kind(field);
	value->is_unsigned = (field->bits ? field->bits == 64 : field->size == 8) && !is_signed;
	if (field->bits) {
		bits_emit(p, token, arg, field);
		return p->error;
	}
	value->may_be_string = field->size == address_size(p) && field->class == PPN_CLASS_POINTER;
	field_emit_address(p, token, arg, field->offset);
	load_emit(p, token, field->size, is_signed);
	return p->error;
}

static int field_emit(struct parser *p, size_t arg, const struct field_path *path, struct value *value)
{
	const struct pp_type *type = arg < p->probe->nargs ? p->probe->args[arg].described : NULL;
	const struct pp_field *field;
	char name[FILTER_LENGTH_MAX + 1];

	if (p->program->kind[arg] == PP_FAULT)
		return missing_argument_error(p, &value->token, arg);
	if (!type || !type->nfields || p->program->size[arg] != address_size(p))
		return parser_fail(p, path->field.at, "the fields of '%.*s' are not known", shown_length(path->base),
		                   path->text);
	snprintf(name, sizeof(name), "%s", path->text + path->base + 1);
	field = arg_find_field(&p->probe->args[arg], name);
	if (!field)
		return unknown_field_error(p, path, type);
	if (field->class == PPN_CLASS_FLOAT)
		return float_field_error(p, &value->token);
	if ((field->class == PPN_CLASS_NONE && !is_char_array(field)) || field->class == PPN_CLASS_VOID)
		return parser_fail(p, path->field.at, "'%.*s' is neither an integer nor a string: its type is '%.64s'",
		                   (int)path->field.length, p->tokens.text + path->field.at, field->type);
	return field_emit_value(p, arg, field, value);
}

/* Emits an enumerator of the probe's arguments. Returns 1, 0 if none has this name, or -EINVAL. */
static int enumerator_emit(struct parser *p, const char *name, struct value *value)
{
	const struct pp_enumerator *found = NULL;
	const struct pp_type *of = NULL;
	char class = 0;

	for (size_t i = 0; i < p->probe->nargs; i++) {
		const struct pp_type *type = p->probe->args[i].described;

		for (size_t k = 0; type && k < type->nvalues; k++) {
			if (strcmp(type->values[k].name, name))
				continue;
			if (found && found->value != type->values[k].value)
				return parser_fail(p, value->token.at,
				                   "'%.64s' is ambiguous: its values in '%.64s' and in '%.64s' differ",
				                   name, of->name, type->name);
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
	parser_emit(p, &value->token, FETCH_IMM, false, found->value);
	return p->error ? p->error : 1;
}

/* Emits a name that is not an argument or a field. */
static int plain_name_emit(struct parser *p, const char *name, struct value *value)
{
	int found;

	value->type = TYPE_INTEGER;
	if (!strcmp(name, "pid") || !strcmp(name, "tid")) {
		parser_emit(p, &value->token, *name == 'p' ? FETCH_PID : FETCH_TID, false, 0);
		return p->error;
	}
	if (!strcmp(name, "cpu")) {
		parser_emit(p, &value->token, FETCH_CPU, false, 0);
		return p->error;
	}
	if (!strcmp(name, "comm")) {
		value->type = TYPE_COMM;
		return 0;
	}
	found = enumerator_emit(p, name, value);
	if (!found)
		return unknown_name_error(p, &value->token);
	return found == 1 ? 0 : found;
}

int parser_name(struct parser *p, struct value *value)
{
	struct field_path path;
	int err, arg;

	err = path_parse(p, &path, &value->token);
	if (err)
		return err;
	arg = argument_find(p, path.text, path.length);
	if (arg >= 0)
		return argument_emit(p, arg, value);
	if (!path.base)
		return plain_name_emit(p, path.text, value);
	arg = argument_find(p, path.text, path.base);
	return arg >= 0 ? field_emit(p, arg, &path, value) : unknown_name_error(p, &value->token);
}
