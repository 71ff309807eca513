/* SPDX-License-Identifier: MIT */
/* Resolves a request to points: finds the images, probes, sites and processes that it names. */
#ifndef RUNTIME_RESOLVE_H
#define RUNTIME_RESOLVE_H

#include "runtime/backend.h"
#include "runtime/fetch/program.h"
#include "runtime/request.h"

/* A func: pattern that an image refuses as a whole. */
struct target_refusal {
	size_t pattern;
	const struct pp_image *image;
	char *reason;
	bool weak; /* not reported if the pattern matches in another image */
};

struct targets {
	struct pp_image **images;
	size_t nimages, images_room;
	struct arm_point *points; /* points of the same process and image are adjacent */
	size_t npoints, room;
	size_t *matched;    /* number of probes that each pattern of the request matches */
	bool *strings_used; /* for each of the request's strings, then addresses: a probe has an argument with this name */
	void *programs;     /* the different fetch programs, a search tree */
	void *sites;        /* a site for each of these programs that sites can share (resolve-site.c), a search tree */
	struct pp_probe **functions; /* the probes of func: patterns */
	size_t nfunctions, functions_room;
	struct call **calls; /* the calls that were made from probes of the images */
	size_t ncalls, calls_room;
	char **patterns; /* of probes that are kept when an image is opened: request_list_patterns() */
	size_t npatterns;
	struct code_map *map; /* of map_image, the last image with checked sites */
	const struct pp_image *map_image;
	struct target_refusal *refusals;
	size_t nrefusals, refusals_room;
};

/*
 * Finds the points of a request. Sets the error and the reason of points that cannot be armed. Returns 0, or a negative
 * errno with an error message: -EINVAL for an invalid request, -ENOENT or another error if a file or a process cannot be
 * read. The caller zeroes *targets before, and releases it with targets_release() in any case.
 */
int targets_find(struct targets *targets, const struct pp_request *request);
void targets_release(struct targets *targets);

#endif
