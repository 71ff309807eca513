/* SPDX-License-Identifier: MIT */
#ifndef SDT_PROBE_SEMAPHORE_H
#define SDT_PROBE_SEMAPHORE_H

#include "sdt/notes.h"

#define SEMAPHORE_SECTION ".probes"

struct section_range {
	uint64_t start, size; /* addresses as linked */
};

/*
 * Returns why the site's semaphore must not be incremented, NULL if it may be. The string belongs to the image's arena.
 * Sets site->semaphore_in_bss. `probes` is the section .probes, of size 0 if the file does not have it.
 */
char *site_semaphore_fault(const struct elf_file *file, struct pp_image *image, const struct note *note,
                           const struct section_range *probes, struct pp_site *site);

#endif
