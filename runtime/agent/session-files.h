/* SPDX-License-Identifier: MIT */
/*
 * The agent backend's directories and files, as the controller sees them. protocol.h lists what agents use. A session
 * directory also holds
 *
 *     next             the number of the next attachment
 *     look             a mark: files have changed, and agents have not read them yet
 *     private          locked by the owner of a private session while it lives
 *     last-N-PID-START as counts-N-PID-REGION, but as a controller last saw a living process
 *     past-N-PID-START as counts-N-PID-REGION, the sum of regions that the process has left
 */
#ifndef RUNTIME_AGENT_SESSION_FILES_H
#define RUNTIME_AGENT_SESSION_FILES_H

#include <limits.h>
#include <stdbool.h>

#include "runtime/agent/protocol.h"
#include "runtime/backend.h"

/* Open directories. */
struct agent_dir {
	int root, agents, session; /* descriptors of STATE, STATE/agents, STATE/SESSION; -1: not open */
	char path[PATH_MAX];       /* of STATE/SESSION, or of STATE if session is -1 */
};
#define AGENT_DIR_CLOSED       \
	{                      \
		-1, -1, -1, "" \
	}

/*
 * Opens STATE, and the directory of a session unless session is NULL. create: makes what does not exist. Returns
 * -ENOENT, -EPERM if it belongs to another user, or another error; all but -ENOENT have a message. The caller closes it
 * after 0.
 */
int agent_dir_open(struct agent_dir *dir, const char *session, bool create);
void agent_dir_close(struct agent_dir *dir);
/* See session_dir_lock(). */
int agent_dir_lock(struct agent_dir *dir, bool hasty);
void agent_dir_unlock(struct agent_dir *dir);
/* Renames the session's directory. Returns a negative errno without a message, -ENOTEMPTY if the name is taken. */
int agent_dir_rename(struct agent_dir *dir, const char *name);
/* Removes the session's directory and all its files. */
int agent_dir_remove(struct agent_dir *dir);

/* Calls fn with the name of each session that is not private, until it does not return 0. */
int agent_each_session(int (*fn)(const char *name, void *arg), void *arg);
/* Returns whether there is a session that is not an orphan. */
bool agent_any_session(void);
/* Calls fn with the name of each private session whose owner has died. Removes those that were not completed. */
int agent_each_orphan(int (*fn)(const char *name, void *arg), void *arg);

/*
 * Locks a file of the session for as long as this process lives. Returns a descriptor that holds the lock, -EWOULDBLOCK
 * without a message, or another error.
 */
int agent_dir_hold_file(const struct agent_dir *dir, const char *name);
/* Returns whether a controller reads the session's records. */
bool agent_dir_is_read(const struct agent_dir *dir);

/* ---- the caller holds the session's lock ---- */

/* Sets, tests and removes the mark that agents have to read the files again. */
int agent_dir_mark(const struct agent_dir *dir);
bool agent_dir_is_marked(const struct agent_dir *dir);
void agent_dir_unmark(const struct agent_dir *dir);
/* Removes files that killed commands left incomplete. */
void agent_dir_tidy(const struct agent_dir *dir);
/* Stores the number of a new attachment. */
int agent_dir_next_number(const struct agent_dir *dir, uint32_t *number);

/* ---- files NAME-N, NAME-N-PID and NAME-N-PID-ID ---- */

/* Identifies a file among those of a name. */
struct agent_file_id {
	uint32_t number;
	pid_t pid;   /* 0: NAME-N */
	uint64_t id; /* distinguishes processes that had the pid one after the other; 0: NAME-N-PID */
};

/* Calls fn for each file of that name, until it does not return 0. */
int agent_dir_each_file(const struct agent_dir *dir, const char *name,
                        int (*fn)(const struct agent_file_id *file, void *arg), void *arg);
void agent_dir_unlink(const struct agent_dir *dir, const char *name, struct agent_file_id file);
/* Writes a file under another name and renames it. Leaves nothing after an error. */
int agent_dir_write(const struct agent_dir *dir, const char *name, struct agent_file_id file, const void *bytes,
                    size_t size);
/*
 * Reads a whole file. Returns -ENOENT without a message, -EFBIG if it has more than size_max bytes, or another error.
 * The caller frees *bytes.
 */
int agent_dir_read(const struct agent_dir *dir, const char *name, struct agent_file_id id, size_t size_max,
                   void **bytes, size_t *size);

#endif
