/* SPDX-License-Identifier: MIT */
/* What an attachment with points of SITE_CALL and SITE_LEAVE has beside the others (emit-calls.c). */
#ifndef RUNTIME_KERNEL_RETURNS_H
#define RUNTIME_KERNEL_RETURNS_H

#include <stddef.h>
#include <stdint.h>

#include "runtime/backend.h"
#include "runtime/kernel/emit.h"

struct store;

struct calls {
	int map, frames;
	int ended_link, executed_link; /* at the tracepoints of a thread's end and of exec */
	uint32_t depth; /* frames of a thread: at most maxactive, KERNEL_FRAMES_MAX, and what the kernel allocates */
	struct kernel_calls *counts; /* of each point, mapped */
	size_t size;
};

#define CALLS_NONE                                                             \
	(struct calls)                                                         \
	{                                                                      \
		.map = -1, .frames = -1, .ended_link = -1, .executed_link = -1 \
	}

/* 0 and nothing made where no point is of a call. */
int calls_open(struct calls *calls, struct arm_point *const *points, size_t npoints, uint32_t nindices,
               unsigned maxactive);
int calls_pin(const struct calls *calls, const struct store *store, int attachment, bool links);
/* What is pinned; nothing where there is none. */
int calls_get(struct calls *calls, const struct store *store, int attachment, uint32_t nindices);
void calls_unpin(const struct store *store, int attachment);
/* Closes what only programs need. */
void calls_unhook(struct calls *calls);
void calls_close(struct calls *calls);
void calls_counts(const struct calls *calls, uint32_t point, struct pp_counts *counts);

#endif
