/* SPDX-License-Identifier: MIT */
#include "runtime/arm-point.h"

#include <errno.h>
#include <stdlib.h>

#include "base/array.h"
#include "base/error.h"
#include "runtime/manifest.h"
#include "sdt/image.h"

void arm_point_refuse(struct arm_point *point, int error, char *reason)
{
	free(point->reason);
	point->error = error;
	point->reason = reason;
}

uint64_t arm_point_offset(const struct arm_point *point)
{
	return point->site->offset + (point->fast ? MANIFEST_FAST_AT : 0);
}

void arm_point_remark(struct arm_point *point, char *remark)
{
	char *both;

	if (!point->reason) {
		point->reason = remark;
		return;
	}
	both = remark ? error_format("%s; %s", point->reason, remark) : NULL;
	free(remark);
	if (!both)
		return;
	free(point->reason);
	point->reason = both;
}

int arm_misses_add(struct arm_misses *misses, struct arm_point *point, pid_t pid, char *reason)
{
	if (point->process) {
		arm_point_refuse(point, -EIO, reason);
		return 0;
	}
	if (ALLOC_GROW(misses->list, misses->n + 1, misses->room)) {
		free(reason);
		return -ENOMEM;
	}
	misses->list[misses->n++] = (struct arm_miss){ .point = point, .pid = pid, .reason = reason };
	return 0;
}

void arm_misses_release(struct arm_misses *misses)
{
	for (size_t i = 0; i < misses->n; i++)
		free(misses->list[i].reason);
	free(misses->list);
	*misses = (struct arm_misses){ 0 };
}

size_t arm_points_run(struct arm_point *const *points, size_t n)
{
	size_t end = 1;

	while (end < n && points[end]->image == points[0]->image && points[end]->process == points[0]->process)
		end++;
	return end;
}
