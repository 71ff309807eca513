/* SPDX-License-Identifier: MIT */
#ifndef SDT_ARG_TYPES_H
#define SDT_ARG_TYPES_H

#include "sdt/image.h"
#include "sdt/notes.h"

/* Makes the image's types of the notes. A note that is wrong is a warning of the image. -ENOMEM. */
int types_make(struct pp_image *image, const struct notes *notes);

/* NULL where no note tells. */
const struct pp_type *types_find(const struct pp_image *image, uint64_t key);

/* The field of that name of the structure that an argument points to; NULL: there is none, or none is known. */
const struct pp_field *arg_find_field(const struct pp_arg *arg, const char *name);
/* The name that an argument's enumeration has for a value; NULL: none. */
const char *arg_value_name(const struct pp_arg *arg, int64_t value);

#endif
