/* SPDX-License-Identifier: MIT */
/* What the files of the kernel backend share. */
#ifndef RUNTIME_KERNEL_KERNEL_H
#define RUNTIME_KERNEL_KERNEL_H

#include <signal.h>

#include "runtime/kernel/returns.h"
#include "runtime/kernel/emit.h"
#include "runtime/kernel/scope.h"
#include "runtime/kernel/store.h"
#include "runtime/session.h"

#define KERNEL_RING_SIZE (4u << 20)
#define KERNEL_SHARDS_MAX 8

struct kernel_session {
	struct store store;
	int config_fd, ring_fd, mark_fd, scratch_fd;
	struct kernel_config *config; /* mapped */
	sigset_t mask;                /* the thread's signal mask, from before this session changed it */
	bool masked;                  /* it has */
};

struct kernel_link {
	int fd, prog_fd; /* -1 where they are only pinned */
	bool dead;       /* created for no point, or taken out */
	unsigned side;   /* which of link_sides it is pinned as: the generation in its cookies */
};

struct kernel_attachment {
	struct kernel_session *session;
	int counts_fd, switch_fd;
	int processes_fd;             /* -1: hits are not told apart by process */
	struct kernel_counts *counts; /* mapped: shards for each point */
	size_t counts_size;
	struct kernel_switch *change; /* mapped */
	unsigned shards;
	struct kernel_link *links;
	size_t nlinks;
	struct members members; /* of an attachment just armed, or a private one */
	struct calls calls;     /* of one that has calls */
	int raised_fd;          /* map of the semaphores raised by hand (raised.c); -1: none */
	bool held;              /* its links live with the process that made it */
	int hold_fd;            /* in that process: what it has locked; else -1 */
};

static inline bool kernel_is_pinned(const struct kernel_attachment *s)
{
	return s->session->store.dir >= 0 && !s->held;
}

static inline struct kernel_session *kernel_of(const struct pp_session *session)
{
	return session_state(session, &backend_kernel);
}

/* maps.c */
int kernel_map_create(enum bpf_map_type type, const char *name, uint32_t key, uint32_t value, uint32_t n,
                      uint32_t flags);
int kernel_task_storage(const char *name, uint32_t size);
/*
 * Tries to allocate an element of task storage, for the calling thread. Returns 0, or a negative errno if the kernel
 * has no room for a value of this size. PROBEPOINT_TASK_STORAGE_MAX=BYTES (for tests) stands for a kernel's limit.
 */
int kernel_task_storage_allocates(int fd, uint32_t size);
void *kernel_map_memory(int fd, size_t size); /* NULL: errno tells */
int kernel_maps_create(struct kernel_session *k);
int kernel_maps_get(struct kernel_session *k);
void kernel_maps_close(struct kernel_session *k);
int kernel_attachment_maps_create(struct kernel_attachment *s, uint32_t npoints, bool everybody);
int kernel_attachment_maps_get(struct kernel_attachment *s, uint32_t number, uint32_t npoints);
void kernel_attachment_close(struct kernel_attachment *s);
int kernel_desc_pin(struct kernel_session *k, const struct manifest *manifest);
int kernel_desc_get(struct kernel_session *k, uint32_t number, struct manifest **manifest);

/* The names of a link's pin: another takes over under the other one. */
extern const char *const link_sides[2];

/* arm.c */
int kernel_arm(struct pp_session *session, struct attachment *attachment, struct arm_point *const *points,
               size_t npoints, const struct arm_options *options);

/* disarm.c */
int kernel_disarm(struct pp_session *session, struct attachment *attachment, const bool *take, bool all);
/* why: KERNEL_OFF, or kernel_off_why(). */
void kernel_switch_off(struct kernel_attachment *s, uint32_t point, uint64_t why);
/* Before links go: sees to it that the kernel can lower semaphores. take NULL: of all points, if they end with this process. */
void kernel_settle(const struct attachment *attachment, const bool *take);
/* Unlinks all pins of an attachment. */
void kernel_unpin(struct kernel_attachment *s, const struct attachment *attachment);
/* Finishes what a killed command left of a link's change. */
int kernel_repair(struct attachment *attachment);
bool kernel_armed(const struct attachment *attachment, uint32_t point);
bool kernel_over_budget(const struct attachment *attachment, uint32_t point);
/* Why a point is over budget: what the session cost, and the budget, as shares of one CPU. */
void kernel_stopped(const struct attachment *attachment, uint32_t point, double *share, double *limit);

/* Makes the links anew of which points were switched off. */
void kernel_change(struct kernel_attachment *s, const struct attachment *attachment);

/* raised.c: semaphores that were raised by hand for points of an attachment */
struct semaphore_raised;
int kernel_raised_record(const struct semaphore_raised *raised, void *attachment);
/* Lowers those of which no point is armed any more; attachment NULL: all that this process recorded. */
void kernel_raised_lower(struct kernel_attachment *s, const struct attachment *attachment);
/* The same for an attachment that is removed because its maker or holder was killed. */
void kernel_raised_lower_left(const struct store *store, int attachment);

/*
 * owner.c: starts the process that raises semaphores in processes that start later, if points need one. *done is to be
 * closed, if it is not -1, when semaphores were raised in the processes that there are.
 */
int kernel_owner_start(struct attachment *attachment, struct arm_point *const *points, size_t npoints, int *done);

/* hold.c */
int kernel_hold_begin(struct kernel_attachment *s, int number);
/* Restores the signal mask that the caller had before it armed what is to be held. */
void kernel_signals_restore(struct kernel_session *k);
/* -ENOENT: the attachment's holder is gone, and its links with it. */
int kernel_hold_find(struct kernel_attachment *s, int number);
/* Has the holder take out what was switched off. */
int kernel_hold_ask(struct kernel_attachment *s, int number);
int kernel_hold(struct pp_session *session, const struct hold_options *options);

/* brake.c */
int kernel_watch(struct pp_session *session, void (*ready)(void *arg), void *arg);
double kernel_limit(const struct pp_session *session, bool *watched);
void kernel_unlimit(struct pp_session *session);

/* ring.c */
int kernel_reader_open(struct pp_session *session, void **reader);
int kernel_reader_next(void *reader, const struct record_thread **thread, const struct record **record, size_t *size);
void kernel_reader_close(void *reader);
void kernel_reader_stop(void *reader);
uint64_t kernel_reader_damaged(void *reader);
bool kernel_lose(const struct attachment *attachment, uint32_t point, pid_t pid);

#endif
