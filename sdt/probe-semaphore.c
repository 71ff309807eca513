/* SPDX-License-Identifier: MIT */
/*
 * Checks that the semaphore of a note may be incremented. A note can name any variable of the program. Real semaphores
 * are in the section .probes or have the name that a program must use in its own code, and all are initialized with 0
 * (doc/design.md has a survey).
 */
#include "sdt/probe-semaphore.h"

#include <stdio.h>

/* Writes the name that dtrace(1) and sys/sdt.h give to the semaphore of PROVIDER:NAME. */
static void semaphore_name(const struct note *note, char *name, size_t room)
{
	snprintf(name, room, "%s_%s_semaphore", note->provider, note->name);
}

/*
 * Returns true if a semaphore of .bss may be written. runtime/ writes it itself, so it must be a variable of the right name.
 * The data before it in the segment must be in the file, because runtime/ finds the variable in a process by them.
 */
static bool semaphore_is_in_bss(const struct pp_image *image, const struct note *note, uint64_t address)
{
	char name[2 * NOTE_NAME_MAX + sizeof("__semaphore")];

	for (size_t i = 0; i < image->nsegments; i++) {
		const struct image_segment *s = &image->segments[i];
		uint64_t at = address - s->address;

		if (address < s->address || at >= s->memsz)
			continue;
		if (!(s->flags & PF_W) || s->flags & PF_X || !s->filesz || at < s->filesz ||
		    s->memsz - at < sizeof(uint16_t) || address % sizeof(uint16_t))
			return false;
		semaphore_name(note, name, sizeof(name));
		return image_names_object(image, name, address, sizeof(uint16_t));
	}
	return false;
}

char *site_semaphore_fault(const struct elf_file *file, struct pp_image *image, const struct note *note,
                           const struct section_range *probes, struct pp_site *site)
{
	static char no_memory[] = "out of memory checking its semaphore";
	struct arena *arena = &image->arena;
	unsigned long long address = site->semaphore;
	char name[2 * NOTE_NAME_MAX + sizeof("__semaphore")], value[2], *fault;
	uint64_t offset;

	semaphore_name(note, name, sizeof(name));
	if (!image_segment_offset(image, site->semaphore, PF_W, &offset) ||
	    !image_segment_offset(image, site->semaphore + 1, PF_W, &offset)) {
		site->semaphore_in_bss = semaphore_is_in_bss(image, note, site->semaphore);
		if (site->semaphore_in_bss)
			return NULL;
		fault = arena_printf(
			arena,
			"its semaphore at %#llx is in .bss, where the kernel cannot increment it, and no variable %s is at "
			"this address, so it may be any variable of the program; give it the section " SEMAPHORE_SECTION
			", as dtrace -G does",
			address, name);
	} else if (site->semaphore - probes->start >= probes->size &&
	           !image_names_place(image, name, site->semaphore)) {
		fault = arena_printf(arena,
		                     "its semaphore at %#llx is neither in section " SEMAPHORE_SECTION
		                     " nor named %s, so it may be any "
		                     "variable of the program, which arming would change",
		                     address, name);
	} else if (elf_file_read(file, offset - 1, sizeof(value), value) || value[0] || value[1]) {
		fault = arena_printf(arena, "its semaphore at %#llx is not 0 in the file, so it is another variable",
		                     address);
	} else {
		return NULL;
	}
	return fault ? fault : no_memory;
}
