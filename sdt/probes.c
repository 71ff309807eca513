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
#include "sdt/object-file.h"
#include "sdt/probe-semaphore.h"
#include "sdt/signature.h"
#include "sdt/arg-types.h"
#include "sdt/symbols.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WINDOW 65536

/* What a note tells about its site. */
struct site_entry {
	uint64_t offset;   /* in the file */
	uint8_t noperands; /* of the note and its PPN_SITE note */
	bool left_out;     /* its code is not in the file, or its semaphore is not writable */
	bool has_flags;    /* of its own, in a PPN_SITE note */
	bool has_value;    /* they do not say that there is no value to return */
};

struct probe_builder {
	const struct elf_file *file;
	struct pp_image *image;
	const struct notes *notes;
	bool counts;                /* count sites, but do not make them */
	struct section_range *code; /* sections of code, sorted by address */
	size_t ncode;
	struct section_range semaphores; /* the section .probes */
	uint64_t base;                   /* address of .stapsdt.base; 0: none */
	uint32_t *order;                 /* the names of probes, sorted */
	struct site_entry *entries;      /* one for each note, in the order of the file */
	uint32_t *by_probe;              /* the indices of the notes, by probe in this order */
	struct pp_site *sites;           /* of all probes */
	size_t nsites;
	size_t dead; /* notes of dropped code */
	struct note first_dead;
};

/* What the sites of a probe have in common. */
struct probe_facts {
	const struct note_signature *signature; /* NULL: not known */
	const char *source, *function;          /* of the signature; NULL: not known */
	size_t noperands;                       /* the most that a site has */
	bool some_value;                        /* a site has a value to return */
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
			m->code[m->ncode++] = (struct section_range){ elf_file_section_address(m->file, scn, &section),
				                                      section.sh_size };
		else if (!m->base && (section.sh_flags & SHF_ALLOC) &&
		         !strcmp(elf_file_section_name(m->file, &section), STAPSDT_BASE_SECTION))
			m->base = elf_file_section_address(m->file, scn, &section);
		else if (section.sh_flags & SHF_WRITE &&
		         !strcmp(elf_file_section_name(m->file, &section), SEMAPHORE_SECTION))
			m->semaphores = (struct section_range){ elf_file_section_address(m->file, scn, &section),
				                                section.sh_size };
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

/* Returns by how much prelink has moved the program since the note was written. */
static uint64_t note_moved(const struct probe_builder *m, const struct note *note)
{
	return m->base && note->base ? m->base - note->base : 0;
}

static uint64_t note_address(const struct probe_builder *m, const struct note *note, uint64_t address)
{
	return (address + note_moved(m, note)) & (m->file->is_64 ? UINT64_MAX : UINT32_MAX);
}

/* Returns false, and counts the note, if its code is not in the file. */
static bool note_is_alive(struct probe_builder *m, const struct note *note, uint64_t *offset)
{
	uint64_t address = note_address(m, note, note->location);

	if (builder_is_code(m, address) && image_segment_offset(m->image, address, PF_X, offset))
		return true;
	if (!m->dead++ || note->at < m->first_dead.at)
		m->first_dead = *note;
	return false;
}

/* Returns false, with a warning, if the note must be left out because of its semaphore. */
static bool note_semaphore_is_writable(struct probe_builder *m, const struct note *note)
{
	unsigned long long semaphore = note_address(m, note, note->semaphore);

	if (!note->semaphore || image_is_writable(m->image, semaphore))
		return true;
	image_warn(m->image, "note at offset %#llx left out: the semaphore of %s:%s at %#llx is not in writable data",
	           (unsigned long long)note->at, note->provider, note->name, semaphore);
	return false;
}

static size_t operands_count(const char *text)
{
	size_t n = 0, length;

	for (text = operands_next(text, &length); text; text = operands_next(text + length, &length))
		n++;
	return n;
}

/* Returns the flags of a site. own and s may be NULL. */
static uint32_t site_flags(const struct note_site *own, const struct note_signature *s)
{
	return own ? own->flags : s ? s->flags : 0;
}

static void entry_init(struct probe_builder *m, const struct note *note, struct site_entry *entry)
{
	const struct note_site *own;
	size_t n, more;

	*entry = (struct site_entry){ .left_out = true };
	if (!note_is_alive(m, note, &entry->offset) || !note_semaphore_is_writable(m, note))
		return;
	own = notes_site(m->notes, note->location);
	n = operands_count(note->operands);
	more = own && own->operands ? operands_count(own->operands) : 0;
	entry->noperands = (uint8_t)(n + more <= OPERANDS_MAX ? n + more : n);
	entry->has_flags = own;
	entry->has_value = own && !(own->flags & (PPN_FLAG_TAIL | PPN_FLAG_NORETURN));
	entry->left_out = false;
}

/* Reads the notes in the order of the file, because memory is read fastest in order. */
static int builder_make_entries(struct probe_builder *m)
{
	struct note note;

	m->entries = calloc(m->notes->nnotes, sizeof(*m->entries));
	if (!m->entries)
		return -ENOMEM;
	for (size_t i = 0; i < m->notes->nnotes; i++) {
		note_decode(m->file, m->notes, i, &note);
		entry_init(m, &note, &m->entries[i]);
	}
	return 0;
}

static int note_compare(const void *a, const void *b, void *arg)
{
	const struct probe_builder *m = arg;
	uint32_t i = *(const uint32_t *)a, j = *(const uint32_t *)b;
	const struct site_entry *x = &m->entries[i], *y = &m->entries[j];
	struct note p, q;
	int order;

	if (x->offset != y->offset)
		return x->offset > y->offset ? 1 : -1;
	note_decode(m->file, m->notes, i, &p);
	note_decode(m->file, m->notes, j, &q);
	order = strcmp(p.operands, q.operands);
	if (!order)
		order = (p.semaphore > q.semaphore) - (p.semaphore < q.semaphore);
	return order ? order : (p.at > q.at) - (p.at < q.at);
}

static bool notes_are_equal(const struct probe_builder *m, uint32_t i, uint32_t j)
{
	struct note a, b;

	if (m->entries[i].offset != m->entries[j].offset)
		return false;
	note_decode(m->file, m->notes, i, &a);
	note_decode(m->file, m->notes, j, &b);
	return a.semaphore == b.semaphore && !strcmp(a.operands, b.operands);
}

/*
 * Sorts the n notes of a probe by their place, and drops those that are left out and all but one of equal ones. Returns how
 * many remain. Most files have the notes in the order of the code.
 */
static size_t builder_sort_sites(struct probe_builder *m, uint32_t *notes, size_t n)
{
	size_t alive = 0, kept = 0;
	bool sorted = true;

	for (size_t i = 0; i < n; i++) {
		if (m->entries[notes[i]].left_out)
			continue;
		sorted &= !alive || m->entries[notes[alive - 1]].offset < m->entries[notes[i]].offset;
		notes[alive++] = notes[i];
	}
	if (sorted)
		return alive;
	qsort_r(notes, alive, sizeof(*notes), note_compare, m);
	for (size_t i = 0; i < alive; i++)
		if (!kept || !notes_are_equal(m, notes[kept - 1], notes[i]))
			notes[kept++] = notes[i];
	return kept;
}

static int site_compare_offsets(const void *a, const void *b)
{
	const struct pp_site *x = *(struct pp_site *const *)a, *y = *(struct pp_site *const *)b;

	return (x->offset > y->offset) - (x->offset < y->offset);
}

/* Reads the bytes at each site. The sites are sorted by offset, so each part of the file is read once. */
static int sites_read_code(const struct elf_file *file, struct pp_site *const *sites, size_t nsites)
{
	uint64_t size = file->size, start = 0, filled = 0;
	char *window = malloc(WINDOW);
	int err = 0;

	if (!window)
		return -ENOMEM;
	for (size_t i = 0; i < nsites; i++) {
		struct pp_site *site = sites[i];
		size_t n = size - site->offset < sizeof(site->code) ? size - site->offset : sizeof(site->code);

		if (site->offset < start || site->offset + n > start + filled) {
			start = site->offset;
			filled = size - start < WINDOW ? size - start : WINDOW;
			err = elf_file_read(file, start, filled, window);
			if (err)
				break;
		}
		memcpy(site->code, window + (site->offset - start), n);
	}
	free(window);
	return err;
}

static int builder_read_code(const struct probe_builder *m)
{
	struct pp_site **order = m->nsites ? calloc(m->nsites, sizeof(struct pp_site *)) : NULL;
	int err;

	if (!m->nsites)
		return 0;
	if (!order)
		return -ENOMEM;
	for (size_t i = 0; i < m->nsites; i++)
		order[i] = &m->sites[i];
	qsort(order, m->nsites, sizeof(*order), site_compare_offsets);
	err = sites_read_code(m->file, order, m->nsites);
	free(order);
	return err;
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

/* Sets what a signature tells about a probe. */
static int probe_gather_facts(const struct probe_builder *m, const struct pp_probe *probe, struct probe_facts *facts)
{
	const struct note_signature *s = probe_find_signature(m->notes, probe);
	struct arena *arena = &m->image->arena;

	*facts = (struct probe_facts){ .signature = s };
	if (!s || m->counts)
		return 0;
	if (*s->file) {
		facts->source = s->line ? arena_printf(arena, "%s:%u", s->file, s->line) : s->file;
		if (!facts->source)
			return -ENOMEM;
	}
	if (*s->function)
		facts->function = s->function;
	else if (s->kind == PPN_KIND_FUNCTION)
		facts->function =
			arena_strndup(arena, probe->name, strlen(probe->name) - strlen(probe_name_ending(probe->name)));
	return s->kind == PPN_KIND_FUNCTION && !facts->function ? -ENOMEM : 0;
}

/* Appends the operands of a PPN_SITE note to those of the site. Returns 0 or -ENOMEM. */
static int site_join_operands(const struct probe_builder *m, const struct note_site *own, struct pp_site *site)
{
	char *joined;

	if (!own || !own->operands || !*own->operands)
		return 0;
	joined = arena_printf(&m->image->arena, "%s%s%s", site->operands, *site->operands ? " " : "", own->operands);
	if (!joined)
		return -ENOMEM;
	if (operands_count(joined) <= OPERANDS_MAX)
		site->operands = joined;
	return 0;
}

/* Sets the function, source line and operands of a site. */
static int site_describe(const struct probe_builder *m, const struct probe_facts *facts, const struct note_site *own,
                         struct pp_site *site)
{
	const struct note_signature *s = facts->signature;

	site->source = (char *)facts->source;
	if (own && own->line && facts->source && own->line != s->line) {
		site->source = arena_printf(&m->image->arena, "%s:%u", s->file, own->line);
		if (!site->source)
			return -ENOMEM;
	}
	site->function = (char *)(facts->function ? facts->function : image_function(m->image, site->address));
	return site_join_operands(m, own, site);
}

/* Makes the site of a note. */
static int site_make(struct probe_builder *m, const struct pp_probe *probe, size_t i, const struct probe_facts *facts,
                     struct pp_site *site)
{
	const struct note_site *own;
	struct note note;

	note_decode(m->file, m->notes, i, &note);
	own = notes_site(m->notes, note.location);
	*site = (struct pp_site){
		.probe = probe,
		.address = note_address(m, &note, note.location),
		.offset = m->entries[i].offset,
		.operands = (char *)note.operands,
		.flags = site_flags(own, facts->signature),
		.floats = notes_floats(m->notes, note.location),
		.noted = true,
	};
	if (note.semaphore) {
		site->has_semaphore = true;
		site->semaphore = note_address(m, &note, note.semaphore);
		site->refused = site_semaphore_fault(m->file, m->image, &note, &m->semaphores, site);
		site->has_semaphore = image_segment_offset(m->image, site->semaphore, PF_W, &site->semaphore_offset);
	}
	return site_describe(m, facts, own, site);
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

/* Returns the index in probe->args of an argument of the signature; -1 if it is not among them. */
static int probe_arg_index(const struct pp_probe *probe, const struct note_signature *s, unsigned wanted)
{
	const char *text = s->args;
	size_t nth = 0;

	for (unsigned arg = 0; arg < s->nargs && nth < probe->nargs; arg++, text += strlen(text) + 1) {
		if (arg == wanted)
			return *text == PPN_CLASS_NONE ? -1 : (int)nth;
		nth += *text != PPN_CLASS_NONE;
	}
	return -1;
}

/* Makes arguments strings whose length is another argument. */
static void probe_set_lengths(struct pp_probe *probe, const struct note_signature *s)
{
	for (unsigned i = 0; i < s->nstrings; i++) {
		int string = probe_arg_index(probe, s, (uint8_t)s->strings[2 * i]);
		int length = probe_arg_index(probe, s, (uint8_t)s->strings[2 * i + 1]);
		char class = string < 0 ? PPN_CLASS_NONE : probe->args[string].class;

		if (length < 0 || (class != PPN_CLASS_POINTER && class != PPN_CLASS_STRING) ||
		    (probe->args[length].class != PPN_CLASS_SIGNED && probe->args[length].class != PPN_CLASS_UNSIGNED))
			continue;
		probe->args[string].class = PPN_CLASS_STRING;
		probe->args[string].length = (uint16_t)(length + 1);
	}
}

static int probe_name_args(struct probe_builder *m, struct pp_probe *probe, const struct probe_facts *facts)
{
	const char *ending = probe_name_ending(probe->name);
	const struct note_signature *s = facts->signature;
	size_t noperands = facts->noperands;
	int err;

	if (!s)
		return signature_unnamed(m->image, probe, noperands);
	if (s->kind == PPN_KIND_PROBE || !strcmp(ending, "__entry"))
		err = signature_named(m->image, probe, s->args, s->nargs, NULL);
	else
		err = signature_named(m->image, probe, s->result,
		                      !strcmp(ending, "__return") && *s->result != PPN_CLASS_VOID && facts->some_value,
		                      "result");
	if (err)
		return err;
	if (noperands <= probe->nargs) {
		bool is_result = s->kind == PPN_KIND_FUNCTION && strcmp(ending, "__entry");

		probe_describe_args(m, probe, s, is_result);
		if (!is_result)
			probe_set_lengths(probe, s);
		return 0;
	}
	image_warn(m->image, "the signature of %s:%s, %s, is not used: the probe has %zu operand%s", probe->provider,
	           probe->name, probe->signature, noperands, plural(noperands));
	probe->signature = NULL;
	return signature_unnamed(m->image, probe, noperands);
}

/* Adds to the facts what the sites of these notes tell. */
static void probe_add_facts(const struct probe_builder *m, const uint32_t *notes, size_t n, struct probe_facts *facts)
{
	const struct note_signature *s = facts->signature;
	bool value = s && !(s->flags & (PPN_FLAG_TAIL | PPN_FLAG_NORETURN));

	for (size_t i = 0; i < n; i++) {
		const struct site_entry *entry = &m->entries[notes[i]];

		facts->noperands = entry->noperands > facts->noperands ? entry->noperands : facts->noperands;
		facts->some_value |= entry->has_flags ? entry->has_value : value;
	}
}

/* Makes the probe of a name. A probe without sites is not one. */
static int builder_make_probe(struct probe_builder *m, const struct note_name *name, uint32_t *notes)
{
	struct pp_probe *probe = &m->image->probes[m->image->nprobes];
	size_t n = builder_sort_sites(m, notes, name->notes);
	struct probe_facts facts;
	int err;

	if (!n)
		return 0;
	*probe = (struct pp_probe){
		.image = m->image,
		.provider = (char *)name->provider,
		.name = (char *)name->name,
		.sites = m->counts ? NULL : m->sites + m->nsites,
		.nsites = n,
	};
	m->image->nprobes++;
	m->nsites += n;
	err = probe_gather_facts(m, probe, &facts);
	for (size_t i = 0; i < n && !m->counts && !err; i++)
		err = site_make(m, probe, notes[i], &facts, &probe->sites[i]);
	if (err)
		return err;
	probe_add_facts(m, notes, n, &facts);
	return probe_name_args(m, probe, &facts);
}

static int name_compare(const void *a, const void *b, void *names)
{
	const struct note_name *x = (const struct note_name *)names + *(const uint32_t *)a;
	const struct note_name *y = (const struct note_name *)names + *(const uint32_t *)b;
	int order = strcmp(x->provider, y->provider);

	return order ? order : strcmp(x->name, y->name);
}

/* Sorts the names, and the notes by name. Sets *n to the number of wanted names. */
static int builder_sort_notes(struct probe_builder *m, size_t *n)
{
	const struct notes *notes = m->notes;
	uint32_t *next = calloc(notes->nnames, sizeof(*next)), at = 0;

	m->order = calloc(notes->nnames, sizeof(*m->order));
	m->by_probe = calloc(notes->nnotes, sizeof(*m->by_probe));
	if (!next || !m->order || !m->by_probe) {
		free(next);
		return -ENOMEM;
	}
	*n = 0;
	for (size_t i = 0; i < notes->nnames; i++)
		if (notes->names[i].notes)
			m->order[(*n)++] = (uint32_t)i;
	qsort_r(m->order, *n, sizeof(*m->order), name_compare, notes->names);
	for (size_t i = 0; i < *n; i++) {
		next[m->order[i]] = at;
		at += notes->names[m->order[i]].notes;
	}
	for (size_t i = 0; i < notes->nnotes; i++)
		m->by_probe[next[notes->name_of[i]]++] = (uint32_t)i;
	free(next);
	return 0;
}

static int builder_make_probes(struct probe_builder *m, size_t n)
{
	const struct notes *notes = m->notes;
	struct pp_image *image = m->image;
	uint32_t *of_probe = m->by_probe;
	int err;

	image->probes = arena_alloc(&image->arena, n * sizeof(*image->probes));
	if (!m->counts)
		m->sites = arena_alloc(&image->arena, notes->nnotes * sizeof(*m->sites));
	if (!image->probes || (!m->sites && !m->counts))
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		err = builder_make_probe(m, &notes->names[m->order[i]], of_probe);
		if (err)
			return err;
		of_probe += notes->names[m->order[i]].notes;
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
	           m->dead, plural(m->dead), m->first_dead.provider, m->first_dead.name,
	           (unsigned long long)m->first_dead.location);
	if (image->nwarnings > before)
		image->dropped = image->warnings[before];
}

static int builder_run(struct probe_builder *m)
{
	int err = types_make(m->image, m->notes);
	size_t n;

	if (err || builder_find_sections(m) || builder_make_entries(m) || builder_sort_notes(m, &n))
		return -ENOMEM;
	builder_warn_dropped(m);
	err = builder_make_probes(m, n);
	return err || m->counts ? err : builder_read_code(m);
}

int probes_make(const struct elf_file *file, struct pp_image *image, const struct notes *notes, bool counts)
{
	struct probe_builder m = { .file = file, .image = image, .notes = notes, .counts = counts };
	int err;

	if (!notes->nnotes)
		return 0;
	err = builder_run(&m);
	free(m.entries);
	free(m.order);
	free(m.by_probe);
	free(m.code);
	return err == -ENOMEM ? error_nomem() : err;
}
