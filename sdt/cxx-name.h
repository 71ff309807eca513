/* SPDX-License-Identifier: MIT */
/* Patterns in C++ names, such as shop::Cart::add*, and the names that the plugin gives to probes (doc/note-format.md). */
#ifndef SDT_CXX_NAME_H
#define SDT_CXX_NAME_H

#include <stdbool.h>

struct pp_image;

/* Returns the colon between provider and name of a pattern, NULL if it has none. The colons of "::" do not count. */
const char *pattern_colon(const char *pattern);

/* Returns true if the pattern's name is a C++ name, which contains "::". */
bool cxx_is_pattern(const char *name);

/*
 * Returns true if a probe of this name is of a function that the pattern matches: "shop::Cart::add" matches
 * shop__Cart__add__entry and shop__Cart__add_2__return. Parameters in the pattern are ignored.
 */
bool cxx_matches_probe(const char *pattern, const char *name);

/* Returns true if the pattern has parameters, which distinguish overloads. */
bool cxx_has_parameters(const char *pattern);

/*
 * Returns true if the glob matches a demangled name: with its parameters if the glob has parameters, else without them and
 * without the result type of templates. Blanks are ignored, and const may be on either side of a parameter's type.
 */
bool cxx_matches_demangled(const char *glob, const char *demangled);

#endif
