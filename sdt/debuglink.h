/* SPDX-License-Identifier: MIT */
#ifndef SDT_DEBUGLINK_H
#define SDT_DEBUGLINK_H

#include "sdt/elf-file.h"

struct pp_image;

/*
 * Opens the file that holds what was stripped from this one: by its build-id, below
 * /usr/lib/debug/.build-id, else by its debug link, beside it, in .debug beside it, or below
 * /usr/lib/debug; of an image in another mount namespace, there. -ENOENT: there is none, or
 * only others of the name.
 */
int debug_open(const struct pp_image *image, const struct file *file, struct file *debug);

#endif
