/* SPDX-License-Identifier: MIT */
/*
 * The notes of a file as they stand in it, checked but not yet related to each
 * other. Strings are in the image's arena.
 */
#ifndef SDT_NOTES_H
#define SDT_NOTES_H

#include "sdt/elf-file.h"
#include "sdt/image.h"

#define NOTE_NAME_MAX 4096 /* of providers and names, with their NUL */

struct note {        /* stapsdt */
	uint64_t at; /* the note's own place in the file, for messages */
	uint64_t location, base, semaphore;
	const char *provider, *name, *operands;
};

struct note_signature { /* PPN_SIGNATURE, or of PPN_SIGNATURES */
	uint64_t at;
	uint64_t key;
	uint32_t line;
	uint8_t kind, nargs;
	uint16_t flags;
	const char *file, *function, *result; /* result: NULL but for PPN_KIND_FUNCTION */
	const char *args;                     /* nargs strings, one behind the other */
	size_t length;                        /* of the strings from function on */
	const char *types;                    /* ntypes times u8 argument, u64 key */
	uint8_t ntypes;
	bool disputed; /* another has its key and says otherwise */
};

struct note_site { /* PPN_SITE */
	uint64_t location;
	uint32_t line, flags;
	const char *operands; /* that follow those of the stapsdt note; NULL: none do */
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
	const char *texts; /* n strings, one behind the other */
};

struct notes {
	struct note *notes;
	struct note_signature *signatures; /* by key, one a key */
	struct note_site *sites;           /* by location, one a location */
	struct note_type *types;           /* by key, one a key */
	struct note_floats *floats;        /* by location, one a location */
	size_t nnotes, nsignatures, nsites, ntypes, nfloats;
};

/* Reads all note sections, and the build-id. Damage in a note is a warning of the image. */
int notes_read(const struct file *file, struct pp_image *image, struct notes *notes);
void notes_release(struct notes *notes);

const struct note_signature *notes_signature(const struct notes *notes, uint64_t key);
const struct note_site *notes_site(const struct notes *notes, uint64_t location);
/* Which operands of the site are floating numbers: bit 0 for the first. */
uint32_t notes_floats(const struct notes *notes, uint64_t location);

/* UTF-8 without control characters: fit to be printed. */
bool text_is_clean(const char *text, size_t length);

#endif
