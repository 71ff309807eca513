/* SPDX-License-Identifier: MIT */
#ifndef SDT_SYMBOLS_H
#define SDT_SYMBOLS_H

#include "sdt/elf-file.h"
#include "sdt/image.h"

struct image_symbols *symbols_new(void);
/* Reads the symbol tables of an open file into the image; done by itself when a symbol is asked for. */
int symbols_load(const struct elf_file *file, const struct pp_image *image);
void symbols_free(struct image_symbols *symbols);

#endif
