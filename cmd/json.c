/* SPDX-License-Identifier: MIT */
#include "cmd/json.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/alloc.h"
#include "cmd/escape.h"

/* Returns what json-c has made. NULL would become null in the document, or make json-c abort. */
static json_object *json_made(json_object *object)
{
	if (!object)
		alloc_failed();
	return object;
}

json_object *json_new_object(void)
{
	return json_made(json_object_new_object());
}

json_object *json_new_array(void)
{
	return json_made(json_object_new_array());
}

json_object *json_int(int64_t value)
{
	return json_made(json_object_new_int64(value));
}

json_object *json_uint(uint64_t value)
{
	return json_made(json_object_new_uint64(value));
}

json_object *json_boolean(bool value)
{
	return json_made(json_object_new_boolean(value));
}

void json_format_double(char buffer[32], double value)
{
	for (int digits = 6; digits <= 17; digits++) {
		snprintf(buffer, 32, "%.*g", digits, value);
		if (strtod(buffer, NULL) == value || value != value)
			return;
	}
}

json_object *json_double(double value)
{
	char number[32];

	json_format_double(number, value);
	return isfinite(value) ? json_made(json_object_new_double_s(value, number)) : json_text(number);
}

json_object *json_text_n(const char *bytes, size_t length)
{
	json_object *object;
	char *valid = NULL;
	size_t size = 0, invalid = 0;
	uint32_t code;
	FILE *out;

	for (size_t i = 0, n; i < length; i += n ? n : 1) {
		n = utf8_decode(bytes + i, length - i, &code);
		invalid += !n;
	}
	if (!invalid)
		return json_made(json_object_new_string_len(bytes, (int)length));
	out = xmemstream(&valid, &size);
	for (size_t i = 0, n; i < length; i += n ? n : 1) {
		n = utf8_decode(bytes + i, length - i, &code);
		fwrite(n ? bytes + i : "\xef\xbf\xbd", 1, n ? n : 3, out);
	}
	xmemstream_close(out);
	object = json_made(json_object_new_string_len(valid, (int)size));
	free(valid);
	return object;
}

json_object *json_text(const char *text)
{
	return text ? json_text_n(text, strlen(text)) : NULL;
}

void json_add(json_object *to, const char *key, json_object *value)
{
	if (json_object_object_add_ex(to, key, value, JSON_C_OBJECT_KEY_IS_CONSTANT))
		alloc_failed();
}

void json_add_text(json_object *to, const char *key, const char *text)
{
	json_add(to, key, json_text(text));
}

void json_add_int(json_object *to, const char *key, int64_t value)
{
	json_add(to, key, json_int(value));
}

void json_add_uint(json_object *to, const char *key, uint64_t value)
{
	json_add(to, key, json_uint(value));
}

void json_add_double(json_object *to, const char *key, double value)
{
	json_add(to, key, json_double(value));
}

void json_add_bool(json_object *to, const char *key, bool value)
{
	json_add(to, key, json_boolean(value));
}

void json_append(json_object *to, json_object *value)
{
	if (json_object_array_add(to, value))
		alloc_failed();
}

/* Returns the object as text, which the object owns. */
static const char *json_write(json_object *object, size_t *length)
{
	const char *text = json_object_to_json_string_length(
		object, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE, length);

	if (!text)
		alloc_failed();
	return text;
}

/* Prints a text of json-c, which does not escape DEL and U+0080 to U+009F. */
static void json_put(FILE *out, const char *text, size_t length)
{
	size_t from = 0;

	for (size_t i = 0; i < length; i++) {
		unsigned char c = text[i], next = text[i + 1];
		bool is_c1 = c == 0xc2 && next >= 0x80 && next < 0xa0;

		if (c != 0x7f && !is_c1)
			continue;
		fwrite(text + from, 1, i - from, out);
		fprintf(out, "\\u%04x", is_c1 ? next : c);
		i += is_c1;
		from = i + 1;
	}
	fwrite(text + from, 1, length - from, out);
}

void json_print(FILE *out, json_object *object)
{
	size_t length;
	const char *text = json_write(object, &length);

	json_put(out, text, length);
	json_object_put(object);
}

void json_print_members(FILE *out, json_object *object)
{
	size_t length;
	const char *text = json_write(object, &length);

	json_put(out, text + strlen("{"), length - strlen("{}"));
	json_object_put(object);
}
