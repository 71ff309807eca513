/* SPDX-License-Identifier: MIT */
/*
 * Walks the note sections of a file.
 *
 * 1. A note is namesz, descsz, type, an owner's name and a description, the last two padded to 4 bytes. The sizes lead to
 *    the next note, so one damaged size would hide all notes after it.
 * 2. Notes of probes can be recognized anywhere: at a multiple of 4 a stapsdt note has namesz 8, any descsz, type 3 and
 *    "stapsdt\0"; a probepoint note is similar.
 * 3. If a note of probes is invalid, the walk therefore continues at the next place that looks like the start of one, and
 *    finds the valid notes after the damage.
 *
 * note-parse.c parses and checks the descriptions.
 */
#include "sdt/notes.h"

#include "base/array.h"
#include "base/error.h"
#include "sdt/note-parse.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COMPRESSION_MAX 1100 /* a section that shrinks more is taken for damaged; zlib reaches 1032 */

static void notes_take_build_id(struct pp_image *image, const unsigned char *id, size_t size)
{
	if (*image->build_id || size > sizeof(image->build_id) / 2)
		return;
	for (size_t i = 0; i < size; i++)
		sprintf(image->build_id + 2 * i, "%02x", id[i]);
}

/* Parses a note whose sizes are valid. Returns 1 if it is not a probe's, else what the note_parse_*() return. */
static int note_take(struct note_walk *walk, const char *start, const char *owner, size_t owner_size, uint32_t type,
                     const char *desc, size_t size, const char **reason)
{
	uint64_t at = walk->start + (uint64_t)(owner - NOTE_HEADER - start);

	if (owner_size == sizeof(STAPSDT_OWNER) && !memcmp(owner, STAPSDT_OWNER, owner_size))
		return type == STAPSDT_TYPE ? note_parse_probe(walk, desc, size, reason) : 1;
	if (owner_size == sizeof(PPN_OWNER) && !memcmp(owner, PPN_OWNER, owner_size))
		return type == PPN_SIGNATURE ? note_parse_signature(walk, at, desc, size, reason)
		       : type == PPN_SITE    ? note_parse_site(walk, desc, size, reason)
		       : type == PPN_TYPE    ? note_parse_type(walk, at, desc, size, reason)
		       : type == PPN_FLOATS  ? note_parse_floats(walk, desc, size, reason)
		       : type == PPN_SIGNATURES
		               ? note_parse_signatures(walk, walk->start + (uint64_t)(desc - start), desc, size, reason)
		               : 0;
	if (owner_size == sizeof(ELF_NOTE_GNU) && !memcmp(owner, ELF_NOTE_GNU, owner_size) && type == NT_GNU_BUILD_ID)
		notes_take_build_id(walk->image, (const unsigned char *)desc, size);
	return 1;
}

static bool note_is_probe_note(const struct elf_file *file, const char *at)
{
	uint32_t name = elf_file_u32(file, at), type = elf_file_u32(file, at + 8);

	return (name == sizeof(STAPSDT_OWNER) && type == STAPSDT_TYPE &&
	        !memcmp(at + NOTE_HEADER, STAPSDT_OWNER, sizeof(STAPSDT_OWNER))) ||
	       (name == sizeof(PPN_OWNER) && type >= PPN_SIGNATURE && type <= PPN_FLOATS &&
	        !memcmp(at + NOTE_HEADER, PPN_OWNER, sizeof(PPN_OWNER)));
}

static size_t notes_find_next(const struct elf_file *file, const char *data, size_t size, size_t at)
{
	for (at += 4; at < size && size - at >= NOTE_HEADER + sizeof(STAPSDT_OWNER); at += 4)
		if (note_is_probe_note(file, data + at))
			return at;
	return size;
}

/* data is followed by room for the header of a note. align is 4, or 8 in some note sections of GNU tools. */
static int notes_walk(struct note_walk *walk, const char *data, size_t size, size_t align, bool probes)
{
	size_t at = 0;
	int err;

	while (size - at >= NOTE_HEADER) {
		uint64_t name = elf_file_u32(walk->file, data + at), desc = elf_file_u32(walk->file, data + at + 4);
		uint32_t type = elf_file_u32(walk->file, data + at + 8);
		uint64_t desc_offset = at + ((NOTE_HEADER + name + align - 1) & -align);
		uint64_t end = desc_offset + desc;
		const char *reason = probes ? "it is not a probe's" : NULL;

		if (!name && !desc && !type) { /* padding between two files' notes */
			at += 4;
			continue;
		}
		if (desc_offset > size || end > size) {
			err = -EBADMSG;
			reason = probes || note_is_probe_note(walk->file, data + at)
			                 ? "its sizes point past its section"
			                 : NULL;
		} else {
			err = note_take(walk, data, data + at + NOTE_HEADER, name, type, data + desc_offset, desc,
			                &reason);
		}
		if (err < 0 && err != -EBADMSG)
			return err;
		if (err && reason)
			image_warn(walk->image, "note at offset %#llx left out: %s",
			           (unsigned long long)(walk->start + at), reason);
		if (err < 0 || (err && probes)) {
			at = notes_find_next(walk->file, data, size, at);
			continue;
		}
		at = (end + align - 1) & -align;
		if (at > size)
			break;
	}
	return 0;
}

/* The space of a section in notes->data: a header of zeroes follows it, which ends the walk. */
static size_t notes_section_room(uint64_t size)
{
	return (size + NOTE_HEADER + sizeof(STAPSDT_OWNER) + 3) & -(size_t)4;
}

/* Returns the size of a section's contents, which may be compressed; more than ELF_FILE_PART_MAX if it is damaged. */
static uint64_t notes_section_size(Elf_Scn *scn, const GElf_Shdr *section)
{
	GElf_Chdr header;

	if (!(section->sh_flags & SHF_COMPRESSED))
		return section->sh_size;
	if (!gelf_getchdr(scn, &header) || header.ch_size / COMPRESSION_MAX > section->sh_size)
		return UINT64_MAX;
	return header.ch_size;
}

/* Reads the contents of a section of the size. */
static int notes_section_read(const struct elf_file *file, Elf_Scn *scn, const GElf_Shdr *section, uint64_t size,
                              char *data)
{
	Elf_Data *contents;

	if (!(section->sh_flags & SHF_COMPRESSED))
		return elf_file_read(file, section->sh_offset, size, data);
	if (elf_compress(scn, 0, 0) < 0 || !(contents = elf_rawdata(scn, NULL)) || contents->d_size != size)
		return error_set(ENOEXEC, "'%s' is damaged: its section %s cannot be decompressed: \"%s\"", file->path,
		                 elf_file_section_name(file, section), elf_errmsg(-1));
	if (size)
		memcpy(data, contents->d_buf, size);
	return 0;
}

static int notes_walk_section(struct note_walk *walk, Elf_Scn *scn, const GElf_Shdr *section)
{
	const char *name = elf_file_section_name(walk->file, section);
	bool probes = !strcmp(name, STAPSDT_SECTION) || !strcmp(name, PPN_SECTION);
	struct notes *notes = walk->notes;
	uint64_t size = notes_section_size(scn, section);
	char *data = notes->data + walk->used;
	size_t unplaced;
	int err;

	if (!elf_file_has(walk->file, section->sh_offset, section->sh_size) || size > ELF_FILE_PART_MAX) {
		if (probes)
			image_warn(walk->image,
			           "its section %s ends after the end of the file, so its probes are not known", name);
		return 0;
	}
	if (ALLOC_GROW(notes->sections, notes->nsections + 1, walk->sections_room))
		return -ENOMEM;
	err = notes_section_read(walk->file, scn, section, size, data);
	if (err)
		return err;
	unplaced = object_relocate(walk->file, &walk->relocations, scn, data, size);
	if (unplaced)
		image_warn(walk->image, "%zu addresses in its section %s cannot be relocated", unplaced, name);
	notes->sections[notes->nsections++] = (struct notes_section){ section->sh_offset, walk->used };
	walk->used += notes_section_room(size);
	walk->start = section->sh_offset;
	return notes_walk(walk, data, size, section->sh_addralign == 8 && !probes ? 8 : 4, probes);
}

static int signature_compare_keys(const void *a, const void *b)
{
	const struct note_signature *x = a, *y = b;

	return x->key != y->key ? (x->key > y->key) - (x->key < y->key) : (x->at > y->at) - (x->at < y->at);
}

static int type_compare_keys(const void *a, const void *b)
{
	const struct note_type *x = a, *y = b;

	return x->key != y->key ? (x->key > y->key) - (x->key < y->key) : (x->at > y->at) - (x->at < y->at);
}

static int site_compare_locations(const void *a, const void *b)
{
	const struct note_site *x = a, *y = b;

	return (x->location > y->location) - (x->location < y->location);
}

static int site_compare_contents(const void *a, const void *b)
{
	const struct note_site *x = a, *y = b;
	int order = site_compare_locations(a, b);

	return order                ? order
	       : x->line != y->line ? (x->line > y->line) - (x->line < y->line)
	                            : (x->flags > y->flags) - (x->flags < y->flags);
}

static bool signatures_are_equal(const struct note_signature *a, const struct note_signature *b)
{
	return a->line == b->line && a->kind == b->kind && a->nargs == b->nargs && a->flags == b->flags &&
	       !strcmp(a->file, b->file) && a->length == b->length && !memcmp(a->function, b->function, a->length);
}

/* Keeps one signature for each key. If two differ, neither is used. */
static void notes_sort_signatures(struct note_walk *walk)
{
	struct notes *notes = walk->notes;
	size_t n = 0;

	if (notes->nsignatures)
		qsort(notes->signatures, notes->nsignatures, sizeof(*notes->signatures), signature_compare_keys);
	for (size_t i = 0; i < notes->nsignatures; i++) {
		struct note_signature *s = &notes->signatures[i], *last = n ? &notes->signatures[n - 1] : NULL;

		if (!last || last->key != s->key) {
			notes->signatures[n++] = *s;
		} else if (!last->disputed && !signatures_are_equal(last, s)) {
			last->disputed = true;
			image_warn(walk->image,
			           "signatures at offsets %#llx (%s:%u) and %#llx (%s:%u) have the same name and "
			           "differ, so neither is used",
			           (unsigned long long)last->at, last->file, last->line, (unsigned long long)s->at,
			           s->file, s->line);
		} else if (!last->ntypes) { /* the types were incomplete in that compilation unit */
			last->types = s->types;
			last->ntypes = s->ntypes;
		}
	}
	notes->nsignatures = n;
}

static void notes_sort_sites(struct notes *notes)
{
	size_t n = 0;

	if (notes->nsites)
		qsort(notes->sites, notes->nsites, sizeof(*notes->sites), site_compare_contents);
	for (size_t i = 0; i < notes->nsites; i++)
		if (!n || notes->sites[n - 1].location != notes->sites[i].location)
			notes->sites[n++] = notes->sites[i];
	notes->nsites = n;
}

static void notes_sort_types(struct notes *notes)
{
	size_t n = 0;

	if (notes->ntypes)
		qsort(notes->types, notes->ntypes, sizeof(*notes->types), type_compare_keys);
	for (size_t i = 0; i < notes->ntypes; i++)
		if (!n || notes->types[n - 1].key != notes->types[i].key)
			notes->types[n++] = notes->types[i];
	notes->ntypes = n;
}

static int floats_compare_locations(const void *a, const void *b)
{
	const struct note_floats *x = a, *y = b;

	return (x->location > y->location) - (x->location < y->location);
}

/* If two notes of one location differ, which compilers do not write, neither counts. */
static void notes_sort_floats(struct notes *notes)
{
	size_t n = 0;

	if (notes->nfloats)
		qsort(notes->floats, notes->nfloats, sizeof(*notes->floats), floats_compare_locations);
	for (size_t i = 0; i < notes->nfloats; i++) {
		struct note_floats *last = n ? &notes->floats[n - 1] : NULL;

		if (!last || last->location != notes->floats[i].location)
			notes->floats[n++] = notes->floats[i];
		else if (last->floats != notes->floats[i].floats)
			last->floats = 0;
	}
	notes->nfloats = n;
}

/*
 * Allocates notes->data for all note sections that are in the file. Sections must not overlap: a small file could else fill
 * the memory. *overlaps is the first section that would make their sum larger than the file; NULL if there is none.
 */
static int notes_alloc(struct note_walk *walk, Elf_Scn **overlaps)
{
	uint64_t size = 0, room = 1;
	Elf_Scn *scn = NULL;
	GElf_Shdr section;

	*overlaps = NULL;
	while (!*overlaps && (scn = elf_nextscn(walk->file->elf, scn)) != NULL) {
		if (!gelf_getshdr(scn, &section) || section.sh_type != SHT_NOTE ||
		    notes_section_size(scn, &section) > ELF_FILE_PART_MAX ||
		    !elf_file_has(walk->file, section.sh_offset, section.sh_size))
			continue;
		size += section.sh_size;
		if (!elf_file_has(walk->file, 0, size))
			*overlaps = scn;
		else
			room += notes_section_room(notes_section_size(scn, &section));
	}
	walk->notes->data = room / sizeof(uint32_t) <= UINT32_MAX ? arena_alloc(&walk->image->arena, room) : NULL;
	return walk->notes->data ? 0 : error_nomem();
}

static int notes_walk_sections(struct note_walk *walk)
{
	Elf_Scn *scn = NULL, *overlaps;
	GElf_Shdr section;
	int err = notes_alloc(walk, &overlaps);

	err = err ? err : object_relocations_find(walk->file, &walk->relocations);
	while (!err && (scn = elf_nextscn(walk->file->elf, scn)) != NULL) {
		if (!gelf_getshdr(scn, &section) || section.sh_type != SHT_NOTE)
			continue;
		if (scn == overlaps) {
			image_warn(walk->image,
			           "its note sections overlap; those at offset %#llx and later are left out",
			           (unsigned long long)section.sh_offset);
			break;
		}
		err = notes_walk_section(walk, scn, &section);
	}
	return err;
}

int notes_read(const struct elf_file *file, const struct notes_filter *wanted, struct pp_image *image,
               struct notes *notes)
{
	struct note_walk walk = { .file = file, .wanted = wanted, .image = image, .notes = notes };
	int err;

	*notes = (struct notes){ 0 };
	err = notes_walk_sections(&walk);
	free(walk.buckets);
	object_relocations_release(&walk.relocations);
	if (err) {
		notes_release(notes);
		return err;
	}
	notes_sort_signatures(&walk);
	notes_sort_sites(notes);
	notes_sort_types(notes);
	notes_sort_floats(notes);
	return 0;
}

void notes_release(struct notes *notes)
{
	free(notes->sections);
	free(notes->refs);
	free(notes->name_of);
	free(notes->names);
	free(notes->signatures);
	free(notes->sites);
	free(notes->types);
	free(notes->floats);
	*notes = (struct notes){ 0 };
}

static int signature_compare_key(const void *signature, const void *key)
{
	uint64_t a = ((const struct note_signature *)signature)->key, b = *(const uint64_t *)key;

	return (a > b) - (a < b);
}

const struct note_signature *notes_signature(const struct notes *notes, uint64_t key)
{
	size_t i = lower_bound(notes->signatures, notes->nsignatures, sizeof(*notes->signatures), &key,
	                       signature_compare_key);

	return i < notes->nsignatures && notes->signatures[i].key == key ? &notes->signatures[i] : NULL;
}

const struct note_site *notes_site(const struct notes *notes, uint64_t location)
{
	struct note_site wanted = { .location = location };

	return notes->nsites ? bsearch(&wanted, notes->sites, notes->nsites, sizeof(wanted), site_compare_locations)
	                     : NULL;
}

uint32_t notes_floats(const struct notes *notes, uint64_t location)
{
	struct note_floats wanted = { .location = location };
	const struct note_floats *found = NULL;

	if (notes->nfloats)
		found = bsearch(&wanted, notes->floats, notes->nfloats, sizeof(wanted), floats_compare_locations);
	return found ? found->floats : 0;
}
