/* SPDX-License-Identifier: MIT */
#ifndef RUNTIME_FETCH_AGGREGATE_H
#define RUNTIME_FETCH_AGGREGATE_H

#include "runtime/fetch/program.h"

#define AGGREGATE_LENGTH_MAX 500 /* bytes of an expression */

/*
 * Compiles an aggregate (doc/expressions.md), such as "count(), pct(size) by path", and puts it behind the predicate of a
 * program, which has no aggregate yet. The predicate cannot be added afterwards.
 *
 * Returns 0, -ENOMEM, or -EINVAL with an error message as filter_compile() describes it. After an error the program is
 * unchanged.
 */
int aggregate_compile(const char *expr, const struct pp_site *site, struct fetch_program *program);

#endif
