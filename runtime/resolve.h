/* SPDX-License-Identifier: MIT */
/*
 * From a request to points: which images, probes and sites it means, in which
 * processes.
 */
#ifndef RUNTIME_RESOLVE_H
#define RUNTIME_RESOLVE_H

#include "runtime/backend.h"
#include "runtime/fetch/program.h"
#include "runtime/request.h"

struct targets {
	struct pp_image **images;
	size_t nimages;
	struct arm_point *points; /* points of one process and image stand together */
	size_t npoints, room;
	size_t *matched;             /* probes for each of the request's patterns */
	bool *strings_used;          /* of the request's strings, then addresses: a probe has such an argument */
	void *programs;              /* the different fetch programs, a search tree */
	struct pp_probe **functions; /* probes made for func:SYMBOL */
	size_t nfunctions;
	struct code_map *map; /* of the image at work, map_image */
	const struct pp_image *map_image;
	struct target_refusal {
		size_t pattern;
		const struct pp_image *image;
		char *reason;
		bool weak; /* says nothing if the pattern matched elsewhere */
	} * refusals;      /* patterns func:SYMBOL that an image refuses as a whole */
	size_t nrefusals;
};

/*
 * Points that cannot be armed have their error and reason set. -ENOENT and others
 * with a sentence: a file or a process that cannot be looked at.
 */
int targets_find(struct targets *targets, const struct pp_request *request);
void targets_release(struct targets *targets);

/* True where PATTERN matches "provider:name". */
bool target_matches(const char *probe, const char *pattern);

#endif
