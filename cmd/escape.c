/* SPDX-License-Identifier: MIT */
#include "cmd/escape.h"

#include <langinfo.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>
#include <wctype.h>

size_t text_utf8(const char *text, size_t length, uint32_t *code)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	const unsigned char *t = (const unsigned char *)text;
	size_t n;

	if (!length)
		return 0;
	if (t[0] < 0x80) {
		*code = t[0];
		return 1;
	}
	n = t[0] >= 0xf0 ? 4 : t[0] >= 0xe0 ? 3 : 2;
	if (t[0] < 0xc2 || t[0] > 0xf4 || n > length)
		return 0;
	*code = t[0] & (0x7f >> n);
	for (size_t i = 1; i < n; i++) {
		if ((t[i] & 0xc0) != 0x80)
			return 0;
		*code = *code << 6 | (t[i] & 0x3f);
	}
	if (*code < least[n] || *code > 0x10ffff || (*code >= 0xd800 && *code <= 0xdfff))
		return 0;
	return n;
}

static bool locale_is_utf8(void)
{
	static int known = -1;

	if (known < 0)
		known = !strcmp(nl_langinfo(CODESET), "UTF-8");
	return known;
}

/* Marks and overrides of direction, separators and joiners: they print nothing, and change how the rest looks. */
static bool is_format(uint32_t c)
{
	return c == 0xad || c == 0x61c || c == 0x180e || (c >= 0x200b && c <= 0x200f) || (c >= 0x2028 && c <= 0x202e) ||
	       (c >= 0x2060 && c <= 0x206f) || c == 0xfeff || (c >= 0xfff0 && c <= 0xfffc) || c >= 0xe0000;
}

void text_put(FILE *out, const char *text, size_t length, char quote)
{
	static const char named[] = "\aa\bb\tt\nn\vv\ff\rr";
	uint32_t code;

	for (size_t i = 0, n; i < length; i += n) {
		unsigned char c = text[i];
		const char *name;

		n = text_utf8(text + i, length - i, &code);
		if (n > 1 && locale_is_utf8() && code >= 0xa0 && !is_format(code) && iswprint(code)) {
			fwrite(text + i, 1, n, out);
			continue;
		}
		n = 1;
		if (c == '\\' || (quote && c == (unsigned char)quote))
			fprintf(out, "\\%c", c);
		else if (c >= ' ' && c < 0x7f)
			putc(c, out);
		else if (c && c < ' ' && (name = strchr(named, c)))
			fprintf(out, "\\%c", name[1]);
		else
			fprintf(out, "\\x%02x", c);
	}
}

void text_puts(FILE *out, const char *text)
{
	text_put(out, text, strlen(text), 0);
}

size_t text_sentence_length(const char *sentence)
{
	const char *caret = strrchr(sentence, '\n'), *expression = caret;

	if (!caret || strcmp(caret + 1 + strspn(caret + 1, " "), "^"))
		return strlen(sentence);
	while (expression > sentence && *--expression != '\n')
		;
	return *expression == '\n' ? (size_t)(expression - sentence) : strlen(sentence);
}

void text_sentence(FILE *out, const char *sentence)
{
	size_t length = text_sentence_length(sentence);
	const char *expression = sentence + length + 1, *caret;

	text_put(out, sentence, length, 0);
	if (!sentence[length])
		return;
	caret = strchr(expression, '\n');
	fputs("\n    ", out);
	text_put(out, expression, caret - expression, 0);
	fprintf(out, "\n    %s", caret + 1);
}

size_t text_columns(const char *text)
{
	char *buffer = NULL;
	size_t size = 0, columns = 0, plain = 0;
	FILE *out;

	while (text[plain] >= ' ' && text[plain] < 0x7f && text[plain] != '\\')
		plain++;
	if (!text[plain])
		return plain;
	out = open_memstream(&buffer, &size);
	if (!out)
		return strlen(text);
	text_puts(out, text);
	fclose(out);
	for (size_t i = 0; i < size; i++)
		columns += ((unsigned char)buffer[i] & 0xc0) != 0x80;
	free(buffer);
	return columns;
}

void text_pad(FILE *out, const char *text, size_t columns)
{
	size_t have = text_columns(text);

	text_puts(out, text);
	if (have < columns)
		fprintf(out, "%*s", (int)(columns - have), "");
}

json_object *text_json_bytes(const char *text, size_t length)
{
	json_object *object = NULL;
	char *buffer = NULL;
	size_t size = 0, bad = 0;
	uint32_t code;
	FILE *out;

	for (size_t i = 0, n; i < length; i += n ? n : 1)
		bad += !(n = text_utf8(text + i, length - i, &code));
	if (!bad)
		return json_object_new_string_len(text, length);
	out = open_memstream(&buffer, &size);
	if (!out)
		return NULL;
	for (size_t i = 0, n; i < length; i += n ? n : 1) {
		n = text_utf8(text + i, length - i, &code);
		fwrite(n ? text + i : "\xef\xbf\xbd", 1, n ? n : 3, out);
	}
	if (!fclose(out))
		object = json_object_new_string_len(buffer, size);
	free(buffer);
	return object;
}

json_object *text_json(const char *text)
{
	return text ? text_json_bytes(text, strlen(text)) : NULL;
}

void text_put_json(FILE *out, json_object *object)
{
	size_t length, from = 0;
	const char *text = json_object_to_json_string_length(
		object, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE, &length);

	for (size_t i = 0; i < length; i++) {
		unsigned char c = text[i], next = text[i + 1];
		bool high = c == 0xc2 && next >= 0x80 && next < 0xa0;

		if (c != 0x7f && !high)
			continue;
		fwrite(text + from, 1, i - from, out);
		fprintf(out, "\\u%04x", high ? next : c);
		i += high;
		from = i + 1;
	}
	fwrite(text + from, 1, length - from, out);
	json_object_put(object);
}

void text_double(char buffer[32], double value)
{
	for (int digits = 6; digits <= 17; digits++) {
		snprintf(buffer, 32, "%.*g", digits, value);
		if (strtod(buffer, NULL) == value || value != value)
			return;
	}
}
