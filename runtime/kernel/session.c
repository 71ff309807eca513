/* SPDX-License-Identifier: MIT */
/*
 * Sessions in the BPF file system: pins.h describes the pins.
 *
 * A command that opens or locks a session loads its attachments, under the lock. It first repairs what a killed command
 * left:
 *
 * 1. It removes the pins of attachments without a manifest: they were never complete.
 * 2. It removes attachments whose owner process has ended, and those with a program that has no link.
 * 3. It finishes the replacement of links of points that were switched off (handover.c).
 * 4. It removes the session if that has no attachments.
 *
 * Semaphores that were raised by hand for a removed attachment are lowered.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/array.h"
#include "base/error.h"
#include "runtime/kernel/kernel.h"
#include "runtime/kernel/stacks.h"

static bool pin_exists(const struct session_pins *pins, const char *name, uint32_t attachment, size_t link)
{
	return !access(pin_path(pins, name, (int)attachment, (int)link), F_OK);
}

/* ---- loading an attachment ---- */

/* Finds the pins of a link. Returns -ENOENT if it has a program and no pin. */
static int link_load(struct kernel_attachment *s, uint32_t number, size_t i)
{
	const struct session_pins *pins = &s->session->pins;
	struct kernel_link *link = &s->links[i];
	bool even, odd;

	*link = (struct kernel_link){ .fd = -1, .prog_fd = -1 };
	if (s->owned)
		return 0;
	even = pin_exists(pins, link_pin_names[0], number, i);
	odd = pin_exists(pins, link_pin_names[1], number, i);
	link->dead = !pin_exists(pins, "prog", number, i);
	/* If both exist, a killed command was replacing one by the other. */
	link->generation = even && odd ? s->control->handover == 1 : odd;
	if (link->dead) {
		pin_unlink(pins, link_pin_names[0], (int)number, (int)i);
		pin_unlink(pins, link_pin_names[1], (int)number, (int)i);
		return 0;
	}
	return even || odd ? 0 : -ENOENT;
}

static int links_load(struct kernel_attachment *s, const struct manifest *manifest)
{
	const struct manifest_point *points = manifest_points(manifest);
	int err = 0;

	for (uint32_t i = 0; i < manifest->npoints; i++)
		if (points[i].link >= s->nlinks && points[i].link < manifest->npoints)
			s->nlinks = points[i].link + 1;
	s->links = calloc(s->nlinks + 1, sizeof(*s->links));
	if (!s->links) {
		s->nlinks = 0;
		return error_nomem();
	}
	for (size_t i = 0; i < s->nlinks; i++)
		s->links[i].fd = s->links[i].prog_fd = -1;
	for (size_t i = 0; i < s->nlinks && !err; i++)
		err = link_load(s, manifest->attachment, i);
	return err;
}

/* Adds the attachment to the session, which then owns the manifest. Returns -ENOENT if the attachment is incomplete. */
static int attachment_load(struct pp_session *session, struct manifest *manifest)
{
	struct kernel_session *k = kernel_of(session);
	struct kernel_attachment *s = kernel_attachment_new(k);
	int err;

	if (!s)
		return -ENOMEM;
	err = owner_find(s, (int)manifest->attachment);
	if (err)
		goto fail;
	err = kernel_attachment_maps_get(s, manifest);
	if (err)
		goto fail;
	err = kernel_layouts_get(s, manifest);
	if (err)
		goto fail;
	err = kernel_samples_get(s, manifest);
	if (err)
		goto fail;
	err = kernel_flight_get(s, manifest->attachment);
	if (err)
		goto fail;
	err = returns_get(&s->returns, &k->pins, (int)manifest->attachment, manifest->npoints);
	if (err)
		goto fail;
	err = links_load(s, manifest);
	if (err)
		goto fail;
	if (session_add_attachment(session, &backend_kernel, manifest->attachment, manifest, s))
		return 0;
	err = error_nomem();
fail:
	kernel_attachment_close(s);
	return err;
}

/* ---- scanning the pins ---- */

struct pin_scan {
	const struct session_pins *pins;
	uint32_t *numbers; /* of the attachments that have a manifest */
	size_t n, room;
	int remove; /* number of the attachment that scan_remove_one() removes */
};

static int scan_note_manifest(const char *name, int attachment, int link, void *arg)
{
	struct pin_scan *scan = arg;

	(void)link;
	if (strcmp(name, "desc") || attachment < 0)
		return 0;
	if (ALLOC_GROW(scan->numbers, scan->n + 1, scan->room))
		return -ENOMEM;
	scan->numbers[scan->n++] = (uint32_t)attachment;
	return 0;
}

static void pin_remove(const struct session_pins *pins, const char *name, int attachment, int link)
{
	if (!strcmp(name, "raised"))
		semaphore_raised_lower_left(pins, attachment);
	pin_unlink(pins, name, attachment, link);
}

static int scan_remove_one(const char *name, int attachment, int link, void *arg)
{
	const struct pin_scan *scan = arg;

	if (attachment == scan->remove)
		pin_remove(scan->pins, name, attachment, link);
	return 0;
}

/* Removes pins of attachments without a manifest. */
static int scan_remove_incomplete(const char *name, int attachment, int link, void *arg)
{
	const struct pin_scan *scan = arg;

	if (attachment < 0)
		return 0;
	for (size_t i = 0; i < scan->n; i++)
		if (scan->numbers[i] == (uint32_t)attachment)
			return 0;
	pin_remove(scan->pins, name, attachment, link);
	return 0;
}

static int number_compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

/* Loads one attachment, or removes it if it is incomplete. */
static int scan_load(struct pin_scan *scan, struct pp_session *session, uint32_t number)
{
	struct manifest *manifest = NULL;
	struct kernel_attachment *s;
	struct attachment *attachment;
	int err = kernel_manifest_get(kernel_of(session), number, &manifest);

	if (!err) {
		err = attachment_load(session, manifest);
		if (err)
			free(manifest);
	}
	if (err == -ENOENT) {
		scan->remove = (int)number;
		return pins_each(scan->pins, scan_remove_one, scan);
	}
	if (err)
		return err;
	attachment = session->attachments[session->nattachments - 1];
	s = attachment->state;
	if (s->control->unfinished && !s->owned)
		kernel_links_renew(s, attachment);
	return 0;
}

/* Loads all attachments. The caller holds the lock. */
static int session_load(struct pp_session *session)
{
	struct pin_scan scan = { .pins = &kernel_of(session)->pins };
	int err;

	session_forget_attachments(session, &backend_kernel);
	err = pins_each(scan.pins, scan_note_manifest, &scan);
	if (!err)
		err = pins_each(scan.pins, scan_remove_incomplete, &scan);
	if (scan.n)
		qsort(scan.numbers, scan.n, sizeof(*scan.numbers), number_compare);
	for (size_t i = 0; i < scan.n && !err; i++)
		err = scan_load(&scan, session, scan.numbers[i]);
	free(scan.numbers);
	return err;
}

/* ---- operations of the backend ---- */

void kernel_session_close(struct pp_session *session)
{
	struct kernel_session *k = kernel_of(session);

	if (!k)
		return;
	session_forget_attachments(session, &backend_kernel);
	owner_signals_restore(k);
	kernel_maps_close(k);
	pins_close(&k->pins);
	free(k);
	session_set_state(session, &backend_kernel, NULL);
}

/* Opens or creates the maps of a session. The caller holds the lock. */
static int session_maps_open(struct kernel_session *k, bool create, size_t ring_size)
{
	int err = kernel_maps_get(k);

	if (err != -ENOENT)
		return err;
	if (!create) {
		pins_remove(&k->pins); /* incomplete: a command was killed while it created the session */
		return -ENOENT;
	}
	/* The session is new, or incomplete. */
	pin_unlink(&k->pins, "ring", -1, -1);
	pin_unlink(&k->pins, "mark", -1, -1);
	pin_unlink(&k->pins, "scratch", -1, -1);
	err = kernel_maps_create(k, ring_size);
	if (err)
		pins_remove(&k->pins);
	return err;
}

static int session_open_locked(struct pp_session *session, bool create)
{
	struct kernel_session *k = kernel_of(session);
	int err = session_maps_open(k, create, session->buffer);

	if (err)
		return err;
	err = session_load(session);
	if (err || create || session->nattachments)
		return err;
	/* A session without attachments: a command was killed before it armed or after it disarmed. */
	return pins_remove(&k->pins) ? 0 : -ENOENT;
}

static int session_open_pinned(struct pp_session *session, bool create)
{
	struct kernel_session *k = kernel_of(session);
	int err = pins_open(&k->pins, session->name, create);

	if (err)
		return err;
	err = pins_lock(&k->pins, session->hasty);
	if (err)
		return err;
	err = session_open_locked(session, create);
	pins_unlock(&k->pins);
	/* This user may read the directory. A pin in it that the user may not open was not made by this program. */
	return err == -EACCES ? -EBADMSG : err;
}

int kernel_session_open(struct pp_session *session, bool create)
{
	struct kernel_session *k = calloc(1, sizeof(*k));
	int err;

	if (!k)
		return error_nomem();
	k->pins.root = k->pins.dir = -1;
	k->config_fd = k->ring_fd = k->handover_fd = k->scratch_fd = -1;
	session_set_state(session, &backend_kernel, k);
	err = session->is_private ? kernel_maps_create(k, session->buffer) : session_open_pinned(session, create);
	if (err)
		kernel_session_close(session);
	return err;
}

int kernel_session_lock(struct pp_session *session)
{
	struct kernel_session *k = kernel_of(session);
	int err;

	if (session->is_private)
		return 0;
	err = pins_lock(&k->pins, session->hasty);
	if (err)
		return err;
	err = session_load(session);
	if (err)
		pins_unlock(&k->pins);
	return err;
}

void kernel_session_unlock(struct pp_session *session)
{
	pins_unlock(&kernel_of(session)->pins);
}

int kernel_session_remove(struct pp_session *session)
{
	return pins_remove(&kernel_of(session)->pins);
}
