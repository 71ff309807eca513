/* SPDX-License-Identifier: MIT */
#include "runtime/kernel/pins.h"

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

/* Returns 0 if the BPF file system is mounted, or was mounted now; -ENOENT if it is not and mount_it is false. */
static int bpffs_ready(bool mount_it)
{
	struct statfs fs;

	if (statfs(BPFFS, &fs))
		return error_set(errno, "cannot stat '%s': %s: this kernel does not have BPF; use -b agent", BPFFS,
		                 strerror(errno));
	if (fs.f_type == BPF_FS_MAGIC)
		return 0;
	if (!mount_it)
		return -ENOENT;
	if (mount("bpf", BPFFS, "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=1777"))
		return error_set(errno, "cannot mount '%s': %s; run as root: mount -t bpf bpf %s", BPFFS,
		                 strerror(errno), BPFFS);
	return 0;
}

/* Returns the usual name of the user's directory. */
static const char *root_name(void)
{
	static char name[32];

	if (geteuid() == 0)
		return "probepoint";
	snprintf(name, sizeof(name), "probepoint-%u", geteuid());
	return name;
}

/* Checks that other users cannot replace directories of this user. */
static int bpffs_check(int bpffs)
{
	struct stat st;

	if (fstat(bpffs, &st))
		return error_set(errno, "cannot stat '%s': %s", BPFFS, strerror(errno));
	if (st.st_uid && st.st_uid != geteuid())
		return error_set(EPERM,
		                 "'%s' belongs to uid %u, which could replace sessions in it; run as root: chown 0 %s",
		                 BPFFS, st.st_uid, BPFFS);
	if (st.st_mode & 022 && !(st.st_mode & S_ISVTX))
		return error_set(
			EPERM,
			"'%s' has mode %o, so other users could replace sessions in it; run as root: chmod +t %s",
			BPFFS, st.st_mode & 07777, BPFFS);
	return 0;
}

static int bpffs_open(bool create)
{
	int err = bpffs_ready(create), fd;

	if (err)
		return err;
	fd = open(BPFFS, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? error_set(errno, "cannot open '%s': %s", BPFFS, strerror(errno)) : fd;
}

/* Describes the directories of this user in the BPF file system. The caller closes roots->parent. */
static int bpffs_roots(struct session_roots *roots, bool create)
{
	*roots = (struct session_roots){ .parent = bpffs_open(create),
		                         .path = BPFFS,
		                         .name = root_name(),
		                         .check = bpffs_check,
		                         .missing = "; run as root or with CAP_BPF and CAP_PERFMON" };
	return roots->parent < 0 ? roots->parent : 0;
}

int pins_open(struct session_pins *pins, const char *session, bool create)
{
	struct session_roots roots;
	char name[SESSION_ROOT_NAME_MAX];
	int err = bpffs_roots(&roots, create);

	pins->dir = pins->root = -1;
	if (err)
		return err;
	pins->root = session_root_open(&roots, session, create, name);
	close(roots.parent);
	if (pins->root < 0)
		return pins->root;
	snprintf(pins->path, sizeof(pins->path), BPFFS "/%s/%s", name, session);
	if (create && mkdirat(pins->root, session, 0700) && errno != EEXIST) {
		err = error_set(errno, "cannot create '%s': %s", pins->path, strerror(errno));
		pins_close(pins);
		return err;
	}
	pins->dir = openat(pins->root, session, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (pins->dir < 0) {
		err = errno == ENOENT ? -ENOENT : error_set(errno, "cannot open '%s': %s", pins->path, strerror(errno));
		pins_close(pins);
		return err;
	}
	return 0;
}

void pins_close(struct session_pins *pins)
{
	if (pins->dir >= 0)
		close(pins->dir);
	if (pins->root >= 0)
		close(pins->root);
	pins->dir = pins->root = -1;
}

int pins_lock(struct session_pins *pins, bool hasty)
{
	return pins->dir < 0 ? 0 : session_dir_lock(pins->dir, pins->path, hasty);
}

void pins_unlock(struct session_pins *pins)
{
	if (pins->dir >= 0)
		session_dir_unlock(pins->dir);
}

int pins_names(int (*fn)(const char *name, void *arg), void *arg)
{
	struct session_roots roots;
	int err = bpffs_roots(&roots, false);

	if (err)
		return err == -ENOENT ? 0 : err;
	err = session_roots_names(&roots, fn, arg);
	close(roots.parent);
	return err;
}

const char *pin_path(const struct session_pins *pins, const char *name, int attachment, int link)
{
	static _Thread_local char path[300];
	int n = snprintf(path, sizeof(path), "%s/%s", pins->path, name);

	if (attachment >= 0)
		n += snprintf(path + n, sizeof(path) - n, "-%d", attachment);
	if (link >= 0)
		snprintf(path + n, sizeof(path) - n, "-%d", link);
	return path;
}

int pin_add(const struct session_pins *pins, int fd, const char *name, int attachment, int link)
{
	if (pins->dir < 0)
		return 0;

	const char *path = pin_path(pins, name, attachment, link);

	if (bpf_obj_pin(fd, path))
		return error_set(errno, "cannot pin '%s': %s", path, strerror(errno));
	return 0;
}

int pin_get(const struct session_pins *pins, const char *name, int attachment, int link)
{
	int fd = bpf_obj_get(pin_path(pins, name, attachment, link));

	return fd < 0 ? -errno : fd;
}

int pin_unlink(const struct session_pins *pins, const char *name, int attachment, int link)
{
	const char *path;

	if (pins->dir < 0)
		return 0;
	path = pin_path(pins, name, attachment, link);
	return !unlink(path) || (errno == EISDIR && !rmdir(path)) ? 0 : -errno;
}

int pins_each(const struct session_pins *pins, int (*fn)(const char *name, int attachment, int link, void *arg),
              void *arg)
{
	char **names = dir_names(pins->dir);
	int err = names ? 0 : error_set(errno, "cannot read '%s': %s", pins->path, strerror(errno));

	for (char **name = names; name && *name && !err; name++) {
		char *first = strchr(*name, '-'), *second = first ? strchr(first + 1, '-') : NULL;

		if (first)
			*first = 0;
		err = fn(*name, first ? atoi(first + 1) : -1, second ? atoi(second + 1) : -1, arg);
	}
	dir_names_free(names);
	return err;
}

int pins_remove(struct session_pins *pins)
{
	return pins->dir < 0 ? 0 : session_dir_remove(pins->dir, pins->path);
}
