/* SPDX-License-Identifier: MIT */
#ifndef RUNTIME_FETCH_FILTER_H
#define RUNTIME_FETCH_FILTER_H

#include "runtime/fetch/program.h"

#define FILTER_LENGTH_MAX 1024 /* bytes of an expression */
#define FILTER_NESTING_MAX 64  /* depth of parentheses and unary operators */

/*
 * Compiles a filter (doc/expressions.md) and puts it before the steps of a program, which fetch_compile() made for the same
 * site and which has no filter yet.
 *
 * Returns 0, -ENOMEM, or -EINVAL. After -EINVAL, pp_error() has three lines: the error message, the expression, and a
 * caret below the error's place. (It has one line if the expression is too long or the program has a filter.) After an
 * error the program is unchanged.
 */
int filter_compile(const char *expr, const struct pp_site *site, struct fetch_program *program);

struct fetch_steps {
	struct fetch_step *list;
	size_t n;
};

/*
 * Compiles an expression whose value is an integer or a string: the key of a call. The steps push the integer or a hash of
 * the string. Fails as filter_compile() does. The caller frees key->list.
 */
int key_compile(const char *expr, const struct pp_site *site, const struct fetch_program *program,
                struct fetch_steps *key);

#endif
