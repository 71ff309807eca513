/* SPDX-License-Identifier: MIT */
#include "runtime/lint.h"

#include <errno.h>
#include <probepoint-note.h>
#include <probepoint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

static uint64_t lint_find_base(const struct elf_file *file)
{
	Elf_Scn *scn = NULL;
	GElf_Shdr section;

	while ((scn = elf_nextscn(file->elf, scn)) != NULL)
		if (gelf_getshdr(scn, &section) && section.sh_flags & SHF_ALLOC &&
		    !strcmp(elf_file_section_name(file, &section), STAPSDT_BASE_SECTION))
			return section.sh_addr;
	return 0;
}

static int note_compare_probes(const void *a, const void *b)
{
	const struct note *x = a, *y = b;
	int order = strcmp(x->provider, y->provider);

	if (!order)
		order = strcmp(x->name, y->name);
	if (!order)
		order = (x->location > y->location) - (x->location < y->location);
	return order ? order : (x->at > y->at) - (x->at < y->at);
}

/* Damaged notes. Notes of dropped code are found by lint_place(). */
static void lint_damage(struct lint *lint)
{
	for (size_t i = 0; i < pp_image_warnings(lint->image); i++) {
		const char *warning = pp_image_warning(lint->image, i);
		size_t path = strlen(pp_image_path(lint->image)) + strlen(": ");

		if (warning != lint->image->dropped)
			lint_report(lint, NULL, "PP017", "build or link the file again", "%s", warning + path);
	}
}

static void lint_all(struct lint *lint)
{
	lint_damage(lint);
	for (size_t i = 0; i < lint->n && !lint->stopped; i++) {
		lint_place(lint, &lint->notes[i]);
		lint_semaphore(lint, &lint->notes[i]);
		lint_operands(lint, &lint->notes[i]);
		lint_code(lint, &lint->notes[i]);
	}
	lint_probes(lint);
	lint_semaphores(lint);
	lint_locations(lint);
}

/* Runs the checks on the notes of an open file. scratch owns what notes_read() allocates. */
static int lint_file(struct lint *lint, struct pp_image *scratch)
{
	const struct notes_filter all = { 0 };
	struct note *decoded;
	struct notes notes;
	int err = notes_read(lint->file, &all, scratch, &notes);

	if (err)
		return err;
	decoded = calloc(notes.nnotes + 1, sizeof(*decoded));
	if (!decoded) {
		notes_release(&notes);
		return error_nomem();
	}
	for (size_t i = 0; i < notes.nnotes; i++)
		note_decode(lint->file, &notes, i, &decoded[i]);
	qsort(decoded, notes.nnotes, sizeof(*decoded), note_compare_probes);
	lint->notes = decoded;
	lint->n = notes.nnotes;
	lint->base = lint_find_base(lint->file);
	lint_all(lint);
	free(decoded);
	notes_release(&notes);
	return lint->stopped;
}

int pp_image_check(const char *path, int (*fn)(const struct pp_finding *finding, void *arg), void *arg)
{
	struct pp_image scratch = { .path = (char *)path }, *image;
	struct elf_file file;
	struct lint lint = { .file = &file, .fn = fn, .arg = arg };
	int err = pp_image_open(path, &image);

	if (err)
		return err;
	err = elf_file_open(path, &file);
	if (!err)
		err = image_unchanged(image, &file.stat);
	lint.image = image;
	if (!err)
		err = lint_file(&lint, &scratch);
	elf_file_close(&file);
	arena_release(&scratch.arena);
	pp_image_free(image);
	return err;
}
