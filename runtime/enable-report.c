/* SPDX-License-Identifier: MIT */
/* The report of pp_session_enable(). */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "runtime/enable.h"
#include "runtime/function.h"
#include "runtime/process.h"
#include "runtime/report.h"
#include "runtime/request.h"
#include "sdt/image.h"

/* Adds the row, after it sets its probe, file and backend from the point. */
static int report_add_point(struct pp_report *report, const struct arm_point *point, struct report_row row)
{
	const struct pp_probe *probe = point->site->probe;
	int err;

	if (asprintf(&row.probe, "%s:%s", probe->provider, probe->name) < 0)
		return error_nomem();
	row.backend = point->backend->name;
	err = report_add(report, &row, point->image);
	free(row.probe);
	return err;
}

static int report_add_refused(struct pp_report *report, const struct arm_point *point, const char *reason, pid_t pid)
{
	return report_add_point(report, point,
	                        (struct report_row){ .state = PP_REFUSED,
	                                             .reason = (char *)reason,
	                                             .pid = pid,
	                                             .sites = 1,
	                                             .offset = (int64_t)point->site->offset });
}

/* The points of one state, of one probe, process and backend: one row. */
struct sites {
	size_t n;
	bool unverified, slow;
	const char *reason;
};

static void sites_add(struct sites *sites, const struct arm_point *point)
{
	sites->n++;
	sites->unverified |= !point->verified;
	sites->slow |= !point->fast;
	if (point->reason)
		sites->reason = point->reason;
}

static int report_add_sites(struct pp_report *report, const struct arm_point *first, enum pp_state state,
                            const struct sites *sites)
{
	if (!sites->n)
		return 0;
	return report_add_point(report, first,
	                        (struct report_row){ .state = state,
	                                             .reason = (char *)sites->reason,
	                                             .pid = first->process ? first->process->pid : 0,
	                                             .sites = sites->n,
	                                             .fast = !sites->slow,
	                                             .verified = state == PP_ARMED && !sites->unverified,
	                                             .offset = -1,
	                                             .calls_per_thread = first->calls_per_thread });
}

/* One row for the armed points, one for the pending points, one for each refused point. */
static int report_add_group(struct pp_report *report, const struct arm_point *points, size_t n)
{
	pid_t pid = points->process ? points->process->pid : 0;
	struct sites armed = { 0 }, pending = { 0 };
	int err;

	for (size_t i = 0; i < n; i++)
		if (!points[i].error || points[i].error == -EALREADY)
			sites_add(points[i].pending ? &pending : &armed, &points[i]);
	err = report_add_sites(report, points, PP_ARMED, &armed);
	if (err)
		return err;
	err = report_add_sites(report, points, PP_PENDING, &pending);
	for (size_t i = 0; i < n && !err; i++) {
		const struct arm_point *point = &points[i];

		if (point->error && point->error != -EALREADY && point->error != -ECANCELED)
			err = report_add_refused(report, point, point->reason ? point->reason : strerror(-point->error),
			                         pid);
	}
	return err;
}

static int report_add_points(struct pp_report *report, const struct targets *t)
{
	int err = 0;

	for (size_t i = 0, end; i < t->npoints && !err; i = end) {
		const struct arm_point *first = &t->points[i];

		for (end = i + 1; end < t->npoints && t->points[end].site->probe == first->site->probe &&
		                  t->points[end].process == first->process && t->points[end].backend == first->backend;
		     end++)
			;
		err = report_add_group(report, first, end - i);
	}
	return err;
}

static int report_add_misses(struct pp_report *report, const struct arm_misses *misses)
{
	int err = 0;

	for (size_t i = 0; i < misses->n && !err; i++)
		err = report_add_refused(report, misses->list[i].point, misses->list[i].reason, misses->list[i].pid);
	return err;
}

static bool pattern_is_refused(const struct targets *t, size_t pattern)
{
	for (size_t i = 0; i < t->nrefusals; i++)
		if (t->refusals[i].pattern == pattern)
			return true;
	return false;
}

static int report_add_pattern(struct pp_report *report, const char *pattern, const char *reason,
                              const struct pp_image *image)
{
	return report_add(report,
	                  &(struct report_row){ .state = PP_REFUSED,
	                                        .probe = (char *)pattern,
	                                        .backend = "",
	                                        .reason = (char *)reason,
	                                        .offset = -1 },
	                  image);
}

static int report_add_unmatched(struct pp_report *report, const struct targets *t, const struct pp_request *request)
{
	int err = 0;

	for (size_t i = 0; i < t->nrefusals && !err; i++)
		err = report_add_pattern(report, request->patterns[t->refusals[i].pattern], t->refusals[i].reason,
		                         t->refusals[i].image);
	for (size_t i = 0; i < request->npatterns && !err; i++)
		if (!t->matched[i] && !pattern_is_refused(t, i))
			err = report_add_pattern(report, request->patterns[i], "no probe matches", NULL);
	return err;
}

static bool targets_name_image(const struct targets *t, const struct pp_image *image)
{
	for (size_t i = 0; i < t->npoints; i++)
		if (t->points[i].image == image)
			return true;
	return false;
}

/* Notes that were left out are a reason why a pattern matches nothing, or fewer sites than the file has. */
static int report_add_warnings(struct pp_report *report, const struct targets *t, const struct pp_request *request)
{
	bool missing = false;
	int err = 0;

	for (size_t i = 0; i < request->npatterns; i++)
		missing |= !t->matched[i] && !function_name(request->patterns[i]);
	for (size_t i = 0; i < t->nimages; i++) {
		const struct pp_image *image = t->images[i];

		if (!image->nwarnings || (!missing && !targets_name_image(t, image)))
			continue;
		for (size_t k = 0; k < image->nwarnings && !err; k++)
			if (missing || image->warnings[k] != image->dropped)
				err = report_warn(report, image->warnings[k]);
	}
	return err;
}

int enabling_report(const struct enabling *e, struct pp_report **report)
{
	struct pp_report *made = calloc(1, sizeof(*made));
	int err;

	*report = made;
	if (!made)
		return error_nomem();
	err = report_add_points(made, &e->targets);
	for (size_t i = 0; i < e->nrounds && !err; i++)
		err = report_add_misses(made, &e->rounds[i].misses);
	if (err)
		return err;
	err = report_add_unmatched(made, &e->targets, e->request);
	return err ? err : report_add_warnings(made, &e->targets, e->request);
}
