/* SPDX-License-Identifier: MIT */
/*
 * Writes the signatures of probes from the names and types of their notes.
 *
 * The name in a C declaration is at the innermost declarator: after the first parenthesis that opens a pointer, as in
 * "int (*)(int)", and after the pointers and qualifiers there. Other types have the name at their end. An array type of an
 * argument is written as a pointer. Parentheses in template arguments, std::function<int (*)(int)>, do not count.
 */
#include "sdt/signature.h"

#include "sdt/operand.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Returns the text after the word, NULL if the text does not start with it. */
static const char *declarator_skip_word(const char *text, const char *word)
{
	size_t n = strlen(word);

	return !strncmp(text, word, n) && !isalnum((unsigned char)text[n]) && text[n] != '_' ? text + n : NULL;
}

/* Returns the text after "*", "&" or "Class::*" and the qualifiers that follow, NULL if no pointer starts here. */
static const char *declarator_skip_pointers(const char *text)
{
	static const char *const words[] = { "const", "volatile", "restrict", "__restrict", "__restrict__" };
	const char *scope = text, *next;

	while (isalnum((unsigned char)*scope) || *scope == '_' || *scope == ':')
		scope++;
	if (scope - text > 2 && scope[-1] == ':' && scope[-2] == ':')
		text = scope;
	if (*text != '*' && *text != '&' && *text != '^')
		return NULL;
	for (;;) {
		while (*text == '*' || *text == '&' || *text == '^' || (*text == ' ' && text[1] != '('))
			text++;
		next = NULL;
		for (size_t i = 0; !next && i < sizeof(words) / sizeof(*words); i++)
			next = declarator_skip_word(text, words[i]);
		if (!next)
			return text;
		text = next;
	}
}

bool signature_is_char_pointer(const char *type)
{
	const char *rest = declarator_skip_word(type, "char");

	while (rest && *rest == ' ')
		rest++;
	if (!rest || *rest != '*' || strchr(rest + 1, '*'))
		return false;
	rest = declarator_skip_pointers(rest);
	return rest && !*rest;
}

/* Returns the position of the name in a type, NULL if it is at the end. */
static const char *declarator_find(const char *type)
{
	const char *place = NULL, *next;
	int depth = 0;

	for (const char *c = type; *c; c++) {
		depth += *c == '<';
		depth -= *c == '>' && depth > 0;
		if (*c != '(' || depth)
			continue;
		next = declarator_skip_pointers(c + 1);
		if (!next)
			return place;
		place = next;
		while (*next == ' ')
			next++;
		if (*next != '(')
			return place;
		c = next - 1;
	}
	return place;
}

/* Returns the declaration of a name of this type in C, NULL if memory allocation fails. */
static char *declarator_write(struct arena *arena, const char *type, const char *name)
{
	const char *place = declarator_find(type), *array = strchr(type, '['), *rest;
	size_t n = strlen(type);

	if (place)
		return arena_printf(arena, "%.*s%s%s%s", (int)(place - type), type,
		                    isalnum((unsigned char)place[-1]) || place[-1] == '_' ? " " : "", name, place);
	if (array && array > type && type[n - 1] == ']' && !strchr(type, '<')) {
		rest = strchr(array, ']') + 1;
		n = (size_t)(array - type);
		while (n && type[n - 1] == ' ')
			n--;
		if (*rest == '[')
			return arena_printf(arena, "%.*s (*%s)%s", (int)n, type, name, rest);
		return arena_printf(arena, "%.*s%s*%s", (int)n, type, n && type[n - 1] == '*' ? "" : " ", name);
	}
	return arena_printf(arena, "%s%s%s", type, !n || strchr("*&", type[n - 1]) ? "" : " ", name);
}

static bool arg_fill(struct arena *arena, struct pp_arg *arg, const char *text, size_t number, const char *name)
{
	const char *colon = strchr(text, ':');

	arg->class = *text;
	arg->type = (char *)colon + 1;
	arg->name = name                ? (char *)name
	            : colon == text + 1 ? arena_printf(arena, "arg%zu", number)
	                                : arena_strndup(arena, text + 1, (size_t)(colon - text - 1));
	return arg->name != NULL;
}

int signature_named(struct pp_image *image, struct pp_probe *probe, const char *strings, size_t n, const char *name)
{
	struct arena *arena = &image->arena;
	struct pp_arg *args = arena_alloc(arena, (n + 1) * sizeof(*args));
	char **parts = calloc(n + 1, sizeof(*parts));
	size_t length = sizeof("()"), nargs = 0;
	char *text = NULL, *to;

	for (size_t i = 0; args && parts && i < n; i++, strings += strlen(strings) + 1) {
		if (!arg_fill(arena, &args[nargs], strings, i, name))
			goto out;
		parts[i] = declarator_write(arena, args[nargs].type, args[nargs].name);
		if (!parts[i])
			goto out;
		length += strlen(parts[i]) + strlen(", ");
		nargs += args[nargs].class != PPN_CLASS_NONE;
	}
	if (!args || !parts)
		goto out;
	text = to = arena_alloc(arena, length);
	if (!text)
		goto out;
	*to++ = '(';
	for (size_t i = 0; i < n; i++)
		to += sprintf(to, "%s%s", i ? ", " : "", parts[i]);
	*to = ')';
	probe->signature = text;
	probe->args = args;
	probe->nargs = nargs;
out:
	free(parts);
	return text ? 0 : -ENOMEM;
}

int signature_unnamed(struct pp_image *image, struct pp_probe *probe, size_t n)
{
	struct pp_arg *args = image->unnamed;

	if (!args) { /* shared by all probes */
		args = arena_alloc(&image->arena, OPERANDS_MAX * sizeof(*args));
		for (size_t i = 0; args && i < OPERANDS_MAX; i++) {
			args[i] = (struct pp_arg){ arena_printf(&image->arena, "arg%zu", i), "", PPN_CLASS_NONE, NULL,
				                   0 };
			if (!args[i].name)
				args = NULL;
		}
		image->unnamed = args;
	}
	probe->args = args;
	probe->nargs = args ? n : 0;
	return args ? 0 : -ENOMEM;
}
