/* SPDX-License-Identifier: MIT */
#ifndef RUNTIME_RESOLVE_INTERNAL_H
#define RUNTIME_RESOLVE_INTERNAL_H

#include "runtime/resolve.h"

struct resolver {
	struct targets *targets;
	const struct pp_request *request;
	const struct process *process; /* that the points are for; NULL: all processes */
};

/* resolve-site.c: adds the point of a site. Returns 0 or -ENOMEM; other errors are those of the point. */
int resolver_add_site(struct resolver *r, const struct pp_site *site);
void program_free(void *program);

/* resolve-function.c: adds the points of the request's func: patterns in an image. Returns 0 or -ENOMEM. */
int resolver_add_functions(struct resolver *r, const struct pp_image *image);

#endif
