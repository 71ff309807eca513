/* SPDX-License-Identifier: MIT */
/*
 * 1. For each process of the request, find its images: the files that it maps, or the files that the request names, as
 *    the process sees them. Without processes, the request's files.
 * 2. In each image, find the probes that the patterns match, and make the probes of func: patterns.
 * 3. Add a point for each of their sites.
 */
#include "runtime/resolve.h"

#include <elf.h>
#include <errno.h>
#include <fnmatch.h>
#include <limits.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/array.h"
#include "base/error.h"
#include "base/text.h"
#include "runtime/call.h"
#include "runtime/disasm.h"
#include "runtime/function-name.h"
#include "runtime/function.h"
#include "runtime/ld-list.h"
#include "runtime/process.h"
#include "runtime/resolve-internal.h"
#include "sdt/cxx-name.h"
#include "sdt/image.h"

/* Returns true if the pattern matches the probe of a func: pattern, "func:SYMBOL". */
static bool function_matches(const char *probe, const char *pattern)
{
	const char *colon = pattern_colon(pattern), *name = colon ? colon + 1 : pattern;
	char provider[64];

	snprintf(provider, sizeof(provider), "%.*s", colon ? (int)(colon - pattern) : 1, colon ? pattern : "*");
	if (fnmatch(provider, FUNCTION_PROVIDER, 0))
		return false;
	return !fnmatch(name, function_name(probe), 0) || function_glob_matches(name, function_name(probe));
}

bool pp_name_matches(const char *probe, const char *pattern)
{
	char *provider, *colon;
	bool matches = false;

	if (!strcmp(probe, pattern))
		return true; /* names of C++ functions contain the characters of globs */
	if (function_name(probe))
		return function_matches(probe, pattern);
	provider = strdup(probe);
	colon = provider ? strchr(provider, ':') : NULL;
	if (colon) {
		*colon = 0;
		matches = pp_probe_matches(&(struct pp_probe){ .provider = provider, .name = colon + 1 }, pattern);
	}
	free(provider);
	return matches;
}

static struct pp_image *targets_image(struct targets *t, dev_t device, ino_t inode)
{
	for (size_t i = 0; i < t->nimages; i++)
		if (t->images[i]->device == device && t->images[i]->inode == inode)
			return t->images[i];
	return NULL;
}

/* Sets *image to the image at a path, with the probes of the request. A path is opened once. */
static int targets_open_image(struct targets *t, const struct pp_request *request, const char *path,
                              struct pp_image **image)
{
	struct stat st;
	int err;

	*image = stat(path, &st) ? NULL : targets_image(t, st.st_dev, st.st_ino);
	if (*image)
		return 0;
	err = ALLOC_GROW(t->images, t->nimages + 1, t->images_room);
	if (!err)
		err = t->patterns ? 0 : request_list_patterns(request, &t->patterns, &t->npatterns);
	if (!err)
		err = pp_image_open_matching(path, (const char *const *)t->patterns, t->npatterns, 0, image);
	if (err)
		return err;
	t->images[t->nimages++] = *image;
	if ((*image)->type == ET_REL)
		return error_set(
			ENOEXEC,
			"'%s' is an object file, whose probes cannot be armed; name a program that is linked with it",
			path);
	return 0;
}

static int resolver_add_image(struct resolver *r, const struct pp_image *image)
{
	int err;

	if (r->request->latency)
		return resolver_add_latency(r, image);
	err = resolver_add_functions(r, image);
	if (err)
		return err;
	for (size_t p = 0; p < image->nprobes; p++) {
		bool wanted = false;

		for (size_t i = 0; i < r->request->npatterns; i++)
			if (pp_probe_matches(&image->probes[p], r->request->patterns[i])) {
				r->targets->matched[i]++;
				wanted = true;
			}
		err = wanted ? resolver_add_probe(r, &image->probes[p]) : 0;
		if (err)
			return err;
	}
	return 0;
}

/*
 * Adds an image once for each process, because a request can name a file twice. If the request has a scope, points are
 * for all of its processes.
 */
static int resolver_add_image_once(struct resolver *r, const struct pp_image *image)
{
	/* The points of a process follow each other. */
	for (size_t i = r->targets->npoints; i > 0 && r->targets->points[i - 1].process == r->process; i--)
		if (r->targets->points[i - 1].image == image)
			return 0;
	return resolver_add_image(r, image);
}

/* Renames the image of a deleted file, which was opened through /proc, to its name in maps without " (deleted)". */
static int image_name_deleted(struct pp_image *image, const char *name)
{
	char *copy;
	int err;

	if (!strstr(image->path, "/map_files/"))
		return 0;
	copy = strndup(name, text_path_length(name));
	err = copy ? image_rename(image, copy) : error_nomem();
	free(copy);
	return err;
}

/* Adds an image that a process maps, or is going to map. One that cannot be read is skipped: it has no probes. */
static int resolver_add_mapped(const char *path, const char *name, void *arg)
{
	struct resolver *r = arg;
	struct pp_image *image;
	int err = targets_open_image(r->targets, r->request, path, &image);

	if (!err)
		err = image_name_deleted(image, name);
	if (err)
		return err == -ENOMEM ? err : 0;
	return resolver_add_image_once(r, image);
}

/* Adds the request's files. seed is the process whose root directory their names are looked up in; NULL: this one. */
static int resolver_add_files(struct resolver *r, const struct process *seed)
{
	for (size_t i = 0; i < r->request->nfiles; i++) {
		const char *file = r->request->files[i];
		struct pp_image *image;
		char path[PATH_MAX + 48];
		int err;

		if (seed)
			process_file(seed, file, path, sizeof(path));
		err = targets_open_image(r->targets, r->request, seed ? path : file, &image);
		if (!err)
			err = resolver_add_image_once(r, image);
		if (err)
			return err;
	}
	return 0;
}

static int resolver_add_process(struct resolver *r, struct process *process)
{
	int err;

	r->process = r->request->scope == SCOPE_PROCESSES ? process : NULL;
	if (process->is_command)
		return r->request->nfiles ? resolver_add_files(r, process)
		                          : loader_images(r->request->command, resolver_add_mapped, r);
	err = process_read_maps(process);
	if (err)
		return err;
	err = r->request->nfiles ? resolver_add_files(r, process)
	                         : pp_process_images(process->pid, resolver_add_mapped, r);
	if (err)
		return err;
	return process_alive(process) ? 0 : error_set(ESRCH, "pid %d: the process has ended", process->pid);
}

static int request_check_pattern(const struct pp_request *request, const char *pattern)
{
	const char *name = function_name(pattern);
	int err = name ? function_check(name) : 0;

	if (err)
		return err;
	if (name && *name == '+' && request->nfiles != 1)
		return error_set(EINVAL, "'%s': an address needs the file that it belongs to; name it (-f FILE)",
		                 pattern);
	return 0;
}

static int resolve_check_request(const struct pp_request *request)
{
	if (!request->npatterns)
		return error_set(EINVAL, "no probes given; name PROVIDER:NAME, both may be globs");
	if (!request->nprocesses && !request->nfiles)
		return error_set(EINVAL, "no target given; name a process (-p PID), a file (-f FILE) or a command");
	if ((request->scope == SCOPE_CHILDREN || request->scope == SCOPE_PGRP) && !request->nprocesses)
		return error_set(EINVAL, "children and process groups need a process; name one (-p PID)");
	for (size_t i = 0; i < request->npatterns; i++) {
		int err = request_check_pattern(request, request->patterns[i]);

		if (err)
			return err;
	}
	return 0;
}

/* Refuses names in the request's strings and addresses that no argument has, because they would have no effect. */
static int targets_check_names(const struct targets *t, const struct pp_request *request)
{
	for (size_t i = 0; t->npoints && i < request->nstrings + request->naddresses; i++)
		if (!t->strings_used[i])
			return error_set(EDOM, "no matching probe has an argument '%s'",
			                 i < request->nstrings ? request->strings[i]
			                                       : request->addresses[i - request->nstrings]);
	return 0;
}

/*
 * Drops refusals that say nothing: if the name is a variable in one image and a function in another, the request means
 * the function, and an address without -f belongs to one of the images only.
 */
static void targets_drop_weak_refusals(struct targets *t, const struct pp_request *request)
{
	size_t n = 0;

	for (size_t i = 0; i < t->nrefusals; i++) {
		struct target_refusal *r = &t->refusals[i];
		bool is_address = function_is_address(function_name(request->patterns[r->pattern]));

		if (r->weak && (t->matched[r->pattern] || (is_address && !request->nfiles)))
			free(r->reason);
		else
			t->refusals[n++] = *r;
	}
	t->nrefusals = n;
}

int targets_find(struct targets *t, const struct pp_request *request)
{
	struct resolver resolver = { .targets = t, .request = request };
	int err = resolve_check_request(request);

	if (err)
		return err;
	t->matched = calloc(request->npatterns, sizeof(*t->matched));
	t->strings_used = calloc(request->nstrings + request->naddresses + 1, sizeof(*t->strings_used));
	if (!t->matched || !t->strings_used)
		return error_nomem();
	if (!request->nprocesses)
		err = resolver_add_files(&resolver, NULL);
	for (size_t i = 0; i < request->nprocesses && !err; i++)
		err = resolver_add_process(&resolver, request->processes[i]);
	if (err)
		return err;
	targets_drop_weak_refusals(t, request);
	return targets_check_names(t, request);
}

void targets_release(struct targets *t)
{
	for (size_t i = 0; i < t->npoints; i++)
		free(t->points[i].reason);
	for (size_t i = 0; i < t->ncalls; i++)
		call_free(t->calls[i]);
	for (size_t i = 0; i < t->nfunctions; i++)
		function_free(t->functions[i]);
	for (size_t i = 0; i < t->npatterns; i++)
		free(t->patterns[i]);
	for (size_t i = 0; i < t->nimages; i++)
		pp_image_free(t->images[i]);
	for (size_t i = 0; i < t->nrefusals; i++)
		free(t->refusals[i].reason);
	free(t->refusals);
	code_map_free(t->map);
	free(t->patterns);
	free(t->calls);
	free(t->functions);
	free(t->points);
	free(t->images);
	free(t->matched);
	free(t->strings_used);
	tdestroy(t->sites, free);
	tdestroy(t->programs, program_free);
	*t = (struct targets){ 0 };
}
