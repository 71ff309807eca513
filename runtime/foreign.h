/* SPDX-License-Identifier: MIT */
/* Uprobes of other tools, and of sessions that nobody else sees. */
#ifndef RUNTIME_FOREIGN_H
#define RUNTIME_FOREIGN_H

#include <stdint.h>

struct pp_image;

enum foreign {
	FOREIGN_NONE,    /* no uprobe is at this offset */
	FOREIGN_UPROBE,
	FOREIGN_UNKNOWN, /* the kernel does not say, to this user or at all */
};

/* Finds out whether a uprobe is registered at this offset of the image's file. */
enum foreign foreign_uprobe(const struct pp_image *image, uint64_t offset);

#endif
