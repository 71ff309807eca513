/* SPDX-License-Identifier: MIT */
/* Parsing the descriptions of notes, one function for each type of note (doc/note-format.md). For notes.c. */
#ifndef SDT_NOTE_PARSE_H
#define SDT_NOTE_PARSE_H

#include "sdt/notes.h"
#include "sdt/object-file.h"

#define NOTE_HEADER 12 /* bytes: namesz, descsz, type */

/* The state of notes_read(). */
struct note_walk {
	const struct elf_file *file;
	struct pp_image *image;
	const struct notes_filter *wanted;
	struct notes *notes;
	struct object_relocations relocations;
	uint64_t start; /* offset of the section in the file */
	size_t used;    /* bytes of notes->data */
	size_t refs_room, name_of_room, names_room, sections_room;
	size_t signatures_room, sites_room, types_room, floats_room;
	uint32_t *buckets; /* a hash table of names: 0 is free, else the index of a name + 1 */
	size_t nbuckets;   /* a power of two */
	uint64_t factor;   /* of the hash */
};

/*
 * Add the contents of a description of `size` bytes to walk->notes. `at` is the note's offset in the file, for messages;
 * desc_offset is the description's. Return 0, -EBADMSG with *reason if the note is invalid, or -ENOMEM.
 */
int note_parse_probe(struct note_walk *walk, const char *desc, size_t size, const char **reason);
int note_parse_signature(struct note_walk *walk, uint64_t at, const char *desc, size_t size, const char **reason);
int note_parse_signatures(struct note_walk *walk, uint64_t desc_offset, const char *desc, size_t size,
                          const char **reason);
int note_parse_site(struct note_walk *walk, const char *desc, size_t size, const char **reason);
int note_parse_type(struct note_walk *walk, uint64_t at, const char *desc, size_t size, const char **reason);
int note_parse_floats(struct note_walk *walk, const char *desc, size_t size, const char **reason);

/* Returns false if the probe is certainly not wanted. */
bool notes_filter_may_match(const struct notes_filter *wanted, const char *provider, const char *name);

/*
 * Adds the name of a note, whose provider and name are consecutive strings. Sets *index to that of the name. Returns 0 or
 * -ENOMEM.
 */
int note_names_add(struct note_walk *walk, const char *provider, const char *name, size_t length, uint32_t *index);

#endif
