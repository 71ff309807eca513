/* SPDX-License-Identifier: MIT */
/* Regions of trampolines, within reach of the text they serve: regions.c. */
#ifndef RUNTIME_AGENT_INPROC_REGIONS_H
#define RUNTIME_AGENT_INPROC_REGIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct life;

/* A region is a memfd that is mapped twice: to be written, and to be run. */
struct code_region {
	uint8_t *write, *run;
	struct life *life; /* the page before run */
	int fd;            /* the memfd, in the agent's thread; -1 */
	size_t used;
	bool closed; /* no more trampolines go into it */
};

/*
 * Returns a region with room for a trampoline, within reach of all from low to high, and
 * makes one if needed. Returns NULL if it cannot.
 */
struct code_region *region_find(uintptr_t low, uintptr_t high);
/* Call this in a new agent's thread or a forked child: lets trampolines work there. */
void regions_revive(void);
/* In a forked child: makes no more trampolines in memory that is shared with the parent. */
void regions_close(void);
/* hide: makes the unused parts of all regions inaccessible. Otherwise makes them accessible, and unlocked. */
void regions_hide(bool hide);

#endif
