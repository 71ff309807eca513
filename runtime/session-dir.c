/* SPDX-License-Identifier: MIT */
#include "runtime/session-dir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/array.h"
#include "base/error.h"

#define LOCK_TRIES 500 /* of 10 ms */
#define LOCK_TRIES_HASTY 10
#define SUFFIX "-own-"
#define SUFFIX_ROOM 32

/* ---- names ---- */

static int compare_dir_names(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

void dir_names_free(char **names)
{
	for (char **name = names; name && *name; name++)
		free(*name);
	free(names);
}

/* Returns NULL, with errno set. */
static DIR *dir_reopen(int dir)
{
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), err;
	DIR *d = fd < 0 ? NULL : fdopendir(fd);

	err = errno;
	if (!d && fd >= 0)
		close(fd);
	errno = err;
	return d;
}

static char **dir_names_read(DIR *d)
{
	char **names = NULL;
	size_t n = 0, room = 0;

	for (struct dirent *entry; (entry = readdir(d));) {
		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
			continue;
		if (ALLOC_GROW(names, n + 2, room) || !(names[n] = strdup(entry->d_name))) {
			if (names)
				names[n] = NULL;
			dir_names_free(names);
			errno = ENOMEM;
			return NULL;
		}
		names[++n] = NULL;
	}
	if (!names)
		return calloc(1, sizeof(*names));
	qsort(names, n, sizeof(*names), compare_dir_names);
	return names;
}

char **dir_names(int dir)
{
	DIR *d = dir_reopen(dir);
	char **names;

	/* Callers remove what is incomplete, so a list must not be empty because of a limit. */
	if (!d && errno != ENOENT && errno != ENOTDIR && errno != EACCES && errno != EPERM)
		return NULL;
	if (!d)
		return calloc(1, sizeof(*names));
	names = dir_names_read(d);
	closedir(d);
	return names;
}

/* ---- directories of one user ---- */

/* The only check of owner and mode. */
static int private_dir_check(int fd, const char *path)
{
	struct stat st;

	if (fstat(fd, &st))
		return error_set(errno, "cannot stat '%s': %s", path, strerror(errno));
	if (st.st_uid != geteuid())
		return error_set(EEXIST, "'%s' belongs to uid %u: it must belong to this user and have mode 700", path,
		                 st.st_uid);
	if (st.st_mode & 077)
		return error_set(
			EPERM,
			"'%s' has mode %o, so other users may have changed it; look at what is in it, then remove "
			"it, or run chmod 700 %s",
			path, st.st_mode & 07777, path);
	return 0;
}

int private_dir_open(int at, const char *name, const char *path, bool create)
{
	int fd, err;

	if (create && mkdirat(at, name, 0700) && errno != EEXIST)
		return error_set(errno, "cannot create '%s': %s", path, strerror(errno));
	fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? -ENOENT : error_set(errno, "cannot open '%s': %s", path, strerror(errno));
	err = private_dir_check(fd, path);
	if (!err)
		return fd;
	close(fd);
	return err;
}

/* ---- root directories ---- */

/* True if the name is the usual one with a suffix that root_make() has added. */
static bool root_is_suffixed(const struct session_roots *roots, const char *name)
{
	size_t n = strlen(roots->name);

	return !strncmp(name, roots->name, n) && strlen(name) < n + SUFFIX_ROOM &&
	       !strncmp(name + n, SUFFIX, strlen(SUFFIX));
}

/* Returns a descriptor; -ENOENT: it does not exist, or belongs to another user. */
static int root_open(const struct session_roots *roots, const char *name)
{
	char path[256];
	int fd, err;

	snprintf(path, sizeof(path), "%s/%s", roots->path, name);
	fd = private_dir_open(roots->parent, name, path, false);
	if (fd < 0)
		return fd == -EMFILE || fd == -ENFILE || fd == -ENOMEM || fd == -EPERM ? fd : -ENOENT;
	err = roots->check(roots->parent);
	if (!err)
		return fd;
	close(fd);
	return err;
}

static int root_make(const struct session_roots *roots, char *name)
{
	int err = roots->check(roots->parent);

	if (err)
		return err;
	snprintf(name, SESSION_ROOT_NAME_MAX, "%s", roots->name);
	for (int i = 0; mkdirat(roots->parent, name, 0700); i++) {
		unsigned random[2];

		if (errno != EEXIST || i == 100)
			return error_set(errno, "cannot create '%s/%s': %s%s", roots->path, name, strerror(errno),
			                 errno == EACCES || errno == EPERM ? roots->missing : "");
		if (getrandom(random, sizeof(random), 0) != sizeof(random))
			return error_set(errno, "cannot create a random name: %s", strerror(errno));
		snprintf(name, SESSION_ROOT_NAME_MAX, "%s" SUFFIX "%08x%08x", roots->name, random[0], random[1]);
	}
	return 0;
}

/* Calls fn with each root of this user, until it returns nonzero. fn takes the descriptor. */
static int roots_each(const struct session_roots *roots, int (*fn)(int fd, const char *name, void *arg), void *arg)
{
	char **names = dir_names(roots->parent); /* empty if it may not be read: then there is only the usual name */
	int fd, err;

	if (!names)
		return error_set(errno, "cannot read '%s': %s", roots->path, strerror(errno));
	fd = root_open(roots, roots->name);
	err = fd >= 0 ? fn(fd, roots->name, arg) : fd == -ENOENT ? 0 : fd;
	for (char **name = names; *name && !err; name++) {
		if (!root_is_suffixed(roots, *name))
			continue;
		fd = root_open(roots, *name);
		err = fd >= 0 ? fn(fd, *name, arg) : fd == -ENOENT ? 0 : fd;
	}
	dir_names_free(names);
	return err;
}

struct root_search {
	const char *session;
	int first, found; /* descriptors; -1 */
	char first_name[SESSION_ROOT_NAME_MAX], found_name[SESSION_ROOT_NAME_MAX];
};

static int root_search_in(int fd, const char *name, void *arg)
{
	struct root_search *s = arg;
	struct stat st;
	bool here = s->found < 0 && !fstatat(fd, s->session, &st, AT_SYMLINK_NOFOLLOW) && S_ISDIR(st.st_mode);

	if (here) {
		s->found = fd;
		snprintf(s->found_name, sizeof(s->found_name), "%s", name);
	} else if (s->first < 0) {
		s->first = fd;
		snprintf(s->first_name, sizeof(s->first_name), "%s", name);
	} else {
		close(fd);
	}
	return 0;
}

int session_root_open(const struct session_roots *roots, const char *session, bool create, char *name)
{
	struct root_search s = { .session = session, .first = -1, .found = -1 };
	int err = roots_each(roots, root_search_in, &s), fd;

	for (int i = 0; !err && s.found < 0 && s.first < 0 && create && i < 2; i++) {
		/*
		 * Searches again, because another command of the user may make one at this moment: both take the same.
		 */
		err = root_make(roots, name);
		if (!err)
			err = roots_each(roots, root_search_in, &s);
	}
	fd = s.found >= 0 ? s.found : create ? s.first : -1;
	snprintf(name, SESSION_ROOT_NAME_MAX, "%s", s.found >= 0 ? s.found_name : s.first_name);
	if (s.first >= 0 && s.first != fd)
		close(s.first);
	if (err && fd >= 0)
		close(fd);
	return err ? err : fd >= 0 ? fd : -ENOENT;
}

struct root_lister {
	const struct session_roots *roots;
	int (*fn)(const char *name, void *arg);
	void *arg;
};

static int root_list(int fd, const char *root, void *arg)
{
	const struct root_lister *lister = arg;
	char **names = dir_names(fd);
	int err = names ? 0 : error_set(errno, "cannot read '%s/%s': %s", lister->roots->path, root, strerror(errno));

	for (char **name = names; name && *name && !err; name++)
		err = lister->fn(*name, lister->arg);
	dir_names_free(names);
	close(fd);
	return err;
}

int session_roots_names(const struct session_roots *roots, int (*fn)(const char *name, void *arg), void *arg)
{
	return roots_each(roots, root_list, &(struct root_lister){ roots, fn, arg });
}

/* ---- the directory of a session ---- */

int session_dir_lock(int dir, const char *path, bool hasty)
{
	const int tries = hasty ? LOCK_TRIES_HASTY : LOCK_TRIES;
	struct stat ours, there;

	for (int i = 0; flock(dir, LOCK_EX | LOCK_NB); i++) {
		if (errno != EWOULDBLOCK || i == tries)
			return error_set(EBUSY, "'%s': another command has the lock of this session; try again", path);
		nanosleep(&(struct timespec){ .tv_nsec = 10000000 }, NULL);
	}
	/* Another command may have removed the directory while this one waited. */
	if (fstat(dir, &ours) || lstat(path, &there) || ours.st_ino != there.st_ino || ours.st_dev != there.st_dev) {
		flock(dir, LOCK_UN);
		return -ENOENT;
	}
	return 0;
}

void session_dir_unlock(int dir)
{
	flock(dir, LOCK_UN);
}

int session_dir_remove(int dir, const char *path)
{
	char **names = dir_names(dir);

	for (char **name = names; name && *name; name++)
		if (unlinkat(dir, *name, 0) && errno == EISDIR)
			unlinkat(dir, *name, AT_REMOVEDIR);
	dir_names_free(names);
	if (rmdir(path) && errno != ENOENT)
		return error_set(errno, "cannot remove '%s': %s", path, strerror(errno));
	return 0;
}
