/* SPDX-License-Identifier: MIT */
/*
 * The symbols of an image. symbols.c reads them, symbol-lookup.c implements the lookups of image.h.
 *
 * 1. Most images need no symbols, so they are read at the first lookup, from the file opened again. It must still be the
 *    file whose probes were read.
 * 2. If the file is stripped, they come from its debug file (debuglink.h).
 * 3. They are sorted by name and by address. C++ names stay mangled. Functions can be found by their demangled name too,
 *    with or without parameters.
 */
#ifndef SDT_SYMBOLS_H
#define SDT_SYMBOLS_H

#include "sdt/elf-file.h"
#include "sdt/frames.h"
#include "sdt/image.h"

struct symbol {
	const char *name;
	uint64_t address, size;
	unsigned char bind, type;
};

struct image_symbols {
	bool loaded;
	int error; /* of reading them */
	struct arena strings;
	struct symbol *symbols;
	size_t n, room;
	struct symbol **names;     /* sorted by name and address; NULL until symbols_index_names() */
	struct symbol **functions; /* sorted by address; if several names have one address, the best is last */
	size_t nfunctions;
	bool framed;          /* the unwind tables are read */
	struct frames frames; /* see symbols_get_frames() */
};

/* Returns NULL if memory allocation fails. */
struct image_symbols *symbols_new(void);
void symbols_free(struct image_symbols *symbols);

/* Reads the symbol tables of an open file into the image. Returns 0 or a negative errno with an error message. */
int symbols_load(const struct elf_file *file, const struct pp_image *image);
/* Returns the symbols, which it reads at the first call. Returns 0 or a negative errno with an error message. */
int symbols_get(const struct pp_image *image, struct image_symbols **symbols);
/* Sorts the symbols by name at the first call. Returns 0 or -ENOMEM. */
int symbols_index_names(struct image_symbols *symbols);
/* Reads the unwind tables at the first call. Returns false if they cannot be read. */
bool symbols_get_frames(const struct pp_image *image);

#endif
