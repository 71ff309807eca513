/* SPDX-License-Identifier: MIT */
/* Turns the fields of an event, which can be nested, into a flat list. */
#include "cmd/report/fields.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/alloc.h"

enum { DEPTH_MAX = 8, ELEMENTS_MAX = 64, NAME_MAX_LENGTH = 400 };

static void field_flatten(struct fields *fields, const char *name, const bt_field *field, unsigned depth);

/* Returns a copy of the name that is valid until the next record. NULL: the names of this record are too long. */
static const char *fields_keep_name(struct fields *fields, const char *name)
{
	size_t n = strlen(name) + 1;
	char *copy;

	if (!fields->names) {
		fields->room = (size_t)FIELDS_MAX * (NAME_MAX_LENGTH + 1);
		fields->names = xreallocarray(NULL, fields->room, 1);
	}
	if (n > fields->room - fields->used)
		return NULL;
	copy = memcpy(fields->names + fields->used, name, n);
	fields->used += n;
	return copy;
}

static struct report_value *field_add_value(struct fields *fields, const char *name, enum value_kind kind)
{
	struct report_value *value;

	if (!name || fields->n == FIELDS_MAX) {
		fields->left_out++;
		return NULL;
	}
	value = &fields->values[fields->n++];
	*value = (struct report_value){ .name = name, .kind = kind };
	return value;
}

static void field_add_text(struct fields *fields, const char *name, const char *text, size_t length)
{
	struct report_value *value = field_add_value(fields, name, VALUE_TEXT);

	if (!value)
		return;
	value->text = text;
	value->length = length;
}

static void field_add_real(struct fields *fields, const char *name, double number)
{
	struct report_value *value = field_add_value(fields, name, VALUE_REAL);

	if (value)
		value->d = number;
}

static void field_add_signed(struct fields *fields, const char *name, int64_t number, const char *label)
{
	struct report_value *value = field_add_value(fields, name, VALUE_SIGNED);

	if (!value)
		return;
	value->i = number;
	value->text = label;
	value->length = label ? strlen(label) : 0;
}

static void field_add_unsigned(struct fields *fields, const char *name, uint64_t number, bool hex, const char *label)
{
	struct report_value *value = field_add_value(fields, name, hex ? VALUE_HEX : VALUE_UNSIGNED);

	if (!value)
		return;
	value->u = number;
	value->text = label;
	value->length = label ? strlen(label) : 0;
}

/* Returns the first label of an enumeration's value, NULL if it has none. */
static const char *field_label(const bt_field *field, bool is_signed)
{
	bt_field_class_enumeration_mapping_label_array labels;
	uint64_t n = 0;

	if (is_signed ? bt_field_enumeration_signed_get_mapping_labels(field, &labels, &n)
	              : bt_field_enumeration_unsigned_get_mapping_labels(field, &labels, &n))
		return NULL;
	return n ? labels[0] : NULL;
}

static bool field_is_hex(const bt_field *field)
{
	return bt_field_class_integer_get_preferred_display_base(bt_field_borrow_class_const(field)) ==
	       BT_FIELD_CLASS_INTEGER_PREFERRED_DISPLAY_BASE_HEXADECIMAL;
}

static void structure_flatten(struct fields *fields, const char *name, const bt_field *field, unsigned depth)
{
	const bt_field_class *class = bt_field_borrow_class_const(field);
	uint64_t n = bt_field_class_structure_get_member_count(class);
	char full[NAME_MAX_LENGTH];

	/* An argument that could never be read has no bytes in probepoint's traces. */
	if (!n && name && fields->is_ours)
		field_add_value(fields, name, VALUE_FAULT);
	for (uint64_t i = 0; i < n; i++) {
		const char *member = bt_field_class_structure_member_get_name(
			bt_field_class_structure_borrow_member_by_index_const(class, i));
		const bt_field *inner = bt_field_structure_borrow_member_field_by_index_const(field, i);

		if (name) {
			snprintf(full, sizeof(full), "%s.%s", name, member);
			member = fields_keep_name(fields, full);
		}
		if (!member) {
			fields->left_out++;
			continue;
		}
		field_flatten(fields, member, inner, depth + 1);
	}
}

static void array_flatten(struct fields *fields, const char *name, const bt_field *field, unsigned depth)
{
	uint64_t n = bt_field_array_get_length(field);
	char full[NAME_MAX_LENGTH];

	for (uint64_t i = 0; i < n; i++) {
		const char *element;

		if (i == ELEMENTS_MAX) {
			fields->left_out += n - i;
			return;
		}
		snprintf(full, sizeof(full), "%s[%" PRIu64 "]", name, i);
		element = fields_keep_name(fields, full);
		if (element)
			field_flatten(fields, element, bt_field_array_borrow_element_field_by_index_const(field, i),
			              depth + 1);
		else
			fields->left_out++;
	}
}

/* Returns whether the field is a number or a text, which it has added. */
static bool scalar_flatten(struct fields *fields, const char *name, const bt_field *field, bt_field_class_type type)
{
	if (bt_field_class_type_is(type, BT_FIELD_CLASS_TYPE_UNSIGNED_INTEGER))
		field_add_unsigned(fields, name, bt_field_integer_unsigned_get_value(field), field_is_hex(field),
		                   type == BT_FIELD_CLASS_TYPE_UNSIGNED_ENUMERATION ? field_label(field, false) : NULL);
	else if (bt_field_class_type_is(type, BT_FIELD_CLASS_TYPE_SIGNED_INTEGER))
		field_add_signed(fields, name, bt_field_integer_signed_get_value(field),
		                 type == BT_FIELD_CLASS_TYPE_SIGNED_ENUMERATION ? field_label(field, true) : NULL);
	else if (type == BT_FIELD_CLASS_TYPE_SINGLE_PRECISION_REAL)
		field_add_real(fields, name, (double)bt_field_real_single_precision_get_value(field));
	else if (type == BT_FIELD_CLASS_TYPE_DOUBLE_PRECISION_REAL)
		field_add_real(fields, name, bt_field_real_double_precision_get_value(field));
	else if (type == BT_FIELD_CLASS_TYPE_STRING)
		field_add_text(fields, name, bt_field_string_get_value(field), bt_field_string_get_length(field));
	else if (type == BT_FIELD_CLASS_TYPE_BOOL)
		field_add_unsigned(fields, name, bt_field_bool_get_value(field), false,
		                   bt_field_bool_get_value(field) ? "true" : "false");
	else if (type == BT_FIELD_CLASS_TYPE_BIT_ARRAY)
		field_add_unsigned(fields, name, bt_field_bit_array_get_value_as_integer(field), true, NULL);
	else
		return false;
	return true;
}

static void field_flatten(struct fields *fields, const char *name, const bt_field *field, unsigned depth)
{
	bt_field_class_type type = bt_field_get_class_type(field);

	if (scalar_flatten(fields, name, field, type))
		return;
	if (depth == DEPTH_MAX) {
		fields->left_out++;
		return;
	}
	if (type == BT_FIELD_CLASS_TYPE_STRUCTURE) {
		structure_flatten(fields, name, field, depth);
	} else if (bt_field_class_type_is(type, BT_FIELD_CLASS_TYPE_ARRAY)) {
		array_flatten(fields, name, field, depth);
	} else if (bt_field_class_type_is(type, BT_FIELD_CLASS_TYPE_OPTION)) {
		const bt_field *inner = bt_field_option_borrow_field_const(field);

		if (inner)
			field_flatten(fields, name, inner, depth + 1);
	} else if (bt_field_class_type_is(type, BT_FIELD_CLASS_TYPE_VARIANT)) {
		field_flatten(fields, name, bt_field_variant_borrow_selected_option_field_const(field), depth + 1);
	}
}

/* Returns the index of a field of this name in the last two, else n. */
static size_t fields_find_mark(const struct fields *fields, const char *name)
{
	for (size_t i = fields->n; i-- && i + 2 >= fields->n;)
		if (!strcmp(fields->values[i].name, name))
			return i;
	return fields->n;
}

/* Removes the marks of probepoint's traces, and applies them to the arguments. */
static void fields_apply_marks(struct fields *fields)
{
	size_t cut = fields_find_mark(fields, "_cut"), faults = fields_find_mark(fields, "_faults");
	uint64_t cuts = cut < fields->n ? fields->values[cut].u : 0;
	uint64_t missing = faults < fields->n ? fields->values[faults].u : 0;
	size_t n = cut < faults ? cut : faults;

	fields->n = n;
	if (!cuts && !missing)
		return;
	for (size_t i = 0; i < n && i < 64; i++) {
		struct report_value *value = &fields->values[i];

		if (missing >> i & 1)
			*value = (struct report_value){ .name = value->name, .kind = VALUE_FAULT };
		else if (cuts >> i & 1)
			value->cut = true;
	}
}

void fields_take(struct fields *fields, const bt_event *event, bool is_ours)
{
	const bt_field *payload = bt_event_borrow_payload_field_const(event);
	const bt_field *context = bt_event_borrow_specific_context_field_const(event);

	fields->n = fields->used = 0;
	fields->is_ours = is_ours;
	if (payload)
		structure_flatten(fields, NULL, payload, 0);
	if (is_ours)
		fields_apply_marks(fields);
	if (context)
		structure_flatten(fields, NULL, context, 0);
}

void fields_release(struct fields *fields)
{
	free(fields->names);
	*fields = (struct fields){ 0 };
}

const bt_field *fields_member(const bt_field *structure, const char *const *names)
{
	if (!structure)
		return NULL;
	for (; *names; names++) {
		const bt_field *member = bt_field_structure_borrow_member_field_by_name_const(structure, *names);

		if (member)
			return member;
	}
	return NULL;
}

bool fields_integer(const bt_field *field, int64_t *value)
{
	bt_field_class_type type;

	if (!field)
		return false;
	type = bt_field_get_class_type(field);
	if (bt_field_class_type_is(type, BT_FIELD_CLASS_TYPE_SIGNED_INTEGER))
		*value = bt_field_integer_signed_get_value(field);
	else if (bt_field_class_type_is(type, BT_FIELD_CLASS_TYPE_UNSIGNED_INTEGER))
		*value = (int64_t)bt_field_integer_unsigned_get_value(field);
	else
		return false;
	return true;
}

const char *fields_text(const bt_field *field)
{
	if (!field || bt_field_get_class_type(field) != BT_FIELD_CLASS_TYPE_STRING)
		return NULL;
	/* libbabeltrace2 2.0 returns an earlier text for an empty one. */
	return bt_field_string_get_length(field) ? bt_field_string_get_value(field) : "";
}
