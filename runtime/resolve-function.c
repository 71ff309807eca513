/* SPDX-License-Identifier: MIT */
/* The points of func: patterns. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/error.h"
#include "runtime/function.h"
#include "runtime/process.h"
#include "runtime/resolve-internal.h"
#include "runtime/uretprobe.h"
#include "sdt/image.h"

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
		int err;

		if (!name)
			continue;
		err = resolver_find_return(r, image, i, &probe);
		if (!err && probe) {
			r->targets->matched[i]++;
			err = resolver_add_together(r, probe);
		}
		if (err)
			return err;
		if (probe)
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
