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

#define SHOWN_MAX 100 /* characters of a long expression that an error message shows around the caret */

static const struct binary_operator operators[] = {
	/* an operator stands before its own prefixes */
	{ "||", 1, OPERATOR_OR },    { "&&", 2, OPERATOR_AND }, { "==", 6, FETCH_EQ },    { "!=", 6, FETCH_NE },
	{ "=~", 6, OPERATOR_MATCH }, { "<=", 7, FETCH_LE },     { ">=", 7, OPERATOR_GE }, { "<<", 8, FETCH_SHL },
	{ ">>", 8, FETCH_SHR },      { "|", 3, FETCH_OR },      { "^", 4, FETCH_XOR },    { "&", 5, FETCH_AND },
	{ "<", 7, FETCH_LT },        { ">", 7, OPERATOR_GT },   { "+", 9, FETCH_ADD },    { "-", 9, FETCH_SUB },
	{ "*", 10, FETCH_MUL },      { "/", 10, FETCH_DIV },    { "%", 10, FETCH_MOD },
};

int token_error(const struct tokens *t, size_t at, const char *format, ...)
{
	size_t length = strlen(t->text), from = 0;
	char message[512], shown[SHOWN_MAX + 1];
	va_list args;

	va_start(args, format);
	vsnprintf(message, sizeof(message), format, args);
	va_end(args);
	for (char *c = message; *c; c++)
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
	return error_set(EINVAL, "%s\n%s\n%*s^", message, shown, (int)(at - from), "");
}

static bool is_name_char(char c)
{
	return isalnum((unsigned char)c) || c == '_';
}

static int quoted_read(const struct tokens *t, struct token *token)
{
	char quote = t->text[token->at];
	size_t end = token->at + 1;

	while (t->text[end] && t->text[end] != quote)
		end += t->text[end] == '\\' && t->text[end + 1] ? 2 : 1;
	if (!t->text[end])
		return token_error(t, token->at, "unterminated %s", quote == '"' ? "string" : "character constant");
	token->kind = quote == '"' ? TOKEN_TEXT : TOKEN_CHAR;
	token->length = end + 1 - token->at;
	return 0;
}

/* Returns the length of the number with a decimal point or an exponent at text, or 0. */
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
	return is_decimal && !is_name_char(text[n]) ? n : 0;
}

static const struct binary_operator *operator_find(const char *text)
{
	for (size_t i = 0; i < sizeof(operators) / sizeof(*operators); i++)
		if (!strncmp(text, operators[i].text, strlen(operators[i].text)))
			return &operators[i];
	return NULL;
}

static int operator_read(const struct tokens *t, struct token *token)
{
	const char *text = t->text + token->at;

	token->kind = TOKEN_OPERATOR;
	if (!strncmp(text, "->", 2)) {
		token->length = 2;
		return 0;
	}
	token->binary = operator_find(text);
	token->length = token->binary ? strlen(token->binary->text) : 1;
	if (token->binary || strchr("()!~.[],", *text))
		return 0;
	return *text == '=' ? token_error(t, token->at, "'=' is assignment; use '==' to compare")
	                    : token_error(t, token->at, "invalid character");
}

static int token_read(const struct tokens *t, struct token *token)
{
	char c = t->text[token->at];

	if (!c)
		return 0;
	if (c == '"' || c == '\'')
		return quoted_read(t, token);
	token->length = decimal_length(t->text + token->at);
	if (token->length) {
		token->kind = TOKEN_DECIMAL;
		return 0;
	}
	if (!is_name_char(c))
		return operator_read(t, token);
	token->kind = isdigit((unsigned char)c) ? TOKEN_NUMBER : TOKEN_NAME;
	while (is_name_char(t->text[token->at + token->length]))
		token->length++;
	return 0;
}

int token_next(struct tokens *t)
{
	struct token token = { .kind = TOKEN_END, .at = t->end };
	int err;

	while (isspace((unsigned char)t->text[token.at]))
		token.at++;
	err = token_read(t, &token);
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

/* Returns the value of a digit in base 36, 36 or more if c is not a digit or letter. c is a character of a name. */
static unsigned digit_value(char c)
{
	return isdigit((unsigned char)c) ? c - '0' : (c | 32) - 'a' + 10;
}

/* Reads what follows the backslash at *at and advances *at. Returns the character, or -EINVAL. */
static int escape_read(const struct tokens *t, size_t *at, bool pattern)
{
	static const char from[] = "abfnrtv\\'\"?", to[] = "\a\b\f\n\r\t\v\\'\"?";
	const char *text = t->text + *at + 1, *found = memchr(from, *text, sizeof(from) - 1);
	int value = 0, n = 0;

	if (found) {
		value = (unsigned char)to[found - from];
		n = 1;
	} else if (pattern && (*text == '*' || *text == '[')) {
		value = *text;
		n = 1;
	} else if (*text == 'x') {
		for (n = 1; n < 3 && isxdigit((unsigned char)text[n]); n++)
			value = value * 16 + digit_value(text[n]);
		n = n > 1 ? n : 0;
	} else {
		while (n < 3 && text[n] >= '0' && text[n] <= '7')
			value = value * 8 + text[n++] - '0';
	}
	if (!n || value > 255)
		return token_error(t, *at, "unknown escape sequence");
	*at += n + 1;
	return value;
}

/* Reads a character, escaped or not, and advances *at. Returns it, -EINVAL, or -EAGAIN for the wildcard of a pattern. */
static int char_read(const struct tokens *t, size_t *at, bool pattern)
{
	char c = t->text[*at];

	if (c == '\\')
		return escape_read(t, at, pattern);
	++*at;
	if (pattern && c == '*')
		return -EAGAIN;
	if (pattern && (c == '?' || c == '['))
		return token_error(t, *at - 1,
		                   "'%c' is not supported in a pattern: write '\\%c' to match the character", c, c);
	return (unsigned char)c;
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
		return token_error(t, token->at, "expected digits after '0x'");
	for (*value = 0; digits < end; digits++) {
		unsigned digit = digit_value(*digits);

		if (digit >= base)
			return token_error(t, digits - t->text, "invalid digit '%c' in a number of base %u", *digits,
			                   base);
		if (__builtin_mul_overflow(*value, base, value) || __builtin_add_overflow(*value, digit, value))
			return token_error(t, token->at, "the number does not fit in 64 bits");
	}
	if (*end == '.')
		return token_error(t, end - t->text, "expected digits after the decimal point");
	return 0;
}

int token_decimal(const struct tokens *t, const struct token *token, double *value)
{
	locale_t plain = newlocale(LC_ALL_MASK, "C", (locale_t)0);

	if (!plain)
		return error_nomem();
	*value = strtod_l(t->text + token->at, NULL, plain);
	freelocale(plain);
	return 0;
}

int token_char(const struct tokens *t, const struct token *token, int64_t *value)
{
	size_t at = token->at + 1, end = token->at + token->length - 1;
	int c;

	if (at == end)
		return token_error(t, token->at, "empty character constant");
	c = char_read(t, &at, false);
	if (c < 0)
		return c;
	if (at != end)
		return token_error(t, token->at,
		                   "more than one character in a character constant: write strings in double quotes");
	*value = (signed char)c;
	return 0;
}

int token_text(const struct tokens *t, const struct token *token, bool pattern, struct fetch_literal *literal,
               enum match *match)
{
	size_t at = token->at + 1, end = token->at + token->length - 1;

	*match = MATCH_ALL;
	memset(literal, 0, sizeof(*literal));
	while (at < end) {
		size_t start = at;
		int c = char_read(t, &at, pattern);

		if (c == -EAGAIN && at == end) {
			*match |= MATCH_PREFIX;
			return 0;
		}
		if (c == -EAGAIN && start == token->at + 1) {
			*match |= MATCH_SUFFIX;
			continue;
		}
		if (c == -EAGAIN)
			return token_error(t, start,
			                   "'*' is only supported at the beginning and at the end of a pattern: write "
			                   "'\\*' to match the character");
		if (c < 0)
			return c;
		if (!c)
			return token_error(t, start, "a string cannot contain a NUL byte");
		if (literal->length == FETCH_LITERAL_MAX)
			return token_error(t, start, "a string in a filter has at most %d bytes", FETCH_LITERAL_MAX);
		literal->bytes[literal->length++] = c;
	}
	return 0;
}
