/* SPDX-License-Identifier: MIT */
#include "sdt/cxx-name.h"

#include <ctype.h>
#include <fnmatch.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#define TEXT_MAX 2048 /* bytes of a name; longer ones do not match */

const char *pattern_colon(const char *pattern)
{
	for (const char *c = strchr(pattern, ':'); c; c = strchr(c + 1, ':')) {
		if (c[1] != ':')
			return c;
		c++;
	}
	return NULL;
}

bool cxx_is_pattern(const char *name)
{
	return strstr(name, "::") != NULL;
}

/* Returns the parenthesis that begins the parameters, NULL if it is missing. That of operator() does not count. */
static const char *parameters_find(const char *name)
{
	const char *at = strchr(name, '(');

	if (at && at - name >= 8 && !strncmp(at - 8, "operator", 8) && at[1] == ')')
		at = strchr(at + 2, '(');
	/* (anonymous namespace)::f */
	while (at && !strncmp(at, "(anonymous namespace)", 21))
		at = strchr(at + 1, '(');
	return at;
}

bool cxx_has_parameters(const char *pattern)
{
	return parameters_find(pattern) != NULL;
}

/* ---- names of probes ---- */

static const struct {
	const char *sign, *word;
} operators[] = {
	{ "==", "equal" },         { "!=", "unequal" },     { "<=", "at_most" },     { ">=", "at_least" },
	{ "<<", "shift_left" },    { ">>", "shift_right" }, { "&&", "and" },         { "||", "or" },
	{ "++", "increment" },     { "--", "decrement" },   { "+=", "plus_assign" }, { "-=", "minus_assign" },
	{ "/=", "divide_assign" }, { "->", "arrow" },       { "()", "call" },        { "=", "assign" },
	{ "<", "less" },           { ">", "greater" },      { "+", "plus" },         { "-", "minus" },
	{ "/", "divide" },         { "%", "modulo" },       { "&", "bit_and" },      { "|", "bit_or" },
	{ "^", "bit_xor" },        { "!", "not" },          { "~", "bit_not" },
};

/* Returns the plugin's word for the operator whose sign is all of the text; NULL if it is not one. */
static const char *operator_word(const char *sign, size_t length)
{
	for (size_t i = 0; i < sizeof(operators) / sizeof(*operators); i++)
		if (strlen(operators[i].sign) == length && !strncmp(operators[i].sign, sign, length))
			return operators[i].word;
	return NULL;
}

/* Writes the pattern in the form of the plugin's names. Returns false if it is too long. */
static bool probe_pattern(const char *pattern, char to[TEXT_MAX])
{
	const char *end = parameters_find(pattern);
	size_t n = 0;
	int depth = 0;

	end = end ? end : pattern + strlen(pattern);
	for (const char *c = pattern; c < end && n < TEXT_MAX - 32; c++) {
		const char *word = !strncmp(c, "operator", 8) ? operator_word(c + 8, (size_t)(end - c - 8)) : NULL;

		if (word) {
			n += (size_t)snprintf(to + n, 32, "operator_%s", word);
			break;
		}
		if (!strncmp(c, "(anonymous namespace)", 21)) {
			n += (size_t)snprintf(to + n, 32, "anonymous");
			c += 20;
			continue;
		}
		depth += (*c == '<') - (*c == '>' && depth > 0);
		if (depth || *c == '>' || *c == ' ')
			continue;
		if (c[0] == ':' && c[1] == ':' && c[2] == '~') { /* Cart::~Cart */
			n += (size_t)snprintf(to + n, 32, "_dtor");
			break;
		}
		if (c[0] == ':' && c[1] == ':') {
			to[n++] = '_';
			to[n++] = '_';
			c++;
			continue;
		}
		to[n++] = *c;
	}
	to[n] = 0;
	return n < TEXT_MAX - 32;
}

/* Returns the length of a probe's name without __entry, __return or __unwind. */
static size_t name_function_length(const char *name)
{
	static const char *const events[] = { "__entry", "__return", "__unwind" };
	size_t length = strlen(name);

	for (size_t i = 0; i < sizeof(events) / sizeof(*events); i++) {
		size_t n = strlen(events[i]);

		if (length > n && !strcmp(name + length - n, events[i]))
			return length - n;
	}
	return length;
}

/* Returns the length without the number of an overload, as in add_2. */
static size_t name_plain_length(const char *name, size_t length)
{
	size_t n = length;

	while (n && isdigit((unsigned char)name[n - 1]))
		n--;
	return n < length && n > 1 && name[n - 1] == '_' && name[n - 2] != '_' ? n - 1 : length;
}

bool cxx_matches_probe(const char *pattern, const char *name)
{
	char glob[TEXT_MAX], function[TEXT_MAX];
	size_t length = name_function_length(name), plain = name_plain_length(name, length);

	if (strlen(name) >= sizeof(function) || !probe_pattern(pattern, glob))
		return false;
	if (!fnmatch(glob, name, 0))
		return true;
	snprintf(function, sizeof(function), "%.*s", (int)length, name);
	if (!fnmatch(glob, function, 0))
		return true;
	function[plain] = 0;
	return plain < length && !fnmatch(glob, function, 0);
}

/* ---- demangled names ---- */

static bool is_identifier_char(char c)
{
	return isalnum((unsigned char)c) || c == '_';
}

/* Copies one parameter, "const char *" as "charconst*". Returns how many bytes were written. */
static size_t parameter_copy(const char *text, size_t length, char *to)
{
	size_t n = 0;
	bool is_const;

	while (length && *text == ' ')
		text++, length--;
	is_const = length > 6 && !strncmp(text, "const ", 6);
	if (is_const)
		text += 6, length -= 6;
	for (size_t i = 0; i < length; i++) {
		bool ends = text[i] == '*' || text[i] == '&';

		if (is_const && ends) {
			memcpy(to + n, "const", 5);
			n += 5;
			is_const = false;
		}
		if (text[i] != ' ')
			to[n++] = text[i];
	}
	if (is_const) {
		memcpy(to + n, "const", 5);
		n += 5;
	}
	return n;
}

/* Writes parameters without blanks and with const after the type. Returns false if they are too long. */
static bool parameters_write(const char *text, char to[TEXT_MAX])
{
	const char *clone = strstr(text, " [clone"); /* the compiler's, of the same function */
	size_t n = 0, from = 0, length = clone ? (size_t)(clone - text) : strlen(text);
	int depth = 0;

	if (length >= TEXT_MAX / 2)
		return false;
	for (size_t i = 0; i <= length; i++) {
		bool opens = text[i] == '(' || text[i] == '<', closes = text[i] == ')' || text[i] == '>';
		bool ends =
			i == length || (text[i] == ',' && depth == 1) || (closes && depth == 1) || (opens && !depth);

		depth += opens;
		depth -= closes && depth > 0;
		if (!ends)
			continue;
		n += parameter_copy(text + from, i - from, to + n);
		if (i < length)
			to[n++] = text[i];
		from = i + 1;
	}
	to[n] = 0;
	return true;
}

/* Returns the name without the result type that an instance of a template has before it. */
static const char *result_skip(const char *name, const char *end)
{
	const char *from = name;
	int depth = 0;

	for (const char *at = name; at < end; at++) {
		if (!strncmp(at, "operator", 8) && (at == name || !is_identifier_char(at[-1])))
			break;
		depth += (*at == '<' || *at == '(') - (*at == '>' || *at == ')');
		if (*at == ' ' && !depth)
			from = at + 1;
	}
	return from;
}

/* Copies a name without the arguments of templates, unless the pattern has some. */
static void name_write(const char *name, const char *end, bool with_arguments, char to[TEXT_MAX])
{
	size_t n = 0;
	int depth = 0;

	for (const char *c = name; c < end && n < TEXT_MAX - 1; c++) {
		bool is_operator = c - name >= 8 && !strncmp(c - 8, "operator", 8);

		depth += *c == '<' && !is_operator;
		if ((!depth || with_arguments) && *c != ' ')
			to[n++] = *c;
		depth -= *c == '>' && depth > 0;
	}
	to[n] = 0;
}

bool cxx_matches_demangled(const char *glob, const char *demangled)
{
	const char *glob_end = parameters_find(glob), *end = parameters_find(demangled);
	char wanted[TEXT_MAX], name[TEXT_MAX], parameters[TEXT_MAX];
	bool with_arguments = memchr(glob, '<', glob_end ? (size_t)(glob_end - glob) : strlen(glob)) != NULL;

	if (!end)
		end = demangled + strlen(demangled);
	name_write(glob, glob_end ? glob_end : glob + strlen(glob), true, wanted);
	name_write(result_skip(demangled, end), end, with_arguments, name);
	if (fnmatch(wanted, name, 0))
		return false;
	if (!glob_end)
		return true;
	return parameters_write(glob_end, wanted) && parameters_write(end, parameters) &&
	       !fnmatch(wanted, parameters, 0);
}
