/* SPDX-License-Identifier: MIT */
#include "cmd/report/json-text.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "cmd/escape.h"
#include "cmd/json.h"

#define EXACT_MAX (INT64_C(1) << 53) /* larger integers are not exact in a double */

void json_text_put(FILE *out, const char *text, size_t length)
{
	size_t from = 0;
	uint32_t code;

	putc('"', out);
	for (size_t i = 0, n; i < length; i += n ? n : 1) {
		n = utf8_decode(text + i, length - i, &code);
		if (n && code >= ' ' && code != '"' && code != '\\' && code != '<' && !(code >= 0x7f && code < 0xa0))
			continue;
		fwrite(text + from, 1, i - from, out);
		from = i + (n ? n : 1);
		if (!n)
			fputs("\\ufffd", out);
		else
			fprintf(out, "\\u%04x", code);
	}
	fwrite(text + from, 1, length - from, out);
	putc('"', out);
}

static bool label_is(const struct report_value *value, const char *label, uint64_t number)
{
	return value->u == number && value->length == strlen(label) && !memcmp(value->text, label, value->length);
}

/* Prints an enumeration's value as "label (number)", but a bool as a bool. */
static void json_text_put_label(FILE *out, const struct report_value *value)
{
	char number[32], text[256];
	int n;

	if (label_is(value, "true", 1) || label_is(value, "false", 0)) {
		fputs(value->u ? "true" : "false", out);
		return;
	}

	if (value->kind == VALUE_SIGNED)
		snprintf(number, sizeof(number), "%" PRId64, value->i);
	else
		snprintf(number, sizeof(number), "%" PRIu64, value->u);
	n = snprintf(text, sizeof(text), "%.*s (%s)", (int)(value->length < 200 ? value->length : 200), value->text,
	             number);
	json_text_put(out, text, (size_t)n);
}

void json_text_put_value(FILE *out, const struct report_value *value)
{
	char number[32];

	if (value->text && value->kind != VALUE_TEXT) {
		json_text_put_label(out, value);
		return;
	}
	switch (value->kind) {
	case VALUE_SIGNED:
		fprintf(out, value->i > EXACT_MAX || value->i < -EXACT_MAX ? "\"%" PRId64 "\"" : "%" PRId64, value->i);
		break;
	case VALUE_UNSIGNED:
		fprintf(out, value->u > (uint64_t)EXACT_MAX ? "\"%" PRIu64 "\"" : "%" PRIu64, value->u);
		break;
	case VALUE_HEX: fprintf(out, "\"0x%" PRIx64 "\"", value->u); break;
	case VALUE_REAL:
		json_format_double(number, value->d);
		fprintf(out, isfinite(value->d) ? "%s" : "\"%s\"", number);
		break;
	case VALUE_TEXT: json_text_put(out, value->text, value->length); break;
	case VALUE_FAULT: fputs("null", out); break;
	}
}

void json_text_put_values(FILE *out, const struct report_record *record)
{
	putc('{', out);
	for (size_t i = 0; i < record->nvalues; i++) {
		if (i)
			putc(',', out);
		json_text_put(out, record->values[i].name, strlen(record->values[i].name));
		putc(':', out);
		json_text_put_value(out, &record->values[i]);
	}
	putc('}', out);
}
