/* SPDX-License-Identifier: MIT */
#ifndef SDT_PROBES_H
#define SDT_PROBES_H

#include "sdt/notes.h"

/* Makes the image's probes and sites from its notes. What is wrong with one is a warning. */
int probes_make(const struct file *file, struct pp_image *image, const struct notes *notes);

#endif
