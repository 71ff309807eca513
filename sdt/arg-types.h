/* SPDX-License-Identifier: MIT */
#ifndef SDT_ARG_TYPES_H
#define SDT_ARG_TYPES_H

#include "sdt/image.h"
#include "sdt/notes.h"

/* Makes the image's types from its notes. An invalid note adds a warning. Returns 0 or -ENOMEM. */
int types_make(struct pp_image *image, const struct notes *notes);

/* Returns the type of this key, NULL if no note describes it. */
const struct pp_type *types_find(const struct pp_image *image, uint64_t key);

/* Returns the field of this name in the structure that the argument points to, NULL if none is known. */
const struct pp_field *arg_find_field(const struct pp_arg *arg, const char *name);

#endif
