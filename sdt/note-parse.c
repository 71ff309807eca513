/* SPDX-License-Identifier: MIT */
/*
 * All strings of notes are checked here and nowhere later: a string ends inside its note and is UTF-8 without control
 * characters that could reach a terminal. Lengths are limited, because a section of overlapping notes would otherwise take
 * quadratic time.
 */
#include "sdt/note-parse.h"

#include "base/array.h"
#include "base/text.h"
#include "sdt/operand.h"

#include <errno.h>
#include <string.h>

#define NOTE_STRING_MAX 65536

/* Returns the string at *at and moves *at after it. Returns NULL if it does not end before `end` or is not printable. */
static const char *note_take_string(const char **at, const char *end, size_t longest)
{
	size_t room = (size_t)(end - *at);
	const char *text = *at, *nul = memchr(text, '\0', room < longest ? room : longest);

	if (!nul || !text_is_clean(text, (size_t)(nul - text)))
		return NULL;
	*at = nul + 1;
	return text;
}

/* Returns true if a text of operands may have more than OPERANDS_MAX. An operand and the space after it have 2 bytes. */
static bool note_operands_are_many(const char *text, size_t length)
{
	size_t n = 0;

	if (length < 2 * (OPERANDS_MAX + 1) - 1)
		return false;
	for (text = operands_next(text, &length); text; text = operands_next(text + length, &length))
		if (++n > OPERANDS_MAX)
			return true;
	return false;
}

int note_parse_probe(struct note_walk *walk, const char *desc, size_t size, const char **reason)
{
	size_t address = walk->file->is_64 ? 8 : 4;
	const char *end = desc + size, *strings = desc + 3 * address, *provider, *name, *operands;
	struct notes *notes = walk->notes;
	uint32_t index;

	*reason = "it is too short";
	if (size < 3 * address + 3)
		return -EBADMSG;
	*reason = "its provider is not terminated or not text";
	provider = note_take_string(&strings, end, NOTE_NAME_MAX);
	if (!provider)
		return -EBADMSG;
	*reason = "its provider is empty or has a colon";
	if (!*provider || memchr(provider, ':', (size_t)(strings - provider)))
		return -EBADMSG;
	*reason = "its name is not terminated or not text";
	name = note_take_string(&strings, end, NOTE_NAME_MAX);
	if (!name)
		return -EBADMSG;
	*reason = "its name is empty";
	if (!*name)
		return -EBADMSG;
	operands = strings;
	*reason = "its operands are not terminated or not text";
	if (!note_take_string(&strings, end, NOTE_STRING_MAX))
		return -EBADMSG;
	*reason = "its size differs from that of its strings";
	for (const char *rest = strings; rest < end; rest++) /* some tools round the size up */
		if (*rest || end - strings > 7)
			return -EBADMSG;
	*reason = "it has too many operands";
	if (note_operands_are_many(operands, (size_t)(strings - operands) - 1))
		return -EBADMSG;

	notes->stapsdt++;
	notes->nsemaphores += elf_file_address(walk->file, desc + 2 * address) != 0;
	if (!notes_filter_may_match(walk->wanted, provider, name))
		return 0;
	if (note_names_add(walk, provider, name, (size_t)(operands - provider), &index))
		return -ENOMEM;
	if (!notes->names[index].wanted)
		return 0;
	if (ALLOC_GROW(notes->refs, notes->nnotes + 1, walk->refs_room) ||
	    ALLOC_GROW(notes->name_of, notes->nnotes + 1, walk->name_of_room))
		return -ENOMEM;
	notes->names[index].notes++;
	notes->name_of[notes->nnotes] = index;
	notes->refs[notes->nnotes++] =
		(uint32_t)((desc - sizeof(STAPSDT_OWNER) - NOTE_HEADER - notes->data) / sizeof(uint32_t));
	return 0;
}

/* A section that starts at the position counts as before it, so that lower_bound() finds the section after it. */
static int section_compare_position(const void *section, const void *position)
{
	return ((const struct notes_section *)section)->at <= *(const size_t *)position ? -1 : 1;
}

void note_decode(const struct elf_file *file, const struct notes *notes, size_t i, struct note *note)
{
	const struct note_name *name = &notes->names[notes->name_of[i]];
	size_t address = file->is_64 ? 8 : 4, section;
	size_t position = (size_t)notes->refs[i] * sizeof(*notes->refs);
	const char *desc = notes->data + position + NOTE_HEADER + sizeof(STAPSDT_OWNER);

	section = lower_bound(notes->sections, notes->nsections, sizeof(*notes->sections), &position,
	                      section_compare_position);
	note->at = notes->sections[section - 1].start + (position - notes->sections[section - 1].at);
	note->location = elf_file_address(file, desc);
	note->base = elf_file_address(file, desc + address);
	note->semaphore = elf_file_address(file, desc + 2 * address);
	note->provider = name->provider;
	note->name = name->name;
	note->operands = desc + 3 * address + name->length;
}

static bool note_argument_is_valid(const char *text)
{
	const char *colon = strchr(text, ':');

	return *text && strchr("iupsbcfvx", *text) && colon && colon > text;
}

/* Adds the signature of this fixed part. strings points after the name of the file. */
static int signature_add(struct note_walk *walk, uint64_t at, const char *fixed, const char *file, const char *strings,
                         const char *end, const char **reason)
{
	struct note_signature s = { .at = at, .file = file };
	const char *text;

	s.key = elf_file_u64(walk->file, fixed);
	s.line = elf_file_u32(walk->file, fixed + 8);
	s.kind = (uint8_t)fixed[12];
	s.nargs = (uint8_t)fixed[13];
	s.flags = elf_file_u16(walk->file, fixed + 14);
	*reason = "its kind is unknown";
	if (s.kind != PPN_KIND_PROBE && s.kind != PPN_KIND_FUNCTION)
		return -EBADMSG;
	*reason = "its file or function is not terminated or not text";
	s.function = s.file ? note_take_string(&strings, end, NOTE_STRING_MAX) : NULL;
	if (!s.function)
		return -EBADMSG;
	*reason = "an argument is not terminated or not of the form CLASSNAME:TYPE";
	if (s.kind == PPN_KIND_FUNCTION) {
		s.result = note_take_string(&strings, end, NOTE_STRING_MAX);
		if (!s.result || !note_argument_is_valid(s.result))
			return -EBADMSG;
	}
	s.args = strings;
	for (int i = 0; i < s.nargs; i++) {
		text = note_take_string(&strings, end, NOTE_STRING_MAX);
		if (!text || !note_argument_is_valid(text) || *text == PPN_CLASS_VOID)
			return -EBADMSG;
	}
	s.length = (size_t)(strings - s.function);
	if (strings < end && (size_t)(end - strings) > 9u * (uint8_t)*strings) {
		s.ntypes = (uint8_t)*strings;
		s.types = strings + 1;
		strings = s.types + 9 * s.ntypes;
		if (strings < end && (size_t)(end - strings) > 2u * (uint8_t)*strings) {
			s.nstrings = (uint8_t)*strings;
			s.strings = strings + 1;
		}
	}

	if (ALLOC_GROW(walk->notes->signatures, walk->notes->nsignatures + 1, walk->signatures_room))
		return -ENOMEM;
	walk->notes->signatures[walk->notes->nsignatures++] = s;
	return 0;
}

int note_parse_signature(struct note_walk *walk, uint64_t at, const char *desc, size_t size, const char **reason)
{
	const char *end = desc + size, *strings = desc + PPN_SIGNATURE_FIXED, *file;

	*reason = "it is too short";
	if (size < PPN_SIGNATURE_FIXED + sizeof("") + sizeof(""))
		return -EBADMSG;
	file = note_take_string(&strings, end, NOTE_STRING_MAX);
	return signature_add(walk, at, desc, file, strings, end, reason);
}

/* One invalid signature is left out with a warning; the others are still added. */
int note_parse_signatures(struct note_walk *walk, uint64_t desc_offset, const char *desc, size_t size,
                          const char **reason)
{
	const char *end = desc + size, *at = desc, *file = note_take_string(&at, end, NOTE_STRING_MAX);

	*reason = "its file is not terminated or not text";
	if (!file)
		return -EBADMSG;
	while (end - at >= 2) {
		uint16_t length = elf_file_u16(walk->file, at);
		int err;

		at += 2;
		*reason = "a signature in it is too short or too long";
		if (length < PPN_SIGNATURE_FIXED + sizeof("") || length > end - at)
			return -EBADMSG;
		err = signature_add(walk, desc_offset + (uint64_t)(at - desc), at, file, at + PPN_SIGNATURE_FIXED,
		                    at + length, reason);
		if (err == -EBADMSG)
			image_warn(walk->image, "signature at offset %#llx left out: %s",
			           (unsigned long long)(desc_offset + (uint64_t)(at - desc)), *reason);
		else if (err)
			return err;
		at += length;
	}
	return 0;
}

int note_parse_site(struct note_walk *walk, const char *desc, size_t size, const char **reason)
{
	size_t address = walk->file->is_64 ? 8 : 4;
	const char *strings = desc + address + 8;
	struct note_site site = { 0 };
	size_t n = 0, length;

	*reason = "it is too short";
	if (size < address + 8)
		return -EBADMSG;
	site.location = elf_file_address(walk->file, desc);
	site.line = elf_file_u32(walk->file, desc + address);
	site.flags = elf_file_u32(walk->file, desc + address + 4);
	if (size > address + 8)
		site.operands = note_take_string(&strings, desc + size, NOTE_STRING_MAX);
	for (const char *operand = site.operands ? operands_next(site.operands, &length) : NULL; operand;
	     operand = operands_next(operand + length, &length))
		if (++n > OPERANDS_MAX || !memchr(operand, '@', length)) {
			site.operands = NULL; /* a format that this version does not know */
			break;
		}

	if (ALLOC_GROW(walk->notes->sites, walk->notes->nsites + 1, walk->sites_room))
		return -ENOMEM;
	walk->notes->sites[walk->notes->nsites++] = site;
	return 0;
}

int note_parse_type(struct note_walk *walk, uint64_t at, const char *desc, size_t size, const char **reason)
{
	const char *end = desc + size, *strings = desc + 16;
	struct note_type type = { .at = at };

	*reason = "it is too short";
	if (size < 16 + sizeof(""))
		return -EBADMSG;
	type.key = elf_file_u64(walk->file, desc);
	type.size = elf_file_u32(walk->file, desc + 8);
	type.kind = elf_file_u16(walk->file, desc + 12);
	type.n = elf_file_u16(walk->file, desc + 14);
	*reason = "a name is not terminated or not text";
	type.name = note_take_string(&strings, end, NOTE_STRING_MAX);
	if (!type.name)
		return -EBADMSG;
	type.texts = strings;
	for (int i = 0; i < type.n; i++)
		if (!note_take_string(&strings, end, NOTE_STRING_MAX))
			return -EBADMSG;
	*reason = "its key does not match its contents";
	if (type.key != ppn_hash(desc + 8, (size_t)(strings - desc - 8)))
		return -EBADMSG;

	if (ALLOC_GROW(walk->notes->types, walk->notes->ntypes + 1, walk->types_room))
		return -ENOMEM;
	walk->notes->types[walk->notes->ntypes++] = type;
	return 0;
}

int note_parse_floats(struct note_walk *walk, const char *desc, size_t size, const char **reason)
{
	size_t address = walk->file->is_64 ? 8 : 4;

	*reason = "it is too short";
	if (size < address + 4)
		return -EBADMSG;
	if (ALLOC_GROW(walk->notes->floats, walk->notes->nfloats + 1, walk->floats_room))
		return -ENOMEM;
	walk->notes->floats[walk->notes->nfloats++] = (struct note_floats){
		.location = elf_file_address(walk->file, desc),
		.floats = elf_file_u32(walk->file, desc + address),
	};
	return 0;
}
