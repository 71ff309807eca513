/* SPDX-License-Identifier: MIT */
/* Parsing the descriptions of notes, one function for each type of note (doc/note-format.md). For notes.c. */
#ifndef SDT_NOTE_PARSE_H
#define SDT_NOTE_PARSE_H

#include "sdt/notes.h"

/* The state of notes_read(). */
struct note_walk {
	const struct elf_file *file;
	struct pp_image *image;
	struct notes *notes;
	uint64_t start; /* offset of the section in the file */
	uint64_t size;  /* of all sections so far */
	size_t notes_room, signatures_room, sites_room, types_room, floats_room;
};

/*
 * Add the contents of a description of `size` bytes to walk->notes. `at` is the note's offset in the file, for messages;
 * desc_offset is the description's. Return 0, -EBADMSG with *reason if the note is invalid, or -ENOMEM.
 */
int note_parse_probe(struct note_walk *walk, uint64_t at, const char *desc, size_t size, const char **reason);
int note_parse_signature(struct note_walk *walk, uint64_t at, const char *desc, size_t size, const char **reason);
int note_parse_signatures(struct note_walk *walk, uint64_t desc_offset, const char *desc, size_t size,
                          const char **reason);
int note_parse_site(struct note_walk *walk, const char *desc, size_t size, const char **reason);
int note_parse_type(struct note_walk *walk, uint64_t at, const char *desc, size_t size, const char **reason);
int note_parse_floats(struct note_walk *walk, const char *desc, size_t size, const char **reason);

#endif
