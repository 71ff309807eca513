/* SPDX-License-Identifier: MIT */
/* The points of calls: see call.h. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/error.h"
#include "runtime/call.h"
#include "runtime/resolve-internal.h"

#define ENTRY "__entry"
#define RETURN "__return"

/* Returns the length of the name before the ending, 0 if it has another ending. */
static size_t name_stem(const char *name, const char *ending)
{
	size_t length = strlen(name), n = strlen(ending);

	return length > n && !strcmp(name + length - n, ending) ? length - n : 0;
}

/* Returns the length of SYMBOL if the pattern is func:SYMBOL%return and SYMBOL is a C name, else 0. */
static size_t function_return_stem(const char *pattern)
{
	const char *name = function_name(pattern);
	size_t n = name ? strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") : 0;

	return n && !strcmp(name + n, "%return") ? n : 0;
}

int request_list_patterns(const struct pp_request *request, char ***patterns, size_t *n)
{
	char **list = calloc(3 * request->npatterns + 1, sizeof(*list));

	*n = 0;
	if (!list)
		return error_nomem();
	*patterns = list;
	for (size_t i = 0; i < request->npatterns; i++) {
		size_t stem = name_stem(request->patterns[i], RETURN);

		list[(*n)++] = strdup(request->patterns[i]);
		if (stem && list[*n - 1])
			list[(*n)++] = error_format("%.*s%s", (int)stem, request->patterns[i], ENTRY);
		stem = function_return_stem(request->patterns[i]);
		if (stem && list[*n - 1])
			list[(*n)++] = error_format("*:%.*s__*", (int)stem, function_name(request->patterns[i]));
		if (!list[*n - 1]) {
			--*n;
			return error_nomem();
		}
	}
	return 0;
}

/* Returns the probe of the function's entry whose return the probe is, or NULL. */
static const struct pp_probe *probe_entry(const struct pp_probe *probe)
{
	const struct pp_image *image = probe->image;
	size_t stem = name_stem(probe->name, RETURN);

	for (size_t i = 0; stem && i < image->nprobes; i++) {
		const struct pp_probe *entry = &image->probes[i];

		if (!strcmp(entry->provider, probe->provider) && name_stem(entry->name, ENTRY) == stem &&
		    !memcmp(entry->name, probe->name, stem))
			return entry;
	}
	return NULL;
}

/* Makes a call, or finds the one that was made before with this name in the image. */
static int targets_call(struct targets *t, const struct pp_probe *begin, const struct pp_probe *end,
                        const char *provider, const char *name, enum site_match match, struct call **call)
{
	int err;

	for (size_t i = 0; i < t->ncalls; i++)
		if (t->calls[i]->begin == begin && t->calls[i]->probe.image == end->image &&
		    !strcmp(t->calls[i]->probe.name, name)) {
			*call = t->calls[i];
			return 0;
		}
	if (ALLOC_GROW(t->calls, t->ncalls + 1, t->calls_room))
		return -ENOMEM;
	err = call_new(begin, end, provider, name, match, call);
	if (!err)
		t->calls[t->ncalls++] = *call;
	return err;
}

/* Returns true if the site's program cannot be compiled because the request's expressions use other names. */
static bool site_lacks_names(struct resolver *r, const struct pp_site *site)
{
	struct fetch_program program = { 0 };
	int err = program_compile(r->targets, site, r->request, &program);

	fetch_release(&program);
	return err == -EINVAL;
}

int resolver_add_probe(struct resolver *r, const struct pp_probe *probe)
{
	const struct pp_probe *entry =
		r->request->filter || r->request->aggregate || r->request->print ? probe_entry(probe) : NULL;
	struct call *call;
	int err;

	if (!entry || !entry->nsites || !probe->nsites || !site_lacks_names(r, &probe->sites[0]))
		return resolver_add_sites(r, probe);
	err = targets_call(r->targets, entry, probe, probe->provider, probe->name, MATCH_FRAME, &call);
	if (err)
		return err == -EINVAL ? resolver_add_sites(r, probe) : err;
	return resolver_add_together(r, &call->probe);
}

int resolver_add_return(struct resolver *r, const struct pp_image *image, size_t pattern, bool *is_added)
{
	const char *name = function_name(r->request->patterns[pattern]);
	size_t stem = r->request->uretprobe ? 0 : function_return_stem(r->request->patterns[pattern]);
	const struct pp_probe *entry, *end;
	struct call *call = NULL;
	uint64_t address;
	char *symbol;
	int err;

	*is_added = false;
	if (!stem)
		return 0;
	symbol = strndup(name, stem);
	if (!symbol)
		return error_nomem();
	*is_added = !image_symbol(image, symbol, &address) && call_of_function(image, symbol, address, &entry, &end);
	free(symbol);
	if (!*is_added)
		return 0;
	err = targets_call(r->targets, entry, end, FUNCTION_PROVIDER, name, MATCH_FRAME, &call);
	if (err) {
		*is_added = false;
		return err == -EINVAL ? 0 : err;
	}
	r->targets->matched[pattern]++;
	return resolver_add_together(r, &call->probe);
}

/* ---- latencies ---- */

/* Sets *probe to the only probe of the image that pattern i matches, NULL if there is none. */
static int latency_find(struct resolver *r, const struct pp_image *image, size_t i, const struct pp_probe **probe)
{
	const char *pattern = r->request->patterns[i];
	struct pp_probe *function = NULL;

	*probe = NULL;
	if (function_name(pattern)) {
		int err = resolver_function(r, image, i, function_name(pattern), &function);

		if (function && (function_refused(function) || function->sites[0].role != SITE_HIT))
			return error_set(EINVAL, "%s: %s", pattern,
			                 function_refused(function) ? function_refused(function)
			                                            : "it is a call, and neither begins nor ends one");
		*probe = function;
		return err;
	}
	for (size_t p = 0; p < image->nprobes; p++) {
		if (!pp_probe_matches(&image->probes[p], pattern))
			continue;
		if (*probe)
			return error_set(EINVAL, "'%s' matches several probes, such as %s:%s and %s:%s; name one",
			                 pattern, (*probe)->provider, (*probe)->name, image->probes[p].provider,
			                 image->probes[p].name);
		*probe = &image->probes[p];
	}
	return 0;
}

/* Returns the name of the call without its provider, NULL without memory. The caller frees it. */
static char *latency_name(const struct pp_probe *begin, const struct pp_probe *end)
{
	if (probe_entry(end) == begin)
		return strdup(end->name);
	if (!strcmp(begin->provider, end->provider))
		return error_format("%s..%s", begin->name, end->name);
	return error_format("%s:%s..%s", begin->provider, begin->name, end->name);
}

int resolver_add_latency(struct resolver *r, const struct pp_image *image)
{
	const struct pp_probe *begin, *end;
	enum site_match match;
	struct call *call;
	char *name;
	int err = latency_find(r, image, 0, &begin);

	if (!err)
		err = latency_find(r, image, 1, &end);
	if (err)
		return err;
	r->targets->matched[0] += begin != NULL;
	r->targets->matched[1] += end != NULL;
	if (!begin || !end)
		return 0;
	if (begin == end)
		return error_set(EINVAL, "'%s' and '%s' are the same probe, %s:%s; name two", r->request->patterns[0],
		                 r->request->patterns[1], begin->provider, begin->name);
	match = r->request->key ? MATCH_KEY : probe_entry(end) == begin ? MATCH_FRAME : MATCH_THREAD;
	name = latency_name(begin, end);
	err = name ? targets_call(r->targets, begin, end, end->provider, name, match, &call) : error_nomem();
	free(name);
	return err ? err : resolver_add_together(r, &call->probe);
}
