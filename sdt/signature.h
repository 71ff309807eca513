/* SPDX-License-Identifier: MIT */
#ifndef SDT_SIGNATURE_H
#define SDT_SIGNATURE_H

#include "sdt/image.h"

/*
 * Gives a probe its signature and arguments from n strings as they stand in a
 * PPN_SIGNATURE note, one behind the other: "int (*)(int)" and cb make
 * "int (*cb)(int)". name: what to call arguments, NULL for their own names. An
 * argument without an operand is in the text but not among the arguments, so that
 * these and the operands run side by side. -ENOMEM.
 */
int signature_named(struct pp_image *image, struct pp_probe *probe, const char *strings, size_t n, const char *name);

/* Arguments arg0 to arg(n - 1), and no signature. -ENOMEM. */
int signature_unnamed(struct pp_image *image, struct pp_probe *probe, size_t n);

/*
 * Whether a C type is `char *` with any qualifiers of the pointer. The plugin writes class 's' only for
 * `const char *`, and classes of existing files cannot change; so readers decide by the type.
 */
bool signature_is_char_pointer(const char *type);

#endif
