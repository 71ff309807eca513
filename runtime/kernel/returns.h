/* SPDX-License-Identifier: MIT */
/* Maps and links of attachments that have points of SITE_CALL and SITE_LEAVE: see emit-returns.c. */
#ifndef RUNTIME_KERNEL_RETURNS_H
#define RUNTIME_KERNEL_RETURNS_H

#include <stddef.h>
#include <stdint.h>

#include "runtime/backend.h"
#include "runtime/kernel/emit.h"

struct session_pins;

struct kernel_returns {
	int map, frames, starts;       /* `calls`; task storage; the hash of calls with a key */
	int ended_link, executed_link; /* at the tracepoints of a thread's exit and of exec() */
	uint32_t depth;                /* frames of a thread */
	struct kernel_calls *counts;   /* mapped: an element per point */
	size_t size;
};

#define RETURNS_NONE                                                                         \
	(struct kernel_returns)                                                              \
	{                                                                                    \
		.map = -1, .frames = -1, .starts = -1, .ended_link = -1, .executed_link = -1 \
	}

/*
 * Creates the maps and the programs for calls. Does nothing if no point belongs to a call. nindices is the number of
 * points in the manifest. Returns 0 or a negative errno with an error message; returns_close() is needed after an error
 * too.
 */
int returns_open(struct kernel_returns *returns, struct arm_point *const *points, size_t npoints, uint32_t nindices,
                 unsigned maxactive);
/* Pins the map, and the links of the tracepoints if links is true. Returns 0 or a negative errno. */
int returns_pin(const struct kernel_returns *returns, const struct session_pins *pins, int attachment, bool links);
/* Opens the pinned map. Does nothing if it does not exist. Returns 0 or a negative errno with an error message. */
int returns_get(struct kernel_returns *returns, const struct session_pins *pins, int attachment, uint32_t nindices);
void returns_unpin(const struct session_pins *pins, int attachment);
/* Closes what only programs need. */
void returns_close_links(struct kernel_returns *returns);
void returns_close(struct kernel_returns *returns);
/* Sets the counters of unmatched ends to 0, because begins are armed after ends. Call it when all points are armed. */
void returns_begin(const struct kernel_returns *returns, struct arm_point *const *points, size_t npoints);
/* Sets the counts of calls of a point, which begins or ends them. */
void returns_counts(const struct kernel_returns *returns, uint32_t point, bool begins, struct pp_counts *counts);

#endif
