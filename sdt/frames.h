/* SPDX-License-Identifier: MIT */
/* Where code begins, by what every file has that can be unwound, stripped or not. */
#ifndef SDT_FRAMES_H
#define SDT_FRAMES_H

#include "sdt/elf-file.h"
#include "sdt/image.h"

struct frames {
	struct frame {
		uint64_t start, end; /* addresses of a function; end is start if it is a section's, or not known */
	} * list;                    /* by start */
	size_t n, room;
};

/* Reads the search table of .eh_frame_hdr and the starts of the sections of code. Returns -ENOMEM, or 0. */
int frames_read(const struct file *file, const struct pp_image *image, struct frames *frames);
void frames_release(struct frames *frames);

/* Returns the last start at or before the address, NULL if there is none. */
const struct frame *frames_before(const struct frames *frames, uint64_t address);

#endif
