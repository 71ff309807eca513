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
	const struct backend *backend; /* the backend that arms the point */
	uint32_t point;                /* its index in the attachment's manifest */
	int error;                     /* 0, or a negative errno: not armed. -EALREADY: it was armed before */
	char *reason;                  /* error message, or a remark if error is 0; freed by free() */
	bool fast; /* to be armed at the site's second instruction; the backend clears it if that cannot be */
	bool verified;
	bool pending;                     /* no process in scope maps the file */
	const struct attachment *already; /* -EALREADY: the attachment that has the point, as number `point` */
	const struct arm_point *twin;     /* -EALREADY: the same site by another path, which is armed instead */
	unsigned calls_per_thread;        /* of a SITE_CALL: calls of one thread that are tracked at a time; 0: all */
};

/* Returns the offset in the file that the kernel backend arms. */
uint64_t arm_point_offset(const struct arm_point *point);

/* Adds a remark to the point's reason. Takes ownership of the remark, which may be NULL. */
void arm_point_remark(struct arm_point *point, char *remark);

/* Sets the point's error and reason. Takes ownership of the reason, which may be NULL. */
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
 * Records that the point is not armed in the process: refuses a point of one process with -EIO, or adds a miss for a
 * point of every process. Takes ownership of the reason. Returns 0 or -ENOMEM.
 */
int arm_misses_add(struct arm_misses *misses, struct arm_point *point, pid_t pid, char *reason);
void arm_misses_release(struct arm_misses *misses);

/* Returns how many points at the beginning have the image and the process of the first. n is at least 1. */
size_t arm_points_run(struct arm_point *const *points, size_t n);

#endif
