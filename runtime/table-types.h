/* SPDX-License-Identifier: MIT */
/*
 * The types of a table of an aggregate: those of the parts of its key, and of its values. The sites of a probe can have
 * arguments of different types, so that a key of one site has another meaning than the same 64 bits of another site.
 * Hits of such sites are in different tables.
 *
 * Keys have one meaning if they are integers that fit in 64 bits with a sign: all but those of PP_UNSIGNED and
 * PP_POINTER. Values have one meaning if their columns are equal. The names of an enumeration are part of the type.
 */
#ifndef RUNTIME_TABLE_TYPES_H
#define RUNTIME_TABLE_TYPES_H

#include "runtime/manifest.h"

struct table_types {
	const struct manifest *manifest;
	const struct manifest_aggregate *aggregate;
};

/* Compares the types of two tables with the same expression. Returns 0 if they are equal, else their order. */
int table_types_compare(const struct table_types *x, const struct table_types *y);
/* Returns a bit for each part and, above them, for each column whose types differ. */
uint32_t table_types_differ(const struct table_types *x, const struct table_types *y);
/* Returns the types of the parts and columns in `which`, such as "key signed, max(size) unsigned"; NULL: no memory. */
char *table_types_text(const struct table_types *t, uint32_t which);

#endif
