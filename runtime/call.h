/* SPDX-License-Identifier: MIT */
/*
 * Calls: pairs of probes of which one begins what the other ends.
 *
 * 1. NAME__entry and NAME__return of a function that the plugin has built. An expression over NAME__return that uses the
 *    duration or an argument of NAME__entry makes the resolver arm both.
 * 2. The two probes of a request for a latency (pp_request_latency()), with or without a key.
 *
 * 3. func:SYMBOL%return of a function whose returns have sites of the plugin, which cost less than its return instructions.
 *
 * A call is one probe with the sites of both. The sites of the begin have the role SITE_CALL, those of the end SITE_LEAVE.
 * Its arguments are those of the end, then those of the begin (the first FETCH_ENTRY_MAX), then the duration. An argument
 * of the begin whose name the end has too is called begin_NAME. In the third case they have the order
 * of func:SYMBOL%return: the parameters, which arg0, arg1, ... name too, ret, and the duration.
 */
#ifndef RUNTIME_CALL_H
#define RUNTIME_CALL_H

#include "runtime/fetch/program.h"
#include "runtime/function.h"
#include "sdt/image.h"

struct call {
	struct pp_probe probe; /* must be first: points have a pointer to this */
	const struct pp_probe *begin;
	size_t nresults;                                      /* arguments of the end */
	size_t nsaved;                                        /* arguments of the begin that the end can use */
	uint8_t kind[FETCH_ENTRY_MAX], size[FETCH_ENTRY_MAX]; /* of these */
	enum site_match match;
	bool of_function; /* the third case */
};

/*
 * Makes the call from begin to end, which must live as long as it does. The probe has the given provider and name. Returns
 * 0, -EINVAL if it would have too many arguments, or -ENOMEM. The caller frees it with call_free().
 */
int call_new(const struct pp_probe *begin, const struct pp_probe *end, const char *provider, const char *name,
             enum site_match match, struct call **call);

/*
 * Finds the probes of the entry and the returns of a function of an image, by the function's symbol and address. Returns
 * false if it has none, or if sites of inlined copies are among them.
 */
bool call_of_function(const struct pp_image *image, const char *symbol, uint64_t address, const struct pp_probe **entry,
                      const struct pp_probe **end);
void call_free(struct call *call);

/*
 * Compiles the program of a site of the call. *site may be a copy whose probe's arguments have other types, and begin a copy of
 * the call's begin. key is the expression of the call's key, NULL without one. Fails as fetch_compile() and filter_compile() do,
 * and with -EINVAL if the key is a string at one end of the call only.
 */
int call_compile(const struct pp_site *site, const struct pp_probe *begin, const char *key,
                 struct fetch_program *program);

#endif
