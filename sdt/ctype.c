/* SPDX-License-Identifier: MIT */
/*
 * Types from the texts of notes.
 *
 * A text is read from its end: "struct conn *const" is a pointer because a star is at its end, "char [16]" is an array. The
 * rest is a name: of a base type, of a type that a note describes, or of one that DWARF knows.
 */
#include "sdt/ctype.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "sdt/dwarf.h"

#define COUNT_MAX 100000000u /* elements of an array */

void ctypes_release(struct ctypes *types)
{
	arena_release(&types->arena);
}

static struct ctype *ctype_new(struct ctypes *types, const char *name)
{
	struct ctype *type = arena_alloc(&types->arena, sizeof(*type));

	if (!type) {
		error_nomem();
		return NULL;
	}
	type->name = name;
	return type;
}

static unsigned pointer_size(const struct ctypes *types)
{
	return types->image && !types->image->is_64 ? 4 : 8;
}

/* ---- names ---- */

static const struct base_type {
	const char *name;
	uint8_t kind, size; /* size 0: that of a long */
	bool is_signed;
} base_types[] = {
	{ "int", CTYPE_INTEGER, 4, true },
	{ "unsigned", CTYPE_INTEGER, 4, false },
	{ "unsigned int", CTYPE_INTEGER, 4, false },
	{ "long", CTYPE_INTEGER, 0, true },
	{ "unsigned long", CTYPE_INTEGER, 0, false },
	{ "long long", CTYPE_INTEGER, 8, true },
	{ "unsigned long long", CTYPE_INTEGER, 8, false },
	{ "short", CTYPE_INTEGER, 2, true },
	{ "unsigned short", CTYPE_INTEGER, 2, false },
	{ "signed char", CTYPE_INTEGER, 1, true },
	{ "unsigned char", CTYPE_INTEGER, 1, false },
	{ "char", CTYPE_CHAR, 1, true },
	{ "bool", CTYPE_BOOL, 1, false },
	{ "_Bool", CTYPE_BOOL, 1, false },
	{ "float", CTYPE_FLOAT, 4, true },
	{ "double", CTYPE_FLOAT, 8, true },
	{ "size_t", CTYPE_INTEGER, 0, false },
	{ "ssize_t", CTYPE_INTEGER, 0, true },
	{ "uintptr_t", CTYPE_INTEGER, 0, false },
	{ "intptr_t", CTYPE_INTEGER, 0, true },
	{ "uint8_t", CTYPE_INTEGER, 1, false },
	{ "uint16_t", CTYPE_INTEGER, 2, false },
	{ "uint32_t", CTYPE_INTEGER, 4, false },
	{ "uint64_t", CTYPE_INTEGER, 8, false },
	{ "int8_t", CTYPE_INTEGER, 1, true },
	{ "int16_t", CTYPE_INTEGER, 2, true },
	{ "int32_t", CTYPE_INTEGER, 4, true },
	{ "int64_t", CTYPE_INTEGER, 8, true },
	{ "void", CTYPE_VOID, 0, false },
};

static bool base_type_find(const struct ctypes *types, struct ctype *type)
{
	for (size_t i = 0; i < sizeof(base_types) / sizeof(*base_types); i++) {
		const struct base_type *base = &base_types[i];

		if (strcmp(base->name, type->name))
			continue;
		type->kind = base->kind;
		type->size = base->size || base->kind == CTYPE_VOID ? base->size : pointer_size(types);
		type->is_signed = base->is_signed;
		return true;
	}
	return false;
}

static void type_set_note(struct ctype *type, const struct pp_type *note)
{
	type->kind = note->nvalues ? CTYPE_ENUM : CTYPE_STRUCT;
	type->size = note->size;
	type->note = note;
	for (size_t i = 0; i < note->nvalues; i++)
		type->is_signed |= note->values[i].value < 0;
}

/* Returns the note that describes a type of this name; NULL if no note or several notes do. */
static const struct pp_type *note_find(const struct ctypes *types, const char *name)
{
	const struct pp_type *found = NULL;

	for (size_t i = 0; types->image && i < types->image->ntypes; i++) {
		if (strcmp(types->image->types[i].name, name))
			continue;
		if (found)
			return NULL;
		found = &types->image->types[i];
	}
	return found;
}

/* ---- texts ---- */

static const char *const qualifiers[] = { "const", "volatile", "restrict", "__restrict", "__restrict__" };
#define NQUALIFIERS (sizeof(qualifiers) / sizeof(*qualifiers))

static bool is_word_char(char c)
{
	return isalnum((unsigned char)c) || c == '_';
}

/* Cuts off a qualifier at the end of the text of *n bytes. */
static bool text_cut_last(const char *text, size_t *n)
{
	for (size_t i = 0; i < NQUALIFIERS; i++) {
		size_t length = strlen(qualifiers[i]);

		if (*n > length && !memcmp(text + *n - length, qualifiers[i], length) &&
		    !is_word_char(text[*n - length - 1])) {
			*n -= length;
			return true;
		}
	}
	return false;
}

static void text_trim(const char *text, size_t *n)
{
	do {
		while (*n && text[*n - 1] == ' ')
			--*n;
	} while (text_cut_last(text, n));
}

static const char *text_skip_qualifiers(const char *text)
{
	for (bool again = true; again;) {
		again = false;
		for (size_t i = 0; i < NQUALIFIERS; i++) {
			size_t length = strlen(qualifiers[i]);

			if (!strncmp(text, qualifiers[i], length) && text[length] == ' ') {
				text += length + 1;
				again = true;
			}
		}
	}
	return text;
}

/* Returns the position of the first bracket of an array's text, 0 if the text of n bytes is not an array. */
static size_t text_find_array(const char *text, size_t n)
{
	int depth = 0;

	if (!n || text[n - 1] != ']')
		return 0;
	for (size_t i = 0; i < n; i++) {
		depth += (text[i] == '<' || text[i] == '(') - ((text[i] == '>' || text[i] == ')') && depth > 0);
		if (text[i] == '[' && !depth)
			return i;
	}
	return 0;
}

/* Makes the array whose text has its first bracket at the position. */
static struct ctype *array_from_text(struct ctypes *types, const char *text, size_t bracket, unsigned size)
{
	struct ctype *type = ctype_new(types, text), *element;
	const char *close = strchr(text + bracket, ']');
	unsigned long count = strtoul(text + bracket + 1, NULL, 10);
	size_t n = bracket;
	char *target;

	if (!type || !close)
		return type;
	text_trim(text, &n);
	target = arena_printf(&types->arena, "%.*s%s", (int)n, text, close[1] == '[' ? close + 1 : "");
	if (!target) {
		error_nomem();
		return NULL;
	}
	type->kind = CTYPE_ARRAY;
	type->target_text = target;
	type->count = count <= COUNT_MAX ? count : 0;
	type->size = size;
	element = type->count && !size ? ctype_target(types, type) : NULL;
	if (element)
		type->size = element->size * type->count;
	return type;
}

static struct ctype *pointer_from_text(struct ctypes *types, const char *text, size_t n)
{
	struct ctype *type = ctype_new(types, text);

	if (!type)
		return NULL;
	type->kind = CTYPE_POINTER;
	type->size = pointer_size(types);
	text_trim(text, &n);
	type->target_text = arena_strndup(&types->arena, text, n);
	type->is_const = !strncmp(text, "const ", 6) && !memchr(text, '*', n);
	if (type->target_text)
		return type;
	error_nomem();
	return NULL;
}

/* Makes the type of a text. size is the size of its value if that is known, else 0. */
static struct ctype *type_from_text(struct ctypes *types, const char *text, unsigned size)
{
	size_t n = strlen(text), bracket;
	struct ctype *type;
	char *name;

	text_trim(text, &n);
	bracket = text_find_array(text, n);
	if (bracket)
		return array_from_text(types, text, bracket, size);
	if (n > 1 && text[n - 1] == '&' && text[n - 2] == '&')
		n--;
	if (n && (text[n - 1] == '*' || text[n - 1] == '&'))
		return pointer_from_text(types, text, n - 1);
	text = text_skip_qualifiers(text);
	n = strlen(text);
	text_trim(text, &n);
	name = arena_strndup(&types->arena, text, n);
	type = name ? ctype_new(types, name) : NULL;
	if (!type) {
		error_nomem();
		return NULL;
	}
	if (base_type_find(types, type))
		return type;
	if (note_find(types, name)) {
		type_set_note(type, note_find(types, name));
		return type;
	}
	return dwarf_find_type(types, name, type) == -ENOMEM ? NULL : type;
}

/* Corrects a type by the class letter and the size of a value, which notes always have. */
static void type_set_class(struct ctype *type, char class, unsigned size)
{
	static const struct {
		char class;
		uint8_t kind;
		bool is_signed;
	} kinds[] = {
		{ PPN_CLASS_SIGNED, CTYPE_INTEGER, true },  { PPN_CLASS_UNSIGNED, CTYPE_INTEGER, false },
		{ PPN_CLASS_BOOL, CTYPE_BOOL, false },      { PPN_CLASS_CHAR, CTYPE_CHAR, true },
		{ PPN_CLASS_FLOAT, CTYPE_FLOAT, true },     { PPN_CLASS_POINTER, CTYPE_POINTER, false },
		{ PPN_CLASS_STRING, CTYPE_POINTER, false },
	};

	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
		if (kinds[i].class != class)
			continue;
		if (type->kind != CTYPE_ENUM || kinds[i].kind != CTYPE_INTEGER)
			type->kind = kinds[i].kind;
		type->is_signed = kinds[i].is_signed;
		type->size = size;
		type->is_const |= class == PPN_CLASS_STRING;
	}
	if (type->kind == CTYPE_POINTER && !type->target_text && !type->has_die)
		type->target_text = class == PPN_CLASS_STRING ? "char" : "void";
}

struct ctype *ctype_of_arg(struct ctypes *types, const struct pp_arg *arg, unsigned size)
{
	const struct pp_type *note = arg->described;
	struct ctype *type;

	if (note && note->die) {
		type = ctype_new(types, "");
		return type && dwarf_type_of(types, note->die, type) != -ENOMEM ? type : NULL;
	}
	if (arg->class == PPN_CLASS_NONE && (!arg->type || !*arg->type)) /* not known */
		return ctype_new(types, "");
	type = type_from_text(types, arg->type ? arg->type : "", 0);
	if (!type)
		return NULL;
	/* A structure that is passed by its address has the letter of a pointer. */
	if (type->kind == CTYPE_STRUCT || (note && note->nfields && type->kind == CTYPE_UNKNOWN)) {
		if (note && note->nfields)
			type_set_note(type, note);
		return type;
	}
	type_set_class(type, arg->class, size);
	if (note && note->nvalues && type->kind == CTYPE_INTEGER)
		type->kind = CTYPE_ENUM;
	if (note && note->nvalues && type->kind == CTYPE_ENUM)
		type->note = note;
	else if (note && type->kind == CTYPE_POINTER)
		type->note = note; /* of what it points to: the name alone may be ambiguous */
	return type;
}

struct ctype *ctype_target(struct ctypes *types, const struct ctype *type)
{
	struct ctype *target;
	int err;

	if (type->kind == CTYPE_POINTER && type->note) {
		target = ctype_new(types, type->note->name);
		if (target)
			type_set_note(target, type->note);
		return target;
	}
	if (type->target_text)
		return type_from_text(types, type->target_text, 0);
	target = ctype_new(types, "");
	if (!target || !type->has_die)
		return target;
	err = dwarf_target(types, type, target);
	return err == -ENOMEM ? NULL : target;
}

struct ctype *ctype_of_member(struct ctypes *types, const struct ctype_member *member)
{
	struct ctype *type;
	int err;

	if (member->note) {
		bool is_array = member->note->class == PPN_CLASS_NONE;

		type = type_from_text(types, member->note->type, is_array ? member->note->size : 0);
		if (type)
			type_set_class(type, member->note->class,
			               member->note->bits ? (unsigned)type->size : member->note->size);
		return type;
	}
	type = ctype_new(types, "");
	if (!type)
		return NULL;
	err = dwarf_type_of(types, &member->die, type);
	return err == -ENOMEM ? NULL : type;
}

/* ---- structures and enumerations ---- */

static int note_load(struct ctypes *types, struct ctype *type)
{
	const struct pp_type *note = type->note;

	type->values = note->values;
	type->nvalues = note->nvalues;
	if (!note->nfields)
		return 0;
	type->members = arena_alloc(&types->arena, note->nfields * sizeof(*type->members));
	if (!type->members)
		return error_nomem();
	for (size_t i = 0; i < note->nfields; i++)
		type->members[i] = (struct ctype_member){ .name = note->fields[i].name,
			                                  .offset = note->fields[i].offset,
			                                  .bit = note->fields[i].bit,
			                                  .bits = note->fields[i].bits,
			                                  .note = &note->fields[i] };
	type->nmembers = note->nfields;
	return 0;
}

int ctype_load(struct ctypes *types, struct ctype *type)
{
	int err = 0;

	if (type->loaded || (type->kind != CTYPE_STRUCT && type->kind != CTYPE_ENUM))
		return 0;
	if (type->note)
		err = note_load(types, type);
	else if (type->has_die)
		err = dwarf_load(types, type);
	type->loaded = !err;
	return err;
}

const struct pp_type *ctype_enumeration(struct ctypes *types, const struct ctype *type)
{
	if (type->kind != CTYPE_ENUM)
		return NULL;
	return type->note ? type->note : dwarf_enumeration(types, type);
}

const struct ctype_member *ctype_member(const struct ctype *type, const char *name)
{
	for (size_t i = 0; i < type->nmembers; i++)
		if (!strcmp(type->members[i].name, name))
			return &type->members[i];
	return NULL;
}

bool ctype_is_string(const struct ctype *type, uint64_t *pointer, uint64_t *length)
{
	static const char *const layouts[][2] = {
		{ "_M_dataplus", "_M_string_length" }, /* libstdc++; the pointer is the first member of _M_dataplus */
		{ "_M_str", "_M_len" },
		{ "__data_", "__size_" }, /* libc++'s string_view */
		{ "__data", "__size" },
	};

	if (type->kind != CTYPE_STRUCT ||
	    (strncmp(type->name, "basic_string<char,", 18) && strncmp(type->name, "basic_string_view<char,", 23)))
		return false;
	for (size_t i = 0; i < sizeof(layouts) / sizeof(*layouts); i++) {
		const struct ctype_member *p = ctype_member(type, layouts[i][0]);
		const struct ctype_member *n = ctype_member(type, layouts[i][1]);

		if (!p || !n)
			continue;
		*pointer = p->offset;
		*length = n->offset;
		return true;
	}
	return false;
}
