/* SPDX-License-Identifier: MIT */
/* Faults of a note's addresses and of several notes together. */
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "runtime/lint.h"

#define PAGE 4096

/* Returns the segment that has the address in memory, NULL if none does. */
static const struct image_segment *lint_segment(const struct lint *lint, uint64_t address)
{
	for (size_t i = 0; i < lint->image->nsegments; i++)
		if (address - lint->image->segments[i].address < lint->image->segments[i].memsz)
			return &lint->image->segments[i];
	return NULL;
}

static int probe_compare_note(const void *probe, const void *note)
{
	const struct pp_probe *p = probe;
	const struct note *n = note;
	int order = strcmp(p->provider, n->provider);

	return order ? order : strcmp(p->name, n->name);
}

static int site_compare_offset(const void *site, const void *offset)
{
	uint64_t a = ((const struct pp_site *)site)->offset, b = *(const uint64_t *)offset;

	return (a > b) - (a < b);
}

/* Returns true if the image has a site for the note: its location is in a section of code. */
static bool note_has_site(const struct lint *lint, const struct note *note, uint64_t address)
{
	const struct pp_image *image = lint->image;
	size_t p = lower_bound(image->probes, image->nprobes, sizeof(*image->probes), note, probe_compare_note), s;
	const struct pp_probe *probe = &image->probes[p];
	uint64_t offset;

	if (p == image->nprobes || probe_compare_note(probe, note) ||
	    !image_segment_offset(image, address, PF_X, &offset))
		return false;
	s = lower_bound(probe->sites, probe->nsites, sizeof(*probe->sites), &offset, site_compare_offset);
	return s < probe->nsites && probe->sites[s].offset == offset;
}

/* Returns true if the semaphore is the reason why the image has no site for the note. */
static bool note_semaphore_is_wrong(const struct lint *lint, const struct note *note)
{
	const struct image_segment *segment = lint_segment(lint, lint_address(lint, note, note->semaphore));

	return note->semaphore && (!segment || !(segment->flags & PF_W));
}

void lint_place(struct lint *lint, const struct note *note)
{
	uint64_t address = lint_address(lint, note, note->location);
	const struct image_segment *segment = lint_segment(lint, address);

	if (!note->base || !lint->base)
		lint_report(lint, note, "PP002",
		            "give the section .stapsdt.base the flag R (retain), as current versions of sys/sdt.h do",
		            !note->base ? "its base is 0, so tools cannot find the site after the file was prelinked"
		                        : "the file has no section .stapsdt.base, so tools cannot find the site after "
		                          "the file was prelinked");
	if (note_has_site(lint, note, address) || note_semaphore_is_wrong(lint, note))
		return;
	if (segment && !(segment->flags & PF_X))
		lint_report(lint, note, "PP016", "put the function into a section with the flags ax",
		            "its location is in a segment that is not executable");
	else
		lint_report(
			lint, note, "PP001",
			"link with a linker that drops the notes of dropped code (bfd, or lld with notes of a current "
			"sys/sdt.h)",
			"its location is not in executable code: the linker dropped the code and kept the note");
}

/* Returns true if another writable segment of the file has data in the page of the file that has the offset. */
static bool lint_page_is_shared(const struct lint *lint, const struct image_segment *segment, uint64_t offset)
{
	uint64_t page = offset & -(uint64_t)PAGE;

	for (size_t i = 0; i < lint->image->nsegments; i++) {
		const struct image_segment *other = &lint->image->segments[i];

		if (other != segment && other->flags & PF_W && other->filesz && other->offset < page + PAGE &&
		    other->offset + other->filesz > page)
			return true;
	}
	return false;
}

void lint_semaphore(struct lint *lint, const struct note *note)
{
	uint64_t address = lint_address(lint, note, note->semaphore), offset;
	const struct image_segment *segment;

	if (!note->semaphore)
		return;
	segment = lint_segment(lint, address);
	if (!segment || !(segment->flags & PF_W) || !image_segment_offset(lint->image, address, PF_W, &offset) ||
	    !image_segment_offset(lint->image, address + 1, PF_W, &offset)) {
		lint_report(
			lint, note, "PP003", "define the semaphore with section(\".probes\")",
			segment && segment->flags & PF_W
				? "its semaphore at %#llx is in .bss: the kernel cannot raise it, because the file does "
				  "not have it"
				: "its semaphore at %#llx is not in writable data",
			(unsigned long long)address);
		return;
	}
	if (lint_page_is_shared(lint, segment, offset))
		lint_report(
			lint, note, "PP004", "link with -Wl,-z,norelro, or with bfd",
			"its semaphore at %#llx is in a page of the file that two writable segments map, so the kernel "
			"may raise the other copy",
			(unsigned long long)address);
}

static bool notes_share_probe(const struct note *a, const struct note *b)
{
	return !strcmp(a->name, b->name) && !strcmp(a->provider, b->provider);
}

void lint_probes(struct lint *lint)
{
	const struct note *two = NULL; /* the last note whose probe's semaphores were reported */

	for (size_t i = 0; i < lint->n; i++) {
		const struct note *note = &lint->notes[i], *last = i ? note - 1 : NULL;
		bool same = last && notes_share_probe(last, note);

		if (!strcmp(note->provider, "func") && !same)
			lint_report(lint, note, "PP013", "rename the provider",
			            "its provider is called func, which stands for functions without probes");
		if (!same)
			continue;
		if (last->semaphore != note->semaphore && (!two || !notes_share_probe(two, note))) {
			lint_report(lint, note, "PP005", "define one semaphore for the probe, in one file",
			            "its sites have different semaphores, of which some tools raise only one");
			two = note;
		}
		if (last->location == note->location && last->semaphore == note->semaphore &&
		    !strcmp(last->operands, note->operands))
			lint_report(lint, note, "PP006", "link the object file once",
			            "two notes of the probe are equal, so some tools count its hits twice");
	}
}

static int note_compare_semaphores(const void *a, const void *b)
{
	const struct note *x = *(const struct note *const *)a, *y = *(const struct note *const *)b;

	return (x->semaphore > y->semaphore) - (x->semaphore < y->semaphore);
}

static int note_compare_locations(const void *a, const void *b)
{
	const struct note *x = *(const struct note *const *)a, *y = *(const struct note *const *)b;

	return (x->location > y->location) - (x->location < y->location);
}

/* Returns pointers to the notes in another order, NULL if memory allocation fails. The caller frees the array. */
static const struct note **lint_sort(const struct lint *lint, int (*compare)(const void *, const void *))
{
	const struct note **notes = calloc(lint->n + 1, sizeof(*notes));

	for (size_t i = 0; notes && i < lint->n; i++)
		notes[i] = &lint->notes[i];
	if (notes)
		qsort(notes, lint->n, sizeof(*notes), compare);
	return notes;
}

void lint_semaphores(struct lint *lint)
{
	const struct note **notes = lint_sort(lint, note_compare_semaphores);

	for (size_t from = 0, to; notes && from < lint->n; from = to) {
		for (to = from + 1; to < lint->n && notes[to]->semaphore == notes[from]->semaphore; to++)
			;
		if (notes[from]->semaphore && to - from > SEMAPHORE_MAX)
			lint_report(lint, notes[from], "PP015", "give groups of probes semaphores of their own",
			            "%zu sites have its semaphore, which overflows if more than %d are armed",
			            to - from, SEMAPHORE_MAX);
	}
	free(notes);
}

void lint_locations(struct lint *lint)
{
	const struct note **notes = lint_sort(lint, note_compare_locations);

	for (size_t i = 1; notes && i < lint->n; i++)
		if (notes[i]->location && notes[i]->location == notes[i - 1]->location &&
		    !notes_share_probe(notes[i], notes[i - 1]))
			lint_report(
				lint, notes[i], "PP007", "link without --icf=all, or with --icf=safe",
				"it has the same location as %s:%s: the linker folded their functions into one, so a hit "
				"counts for both",
				notes[i - 1]->provider, notes[i - 1]->name);
	free(notes);
}
