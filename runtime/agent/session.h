/* SPDX-License-Identifier: MIT */
/*
 * The agent backend's state of a session and of its attachments. The controller's files build on each other in this
 * order; each uses only those before it:
 *
 *     session-files, attachment-file, counts-file    files
 *     backoff, client, reasons, reach, environment   one agent
 *     tracee*, wake*, sleepers, inject*              calls in threads of its process
 *     shm, cells, rings, record-*                    one shared memory region
 *     processes, counts                              the processes of a session
 *     session, usable, verify, reader, keeper        what a command does with a session
 *     backend                                        the operations, in one table
 */
#ifndef RUNTIME_AGENT_SESSION_H
#define RUNTIME_AGENT_SESSION_H

#include "runtime/agent/attachment-file.h"
#include "runtime/agent/cells.h"
#include "runtime/agent/processes.h"
#include "runtime/agent/sleepers.h"
#include "runtime/session.h"

struct agent_session {
	struct pp_session *session;
	struct agent_dir dir;
	int owner; /* descriptor that holds the lock of a private session, else -1 */
	char name[AGENT_SESSION_MAX + 1];
	struct target_process **targets;
	size_t ntargets, targets_room;
	pid_t *pids; /* the processes that the session concerns; npids 0: every process */
	size_t npids;
	uint64_t refreshed;                     /* ns: when targets was last refreshed; 0: at once */
	uint64_t kept_next;                     /* the reader got the keeper's regions before this number */
	uint64_t verified;                      /* ns: when agents last compared their sites with the memory */
	bool verifying;                         /* the current refresh makes them compare */
	const struct target_observer *observer; /* NULL: no reader */
	struct agent_reader *reader;            /* NULL: no reader */
	struct agent_sleepers sleepers;         /* agents that could not be woken when every process was last armed */
};

/* The state of an attachment. */
struct agent_loaded {
	struct agent_session *session;
	struct agent_file file;
	struct agent_count *counts; /* at the time `counted` */
	uint64_t counted;           /* ns; 0: never */
};

static inline struct agent_session *agent_of(const struct pp_session *session)
{
	return session_state(session, &backend_agent);
}

static inline struct agent_loaded *agent_loaded(const struct attachment *attachment)
{
	return attachment->state;
}

/* ---- counts.c ---- */

/* Sets loaded->counts to the counts of all processes, those in files included. Returns 0 or -ENOMEM. */
int agent_session_count(struct agent_loaded *loaded, const struct manifest *manifest);
/* Calls fn with the counts of each process. A process that changed its region or has ended may come more than once. */
int agent_session_each_counts(struct agent_loaded *loaded, const struct manifest *manifest,
                              int (*fn)(pid_t pid, const struct agent_count *counts, void *arg), void *arg);
/* Adds what all processes have computed, those in files included. Returns 0 or -ENOMEM. */
int agent_session_cells(struct agent_loaded *loaded, struct agent_cells *cells);
/* Returns the number of processes that ended before their counts were saved. */
size_t agent_session_uncounted(const struct agent_session *session);

/* ---- session.c, usable.c, verify.c, reader.c: operations of struct backend ---- */

int agent_open(struct pp_session *session, bool create);
void agent_close(struct pp_session *session);
int agent_lock(struct pp_session *session);
void agent_unlock(struct pp_session *session);
int agent_remove(struct pp_session *session);
int agent_names(int (*fn)(const char *name, void *arg), void *arg);
void agent_release(struct attachment *attachment);
/* Returns NULL if memory allocation fails. */
struct agent_loaded *agent_loaded_new(struct agent_session *session, uint32_t npoints);
void agent_loaded_free(struct agent_loaded *loaded);
/* Returns whether a point of the manifest is for every process. */
bool manifest_has_global_point(const struct manifest *d);
/* Sets pids to the processes that the session concerns. Returns 0 or -ENOMEM. */
int agent_session_find_pids(struct agent_session *session);
/* Makes the agents that an attachment concerns read the session's files again. */
void agent_session_rescan(const struct agent_session *session, const struct agent_loaded *loaded);

int agent_usable(const struct pp_request *request, bool any);
bool agent_takes(const struct pp_site *site);
int agent_foresee(const struct pp_request *request, struct arm_point *const *points, size_t npoints);
int agent_check(struct pp_session *session, struct arm_point *const *points, size_t npoints);
/* Refuses points that no agent can arm, and points of processes without an agent. Returns how many. */
size_t agent_session_refuse_points(const struct agent_session *session, struct arm_point *const *points,
                                   size_t npoints);

int agent_readback(struct pp_session *session, struct attachment *attachment, struct arm_point *const *points,
                   size_t npoints, struct arm_misses *misses);

int agent_reader_open(struct pp_session *session, void **reader);
int agent_reader_next(void *reader, const struct record_thread **thread, const struct record **record, size_t *size);
void agent_reader_close(void *reader);
void agent_reader_stop(void *reader);
void agent_reader_drop(void *reader);
void agent_reader_leave(void *reader);
void agent_reader_done(void *reader, uint64_t until);
bool agent_reader_keeps(void *reader, const struct record_thread *thread);
uint64_t agent_reader_damaged(void *reader);
bool agent_lose(const struct attachment *attachment, uint32_t point, pid_t pid);

#endif
