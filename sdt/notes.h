/* SPDX-License-Identifier: MIT */
/* The notes of a file, checked but not yet related to each other. The image's arena owns the strings. */
#ifndef SDT_NOTES_H
#define SDT_NOTES_H

#include "sdt/elf-file.h"
#include "sdt/image.h"

#define NOTE_NAME_MAX 4096 /* bytes of a provider or a name with its NUL */

struct note {        /* stapsdt */
	uint64_t at; /* offset of the note in the file, for messages */
	uint64_t location, base, semaphore;
	const char *provider, *name, *operands;
};

struct note_signature { /* PPN_SIGNATURE, or of PPN_SIGNATURES */
	uint64_t at;
	uint64_t key;
	uint32_t line;
	uint8_t kind, nargs;
	uint16_t flags;
	const char *file, *function, *result; /* result: NULL unless kind is PPN_KIND_FUNCTION */
	const char *args;                     /* nargs consecutive strings */
	size_t length;                        /* bytes of the strings from function on */
	const char *types;                    /* ntypes entries of u8 argument, u64 key */
	uint8_t ntypes;
	bool disputed; /* another note has the same key and differs, so neither is used */
};

struct note_site { /* PPN_SITE */
	uint64_t location;
	uint32_t line, flags;
	const char *operands; /* operands after those of the stapsdt note; NULL: none */
};

struct note_floats { /* PPN_FLOATS */
	uint64_t location;
	uint32_t floats;
};

struct note_type { /* PPN_TYPE */
	uint64_t at;
	uint64_t key;
	uint32_t size;
	uint16_t kind, n;
	const char *name;
	const char *texts; /* n consecutive strings */
};

struct notes {
	struct note *notes;
	struct note_signature *signatures; /* sorted by key, which is unique */
	struct note_site *sites;           /* sorted by location, which is unique */
	struct note_type *types;           /* sorted by key, which is unique */
	struct note_floats *floats;        /* sorted by location, which is unique */
	size_t nnotes, nsignatures, nsites, ntypes, nfloats;
};

/* Reads all note sections and the build-id. An invalid note adds a warning to the image. Returns 0 or a negative errno. */
int notes_read(const struct elf_file *file, struct pp_image *image, struct notes *notes);
/* Accepts notes that were released already. */
void notes_release(struct notes *notes);

/* Return NULL if not found. */
const struct note_signature *notes_signature(const struct notes *notes, uint64_t key);
const struct note_site *notes_site(const struct notes *notes, uint64_t location);
/* Returns a mask of the operands of the site that are floating-point numbers, bit 0 for the first. */
uint32_t notes_floats(const struct notes *notes, uint64_t location);

#endif
