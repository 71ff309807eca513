/* SPDX-License-Identifier: MIT */
/*
 * Directories in which sessions are kept, for all backends.
 *
 * Each session has a directory of its name, in a root directory that belongs to one user alone (mode 0700). A backend
 * chooses its root and the contents of a session's directory. Commands exclude each other by a flock(2) on the
 * session's directory; the kernel releases it when its holder ends for any reason.
 *
 * Functions return 0, a descriptor, or a negative errno with an error message.
 */
#ifndef RUNTIME_SESSION_DIR_H
#define RUNTIME_SESSION_DIR_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Lists the names in a directory, without "." and "..", sorted, with NULL after the last. A directory that does not
 * exist, or that this user may not read, has no names. Returns NULL, with errno set, if it cannot be read now. The
 * caller frees the list by dir_names_free().
 */
char **dir_names(int dir);
void dir_names_free(char **names);

/*
 * Opens the directory `name` in `at`; path is for messages. create: makes it if it does not exist. Returns a
 * descriptor; -ENOENT: it does not exist; -EEXIST: it belongs to another user; -EPERM: other users may change it.
 */
int private_dir_open(int at, const char *name, const char *path, bool create);

/* ---- root directories ---- */

/* The root directories of a backend, in a place where another user may take their name first. */
struct session_roots {
	int parent;               /* a descriptor of the directory that they are in */
	const char *path;         /* its path */
	const char *name;         /* their usual name */
	int (*check)(int parent); /* fails if other users could replace what is in the parent */
	const char *missing;      /* remedy in the error message if the user may not create a directory there */
};

#define SESSION_ROOT_NAME_MAX 80

/*
 * Opens the root that has the session, or with create the first root of this user. If another user has taken the usual
 * name, makes one with "-own-" and random digits appended. Sets name (SESSION_ROOT_NAME_MAX bytes). -ENOENT: no root
 * has the session.
 */
int session_root_open(const struct session_roots *roots, const char *session, bool create, char *name);
/* Calls fn with the names of the sessions in all roots of this user, until it returns nonzero. */
int session_roots_names(const struct session_roots *roots, int (*fn)(const char *name, void *arg), void *arg);

/* ---- the directory of a session ---- */

/*
 * Locks the session against other commands, until session_dir_unlock() or until this process ends. dir is a descriptor
 * of its directory. Waits 5 s at most, hasty: 0.1 s. -EBUSY: another command has the lock; -ENOENT: the session was
 * removed.
 */
int session_dir_lock(int dir, const char *path, bool hasty);
void session_dir_unlock(int dir);
/* Removes the directory with all that is in it. Directories in it must be empty. */
int session_dir_remove(int dir, const char *path);

#endif
