/* SPDX-License-Identifier: MIT */
/* The point of a site: whether it can be armed, and the fetch program that reads its arguments. */
#include <errno.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/error.h"
#include "base/order.h"
#include "runtime/call.h"
#include "runtime/disasm.h"
#include "runtime/fetch/aggregate.h"
#include "runtime/fetch/filter.h"
#include "runtime/fetch/print.h"
#include "runtime/function.h"
#include "runtime/insn-check.h"
#include "runtime/resolve-internal.h"
#include "sdt/image.h"

static const struct fetch_program no_arguments[] = {
	[SITE_HIT] = { .role = SITE_HIT, .of_site = true },
	[SITE_CALL] = { .role = SITE_CALL, .of_site = true },
	[SITE_LEAVE] = { .role = SITE_LEAVE, .of_site = true },
};

static int fetch_program_compare(const void *a, const void *b)
{
	return fetch_compare(a, b);
}

void program_free(void *program)
{
	fetch_release(program);
	free(program);
}

/* Returns true if the text is the name, or begins with it and a colon. */
static bool name_begins(const char *text, const char *name)
{
	size_t n = strlen(name);

	return !strncmp(text, name, n) && (!text[n] || text[n] == ':');
}

/* Returns true if argument i has one of the names, its own or argN. Sets used[k] for each of the names that match. */
static bool argument_is_named(const struct pp_probe *probe, size_t i, char *const *names, size_t n, bool *used)
{
	char number[24];
	bool any = false;

	snprintf(number, sizeof(number), "arg%zu", i);
	for (size_t k = 0; k < n; k++)
		if (name_begins(names[k], probe->args[i].name) || name_begins(names[k], number))
			any = used[k] = true;
	return any;
}

/* Returns the index of the argument with this name, its own or argN; -1 if there is none. */
static int argument_index(const struct pp_probe *probe, size_t nargs, const char *name)
{
	for (size_t i = 0; i < nargs; i++) {
		char number[24];

		snprintf(number, sizeof(number), "arg%zu", i);
		if ((i < probe->nargs && !strcmp(probe->args[i].name, name)) || !strcmp(number, name))
			return (int)i;
	}
	return -1;
}

/* Gives strings the lengths that the request's names "STRING:LENGTH" say, and then those that the notes say. */
static int strings_set_lengths(const struct pp_request *request, const struct pp_site *site,
                               struct fetch_program *program)
{
	int err = 0;

	for (size_t i = 0; i < request->nstrings && !err; i++) {
		const char *colon = strchr(request->strings[i], ':');
		char *name = colon ? strndup(request->strings[i], (size_t)(colon - request->strings[i])) : NULL;
		int string, length;

		if (!colon)
			continue;
		if (!name)
			return error_nomem();
		string = argument_index(site->probe, program->nargs, name);
		length = argument_index(site->probe, program->nargs, colon + 1);
		free(name);
		if (string >= 0 && length < 0)
			return error_set(EINVAL, "%s:%s has no argument '%s', which is to be the length of a string",
			                 site->probe->provider, site->probe->name, colon + 1);
		if (string >= 0)
			err = fetch_set_length(program, string, length);
	}
	for (size_t i = 0; i < site->probe->nargs && i < program->nargs && !err; i++) {
		unsigned length = site->probe->args[i].length;

		if (!length || program->kind[i] != PP_STRING || fetch_has_length(program, (unsigned)i))
			continue;
		/* A length that this site lacks must not make the string one that ends with a NUL. */
		if (length > program->nargs || program->kind[length - 1] == PP_FAULT)
			fetch_set_pointer(program, (unsigned)i);
		else
			err = fetch_set_length(program, (unsigned)i, length - 1);
	}
	return err;
}

/* Replaces the probe's arguments by a copy, typed as the request says. The caller frees probe->args. */
static int probe_retype(struct targets *t, const struct pp_request *request, struct pp_probe *probe)
{
	struct pp_arg *args = calloc(probe->nargs, sizeof(*args));

	if (!args)
		return error_nomem();
	memcpy(args, probe->args, probe->nargs * sizeof(*args));
	probe->args = args;
	for (size_t i = 0; i < probe->nargs; i++) {
		if (argument_is_named(probe, i, request->strings, request->nstrings, t->strings_used))
			args[i].class = PPN_CLASS_STRING;
		if (argument_is_named(probe, i, request->addresses, request->naddresses,
		                      t->strings_used + request->nstrings)) {
			args[i].class = PPN_CLASS_POINTER;
			args[i].type = "";
		}
	}
	return 0;
}

/* Compiles what the record holds. */
static int record_compile(const struct pp_site *site, const struct pp_request *request, struct fetch_program *program)
{
	int err;

	if (request->print)
		return print_compile(request->print, site, program);
	err = print_strings(site, program);
	/* Expressions are about arguments that push one value; one with a length pushes two. */
	return err ? err : strings_set_lengths(request, site, program);
}

/* begin: of the site's call, or NULL */
static int program_compile_typed(const struct pp_site *site, const struct pp_probe *begin,
                                 const struct pp_request *request, struct fetch_program *program)
{
	int err = site->call ? call_compile(site, begin, request->key, program) : fetch_compile(site, program);

	program->role = site->role;
	program->sample = request->sample;
	if (site->by_return)
		program->match = MATCH_RETURN;
	if (err || site->role == SITE_CALL)
		return err;
	if (request->filter)
		err = filter_compile(request->filter, site, program);
	if (err)
		return err;
	if (request->aggregate)
		err = aggregate_compile(request->aggregate, site, program);
	if (!err)
		err = record_compile(site, request, program);
	fetch_set_string_max(program, request->string_max);
	return err;
}

int program_compile(struct targets *t, const struct pp_site *site, const struct pp_request *request,
                    struct fetch_program *program)
{
	const struct pp_probe *own = site->call ? site->call->begin : NULL;
	struct pp_probe probe = *site->probe, begin = { 0 };
	struct pp_site retyped = *site;
	int err;

	if (!probe.nargs || (!request->nstrings && !request->naddresses))
		return program_compile_typed(site, own, request, program);
	err = probe_retype(t, request, &probe);
	if (err)
		return err;
	retyped.probe = &probe;
	/* A key is over the begin's own arguments. */
	if (request->key && own && own->nargs) {
		begin = *own;
		err = probe_retype(t, request, &begin);
	}
	if (!err)
		err = program_compile_typed(&retyped, begin.args ? &begin : own, request, program);
	if (own && begin.args != own->args)
		free(begin.args);
	free(probe.args);
	return err;
}

/* Sets *program to the site's program, which all sites with an equal program share. */
static int program_find(struct targets *t, const struct pp_site *site, const struct pp_request *request,
                        const struct fetch_program **program)
{
	struct fetch_program *made = calloc(1, sizeof(*made)), **found;
	int err;

	if (!made)
		return error_nomem();
	err = program_compile(t, site, request, made);
	if (err) {
		program_free(made);
		return err;
	}
	found = tsearch(made, &t->programs, fetch_program_compare);
	if (!found) {
		program_free(made);
		return error_nomem();
	}
	*program = *found;
	if (*found != made)
		program_free(made);
	return 0;
}

/* Returns why arguments are missing: fetch_compile() has set the error message of the first. The caller frees it. */
static char *program_missing_reason(const struct fetch_program *program)
{
	return error_format("%zu of %zu arguments %s missing: %s", program->nmissing, program->nargs,
	                    program->nmissing == 1 ? "is" : "are", pp_error());
}

/* Makes t->map the code map of an image. */
static int targets_map_code(struct targets *t, const struct pp_image *image)
{
	int err;

	if (t->map_image == image)
		return 0;
	code_map_free(t->map);
	t->map = NULL;
	t->map_image = NULL;
	err = code_map_new(image, &t->map);
	if (!err)
		t->map_image = image;
	return err;
}

/*
 * Checks that an instruction begins at the site. A note may have the address of a byte 0x90 in the middle of another
 * instruction, and a symbol can have any address.
 */
static int site_check_boundary(struct targets *t, const struct pp_site *site)
{
	const struct pp_image *image = site->probe->image;
	int err;

	if (!code_is_known(image->machine))
		return 0;
	err = targets_map_code(t, image);
	if (err)
		return err;
	err = code_map_begins(t->map, site->address);
	if (err == -EINVAL && site->noted)
		return error_set(EINVAL, "%s; the note of %s:%s is wrong", pp_error(), site->probe->provider,
		                 site->probe->name);
	return err;
}

/* A site whose program other sites can use, and the index of its point. */
struct site_point {
	const struct pp_site *site;
	size_t point;
};

/* Orders sites by the properties that determine their programs. */
static int site_point_compare(const void *x, const void *y)
{
	const struct pp_site *a = ((const struct site_point *)x)->site, *b = ((const struct site_point *)y)->site;

	ORDER((uintptr_t)a->probe, (uintptr_t)b->probe);
	ORDER((uintptr_t)a->call, (uintptr_t)b->call);
	ORDER(a->flags, b->flags);
	ORDER(a->floats, b->floats);
	ORDER(a->role, b->role);
	ORDER(a->by_return, b->by_return);
	return strcmp(a->operands, b->operands);
}

/* Returns a point whose program is that of the site, or NULL if none is known. Many sites of a probe have the same program. */
static const struct arm_point *point_with_program(const struct targets *t, const struct pp_site *site)
{
	const struct site_point key = { .site = site };
	struct site_point **found = tfind(&key, &t->sites, site_point_compare);
	const struct arm_point *point = found ? &t->points[(*found)->point] : NULL;

	return point && !point->error ? point : NULL;
}

/* Remembers the point for point_with_program(). */
static int point_add_program(struct targets *t, const struct arm_point *point)
{
	struct site_point *made, **found;

	if (point->program->of_site)
		return 0;
	made = malloc(sizeof(*made));
	if (!made)
		return error_nomem();
	*made = (struct site_point){ point->site, (size_t)(point - t->points) };
	found = tsearch(made, &t->sites, site_point_compare);
	if (!found || *found != made)
		free(made);
	return found ? 0 : error_nomem();
}

/* Sets the point's program. Returns 0 or -ENOMEM. */
static int point_set_program(struct resolver *r, struct arm_point *point)
{
	const struct arm_point *known = point_with_program(r->targets, point->site);
	int err;

	if (known) {
		point->program = known->program;
		point->reason = known->reason ? strdup(known->reason) : NULL;
		return 0;
	}
	err = program_find(r->targets, point->site, r->request, &point->program);
	if (err == -ENOMEM)
		return err;
	if (err) {
		/* Hits can be counted without arguments, but not filtered, sampled, printed or aggregated. */
		point->error = r->request->filter || r->request->print || r->request->aggregate ||
		                               r->request->sample.every || r->request->sample.rate || point->site->call
		                       ? err
		                       : 0;
		point->program = &no_arguments[point->site->role];
		point->reason = strdup(pp_error());
	} else if (point->program->nmissing) {
		point->reason = program_missing_reason(point->program);
	}
	return point_add_program(r->targets, point);
}

int resolver_add_site(struct resolver *r, const struct pp_site *site)
{
	struct targets *t = r->targets;
	struct arm_point *point;
	int err = ALLOC_GROW(t->points, t->npoints + 1, t->room);

	if (err)
		return err;
	point = &t->points[t->npoints++];
	*point = (struct arm_point){
		.image = site->probe->image, .site = site, .process = r->process, .fast = r->request->fast
	};
	err = site_check(site);
	if (!err)
		err = site_check_boundary(t, site);
	if (!err)
		return point_set_program(r, point);
	point->error = err;
	if (err != -ENOMEM)
		point->reason = strdup(pp_error());
	return err == -ENOMEM ? err : 0;
}
