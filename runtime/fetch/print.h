/* SPDX-License-Identifier: MIT */
#ifndef RUNTIME_FETCH_PRINT_H
#define RUNTIME_FETCH_PRINT_H

#include "base/arena.h"
#include "runtime/fetch/filter.h"
#include "runtime/fetch/program.h"

#define PRINT_LENGTH_MAX FILTER_LENGTH_MAX /* bytes of a list of expressions */

struct pp_type;

/* The arguments of a program that print_compile() made. */
struct fetch_printed {
	struct fetch_printed_arg {
		const char *name; /* the text of the expression */
		const struct pp_type
			*values; /* the enumeration whose names it is shown by; NULL: none. Belongs to the image */
	} args[RECORD_ARGS_MAX];
	struct arena arena; /* owns the names */
};

void fetch_printed_free(struct fetch_printed *printed);

/*
 * Compiles a list of expressions (doc/expressions.md), such as "c->id, key->ptr", and makes their values the arguments of a
 * program that fetch_compile() made for the same site. Call it after filter_compile().
 *
 * Returns 0, -ENOMEM, or -EINVAL with an error message as filter_compile() describes it. After an error the program is
 * unchanged.
 */
int print_compile(const char *list, const struct pp_site *site, struct fetch_program *program);

/*
 * Makes arguments that are strings of C++ (std::string, std::string_view), or refer to one, strings with their content, if their type
 * is known. Call it instead of print_compile(). Returns 0 or -ENOMEM.
 */
int print_strings(const struct pp_site *site, struct fetch_program *program);

#endif
