/* SPDX-License-Identifier: MIT */
/*
 * The registry of armed points. A point is {device, inode, offset}: it belongs to the file, whichever processes map it. A
 * consumer is a session's use of a point, for all processes or one. (Zijlstra, review of uprobes v11, 2010: a probe belongs
 * to the file, kept in one ordered tree; processes are filters.)
 *
 * The registry is filled from the manifests of sessions and then searched. It is not stored, because the manifests contain
 * all of it.
 */
#ifndef RUNTIME_POINT_H
#define RUNTIME_POINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct attachment;

struct point_consumer {
	uint64_t device, inode, offset;
	uint32_t session;    /* a number that the caller chose */
	uint32_t pid;        /* 0: any process */
	uint64_t start_time; /* of the process; 0: any, or not known */
	bool fast;           /* armed at the site's second instruction */
	uint32_t role;       /* enum site_role: the entry of a function can be a probe and the begin of calls */
	const struct attachment *attachment; /* valid while the session is open */
	uint32_t point;                      /* index in the attachment's manifest */
};

struct registry {
	struct point_consumer *consumers; /* in the order of their points, if sorted */
	size_t n, room;
	bool sorted;
};

struct pp_session;

/* Adds the armed points of a session, with this number. Returns 0 or -ENOMEM. */
int registry_add_session(struct registry *registry, const struct pp_session *session, uint32_t number);

/*
 * Sorts the registry. Returns the first consumer of a point, and the number of its consumers in *n, or NULL if the point
 * has none.
 */
const struct point_consumer *registry_find(struct registry *registry, dev_t device, ino_t inode, uint64_t offset,
                                           size_t *n);

/* Frees the contents. The registry is empty then. */
void registry_release(struct registry *registry);

#endif
