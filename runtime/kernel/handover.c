/* SPDX-License-Identifier: MIT */
/*
 * Links that are removed or replaced.
 *
 * A link cannot be changed. To disarm some of its points:
 *
 * 1. The counters of the points are set to "off" (kernel_switch_off()), after which programs ignore their hits.
 * 2. A new link is created for the points that remain, with the same program and the other generation. The generation
 *    is in the link's cookies and in the name of its pin, "even" or "odd".
 * 3. While both links exist, a hit runs the program of each link and must be counted once. The control map says that a
 *    handover is in progress and which generation is the newer one. The kernel runs the newer link's program first,
 *    which adds an entry to the handover map. The older link's program deletes the entry and does not count the hit
 *    (emit_handover() in emit.c).
 * 4. The older link is removed. The handover ends when it is gone for good.
 *
 * All links of an attachment that have the older generation are replaced in one round (generation_replace). If links of
 * both generations are to be replaced, there are two rounds.
 *
 * There are two ways to remove a link. If its last descriptor is closed, the link is gone when close() returns, which
 * takes 20 to 60 ms per link. If its pin is unlinked, the call returns at once, and the kernel removes the link later.
 *
 * - Up to FEW links are opened before their pins are unlinked, and then closed.
 * - If there are more, they are only unlinked, and the caller waits until the traps are gone from memory.
 * - Perf uprobes are closed in any number, a batch at a time, because one worker of the kernel would remove those of
 *   the whole system, one after the other. With a thousand in its queue, other sessions keep their traps for minutes.
 *   They are only unlinked if no caller waits, or if the command was interrupted.
 *
 * If the process is killed, the kernel releases its links before the session's lock, because it closes the oldest
 * descriptors last.
 *
 * The control map and the pins show how far a handover has come, so the next command can finish what a killed one
 * began.
 */
#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/membarrier.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/error.h"
#include "runtime/kernel/kernel.h"
#include "runtime/kernel/link.h"
#include "runtime/kernel/namespace.h"
#include "runtime/process.h"
#include "runtime/session.h"

#define FEW 8
#define BATCH 16 /* links that are closed before the next look for an interrupt */

/* ---- removing links ---- */

/* Closes the last descriptors of unpinned links. When it returns, none of these links runs a program any more. */
static void links_close(const int *fds, size_t n)
{
	/* Kernels before 6.18 release a pin's reference one grace period after the pin was unlinked. */
	for (int i = 0; n && i < 2; i++)
		syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0);
	for (size_t i = 0; i < n; i++)
		link_close(fds[i]);
}

/* Returns the link's descriptor, which the caller then owns, or a negative errno. */
static int link_take(struct kernel_attachment *s, const struct attachment *attachment, size_t i)
{
	struct kernel_link *link = &s->links[i];
	int fd = link->fd;

	link->fd = -1;
	if (fd >= 0)
		return fd;
	return pin_get(&s->session->pins, link_pin_names[link->generation], (int)attachment->number, (int)i);
}

/* Returns true if a process has breakpoints of the attachment, or may have them. */
static bool attachment_has_process(const struct attachment *attachment)
{
	const struct manifest *m = attachment->manifest;
	const struct manifest_file *last = NULL;

	for (uint32_t p = 0; p < m->npoints; p++) {
		const struct manifest_file *file =
			&manifest_files(m)[manifest_probes(m)[manifest_points(m)[p].probe].file];
		struct process **processes = NULL;
		size_t n = 0;
		int err;

		if (file == last)
			continue;
		last = file;
		err = processes_mapping(file->device, file->inode, &processes, &n);
		for (size_t i = 0; i < n; i++)
			process_free(processes[i]);
		free(processes);
		if (err || n)
			return true;
	}
	return false;
}

static void link_unpin(struct kernel_attachment *s, const struct attachment *attachment, size_t i)
{
	const struct session_pins *pins = &s->session->pins;
	int number = (int)attachment->number;

	pin_unlink(pins, "prog", number, (int)i); /* first: see pins.h */
	pin_unlink(pins, link_pin_names[0], number, (int)i);
	pin_unlink(pins, link_pin_names[1], number, (int)i);
	if (s->links[i].prog_fd >= 0)
		close(s->links[i].prog_fd);
	s->links[i].prog_fd = -1;
	s->links[i].dead = true;
}

bool kernel_links_drop(struct kernel_attachment *s, const struct attachment *attachment, const bool *drop,
                       const struct pp_session *waiting)
{
	bool gone = true, closes;
	size_t n = 0, nfds = 0;
	int fds[BATCH];

	for (size_t i = 0; i < s->nlinks; i++)
		n += drop[i] && !s->links[i].dead;
	closes = n <= FEW || (waiting && !link_multi_supported() && attachment_has_process(attachment));
	for (size_t i = 0; i < s->nlinks; i++) {
		int fd;

		if (!drop[i] || s->links[i].dead)
			continue;
		fd = -1;
		if (s->links[i].fd >= 0 || (closes && (n <= FEW || !session_interrupted(waiting))))
			fd = link_take(s, attachment, i);
		link_unpin(s, attachment, i);
		if (fd < 0) {
			gone = false;
			continue;
		}
		fds[nfds++] = fd;
		if (nfds < BATCH)
			continue;
		links_close(fds, nfds);
		nfds = 0;
	}
	links_close(fds, nfds);
	return gone;
}

/* ---- creating the links that replace others ---- */

static int program_get(struct kernel_attachment *s, const struct attachment *attachment, size_t i)
{
	if (s->links[i].prog_fd >= 0)
		return fcntl(s->links[i].prog_fd, F_DUPFD_CLOEXEC, 0);
	return pin_get(&s->session->pins, "prog", (int)attachment->number, (int)i);
}

/* The points of a link that are still armed. */
struct remaining {
	uint64_t *offsets, *semaphores, *cookies;
	size_t n;
	bool returns;
	const struct manifest_file *file;
	pid_t pid;
};

/* Returns 0, -ENOMEM, or -ENOENT if no point remains. The caller releases it in any case. */
static int remaining_find(struct remaining *r, const struct attachment *attachment, size_t i, unsigned generation)
{
	const struct manifest *m = attachment->manifest;

	r->offsets = calloc(m->npoints, sizeof(*r->offsets));
	r->semaphores = calloc(m->npoints, sizeof(*r->semaphores));
	r->cookies = calloc(m->npoints, sizeof(*r->cookies));
	if (!r->offsets || !r->semaphores || !r->cookies)
		return -ENOMEM;
	for (uint32_t p = 0; p < m->npoints; p++) {
		const struct manifest_point *point = &manifest_points(m)[p];

		if (point->link != i || !kernel_armed(attachment, p))
			continue;
		r->file = &manifest_files(m)[manifest_probes(m)[point->probe].file];
		/* The program checks the pid, too. */
		r->pid = namespace_is_foreign(((struct kernel_attachment *)attachment->state)->session)
		                 ? 0
		                 : (pid_t)point->pid;
		r->returns = point->role & MANIFEST_RETURN;
		r->offsets[r->n] = manifest_point_place(point);
		r->semaphores[r->n] = point->semaphore_offset & MANIFEST_BY_HAND ? 0 : point->semaphore_offset;
		r->cookies[r->n++] = cookie_make(p, point->spec, point->pid, generation);
	}
	return r->n ? 0 : -ENOENT;
}

static void remaining_release(struct remaining *r)
{
	free(r->offsets);
	free(r->semaphores);
	free(r->cookies);
}

/* Returns a link of the remaining points, or a negative errno. */
static int remaining_link(const struct remaining *r, const struct manifest *manifest, int prog)
{
	struct link_points points = { r->n, r->offsets, r->semaphores, r->cookies, r->returns };
	struct process *process = NULL;
	char path[64];
	int file, fd;

	fd = link_file(manifest_string(manifest, r->file->path), r->file->device, r->file->inode, &file, path,
	               sizeof(path));
	if (fd)
		return fd;
	if (r->pid)
		fd = process_open(r->pid, &process);
	if (!fd)
		fd = link_multi(prog, path, process && !process->leader_gone ? r->pid : 0, &points);
	process_free(process);
	close(file);
	return fd;
}

/* Creates the link that replaces link i. Returns its descriptor, or a negative errno. */
static int link_create_next(struct kernel_attachment *s, const struct attachment *attachment, size_t i,
                            unsigned generation)
{
	struct remaining r = { 0 };
	int prog, fd = remaining_find(&r, attachment, i, generation);

	if (fd)
		goto out;
	prog = program_get(s, attachment, i);
	if (prog < 0) {
		fd = prog;
		goto out;
	}
	fd = remaining_link(&r, attachment->manifest, prog);
	close(prog);
out:
	remaining_release(&r);
	return fd;
}

/* Opens the link that replaces link i if a killed command has created it, or creates and pins it. */
static int link_get_next(struct kernel_attachment *s, const struct attachment *attachment, size_t i,
                         unsigned generation)
{
	const struct session_pins *pins = &s->session->pins;
	int n = (int)attachment->number, next;

	if (!kernel_is_pinned(s))
		return link_create_next(s, attachment, i, generation);
	next = pin_get(pins, link_pin_names[generation], n, (int)i);
	if (next != -ENOENT)
		return next;
	next = link_create_next(s, attachment, i, generation);
	if (next >= 0 && pin_add(pins, next, link_pin_names[generation], n, (int)i)) {
		link_close(next);
		return -EIO;
	}
	return next;
}

/* Stores the descriptor of link i. If the attachment is pinned, closes it instead: the pin keeps the link. */
static void link_put(struct kernel_attachment *s, size_t i, int fd)
{
	if (kernel_is_pinned(s))
		close(fd);
	else
		s->links[i].fd = fd;
}

/* Replaces link i. Returns the descriptor of the old link, or a negative errno if the old link stays. */
static int link_replace(struct kernel_attachment *s, const struct attachment *attachment, size_t i, unsigned generation)
{
	int old = link_take(s, attachment, i), next;

	if (old < 0)
		return old;
	next = link_get_next(s, attachment, i, generation);
	if (next < 0) {
		link_put(s, i, old);
		return next;
	}
	pin_unlink(&s->session->pins, link_pin_names[!generation], (int)attachment->number, (int)i);
	link_put(s, i, next);
	s->links[i].generation = generation;
	return old;
}

/* Removes the entries that an earlier handover left. */
static void handover_clear(int map)
{
	char key[KERNEL_HANDOVER_KEY_SIZE];

	while (!bpf_map_get_next_key(map, NULL, key) && !bpf_map_delete_elem(map, key))
		;
}

/*
 * Replaces the changed links of the other generation by links of this generation, and sets their changed[i] to false.
 * If a link cannot be replaced (its file is gone), the old link stays, and its disarmed points stay switched off.
 */
static void generation_replace(struct kernel_attachment *s, const struct attachment *attachment, bool *changed,
                               unsigned generation)
{
	int *old = calloc(s->nlinks, sizeof(*old));
	size_t n = 0;
	bool begun = false;

	for (size_t i = 0; i < s->nlinks && old; i++) {
		if (!changed[i] || s->links[i].dead || s->links[i].generation == generation)
			continue;
		if (!begun) {
			handover_clear(s->session->handover_fd);
			__atomic_store_n(&s->control->handover, 1 + generation, __ATOMIC_SEQ_CST);
			begun = true;
		}
		changed[i] = false;
		old[n] = link_replace(s, attachment, i, generation);
		if (old[n] >= 0)
			n++;
	}
	if (begun) {
		links_close(old, n);
		__atomic_store_n(&s->control->handover, 0, __ATOMIC_SEQ_CST);
	}
	free(old);
}

bool kernel_links_change(struct kernel_attachment *s, const struct attachment *attachment, bool *changed,
                         const struct pp_session *waiting)
{
	const struct manifest *m = attachment->manifest;
	/* A handover that a killed command began is finished first. */
	unsigned first = s->control->handover ? (s->control->handover - 1) & 1 : 0;
	bool *drop = calloc(s->nlinks + 1, sizeof(*drop)), gone;

	if (!drop)
		return true;
	memcpy(drop, changed, s->nlinks * sizeof(*drop));
	for (uint32_t p = 0; p < m->npoints; p++)
		if (manifest_points(m)[p].link < s->nlinks && kernel_armed(attachment, p))
			drop[manifest_points(m)[p].link] = false;
	gone = kernel_links_drop(s, attachment, drop, waiting);
	free(drop);
	generation_replace(s, attachment, changed, first);
	generation_replace(s, attachment, changed, !first);
	__atomic_store_n(&s->control->handover, 0, __ATOMIC_SEQ_CST);
	__atomic_store_n(&s->control->unfinished, 0, __ATOMIC_SEQ_CST);
	return gone;
}

void kernel_links_renew(struct kernel_attachment *s, const struct attachment *attachment)
{
	const struct manifest *m = attachment->manifest;
	bool *changed = calloc(s->nlinks + 1, sizeof(*changed));

	if (!changed)
		return;
	for (uint32_t p = 0; p < m->npoints; p++)
		if (manifest_points(m)[p].link < s->nlinks && !kernel_armed(attachment, p))
			changed[manifest_points(m)[p].link] = true;
	kernel_links_change(s, attachment, changed, NULL);
	free(changed);
}
