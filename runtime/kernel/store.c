/* SPDX-License-Identifier: MIT */
#include "runtime/kernel/store.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "runtime/session-dir.h"
#include "base/error.h"

#define BPFFS "/sys/fs/bpf"

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

static int bpffs_open(bool create)
{
	int err = bpffs_ready(create), fd;

	if (err)
		return err;
	fd = open(BPFFS, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? error_set(errno, "cannot open %s: %s", BPFFS, strerror(errno)) : fd;
}

/* The directories of this user in bpffs. The caller closes roots->parent. */
static int bpffs_roots(struct session_roots *roots, bool create)
{
	*roots = (struct session_roots){ .parent = bpffs_open(create),
		                         .path = BPFFS,
		                         .name = root_name(),
		                         .check = bpffs_check,
		                         .missing = ": root, or CAP_BPF and CAP_PERFMON, is needed" };
	return roots->parent < 0 ? roots->parent : 0;
}

int store_open(struct store *store, const char *session, bool create)
{
	struct session_roots roots;
	char name[SESSION_ROOT_NAME_MAX];
	int err = bpffs_roots(&roots, create);

	store->dir = store->root = -1;
	if (err)
		return err;
	store->root = session_root_open(&roots, session, create, name);
	close(roots.parent);
	if (store->root < 0)
		return store->root;
	snprintf(store->path, sizeof(store->path), BPFFS "/%s/%s", name, session);
	if (create && mkdirat(store->root, session, 0700) && errno != EEXIST) {
		err = error_set(errno, "cannot make %s: %s", store->path, strerror(errno));
		store_close(store);
		return err;
	}
	store->dir = openat(store->root, session, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (store->dir < 0) {
		err = errno == ENOENT ? -ENOENT : error_set(errno, "%s: %s", store->path, strerror(errno));
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
	return store->dir < 0 ? 0 : session_dir_lock(store->dir, store->path, hasty);
}

void store_unlock(struct store *store)
{
	if (store->dir >= 0)
		session_dir_unlock(store->dir);
}

int store_names(int (*fn)(const char *name, void *arg), void *arg)
{
	struct session_roots roots;
	int err = bpffs_roots(&roots, false);

	if (err)
		return err == -ENOENT ? 0 : err;
	err = session_roots_names(&roots, fn, arg);
	close(roots.parent);
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
	char **names = dir_names(store->dir);
	int err = names ? 0 : error_set(errno, "cannot read %s: %s", store->path, strerror(errno));

	for (char **name = names; name && *name && !err; name++) {
		char *first = strchr(*name, '-'), *second = first ? strchr(first + 1, '-') : NULL;

		if (first)
			*first = 0;
		err = fn(*name, first ? atoi(first + 1) : -1, second ? atoi(second + 1) : -1, arg);
	}
	dir_names_free(names);
	return err;
}

int store_remove(struct store *store)
{
	return store->dir < 0 ? 0 : session_dir_remove(store->dir, store->path);
}
