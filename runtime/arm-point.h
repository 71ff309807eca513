/* SPDX-License-Identifier: MIT */
/* A point that a request arms, and the result. */
#ifndef RUNTIME_ARM_POINT_H
#define RUNTIME_ARM_POINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct attachment;
struct backend;
struct fetch_program;
struct pp_image;
struct pp_site;
struct process;

struct arm_point {
	const struct pp_image *image;
	const struct pp_site *site;
	const struct process *process; /* NULL: every process */
	const struct fetch_program *program;
	const struct backend *backend; /* the backend that arms it */
	uint32_t point;                /* its index in the attachment's manifest */
	int error;                     /* 0, or a negative errno: not armed. -EALREADY: it was armed before */
	char *reason;                  /* error message, or a remark if error is 0; freed by free() */
	bool verified;
	bool pending;                     /* no process in scope maps the file */
	const struct attachment *already; /* if error is -EALREADY: the attachment that has it, as its point `point` */
	const struct arm_point *twin;     /* the same site by another path, which is armed instead; error: -EALREADY */
	unsigned calls_per_thread;        /* of a SITE_CALL: calls in flight that are tracked per thread; 0: no limit */
};

/* Sets the point's error and reason. Takes the reason, which may be NULL. */
void arm_point_refuse(struct arm_point *point, int error, char *reason);

/* Processes in which points for every process are not armed. Starts as zeros. */
struct arm_misses {
	struct arm_miss {
		struct arm_point *point;
		pid_t pid;
		char *reason; /* freed by free() */
	} * list;
	size_t n, room;
};

/*
 * Records that the point is not armed in the process. Refuses a point of one process with -EIO. Adds a miss for a
 * point of every process. Takes the reason. Returns 0 or -ENOMEM.
 */
int arm_misses_add(struct arm_misses *misses, struct arm_point *point, pid_t pid, char *reason);
void arm_misses_release(struct arm_misses *misses);

/* Returns how many points, from the first one on, have the image and process of the first one. n is at least 1. */
size_t arm_points_run(struct arm_point *const *points, size_t n);

#endif
