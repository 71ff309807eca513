/* SPDX-License-Identifier: MIT */
#ifndef SDT_PROBES_H
#define SDT_PROBES_H

#include "sdt/notes.h"

/*
 * Makes the image's probes and sites; if `counts` is set, only the number of sites. An invalid note adds a warning. Returns
 * 0, -ENOMEM or an error of reading.
 */
int probes_make(const struct elf_file *file, struct pp_image *image, const struct notes *notes, bool counts);

#endif
