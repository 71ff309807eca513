/* SPDX-License-Identifier: MIT */
#include "cmd/escape.h"

#include <langinfo.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>
#include <wctype.h>

#include "cmd/alloc.h"

size_t utf8_decode(const char *text, size_t length, uint32_t *code)
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

/*
 * Returns whether the character is invisible and changes how the text around it looks: direction marks and overrides,
 * separators and joiners.
 */
static bool is_format_character(uint32_t c)
{
	return c == 0xad || c == 0x61c || c == 0x180e || (c >= 0x200b && c <= 0x200f) || (c >= 0x2028 && c <= 0x202e) ||
	       (c >= 0x2060 && c <= 0x206f) || c == 0xfeff || (c >= 0xfff0 && c <= 0xfffc) || c >= 0xe0000;
}

void escape_put_n(FILE *out, const char *text, size_t length, char quote)
{
	static const char named[] = "\aa\bb\tt\nn\vv\ff\rr";
	uint32_t code;

	for (size_t i = 0, n; i < length; i += n) {
		unsigned char c = text[i];
		const char *name;

		n = utf8_decode(text + i, length - i, &code);
		if (n > 1 && locale_is_utf8() && code >= 0xa0 && !is_format_character(code) && iswprint(code)) {
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

void escape_put(FILE *out, const char *text)
{
	escape_put_n(out, text, strlen(text), 0);
}

size_t escape_message_length(const char *message)
{
	const char *caret = strrchr(message, '\n'), *expression = caret;

	if (!caret || strcmp(caret + 1 + strspn(caret + 1, " "), "^"))
		return strlen(message);
	while (expression > message && *--expression != '\n')
		;
	return *expression == '\n' ? (size_t)(expression - message) : strlen(message);
}

void escape_put_message(FILE *out, const char *message)
{
	size_t length = escape_message_length(message);
	const char *expression = message + length + 1, *caret;

	escape_put_n(out, message, length, 0);
	if (!message[length])
		return;
	caret = strchr(expression, '\n');
	fputs("\n    ", out);
	escape_put_n(out, expression, caret - expression, 0);
	fprintf(out, "\n    %s", caret + 1);
}

size_t escape_printed_columns(const char *text, size_t size)
{
	size_t columns = 0;

	for (size_t i = 0, n; i < size; i += n) {
		uint32_t code = 0;
		int width;

		n = utf8_decode(text + i, size - i, &code);
		width = n ? wcwidth((wchar_t)code) : 1;
		n += !n;
		columns += width > 0 ? (size_t)width : 0;
	}
	return columns;
}

size_t escape_columns(const char *text)
{
	char *buffer = NULL;
	size_t size = 0, columns, plain = 0;
	FILE *out;

	while (text[plain] >= ' ' && text[plain] < 0x7f && text[plain] != '\\')
		plain++;
	if (!text[plain])
		return plain;
	out = xmemstream(&buffer, &size);
	escape_put(out, text);
	xmemstream_close(out);
	columns = escape_printed_columns(buffer, size);
	free(buffer);
	return columns;
}

void escape_put_padded(FILE *out, const char *text, size_t columns)
{
	size_t used = escape_columns(text);

	escape_put(out, text);
	if (used < columns)
		fprintf(out, "%*s", (int)(columns - used), "");
}
