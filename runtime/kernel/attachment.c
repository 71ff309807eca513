/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/error.h"
#include "runtime/kernel/kernel.h"
#include "runtime/kernel/link.h"

const char *const link_pin_names[2] = { "even", "odd" };

struct kernel_attachment *kernel_attachment_new(struct kernel_session *k)
{
	struct kernel_attachment *s = malloc(sizeof(*s));

	if (s)
		*s = (struct kernel_attachment){ .session = k,
			                         .counts_fd = -1,
			                         .control_fd = -1,
			                         .processes_fd = -1,
			                         .cells_fd = -1,
			                         .samples_fd = -1,
			                         .misfits_fd = -1,
			                         .layouts_fd = -1,
			                         .raised_fd = -1,
			                         .owner_fd = -1,
			                         .flight_fd = -1,
			                         .scope = KERNEL_SCOPE_NONE,
			                         .returns = RETURNS_NONE };
	else
		error_nomem();
	return s;
}

void kernel_attachment_close(struct kernel_attachment *s)
{
	if (!s)
		return;
	kernel_samples_close(s);
	if (s->counts)
		munmap(s->counts, s->counts_size);
	if (s->control)
		munmap(s->control, sizeof(*s->control));
	for (size_t i = 0; i < s->nlinks; i++) {
		link_close(s->links[i].fd);
		if (s->links[i].prog_fd >= 0)
			close(s->links[i].prog_fd);
	}
	kernel_flight_close(s);
	kernel_scope_close(&s->scope);
	returns_close(&s->returns);

	/* The owner's lock is released last, because commands take it as a sign that the links are gone. */
	const int fds[] = { s->counts_fd,  s->control_fd, s->processes_fd, s->cells_fd,
		            s->misfits_fd, s->layouts_fd, s->raised_fd,    s->owner_fd };

	for (size_t i = 0; i < sizeof(fds) / sizeof(*fds); i++)
		if (fds[i] >= 0)
			close(fds[i]);
	free(s->links);
	free(s);
}

void kernel_attachment_unpin(struct kernel_attachment *s, const struct attachment *attachment)
{
	static const char *const maps[] = { "counts",  "switch",  "processes", "cells",  "misfits",
		                            "layouts", "samples", "flight",    "raised", "held" };
	struct session_pins *pins = &s->session->pins;
	int n = (int)attachment->number;

	pin_unlink(pins, "desc", n, -1);
	for (size_t i = 0; i < s->nlinks; i++) {
		pin_unlink(pins, link_pin_names[0], n, (int)i);
		pin_unlink(pins, link_pin_names[1], n, (int)i);
		pin_unlink(pins, "prog", n, (int)i);
	}
	pin_unlink(pins, "fork", n, -1);
	pin_unlink(pins, "exit", n, -1);
	returns_unpin(pins, n);
	for (size_t i = 0; i < sizeof(maps) / sizeof(*maps); i++)
		pin_unlink(pins, maps[i], n, -1);
}

/* ---- the state of points ---- */

static uint64_t point_off(const struct attachment *attachment, uint32_t point)
{
	const struct kernel_attachment *s = attachment->state;

	return s->counts[(size_t)point * s->shards].off;
}

void kernel_switch_off(struct kernel_attachment *s, uint32_t point, uint64_t why)
{
	for (unsigned i = 0; i < s->shards; i++)
		__atomic_store_n(&s->counts[(size_t)point * s->shards + i].off, why, __ATOMIC_RELEASE);
}

bool kernel_armed(const struct attachment *attachment, uint32_t point)
{
	return !point_off(attachment, point);
}

bool kernel_over_budget(const struct attachment *attachment, uint32_t point)
{
	return (point_off(attachment, point) & 0xff) == KERNEL_OVER_BUDGET;
}

void kernel_stopped(const struct attachment *attachment, uint32_t point, double *share, double *limit)
{
	uint64_t off = point_off(attachment, point);

	*limit = (double)(off >> 8 & KERNEL_SHARE_MAX) / KERNEL_SHARE;
	*share = (double)(off >> 32) / KERNEL_SHARE;
}
