/* SPDX-License-Identifier: MIT */
/*
 * Names in expressions: arguments, what they point to, enumerators, and pid, tid and comm.
 *
 * 1. The plugin splits a small structure that is passed by value: its members are arguments with names like p.x and
 *    p.tag[0]. So the longest beginning of a name, written with dots, that is an argument's name is the argument. The
 *    rest are accesses: fields and indices.
 * 2. An access moves a place (struct value_place): a type, and an offset to an address that the steps have pushed. The address
 *    is loaded only when an access goes through a pointer. Types come from sdt/ctype.h.
 * 3. A bit-field can lie across nine bytes, and no byte besides its own may be read, because it may be on another page.
 *    So the value is composed of loads whose sizes are powers of two. The steps of the address are repeated for each of
 *    them, because no step copies a value.
 */
#include <errno.h>
#include <probepoint.h>
#include <stdio.h>
#include <string.h>

#include "runtime/fetch/filter.h"
#include "runtime/fetch/parser.h"
#include "sdt/image.h"

#define LIST_MAX 256 /* bytes of names that an error message lists */
#define NAME_MAX_SHOWN 64
#define ACCESSES_MAX 32
#define INDEX_MAX 1000000000

/* One access of a name: .field, ->field or [index]. */
struct access {
	struct token token; /* the field's name or the index */
	size_t start;       /* the length of the path's text before it */
	bool is_index;
	uint64_t index;
};

/* A name with the fields and indices after it. */
struct field_path {
	char text[FILTER_LENGTH_MAX + 1]; /* with dots for arrows and without spaces */
	size_t length;
	struct access accesses[ACCESSES_MAX];
	size_t n;
	size_t first; /* length of the first name */
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

static int path_add_field(struct parser *p, struct field_path *path, struct access *access, struct token *whole)
{
	int err;

	path->text[path->length++] = '.';
	err = token_next(&p->tokens);
	if (err)
		return err;
	if (p->tokens.next.kind != TOKEN_NAME)
		return parser_fail(p, p->tokens.next.at, "expected the name of a field");
	access->token = p->tokens.next;
	return path_end_part(p, path, whole);
}

static int path_add_index(struct parser *p, struct field_path *path, struct access *access, struct token *whole)
{
	int err = path_add_token(p, path);

	if (err)
		return err;
	if (p->tokens.next.kind != TOKEN_NUMBER)
		return parser_fail(p, p->tokens.next.at, "expected a number");
	access->is_index = true;
	access->token = p->tokens.next;
	err = token_number(&p->tokens, &access->token, &access->index);
	if (err)
		return err;
	if (access->index > INDEX_MAX)
		return parser_fail(p, access->token.at, "an index is at most %d", INDEX_MAX);
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

	path->length = path->n = 0;
	err = path_add_token(p, path);
	path->first = path->length;
	while (!err) {
		struct access *access = &path->accesses[path->n];
		bool is_field = token_is_field(&p->tokens);

		if (!is_field && !token_is(&p->tokens, '['))
			break;
		if (path->n++ == ACCESSES_MAX)
			return parser_fail(p, p->tokens.next.at, "more than %d fields and indices", ACCESSES_MAX);
		*access = (struct access){ .start = path->length };
		err = is_field ? path_add_field(p, path, access, whole) : path_add_index(p, path, access, whole);
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

/*
 * Finds the argument that the longest beginning of the path names. Sets *used to the number of accesses in that
 * beginning. Returns the argument's index, or -1.
 */
static int path_argument(const struct parser *p, const struct field_path *path, size_t *used)
{
	for (size_t n = path->n + 1; n-- > 0;) {
		int arg = argument_find(p, path->text, n < path->n ? path->accesses[n].start : path->length);

		*used = n;
		if (arg >= 0)
			return arg;
	}
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

static int unknown_field_error(const struct parser *p, const struct access *access, const struct ctype *type)
{
	size_t length = 0;
	char names[LIST_MAX] = "";

	for (size_t i = 0; i < type->nmembers; i++)
		name_list_add(names, &length, type->members[i].name);
	return parser_fail(p, access->token.at, "'%.64s' has no field '%.*s': it has %s", type->name,
	                   shown_length(access->token.length), p->tokens.text + access->token.at, names);
}

static int unknown_fields_error(const struct parser *p, const struct field_path *path, const struct access *access,
                                const struct ctype *type)
{
	if (type->kind == CTYPE_UNKNOWN && *type->name)
		return parser_fail(p, access->token.at,
		                   "the fields of '%.*s' are not known: neither notes nor DWARF describe '%.64s'",
		                   shown_length(access->start), path->text, type->name);
	return parser_fail(p, access->token.at, "the fields of '%.*s' are not known", shown_length(access->start),
	                   path->text);
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
	const struct fetch_step *step = p->program->steps + p->program->npredicate + p->program->naggregate;

	for (size_t passed = 0; passed < i; step++)
		passed += fetch_ends_argument(step->op);
	for (; !fetch_ends_argument(step->op); step++)
		parser_emit_step(p, token, step);
}

static size_t address_size(const struct parser *p)
{
	return p->probe->image && !p->probe->image->is_64 ? 4 : 8;
}

static void add_emit(struct parser *p, const struct token *token, uint64_t offset)
{
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

/* ---- places ---- */

/* The value that the beginning of a name stands for. The steps from value->from on have pushed a value or an address. */
struct value_place {
	struct ctype *type;
	bool in_memory; /* the value is in memory, at the offset from what was pushed; false: it was pushed */
	uint64_t offset;
	uint8_t bit, bits;        /* of a bit-field */
	const struct token *last; /* the field or index that led here */
};

/* Emits the steps that push the value of a bit-field. The address's steps are those from `from` on. */
static void bits_emit(struct parser *p, const struct token *token, const struct value_place *place, size_t from)
{
	unsigned bytes = (place->bit + place->bits + 7u) / 8, at = 0, size;
	size_t address_end = p->nsteps;

	for (unsigned left = bytes; left; left -= size, at += size) {
		for (size = 8; size > left; size /= 2)
			;
		if (at)
			parser_repeat(p, token, from, address_end);
		add_emit(p, token, place->offset + at);
		load_emit(p, token, size, false);
		if (!at) {
			shift_emit(p, token, FETCH_SHR, false, place->bit);
			continue;
		}
		shift_emit(p, token, FETCH_SHL, false, 8 * at - place->bit);
		parser_emit(p, token, FETCH_OR, false, 0);
	}
	shift_emit(p, token, FETCH_SHL, false, 64 - place->bits);
	shift_emit(p, token, FETCH_SHR, place->type->is_signed, 64 - place->bits);
}

static bool type_is_signed(const struct ctype *type)
{
	return type->is_signed || type->kind == CTYPE_CHAR;
}

static bool is_address_size(const struct parser *p, const struct ctype *type)
{
	return type->size == address_size(p);
}

/* Pushes the address of what the place points to, and makes the place that memory. */
static int place_follow(struct parser *p, const struct token *token, struct value_place *place)
{
	if (place->in_memory) {
		add_emit(p, token, place->offset);
		load_emit(p, token, address_size(p), false);
	}
	place->type = ctype_target(&p->types, place->type);
	place->in_memory = true;
	place->offset = 0;
	return place->type ? p->error : -ENOMEM;
}

static int place_add_field(struct parser *p, const struct field_path *path, const struct access *access,
                           const struct token *token, struct value_place *place)
{
	const struct ctype_member *member;
	char name[FILTER_LENGTH_MAX + 1];
	int err = place->type->kind == CTYPE_POINTER ? place_follow(p, token, place) : 0;

	if (!err)
		err = ctype_load(&p->types, place->type);
	if (err)
		return err;
	if (!place->in_memory || !place->type->nmembers)
		return unknown_fields_error(p, path, access, place->type);
	snprintf(name, sizeof(name), "%.*s", (int)access->token.length, p->tokens.text + access->token.at);
	member = ctype_member(place->type, name);
	if (!member)
		return unknown_field_error(p, access, place->type);
	place->offset += member->offset;
	place->bit = member->bit;
	place->bits = member->bits;
	place->type = ctype_of_member(&p->types, member);
	return place->type ? 0 : -ENOMEM;
}

static int place_add_index(struct parser *p, const struct field_path *path, const struct access *access,
                           const struct token *token, struct value_place *place)
{
	uint64_t count = 0;
	int err = 0;

	if (place->type->kind == CTYPE_ARRAY && place->in_memory) {
		count = place->type->count;
		place->type = ctype_target(&p->types, place->type);
		if (!place->type)
			return -ENOMEM;
	} else if (place->type->kind == CTYPE_POINTER) {
		err = place_follow(p, token, place);
	} else {
		return parser_fail(p, access->token.at, "'%.*s' is neither a pointer nor an array",
		                   shown_length(access->start), path->text);
	}
	if (err)
		return err;
	if (count && access->index >= count)
		return parser_fail(p, access->token.at, "'%.*s' has %llu elements", shown_length(access->start),
		                   path->text, (unsigned long long)count);
	if (!place->type->size)
		return parser_fail(p, access->token.at, "the size of what '%.*s' points to is not known",
		                   shown_length(access->start), path->text);
	place->offset += access->index * place->type->size;
	return 0;
}

/* ---- values ---- */

static int no_value_error(const struct parser *p, const struct value_place *place)
{
	const char *name = p->tokens.text + place->last->at;

	if (!*place->type->name)
		return parser_fail(p, place->last->at, "the type of '%.*s' is not known",
		                   shown_length(place->last->length), name);
	return parser_fail(p, place->last->at, "'%.*s' is neither an integer nor a string: its type is '%.64s'",
	                   shown_length(place->last->length), name, place->type->name);
}

/* A value of a structure: the address of a string's content, with the steps of its length. */
static int string_object_emit(struct parser *p, const struct value_place *place, struct value *value)
{
	uint64_t pointer, length;
	size_t address_end = p->nsteps;
	int err;

	if (!ctype_is_string(place->type, &pointer, &length) || address_size(p) != 8)
		return 0;
	parser_repeat(p, &value->token, value->from, address_end);
	add_emit(p, &value->token, place->offset + length);
	load_emit(p, &value->token, 8, false);
	err = parser_take_length(p, address_end, value);
	if (err)
		return err;
	add_emit(p, &value->token, place->offset + pointer);
	load_emit(p, &value->token, 8, false);
	value->type = TYPE_STRING;
	value->is_terminated = !strncmp(place->type->name, "basic_string<", 13);
	return p->error ? p->error : 1;
}

/* The place is a structure or an array: only those that are strings have a value. */
static int aggregate_emit(struct parser *p, const struct value_place *place, struct value *value)
{
	const struct ctype *type = place->type;
	struct ctype *element = NULL;
	int found = 0;

	if (type->kind == CTYPE_ARRAY && place->in_memory) {
		element = ctype_target(&p->types, type);
		if (!element)
			return -ENOMEM;
	}
	if (element && element->kind == CTYPE_CHAR) {
		value->type = TYPE_STRING;
		add_emit(p, &value->token, place->offset);
		return p->error;
	}
	if (place->in_memory && type->kind == CTYPE_STRUCT)
		found = string_object_emit(p, place, value);
	if (found)
		return found < 0 ? found : 0;
	return no_value_error(p, place);
}

/* Sets *is_string to whether the type is a pointer to char. Returns 0 or -ENOMEM. */
static int pointer_is_string(struct parser *p, const struct ctype *type, bool *is_string)
{
	struct ctype *target = type->kind == CTYPE_POINTER ? ctype_target(&p->types, type) : NULL;

	if (type->kind == CTYPE_POINTER && !target)
		return -ENOMEM;
	*is_string = target && target->kind == CTYPE_CHAR;
	return 0;
}

/* Returns how records show a value of the type. */
static enum pp_kind type_kind(const struct ctype *type, bool is_string)
{
	switch (type->kind) {
	case CTYPE_BOOL: return PP_BOOL;
	case CTYPE_CHAR: return PP_CHAR;
	case CTYPE_FLOAT: return PP_FLOAT;
	case CTYPE_POINTER: return is_string ? PP_STRING : PP_POINTER;
	default: return type->is_signed ? PP_SIGNED : PP_UNSIGNED;
	}
}

/* Emits the load of a place whose type has one value. */
static int scalar_emit(struct parser *p, const struct value_place *place, struct value *value)
{
	const struct ctype *type = place->type;
	const struct token *token = &value->token;
	bool is_string = false;
	int err = pointer_is_string(p, type, &is_string);

	if (err)
		return err;
	if (type->kind == CTYPE_UNKNOWN || type->kind == CTYPE_VOID ||
	    (!place->bits && (!type->size || type->size > 8 || type->size & (type->size - 1))))
		return no_value_error(p, place);
	value->kind = type_kind(type, is_string);
	value->names = ctype_enumeration(&p->types, type);
	value->type = type->kind == CTYPE_FLOAT ? TYPE_FLOAT : TYPE_INTEGER;
	if (is_string && type->is_const)
		value->type = TYPE_STRING;
	value->size = type->size == 1 || type->size == 2 || type->size == 4 ? (uint8_t)type->size : 8;
	value->is_unsigned = (place->bits ? place->bits == 64 : type->size == 8) && !type_is_signed(type);
	value->may_be_string = type->kind == CTYPE_POINTER && is_address_size(p, type);
	if (place->bits) {
		bits_emit(p, token, place, value->from);
		return p->error;
	}
	add_emit(p, token, place->offset);
	load_emit(p, token, type->size, type_is_signed(type) && value->type == TYPE_INTEGER);
	return p->error;
}

static int place_emit(struct parser *p, struct value_place *place, struct value *value)
{
	const struct token *token = &value->token;

	/* A reference to a string, or a pointer to one, has its content as value. */
	if (place->type->kind == CTYPE_POINTER) {
		struct ctype *target = ctype_target(&p->types, place->type);
		uint64_t pointer, length;
		int err = target ? ctype_load(&p->types, target) : -ENOMEM;

		if (err)
			return err;
		if (ctype_is_string(target, &pointer, &length)) {
			err = place_follow(p, token, place);
			if (!err)
				err = ctype_load(&p->types, place->type);
			return err ? err : aggregate_emit(p, place, value);
		}
	}
	if (ctype_load(&p->types, place->type))
		return -ENOMEM;
	if (place->type->kind == CTYPE_STRUCT || place->type->kind == CTYPE_ARRAY)
		return aggregate_emit(p, place, value);
	return scalar_emit(p, place, value);
}

/* ---- arguments ---- */

/* The value of an argument itself. Its kind is that of the record's. */
static int argument_emit(struct parser *p, size_t i, struct value *value)
{
	enum pp_kind kind = p->program->kind[i];
	bool typed = i < p->probe->nargs && p->probe->args[i].class != PPN_CLASS_NONE;
	bool is_pointer; /* a `char *` that is not const can be compared with numbers and with strings */

	value->size = p->program->size[i];
	value->kind = kind;
	argument_emit_steps(p, &value->token, i);
	if (kind == PP_FLOAT) {
		value->type = TYPE_FLOAT;
		return p->error;
	}
	is_pointer = kind == PP_POINTER || (kind == PP_STRING && typed && p->probe->args[i].class == PPN_CLASS_POINTER);
	value->type = kind == PP_STRING && !is_pointer ? TYPE_STRING : TYPE_INTEGER;
	value->is_unsigned = p->program->size[i] == 8 && kind != PP_SIGNED && kind != PP_CHAR;
	value->may_be_string = p->program->size[i] == address_size(p) && (is_pointer || !typed);
	return p->error;
}

/* Returns true if the argument is, or refers to, a std::string or std::string_view, whose content is its value. */
static int argument_is_object(struct parser *p, struct ctype *type, bool *yes)
{
	struct ctype *target = type;
	uint64_t pointer, length;
	int err;

	*yes = false;
	if (type->kind == CTYPE_POINTER)
		target = ctype_target(&p->types, type);
	if (!target)
		return -ENOMEM;
	err = ctype_load(&p->types, target);
	*yes = !err && ctype_is_string(target, &pointer, &length);
	return err;
}

/* Returns false if the argument is not a string of C++ for sure, so that its type need not be searched in DWARF. */
static bool argument_may_be_object(const struct pp_arg *argument)
{
	size_t n = argument->type ? strlen(argument->type) : 0;

	return (argument->described && argument->described->die) ||
	       (n && (argument->type[n - 1] == '&' || strstr(argument->type, "string")));
}

static int path_emit(struct parser *p, size_t arg, const struct field_path *path, size_t used, struct value *value)
{
	static const struct pp_arg untyped = { .name = (char *)"", .type = (char *)"" };
	const struct pp_arg *argument = arg < p->probe->nargs ? &p->probe->args[arg] : &untyped;
	struct value_place place = { .last = &value->token };
	bool is_object = false;
	int err = 0;

	if (p->program->kind[arg] == PP_FAULT)
		return missing_argument_error(p, &value->token, arg);
	if (used == path->n && !argument_may_be_object(argument)) {
		value->names = argument->described && argument->described->nvalues ? argument->described : NULL;
		return argument_emit(p, arg, value);
	}
	place.type = ctype_of_arg(&p->types, argument, p->program->size[arg]);
	if (!place.type)
		return -ENOMEM;
	if (used == path->n && p->program->size[arg] == address_size(p))
		err = argument_is_object(p, place.type, &is_object);
	if (err)
		return err;
	if (used == path->n && !is_object) {
		value->names = ctype_enumeration(&p->types, place.type);
		return argument_emit(p, arg, value);
	}
	if (p->program->size[arg] != address_size(p) && !path->accesses[used].is_index)
		return parser_fail(p, path->accesses[used].token.at, "the fields of '%.*s' are not known",
		                   shown_length(path->accesses[used].start), path->text);
	if (p->program->size[arg] != address_size(p))
		return parser_fail(p, path->accesses[used].token.at, "'%.*s' is neither a pointer nor an array",
		                   shown_length(path->accesses[used].start), path->text);
	argument_emit_steps(p, &value->token, arg);
	place.in_memory = place.type->kind == CTYPE_STRUCT; /* passed by its address */
	for (; !err && used < path->n; used++) {
		place.bits = 0;
		place.last = &path->accesses[used].token;
		err = path->accesses[used].is_index
		              ? place_add_index(p, path, &path->accesses[used], &value->token, &place)
		              : place_add_field(p, path, &path->accesses[used], &value->token, &place);
	}
	return err ? err : place_emit(p, &place, value);
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
	if (!found && !strcmp(name, "stack")) {
		value->type = TYPE_STACK;
		return 0;
	}
	if (!found)
		return unknown_name_error(p, &value->token);
	return found == 1 ? 0 : found;
}

int parser_name(struct parser *p, struct value *value)
{
	struct field_path path;
	size_t used;
	int err, arg;

	err = path_parse(p, &path, &value->token);
	if (err)
		return err;
	if (!path.n && !strcmp(path.text, "str") && token_is(&p->tokens, '('))
		return parser_string_call(p, value);
	arg = path_argument(p, &path, &used);
	if (arg >= 0)
		return path_emit(p, arg, &path, used, value);
	return path.n ? unknown_name_error(p, &value->token) : plain_name_emit(p, path.text, value);
}
