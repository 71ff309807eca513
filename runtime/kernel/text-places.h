/* SPDX-License-Identifier: MIT */
/* The addresses at which a process has the points of an image, and the bytes there. For the verify-*.c files. */
#ifndef RUNTIME_KERNEL_TEXT_PLACES_H
#define RUNTIME_KERNEL_TEXT_PLACES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sdt/image.h"

struct arm_point;
struct mapping;
struct process;

#define PLACE_SIZE sizeof(((struct pp_site *)0)->code) /* bytes that are read at each place */

struct text_place {
	uint64_t address;
	const struct mapping *mapping;
	size_t point; /* index among the points of text_places_find() */
	bool got;     /* the bytes were read */
	uint8_t bytes[PLACE_SIZE];
};

/* Initialize with zeros. */
struct text_places {
	struct text_place *list;
	size_t n, room;
};

/*
 * Finds the places of the points, which have one image, in the executable mappings of the process. Returns 0 or
 * -ENOMEM.
 */
int text_places_find(struct text_places *p, const struct process *process, struct arm_point *const *points, size_t n);
/* Sorts the places by address and reads the bytes. Returns 0, or a negative errno if nothing can be read from the process: -EPERM, -ESRCH, -ENOMEM. */
int text_places_read(struct text_places *p, const struct process *process, struct arm_point *const *points);
void text_places_release(struct text_places *p);

/* Returns true if the mapping with the index i maps the image's file. */
bool mapping_is_of_image(const struct process *process, size_t i, const struct pp_image *image);

/* Returns true if the point is armed there: a breakpoint, or for a fast point the call that the kernel makes of it. */
bool text_is_armed(const struct arm_point *point, const uint8_t *bytes);
/* Returns true if a uprobe has armed the second instruction of the site, and the point is the first one. */
bool text_shares_site(const struct arm_point *point, const uint8_t *bytes);
/* Returns true if the rest of the instruction, after the bytes of a breakpoint, is the file's. */
bool text_rest_is_files(const struct arm_point *point, const uint8_t *bytes);
/* Returns true if the bytes where a breakpoint would be are the file's. */
bool text_start_is_files(const struct arm_point *point, const uint8_t *bytes);
/*
 * Returns true if the endbr64 before the point is the file's; its first byte may be a breakpoint. Also true if the point
 * has none. A jump that replaces the begin of the function would bypass the point.
 */
bool text_before_is_files(const struct process *process, const struct arm_point *point, uint64_t address);
/* Returns the reason to refuse a point whose code differs. The caller frees it. */
char *text_reason_changed(const struct process *process, const struct pp_image *image);

#endif
