/* SPDX-License-Identifier: MIT */
/*
 * Notes: walking the note sections of a file.
 *
 * A note is namesz, descsz, type, then an owner's name and a description, each
 * padded to 4 bytes. Its sizes lead to the next one, so one damaged size would
 * spoil all that follow. But ours can be told in the middle of anything: sizes
 * aside, a stapsdt note starts with 8, a size, 3, "stapsdt\0", at a multiple of
 * 4, and a probepoint one alike. Hence, wherever a note of ours turns out wrong,
 * the walk goes on at the next place that looks like a start, and what was sound
 * behind the damage is found.
 *
 * All strings are checked here, and nowhere later: they end inside their note,
 * are UTF-8 and hold no control character that could reach a terminal. Their
 * lengths are bounded, or a section of overlapping notes would take quadratic time.
 */
#include "sdt/notes.h"

#include "base/error.h"
#include "sdt/operand.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HEADER 12
#define OPERANDS_LONGEST 65536

struct walk {
	const struct file *file;
	struct pp_image *image;
	struct notes *notes;
	uint64_t start; /* the section's place in the file */
	uint64_t size;  /* of all sections so far */
	size_t notes_room, signatures_room, sites_room, types_room, floats_room;
};

bool text_is_clean(const char *text, size_t length)
{
	const unsigned char *s = (const unsigned char *)text, *end = s + length;

	while (s < end) {
		uint32_t c = *s++;
		int more = c < 0x80 ? 0 : c < 0xc2 ? -1 : c < 0xe0 ? 1 : c < 0xf0 ? 2 : c < 0xf5 ? 3 : -1;
		static const uint32_t least[] = { 0, 0xa0, 0x800, 0x10000 };

		if (more < 0 || end - s < more || (more == 0 && (c < 0x20 || c == 0x7f)))
			return false;
		if (more == 0)
			continue;
		c &= 0x3f >> more;
		for (int i = 0; i < more; i++) {
			if ((*s & 0xc0) != 0x80)
				return false;
			c = c << 6 | (*s++ & 0x3f);
		}
		if (c < least[more] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
			return false;
	}
	return true;
}

/* Takes the string at *at if it ends before end and is clean. */
static const char *take_string(const char **at, const char *end, size_t longest)
{
	size_t room = (size_t)(end - *at);
	const char *text = *at, *nul = memchr(text, '\0', room < longest ? room : longest);

	if (!nul || !text_is_clean(text, (size_t)(nul - text)))
		return NULL;
	*at = nul + 1;
	return text;
}

static void *grow(void *array, size_t n, size_t *room, size_t size)
{
	void *larger;

	if (n < *room)
		return array;
	larger = reallocarray(array, *room ? *room * 2 : 64, size);
	if (larger)
		*room = *room ? *room * 2 : 64;
	return larger;
}

static int no_memory(const struct walk *walk)
{
	return error_set(ENOMEM, "not enough memory for the notes of '%s'", walk->file->path);
}

/* 0, or -EBADMSG and *reason for a note that is wrong, or another error for good. */
static int take_note(struct walk *walk, uint64_t at, const char *desc, size_t size, const char **reason)
{
	size_t address = walk->file->is_64 ? 8 : 4;
	const char *end = desc + size, *strings = desc + 3 * address;
	struct note note = { .at = at };
	size_t n = 0, length;
	void *room;

	*reason = "it is too short";
	if (size < 3 * address + 3)
		return -EBADMSG;
	note.location = file_address(walk->file, desc);
	note.base = file_address(walk->file, desc + address);
	note.semaphore = file_address(walk->file, desc + 2 * address);

	*reason = "its provider does not end or is not text";
	note.provider = take_string(&strings, end, NOTE_NAME_MAX);
	if (!note.provider)
		return -EBADMSG;
	*reason = "its provider is empty or has a colon";
	if (!*note.provider || strchr(note.provider, ':'))
		return -EBADMSG;
	*reason = "its name does not end or is not text";
	note.name = take_string(&strings, end, NOTE_NAME_MAX);
	if (!note.name)
		return -EBADMSG;
	*reason = "its name is empty";
	if (!*note.name)
		return -EBADMSG;
	*reason = "its operands do not end or are not text";
	note.operands = take_string(&strings, end, OPERANDS_LONGEST);
	if (!note.operands)
		return -EBADMSG;
	*reason = "its size and its strings disagree";
	for (const char *rest = strings; rest < end; rest++) /* some round the size up */
		if (*rest || end - strings > 7)
			return -EBADMSG;
	*reason = "it has too many operands";
	for (const char *operand = operands_next(note.operands, &length); operand;
	     operand = operands_next(operand + length, &length))
		if (++n > OPERANDS_MAX)
			return -EBADMSG;

	room = grow(walk->notes->notes, walk->notes->nnotes, &walk->notes_room, sizeof(note));
	if (!room)
		return no_memory(walk);
	walk->notes->notes = room;
	walk->notes->notes[walk->notes->nnotes++] = note;
	return 0;
}

static bool argument_is_sound(const char *text)
{
	const char *colon = strchr(text, ':');

	return *text && strchr("iupsbcfvx", *text) && colon && colon > text;
}

/* A signature from its fixed part on; strings: behind the file's name. */
static int add_signature(struct walk *walk, uint64_t at, const char *fixed, const char *file, const char *strings,
                         const char *end, const char **reason)
{
	struct note_signature s = { .at = at, .file = file };
	const char *text;
	void *room;

	s.key = file_u64(walk->file, fixed);
	s.line = file_u32(walk->file, fixed + 8);
	s.kind = (uint8_t)fixed[12];
	s.nargs = (uint8_t)fixed[13];
	s.flags = file_u16(walk->file, fixed + 14);
	*reason = "its kind is unknown";
	if (s.kind != PPN_KIND_PROBE && s.kind != PPN_KIND_FUNCTION)
		return -EBADMSG;
	*reason = "its file or function does not end or is not text";
	s.function = s.file ? take_string(&strings, end, OPERANDS_LONGEST) : NULL;
	if (!s.function)
		return -EBADMSG;
	*reason = "an argument of it does not end or is not text of the form CLASSNAME:TYPE";
	if (s.kind == PPN_KIND_FUNCTION) {
		s.result = take_string(&strings, end, OPERANDS_LONGEST);
		if (!s.result || !argument_is_sound(s.result))
			return -EBADMSG;
	}
	s.args = strings;
	for (int i = 0; i < s.nargs; i++) {
		text = take_string(&strings, end, OPERANDS_LONGEST);
		if (!text || !argument_is_sound(text) || *text == PPN_CLASS_VOID)
			return -EBADMSG;
	}
	s.length = (size_t)(strings - s.function);
	if (strings < end && (size_t)(end - strings) > 9u * (uint8_t)*strings) {
		s.ntypes = (uint8_t)*strings;
		s.types = strings + 1;
	}

	room = grow(walk->notes->signatures, walk->notes->nsignatures, &walk->signatures_room, sizeof(s));
	if (!room)
		return no_memory(walk);
	walk->notes->signatures = room;
	walk->notes->signatures[walk->notes->nsignatures++] = s;
	return 0;
}

static int take_signature(struct walk *walk, uint64_t at, const char *desc, size_t size, const char **reason)
{
	const char *end = desc + size, *strings = desc + PPN_SIGNATURE_FIXED, *file;

	*reason = "it is too short";
	if (size < PPN_SIGNATURE_FIXED + sizeof("") + sizeof(""))
		return -EBADMSG;
	file = take_string(&strings, end, OPERANDS_LONGEST);
	return add_signature(walk, at, desc, file, strings, end, reason);
}

/* manifest_at: the description's own place in the file. What is wrong in one of them spoils no other. */
static int take_signatures(struct walk *walk, uint64_t desc_at, const char *desc, size_t size, const char **reason)
{
	const char *end = desc + size, *at = desc, *file = take_string(&at, end, OPERANDS_LONGEST);

	*reason = "its file does not end or is not text";
	if (!file)
		return -EBADMSG;
	while (end - at >= 2) {
		uint16_t length = file_u16(walk->file, at);
		int err;

		at += 2;
		*reason = "a signature in it is too short, or too long";
		if (length < PPN_SIGNATURE_FIXED + sizeof("") || length > end - at)
			return -EBADMSG;
		err = add_signature(walk, desc_at + (uint64_t)(at - desc), at, file, at + PPN_SIGNATURE_FIXED,
		                    at + length, reason);
		if (err == -EBADMSG)
			image_warn(walk->image, "signature at offset %#llx left out: %s",
			           (unsigned long long)(desc_at + (uint64_t)(at - desc)), *reason);
		else if (err)
			return err;
		at += length;
	}
	return 0;
}

static int take_site(struct walk *walk, const char *desc, size_t size, const char **reason)
{
	size_t address = walk->file->is_64 ? 8 : 4;
	const char *strings = desc + address + 8;
	struct note_site site = { 0 };
	size_t n = 0, length;
	void *room;

	*reason = "it is too short";
	if (size < address + 8)
		return -EBADMSG;
	site.location = file_address(walk->file, desc);
	site.line = file_u32(walk->file, desc + address);
	site.flags = file_u32(walk->file, desc + address + 4);
	if (size > address + 8)
		site.operands = take_string(&strings, desc + size, OPERANDS_LONGEST);
	for (const char *operand = site.operands ? operands_next(site.operands, &length) : NULL; operand;
	     operand = operands_next(operand + length, &length))
		if (++n > OPERANDS_MAX || !memchr(operand, '@', length)) {
			site.operands = NULL; /* something newer */
			break;
		}

	room = grow(walk->notes->sites, walk->notes->nsites, &walk->sites_room, sizeof(site));
	if (!room)
		return no_memory(walk);
	walk->notes->sites = room;
	walk->notes->sites[walk->notes->nsites++] = site;
	return 0;
}

static int take_type(struct walk *walk, uint64_t at, const char *desc, size_t size, const char **reason)
{
	const char *end = desc + size, *strings = desc + 16;
	struct note_type type = { .at = at };
	void *room;

	*reason = "it is too short";
	if (size < 16 + sizeof(""))
		return -EBADMSG;
	type.key = file_u64(walk->file, desc);
	type.size = file_u32(walk->file, desc + 8);
	type.kind = file_u16(walk->file, desc + 12);
	type.n = file_u16(walk->file, desc + 14);
	*reason = "a name of it does not end or is not text";
	type.name = take_string(&strings, end, OPERANDS_LONGEST);
	if (!type.name)
		return -EBADMSG;
	type.texts = strings;
	for (int i = 0; i < type.n; i++)
		if (!take_string(&strings, end, OPERANDS_LONGEST))
			return -EBADMSG;
	*reason = "its key is not that of what it says";
	if (type.key != ppn_hash(desc + 8, (size_t)(strings - desc - 8)))
		return -EBADMSG;

	room = grow(walk->notes->types, walk->notes->ntypes, &walk->types_room, sizeof(type));
	if (!room)
		return no_memory(walk);
	walk->notes->types = room;
	walk->notes->types[walk->notes->ntypes++] = type;
	return 0;
}

static int take_floats(struct walk *walk, const char *desc, size_t size, const char **reason)
{
	size_t address = walk->file->is_64 ? 8 : 4;
	void *room;

	*reason = "it is too short";
	if (size < address + 4)
		return -EBADMSG;
	room = grow(walk->notes->floats, walk->notes->nfloats, &walk->floats_room, sizeof(*walk->notes->floats));
	if (!room)
		return no_memory(walk);
	walk->notes->floats = room;
	walk->notes->floats[walk->notes->nfloats++] = (struct note_floats){
		.location = file_address(walk->file, desc),
		.floats = file_u32(walk->file, desc + address),
	};
	return 0;
}

static void take_build_id(struct pp_image *image, const unsigned char *id, size_t size)
{
	if (*image->build_id || size > sizeof(image->build_id) / 2)
		return;
	for (size_t i = 0; i < size; i++)
		sprintf(image->build_id + 2 * i, "%02x", id[i]);
}

/* One note whose frame is sound. 1: it is not for us. */
static int take(struct walk *walk, const char *start, const char *owner, size_t owner_size, uint32_t type,
                const char *desc, size_t size, const char **reason)
{
	uint64_t at = walk->start + (uint64_t)(owner - HEADER - start);

	if (owner_size == sizeof(STAPSDT_OWNER) && !memcmp(owner, STAPSDT_OWNER, owner_size))
		return type == STAPSDT_TYPE ? take_note(walk, at, desc, size, reason) : 1;
	if (owner_size == sizeof(PPN_OWNER) && !memcmp(owner, PPN_OWNER, owner_size))
		return type == PPN_SIGNATURE ? take_signature(walk, at, desc, size, reason)
		       : type == PPN_SITE    ? take_site(walk, desc, size, reason)
		       : type == PPN_TYPE    ? take_type(walk, at, desc, size, reason)
		       : type == PPN_FLOATS  ? take_floats(walk, desc, size, reason)
		       : type == PPN_SIGNATURES
		               ? take_signatures(walk, walk->start + (uint64_t)(desc - start), desc, size, reason)
		               : 0;
	if (owner_size == sizeof(ELF_NOTE_GNU) && !memcmp(owner, ELF_NOTE_GNU, owner_size) && type == NT_GNU_BUILD_ID)
		take_build_id(walk->image, (const unsigned char *)desc, size);
	return 1;
}

static bool looks_like_ours(const struct file *file, const char *at)
{
	uint32_t name = file_u32(file, at), type = file_u32(file, at + 8);

	return (name == sizeof(STAPSDT_OWNER) && type == STAPSDT_TYPE &&
	        !memcmp(at + HEADER, STAPSDT_OWNER, sizeof(STAPSDT_OWNER))) ||
	       (name == sizeof(PPN_OWNER) && type >= PPN_SIGNATURE && type <= PPN_FLOATS &&
	        !memcmp(at + HEADER, PPN_OWNER, sizeof(PPN_OWNER)));
}

static size_t next_of_ours(const struct file *file, const char *data, size_t size, size_t at)
{
	for (at += 4; at < size && size - at >= HEADER + sizeof(STAPSDT_OWNER); at += 4)
		if (looks_like_ours(file, data + at))
			return at;
	return size;
}

/* data has room for the start of a note behind; align is 4, or 8 as some of GNU's note sections have it. */
static int walk_notes(struct walk *walk, const char *data, size_t size, size_t align, bool ours)
{
	size_t at = 0;
	int err;

	while (size - at >= HEADER) {
		uint64_t name = file_u32(walk->file, data + at), desc = file_u32(walk->file, data + at + 4);
		uint32_t type = file_u32(walk->file, data + at + 8);
		uint64_t desc_at = at + ((HEADER + name + align - 1) & -align);
		uint64_t end = desc_at + desc;
		const char *reason = ours ? "it is no probe's" : NULL;

		if (!name && !desc && !type) { /* padding between two files' notes */
			at += 4;
			continue;
		}
		if (desc_at > size || end > size) {
			err = -EBADMSG;
			reason = ours || looks_like_ours(walk->file, data + at) ? "its sizes reach past its section"
			                                                        : NULL;
		} else {
			err = take(walk, data, data + at + HEADER, name, type, data + desc_at, desc, &reason);
		}
		if (err < 0 && err != -EBADMSG)
			return err;
		if (err && reason)
			image_warn(walk->image, "note at offset %#llx left out: %s",
			           (unsigned long long)(walk->start + at), reason);
		if (err < 0 || (err && ours)) {
			at = next_of_ours(walk->file, data, size, at);
			continue;
		}
		at = (end + align - 1) & -align;
		if (at > size)
			break;
	}
	return 0;
}

static int walk_section(struct walk *walk, const GElf_Shdr *section)
{
	const char *name = file_section_name(walk->file, section);
	bool ours = !strcmp(name, STAPSDT_SECTION) || !strcmp(name, PPN_SECTION);
	uint64_t size = section->sh_size;
	char *data;
	int err;

	if (!file_has(walk->file, section->sh_offset, size) || size > FILE_PART_MAX) {
		if (ours)
			image_warn(walk->image, "its section %s reaches past its end, so its probes are not known",
			           name);
		return 0;
	}
	walk->size += size;
	if (!file_has(walk->file, 0, walk->size)) { /* or a small file would fill the memory */
		image_warn(walk->image, "its note sections overlap; the one at offset %#llx is left out",
		           (unsigned long long)section->sh_offset);
		return 0;
	}
	data = arena_alloc(&walk->image->arena, size + HEADER + sizeof(STAPSDT_OWNER));
	if (!data)
		return no_memory(walk);
	err = file_read(walk->file, section->sh_offset, size, data);
	if (err)
		return err;
	walk->start = section->sh_offset;
	return walk_notes(walk, data, size, section->sh_addralign == 8 && !ours ? 8 : 4, ours);
}

static int by_key(const void *a, const void *b)
{
	const struct note_signature *x = a, *y = b;

	return x->key != y->key ? (x->key > y->key) - (x->key < y->key) : (x->at > y->at) - (x->at < y->at);
}

static int by_type_key(const void *a, const void *b)
{
	const struct note_type *x = a, *y = b;

	return x->key != y->key ? (x->key > y->key) - (x->key < y->key) : (x->at > y->at) - (x->at < y->at);
}

static int by_location(const void *a, const void *b)
{
	const struct note_site *x = a, *y = b;

	return (x->location > y->location) - (x->location < y->location);
}

static int by_location_and_content(const void *a, const void *b)
{
	const struct note_site *x = a, *y = b;
	int order = by_location(a, b);

	return order                ? order
	       : x->line != y->line ? (x->line > y->line) - (x->line < y->line)
	                            : (x->flags > y->flags) - (x->flags < y->flags);
}

static bool same_signature(const struct note_signature *a, const struct note_signature *b)
{
	return a->line == b->line && a->kind == b->kind && a->nargs == b->nargs && a->flags == b->flags &&
	       !strcmp(a->file, b->file) && a->length == b->length && !memcmp(a->function, b->function, a->length);
}

static void settle(struct walk *walk)
{
	struct notes *notes = walk->notes;
	size_t n = 0;

	if (notes->nsignatures)
		qsort(notes->signatures, notes->nsignatures, sizeof(*notes->signatures), by_key);
	for (size_t i = 0; i < notes->nsignatures; i++) {
		struct note_signature *s = &notes->signatures[i], *last = n ? &notes->signatures[n - 1] : NULL;

		if (!last || last->key != s->key) {
			notes->signatures[n++] = *s;
		} else if (!last->disputed && !same_signature(last, s)) {
			last->disputed = true;
			image_warn(walk->image,
			           "signatures at offsets %#llx (%s:%u) and %#llx (%s:%u) are of one name and "
			           "differ, so neither is used",
			           (unsigned long long)last->at, last->file, last->line, (unsigned long long)s->at,
			           s->file, s->line);
		} else if (!last->ntypes) { /* there its types were not complete */
			last->types = s->types;
			last->ntypes = s->ntypes;
		}
	}
	notes->nsignatures = n;

	n = 0;
	if (notes->nsites)
		qsort(notes->sites, notes->nsites, sizeof(*notes->sites), by_location_and_content);
	for (size_t i = 0; i < notes->nsites; i++)
		if (!n || notes->sites[n - 1].location != notes->sites[i].location)
			notes->sites[n++] = notes->sites[i];
	notes->nsites = n;

	n = 0;
	if (notes->ntypes)
		qsort(notes->types, notes->ntypes, sizeof(*notes->types), by_type_key);
	for (size_t i = 0; i < notes->ntypes; i++)
		if (!n || notes->types[n - 1].key != notes->types[i].key)
			notes->types[n++] = notes->types[i];
	notes->ntypes = n;
}

static int by_floats_location(const void *a, const void *b)
{
	const struct note_floats *x = a, *y = b;

	return (x->location > y->location) - (x->location < y->location);
}

/* Sorts the notes. Two for one location, which no compiler writes, say nothing if they differ. */
static void settle_floats(struct notes *notes)
{
	size_t n = 0;

	if (notes->nfloats)
		qsort(notes->floats, notes->nfloats, sizeof(*notes->floats), by_floats_location);
	for (size_t i = 0; i < notes->nfloats; i++) {
		struct note_floats *last = n ? &notes->floats[n - 1] : NULL;

		if (!last || last->location != notes->floats[i].location)
			notes->floats[n++] = notes->floats[i];
		else if (last->floats != notes->floats[i].floats)
			last->floats = 0;
	}
	notes->nfloats = n;
}

int notes_read(const struct file *file, struct pp_image *image, struct notes *notes)
{
	struct walk walk = { .file = file, .image = image, .notes = notes };
	Elf_Scn *scn = NULL;
	GElf_Shdr section;
	int err = 0;

	*notes = (struct notes){ 0 };
	while (!err && (scn = elf_nextscn(file->elf, scn)) != NULL)
		if (gelf_getshdr(scn, &section) && section.sh_type == SHT_NOTE)
			err = walk_section(&walk, &section);
	if (err) {
		notes_release(notes);
	} else {
		settle(&walk);
		settle_floats(notes);
	}
	return err;
}

void notes_release(struct notes *notes)
{
	free(notes->notes);
	free(notes->signatures);
	free(notes->sites);
	free(notes->types);
	free(notes->floats);
	*notes = (struct notes){ 0 };
}

const struct note_signature *notes_signature(const struct notes *notes, uint64_t key)
{
	struct note_signature wanted = { .key = key };
	size_t low = 0, high = notes->nsignatures;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (notes->signatures[middle].key < wanted.key)
			low = middle + 1;
		else
			high = middle;
	}
	return low < notes->nsignatures && notes->signatures[low].key == key ? &notes->signatures[low] : NULL;
}

const struct note_site *notes_site(const struct notes *notes, uint64_t location)
{
	struct note_site wanted = { .location = location };

	return notes->nsites ? bsearch(&wanted, notes->sites, notes->nsites, sizeof(wanted), by_location) : NULL;
}

uint32_t notes_floats(const struct notes *notes, uint64_t location)
{
	struct note_floats wanted = { .location = location };
	const struct note_floats *found = NULL;

	if (notes->nfloats)
		found = bsearch(&wanted, notes->floats, notes->nfloats, sizeof(wanted), by_floats_location);
	return found ? found->floats : 0;
}
