/* SPDX-License-Identifier: MIT */
/* Tests cmd/escape.c and cmd/json.c: no input makes them print what controls a terminal or breaks JSON. */
#include <check.h>
#include <iconv.h>
#include <locale.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

#include "cmd/escape.h"
#include "cmd/json.h"

static char *put(const char *text, size_t length, char quote)
{
	char *buffer = NULL;
	size_t size;
	FILE *out = open_memstream(&buffer, &size);

	escape_put_n(out, text, length, quote);
	fclose(out);
	return buffer;
}

static void expect(const char *text, const char *wanted)
{
	char *got = put(text, strlen(text), '"');

	ck_assert_str_eq(got, wanted);
	free(got);
}

START_TEST(escapes)
{
	setlocale(LC_CTYPE, "C.UTF-8");
	expect("", "");
	expect("plain ~ text", "plain ~ text");
	expect("a\"b\\c'", "a\\\"b\\\\c'");
	expect("\a\b\t\n\v\f\r", "\\a\\b\\t\\n\\v\\f\\r");
	expect("\x01\x1b\x7f", "\\x01\\x1b\\x7f");
	expect("caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x90\x9b", "caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x90\x9b");
	/* C1 controls, direction marks, line separators, joiners, tags */
	expect("\xc2\x9b", "\\xc2\\x9b");
	expect("\xe2\x80\xae", "\\xe2\\x80\\xae");
	expect("\xe2\x80\xa8", "\\xe2\\x80\\xa8");
	expect("\xe2\x80\x8b", "\\xe2\\x80\\x8b");
	expect("\xf3\xa0\x80\x81", "\\xf3\\xa0\\x80\\x81");
	/* invalid UTF-8: a continuation byte alone, cut, overlong, surrogate, above U+10FFFF */
	expect("\x80", "\\x80");
	expect("\xc3", "\\xc3");
	expect("\xc3(", "\\xc3(");
	expect("\xc0\xaf", "\\xc0\\xaf");
	expect("\xe0\x80\xaf", "\\xe0\\x80\\xaf");
	expect("\xed\xa0\x80", "\\xed\\xa0\\x80");
	expect("\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80");
	expect("\xf8\x88\x80\x80\x80", "\\xf8\\x88\\x80\\x80\\x80");

	char *nul = put("a\0b", 3, 0);

	ck_assert_str_eq(nul, "a\\x00b");
	free(nul);
}
END_TEST

/* Decodes the escapes as C does. Returns the number of bytes. */
static size_t read_back(const char *text, char *bytes)
{
	static const char letters[] = "abtnvfr\\\"'", values[] = "\a\b\t\n\v\f\r\\\"'";
	size_t n = 0;

	while (*text) {
		if (*text != '\\') {
			bytes[n++] = *text++;
		} else if (text[1] == 'x') {
			char hex[3] = { text[2], text[3], 0 };

			bytes[n++] = strtoul(hex, NULL, 16);
			text += 4;
		} else {
			const char *letter = strchr(letters, text[1]);

			ck_assert_ptr_nonnull(letter);
			bytes[n++] = values[letter - letters];
			text += 2;
		}
	}
	return n;
}

/* Returns whether iconv accepts the bytes as UTF-8. */
static bool is_utf8(const char *text, size_t length)
{
	iconv_t cd = iconv_open("UTF-32LE", "UTF-8");
	char in[256], out[2048], *from = in, *to = out;
	size_t left = length, room = sizeof(out), n;

	memcpy(in, text, length);
	n = iconv(cd, &from, &left, &to, &room);
	iconv_close(cd);
	return n != (size_t)-1 && !left;
}

static size_t random_bytes(char *bytes)
{
	static const char *const pieces[] = { "\xc3\xa9",     "\xe2\x82\xac", "\xf0\x9f\x90\x9b", "\x1b[",
		                              "\xc2\x9b",     "\xed\xa0\x80", "\xe2\x80\xae",     "\"",
		                              "\\",           "abc",          "\xf4\x8f\xbf\xbf", "\x7f",
		                              "\xe6\x97\xa5", "a\xcc\x81" };
	size_t n = 0, parts = rand() % 12;

	for (size_t i = 0; i < parts; i++) {
		const char *piece = pieces[rand() % (sizeof(pieces) / sizeof(*pieces))];

		if (rand() % 3) {
			strcpy(bytes + n, piece);
			n += strlen(piece) - (rand() % 8 == 0);
		} else {
			bytes[n++] = rand();
		}
	}
	return n;
}

START_TEST(random_text)
{
	const char *const locales[] = { "C", "C.UTF-8" };
	char bytes[256], back[256];
	wchar_t wide[1100];

	/* escape.c reads the code set once. check(3) runs each locale in a process of its own. */
	setlocale(LC_CTYPE, locales[_i]);
	srand(1);
	for (int round = 0; round < 30000; round++) {
		size_t n = random_bytes(bytes), columns;
		char *text = put(bytes, n, '"');

		for (const char *c = text; *c; c++)
			ck_assert_msg((unsigned char)*c >= ' ' && *c != 0x7f && (_i || (unsigned char)*c < 0x80), "%s",
			              text);
		ck_assert(is_utf8(text, strlen(text)) || strlen(text) > 250);
		ck_assert_uint_eq(read_back(text, back), n);
		ck_assert_mem_eq(back, bytes, n);
		free(text);

		bytes[n] = 0;
		if (strlen(bytes) == n) {
			columns = escape_columns(bytes);
			text = put(bytes, n, 0);
			ck_assert(mbstowcs(wide, text, sizeof(wide) / sizeof(*wide)) < sizeof(wide) / sizeof(*wide));
			ck_assert_int_eq((int)columns, wcswidth(wide, sizeof(wide) / sizeof(*wide)));
			free(text);
		}
	}
}
END_TEST

/* Returns JSON_TOKENER_STRICT, or 0 with json-c 0.18: its strict mode rejects every byte above 0x7f of a string. */
static int strict_if_it_works(void)
{
	struct json_tokener *tokener = json_tokener_new();
	json_object *parsed;

	json_tokener_set_flags(tokener, JSON_TOKENER_STRICT);
	parsed = json_tokener_parse_ex(tokener, "\"\xc3\xa9\"", 5);
	json_tokener_free(tokener);
	if (!parsed)
		puts("skipped: strict JSON: this json-c rejects all strings that are not ASCII");
	return json_object_put(parsed) ? JSON_TOKENER_STRICT : 0;
}

START_TEST(random_json)
{
	int strict = strict_if_it_works();
	char bytes[256];

	setlocale(LC_CTYPE, "C.UTF-8");
	srand(2);
	for (int round = 0; round < 30000; round++) {
		size_t n = random_bytes(bytes), size;
		bool valid = is_utf8(bytes, n);
		char *text = NULL;
		FILE *out = open_memstream(&text, &size);
		struct json_tokener *tokener = json_tokener_new();
		json_object *parsed;

		json_tokener_set_flags(tokener, strict | JSON_TOKENER_VALIDATE_UTF8);
		json_print(out, json_text_n(bytes, n));
		fclose(out);
		for (const char *c = text; *c; c++)
			ck_assert_msg((unsigned char)*c >= ' ' && *c != 0x7f &&
			                      !(c[0] == '\xc2' && (unsigned char)c[1] < 0xa0),
			              "%s", text);
		parsed = json_tokener_parse_ex(tokener, text, size + 1);
		ck_assert_msg(json_tokener_get_error(tokener) == json_tokener_success, "%s", text);
		if (valid) {
			ck_assert_int_eq(json_object_get_string_len(parsed), n);
			ck_assert_mem_eq(json_object_get_string(parsed), bytes, n);
		} else {
			ck_assert_ptr_nonnull(memmem(json_object_get_string(parsed), json_object_get_string_len(parsed),
			                             "\xef\xbf\xbd", 3));
		}
		json_object_put(parsed);
		json_tokener_free(tokener);
		free(text);
	}
}
END_TEST

START_TEST(doubles)
{
	char text[32];
	union {
		uint64_t bits;
		double value;
	} u;

	json_format_double(text, 0.1);
	ck_assert_str_eq(text, "0.1");
	json_format_double(text, 1e300 * 10);
	ck_assert_str_eq(text, "1e+301");
	json_format_double(text, -0.0);
	ck_assert_str_eq(text, "-0");
	srand(3);
	for (int i = 0; i < 100000; i++) {
		u.bits = (uint64_t)rand() << 42 ^ (uint64_t)rand() << 21 ^ rand();
		json_format_double(text, u.value);
		ck_assert(u.value != u.value || strtod(text, NULL) == u.value);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("escape");
	TCase *tcase = tcase_create("escape");
	SRunner *runner;
	int failed;

	tcase_set_timeout(tcase, 300);
	tcase_add_test(tcase, escapes);
	tcase_add_loop_test(tcase, random_text, 0, 2);
	tcase_add_test(tcase, random_json);
	tcase_add_test(tcase, doubles);
	suite_add_tcase(suite, tcase);
	runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed != 0;
}
