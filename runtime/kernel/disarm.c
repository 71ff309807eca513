/* SPDX-License-Identifier: MIT */
/*
 * Disarming through the kernel.
 *
 * A link cannot be changed. Points that are taken out of one are switched off in
 * their counters at once; then another link is made for those that remain, and takes
 * over. While both live a hit reaches both, the newer one first, and is to be counted
 * once: the map `switch` says that it is so, and which generation is the newer; the
 * newer link's program leaves a mark for the older one (emit.c). The generation
 * stands in a link's cookies and in the name of its pin, even or odd. So links that
 * are even take over in one round, those that are odd in another.
 *
 * The round may end only when the older links are gone for good. A link whose last
 * descriptor is closed is gone when close() returns, but one whose pin is unlinked
 * goes later, by the kernel's own time. Hence the descriptors, where there are few
 * links. Many are unlinked only, which is a thousand times faster, and then the bytes
 * are looked at. (A killed process lets go of the lock behind its links: it ends with
 * the descriptors that it opened first.)
 *
 * Switch and pins tell how far all this has come, so the next command can finish what
 * a killed one left.
 */
#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/membarrier.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "runtime/kernel/kernel.h"
#include "runtime/kernel/link.h"
#include "runtime/process.h"
#include "runtime/kernel/semaphore.h"
#include "runtime/kernel/verify.h"
#include "base/error.h"

#define FEW 8 /* links that are closed one by one, each taking 20 to 60 ms */

const char *const link_pin_names[2] = { "even", "odd" };

bool kernel_armed(const struct attachment *attachment, uint32_t point)
{
	const struct kernel_attachment *s = attachment->state;

	return !s->counts[(size_t)point * s->shards].off;
}

bool kernel_over_budget(const struct attachment *attachment, uint32_t point)
{
	const struct kernel_attachment *s = attachment->state;

	return (s->counts[(size_t)point * s->shards].off & 0xff) == KERNEL_OVER_BUDGET;
}

void kernel_stopped(const struct attachment *attachment, uint32_t point, double *share, double *limit)
{
	const struct kernel_attachment *s = attachment->state;
	uint64_t off = s->counts[(size_t)point * s->shards].off;

	*limit = (double)(off >> 8 & KERNEL_SHARE_MAX) / KERNEL_SHARE;
	*share = (double)(off >> 32) / KERNEL_SHARE;
}

void kernel_switch_off(struct kernel_attachment *s, uint32_t point, uint64_t why)
{
	for (unsigned i = 0; i < s->shards; i++)
		__atomic_store_n(&s->counts[(size_t)point * s->shards + i].off, why, __ATOMIC_RELEASE);
}

void kernel_unpin(struct kernel_attachment *s, const struct attachment *attachment)
{
	struct store *store = &s->session->store;
	int n = (int)attachment->number;

	store_unlink(store, "desc", n, -1);
	for (size_t i = 0; i < s->nlinks; i++) {
		store_unlink(store, link_pin_names[0], n, (int)i);
		store_unlink(store, link_pin_names[1], n, (int)i);
		store_unlink(store, "prog", n, (int)i);
	}
	store_unlink(store, "fork", n, -1);
	store_unlink(store, "exit", n, -1);
	returns_unpin(store, n);
	store_unlink(store, "counts", n, -1);
	store_unlink(store, "switch", n, -1);
	store_unlink(store, "processes", n, -1);
	store_unlink(store, "raised", n, -1);
	store_unlink(store, "held", n, -1);
}

static bool ends_here(const struct kernel_attachment *s)
{
	for (size_t i = 0; s && i < s->nlinks; i++)
		if (s->links[i].fd >= 0)
			return !kernel_is_pinned(s);
	return false;
}

void kernel_settle(const struct attachment *attachment, const bool *take)
{
	const struct manifest *d = attachment->manifest;
	struct semaphore_place *places;
	size_t n = 0;

	if (!take && !ends_here(attachment->state))
		return;
	/* What was raised by hand is lowered first; what the kernel needs is raised then. */
	if (!take)
		kernel_raised_lower(attachment->state, NULL);
	places = calloc(d->npoints + 1, sizeof(*places));
	for (uint32_t p = 0; places && p < d->npoints; p++) {
		const struct manifest_point *point = &manifest_points(d)[p];
		const struct manifest_file *file = &manifest_files(d)[manifest_probes(d)[point->probe].file];

		if (point->semaphore_offset && !(point->semaphore_offset & MANIFEST_BY_HAND) &&
		    (take ? take[p] : kernel_armed(attachment, p)))
			places[n++] = (struct semaphore_place){ file->device, file->inode, point->offset,
				                                point->semaphore_offset, (pid_t)point->pid };
	}
	if (places)
		semaphores_settle(places, n);
	free(places);
	if (!take) {
		for (uint32_t p = 0; p < d->npoints; p++)
			kernel_switch_off(attachment->state, p, KERNEL_OFF);
	}
}

/* ---- links that go ---------------------------------------------------------------- */

/* When it returns, none of these runs a program any more: nobody else has them, their pins being unlinked. */
static void close_links(const int *fds, size_t n)
{
	/* Kernels before 6.18 let go of a pin a grace period after it was unlinked. */
	for (int i = 0; n && i < 2; i++)
		syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0);
	for (size_t i = 0; i < n; i++)
		link_close(fds[i]);
}

/* The link's descriptor, the caller's now, or a negative errno. */
static int link_get(struct kernel_attachment *s, const struct attachment *attachment, size_t i)
{
	int fd = s->links[i].fd;

	s->links[i].fd = -1;
	return fd >= 0 ? fd
	               : store_get(&s->session->store, link_pin_names[s->links[i].generation], (int)attachment->number,
	                           (int)i);
}

/* True: they are gone. False: there are so many that one must wait for their bytes. */
static bool drop_links(struct kernel_attachment *s, const struct attachment *attachment, const bool *drop)
{
	struct store *store = &s->session->store;
	int fds[FEW], number = (int)attachment->number;
	size_t n = 0, nfds = 0;

	for (size_t i = 0; i < s->nlinks; i++)
		n += drop[i] && !s->links[i].dead;
	for (size_t i = 0; i < s->nlinks; i++) {
		struct kernel_link *link = &s->links[i];

		if (!drop[i] || link->dead)
			continue;
		if (n <= FEW && (fds[nfds] = link_get(s, attachment, i)) >= 0)
			nfds++;
		store_unlink(store, "prog", number, (int)i); /* the first: see store.h */
		store_unlink(store, link_pin_names[0], number, (int)i);
		store_unlink(store, link_pin_names[1], number, (int)i);
		link_close(link->fd);
		if (link->prog_fd >= 0)
			close(link->prog_fd);
		link->fd = link->prog_fd = -1;
		link->dead = true;
	}
	close_links(fds, nfds);
	return n <= FEW;
}

/* ---- links that take over ---------------------------------------------------------- */

static int program_get(struct kernel_attachment *s, const struct attachment *attachment, size_t i)
{
	if (s->links[i].prog_fd >= 0)
		return fcntl(s->links[i].prog_fd, F_DUPFD_CLOEXEC, 0);
	return store_get(&s->session->store, "prog", (int)attachment->number, (int)i);
}

struct remaining {
	uint64_t *offsets, *semaphores, *cookies;
	size_t n;
	const struct manifest_file *file;
	pid_t pid;
};

/* The points of link i that are still on. */
static int remaining_find(struct remaining *r, const struct attachment *attachment, size_t i, unsigned generation)
{
	const struct manifest *d = attachment->manifest;

	r->offsets = calloc(d->npoints, sizeof(*r->offsets));
	r->semaphores = calloc(d->npoints, sizeof(*r->semaphores));
	r->cookies = calloc(d->npoints, sizeof(*r->cookies));
	if (!r->offsets || !r->semaphores || !r->cookies)
		return -ENOMEM;
	for (uint32_t p = 0; p < d->npoints; p++) {
		const struct manifest_point *point = &manifest_points(d)[p];

		if (point->link != i || !kernel_armed(attachment, p))
			continue;
		r->file = &manifest_files(d)[manifest_probes(d)[point->probe].file];
		r->pid = point->pid;
		r->offsets[r->n] = point->offset;
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

/* The link that is to take over from link i: a descriptor, or a negative errno. */
static int make_next(struct kernel_attachment *s, const struct attachment *attachment, size_t i, unsigned generation)
{
	struct remaining r = { 0 };
	struct process *process = NULL;
	char path[64];
	int file = -1, prog = -1, fd = remaining_find(&r, attachment, i, generation);

	if (!fd)
		fd = link_file(manifest_string(attachment->manifest, r.file->path), r.file->device, r.file->inode,
		               &file, path, sizeof(path));
	if (!fd)
		fd = (prog = program_get(s, attachment, i)) < 0 ? prog : 0;
	if (!fd && r.pid)
		fd = process_open(r.pid, &process);
	if (!fd) {
		struct link_points points = { r.n, r.offsets, r.semaphores, r.cookies };

		fd = link_multi(prog, path, process && !process->leader_gone ? r.pid : 0, &points);
	}
	process_free(process);
	if (prog >= 0)
		close(prog);
	if (file >= 0)
		close(file);
	remaining_release(&r);
	return fd;
}

/* Puts another link in the place of link i: the old one's descriptor, or a negative errno: it stays. */
static int replace_link(struct kernel_attachment *s, const struct attachment *attachment, size_t i, unsigned generation)
{
	const struct store *store = &s->session->store;
	int n = (int)attachment->number, old = link_get(s, attachment, i);
	int next = old < 0               ? -1
	           : kernel_is_pinned(s) ? store_get(store, link_pin_names[generation], n, (int)i)
	                                 : -ENOENT;

	if (old < 0)
		return old;
	if (next == -ENOENT) {
		next = make_next(s, attachment, i, generation);
		if (next >= 0 && kernel_is_pinned(s) && store_pin(store, next, link_pin_names[generation], n, (int)i)) {
			link_close(next);
			next = -EIO;
		}
	}
	if (next < 0) {
		if (!kernel_is_pinned(s))
			s->links[i].fd = old;
		else
			close(old);
		return next;
	}
	store_unlink(store, link_pin_names[!generation], n, (int)i);
	if (!kernel_is_pinned(s))
		s->links[i].fd = next;
	else
		close(next);
	s->links[i].generation = generation;
	return old;
}

/* What an earlier round left there. */
static void clear_marks(int map)
{
	char key[KERNEL_HANDOVER_KEY_SIZE];

	while (!bpf_map_get_next_key(map, NULL, key) && !bpf_map_delete_elem(map, key))
		;
}

/*
 * Those of the changed links that are not of this generation give way to others that
 * are, and are not changed[] any more. Where no other can be made (the file is gone),
 * the old one stays, with points that are switched off.
 */
static void take_over(struct kernel_attachment *s, const struct attachment *attachment, bool *changed,
                      unsigned generation)
{
	int *old = calloc(s->nlinks, sizeof(*old));
	size_t n = 0;
	bool begun = false;

	for (size_t i = 0; i < s->nlinks && old; i++) {
		if (!changed[i] || s->links[i].dead || s->links[i].generation == generation)
			continue;
		if (!begun) {
			clear_marks(s->session->handover_fd);
			__atomic_store_n(&s->control->handover, 1 + generation, __ATOMIC_SEQ_CST);
			begun = true;
		}
		changed[i] = false;
		old[n] = replace_link(s, attachment, i, generation);
		if (old[n] >= 0)
			n++;
	}
	if (begun) {
		close_links(old, n);
		__atomic_store_n(&s->control->handover, 0, __ATOMIC_SEQ_CST);
	}
	free(old);
}

/* ---- disarming ---------------------------------------------------------------------- */

static void wait_for_bytes(const struct pp_session *session, const struct attachment *attachment, const bool *take,
                           bool all)
{
	const struct manifest *d = attachment->manifest;
	struct verify_place *places = calloc(d->npoints, sizeof(*places));
	size_t n = 0;

	for (uint32_t p = 0; p < d->npoints && places; p++) {
		const struct manifest_file *file =
			&manifest_files(d)[manifest_probes(d)[manifest_points(d)[p].probe].file];

		if (all || take[p])
			places[n++] = (struct verify_place){ file->device, file->inode, manifest_points(d)[p].offset };
	}
	if (places)
		verify_disarmed(places, n, session->interrupt);
	free(places);
}

/*
 * Links of which points were switched off: those with none left go, others are made
 * anew. Every step can be taken again by kernel_repair(). False: see drop_links().
 */
static bool change_links(struct kernel_attachment *s, const struct attachment *attachment, bool *changed)
{
	const struct manifest *d = attachment->manifest;
	bool *drop = calloc(s->nlinks + 1, sizeof(*drop)), gone = true;
	unsigned first = s->control->handover ? (s->control->handover - 1) & 1 : 0;

	if (!drop)
		return true;
	for (size_t i = 0; i < s->nlinks; i++)
		drop[i] = changed[i];
	for (uint32_t p = 0; p < d->npoints; p++)
		if (manifest_points(d)[p].link < s->nlinks && kernel_armed(attachment, p))
			drop[manifest_points(d)[p].link] = false;
	gone = drop_links(s, attachment, drop);
	free(drop);
	take_over(s, attachment, changed, first);
	take_over(s, attachment, changed, !first);
	__atomic_store_n(&s->control->handover, 0, __ATOMIC_SEQ_CST);
	__atomic_store_n(&s->control->unfinished, 0, __ATOMIC_SEQ_CST);
	return gone;
}

int kernel_disarm(struct pp_session *session, struct attachment *attachment, const bool *take, bool all)
{
	struct kernel_attachment *s = attachment->state;
	const struct manifest *d = attachment->manifest;
	bool *changed = calloc(s->nlinks + 1, sizeof(*changed)), *going = calloc(d->npoints + 1, sizeof(*going)), gone;

	if (!changed || !going) {
		free(changed);
		free(going);
		return error_nomem();
	}
	for (uint32_t p = 0; p < d->npoints; p++)
		going[p] = (all || take[p]) && kernel_armed(attachment, p);
	__atomic_store_n(&s->control->unfinished, 1, __ATOMIC_SEQ_CST);
	for (uint32_t p = 0; p < d->npoints; p++)
		if (all || take[p]) {
			if (manifest_points(d)[p].link < s->nlinks)
				changed[manifest_points(d)[p].link] = true;
			kernel_switch_off(s, p, KERNEL_OFF);
		}
	kernel_raised_lower(s, attachment);
	kernel_settle(attachment, going);
	free(going);
	if (s->owned && s->owner_fd < 0) {
		s->control->unfinished = 0; /* the holder has its own way of knowing */

		int err = owner_ask(s, (int)attachment->number);

		free(changed);
		if (!err && all)
			kernel_unpin(s, attachment);
		return err;
	}
	if (all) {
		store_unlink(&s->session->store, "desc", (int)attachment->number, -1);
		gone = drop_links(s, attachment, changed);
		kernel_unpin(s, attachment);
	} else {
		gone = change_links(s, attachment, changed);
	}
	if (!gone)
		wait_for_bytes(session, attachment, take, all);
	free(changed);
	return 0;
}

int kernel_repair(struct attachment *attachment)
{
	struct kernel_attachment *s = attachment->state;

	if (s->control->unfinished && !s->owned)
		kernel_links_renew(s, attachment);
	return 0;
}

void kernel_links_renew(struct kernel_attachment *s, const struct attachment *attachment)
{
	const struct manifest *d = attachment->manifest;
	bool *changed = calloc(s->nlinks + 1, sizeof(*changed));

	for (uint32_t p = 0; p < d->npoints && changed; p++)
		if (manifest_points(d)[p].link < s->nlinks && !kernel_armed(attachment, p))
			changed[manifest_points(d)[p].link] = true;
	if (changed)
		change_links(s, attachment, changed);
	free(changed);
}
