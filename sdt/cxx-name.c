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

/* Returns the length of a probe's name, or of a pattern, without __entry, __return or __unwind. */
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

/* Writes the pattern in the form of the plugin's names. Returns false if it is too long. */
static bool probe_pattern(const char *pattern, char to[TEXT_MAX])
{
	const char *end = parameters_find(pattern), *event = "";
	size_t n = 0;
	int depth = 0;

	if (end)
		event = end + name_function_length(end);
	else
		end = pattern + strlen(pattern);
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
	snprintf(to + n, 32, "%s", event);
	return n < TEXT_MAX - 32;
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
	if (plain < length && !fnmatch(glob, function, 0))
		return true;
	/* add(int)__entry can mean any overload. The caller compares the parameters. */
	snprintf(function + plain, sizeof(function) - plain, "%s", name + length);
	return cxx_has_parameters(pattern) && !fnmatch(glob, function, 0);
}

/* ---- demangled names ---- */

static bool is_identifier_char(char c)
{
	return isalnum((unsigned char)c) || c == '_';
}

/* The source and the destination of types_copy(). */
struct types {
	const char *from, *end;
	char *to;
	size_t n;
};

static void types_put_const(struct types *t, bool *is_const)
{
	if (*is_const) {
		memcpy(t->to + t->n, "const", 5);
		t->n += 5;
	}
	*is_const = false;
}

/*
 * Copies types that are separated by commas, up to the closing bracket or the end. Removes blanks and writes const after the type:
 * "const char *, a::b<int>" becomes "charconst*,a::b<int>". Returns false if brackets are nested too deeply.
 */
static bool types_copy(struct types *t, unsigned depth)
{
	bool is_const = false, begins = true;

	if (depth > 50)
		return false;
	for (; t->from < t->end; t->from++) {
		char c = *t->from;

		if (begins && t->end - t->from > 6 && !strncmp(t->from, "const ", 6)) {
			is_const = true;
			t->from += 5;
			continue;
		}
		if (c == ' ')
			continue;
		if (strchr("*&(),>", c))
			types_put_const(t, &is_const);
		if (c == ')' || c == '>')
			return true;
		begins = c == ',';
		t->to[t->n++] = c;
		if (c != '(' && c != '<')
			continue;
		t->from++;
		if (!types_copy(t, depth + 1))
			return false;
		if (t->from == t->end)
			return true;
		t->to[t->n++] = *t->from;
	}
	types_put_const(t, &is_const);
	return true;
}

/* Returns the length of a text from its first character, '<', to the bracket that closes it, or 0 if there is none. */
static size_t brackets_length(const char *text)
{
	int depth = 0;

	for (const char *c = text; *c; c++) {
		depth += (*c == '<') - (*c == '>');
		if (!depth)
			return (size_t)(c - text + 1);
	}
	return 0;
}

/* Returns the length of the default argument of a standard template that the text begins with, or 0. */
static size_t default_argument_length(const char *text)
{
	static const char *const defaults[] = { ",std::allocator<", ",std::char_traits<", ",std::less<",
		                                ",std::hash<",      ",std::equal_to<",    ",std::default_delete<" };

	for (size_t i = 0; i < sizeof(defaults) / sizeof(*defaults); i++) {
		size_t n = strlen(defaults[i]), rest;

		if (strncmp(text, defaults[i], n))
			continue;
		rest = brackets_length(text + n - 1);
		return rest ? n - 1 + rest : 0;
	}
	return 0;
}

/* Shortens types of the standard library to the names that programmers use: std::string, std::vector<int>. */
static void standard_shorten(char *text)
{
	static const struct {
		const char *from, *to;
	} names[] = {
		{ "std::basic_string<char>", "std::string" },
		{ "std::basic_string_view<char>", "std::string_view" },
	};
	size_t n = 0;

	for (const char *c = text; *c;) {
		size_t skipped = default_argument_length(c);

		if (!strncmp(c, "std::__cxx11::", 14)) {
			memcpy(text + n, "std::", 5);
			n += 5;
			c += 14;
		} else if (skipped) {
			c += skipped;
		} else {
			text[n++] = *c++;
		}
	}
	text[n] = 0;
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		size_t from = strlen(names[i].from), to = strlen(names[i].to);

		for (char *at = text; (at = strstr(at, names[i].from)); at += to) {
			memcpy(at, names[i].to, to);
			memmove(at + to, at + from, strlen(at + from) + 1);
		}
	}
}

/*
 * Writes parameters without blanks, with const after the type and without default arguments of the standard library's
 * templates. Returns false if they are too long.
 */
static bool parameters_write(const char *text, const char *end, char to[TEXT_MAX])
{
	struct types types = { .from = text, .end = end, .to = to };

	if (end - text >= TEXT_MAX / 2)
		return false;
	while (types.from < end) { /* a bracket that was not opened is a character like others */
		if (!types_copy(&types, 0))
			return false;
		if (types.from < end)
			to[types.n++] = *types.from++;
	}
	to[types.n] = 0;
	standard_shorten(to);
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

/* Returns the length of a demangled name without the mark of a clone, as in " [clone .part.0]". */
static size_t clone_find(const char *name)
{
	const char *clone = strstr(name, " [clone");

	return clone ? (size_t)(clone - name) : strlen(name);
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
	return parameters_write(glob_end, glob_end + name_function_length(glob_end), wanted) &&
	       parameters_write(end, end + clone_find(end), parameters) && !fnmatch(wanted, parameters, 0);
}
