/* SPDX-License-Identifier: MIT */
#include "runtime/kernel/store.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "runtime/folder.h"
#include "base/error.h"

#define BPFFS "/sys/fs/bpf"
#define LOCK_SECONDS 5

#define SUFFIX_MAX 32

static int bpffs_ready(bool mount_it)
{
	struct statfs fs;

	if (statfs(BPFFS, &fs))
		return error_set(errno, "%s: %s: a kernel with BPF is needed (-b agent does without)", BPFFS,
		                 strerror(errno));
	if (fs.f_type == BPF_FS_MAGIC)
		return 0;
	if (!mount_it)
		return -ENOENT;
	if (mount("bpf", BPFFS, "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=1777"))
		return error_set(errno, "%s is not mounted and cannot be: %s: as root, mount -t bpf bpf %s", BPFFS,
		                 strerror(errno), BPFFS);
	return 0;
}

static const char *root_name(void)
{
	static char name[32];

	if (geteuid() == 0)
		return "probepoint";
	snprintf(name, sizeof(name), "probepoint-%u", geteuid());
	return name;
}

/* True if the name is root_name() with a suffix that root_make() has added. */
static bool is_suffixed(const char *name)
{
	static const char marker[] = "-own-";
	size_t n = strlen(root_name());

	return !strncmp(name, root_name(), n) && strlen(name) < n + SUFFIX_MAX &&
	       !strncmp(name + n, marker, sizeof(marker) - 1);
}

/*
 * The only check of owner and mode. Returns a descriptor of a directory that is this user's alone; -ENOENT: it is not
 * there, or not this user's; -EPERM with an error message: it is this user's, and open to others.
 */
static int root_try(int bpffs, const char *name)
{
	int fd = openat(bpffs, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), err;
	struct stat st;

	if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOMEM))
		return error_set(errno, "%s/%s: %s", BPFFS, name, strerror(errno));
	if (fd < 0)
		return -ENOENT;
	if (!fstat(fd, &st) && st.st_uid == geteuid() && !(st.st_mode & 077))
		return fd;
	err = st.st_uid != geteuid() ? -ENOENT
	                             : error_set(EPERM,
	                                         "%s/%s has mode %o, so other users may have changed it: look at "
	                                         "what is in it, then remove it, or run chmod 700 %s/%s",
	                                         BPFFS, name, st.st_mode & 07777, BPFFS, name);
	close(fd);
	return err;
}

/* Other users must not be able to take a directory of ours away, and put theirs in its place. */
static int bpffs_check(int bpffs)
{
	struct stat st;

	if (fstat(bpffs, &st))
		return error_set(errno, "%s: %s", BPFFS, strerror(errno));
	if (st.st_uid && st.st_uid != geteuid())
		return error_set(EPERM,
		                 "%s belongs to uid %u, who could replace what is kept there: as root, run chown 0 %s",
		                 BPFFS, st.st_uid, BPFFS);
	if (st.st_mode & 022 && !(st.st_mode & S_ISVTX))
		return error_set(EPERM,
		                 "%s has mode %o, so other users could replace what is kept there: as root, run "
		                 "chmod +t %s",
		                 BPFFS, st.st_mode & 07777, BPFFS);
	return 0;
}

/* Makes the user's root_name(), or, if another user has taken that name, one with a random suffix. */
static int root_make(int bpffs, char *name, size_t room)
{
	int err = bpffs_check(bpffs);

	if (err)
		return err;
	snprintf(name, room, "%s", root_name());
	for (int i = 0; mkdirat(bpffs, name, 0700); i++) {
		unsigned random[2];

		if (errno != EEXIST || i == 100)
			return error_set(errno, "cannot make %s/%s: %s%s", BPFFS, name, strerror(errno),
			                 errno == EACCES || errno == EPERM
			                         ? ": root, or CAP_BPF and CAP_PERFMON, is needed"
			                         : "");
		if (getrandom(random, sizeof(random), 0) != sizeof(random))
			return error_set(errno, "cannot make a random name: %s", strerror(errno));
		snprintf(name, room, "%s-own-%08x%08x", root_name(), random[0], random[1]);
	}
	return 0;
}

/* Calls fn with each directory of this user's in which sessions are kept, until it returns other than 0. */
static int roots_each(int bpffs, int (*fn)(int fd, const char *name, void *arg), void *arg)
{
	char **names = folder_names(bpffs); /* empty if bpffs may not be read: then there is only the usual name */
	int fd = names ? root_try(bpffs, root_name()) : error_set(errno, "cannot read %s: %s", BPFFS, strerror(errno));
	int err = fd == -ENOENT ? 0 : fd < 0 ? fd : bpffs_check(bpffs);

	if (!err && fd >= 0)
		err = fn(fd, root_name(), arg);
	else if (fd >= 0)
		close(fd);
	for (char **name = names; name && *name && !err; name++) {
		if (!is_suffixed(*name) || (fd = root_try(bpffs, *name)) == -ENOENT)
			continue;
		err = fd < 0 ? fd : bpffs_check(bpffs);
		if (!err)
			err = fn(fd, *name, arg);
		else if (fd >= 0)
			close(fd);
	}
	folder_names_free(names);
	return err;
}

/* ---- the directory of a session ---- */

struct search {
	const char *session;
	int first, found; /* descriptors; -1 */
	char first_name[80], found_name[80];
};

static int look_in(int fd, const char *name, void *arg)
{
	struct search *s = arg;
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

static int bpffs_open(bool create)
{
	int err = bpffs_ready(create), fd;

	if (err)
		return err;
	fd = open(BPFFS, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? error_set(errno, "cannot open %s: %s", BPFFS, strerror(errno)) : fd;
}

/* The directory that has the session; to create it, the first one there is, which is made if need be. */
static int root_of(const char *session, bool create, char *name, size_t room)
{
	struct search s = { .session = session, .first = -1, .found = -1 };
	int bpffs = bpffs_open(create), err, fd;

	if (bpffs < 0)
		return bpffs;
	err = roots_each(bpffs, look_in, &s);
	for (int i = 0; !err && s.found < 0 && s.first < 0 && create && i < 2; i++) {
		/* Looks again, because another command of the user may make one at this moment: both take the same. */
		err = root_make(bpffs, name, room);
		if (!err)
			err = roots_each(bpffs, look_in, &s);
	}
	fd = s.found >= 0 ? s.found : create ? s.first : -1;
	snprintf(name, room, "%s", s.found >= 0 ? s.found_name : s.first_name);
	if (s.first >= 0 && s.first != fd)
		close(s.first);
	if (err && fd >= 0)
		close(fd);
	close(bpffs);
	return err ? err : fd >= 0 ? fd : -ENOENT;
}

int store_open(struct store *store, const char *session, bool create)
{
	char name[80];

	store->dir = -1;
	store->root = root_of(session, create, name, sizeof(name));
	if (store->root < 0)
		return store->root;
	snprintf(store->path, sizeof(store->path), BPFFS "/%s/%s", name, session);
	if (create && mkdirat(store->root, session, 0700) && errno != EEXIST) {
		int err = error_set(errno, "cannot make %s: %s", store->path, strerror(errno));

		store_close(store);
		return err;
	}
	store->dir = openat(store->root, session, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (store->dir < 0) {
		int err = errno == ENOENT ? -ENOENT : error_set(errno, "%s: %s", store->path, strerror(errno));

		store_close(store);
		return err;
	}
	return 0;
}

void store_close(struct store *store)
{
	if (store->dir >= 0)
		close(store->dir);
	if (store->root >= 0)
		close(store->root);
	store->dir = store->root = -1;
}

int store_lock(struct store *store, bool hasty)
{
	struct stat ours, there;

	if (store->dir < 0)
		return 0;
	for (int i = 0; flock(store->dir, LOCK_EX | LOCK_NB); i++) {
		if (errno != EWOULDBLOCK || i == (hasty ? 10 : LOCK_SECONDS * 100))
			return error_set(EBUSY, "%s: another command is at work on this session: try again",
			                 store->path);
		nanosleep(&(struct timespec){ .tv_nsec = 10000000 }, NULL);
	}
	if (fstat(store->dir, &ours) || stat(store->path, &there) || ours.st_ino != there.st_ino) {
		flock(store->dir, LOCK_UN);
		return -ENOENT;
	}
	return 0;
}

void store_unlock(struct store *store)
{
	if (store->dir >= 0)
		flock(store->dir, LOCK_UN);
}

struct each_name {
	int (*fn)(const char *name, void *arg);
	void *arg;
};

static int names_in(int fd, const char *root, void *arg)
{
	const struct each_name *each = arg;
	char **names = folder_names(fd);
	int err = names ? 0 : error_set(errno, "cannot read %s/%s: %s", BPFFS, root, strerror(errno));

	for (char **name = names; name && *name && !err; name++)
		err = each->fn(*name, each->arg);
	folder_names_free(names);
	close(fd);
	return err;
}

int store_names(int (*fn)(const char *name, void *arg), void *arg)
{
	struct each_name each = { fn, arg };
	int bpffs = bpffs_open(false), err;

	if (bpffs < 0)
		return bpffs == -ENOENT ? 0 : bpffs;
	err = roots_each(bpffs, names_in, &each);
	close(bpffs);
	return err;
}

const char *store_path(const struct store *store, const char *name, int attachment, int link)
{
	static _Thread_local char path[300];
	int n = snprintf(path, sizeof(path), "%s/%s", store->path, name);

	if (attachment >= 0)
		n += snprintf(path + n, sizeof(path) - n, "-%d", attachment);
	if (link >= 0)
		snprintf(path + n, sizeof(path) - n, "-%d", link);
	return path;
}

int store_pin(const struct store *store, int fd, const char *name, int attachment, int link)
{
	if (store->dir < 0)
		return 0;

	const char *path = store_path(store, name, attachment, link);

	if (bpf_obj_pin(fd, path))
		return error_set(errno, "cannot pin %s: %s", path, strerror(errno));
	return 0;
}

int store_get(const struct store *store, const char *name, int attachment, int link)
{
	int fd = bpf_obj_get(store_path(store, name, attachment, link));

	return fd < 0 ? -errno : fd;
}

int store_unlink(const struct store *store, const char *name, int attachment, int link)
{
	const char *path;

	if (store->dir < 0)
		return 0;
	path = store_path(store, name, attachment, link);
	return !unlink(path) || (errno == EISDIR && !rmdir(path)) ? 0 : -errno;
}

int store_each(const struct store *store, int (*fn)(const char *name, int attachment, int link, void *arg), void *arg)
{
	char **names = folder_names(store->dir);
	int err = names ? 0 : error_set(errno, "cannot read %s: %s", store->path, strerror(errno));

	for (char **name = names; name && *name && !err; name++) {
		char *first = strchr(*name, '-'), *second = first ? strchr(first + 1, '-') : NULL;

		if (first)
			*first = 0;
		err = fn(*name, first ? atoi(first + 1) : -1, second ? atoi(second + 1) : -1, arg);
	}
	folder_names_free(names);
	return err;
}

static int unlink_object(const char *name, int attachment, int link, void *store)
{
	store_unlink(store, name, attachment, link);
	return 0;
}

int store_remove(struct store *store)
{
	if (store->dir < 0)
		return 0;
	store_each(store, unlink_object, store);
	unlinkat(store->dir, "reader", AT_REMOVEDIR);
	if (rmdir(store->path) && errno != ENOENT)
		return error_set(errno, "cannot remove %s: %s", store->path, strerror(errno));
	return 0;
}
