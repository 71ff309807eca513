/* SPDX-License-Identifier: MIT */
#include "runtime/resolve.h"

#include <elf.h>
#include <errno.h>
#include <limits.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "runtime/insn-check.h"
#include "runtime/disasm.h"
#include "runtime/fetch/filter.h"
#include "runtime/function.h"
#include "runtime/ld-list.h"
#include "base/error.h"
#include "sdt/image.h"

bool target_matches(const char *probe, const char *pattern)
{
	if (!strcmp(probe, pattern))
		return true; /* names of C++ functions have all that globs have */

	char *provider = strdup(probe), *colon = provider ? strchr(provider, ':') : NULL;
	bool yes = false;

	if (colon) {
		*colon = 0;
		yes = pp_probe_matches(&(struct pp_probe){ .provider = provider, .name = colon + 1 }, pattern);
	}
	free(provider);
	return yes;
}

bool pp_name_matches(const char *probe, const char *pattern)
{
	return target_matches(probe, pattern);
}

struct walk {
	struct targets *targets;
	const struct pp_request *request;
	const struct process *process;
};

static int compare_programs(const void *a, const void *b)
{
	return fetch_compare(a, b);
}

static void program_free(void *program)
{
	fetch_release(program);
	free(program);
}

/* Whether argument i of the probe has one of the names, its own or argN; marks those that match in used. */
static bool is_named(const struct pp_probe *probe, size_t i, char *const *names, size_t n, bool *used)
{
	char number[24];
	bool any = false;

	snprintf(number, sizeof(number), "arg%zu", i);
	for (size_t k = 0; k < n; k++)
		if (!strcmp(probe->args[i].name, names[k]) || !strcmp(number, names[k]))
			any = used[k] = true;
	return any;
}

/* Compiles a site with the request's word on which arguments are strings, whatever its signature says. */
static int compile(struct targets *t, const struct pp_site *site, const struct pp_request *request,
                   struct fetch_program *program)
{
	struct pp_probe probe = *site->probe;
	struct pp_site as = *site;
	int err = 0;

	if ((request->nstrings || request->naddresses) && probe.nargs) {
		probe.args = calloc(probe.nargs, sizeof(*probe.args));
		if (!probe.args)
			return error_nomem();
		memcpy(probe.args, site->probe->args, probe.nargs * sizeof(*probe.args));
		for (size_t i = 0; i < probe.nargs; i++) {
			if (is_named(&probe, i, request->strings, request->nstrings, t->strings_used))
				probe.args[i].class = PPN_CLASS_STRING;
			if (is_named(&probe, i, request->addresses, request->naddresses,
			             t->strings_used + request->nstrings)) {
				probe.args[i].class = PPN_CLASS_POINTER;
				probe.args[i].type = "";
			}
		}
		as.probe = &probe;
	}
	err = fetch_compile(&as, program);
	program->role = site->role;
	if (!err && request->filter && site->role != SITE_CALL)
		err = filter_compile(request->filter, &as, program);
	if (as.probe == &probe)
		free(probe.args);
	return err;
}

/* The site's program, which is shared by all sites that have the same. */
static int program_of(struct targets *t, const struct pp_site *site, const struct pp_request *request,
                      const struct fetch_program **program)
{
	struct fetch_program *made = calloc(1, sizeof(*made)), **found;
	int err = made ? compile(t, site, request, made) : error_nomem();

	if (err) {
		if (made)
			program_free(made);
		return err;
	}
	found = tsearch(made, &t->programs, compare_programs);
	if (!found) {
		program_free(made);
		return error_nomem();
	}
	if (*found != made)
		program_free(made);
	*program = *found;
	return 0;
}

static const struct fetch_program no_arguments[] = {
	[SITE_HIT] = { .role = SITE_HIT, .of_site = true },
	[SITE_CALL] = { .role = SITE_CALL, .of_site = true },
	[SITE_LEAVE] = { .role = SITE_LEAVE, .of_site = true },
};

/* Why the site's arguments are not complete; fetch_compile() has left the reason of the first. Freed by free(). */
static char *missing_reason(const struct fetch_program *program)
{
	char *reason;

	if (asprintf(&reason, "%zu of %zu arguments %s missing: %s", program->nmissing, program->nargs,
	             program->nmissing == 1 ? "is" : "are", pp_error()) < 0)
		return NULL;
	return reason;
}

/* A note may point at a byte 90 in the middle of another instruction, and a symbol at anything. */
static int check_begin(struct targets *t, const struct pp_site *site)
{
	const struct pp_image *image = site->probe->image;
	int err;

	if (image->machine != EM_X86_64 && image->machine != EM_386)
		return 0;
	if (t->map_image != image) {
		code_map_free(t->map);
		t->map = NULL;
		t->map_image = NULL;
		err = code_map_new(image, &t->map);
		if (err)
			return err;
		t->map_image = image;
	}
	err = code_map_begins(t->map, site->address);
	if (err == -EINVAL && site->noted)
		return error_set(EINVAL, "%s; so the note of %s:%s is not believed", pp_error(), site->probe->provider,
		                 site->probe->name);
	return err;
}

static int add_site(struct walk *w, const struct pp_site *site)
{
	struct targets *t = w->targets;
	struct arm_point *point;

	if (t->npoints == t->room) {
		size_t room = t->room ? 2 * t->room : 256;
		void *more = realloc(t->points, room * sizeof(*t->points));

		if (!more)
			return error_nomem();
		t->points = more;
		t->room = room;
	}
	point = &t->points[t->npoints++];
	*point = (struct arm_point){ .image = site->probe->image, .site = site, .process = w->process };
	point->error = check_site(site);
	if (!point->error)
		point->error = check_begin(t, site);
	if (point->error == -ENOMEM)
		return point->error;
	if (!point->error) {
		/* Sites of one probe mostly read alike. */
		const struct arm_point *last = t->npoints > 1 ? point - 1 : NULL;

		if (last && last->program && last->site->probe == site->probe &&
		    !strcmp(last->site->operands, site->operands) && !last->program->of_site &&
		    last->site->flags == site->flags && last->site->floats == site->floats &&
		    last->site->role == site->role) {
			point->program = last->program;
			point->reason = last->reason ? strdup(last->reason) : NULL;
			return 0;
		}

		int err = program_of(t, site, w->request, &point->program);

		if (err == -ENOMEM)
			return err;
		/* Without its arguments it can still be counted, but not filtered. */
		if (err) {
			point->error = w->request->filter ? err : 0;
			point->program = &no_arguments[site->role];
			point->reason = strdup(pp_error());
		} else if (point->program->nmissing) {
			point->reason = missing_reason(point->program);
		}
	} else {
		point->reason = strdup(pp_error());
	}
	return 0;
}

static struct pp_image *image_found(struct targets *t, const struct pp_image *image)
{
	for (size_t i = 0; i < t->nimages; i++)
		if (t->images[i]->device == image->device && t->images[i]->inode == image->inode)
			return t->images[i];
	return NULL;
}

/* Opens an image once, however often it is named. */
static int image_of(struct targets *t, const char *path, const struct pp_image **image)
{
	struct pp_image *opened, *known, **more;
	struct stat st;
	int err;

	if (!stat(path, &st) &&
	    (known = image_found(t, &(struct pp_image){ .device = st.st_dev, .inode = st.st_ino }))) {
		*image = known;
		return 0;
	}
	err = pp_image_open(path, &opened);
	if (err)
		return err;
	more = realloc(t->images, (t->nimages + 1) * sizeof(*more));
	if (!more) {
		pp_image_free(opened);
		return error_nomem();
	}
	t->images = more;
	*image = more[t->nimages++] = opened;
	return 0;
}

/* The image refuses the pattern as a whole, for the reason in pp_error(). Returns 0, or -ENOMEM. */
static int refuse_pattern(struct targets *t, size_t pattern, const struct pp_image *image, int err)
{
	struct target_refusal *more;

	if (err == -ENOMEM)
		return err;
	for (size_t i = 0; i < t->nrefusals; i++)
		if (t->refusals[i].pattern == pattern && t->refusals[i].image == image)
			return 0;
	more = realloc(t->refusals, (t->nrefusals + 1) * sizeof(*more));
	if (!more)
		return error_nomem();
	t->refusals = more;
	more[t->nrefusals] = (struct target_refusal){ pattern, image, strdup(pp_error()), err == -ENXIO };
	return more[t->nrefusals++].reason ? 0 : error_nomem();
}

/* The probe that a pattern func:SYMBOL stands for in an image; made once. *probe NULL: the image has none. */
static int function_of(struct targets *t, const struct pp_image *image, const char *name, size_t pattern,
                       const struct pp_probe **probe)
{
	struct pp_probe *made, **more;
	int err;

	for (size_t i = 0; i < t->nfunctions; i++)
		if (t->functions[i]->image == image && !strcmp(t->functions[i]->name, name)) {
			*probe = t->functions[i];
			return 0;
		}
	*probe = NULL;
	err = function_probe(image, name, &made);
	if (err)
		return err == -ENOENT ? 0 : refuse_pattern(t, pattern, image, err);
	more = realloc(t->functions, (t->nfunctions + 1) * sizeof(*more));
	if (!more) {
		function_free(made);
		return error_nomem();
	}
	t->functions = more;
	more[t->nfunctions++] = made;
	*probe = made;
	return 0;
}

/* Calls are told from their begin to their end: where one of a function's sites cannot be armed, none is. */
static void refuse_together(struct arm_point *points, size_t n)
{
	const struct arm_point *bad = NULL;

	for (size_t i = 0; i < n && !bad; i++)
		if (points[i].error)
			bad = &points[i];
	for (size_t i = 0; i < n && bad; i++) {
		if (points[i].error)
			continue;
		points[i].error = bad->error;
		free(points[i].reason);
		points[i].reason = bad->reason ? strdup(bad->reason) : NULL;
	}
}

static char *why_refused(const struct walk *w, const struct pp_probe *probe)
{
	bool lives = w->process && !w->process->is_command;
	char *chosen = lives ? function_chosen(probe, w->process) : NULL, *text;

	text = chosen ? error_format("%s (pid %d uses %s)", function_refused(probe), w->process->pid, chosen)
	              : strdup(function_refused(probe));
	free(chosen);
	return text;
}

static int add_functions(struct walk *w, const struct pp_image *image)
{
	int err = 0;

	for (size_t i = 0; i < w->request->npatterns && !err; i++) {
		const char *name = function_name(w->request->patterns[i]);
		const struct pp_probe *probe;

		if (!name)
			continue;
		err = function_of(w->targets, image, name, i, &probe);
		if (!err && probe) {
			size_t first = w->targets->npoints;

			w->targets->matched[i]++;
			for (size_t k = 0; k < probe->nsites && !err; k++)
				err = add_site(w, &probe->sites[k]);
			if (!err && function_refused(probe)) {
				struct arm_point *points = &w->targets->points[first];

				for (size_t k = 0; k < probe->nsites; k++) {
					points[k].error = -EOPNOTSUPP;
					free(points[k].reason);
					points[k].reason = why_refused(w, probe);
				}
			}
			if (!err && probe->nsites > 1)
				refuse_together(&w->targets->points[first], w->targets->npoints - first);
		}
	}
	return err;
}

static int add_image(struct walk *w, const struct pp_image *image)
{
	int err = add_functions(w, image);

	if (err)
		return err;
	for (size_t p = 0; p < image->nprobes; p++) {
		bool wanted = false;

		for (size_t i = 0; i < w->request->npatterns; i++)
			if (pp_probe_matches(&image->probes[p], w->request->patterns[i])) {
				w->targets->matched[i]++;
				wanted = true;
			}
		for (size_t i = 0; wanted && i < image->probes[p].nsites; i++) {
			err = add_site(w, &image->probes[p].sites[i]);

			if (err)
				return err;
		}
	}
	return 0;
}

/* An image is one target for all of a scope's processes, whichever maps it. */
static int add_once(struct walk *w, const struct pp_image *image)
{
	for (size_t i = 0; w->request->scope != SCOPE_PROCESSES && i < w->targets->npoints; i++)
		if (w->targets->points[i].image == image)
			return 0;
	return add_image(w, image);
}

/* A file that has no path any more was opened by /proc; its name is what the process calls it, without " (deleted)". */
static int name_deleted(struct pp_image *image, const char *name)
{
	static const char deleted[] = " (deleted)";
	size_t length = strlen(name), end = sizeof(deleted) - 1;
	char *copy;
	int err;

	if (!strstr(image->path, "/map_files/"))
		return 0;
	copy = strndup(name, length > end && !strcmp(name + length - end, deleted) ? length - end : length);
	err = copy ? image_rename(image, copy) : error_nomem();
	free(copy);
	return err;
}

/* An image that a process maps, or will: one that cannot be read has no probes to offer. */
static int add_mapped(const char *path, const char *name, void *arg)
{
	struct walk *w = arg;
	const struct pp_image *image;
	int err = image_of(w->targets, path, &image);

	if (!err)
		err = name_deleted((struct pp_image *)image, name);
	return err == -ENOMEM ? err : err ? 0 : add_once(w, image);
}

static int add_process(struct walk *w, const struct process *seed)
{
	const struct pp_request *r = w->request;
	int err = 0;

	for (size_t i = 0; i < r->nfiles && !err; i++) {
		const struct pp_image *image;
		char path[PATH_MAX + 48];

		if (seed)
			process_file(seed, r->files[i], path, sizeof(path));
		err = image_of(w->targets, seed ? path : r->files[i], &image);
		if (!err)
			err = add_once(w, image);
	}
	if (r->nfiles || err)
		return err;
	if (seed->is_command)
		return loader_images(r->command, add_mapped, w);
	return pp_process_images(seed->pid, add_mapped, w);
}

/* A name that no argument has would be ignored without a word. */
static int check_names(const struct targets *t, const struct pp_request *request)
{
	for (size_t i = 0; t->npoints && i < request->nstrings + request->naddresses; i++)
		if (!t->strings_used[i])
			return error_set(EDOM, "no probe that matches has an argument '%s'",
			                 i < request->nstrings ? request->strings[i]
			                                       : request->addresses[i - request->nstrings]);
	return 0;
}

/*
 * A name that is a variable in one image and a function in another means the function; an address means one image, which
 * is named by -f.
 */
static void drop_weak_refusals(struct targets *t, const struct pp_request *request)
{
	size_t n = 0;

	for (size_t i = 0; i < t->nrefusals; i++) {
		struct target_refusal *r = &t->refusals[i];

		if (r->weak &&
		    (t->matched[r->pattern] ||
		     (!request->nfiles && function_is_address(function_name(request->patterns[r->pattern])))))
			free(r->reason);
		else
			t->refusals[n++] = *r;
	}
	t->nrefusals = n;
}

int targets_find(struct targets *t, const struct pp_request *request)
{
	struct walk walk = { .targets = t, .request = request };
	int err = 0;

	if (!request->npatterns)
		return error_set(EINVAL, "name the probes: PROVIDER:NAME, both may be globs");
	if (!request->nprocesses && !request->nfiles)
		return error_set(EINVAL, "name a process (-p PID), a file (-f FILE) or a command");
	if ((request->scope == SCOPE_CHILDREN || request->scope == SCOPE_PGRP) && !request->nprocesses)
		return error_set(EINVAL, "whose children or process group? name a process (-p PID)");
	for (size_t i = 0; i < request->npatterns && !err; i++) {
		const char *name = function_name(request->patterns[i]);

		if (name)
			err = function_check(name);
		if (!err && name && *name == '+' && request->nfiles != 1)
			err = error_set(EINVAL, "'%s': an address is one of a file: name it (-f FILE)",
			                request->patterns[i]);
	}
	if (err)
		return err;
	t->matched = calloc(request->npatterns, sizeof(*t->matched));
	t->strings_used = calloc(request->nstrings + request->naddresses + 1, sizeof(*t->strings_used));
	if (!t->matched || !t->strings_used)
		return error_nomem();
	if (!request->nprocesses)
		err = add_process(&walk, NULL);
	for (size_t i = 0; i < request->nprocesses && !err; i++) {
		struct process *process = request->processes[i];

		walk.process = request->scope == SCOPE_PROCESSES ? process : NULL;
		if (!process->is_command)
			err = process_read_maps(process);
		if (!err)
			err = add_process(&walk, process);
		if (!err && !process->is_command && !process_alive(process))
			err = error_set(ESRCH, "process %d has ended", process->pid);
	}
	if (err)
		return err;
	drop_weak_refusals(t, request);
	return check_names(t, request);
}

void targets_release(struct targets *t)
{
	for (size_t i = 0; i < t->npoints; i++)
		free(t->points[i].reason);
	for (size_t i = 0; i < t->nfunctions; i++)
		function_free(t->functions[i]);
	for (size_t i = 0; i < t->nimages; i++)
		pp_image_free(t->images[i]);
	for (size_t i = 0; i < t->nrefusals; i++)
		free(t->refusals[i].reason);
	free(t->refusals);
	code_map_free(t->map);
	free(t->functions);
	free(t->points);
	free(t->images);
	free(t->matched);
	free(t->strings_used);
	tdestroy(t->programs, program_free);
	*t = (struct targets){ 0 };
}
