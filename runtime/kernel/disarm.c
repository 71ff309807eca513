/* SPDX-License-Identifier: MIT */
/*
 * Disarming through the kernel.
 *
 * 1. The points are switched off, and control->unfinished is set. If this command is killed from here on, the next
 *    command finishes its work.
 * 2. kernel_prepare_disarm() lowers the semaphores that were raised by hand, and settles the others, so that the kernel
 *    can lower them.
 * 3. Links without armed points are removed, and other links of the points are replaced (handover.c). If the links live
 *    in an owner process, the owner does it.
 * 4. If the kernel removes links later, the command waits until their breakpoints are gone from memory.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "runtime/armed.h"
#include "runtime/kernel/kernel.h"
#include "runtime/kernel/namespace.h"
#include "runtime/kernel/semaphore.h"
#include "runtime/kernel/verify.h"
#include "runtime/point.h"
#include "runtime/process.h"
#include "runtime/session.h"

#define GIVE_UP_NS 20000000000ull /* the wait for breakpoints ends if none disappears for so long */

static const struct manifest_file *point_file(const struct manifest *m, const struct manifest_point *point)
{
	return &manifest_files(m)[manifest_probes(m)[point->probe].file];
}

/* Returns true if this process is the only one that has the attachment's links. */
static bool attachment_ends_here(const struct kernel_attachment *s)
{
	for (size_t i = 0; s && i < s->nlinks; i++)
		if (s->links[i].fd >= 0)
			return !kernel_is_pinned(s);
	return false;
}

/* Makes sure that the kernel can lower the semaphores of the points with take[p], or of all armed points. */
static void attachment_settle_semaphores(const struct attachment *attachment, const bool *take)
{
	const struct kernel_attachment *s = attachment->state;
	const struct manifest *m = attachment->manifest;
	struct semaphore_place *places = calloc(m->npoints + 1, sizeof(*places));
	size_t n = 0;

	if (!places)
		return;
	for (uint32_t p = 0; p < m->npoints; p++) {
		const struct manifest_point *point = &manifest_points(m)[p];
		const struct manifest_file *file = point_file(m, point);

		if (point->semaphore_offset && !(point->semaphore_offset & MANIFEST_BY_HAND) &&
		    (take ? take[p] : kernel_armed(attachment, p)))
			places[n++] =
				(struct semaphore_place){ file->device, file->inode, manifest_point_place(point),
				                          point->semaphore_offset,
				                          namespace_is_foreign(s->session) ? 0 : (pid_t)point->pid };
	}
	semaphores_settle(places, n);
	free(places);
}

void kernel_prepare_disarm(const struct attachment *attachment, const bool *take)
{
	struct kernel_attachment *s = attachment->state;

	if (take) {
		attachment_settle_semaphores(attachment, take);
		return;
	}
	if (!attachment_ends_here(s))
		return;
	/* In this order: the kernel may need a semaphore that was raised by hand to be raised again. */
	semaphore_raised_lower(s, NULL);
	attachment_settle_semaphores(attachment, NULL);
	for (uint32_t p = 0; p < attachment->manifest->npoints; p++)
		kernel_switch_off(s, p, KERNEL_OFF);
}

/* Points that are armed: those of the session, and those of other sessions. Read when they are first asked for. */
struct armed_points {
	const struct pp_session *session;
	struct registry own;
	struct pp_armed *others;
	bool read;
};

static bool place_is_armed(const struct verify_place *place, void *arg)
{
	const struct manifest_file *file = place->file;
	struct armed_points *armed = arg;
	size_t n;

	if (!armed->read) {
		armed->read = true;
		if (registry_add_session(&armed->own, armed->session, 0))
			registry_release(&armed->own);
		if (armed_read(&armed->others, armed->session->name))
			armed->others = NULL;
	}
	return registry_find(&armed->own, file->real_device, file->real_inode, place->site_offset, &n) ||
	       (armed->others && armed_has(armed->others, file->real_device, file->real_inode, place->site_offset));
}

static void attachment_wait_for_bytes(struct pp_session *session, const struct attachment *attachment, const bool *take,
                                      bool all)
{
	struct armed_points armed = { .session = session };
	struct verify_wait wait = { GIVE_UP_NS, session->interrupt, place_is_armed, &armed };
	struct verify_rest rest;
	const struct manifest *m = attachment->manifest;
	struct verify_place *places = calloc(m->npoints, sizeof(*places));
	size_t n = 0;

	if (!places) {
		session->unverified.processes++;
		return;
	}
	for (uint32_t p = 0; p < m->npoints; p++) {
		const struct manifest_point *point = &manifest_points(m)[p];
		const struct manifest_file *file = point_file(m, point);

		if (all || take[p])
			places[n++] = (struct verify_place){ file->device, file->inode, manifest_point_place(point),
				                             file, point->offset };
	}
	rest = verify_disarmed(places, n, &wait);
	session->unverified.sites += rest.sites;
	session->unverified.processes += rest.unread;
	if (rest.pid)
		session->unverified.pid = rest.pid;
	registry_release(&armed.own);
	pp_armed_free(armed.others);
	free(places);
}

/* Switches off the points. Sets changed[] for their links, and going[] for the points that were armed. */
static void points_switch_off(const struct attachment *attachment, const bool *take, bool all, bool *changed,
                              bool *going)
{
	struct kernel_attachment *s = attachment->state;
	const struct manifest_point *points = manifest_points(attachment->manifest);

	for (uint32_t p = 0; p < attachment->manifest->npoints; p++)
		going[p] = (all || take[p]) && kernel_armed(attachment, p);
	__atomic_store_n(&s->control->unfinished, 1, __ATOMIC_SEQ_CST);
	for (uint32_t p = 0; p < attachment->manifest->npoints; p++) {
		if (!all && !take[p])
			continue;
		if (points[p].link < s->nlinks)
			changed[points[p].link] = true;
		kernel_switch_off(s, p, KERNEL_OFF);
	}
}

static int disarm_by_owner(struct kernel_attachment *s, const struct attachment *attachment, bool all)
{
	int err;

	s->control->unfinished = 0; /* control->asked shows instead that the owner has work to do */
	err = owner_ask(s, (int)attachment->number);
	if (err)
		return err;
	if (all)
		kernel_attachment_unpin(s, attachment);
	return 0;
}

int kernel_disarm(struct pp_session *session, struct attachment *attachment, const bool *take, bool all)
{
	struct kernel_attachment *s = attachment->state;
	bool *changed = calloc(s->nlinks + 1, sizeof(*changed));
	bool *going = calloc(attachment->manifest->npoints + 1, sizeof(*going)), gone;
	int err = 0;

	if (!changed || !going) {
		err = error_nomem();
		goto out;
	}
	points_switch_off(attachment, take, all, changed, going);
	semaphore_raised_lower(s, attachment);
	kernel_prepare_disarm(attachment, going);
	if (s->owned && s->owner_fd < 0) {
		err = disarm_by_owner(s, attachment, all);
		goto out;
	}
	if (all) {
		pin_unlink(&s->session->pins, "desc", (int)attachment->number, -1);
		gone = kernel_links_drop(s, attachment, changed, session);
		kernel_attachment_unpin(s, attachment);
	} else {
		gone = kernel_links_change(s, attachment, changed, session);
	}
	if (!gone)
		attachment_wait_for_bytes(session, attachment, take, all);
out:
	free(changed);
	free(going);
	return err;
}
