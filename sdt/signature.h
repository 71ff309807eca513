/* SPDX-License-Identifier: MIT */
#ifndef SDT_SIGNATURE_H
#define SDT_SIGNATURE_H

#include "sdt/image.h"

/*
 * Sets a probe's signature and arguments from the n consecutive strings of a PPN_SIGNATURE note: the type "int (*)(int)"
 * and the name cb make "int (*cb)(int)". If `name` is not NULL, it replaces the names of the note. An argument without an
 * operand is in the text but not in probe->args, so that arguments and operands have the same indices. Returns 0 or -ENOMEM.
 */
int signature_named(struct pp_image *image, struct pp_probe *probe, const char *strings, size_t n, const char *name);

/* Gives a probe the arguments arg0 to arg(n - 1) and no signature. Returns 0 or -ENOMEM. */
int signature_unnamed(struct pp_image *image, struct pp_probe *probe, size_t n);

/*
 * Returns true if a C type is `char *`, whatever the pointer's qualifiers. The plugin writes class 's' for `const char *`
 * only, and the classes in existing files cannot change, so readers decide by the type.
 */
bool signature_is_char_pointer(const char *type);

#endif
