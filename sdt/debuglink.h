/* SPDX-License-Identifier: MIT */
#ifndef SDT_DEBUGLINK_H
#define SDT_DEBUGLINK_H

#include "sdt/elf-file.h"

struct pp_image;

/*
 * Opens the file that holds the symbols that were stripped from an image. Searches by build-id in
 * /usr/lib/debug/.build-id, then by the name in .gnu_debuglink in the image's directory, in its subdirectory .debug and
 * below /usr/lib/debug. An image in another mount namespace is searched for there. Returns 0 or -ENOENT.
 */
int debuglink_open(const struct pp_image *image, const struct elf_file *file, struct elf_file *debug);

#endif
