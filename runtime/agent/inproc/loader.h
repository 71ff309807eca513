/* SPDX-License-Identifier: MIT */
/* The images that the C library's loader has mapped. For the agent's thread only. */
#ifndef RUNTIME_AGENT_INPROC_LOADER_H
#define RUNTIME_AGENT_INPROC_LOADER_H

#include "runtime/agent/inproc/maps.h"

enum loader_state {
	LOADER_NOT_LOADED,
	LOADER_LOADED,
	LOADER_CHANGING, /* not in the loader's list, which is being changed */
};

/* Reads the loader's lists of images, after maps_read(). Returns 0 or a negative errno. */
int loader_read(void);
/*
 * Returns whether the loader has mapped the image of the text. Only dlclose(3) unmaps
 * such an image. The program may unmap other text at any moment.
 */
enum loader_state loader_has(const struct map_entry *text);

#endif
