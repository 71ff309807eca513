/* SPDX-License-Identifier: MIT */
#include "runtime/semaphore.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/armed.h"
#include "runtime/point.h"
#include "runtime/session.h"
#include "sdt/error.h"
#include "sdt/image.h"

/* Whoever armed them, sites count once each; so most images can never come so far. */
static size_t sites_of(const struct pp_image *image, uint64_t semaphore)
{
	size_t n = 0;

	for (size_t p = 0; p < image->nprobes; p++)
		for (size_t i = 0; i < image->probes[p].nsites; i++)
			n += image->probes[p].sites[i].has_semaphore &&
			     image->probes[p].sites[i].semaphore_offset == semaphore;
	return n;
}

struct armed_now {
	struct pp_armed *others;
	struct registry own;
};

static bool is_armed(struct armed_now *now, const struct pp_image *image, const struct pp_site *site)
{
	size_t n;

	return registry_find(&now->own, image->real_device, image->real_inode, site->offset, &n) ||
	       (now->others && pp_armed_session(now->others, image, site, 0));
}

static size_t armed_of(struct armed_now *now, const struct pp_image *image, uint64_t semaphore)
{
	size_t n = 0;

	for (size_t p = 0; p < image->nprobes; p++)
		for (size_t i = 0; i < image->probes[p].nsites; i++) {
			const struct pp_site *site = &image->probes[p].sites[i];

			n += site->has_semaphore && site->semaphore_offset == semaphore && is_armed(now, image, site);
		}
	return n;
}

static void refuse_beyond(struct armed_now *now, struct arm_point *points, size_t n, uint64_t semaphore)
{
	const struct pp_image *image = points[0].image;
	size_t count = armed_of(now, image, semaphore);
	char reason[160];

	snprintf(reason, sizeof(reason), "its semaphore counts to %d, and so many sites of it are armed already",
	         SEMAPHORE_MAX);
	for (size_t i = 0; i < n; i++) {
		struct arm_point *point = &points[i];

		if (point->error || !point->site->has_semaphore || point->site->semaphore_offset != semaphore ||
		    is_armed(now, image, point->site) || ++count <= SEMAPHORE_MAX)
			continue;
		free(point->reason);
		point->error = -EOVERFLOW;
		point->reason = strdup(reason);
	}
}

int semaphores_check(const struct pp_session *session, struct arm_point *points, size_t n)
{
	struct armed_now now = { 0 };
	bool read = false;
	int err = 0;

	/* The points of one image and process stand together, those of one semaphore mostly too. */
	for (size_t i = 0, end; i < n && !err; i = end) {
		uint64_t last = 0;

		for (end = i + 1; end < n && points[end].image == points[i].image && points[end].process == points[i].process; end++)
			;
		for (size_t k = i; k < end && !err; k++) {
			const struct pp_site *site = points[k].site;

			if (!site->has_semaphore || site->semaphore_offset == last)
				continue;
			last = site->semaphore_offset;
			if (sites_of(points[i].image, last) <= SEMAPHORE_MAX)
				continue;
			if (!read) {
				err = registry_add_session(&now.own, session, 0);
				if (!err && armed_read(&now.others, session->name))
					now.others = NULL;
				read = true;
			}
			if (!err)
				refuse_beyond(&now, points + i, end - i, last);
		}
	}
	registry_release(&now.own);
	pp_armed_free(now.others);
	return err;
}
