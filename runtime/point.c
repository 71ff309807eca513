/* SPDX-License-Identifier: MIT */
#include "runtime/point.h"

#include <errno.h>
#include <stdlib.h>

#include "base/array.h"
#include "runtime/session.h"

static int consumer_compare_point(const void *a, const void *b)
{
	const struct point_consumer *x = a, *y = b;

	if (x->device != y->device)
		return x->device < y->device ? -1 : 1;
	if (x->inode != y->inode)
		return x->inode < y->inode ? -1 : 1;
	if (x->offset != y->offset)
		return x->offset < y->offset ? -1 : 1;
	return 0;
}

static int consumer_compare(const void *a, const void *b)
{
	const struct point_consumer *x = a, *y = b;
	int points = consumer_compare_point(a, b);

	if (points)
		return points;
	if (x->session != y->session)
		return x->session < y->session ? -1 : 1;
	return x->pid < y->pid ? -1 : x->pid > y->pid;
}

static int registry_add_attachment(struct registry *registry, const struct attachment *attachment, uint32_t number)
{
	const struct manifest *d = attachment->manifest;
	int err = d->npoints ? ALLOC_GROW(registry->consumers, registry->n + d->npoints, registry->room) : 0;

	if (err)
		return err;
	for (uint32_t i = 0; i < d->npoints; i++) {
		const struct manifest_point *point = &manifest_points(d)[i];
		const struct manifest_file *file = &manifest_files(d)[manifest_probes(d)[point->probe].file];

		if (!attachment->backend->armed(attachment, i))
			continue;
		registry->consumers[registry->n++] = (struct point_consumer){
			.device = file->real_device,
			.inode = file->real_inode,
			.offset = point->offset,
			.session = number,
			.pid = point->pid,
			.start_time = point->pid ? attachment->backend->start_time(attachment, point->pid) : 0,
			.fast = manifest_point_is_fast(point),
			.role = manifest_point_role(point),
			.attachment = attachment,
			.point = i,
		};
	}
	return 0;
}

int registry_add_session(struct registry *registry, const struct pp_session *session, uint32_t number)
{
	registry->sorted = false;
	for (size_t i = 0; i < session->nattachments; i++) {
		int err = registry_add_attachment(registry, session->attachments[i], number);

		if (err)
			return err;
	}
	return 0;
}

const struct point_consumer *registry_find(struct registry *registry, dev_t device, ino_t inode, uint64_t offset,
                                           size_t *n)
{
	struct point_consumer key = { .device = device, .inode = inode, .offset = offset };
	size_t first;

	if (!registry->sorted && registry->n)
		qsort(registry->consumers, registry->n, sizeof(*registry->consumers), consumer_compare);
	registry->sorted = true;
	first = lower_bound(registry->consumers, registry->n, sizeof(*registry->consumers), &key,
	                    consumer_compare_point);
	for (*n = 0; first + *n < registry->n && !consumer_compare_point(&registry->consumers[first + *n], &key); ++*n)
		;
	return *n ? &registry->consumers[first] : NULL;
}

void registry_release(struct registry *registry)
{
	free(registry->consumers);
	*registry = (struct registry){ 0 };
}
