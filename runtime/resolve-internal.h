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
/* Compiles the fetch program of a site. The request decides which arguments are strings, not the signature. */
int program_compile(struct targets *targets, const struct pp_site *site, const struct pp_request *request,
                    struct fetch_program *program);
/* Adds the points of all sites of a probe. Returns 0 or -ENOMEM. */
int resolver_add_sites(struct resolver *r, const struct pp_probe *probe);
/* Adds the points of a probe whose begin and end need each other: if one is refused, all are. Returns 0 or -ENOMEM. */
int resolver_add_together(struct resolver *r, const struct pp_probe *probe);

/* resolve-function.c: adds the points of the request's func: patterns in an image. Returns 0 or -ENOMEM. */
int resolver_add_functions(struct resolver *r, const struct pp_image *image);
/* Sets *probe to the probe of func:NAME, for the request's pattern i. NULL if the image has none. Returns 0 or -ENOMEM. */
int resolver_function(struct resolver *r, const struct pp_image *image, size_t i, const char *name,
                      struct pp_probe **probe);

/* resolve-call.c: adds a probe. If an expression of the request needs the call that it ends, adds the call instead. */
int resolver_add_probe(struct resolver *r, const struct pp_probe *probe);
/*
 * Adds the call that serves the request's pattern func:SYMBOL%return, if the plugin has made sites for the function's entry
 * and returns. Returns 0 or -ENOMEM.
 */
int resolver_add_return(struct resolver *r, const struct pp_image *image, size_t pattern, bool *is_added);
/* Adds the call from the request's first pattern to its second one. Returns 0, -EINVAL, or -ENOMEM. */
int resolver_add_latency(struct resolver *r, const struct pp_image *image);
/* Lists the patterns of the request and the begins that their calls may need. The caller frees the texts and the list. */
int request_list_patterns(const struct pp_request *request, char ***patterns, size_t *n);

#endif
