/* SPDX-License-Identifier: MIT */
/*
 * The notes of a file, checked but not yet related to each other.
 *
 * 1. All note sections are read once, one after the other, into memory that the image's arena owns. Strings stay there.
 * 2. A file can have a million stapsdt notes. Nothing is allocated for a single one: its position in that memory, and the
 *    number of its probe, are kept in 4 bytes each. note_decode() reads it again.
 * 3. Notes of probes that nobody wants are checked and then forgotten.
 */
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

/* The probes that are wanted: those that match one of n patterns; all if n is 0. */
struct notes_filter {
	const char *const *patterns;
	size_t n;
};

struct note_name { /* of a probe */
	const char *provider, *name;
	uint32_t hash, length; /* of both strings with their NULs */
	uint32_t notes;        /* how many notes have it; 0 if the probe is not wanted */
	bool wanted;
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
	const char *strings; /* nstrings entries of u8 argument, u8 argument that is its length */
	uint8_t nstrings;
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
	char *data; /* the note sections, each at a multiple of 4 */
	struct notes_section {
		uint64_t start; /* offset in the file */
		size_t at;      /* position in data */
	} * sections;
	size_t nsections;
	uint32_t *refs;          /* of the wanted stapsdt notes: their positions in data, divided by 4 */
	uint32_t *name_of;       /* for each of them, the index of its name */
	struct note_name *names; /* in the order of the file */
	size_t nnames;
	size_t stapsdt;                    /* stapsdt notes of the file, wanted or not */
	size_t nsemaphores;                /* notes of the file that have a semaphore, wanted or not */
	struct note_signature *signatures; /* sorted by key, which is unique */
	struct note_site *sites;           /* sorted by location, which is unique */
	struct note_type *types;           /* sorted by key, which is unique */
	struct note_floats *floats;        /* sorted by location, which is unique */
	size_t nnotes, nsignatures, nsites, ntypes, nfloats;
};

/*
 * Reads all note sections and the build-id. An invalid note adds a warning to the image, also if its probe is not wanted.
 * Returns 0 or a negative errno.
 */
int notes_read(const struct elf_file *file, const struct notes_filter *wanted, struct pp_image *image,
               struct notes *notes);
/* Accepts notes that were released already. */
void notes_release(struct notes *notes);

/* Sets *note to the contents of the i-th wanted note. */
void note_decode(const struct elf_file *file, const struct notes *notes, size_t i, struct note *note);

/* Return NULL if not found. */
const struct note_signature *notes_signature(const struct notes *notes, uint64_t key);
const struct note_site *notes_site(const struct notes *notes, uint64_t location);
/* Returns a mask of the operands of the site that are floating-point numbers, bit 0 for the first. */
uint32_t notes_floats(const struct notes *notes, uint64_t location);

#endif
