/* SPDX-License-Identifier: MIT */
/* The points of func: patterns. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/error.h"
#include "runtime/function-name.h"
#include "runtime/function.h"
#include "runtime/process.h"
#include "runtime/resolve-internal.h"
#include "runtime/uretprobe.h"
#include "sdt/image.h"

#define GLOB_FUNCTIONS_MAX 10000

/* Records that the image refuses the pattern, for the reason in pp_error(). Returns 0 or -ENOMEM. */
static int targets_refuse(struct targets *t, size_t pattern, const struct pp_image *image, int err)
{
	struct target_refusal *refusal;

	if (err == -ENOMEM)
		return err;
	for (size_t i = 0; i < t->nrefusals; i++)
		if (t->refusals[i].pattern == pattern && t->refusals[i].image == image)
			return 0;
	if (ALLOC_GROW(t->refusals, t->nrefusals + 1, t->refusals_room))
		return -ENOMEM;
	refusal = &t->refusals[t->nrefusals];
	*refusal = (struct target_refusal){ pattern, image, strdup(pp_error()), err == -ENXIO };
	if (!refusal->reason)
		return error_nomem();
	t->nrefusals++;
	return 0;
}

/* Sets *probe to the probe of a func: pattern, NULL if the image has none. It is made once for an image. */
static int targets_function(struct targets *t, const struct pp_image *image, const char *name, size_t pattern,
                            bool uretprobe, struct pp_probe **probe)
{
	int err;

	for (size_t i = 0; i < t->nfunctions; i++)
		if (t->functions[i]->image == image && !strcmp(t->functions[i]->name, name)) {
			*probe = t->functions[i];
			return 0;
		}
	*probe = NULL;
	if (ALLOC_GROW(t->functions, t->nfunctions + 1, t->functions_room))
		return -ENOMEM;
	err = function_probe(image, name, uretprobe, probe);
	if (err)
		return err == -ENOENT ? 0 : targets_refuse(t, pattern, image, err);
	t->functions[t->nfunctions++] = *probe;
	return 0;
}

/* Refuses all points if one is refused, because calls need both their begin and their end. */
static void points_refuse_together(struct arm_point *points, size_t n)
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

/* Returns why a function is refused, and which function the process uses if it is indirect. The caller frees it. */
static char *refusal_reason(const struct resolver *r, const struct pp_probe *probe)
{
	bool is_running = r->process && !r->process->is_command;
	char *chosen = is_running ? function_chosen(probe, r->process) : NULL, *text;

	text = chosen ? error_format("%s (pid %d uses %s)", function_refused(probe), r->process->pid, chosen)
	              : strdup(function_refused(probe));
	free(chosen);
	return text;
}

int resolver_add_sites(struct resolver *r, const struct pp_probe *probe)
{
	for (size_t k = 0; k < probe->nsites; k++) {
		int err = resolver_add_site(r, &probe->sites[k]);

		if (err)
			return err;
	}
	return 0;
}

int resolver_add_together(struct resolver *r, const struct pp_probe *probe)
{
	size_t first = r->targets->npoints;
	int err = resolver_add_sites(r, probe);

	if (!err)
		points_refuse_together(r->targets->points + first, probe->nsites);
	return err;
}

static int resolver_add_function(struct resolver *r, const struct pp_probe *probe)
{
	size_t first = r->targets->npoints;
	struct arm_point *points;
	int err = resolver_add_sites(r, probe);

	if (err)
		return err;
	points = r->targets->points + first;
	for (size_t k = 0; k < probe->nsites && probe->sites[k].role != SITE_HIT && r->request->uretprobe; k++) {
		char *why = uretprobe_refused(r->process);

		if (why)
			arm_point_refuse(&points[k], -EOPNOTSUPP, why);
	}
	for (size_t k = 0; k < probe->nsites && function_refused(probe); k++) {
		points[k].error = -EOPNOTSUPP;
		free(points[k].reason);
		points[k].reason = refusal_reason(r, probe);
	}
	if (probe->nsites > 1)
		points_refuse_together(points, probe->nsites);
	return 0;
}

/* What function_glob() works on. */
struct glob {
	struct resolver *r;
	const struct pp_image *image;
	size_t pattern, n;
	bool is_return;
};

/* Adds a function that a glob matches. Functions that cannot be probed are counted as sites that are refused. */
static int glob_add(const char *name, uint64_t address, void *arg)
{
	struct glob *glob = arg;
	struct targets *t = glob->r->targets;
	struct pp_probe *probe = NULL;
	char *full;
	int err;

	if (glob->n++ == GLOB_FUNCTIONS_MAX)
		return error_set(E2BIG, "'%s' matches more than %d functions of '%s'; narrow it down",
		                 glob->r->request->patterns[glob->pattern], GLOB_FUNCTIONS_MAX, glob->image->path);
	full = error_format("%s%s", name, glob->is_return ? "%return" : "");
	err = full ? ALLOC_GROW(t->functions, t->nfunctions + 1, t->functions_room) : error_nomem();
	if (!err)
		err = function_probe_at(glob->image, full, address, glob->is_return, glob->r->request->uretprobe,
		                        &probe);
	free(full);
	if (err)
		return err == -ENOMEM ? err : targets_refuse(t, glob->pattern, glob->image, err);
	t->functions[t->nfunctions++] = probe;
	t->matched[glob->pattern]++;
	return resolver_add_function(glob->r, probe);
}

/* Adds the functions that a glob matches, unless it is the name of a function, as operator* is. */
static int resolver_add_glob(struct resolver *r, const struct pp_image *image, const char *name, size_t pattern,
                             bool *is_glob)
{
	struct glob glob = { .r = r, .image = image, .pattern = pattern };
	struct function_parts parts;
	uint64_t address;
	int err = function_split(name, &parts);

	*is_glob = !err && !parts.offset && image_functions_named(image, parts.symbol, &address, 1) <= 0;
	glob.is_return = parts.is_return;
	if (*is_glob)
		err = function_glob(image, parts.symbol, glob_add, &glob);
	free(parts.symbol);
	return err;
}

int resolver_function(struct resolver *r, const struct pp_image *image, size_t i, const char *name,
                      struct pp_probe **probe)
{
	return targets_function(r->targets, image, name, i, r->request->uretprobe, probe);
}

int resolver_add_functions(struct resolver *r, const struct pp_image *image)
{
	for (size_t i = 0; i < r->request->npatterns; i++) {
		const char *name = function_name(r->request->patterns[i]);
		struct pp_probe *probe;
		bool is_glob = false, is_added;
		int err = 0;

		if (!name)
			continue;
		if (function_is_glob(name))
			err = resolver_add_glob(r, image, name, i, &is_glob);
		if (err)
			return err;
		if (is_glob)
			continue;
		err = resolver_add_return(r, image, i, &is_added);
		if (err)
			return err;
		if (is_added)
			continue;
		err = targets_function(r->targets, image, name, i, r->request->uretprobe, &probe);
		if (err)
			return err;
		if (!probe)
			continue;
		r->targets->matched[i]++;
		err = resolver_add_function(r, probe);
		if (err)
			return err;
	}
	return 0;
}
