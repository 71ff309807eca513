/* SPDX-License-Identifier: MIT */
/*
 * The interface between sessions and the backends that arm points for them.
 *
 * A backend keeps attachments. An attachment is what one probe-enable armed through one backend: a manifest of its
 * points, their counters, and the objects that arm them. Attachments outlive the process that made them, so a backend
 * keeps them in a session directory (session-dir.h) and every command reads them from there.
 *
 * To add a backend:
 *
 * 1. Write one `struct backend` in runtime/NAME/backend.c. No operation may be NULL. For operations that the backend does
 *    not need, use the default functions at the end of this file.
 * 2. Declare it below, and add it to the list in backends.c. The order is the order of preference of "auto".
 * 3. In open(), attach the backend's state to the session by session_set_state(), and add each attachment that is found
 *    in the session directory by session_add_attachment().
 *
 * tests/unit/null-backend.c is a complete backend that arms nothing.
 */
#ifndef RUNTIME_BACKEND_H
#define RUNTIME_BACKEND_H

#include <probepoint.h>

#include "runtime/arm-point.h"
#include "runtime/manifest.h"
#include "runtime/scope.h"

struct backend;
struct pp_request;
struct record;
struct record_thread;

#define BACKENDS_MAX 8
#define ATTACHMENT_NUMBER_MAX 0x0fffffffu

typedef int agg_cell_fn(const struct agg_key *key, size_t key_size, const struct agg_cell *cell, void *arg);
/* The records that a snapshot of flight recorders does not have. */
struct snapshot_gaps {
	/*
	 * At least the number of records that cannot be returned because they are being written or are overwritten
	 * meanwhile.
	 */
	uint64_t passed;
	/*
	 * ns: from this time on, no record was overwritten before the snapshot began. 0: no record was overwritten at
	 * all; UINT64_MAX: the time is not known.
	 */
	uint64_t since;
};

static inline void snapshot_gaps_until(struct snapshot_gaps *gaps, uint64_t since)
{
	gaps->since = since > gaps->since ? since : gaps->since;
}

/* Receives a record of a flight recorder, which is valid during the call. Stops the caller by a nonzero result. */
typedef int snapshot_fn(const struct record_thread *thread, const struct record *record, size_t size, void *arg);
typedef int agg_misfit_fn(uint32_t group, unsigned column, const struct agg_misfit *misfit, void *arg);

struct attachment {
	uint32_t number; /* unique among all attachments that this backend ever had in the session */
	const struct backend *backend;
	struct manifest *manifest;
	void *state; /* private to the backend */
};

/* How an attachment is armed: the options of the request. */
struct arm_options {
	const struct scope *scope; /* the processes in scope */
	bool record;               /* the attachment records from the start, without a reader */
	bool overwrite;            /* new records replace the thread's oldest ones when its ring is full */
	bool calls;                /* agents may make system calls in hits */
	bool hold;                 /* the attachment ends with this process */
	unsigned cells;            /* cells of the attachment's aggregates (aggregate.h) */
	size_t buffer;             /* bytes of the session's ring, a power of two; 0: as it is, or the default */
	size_t flight;             /* bytes of a flight recorder for each process; 0: none */
	unsigned maxactive;        /* calls in flight: pp_request_maxactive(); 0: not set */
	double budget;             /* CPUs that the attachment's hits may take; 0: no budget */
};

/* The arguments of pp_session_hold(), and the budget. */
struct hold_options {
	uint64_t deadline; /* CLOCK_MONOTONIC of the initial time namespace; 0: none */
	const int *pidfds; /* holding ends when all of these processes have ended */
	size_t npidfds;
	double budget; /* CPUs that all held attachments may take together; 0: no budget */
	bool strict;   /* the budget has no credit (kernel/budget.c) */
};

/* Operations that return int return 0 or a negative errno with an error message, unless they say otherwise. */
struct backend {
	const char *name;

	/* ---- properties ---- */

	bool arms_inodes;      /* a point is armed for all paths of its file, so one of several paths suffices */
	bool records_sessions; /* record() also reaches what is armed already */
	bool has_budgets;      /* watch(), limit() and unlimit() do something */
	bool names_processes;  /* manifests contain the start time of each process */
	bool hits_trap;        /* a hit costs a trap, of trap_ns() */

	/* ---- the backend's part of a session ---- */

	/*
	 * Finds the session in this backend's session directory and adds its attachments. Removes what a killed command
	 * left incomplete. create: makes the session if it does not exist. Returns -ENOENT if it does not exist.
	 */
	int (*open)(struct pp_session *session, bool create);
	void (*close)(struct pp_session *session);
	/* Locks the session against other commands and reads its attachments again. Waits 5 s at most: -EBUSY. */
	int (*lock)(struct pp_session *session);
	void (*unlock)(struct pp_session *session);
	/* Removes a session that has no attachments left. */
	int (*remove)(struct pp_session *session);
	/* Calls fn with the name of each session, until it returns nonzero. */
	int (*names)(int (*fn)(const char *name, void *arg), void *arg);

	/* ---- arming ---- */

	/* Returns whether this process has the privileges that the backend needs. */
	bool (*permitted)(void);
	/*
	 * Returns 0 if the backend can serve the request, else a negative errno with the reason. any: another backend
	 * may serve the request as well, so the backend also declines a request that it can serve only in part.
	 */
	int (*usable)(const struct pp_request *request, bool any);
	/*
	 * Refuses points that the backend can arm in no process. Returns 0, or a negative errno with an error message if it can
	 * never serve the request. Needs no session and no privilege, and does not look at processes.
	 */
	int (*foresee)(const struct pp_request *request, struct arm_point *const *points, size_t npoints);
	/* Returns whether the backend can arm the site. Not called for sites that insn-check.h refuses. */
	bool (*takes)(const struct pp_site *site);
	/*
	 * Returns the number that stands for the site's semaphore in the manifest: its file offset, or a number with a
	 * meaning that the backend defines. 0: no semaphore.
	 */
	uint64_t (*semaphore_key)(const struct pp_site *site);
	/* Under the lock, before arm(): refuses points that must not be armed now. Fails only without memory. */
	int (*check)(struct pp_session *session, struct arm_point *const *points, size_t npoints);
	/*
	 * Arms all points of the attachment and keeps it in the session directory. Points of one image and process are
	 * adjacent. Sets error and reason of points that cannot be armed. Fails only if no point can be armed, or if it
	 * was interrupted, and then has undone everything.
	 */
	int (*arm)(struct pp_session *session, struct attachment *attachment, struct arm_point *const *points,
	           size_t npoints, const struct arm_options *options);
	/*
	 * After arm(): reads the points that have no error back from the processes, and sets their verified, pending,
	 * error and reason. Adds the processes in which a point for every process is not armed to the misses.
	 */
	int (*readback)(struct pp_session *session, struct attachment *attachment, struct arm_point *const *points,
	                size_t npoints, struct arm_misses *misses);
	/* Does the same for points that an earlier call armed. Changes *points only, and neither arms nor disarms. */
	int (*verify)(struct pp_session *session, struct attachment *attachment, struct arm_point *const *points,
	              size_t npoints, struct arm_misses *misses);
	/*
	 * Disarms the points i with take[i], and returns when their bytes are back. all: disarms every point (take may
	 * be NULL) and ends the attachment, which the caller then forgets.
	 */
	int (*disarm)(struct pp_session *session, struct attachment *attachment, const bool *take, bool all);
	/* Closes the descriptors and frees the state of the attachment. Pinned or stored points stay armed. */
	void (*release)(struct attachment *attachment);

	/* ---- holding, cost and budgets ---- */

	/* See pp_session_hold(). */
	int (*hold)(struct pp_session *session, const struct hold_options *options);
	/* See pp_session_cost(). Returns -ENOSYS without an error message if the backend cannot measure. */
	int (*cost)(struct pp_session *session, int ms, struct pp_cost *cost);
	/* Returns the CPU time, in ns, that a hit takes at least. May measure it, which takes milliseconds. */
	double (*trap_ns)(void);
	/* Returns whether the point was disarmed because the session was over its budget. */
	bool (*over_budget)(const struct attachment *attachment, uint32_t point);
	/* For such a point: sets the session's cost at that time, and the budget, as shares of one CPU. */
	void (*stopped)(const struct attachment *attachment, uint32_t point, double *share, double *limit);
	/* See pp_session_watch(), pp_session_limit() and pp_session_unlimit(). */
	int (*watch)(struct pp_session *session, void (*ready)(void *arg), void *arg);
	double (*limit)(const struct pp_session *session, bool *watched);
	void (*unlimit)(struct pp_session *session);

	/* ---- counts ---- */

	bool (*armed)(const struct attachment *attachment, uint32_t point);
	void (*counts)(const struct attachment *attachment, uint32_t point, struct pp_counts *counts);
	/* Calls fn with the hits of each process, for each point that is armed for every process. Stops as names(). */
	int (*processes)(const struct attachment *attachment,
	                 int (*fn)(uint32_t point, pid_t pid, uint64_t hits, void *arg), void *arg);
	/* Returns the start time of the process that had this pid when the attachment was armed in it. 0: not known. */
	uint64_t (*start_time)(const struct attachment *attachment, uint32_t pid);
	/* See pp_stat_pid_namespace(). */
	uint32_t (*pid_namespace)(const struct attachment *attachment);
	/*
	 * Calls cell() for each cell of the attachment's aggregates, and misfit() for each {group, column}, until one returns
	 * nonzero. Both may be called several times for one cell, whose parts the caller adds up. key_size: bytes of the key
	 * with its parts.
	 */
	int (*aggregates)(const struct attachment *attachment, agg_cell_fn *cell, agg_misfit_fn *misfit, void *arg);
	/*
	 * Reads and replaces the layout of a process image (layout.h) that the session keeps for the attachment's stacks. *text
	 * becomes NULL if it keeps none; the caller frees it. A layout that cannot be stored is not an error.
	 */
	int (*layout_load)(const struct attachment *attachment, pid_t pid, uint64_t exec, char **text);
	void (*layout_store)(const struct attachment *attachment, pid_t pid, uint64_t exec, const char *text);
	/* See pp_stat_uncounted(). */
	size_t (*uncounted)(struct pp_session *session);

	/* ---- records ---- */

	/* Makes the whole session record without a reader, from now on. */
	void (*record)(struct pp_session *session);
	int (*reader_open)(struct pp_session *session, void **reader);
	/*
	 * Takes the next record out of the session, without waiting. Returns 1 and sets *thread, *record and *size,
	 * which are valid until the next call. Returns 0 if no record is ready. -EBADMSG: a damaged record was skipped.
	 */
	int (*reader_next)(void *reader, const struct record_thread **thread, const struct record **record,
	                   size_t *size);
	void (*reader_close)(void *reader);
	/* See pp_reader_stop(). */
	void (*reader_stop)(void *reader);
	/* Counts as lost the records that the reader took out of the session and did not return. */
	void (*reader_drop)(void *reader);
	/* Before reader_next(): records that are not returned stay in the session. */
	void (*reader_leave)(void *reader);
	/* The records that were returned and are from before `until` (ns) are delivered, and need not stay in the session. */
	void (*reader_done)(void *reader, uint64_t until);
	/* Returns whether a record that was returned, and not delivered, is still in the session for the next reader. */
	bool (*reader_keeps)(void *reader, const struct record_thread *thread);
	/* Returns how many damaged records were skipped since the reader was opened. */
	uint64_t (*reader_damaged)(void *reader);
	/* Moves a record of the point from recorded to lost. Returns false if the process's counts no longer exist. */
	bool (*lose)(const struct attachment *attachment, uint32_t point, pid_t pid);

	/* ---- flight recorders ---- */

	/* Returns arm_options.flight of the attachment. */
	size_t (*flight)(const struct attachment *attachment);
	/*
	 * Calls fn with each record in the memory of the session's flight recorders, in any order, until it returns
	 * nonzero, and returns that value. Adds to *gaps.
	 */
	int (*snapshot)(struct pp_session *session, snapshot_fn *fn, void *arg, struct snapshot_gaps *gaps);
	/* Returns how many bytes of memory the session's flight recorders have now. */
	uint64_t (*held)(struct pp_session *session);
};

extern const struct backend backend_kernel, backend_agent;

/* The list: see backends.c. */
extern const struct backend *const backends[];
extern const size_t nbackends;

/* Returns a number that is unique among the session's attachments of all backends. */
uint32_t attachment_id(const struct attachment *attachment);
uint32_t attachment_id_of(const struct backend *backend, uint32_t number);

/* Returns the index of the backend in the list, nbackends if it is not in the list. */
size_t backend_index(const struct backend *backend);
/* Returns true if this process has the privileges for any backend that is after this one in the list. */
bool backend_later_permitted(const struct backend *backend);

/* Defaults, for backends that do not have the operation. */
int backend_needs_no_lock(struct pp_session *session);
void backend_needs_no_unlock(struct pp_session *session);
bool backend_always_permitted(void);
bool backend_takes_all(const struct pp_site *site);
uint64_t backend_semaphore_offset(const struct pp_site *site);
int backend_foresees_nothing(const struct pp_request *request, struct arm_point *const *points, size_t npoints);
int backend_checks_nothing(struct pp_session *session, struct arm_point *const *points, size_t npoints);
void backend_releases_nothing(struct attachment *attachment);
int backend_holds_nothing(struct pp_session *session, const struct hold_options *options);
int backend_cost_unknown(struct pp_session *session, int ms, struct pp_cost *cost);
double backend_trap_is_cheap(void);
bool backend_never_over_budget(const struct attachment *attachment, uint32_t point);
void backend_never_stopped(const struct attachment *attachment, uint32_t point, double *share, double *limit);
int backend_watches_nothing(struct pp_session *session, void (*ready)(void *arg), void *arg);
double backend_has_no_limit(const struct pp_session *session, bool *watched);
void backend_unlimits_nothing(struct pp_session *session);
void backend_counts_zero(const struct attachment *attachment, uint32_t point, struct pp_counts *counts);
int backend_knows_no_process(const struct attachment *attachment,
                             int (*fn)(uint32_t point, pid_t pid, uint64_t hits, void *arg), void *arg);
int backend_aggregates_nothing(const struct attachment *attachment, agg_cell_fn *cell, agg_misfit_fn *misfit,
                               void *arg);
int backend_loads_no_layout(const struct attachment *attachment, pid_t pid, uint64_t exec, char **text);
void backend_stores_no_layout(const struct attachment *attachment, pid_t pid, uint64_t exec, const char *text);
uint64_t backend_knows_no_start(const struct attachment *attachment, uint32_t pid);
uint32_t backend_shares_pids(const struct attachment *attachment);
size_t backend_counts_all(struct pp_session *session);
void backend_records_with_reader(struct pp_session *session);
int backend_reads_nothing(void *reader, const struct record_thread **thread, const struct record **record,
                          size_t *size);
void backend_drops_nothing(void *reader);
void backend_has_taken(void *reader, uint64_t until);
bool backend_keeps_nothing(void *reader, const struct record_thread *thread);
uint64_t backend_damages_nothing(void *reader);
bool backend_loses_nothing(const struct attachment *attachment, uint32_t point, pid_t pid);
size_t backend_has_no_flight(const struct attachment *attachment);
int backend_snapshots_nothing(struct pp_session *session, snapshot_fn *fn, void *arg, struct snapshot_gaps *gaps);
uint64_t backend_holds_no_records(struct pp_session *session);

#endif
