/* SPDX-License-Identifier: MIT */
#include "runtime/fetch/lex.h"

#include <ctype.h>
#include <errno.h>
#include <locale.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

#define SHOWN_MAX 100 /* of a long expression, around the caret */

static const struct operator operators[] = {
	/* longer ones first */
	{ "||", 1, OPERATOR_OR },    { "&&", 2, OPERATOR_AND }, { "==", 6, FETCH_EQ },    { "!=", 6, FETCH_NE },
	{ "=~", 6, OPERATOR_MATCH }, { "<=", 7, FETCH_LE },     { ">=", 7, OPERATOR_GE }, { "<<", 8, FETCH_SHL },
	{ ">>", 8, FETCH_SHR },      { "|", 3, FETCH_OR },      { "^", 4, FETCH_XOR },    { "&", 5, FETCH_AND },
	{ "<", 7, FETCH_LT },        { ">", 7, OPERATOR_GT },   { "+", 9, FETCH_ADD },    { "-", 9, FETCH_SUB },
	{ "*", 10, FETCH_MUL },      { "/", 10, FETCH_DIV },    { "%", 10, FETCH_MOD },
};

int token_error(const struct tokens *t, size_t at, const char *format, ...)
{
	size_t length = strlen(t->text), from = 0;
	char sentence[512], shown[SHOWN_MAX + 1];
	va_list args;

	va_start(args, format);
	vsnprintf(sentence, sizeof(sentence), format, args);
	va_end(args);
	for (char *c = sentence; *c; c++)
		if (isspace((unsigned char)*c))
			*c = ' ';
	if (length > SHOWN_MAX && at > SHOWN_MAX / 2)
		from = at - SHOWN_MAX / 2;
	snprintf(shown, sizeof(shown), "%s", t->text + from);
	for (char *c = shown; *c; c++)
		if (*c < ' ' || *c > '~')
			*c = isspace((unsigned char)*c) ? ' ' : '?';
	if (from)
		memcpy(shown, "...", 3);
	if (length - from > SHOWN_MAX)
		memcpy(shown + SHOWN_MAX - 3, "...", 3);
	return error_set(EINVAL, "%s\n%s\n%*s^", sentence, shown, (int)(at - from), "");
}

static bool is_name(char c)
{
	return isalnum((unsigned char)c) || c == '_';
}

static int next_quoted(struct tokens *t, struct token *token)
{
	char quote = t->text[token->at];
	size_t end = token->at + 1;

	while (t->text[end] && t->text[end] != quote)
		end += t->text[end] == '\\' && t->text[end + 1] ? 2 : 1;
	if (!t->text[end])
		return token_error(t, token->at, "a %s is not closed", quote == '"' ? "string" : "character");
	token->kind = quote == '"' ? TOKEN_TEXT : TOKEN_CHAR;
	token->length = end + 1 - token->at;
	return 0;
}

/*
 * Length of the number with a point or an exponent at text, "1.5" or "1e-3"; 0 if
 * what is there is an integer or not a number.
 */
static size_t decimal_length(const char *text)
{
	size_t n = strspn(text, "0123456789"), exponent;
	bool is_decimal = n && text[n] == '.' && isdigit((unsigned char)text[n + 1]);

	if (is_decimal)
		n += 1 + strspn(text + n + 1, "0123456789");
	if (n && (text[n] | 32) == 'e') {
		exponent = n + 1 + (text[n + 1] == '-' || text[n + 1] == '+');
		if (isdigit((unsigned char)text[exponent])) {
			is_decimal = true;
			n = exponent + strspn(text + exponent, "0123456789");
		}
	}
	return is_decimal && !is_name(text[n]) ? n : 0;
}

int token_next(struct tokens *t)
{
	struct token token = { .kind = TOKEN_END, .at = t->end };
	int err = 0;

	while (isspace((unsigned char)t->text[token.at]))
		token.at++;
	char c = t->text[token.at];

	if (c == '"' || c == '\'') {
		err = next_quoted(t, &token);
	} else if ((token.length = decimal_length(t->text + token.at)) != 0) {
		token.kind = TOKEN_DECIMAL;
	} else if (is_name(c)) {
		token.kind = isdigit((unsigned char)c) ? TOKEN_NUMBER : TOKEN_NAME;
		while (is_name(t->text[token.at + token.length]))
			token.length++;
	} else if (c) {
		token.kind = TOKEN_OPERATOR;
		token.length = 1;
		for (size_t i = 0; !token.operator&& i<sizeof(operators) / sizeof(*operators); i++)
			if (!strncmp(t->text + token.at, operators[i].text, strlen(operators[i].text))) {
				token.operator= & operators[i];
				token.length = strlen(operators[i].text);
			}
		if (c == '-' && t->text[token.at + 1] == '>') {
			token.operator= NULL;
			token.length = 2;
		} else if (!token.operator&& !strchr("()!~.[]", c)) {
			err = c == '=' ? token_error(t, token.at, "'=' assigns, and a filter compares: write '=='")
			               : token_error(t, token.at, "no filter has this character in it");
		}
	}
	t->next = token;
	t->end = token.at + token.length;
	return err;
}

bool token_is_field(const struct tokens *t)
{
	return token_is(t, '.') || (t->next.kind == TOKEN_OPERATOR && !strncmp(t->text + t->next.at, "->", 2));
}

bool token_is(const struct tokens *t, char c)
{
	return t->next.kind == TOKEN_OPERATOR && t->next.length == 1 && t->text[t->next.at] == c;
}

/* Of a character that names are made of; 36 and more for what is neither digit nor letter. */
static unsigned digit_of(char c)
{
	return isdigit((unsigned char)c) ? c - '0' : (c | 32) - 'a' + 10;
}

/* Takes one character, escaped or not, at *at; its value. A star that means "anything" is -EAGAIN. */
static int unescape(const struct tokens *t, size_t *at, bool pattern)
{
	static const char from[] = "abfnrtv\\'\"?", to[] = "\a\b\f\n\r\t\v\\'\"?";
	const char *text = t->text + *at, *found;
	int value = 0, n = 0;

	if (*text != '\\') {
		++*at;
		if (pattern && *text == '*')
			return -EAGAIN;
		if (pattern && (*text == '?' || *text == '['))
			return token_error(t, *at - 1,
			                   "a pattern knows only a '*' at its end: write '\\%c' for the character",
			                   *text);
		return (unsigned char)*text;
	}
	text++;
	found = memchr(from, *text, sizeof(from) - 1);
	if (found) {
		value = (unsigned char)to[found - from];
		n = 1;
	} else if (pattern && (*text == '*' || *text == '[')) {
		value = *text;
		n = 1;
	} else if (*text == 'x') {
		for (n = 1; n < 3 && isxdigit((unsigned char)text[n]); n++)
			value = value * 16 + digit_of(text[n]);
		n = n > 1 ? n : 0;
	} else {
		while (n < 3 && text[n] >= '0' && text[n] <= '7')
			value = value * 8 + text[n++] - '0';
	}
	if (!n || value > 255)
		return token_error(t, *at, "no such escape sequence is known");
	*at += n + 1;
	return value;
}

int token_number(const struct tokens *t, const struct token *token, uint64_t *value)
{
	const char *digits = t->text + token->at, *end = digits + token->length;
	unsigned base = 10;

	if (*digits == '0' && token->length > 1) {
		base = (digits[1] | 32) == 'x' ? 16 : 8;
		digits += base == 16 ? 2 : 1;
	}
	if (digits == end)
		return token_error(t, token->at, "no digits follow '0x'");
	for (*value = 0; digits < end; digits++) {
		unsigned digit = digit_of(*digits);

		if (digit >= base)
			return token_error(t, digits - t->text, "'%c' is no digit of a number of base %u", *digits,
			                   base);
		if (__builtin_mul_overflow(*value, base, value) || __builtin_add_overflow(*value, digit, value))
			return token_error(t, token->at, "the number does not fit in 64 bits");
	}
	if (*end == '.')
		return token_error(t, end - t->text, "no digits follow the point");
	return 0;
}

int token_decimal(const struct tokens *t, const struct token *token, double *value)
{
	locale_t plain = newlocale(LC_ALL_MASK, "C", (locale_t)0);

	if (!plain)
		return token_error(t, token->at, "out of memory reading the number");
	*value = strtod_l(t->text + token->at, NULL, plain);
	freelocale(plain);
	return 0;
}

int token_char(const struct tokens *t, const struct token *token, int64_t *value)
{
	size_t at = token->at + 1, end = token->at + token->length - 1;
	int c;

	if (at == end)
		return token_error(t, token->at, "there is no character between the quotes");
	c = unescape(t, &at, false);
	if (c < 0)
		return c;
	if (at != end)
		return token_error(t, token->at,
		                   "there is more than one character between the quotes: strings stand in \"\"");
	*value = (signed char)c;
	return 0;
}

int token_text(const struct tokens *t, const struct token *token, bool pattern, struct fetch_literal *literal,
               bool *prefix)
{
	size_t at = token->at + 1, end = token->at + token->length - 1;

	*prefix = false;
	memset(literal, 0, sizeof(*literal));
	while (at < end) {
		size_t start = at;
		int c = unescape(t, &at, pattern);

		if (c == -EAGAIN && at == end) {
			*prefix = true;
			return 0;
		}
		if (c == -EAGAIN)
			return token_error(t, start, "a '*' can only end a pattern: write '\\*' for the character");
		if (c < 0)
			return c;
		if (!c)
			return token_error(t, start, "no string has a NUL byte in it");
		if (literal->length == FETCH_LITERAL_MAX)
			return token_error(t, start, "strings in filters have at most %d bytes", FETCH_LITERAL_MAX);
		literal->bytes[literal->length++] = c;
	}
	return 0;
}
