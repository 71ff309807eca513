/* SPDX-License-Identifier: MIT */
/* Starts of functions by the unwind tables, which stripped files have as well. */
#ifndef SDT_FRAMES_H
#define SDT_FRAMES_H

#include "sdt/elf-file.h"
#include "sdt/image.h"

struct frames {
	struct frame_range {
		uint64_t start, end; /* end is start if it is not known, and for the start of a section */
	} * list;                    /* sorted by start */
	size_t n, room;
};

/* Reads the search table of .eh_frame_hdr and the starts of code sections. Returns 0 or -ENOMEM. */
int frames_read(const struct elf_file *file, const struct pp_image *image, struct frames *frames);
void frames_release(struct frames *frames);

/* Returns the last frame that starts at or before the address, NULL if not found. */
const struct frame_range *frames_before(const struct frames *frames, uint64_t address);

#endif
