/* SPDX-License-Identifier: MIT */
/*
 * The agent's files, seen by the controller: see agent/state.h. A session's folder
 * holds, beside what is told there,
 *
 *     next             the number of its next attachment
 *     look             while files have changed and agents are yet to be told
 *     reader           locked by its reader
 *     private          of a session that is its owner's alone: locked as long as that lives
 *     last-N-PID       as counts-N-PID, but as a controller last saw a living process
 */
#ifndef RUNTIME_AGENT_SESSION_FILES_H
#define RUNTIME_AGENT_SESSION_FILES_H

#include <limits.h>
#include <stdbool.h>

#include "runtime/agent/protocol.h"
#include "runtime/backend.h"

struct agent_store {
	int root, agents, dir; /* STATE, STATE/agents, STATE/SESSION; -1: not there */
	char path[PATH_MAX];   /* of STATE/SESSION, or STATE */
};

/*
 * Opens STATE; session not NULL: also its folder. create: makes what is not there.
 * -ENOENT; -EPERM with a sentence: somebody else's.
 */
int agent_store_open(struct agent_store *store, const char *session, bool create);
void agent_store_close(struct agent_store *store);
/* -EBUSY: another command holds it for seconds; -ENOENT: it was removed meanwhile. */
int agent_store_lock(struct agent_store *store, bool hasty);
void agent_store_unlock(struct agent_store *store);
/* Gives the session's folder another name: -ENOTEMPTY and the like. */
int agent_store_rename(struct agent_store *store, const char *name);
/* Removes the session's folder with all that is in it. */
int agent_store_remove(struct agent_store *store);
/* Those that are somebody's own are left out. */
int agent_store_names(int (*fn)(const char *name, void *arg), void *arg);
/* Calls fn with each session whose owner has died. */
int agent_store_orphans(int (*fn)(const char *name, void *arg), void *arg);

/* Takes a lock that ends with this process, on a file of the session's: its descriptor, or -EWOULDBLOCK. */
int agent_store_hold(const struct agent_store *store, const char *name);
/* Under the lock: that agents are to look; whether they were; that they have. */
int agent_store_mark(const struct agent_store *store);
bool agent_store_marked(const struct agent_store *store);
void agent_store_unmark(const struct agent_store *store);
/* Under the lock: removes what was half written. */
void agent_store_tidy(const struct agent_store *store);
/* The number of a new attachment. Under the lock. */
int agent_store_number(const struct agent_store *store, uint32_t *number);

/* Files of the form NAME-N or NAME-N-PID; pid is 0 where there is none. */
int agent_store_each(const struct agent_store *store, const char *name,
                     int (*fn)(uint32_t number, pid_t pid, void *arg), void *arg);
void agent_store_unlink(const struct agent_store *store, const char *name, uint32_t number, pid_t pid);
/* Written beside and renamed into place. Short of that nothing is left. */
int agent_store_write(const struct agent_store *store, const char *name, uint32_t number, pid_t pid, const void *bytes,
                      size_t size);
/* All of it, in *bytes, freed by free(). -EFBIG: more than size_max; -ENOENT. */
int agent_store_read(const struct agent_store *store, const char *name, uint32_t number, pid_t pid, size_t size_max,
                     void **bytes, size_t *size);

/* ---- attachment files ---- */

struct arm_point;
struct scope;

/* What an attachment's file holds, checked. */
struct agent_file {
	struct agent_attachment *attachment; /* the whole of it */
	struct manifest *manifest;           /* inside */
	uint8_t *on;                         /* inside */
};

/*
 * Makes the file of an attachment; the points' spec in the description is set. Those
 * with an error are off. -ENOMEM; -EFBIG; -ESRCH: a process has ended.
 */
int agent_file_make(struct agent_file *file, const struct manifest *manifest, uint32_t flags,
                    struct arm_point *const *points, size_t npoints);
int agent_file_read(const struct agent_store *store, uint32_t number, struct agent_file *file);
int agent_file_write(const struct agent_store *store, const struct agent_file *file);
void agent_file_release(struct agent_file *file);

#endif
