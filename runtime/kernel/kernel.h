/* SPDX-License-Identifier: MIT */
/*
 * The kernel backend arms points by uprobes that run BPF programs. This header is what its files share:
 *
 *     backend.c            the operations of the backend
 *     session.c            sessions: open, lock, load the attachments
 *     attachment.c         attachments: their descriptors, and the state of their points
 *     maps.c               BPF maps
 *     aggregates.c         the maps of aggregates; samples.c the map of sampling
 *     pins.c               names in the BPF file system
 *     arm.c, arm-links.c   arming
 *     disarm.c             disarming; handover.c: links that replace others
 *     scope.c, returns.c   maps and links of attachments with some scopes, and with function returns
 *     emit*.c              BPF programs; link.c loads them and creates links
 *     verify-*.c           checks of the targets' memory; foreign.c finds uprobes of other tools
 *     semaphore*.c         semaphores that the kernel does not raise correctly
 *     owner.c, watcher.c   processes that hold links or check a budget; budget.c, overhead.c
 *     ring.c               readers; flight.c: flight recorders
 */
#ifndef RUNTIME_KERNEL_KERNEL_H
#define RUNTIME_KERNEL_KERNEL_H

#include <signal.h>

#include "runtime/kernel/emit.h"
#include "runtime/kernel/returns.h"
#include "runtime/kernel/scope.h"
#include "runtime/kernel/pins.h"
#include "runtime/session.h"

#define KERNEL_RING_SIZE (4u << 20)
#define KERNEL_SHARDS_MAX 8

struct kernel_session {
	struct session_pins pins;
	int config_fd, ring_fd, handover_fd, scratch_fd;
	struct kernel_config *config; /* mapped */
	sigset_t mask;                /* what owner_signals_restore() restores, if masked */
	bool masked;
};

struct kernel_link {
	int fd, prog_fd;     /* -1: only pinned */
	bool dead;           /* has no points: it was removed, or never created */
	unsigned generation; /* in its cookies, and which of link_pin_names it is pinned as */
};

struct kernel_attachment {
	struct kernel_session *session;
	int counts_fd, control_fd;
	int processes_fd;             /* -1: hits are not counted by process */
	int cells_fd, misfits_fd;     /* -1: no aggregates */
	int layouts_fd;               /* stacks.h; -1: no stacks */
	struct kernel_counts *counts; /* mapped: `shards` elements per point */
	size_t counts_size;
	int samples_fd;                 /* -1: the attachment does not sample */
	struct kernel_sample *samples;  /* mapped: as many as counts; NULL: none */
	struct kernel_control *control; /* mapped */
	unsigned shards;
	struct kernel_link *links;
	size_t nlinks, links_room;
	struct kernel_scope scope;     /* closed when its links are pinned */
	struct kernel_returns returns; /* of an attachment with calls */
	int raised_fd;                 /* map of semaphores raised by hand (semaphore-raised.c); -1: none */
	bool owned;                    /* its links live only in the owner process */
	int owner_fd;                  /* in the owner: the locked directory held-S; else -1 */
	int flight_fd;                 /* -1: no flight recorder */
	void *flight;                  /* mapped: flight_parts times a struct kernel_flight_part */
	uint32_t flight_part_size, flight_parts;
};

static inline struct kernel_session *kernel_of(const struct pp_session *session)
{
	return session_state(session, &backend_kernel);
}

/* Returns true if the attachment's links are pinned, so that they outlive this process. */
static inline bool kernel_is_pinned(const struct kernel_attachment *s)
{
	return s->session->pins.dir >= 0 && !s->owned;
}

/* ---- session.c ---- */

/* Operations of the backend. */
int kernel_session_open(struct pp_session *session, bool create);
void kernel_session_close(struct pp_session *session);
int kernel_session_lock(struct pp_session *session);
void kernel_session_unlock(struct pp_session *session);
int kernel_session_remove(struct pp_session *session);

/* ---- attachment.c ---- */

/* The names of a link's pin, by generation. */
extern const char *const link_pin_names[2];

/* Returns NULL if memory allocation fails. kernel_attachment_close() frees it. */
struct kernel_attachment *kernel_attachment_new(struct kernel_session *k);
/* Closes the descriptors of this process and frees the attachment, which may be NULL. Does not unpin anything. */
void kernel_attachment_close(struct kernel_attachment *s);
/* Unlinks all pins of an attachment. */
void kernel_attachment_unpin(struct kernel_attachment *s, const struct attachment *attachment);

/* Makes programs ignore the hits of a point. why is KERNEL_OFF or kernel_off_why(). The traps stay. */
void kernel_switch_off(struct kernel_attachment *s, uint32_t point, uint64_t why);
/* Operations of the backend. */
bool kernel_armed(const struct attachment *attachment, uint32_t point);
bool kernel_over_budget(const struct attachment *attachment, uint32_t point);
void kernel_stopped(const struct attachment *attachment, uint32_t point, double *share, double *limit);

/* ---- maps.c ---- */

/* Closes the descriptor if it is not negative, and sets it to -1. */
void kernel_fd_close(int *fd);
/* Create a map. Return its descriptor, or a negative errno with an error message. */
int kernel_map_create(enum bpf_map_type type, const char *name, uint32_t key, uint32_t value, uint32_t n,
                      uint32_t flags);
/*
 * A hash for programs. Its elements are allocated at once if they take at most 16 MiB, because the kernel can have no memory at
 * hand at a hit.
 */
int kernel_hash_create(const char *name, uint32_t key, uint32_t value, uint32_t n);
int kernel_task_storage(const char *name, uint32_t size);
/*
 * Tries to allocate an element of task storage for the calling thread. Returns 0, or a negative errno if the kernel
 * cannot allocate a value of this size. The environment variable PROBEPOINT_TASK_STORAGE_MAX=BYTES, for tests, lowers
 * the limit.
 */
int kernel_task_storage_allocates(int fd, uint32_t size);
/* Maps the elements of an array map. Returns NULL and sets errno if that fails. */
void *kernel_map_memory(int fd, size_t size);

/* Create, or open from the pins, the maps of a session. _get() returns -ENOENT if the session is incomplete. */
/* ring_size: of the ring, a power of two; 0: KERNEL_RING_SIZE. */
int kernel_maps_create(struct kernel_session *k, size_t ring_size);
/* Returns the size of the session's ring, 0 if it is not known. */
size_t kernel_ring_size(const struct kernel_session *k);
int kernel_maps_get(struct kernel_session *k);
void kernel_maps_close(struct kernel_session *k);

/* The same for an attachment. by_process: count the hits of each process. cells: room of aggregates. */
int kernel_attachment_maps_create(struct kernel_attachment *s, const struct manifest *manifest, bool by_process,
                                  unsigned cells);
int kernel_attachment_maps_get(struct kernel_attachment *s, const struct manifest *manifest);

/* Stores and loads the manifest. The caller frees *manifest. _get() returns -ENOENT if it does not exist. */
int kernel_manifest_pin(struct kernel_session *k, const struct manifest *manifest);
int kernel_manifest_get(struct kernel_session *k, uint32_t number, struct manifest **manifest);

/* ---- aggregates.c ---- */

/* Create, or open from the pins, the maps of an attachment's aggregates, if it has any. _get() as above. */
int kernel_aggregates_create(struct kernel_attachment *s, const struct manifest *manifest, unsigned cells);
int kernel_aggregates_get(struct kernel_attachment *s, const struct manifest *manifest);
/* Operation of the backend. */
int kernel_aggregates(const struct attachment *attachment, agg_cell_fn *cell, agg_misfit_fn *misfit, void *arg);

/* ---- samples.c ---- */

/* Create, or open from the pins, the map of an attachment that samples. The counters are mapped. _get() as above. */
int kernel_samples_create(struct kernel_attachment *s, const struct manifest *manifest);
int kernel_samples_get(struct kernel_attachment *s, const struct manifest *manifest);
void kernel_samples_close(struct kernel_attachment *s);
/* Returns the number of the point's hits that were not chosen. */
uint64_t kernel_unsampled(const struct kernel_attachment *s, uint32_t point);

/* ---- arm.c, arm-links.c ---- */

int kernel_arm(struct pp_session *session, struct attachment *attachment, struct arm_point *const *points,
               size_t npoints, const struct arm_options *options);

/* Points of one image and process, and the arrays from which the kernel creates a link. */
struct link_arrays {
	uint64_t *offsets, *semaphores, *cookies;
	struct arm_point **points;
	size_t n;
};

int link_arrays_init(struct link_arrays *a, size_t room);
void link_arrays_release(struct link_arrays *a);
void link_arrays_add(struct link_arrays *a, struct arm_point *point, uint64_t cookie);
/* Arms the points with a program, by one link if the kernel supports that. Refuses points that cannot be armed. */
int link_arrays_arm(struct link_arrays *a, struct attachment *attachment, int prog);

/* ---- disarm.c, handover.c ---- */

/* Operation of the backend. */
int kernel_disarm(struct pp_session *session, struct attachment *attachment, const bool *take, bool all);
/*
 * Makes sure that the kernel can lower the semaphores of points whose links are about to be removed: those with
 * take[i], or if take is NULL all points of an attachment that ends with this process.
 */
void kernel_prepare_disarm(const struct attachment *attachment, const bool *take);

/*
 * Removes the links drop[i]. `waiting` is the session of the command that waits for this, or NULL. Returns true if the
 * links are gone, or false if the kernel removes some of them later (handover.c).
 */
bool kernel_links_drop(struct kernel_attachment *s, const struct attachment *attachment, const bool *drop,
                       const struct pp_session *waiting);
/*
 * Removes the links changed[i] that have no armed points left, and replaces the others by links of their armed points.
 * Sets changed[i] of replaced links to false. The next command can repeat it if it is interrupted. Returns as
 * kernel_links_drop().
 */
bool kernel_links_change(struct kernel_attachment *s, const struct attachment *attachment, bool *changed,
                         const struct pp_session *waiting);
/* Does the same for all links with points that are switched off. */
void kernel_links_renew(struct kernel_attachment *s, const struct attachment *attachment);

/* ---- semaphore-raised.c, semaphore-owner.c ---- */

struct semaphore_raised;

/* Records a semaphore that is about to be raised by hand, for semaphores_raise(). */
int semaphore_raised_record(const struct semaphore_raised *raised, void *attachment);
/* Lowers the recorded semaphores that no armed point uses; all that this process recorded if attachment is NULL. */
void semaphore_raised_lower(struct kernel_attachment *s, const struct attachment *attachment);
/* Lowers all recorded semaphores of an attachment whose maker or owner was killed. */
void semaphore_raised_lower_left(const struct session_pins *pins, int attachment);

/*
 * Starts the process that raises semaphores in processes that start later, if points need one. Sets reasons of points
 * that it serves. Returns -1, or a descriptor that the caller closes when it has raised the semaphores of running
 * processes.
 */
int semaphore_owner_start(struct attachment *attachment, struct arm_point *const *points, size_t npoints);

/* ---- owner-lock.c, owner.c ---- */

/* Makes this process the owner of an attachment. Blocks SIGUSR1 until owner_signals_restore(). */
int owner_begin(struct kernel_attachment *s, int number);
/* Sets s->owned. Returns -ENOENT if the owner has ended, and the links with it. */
int owner_find(struct kernel_attachment *s, int number);
/* Asks the owner to remove and replace links of points that are switched off, and waits until it has done so. */
int owner_ask(struct kernel_attachment *s, int number);
/* Blocks the signals. The first call saves the caller's mask, which owner_signals_restore() restores. */
void owner_signals_block(struct kernel_session *k, const sigset_t *set);
void owner_signals_restore(struct kernel_session *k);
/* Operation of the backend. */
int kernel_hold(struct pp_session *session, const struct hold_options *options);

/* ---- watcher.c: operations of the backend ---- */

int kernel_watch(struct pp_session *session, void (*ready)(void *arg), void *arg);
double kernel_limit(const struct pp_session *session, bool *watched);
void kernel_unlimit(struct pp_session *session);

/* ---- ring.c: operations of the backend ---- */

int kernel_reader_open(struct pp_session *session, void **reader);
int kernel_reader_next(void *reader, const struct record_thread **thread, const struct record **record, size_t *size);
void kernel_reader_close(void *reader);
void kernel_reader_stop(void *reader);
uint64_t kernel_reader_damaged(void *reader);
bool kernel_lose(const struct attachment *attachment, uint32_t point, pid_t pid);

/* ---- flight.c ---- */

/*
 * Create, or open from the pin, the map of the attachment's flight recorder, if it has one. scratch_size: the most that
 * a record of its programs is built in.
 */
int kernel_flight_create(struct kernel_attachment *s, const struct arm_options *options, size_t scratch_size);
int kernel_flight_get(struct kernel_attachment *s, uint32_t number);
void kernel_flight_close(struct kernel_attachment *s);
/* Operations of the backend. */
size_t kernel_flight(const struct attachment *attachment);
int kernel_snapshot(struct pp_session *session, snapshot_fn *fn, void *arg, struct snapshot_gaps *gaps);
uint64_t kernel_held(struct pp_session *session);

#endif
