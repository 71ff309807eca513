/* SPDX-License-Identifier: MIT */
#ifndef RUNTIME_FETCH_FILTER_H
#define RUNTIME_FETCH_FILTER_H

#include "runtime/fetch/program.h"

#define FILTER_LENGTH_MAX 1024 /* bytes of an expression */
#define FILTER_NESTING_MAX 64  /* parentheses and unary operators within one another */

/*
 * Compiles a filter (doc/filters.md) and puts it in front of the program that
 * fetch_compile() made of the site, which has none yet. -EINVAL: pp_error() is then
 * of three lines, the sentence, the expression and a caret under its place, and
 * the program is as it was.
 */
int filter_compile(const char *expr, const struct pp_site *site, struct fetch_program *program);

#endif
