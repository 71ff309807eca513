/* SPDX-License-Identifier: MIT */
#include "runtime/point.h"

#include <errno.h>
#include <stdlib.h>

#include "runtime/session.h"
#include "base/error.h"

static int compare_points(const void *a, const void *b)
{
	const struct consumer *x = a, *y = b;

	if (x->device != y->device)
		return x->device < y->device ? -1 : 1;
	if (x->inode != y->inode)
		return x->inode < y->inode ? -1 : 1;
	if (x->offset != y->offset)
		return x->offset < y->offset ? -1 : 1;
	return 0;
}

static int compare_consumers(const void *a, const void *b)
{
	const struct consumer *x = a, *y = b;
	int points = compare_points(a, b);

	if (points)
		return points;
	if (x->session != y->session)
		return x->session < y->session ? -1 : 1;
	return x->pid < y->pid ? -1 : x->pid > y->pid;
}

int registry_add_session(struct registry *registry, const struct pp_session *session, uint32_t number)
{
	for (size_t s = 0; s < session->nattachments; s++) {
		const struct attachment *attachment = session->attachments[s];
		const struct manifest *d = attachment->manifest;

		if (registry->room < registry->n + d->npoints) {
			size_t room = 2 * registry->room + d->npoints;
			void *more = realloc(registry->consumers, room * sizeof(*registry->consumers));

			if (!more)
				return error_nomem();
			registry->consumers = more;
			registry->room = room;
		}
		for (uint32_t i = 0; i < d->npoints; i++) {
			const struct manifest_point *point = &manifest_points(d)[i];
			const struct manifest_file *file = &manifest_files(d)[manifest_probes(d)[point->probe].file];

			if (attachment->backend->armed(attachment, i))
				registry->consumers[registry->n++] = (struct consumer){
					.device = file->real_device,
					.inode = file->real_inode,
					.offset = point->offset,
					.session = number,
					.pid = point->pid,
					.start_time = point->pid
					                      ? attachment->backend->start_time(attachment, point->pid)
					                      : 0,
					.role = point->role,
					.semaphore_offset = point->semaphore_offset,
					.attachment = attachment,
					.point = i,
				};
		}
	}
	registry->sorted = 0;
	return 0;
}

const struct consumer *registry_find(struct registry *registry, dev_t device, ino_t inode, uint64_t offset, size_t *n)
{
	struct consumer key = { .device = device, .inode = inode, .offset = offset };
	size_t low = 0, high = registry->n;

	if (!registry->sorted) {
		if (registry->n)
			qsort(registry->consumers, registry->n, sizeof(*registry->consumers), compare_consumers);
		registry->sorted = 1;
	}
	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (compare_points(&registry->consumers[middle], &key) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	for (*n = 0; low + *n < registry->n && !compare_points(&registry->consumers[low + *n], &key); ++*n)
		;
	return *n ? &registry->consumers[low] : NULL;
}

void registry_release(struct registry *registry)
{
	free(registry->consumers);
	*registry = (struct registry){ 0 };
}
