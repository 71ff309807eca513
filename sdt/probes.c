/* SPDX-License-Identifier: MIT */
/*
 * Probes: notes sorted into probes and their sites.
 *
 * A linker that drops code leaves some of its notes behind, with a location of
 * almost nothing (0, 4, 7: what remains of a relocation against no section). So a
 * location must lie in an executable segment that the file holds, and in a
 * section of code, since low addresses are the ELF header's in many libraries.
 * Such notes are no damage; they are counted into one warning.
 *
 * Prelink moves addresses and forgets those in notes: the section .stapsdt.base
 * moves along, and its address less the one that a note remembers says how far.
 */
#include "sdt/probes.h"

#include "base/error.h"
#include "base/text.h"
#include "sdt/operand.h"
#include "sdt/signature.h"
#include "sdt/arg-types.h"
#include "sdt/symbols.h"

#include <errno.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WINDOW 65536
#define SEMAPHORE_SECTION ".probes"

struct range {
	uint64_t start, size;
};

/* A site on its way to its probe. */
struct entry {
	const struct note *note;
	struct pp_site site;
};

struct making {
	const struct file *file;
	struct pp_image *image;
	const struct notes *notes;
	struct range *code; /* sections of it, by address */
	size_t ncode;
	struct range semaphores; /* the section .probes */
	uint64_t base;           /* .stapsdt.base, 0 for none */
	struct entry *entries, **order;
	size_t n;
	size_t dead;
	const struct note *first_dead;
};

static int by_start(const void *a, const void *b)
{
	const struct range *x = a, *y = b;

	return (x->start > y->start) - (x->start < y->start);
}

static int find_code(struct making *m)
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
			m->code[m->ncode++] = (struct range){ section.sh_addr, section.sh_size };
		else if (!m->base && (section.sh_flags & SHF_ALLOC) &&
		         !strcmp(file_section_name(m->file, &section), STAPSDT_BASE_SECTION))
			m->base = section.sh_addr;
		else if (section.sh_flags & SHF_WRITE &&
		         !strcmp(file_section_name(m->file, &section), SEMAPHORE_SECTION))
			m->semaphores = (struct range){ section.sh_addr, section.sh_size };
	}
	qsort(m->code, m->ncode, sizeof(*m->code), by_start);
	return 0;
}

static bool is_code(const struct making *m, uint64_t address)
{
	size_t low = 0, high = m->ncode;

	while (low < high) { /* the first that starts behind it */
		size_t middle = low + (high - low) / 2;

		if (m->code[middle].start <= address)
			low = middle + 1;
		else
			high = middle;
	}
	return low && address - m->code[low - 1].start < m->code[low - 1].size;
}

/* The offset of an address in a segment with that flag. */
static bool find_offset(const struct pp_image *image, uint64_t address, unsigned flag, uint64_t *offset)
{
	for (size_t i = 0; i < image->nsegments; i++) {
		const struct image_segment *s = &image->segments[i];

		if (address >= s->address && address - s->address < s->filesz && (s->flags & flag) == flag) {
			*offset = s->offset + (address - s->address);
			return true;
		}
	}
	return false;
}

/* True for data of the file and for what is zero after it (.bss). */
static bool is_writable(const struct pp_image *image, uint64_t address)
{
	for (size_t i = 0; i < image->nsegments; i++)
		if (address - image->segments[i].address < image->segments[i].memsz && image->segments[i].flags & PF_W)
			return true;
	return false;
}

/* dtrace(1) and sys/sdt.h call the semaphore of a:b a_b_semaphore. */
static void name_semaphore(const struct note *note, char *name, size_t room)
{
	snprintf(name, room, "%s_%s_semaphore", note->provider, note->name);
}

/*
 * A semaphore in .bss is written by hand, so it must be a variable of that name: any other place may be anything. The
 * data in front of it, by which it is found in a process, must be in the file.
 */
static bool is_semaphore_in_bss(struct making *m, const struct note *note, uint64_t address)
{
	char name[2 * NOTE_NAME_MAX + sizeof("__semaphore")];

	for (size_t i = 0; i < m->image->nsegments; i++) {
		const struct image_segment *s = &m->image->segments[i];
		uint64_t at = address - s->address;

		if (address < s->address || at >= s->memsz)
			continue;
		if (!(s->flags & PF_W) || s->flags & PF_X || !s->filesz || at < s->filesz ||
		    s->memsz - at < sizeof(uint16_t) || address % sizeof(uint16_t))
			return false;
		name_semaphore(note, name, sizeof(name));
		return image_names_object(m->image, name, address, sizeof(uint16_t));
	}
	return false;
}

/*
 * Says why a semaphore must not be counted up, NULL if it may be. A note can name any variable. Real semaphores are in
 * the section .probes, or have the name that a program must use in its own code, and all begin as 0
 * (doc/design.md has the survey).
 */
static char *semaphore_fault(struct making *m, const struct note *note, struct pp_site *site)
{
	static char no_memory[] = "not enough memory to say what is wrong with its semaphore";
	struct arena *arena = &m->image->arena;
	unsigned long long address = site->semaphore;
	char name[2 * NOTE_NAME_MAX + sizeof("__semaphore")], value[2], *fault;
	uint64_t offset;

	name_semaphore(note, name, sizeof(name));
	if (!find_offset(m->image, site->semaphore, PF_W, &offset) ||
	    !find_offset(m->image, site->semaphore + 1, PF_W, &offset)) {
		site->semaphore_in_bss = is_semaphore_in_bss(m, note, site->semaphore);
		if (site->semaphore_in_bss)
			return NULL;
		fault = arena_printf(
			arena,
			"its semaphore, at %#llx, is in .bss and not in the file, where the kernel could count "
			"it up, and no variable %s is there, so that it may be any variable of the program; "
			"give it the section " SEMAPHORE_SECTION ", as dtrace -G does",
			address, name);
	} else if (site->semaphore - m->semaphores.start >= m->semaphores.size &&
	           !image_names_place(m->image, name, site->semaphore)) {
		fault = arena_printf(arena,
		                     "its semaphore, at %#llx, is neither in section " SEMAPHORE_SECTION " nor called "
		                     "%s: it may be any variable of the program, which arming would change",
		                     address, name);
	} else if (file_read(m->file, offset - 1, sizeof(value), value) || value[0] || value[1]) {
		fault = arena_printf(arena, "its semaphore, at %#llx, is not 0 in the file, so it is another variable",
		                     address);
	} else {
		return NULL;
	}
	return fault ? fault : no_memory;
}

static void take(struct making *m, const struct note *note)
{
	uint64_t moved = m->base && note->base ? m->base - note->base : 0;
	uint64_t mask = m->file->is_64 ? UINT64_MAX : UINT32_MAX;
	struct entry *entry = &m->entries[m->n];
	struct pp_site *site = &entry->site;

	*entry = (struct entry){ .note = note };
	site->address = (note->location + moved) & mask;
	if (!is_code(m, site->address) || !find_offset(m->image, site->address, PF_X, &site->offset)) {
		if (m->dead++ == 0)
			m->first_dead = note;
		return;
	}
	if (note->semaphore) {
		site->has_semaphore = true;
		site->semaphore = (note->semaphore + moved) & mask;
		if (!is_writable(m->image, site->semaphore)) {
			image_warn(
				m->image,
				"note at offset %#llx left out: the semaphore of %s:%s, %#llx, is in no writable data",
				(unsigned long long)note->at, note->provider, note->name,
				(unsigned long long)site->semaphore);
			return;
		}
		site->refused = semaphore_fault(m, note, site);
		site->has_semaphore = find_offset(m->image, site->semaphore, PF_W, &site->semaphore_offset);
	}
	site->noted = true;
	site->operands = (char *)note->operands;
	site->floats = notes_floats(m->notes, note->location);
	m->n++;
}

static int by_offset(const void *a, const void *b)
{
	const struct entry *x = *(struct entry *const *)a, *y = *(struct entry *const *)b;

	return (x->site.offset > y->site.offset) - (x->site.offset < y->site.offset);
}

static int by_probe(const void *a, const void *b)
{
	const struct entry *x = *(struct entry *const *)a, *y = *(struct entry *const *)b;
	int order = strcmp(x->note->provider, y->note->provider);

	if (!order)
		order = strcmp(x->note->name, y->note->name);
	if (!order)
		order = by_offset(a, b);
	if (!order)
		order = strcmp(x->site.operands, y->site.operands);
	if (!order)
		order = (x->site.semaphore > y->site.semaphore) - (x->site.semaphore < y->site.semaphore);
	return order ? order : (x->note->at > y->note->at) - (x->note->at < y->note->at);
}

/* The bytes at each site, in the order of the file so that each part is read once. */
static int read_code(struct making *m)
{
	uint64_t size = (uint64_t)m->file->stat.st_size, start = 0, filled = 0;
	char *window = malloc(WINDOW);
	int err = window ? 0 : -ENOMEM;

	for (size_t i = 0; !err && i < m->n; i++) {
		struct pp_site *site = &m->order[i]->site;
		size_t n = size - site->offset < sizeof(site->code) ? size - site->offset : sizeof(site->code);

		if (site->offset < start || site->offset + n > start + filled) {
			start = site->offset;
			filled = size - start < WINDOW ? size - start : WINDOW;
			err = file_read(m->file, start, filled, window);
			if (err)
				break;
		}
		memcpy(site->code, window + (site->offset - start), n);
	}
	free(window);
	return err;
}

static bool same_site(const struct pp_site *a, const struct pp_site *b)
{
	return a->offset == b->offset && a->has_semaphore == b->has_semaphore && a->semaphore == b->semaphore &&
	       !strcmp(a->operands, b->operands);
}

/* The ending that names a function's probe, "" where the name is none's. */
static const char *ending_of(const char *name)
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

static const struct note_signature *find_signature(const struct notes *notes, const struct pp_probe *probe)
{
	const struct note_signature *s = notes_signature(notes, ppn_key(probe->provider, probe->name));
	const char *ending = ending_of(probe->name);
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

static size_t count_operands(const char *text)
{
	size_t n = 0, length;

	for (text = operands_next(text, &length); text; text = operands_next(text + length, &length))
		n++;
	return n;
}

/* Says of a probe's sites what its signature and their own notes know. */
static int describe(struct making *m, struct pp_probe *probe, struct entry **entries, const struct note_signature *s)
{
	struct arena *arena = &m->image->arena;
	const char *source = NULL, *function = NULL;
	struct pp_site *site = probe->sites;

	if (s && *s->file)
		source = s->line ? arena_printf(arena, "%s:%u", s->file, s->line) : s->file;
	if (s && *s->function)
		function = s->function;
	else if (s && s->kind == PPN_KIND_FUNCTION)
		function = arena_strndup(arena, probe->name, strlen(probe->name) - strlen(ending_of(probe->name)));
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
			if (count_operands(site->operands) > OPERANDS_MAX)
				site->operands = (char *)entries[i]->note->operands;
		}
		site->function = (char *)(function ? function : image_function(m->image, site->address));
	}
	return 0;
}

/* What is known of the types of a probe's arguments, of which some that the signature has are left out. */
static void describe_args(struct making *m, struct pp_probe *probe, const struct note_signature *s, bool is_result)
{
	const char *text = s->args;
	size_t nth = 0;

	for (unsigned i = 0; i < s->ntypes; i++) {
		const char *entry = s->types + 9 * i;

		if (is_result && probe->nargs && (uint8_t)*entry == PPN_RESULT)
			probe->args[0].described = types_find(m->image, file_u64(m->file, entry + 1));
	}
	for (unsigned arg = 0; !is_result && arg < s->nargs; arg++, text += strlen(text) + 1) {
		if (*text == PPN_CLASS_NONE)
			continue;
		for (unsigned i = 0; i < s->ntypes; i++)
			if ((uint8_t)s->types[9 * i] == arg && nth < probe->nargs)
				probe->args[nth].described =
					types_find(m->image, file_u64(m->file, s->types + 9 * i + 1));
		nth++;
	}
}

static int name_args(struct making *m, struct pp_probe *probe, const struct note_signature *s)
{
	const char *ending = ending_of(probe->name);
	size_t n, noperands = 0;
	bool some_value = false;
	int err;

	for (size_t i = 0; i < probe->nsites; i++) {
		n = count_operands(probe->sites[i].operands);
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
	if (!err && noperands <= probe->nargs)
		describe_args(m, probe, s, s->kind == PPN_KIND_FUNCTION && strcmp(ending, "__entry"));
	if (err || noperands <= probe->nargs)
		return err;
	image_warn(m->image, "the signature of %s:%s, %s, is not used: the probe has %zu operand%s", probe->provider,
	           probe->name, probe->signature, noperands, plural(noperands));
	probe->signature = NULL;
	return signature_unnamed(m->image, probe, noperands);
}

static bool same_probe(const struct entry *a, const struct entry *b)
{
	return !strcmp(a->note->name, b->note->name) && !strcmp(a->note->provider, b->note->provider);
}

/* Makes a probe of entries [from, to), which become its sites without those that are there twice. */
static int make_probe(struct making *m, size_t from, size_t to, struct pp_site *sites)
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
		if (probe->nsites && same_site(&sites[probe->nsites - 1], &m->order[i]->site))
			continue;
		m->order[from + probe->nsites] = m->order[i];
		sites[probe->nsites] = m->order[i]->site;
		sites[probe->nsites++].probe = probe;
	}
	s = find_signature(m->notes, probe);
	err = describe(m, probe, m->order + from, s);
	if (!err)
		err = name_args(m, probe, s);
	m->image->nprobes++;
	return err;
}

static int make_probes(struct making *m)
{
	struct pp_image *image = m->image;
	size_t n = m->n > 0, from = 0, sites = 0;
	struct pp_site *site;
	int err = 0;

	for (size_t i = 1; i < m->n; i++)
		n += !same_probe(m->order[i - 1], m->order[i]);
	image->probes = arena_alloc(&image->arena, n * sizeof(*image->probes));
	site = arena_alloc(&image->arena, m->n * sizeof(*site));
	if (!image->probes || !site)
		return -ENOMEM;
	for (size_t to = 1; !err && to <= m->n; to++) {
		if (to < m->n && same_probe(m->order[from], m->order[to]))
			continue;
		err = make_probe(m, from, to, site + sites);
		sites += image->probes[image->nprobes - 1].nsites;
		from = to;
	}
	return err;
}

int probes_make(const struct file *file, struct pp_image *image, const struct notes *notes)
{
	struct making m = { .file = file, .image = image, .notes = notes };
	int err = -ENOMEM;

	if (!notes->nnotes)
		return 0;
	m.entries = calloc(notes->nnotes, sizeof(*m.entries));
	m.order = calloc(notes->nnotes, sizeof(*m.order));
	if (!m.entries || !m.order || find_code(&m))
		goto out;
	for (size_t i = 0; i < notes->nnotes; i++)
		take(&m, &notes->notes[i]);
	if (m.dead) {
		size_t before = image->nwarnings;

		image_warn(image,
		           "%zu note%s left out whose code is not in the file; the first is %s:%s at address %#llx",
		           m.dead, plural(m.dead), m.first_dead->provider, m.first_dead->name,
		           (unsigned long long)m.first_dead->location);
		if (image->nwarnings > before)
			image->dropped = image->warnings[before];
	}
	for (size_t i = 0; i < m.n; i++)
		m.order[i] = &m.entries[i];
	qsort(m.order, m.n, sizeof(*m.order), by_offset);
	err = read_code(&m);
	if (err)
		goto out;
	qsort(m.order, m.n, sizeof(*m.order), by_probe);
	err = types_make(image, notes);
	if (!err)
		err = make_probes(&m);
out:
	free(m.entries);
	free(m.order);
	free(m.code);
	if (err == -ENOMEM)
		return error_set(ENOMEM, "not enough memory for the probes of '%s'", file->path);
	return err;
}

const char *pp_probe_provider(const struct pp_probe *probe)
{
	return probe->provider;
}

const char *pp_probe_name(const struct pp_probe *probe)
{
	return probe->name;
}

const char *pp_probe_signature(const struct pp_probe *probe)
{
	return probe->signature;
}

size_t pp_probe_args(const struct pp_probe *probe)
{
	return probe->nargs;
}

const struct pp_arg *pp_probe_arg(const struct pp_probe *probe, size_t i)
{
	return i < probe->nargs ? &probe->args[i] : NULL;
}

const char *pp_arg_name(const struct pp_arg *arg)
{
	return arg->name;
}

const char *pp_arg_type(const struct pp_arg *arg)
{
	return arg->type;
}

size_t pp_probe_sites(const struct pp_probe *probe)
{
	return probe->nsites;
}

const struct pp_site *pp_probe_site(const struct pp_probe *probe, size_t i)
{
	return i < probe->nsites ? &probe->sites[i] : NULL;
}

uint64_t pp_site_address(const struct pp_site *site)
{
	return site->address;
}

uint64_t pp_site_offset(const struct pp_site *site)
{
	return site->offset;
}

const char *pp_site_operands(const struct pp_site *site)
{
	return site->operands;
}

bool pp_site_semaphore(const struct pp_site *site, uint64_t *offset)
{
	if (site->has_semaphore && offset)
		*offset = site->semaphore_offset;
	return site->has_semaphore;
}

const char *pp_site_function(const struct pp_site *site)
{
	return site->function;
}

const char *pp_site_source(const struct pp_site *site)
{
	return site->source;
}

bool pp_probe_matches(const struct pp_probe *probe, const char *pattern)
{
	const char *colon = strchr(pattern, ':');
	char provider[NOTE_NAME_MAX];

	if (!colon)
		return fnmatch(pattern, probe->name, 0) == 0;
	if ((size_t)(colon - pattern) >= sizeof(provider))
		return false;
	memcpy(provider, pattern, (size_t)(colon - pattern));
	provider[colon - pattern] = '\0';
	return fnmatch(provider, probe->provider, 0) == 0 && fnmatch(colon + 1, probe->name, 0) == 0;
}
