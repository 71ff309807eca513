/* SPDX-License-Identifier: MIT */
/*
 * Makes probes and their sites from notes.
 *
 * - If a linker drops code, it may keep the notes of the code. The location in such a note is a small number (0, 4, 7):
 *   the addend of a relocation against the dropped section. Many libraries have their ELF header at these addresses, in
 *   an executable segment. So a location must be both in an executable segment and in a section of code. Other notes
 *   are left out; they are harmless, and one warning counts them.
 * - prelink(8) moves the program, but does not change the addresses in notes. It moves the section .stapsdt.base too.
 *   Each note contains the address that this section had before. So the distance is the section's address now, minus
 *   the address in the note.
 */
#include "sdt/probes.h"

#include "base/array.h"
#include "base/error.h"
#include "base/text.h"
#include "sdt/operand.h"
#include "sdt/probe-semaphore.h"
#include "sdt/signature.h"
#include "sdt/arg-types.h"
#include "sdt/symbols.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WINDOW 65536

/* A site that is not assigned to a probe yet. */
struct site_entry {
	const struct note *note;
	struct pp_site site;
};

struct probe_builder {
	const struct elf_file *file;
	struct pp_image *image;
	const struct notes *notes;
	struct section_range *code; /* sections of code, sorted by address */
	size_t ncode;
	struct section_range semaphores;     /* the section .probes */
	uint64_t base;                       /* address of .stapsdt.base; 0: none */
	struct site_entry *entries, **order; /* order: pointers to the entries, sorted */
	size_t n;                            /* entries */
	size_t dead;                         /* notes of dropped code */
	const struct note *first_dead;
};

static int section_compare(const void *a, const void *b)
{
	const struct section_range *x = a, *y = b;

	return (x->start > y->start) - (x->start < y->start);
}

static int builder_find_sections(struct probe_builder *m)
{
	const uint64_t wanted = SHF_ALLOC | SHF_EXECINSTR;
	Elf_Scn *scn = NULL;
	GElf_Shdr section;
	size_t n;

	if (elf_getshdrnum(m->file->elf, &n))
		n = 0;
	m->code = calloc(n + 1, sizeof(*m->code));
	if (!m->code)
		return -ENOMEM;
	while ((scn = elf_nextscn(m->file->elf, scn)) != NULL) {
		if (!gelf_getshdr(scn, &section))
			continue;
		if (section.sh_type == SHT_PROGBITS && (section.sh_flags & wanted) == wanted && m->ncode < n)
			m->code[m->ncode++] = (struct section_range){ section.sh_addr, section.sh_size };
		else if (!m->base && (section.sh_flags & SHF_ALLOC) &&
		         !strcmp(elf_file_section_name(m->file, &section), STAPSDT_BASE_SECTION))
			m->base = section.sh_addr;
		else if (section.sh_flags & SHF_WRITE &&
		         !strcmp(elf_file_section_name(m->file, &section), SEMAPHORE_SECTION))
			m->semaphores = (struct section_range){ section.sh_addr, section.sh_size };
	}
	qsort(m->code, m->ncode, sizeof(*m->code), section_compare);
	return 0;
}

/* A section that starts at the address counts as below it, so that lower_bound() finds the section after it. */
static int section_compare_address(const void *section, const void *address)
{
	return ((const struct section_range *)section)->start <= *(const uint64_t *)address ? -1 : 1;
}

static bool builder_is_code(const struct probe_builder *m, uint64_t address)
{
	size_t after = lower_bound(m->code, m->ncode, sizeof(*m->code), &address, section_compare_address);

	return after && address - m->code[after - 1].start < m->code[after - 1].size;
}

/* Returns true if the address is in a writable segment, .bss included. */
static bool image_is_writable(const struct pp_image *image, uint64_t address)
{
	for (size_t i = 0; i < image->nsegments; i++)
		if (address - image->segments[i].address < image->segments[i].memsz && image->segments[i].flags & PF_W)
			return true;
	return false;
}

static void builder_add_site(struct probe_builder *m, const struct note *note)
{
	uint64_t moved = m->base && note->base ? m->base - note->base : 0;
	uint64_t mask = m->file->is_64 ? UINT64_MAX : UINT32_MAX;
	struct site_entry *entry = &m->entries[m->n];
	struct pp_site *site = &entry->site;

	*entry = (struct site_entry){ .note = note };
	site->address = (note->location + moved) & mask;
	if (!builder_is_code(m, site->address) || !image_segment_offset(m->image, site->address, PF_X, &site->offset)) {
		if (m->dead++ == 0)
			m->first_dead = note;
		return;
	}
	if (note->semaphore) {
		site->has_semaphore = true;
		site->semaphore = (note->semaphore + moved) & mask;
		if (!image_is_writable(m->image, site->semaphore)) {
			image_warn(
				m->image,
				"note at offset %#llx left out: the semaphore of %s:%s at %#llx is not in writable data",
				(unsigned long long)note->at, note->provider, note->name,
				(unsigned long long)site->semaphore);
			return;
		}
		site->refused = site_semaphore_fault(m->file, m->image, note, &m->semaphores, site);
		site->has_semaphore = image_segment_offset(m->image, site->semaphore, PF_W, &site->semaphore_offset);
	}
	site->noted = true;
	site->operands = (char *)note->operands;
	site->floats = notes_floats(m->notes, note->location);
	m->n++;
}

static int site_compare_offsets(const void *a, const void *b)
{
	const struct site_entry *x = *(struct site_entry *const *)a, *y = *(struct site_entry *const *)b;

	return (x->site.offset > y->site.offset) - (x->site.offset < y->site.offset);
}

static int site_compare_probes(const void *a, const void *b)
{
	const struct site_entry *x = *(struct site_entry *const *)a, *y = *(struct site_entry *const *)b;
	int order = strcmp(x->note->provider, y->note->provider);

	if (!order)
		order = strcmp(x->note->name, y->note->name);
	if (!order)
		order = site_compare_offsets(a, b);
	if (!order)
		order = strcmp(x->site.operands, y->site.operands);
	if (!order)
		order = (x->site.semaphore > y->site.semaphore) - (x->site.semaphore < y->site.semaphore);
	return order ? order : (x->note->at > y->note->at) - (x->note->at < y->note->at);
}

/* Reads the bytes at each site. The sites are sorted by offset, so each part of the file is read once. */
static int builder_read_code(struct probe_builder *m)
{
	uint64_t size = (uint64_t)m->file->stat.st_size, start = 0, filled = 0;
	char *window = malloc(WINDOW);
	int err = 0;

	if (!window)
		return -ENOMEM;
	for (size_t i = 0; i < m->n; i++) {
		struct pp_site *site = &m->order[i]->site;
		size_t n = size - site->offset < sizeof(site->code) ? size - site->offset : sizeof(site->code);

		if (site->offset < start || site->offset + n > start + filled) {
			start = site->offset;
			filled = size - start < WINDOW ? size - start : WINDOW;
			err = elf_file_read(m->file, start, filled, window);
			if (err)
				break;
		}
		memcpy(site->code, window + (site->offset - start), n);
	}
	free(window);
	return err;
}

static bool sites_are_equal(const struct pp_site *a, const struct pp_site *b)
{
	return a->offset == b->offset && a->has_semaphore == b->has_semaphore && a->semaphore == b->semaphore &&
	       !strcmp(a->operands, b->operands);
}

/* Returns the ending of the name of a function's probe, "" for other probes. */
static const char *probe_name_ending(const char *name)
{
	static const char *const endings[] = { "__entry", "__return", "__unwind" };
	size_t length = strlen(name), n;

	for (size_t i = 0; i < sizeof(endings) / sizeof(*endings); i++) {
		n = strlen(endings[i]);
		if (length > n && !strcmp(name + length - n, endings[i]))
			return name + length - n;
	}
	return "";
}

static const struct note_signature *probe_find_signature(const struct notes *notes, const struct pp_probe *probe)
{
	const struct note_signature *s = notes_signature(notes, ppn_key(probe->provider, probe->name));
	const char *ending = probe_name_ending(probe->name);
	char stem[NOTE_NAME_MAX];

	if (s && s->kind == PPN_KIND_PROBE)
		return s->disputed ? NULL : s;
	if (!*ending)
		return NULL;
	memcpy(stem, probe->name, (size_t)(ending - probe->name));
	stem[ending - probe->name] = '\0';
	s = notes_signature(notes, ppn_key(probe->provider, stem));
	return s && s->kind == PPN_KIND_FUNCTION && !s->disputed ? s : NULL;
}

static size_t operands_count(const char *text)
{
	size_t n = 0, length;

	for (text = operands_next(text, &length); text; text = operands_next(text + length, &length))
		n++;
	return n;
}

/* Sets the function, source line, flags and further operands of a probe's sites. s may be NULL. */
static int probe_describe_sites(struct probe_builder *m, struct pp_probe *probe, struct site_entry **entries,
                                const struct note_signature *s)
{
	struct arena *arena = &m->image->arena;
	const char *source = NULL, *function = NULL;
	struct pp_site *site = probe->sites;

	if (s && *s->file)
		source = s->line ? arena_printf(arena, "%s:%u", s->file, s->line) : s->file;
	if (s && *s->function)
		function = s->function;
	else if (s && s->kind == PPN_KIND_FUNCTION)
		function =
			arena_strndup(arena, probe->name, strlen(probe->name) - strlen(probe_name_ending(probe->name)));
	if (s && ((*s->file && !source) || (s->kind == PPN_KIND_FUNCTION && !function)))
		return -ENOMEM;

	for (size_t i = 0; i < probe->nsites; i++, site++) {
		const struct note_site *own = notes_site(m->notes, entries[i]->note->location);

		site->flags = own ? own->flags : s ? s->flags : 0;
		site->source = (char *)source;
		if (own && own->line && source && own->line != s->line) {
			site->source = arena_printf(arena, "%s:%u", s->file, own->line);
			if (!site->source)
				return -ENOMEM;
		}
		if (own && own->operands && *own->operands) {
			site->operands = arena_printf(arena, "%s%s%s", site->operands, *site->operands ? " " : "",
			                              own->operands);
			if (!site->operands)
				return -ENOMEM;
			if (operands_count(site->operands) > OPERANDS_MAX)
				site->operands = (char *)entries[i]->note->operands;
		}
		site->function = (char *)(function ? function : image_function(m->image, site->address));
	}
	return 0;
}

/* Sets the types of a probe's arguments. Arguments without a class are in the signature but not in probe->args. */
static void probe_describe_args(struct probe_builder *m, struct pp_probe *probe, const struct note_signature *s,
                                bool is_result)
{
	const char *text = s->args;
	size_t nth = 0;

	for (unsigned i = 0; i < s->ntypes; i++) {
		const char *entry = s->types + 9 * i;

		if (is_result && probe->nargs && (uint8_t)*entry == PPN_RESULT)
			probe->args[0].described = types_find(m->image, elf_file_u64(m->file, entry + 1));
	}
	for (unsigned arg = 0; !is_result && arg < s->nargs; arg++, text += strlen(text) + 1) {
		if (*text == PPN_CLASS_NONE)
			continue;
		for (unsigned i = 0; i < s->ntypes; i++)
			if ((uint8_t)s->types[9 * i] == arg && nth < probe->nargs)
				probe->args[nth].described =
					types_find(m->image, elf_file_u64(m->file, s->types + 9 * i + 1));
		nth++;
	}
}

static int probe_name_args(struct probe_builder *m, struct pp_probe *probe, const struct note_signature *s)
{
	const char *ending = probe_name_ending(probe->name);
	size_t n, noperands = 0;
	bool some_value = false;
	int err;

	for (size_t i = 0; i < probe->nsites; i++) {
		n = operands_count(probe->sites[i].operands);
		noperands = n > noperands ? n : noperands;
		some_value |= !(probe->sites[i].flags & (PPN_FLAG_TAIL | PPN_FLAG_NORETURN));
	}
	if (!s)
		return signature_unnamed(m->image, probe, noperands);
	if (s->kind == PPN_KIND_PROBE || !strcmp(ending, "__entry"))
		err = signature_named(m->image, probe, s->args, s->nargs, NULL);
	else
		err = signature_named(m->image, probe, s->result,
		                      !strcmp(ending, "__return") && *s->result != PPN_CLASS_VOID && some_value,
		                      "result");
	if (err)
		return err;
	if (noperands <= probe->nargs) {
		probe_describe_args(m, probe, s, s->kind == PPN_KIND_FUNCTION && strcmp(ending, "__entry"));
		return 0;
	}
	image_warn(m->image, "the signature of %s:%s, %s, is not used: the probe has %zu operand%s", probe->provider,
	           probe->name, probe->signature, noperands, plural(noperands));
	probe->signature = NULL;
	return signature_unnamed(m->image, probe, noperands);
}

static bool entries_share_probe(const struct site_entry *a, const struct site_entry *b)
{
	return !strcmp(a->note->name, b->note->name) && !strcmp(a->note->provider, b->note->provider);
}

/* Makes a probe from entries [from, to). Equal sites become one. */
static int builder_make_probe(struct probe_builder *m, size_t from, size_t to, struct pp_site *sites)
{
	struct pp_probe *probe = &m->image->probes[m->image->nprobes];
	const struct note_signature *s;
	int err;

	*probe = (struct pp_probe){
		.image = m->image,
		.provider = (char *)m->order[from]->note->provider,
		.name = (char *)m->order[from]->note->name,
		.sites = sites,
	};
	for (size_t i = from; i < to; i++) {
		if (probe->nsites && sites_are_equal(&sites[probe->nsites - 1], &m->order[i]->site))
			continue;
		m->order[from + probe->nsites] = m->order[i];
		sites[probe->nsites] = m->order[i]->site;
		sites[probe->nsites++].probe = probe;
	}
	s = probe_find_signature(m->notes, probe);
	m->image->nprobes++;
	err = probe_describe_sites(m, probe, m->order + from, s);
	return err ? err : probe_name_args(m, probe, s);
}

static int builder_make_probes(struct probe_builder *m)
{
	struct pp_image *image = m->image;
	size_t n = m->n > 0, from = 0, sites = 0;
	struct pp_site *site;
	int err;

	for (size_t i = 1; i < m->n; i++)
		n += !entries_share_probe(m->order[i - 1], m->order[i]);
	image->probes = arena_alloc(&image->arena, n * sizeof(*image->probes));
	site = arena_alloc(&image->arena, m->n * sizeof(*site));
	if (!image->probes || !site)
		return -ENOMEM;
	for (size_t to = 1; to <= m->n; to++) {
		if (to < m->n && entries_share_probe(m->order[from], m->order[to]))
			continue;
		err = builder_make_probe(m, from, to, site + sites);
		if (err)
			return err;
		sites += image->probes[image->nprobes - 1].nsites;
		from = to;
	}
	return 0;
}

/* Warns once about all notes whose code the linker dropped. */
static void builder_warn_dropped(struct probe_builder *m)
{
	struct pp_image *image = m->image;
	size_t before = image->nwarnings;

	if (!m->dead)
		return;
	image_warn(image, "%zu note%s left out whose code is not in the file; the first is %s:%s at address %#llx",
	           m->dead, plural(m->dead), m->first_dead->provider, m->first_dead->name,
	           (unsigned long long)m->first_dead->location);
	if (image->nwarnings > before)
		image->dropped = image->warnings[before];
}

static int builder_run(struct probe_builder *m)
{
	const struct notes *notes = m->notes;
	int err;

	m->entries = calloc(notes->nnotes, sizeof(*m->entries));
	m->order = calloc(notes->nnotes, sizeof(*m->order));
	if (!m->entries || !m->order || builder_find_sections(m))
		return -ENOMEM;
	for (size_t i = 0; i < notes->nnotes; i++)
		builder_add_site(m, &notes->notes[i]);
	builder_warn_dropped(m);
	for (size_t i = 0; i < m->n; i++)
		m->order[i] = &m->entries[i];
	qsort(m->order, m->n, sizeof(*m->order), site_compare_offsets);
	err = builder_read_code(m);
	if (err)
		return err;
	qsort(m->order, m->n, sizeof(*m->order), site_compare_probes);
	err = types_make(m->image, notes);
	return err ? err : builder_make_probes(m);
}

int probes_make(const struct elf_file *file, struct pp_image *image, const struct notes *notes)
{
	struct probe_builder m = { .file = file, .image = image, .notes = notes };
	int err;

	if (!notes->nnotes)
		return 0;
	err = builder_run(&m);
	free(m.entries);
	free(m.order);
	free(m.code);
	return err == -ENOMEM ? error_nomem() : err;
}
