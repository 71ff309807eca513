/* SPDX-License-Identifier: MIT */
/* Types of arguments: the enumerators of enumerations and the fields of structures, from PPN_TYPE notes. */
#include "sdt/arg-types.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Takes a decimal number at *at. Returns false if there is no number or it is above max. */
static bool type_take_number(const char **at, uint64_t max, uint64_t *number)
{
	const char *digit = *at;

	*number = 0;
	for (; *digit >= '0' && *digit <= '9'; digit++) {
		if (*number > (max - (uint64_t)(*digit - '0')) / 10)
			return false;
		*number = *number * 10 + (uint64_t)(*digit - '0');
	}
	if (digit == *at)
		return false;
	*at = digit;
	return true;
}

/* Reads OFFSET/SIZE or OFFSET.BIT/BITS, then CLASS NAME:TYPE. Returns false if the text is invalid. */
static bool type_read_field(struct arena *arena, const char *text, struct pp_field *field)
{
	uint64_t offset, bit = 0, size;
	const char *colon;
	bool is_bits;

	if (!type_take_number(&text, UINT32_MAX, &offset))
		return false;
	is_bits = *text == '.';
	if (is_bits && (text++, !type_take_number(&text, 7, &bit)))
		return false;
	if (*text++ != '/' || !type_take_number(&text, is_bits ? 64 : UINT32_MAX, &size) || (is_bits && !size))
		return false;
	colon = strchr(text, ':');
	if (!*text || !strchr("iupsbcfx", *text) || !colon || colon == text + 1)
		return false;
	*field = (struct pp_field){
		.class = *text,
		.offset = (uint32_t)offset,
		.size = is_bits ? (uint32_t)((bit + size + 7) / 8) : (uint32_t)size,
		.bit = (uint8_t)bit,
		.bits = is_bits ? (uint8_t)size : 0,
		.name = arena_strndup(arena, text + 1, (size_t)(colon - text - 1)),
		.type = colon + 1,
	};
	/* Only fields of these sizes can be read as numbers. */
	if (!is_bits && field->class != PPN_CLASS_NONE && size != 1 && size != 2 && size != 4 && size != 8)
		field->class = PPN_CLASS_NONE;
	return true;
}

static bool type_read_enumerator(struct arena *arena, const char *text, struct pp_enumerator *value)
{
	const char *is = strchr(text, '=');
	uint64_t number;
	bool minus;

	if (!is || is == text)
		return false;
	value->name = arena_strndup(arena, text, (size_t)(is - text));
	minus = *++is == '-';
	is += minus;
	if (!type_take_number(&is, UINT64_MAX, &number) || *is)
		return false;
	value->value = (int64_t)(minus ? 0 - number : number);
	return true;
}

/* Returns 0, -EBADMSG if the note is invalid, or -ENOMEM. */
static int type_read(struct pp_image *image, const struct note_type *note, struct pp_type *type)
{
	struct arena *arena = &image->arena;
	const char *text = note->texts;

	*type = (struct pp_type){ .key = note->key, .name = note->name, .size = note->size };
	if (note->kind == PPN_TYPE_STRUCT)
		type->fields = arena_alloc(arena, note->n * sizeof(*type->fields) + 1);
	else
		type->values = arena_alloc(arena, note->n * sizeof(*type->values) + 1);
	if (!type->fields && !type->values)
		return -ENOMEM;
	for (int i = 0; i < note->n; i++, text += strlen(text) + 1) {
		if (note->kind == PPN_TYPE_STRUCT ? !type_read_field(arena, text, &type->fields[i])
		                                  : !type_read_enumerator(arena, text, &type->values[i]))
			return -EBADMSG;
		if (note->kind == PPN_TYPE_STRUCT ? !type->fields[i].name : !type->values[i].name)
			return -ENOMEM;
	}
	*(note->kind == PPN_TYPE_STRUCT ? &type->nfields : &type->nvalues) = note->n;
	return 0;
}

int types_make(struct pp_image *image, const struct notes *notes)
{
	int err;

	image->types = arena_alloc(&image->arena, notes->ntypes * sizeof(*image->types) + 1);
	if (!image->types)
		return -ENOMEM;
	for (size_t i = 0; i < notes->ntypes; i++) {
		const struct note_type *note = &notes->types[i];

		if (note->kind != PPN_TYPE_ENUM && note->kind != PPN_TYPE_STRUCT)
			continue; /* written by a newer plugin */
		err = type_read(image, note, &image->types[image->ntypes]);
		if (err == -ENOMEM)
			return err;
		if (err)
			image_warn(image, "note at offset %#llx left out: a field or value of '%s' is malformed",
			           (unsigned long long)note->at, note->name);
		else
			image->ntypes++;
	}
	return 0;
}

static int type_compare(const void *a, const void *b)
{
	const struct pp_type *x = a, *y = b;

	return (x->key > y->key) - (x->key < y->key);
}

const struct pp_type *types_find(const struct pp_image *image, uint64_t key)
{
	struct pp_type wanted = { .key = key };

	return image->ntypes ? bsearch(&wanted, image->types, image->ntypes, sizeof(wanted), type_compare) : NULL;
}

const struct pp_field *arg_find_field(const struct pp_arg *arg, const char *name)
{
	const struct pp_type *type = arg->described;

	for (size_t i = 0; type && i < type->nfields; i++)
		if (!strcmp(type->fields[i].name, name))
			return &type->fields[i];
	return NULL;
}

size_t pp_arg_fields(const struct pp_arg *arg)
{
	return arg->described ? arg->described->nfields : 0;
}

const struct pp_field *pp_arg_field(const struct pp_arg *arg, size_t i)
{
	return &arg->described->fields[i];
}

const char *pp_field_name(const struct pp_field *field)
{
	return field->name;
}

const char *pp_field_type(const struct pp_field *field)
{
	return field->type;
}

void pp_field_place(const struct pp_field *field, unsigned *offset, unsigned *size, unsigned *bit, unsigned *bits)
{
	*offset = field->offset;
	*size = field->size;
	*bit = field->bit;
	*bits = field->bits;
}

size_t pp_arg_values(const struct pp_arg *arg)
{
	return arg->described ? arg->described->nvalues : 0;
}

const char *pp_arg_value(const struct pp_arg *arg, size_t i, int64_t *value)
{
	*value = arg->described->values[i].value;
	return arg->described->values[i].name;
}
