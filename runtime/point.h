/* SPDX-License-Identifier: MIT */
/*
 * The registry of points. A point is {device, inode, offset}: it exists whoever
 * maps the file. Whoever wants to know of its hits is a consumer on top of it.
 * (Zijlstra, review of uprobes v11, 2010: a probe belongs to the file, kept in one
 * ordered tree; processes are filters.)
 *
 * The registry is filled from the sessions' descriptions and then asked; what can
 * be derived from them is not kept anywhere else.
 */
#ifndef RUNTIME_POINT_H
#define RUNTIME_POINT_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct attachment;

struct consumer {
	uint64_t device, inode, offset;
	uint32_t session, pid; /* session: the caller's number for it; pid 0: any */
	uint64_t start_time;   /* of the process; 0: any, or not known */
	uint32_t role;         /* a function's entry may be a probe, and begin the calls of another */
	uint64_t semaphore_offset;
	const struct attachment *attachment; /* valid while the session is open */
	uint32_t point;                      /* in the attachment's manifest */
};

struct registry {
	struct consumer *consumers; /* in the order of their points */
	size_t n, room;
	int sorted;
};

struct pp_session;

/* Adds what is armed in the session. -ENOMEM. */
int registry_add_session(struct registry *registry, const struct pp_session *session, uint32_t number);
/* The consumers of a point: the first of them, and *n. */
const struct consumer *registry_find(struct registry *registry, dev_t device, ino_t inode, uint64_t offset, size_t *n);
void registry_release(struct registry *registry);

#endif
