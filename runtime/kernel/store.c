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
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "runtime/folder.h"
#include "sdt/error.h"

#define BPFFS "/sys/fs/bpf"
#define LOCK_SECONDS 5

static const char *root_path(void)
{
	static char path[64];

	if (geteuid() == 0)
		return BPFFS "/probepoint";
	snprintf(path, sizeof(path), BPFFS "/probepoint-%u", geteuid());
	return path;
}

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

static int root_open(bool create)
{
	const char *path = root_path();
	struct stat st;
	int err = bpffs_ready(create), fd;

	if (err)
		return err;
	if (create && mkdir(path, 0700) && errno != EEXIST)
		return error_set(errno, "cannot make %s: %s%s", path, strerror(errno),
		                 errno == EACCES || errno == EPERM ? ": root, or CAP_BPF and CAP_PERFMON, is needed" : "");
	fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? -ENOENT : error_set(errno, "cannot open %s: %s", path, strerror(errno));
	if (fstat(fd, &st) || st.st_uid != geteuid() || st.st_mode & 077) {
		err = error_set(EPERM, "%s belongs to uid %u with mode %o: it must be yours with mode 700; remove it", path,
		                st.st_uid, st.st_mode & 07777);
		close(fd);
		return err;
	}
	return fd;
}

int store_open(struct store *store, const char *session, bool create)
{
	store->dir = -1;
	store->root = root_open(create);
	if (store->root < 0)
		return store->root;
	snprintf(store->path, sizeof(store->path), "%s/%s", root_path(), session);
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

int store_lock(struct store *store)
{
	struct stat ours, there;

	if (store->dir < 0)
		return 0;
	for (int i = 0; flock(store->dir, LOCK_EX | LOCK_NB); i++) {
		if (errno != EWOULDBLOCK || i == LOCK_SECONDS * 100)
			return error_set(EBUSY, "%s: another command is at work on this session: try again", store->path);
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

int store_names(int (*fn)(const char *name, void *arg), void *arg)
{
	int root = root_open(false), err = 0;

	if (root < 0)
		return root == -ENOENT ? 0 : root;

	char **names = folder_names(root);

	for (char **name = names; name && *name && !err; name++)
		err = fn(*name, arg);
	folder_names_free(names);
	close(root);
	return err;
}

const char *store_path(const struct store *store, const char *name, int segment, int link)
{
	static _Thread_local char path[300];
	int n = snprintf(path, sizeof(path), "%s/%s", store->path, name);

	if (segment >= 0)
		n += snprintf(path + n, sizeof(path) - n, "-%d", segment);
	if (link >= 0)
		snprintf(path + n, sizeof(path) - n, "-%d", link);
	return path;
}

int store_pin(const struct store *store, int fd, const char *name, int segment, int link)
{
	if (store->dir < 0)
		return 0;

	const char *path = store_path(store, name, segment, link);

	if (bpf_obj_pin(fd, path))
		return error_set(errno, "cannot pin %s: %s", path, strerror(errno));
	return 0;
}

int store_get(const struct store *store, const char *name, int segment, int link)
{
	int fd = bpf_obj_get(store_path(store, name, segment, link));

	return fd < 0 ? -errno : fd;
}

int store_unlink(const struct store *store, const char *name, int segment, int link)
{
	const char *path;

	if (store->dir < 0)
		return 0;
	path = store_path(store, name, segment, link);
	return !unlink(path) || (errno == EISDIR && !rmdir(path)) ? 0 : -errno;
}

int store_each(const struct store *store, int (*fn)(const char *name, int segment, int link, void *arg), void *arg)
{
	char **names = folder_names(store->dir);
	int err = names ? 0 : error_set(ENOMEM, "out of memory");

	for (char **name = names; name && *name && !err; name++) {
		char *first = strchr(*name, '-'), *second = first ? strchr(first + 1, '-') : NULL;

		if (first)
			*first = 0;
		err = fn(*name, first ? atoi(first + 1) : -1, second ? atoi(second + 1) : -1, arg);
	}
	folder_names_free(names);
	return err;
}

static int unlink_object(const char *name, int segment, int link, void *store)
{
	store_unlink(store, name, segment, link);
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
