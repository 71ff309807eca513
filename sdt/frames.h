/* SPDX-License-Identifier: MIT */
/* Where code begins, by what every file has that can be unwound, stripped or not. */
#ifndef SDT_FRAMES_H
#define SDT_FRAMES_H

#include "sdt/file.h"
#include "sdt/image.h"

struct frames {
	struct frame {
		uint64_t start; /* address of the function */
		uint64_t fde;   /* address of its description; 0: the start of a section of code */
	} *list;                /* by start */
	size_t n, room;
};

/* Reads the search table of .eh_frame_hdr and the starts of the sections of code. Returns -ENOMEM, or 0. */
int frames_read(const struct file *file, const struct pp_image *image, struct frames *frames);
void frames_release(struct frames *frames);

/* Returns the last start at or before the address, NULL if there is none. */
const struct frame *frames_before(const struct frames *frames, uint64_t address);
/* Returns the end of the function that the frame describes, its start if the end is not known. */
uint64_t frame_end(const struct file *file, const struct pp_image *image, const struct frame *frame);

#endif
