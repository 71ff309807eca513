/* SPDX-License-Identifier: MIT */
/* Shared by the files of pp_session_enable(): enable.c, enable-rounds.c, enable-skip.c and enable-report.c. */
#ifndef RUNTIME_ENABLE_H
#define RUNTIME_ENABLE_H

#include "runtime/backend.h"
#include "runtime/resolve.h"

/* One backend's share of a request. */
struct round {
	const struct backend *backend;
	bool usable; /* the backend can serve the request; the preferred one always can */
	bool locked;
	struct arm_point **points; /* what the backend is to arm, in the order of the targets */
	size_t npoints;
	struct attachment *attachment; /* NULL: nothing was armed */
	struct arm_misses misses;
};

struct enabling {
	struct pp_session *session;
	const struct pp_request *request;
	bool any; /* "auto": each point may be armed by any backend */
	struct targets targets;
	struct round rounds[BACKENDS_MAX]; /* in the order of the list, beginning with the preferred backend */
	size_t nrounds;
};

/* enable-rounds.c: arms all points, or none and returns an error. */
int rounds_arm(struct enabling *e);
/* Finds the points of the round that have no error. The caller frees round->points. Returns 0 or -ENOMEM. */
int round_collect(const struct enabling *e, struct round *round);
/* Returns -ESRCH if a process of the request has ended. */
int request_check_alive(const struct pp_request *request);

/*
 * enable-skip.c: points that this call does not arm, because the session has them already or because the same site is
 * armed by another path of the file (a twin). Their error is -EALREADY. The _verify functions read back whether these
 * points are armed. All four need the session's lock.
 */
int points_skip_armed(struct enabling *e);
int points_verify_armed(struct enabling *e);
int points_skip_twins(struct targets *t);
int twins_verify(struct enabling *e);

/* enable-report.c: makes the report. *report is set, if memory allows, even when this fails. */
int enabling_report(const struct enabling *e, struct pp_report **report);

#endif
