/* SPDX-License-Identifier: MIT */
/* The trampolines of sites: trampolines.c. */
#ifndef RUNTIME_AGENT_INPROC_TRAMPOLINES_H
#define RUNTIME_AGENT_INPROC_TRAMPOLINES_H

#include "runtime/agent/inproc/maps.h"
#include "runtime/agent/inproc/site-table.h"

/* Returns the ranges of the image that contains the text, and of the program. They are never freed. NULL: no memory. */
const struct image_ranges *image_get(const struct map_entry *text);
/*
 * Makes a trampoline for the consumers that the site has in this pass, or keeps the
 * last one if it has the same, and stores its address in site->trampoline. The code is
 * complete after trampolines_finish().
 */
enum agent_reason trampoline_get(struct patch_site *site, const struct map_entry *text,
                                 const struct image_ranges *image);
void trampolines_finish(void);

#endif
