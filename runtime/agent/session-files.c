/* SPDX-License-Identifier: MIT */
#include "runtime/agent/session-files.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "runtime/session-dir.h"
#include "base/error.h"

static const char *root_path(void)
{
	static _Thread_local char path[PATH_MAX];
	const char *run = getenv("XDG_RUNTIME_DIR");
	struct stat st;

	if (run && run[0] == '/' && strlen(run) < sizeof(path) - 64 && !stat(run, &st) && S_ISDIR(st.st_mode) &&
	    st.st_uid == geteuid() && !(st.st_mode & 022))
		snprintf(path, sizeof(path), "%s/probepoint", run);
	else
		snprintf(path, sizeof(path), "/tmp/probepoint-%u", geteuid());
	return path;
}

/* As private_dir_open(). Its name cannot be another one, because agents look for it. */
static int agent_dir_open(int at, const char *name, const char *path, bool create)
{
	int fd = private_dir_open(at, name, path, create);

	return fd == -EEXIST ? -EPERM : fd;
}

int agent_store_open(struct agent_store *store, const char *session, bool create)
{
	char agents[PATH_MAX + 16];
	int n = snprintf(store->path, sizeof(store->path), "%s", root_path());

	store->agents = store->dir = -1;
	store->root = agent_dir_open(AT_FDCWD, store->path, store->path, create);
	if (store->root < 0)
		return store->root;
	snprintf(agents, sizeof(agents), "%s/agents", store->path);
	store->agents = agent_dir_open(store->root, "agents", agents, create);
	if (store->agents < 0 && store->agents != -ENOENT)
		goto failed;
	if (!session)
		return 0;
	snprintf(store->path + n, sizeof(store->path) - n, "/%s", session);
	if (!strcmp(session, "agents")) {
		agent_store_close(store);
		return create ? error_set(EINVAL,
		                          "the agent's sessions cannot be called 'agents': take another name (-s)")
		              : -ENOENT;
	}
	store->dir = agent_dir_open(store->root, session, store->path, create);
	if (store->dir >= 0)
		return 0;
failed:;
	int err = store->agents < -1 ? store->agents : store->dir;

	agent_store_close(store);
	return err;
}

void agent_store_close(struct agent_store *store)
{
	if (store->dir >= 0)
		close(store->dir);
	if (store->agents >= 0)
		close(store->agents);
	if (store->root >= 0)
		close(store->root);
	store->dir = store->agents = store->root = -1;
}

int agent_store_lock(struct agent_store *store, bool hasty)
{
	return session_dir_lock(store->dir, store->path, hasty);
}

void agent_store_unlock(struct agent_store *store)
{
	session_dir_unlock(store->dir);
}

int agent_store_remove(struct agent_store *store)
{
	return session_dir_remove(store->dir, store->path);
}

int agent_store_rename(struct agent_store *store, const char *name)
{
	char *last = strrchr(store->path, '/');

	if (strlen(name) >= sizeof(store->path) - (last + 1 - store->path))
		return -ENAMETOOLONG;
	if (renameat(store->root, last + 1, store->root, name))
		return -errno;
	strcpy(last + 1, name);
	return 0;
}

enum owner { OWNER_NONE, OWNER_LIVES, OWNER_DEAD };

static enum owner owner_of(int root, const char *session)
{
	char path[NAME_MAX + 16];
	enum owner owner = OWNER_NONE;
	int fd;

	snprintf(path, sizeof(path), "%s/private", session);
	fd = openat(root, path, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
	if (fd >= 0) {
		owner = flock(fd, LOCK_EX | LOCK_NB) ? OWNER_LIVES : OWNER_DEAD;
		close(fd);
	}
	return owner;
}

static int each_session(enum owner wanted, int (*fn)(const char *name, void *arg), void *arg)
{
	struct agent_store store;
	int err = agent_store_open(&store, NULL, false);

	if (err)
		return err == -ENOENT ? 0 : err;

	char **names = dir_names(store.root);

	err = names ? 0 : error_set(errno, "cannot read %s: %s", store.path, strerror(errno));
	for (char **name = names; name && *name && !err; name++) {
		struct stat st;

		if (strcmp(*name, "agents") && (*name)[0] != '.' &&
		    !fstatat(store.root, *name, &st, AT_SYMLINK_NOFOLLOW) && S_ISDIR(st.st_mode) &&
		    owner_of(store.root, *name) == wanted)
			err = fn(*name, arg);
	}
	dir_names_free(names);
	agent_store_close(&store);
	return err;
}

int agent_store_names(int (*fn)(const char *name, void *arg), void *arg)
{
	return each_session(OWNER_NONE, fn, arg);
}

/* A private session that was being made when its maker was killed. */
static void remove_unmade(const struct agent_store *root)
{
	char **names = dir_names(root->root);

	for (char **name = names; name && *name; name++) {
		struct agent_store store;
		int pid;

		if (sscanf(*name, ".private-%d-", &pid) != 1 || pid <= 0 || !kill(pid, 0) || errno != ESRCH ||
		    agent_store_open(&store, *name, false))
			continue;
		agent_store_remove(&store);
		agent_store_close(&store);
	}
	dir_names_free(names);
}

int agent_store_orphans(int (*fn)(const char *name, void *arg), void *arg)
{
	struct agent_store store;

	if (!agent_store_open(&store, NULL, false)) {
		remove_unmade(&store);
		agent_store_close(&store);
	}
	return each_session(OWNER_DEAD, fn, arg);
}

/* ---- files ---- */

int agent_store_hold(const struct agent_store *store, const char *name)
{
	int fd = openat(store->dir, name, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600), err;

	if (fd < 0)
		return error_set(errno, "cannot make %s/%s: %s", store->path, name, strerror(errno));
	if (flock(fd, LOCK_EX | LOCK_NB)) {
		err = -errno;
		close(fd);
		return err;
	}
	return fd;
}

static const char *file_name(const char *name, uint32_t number, pid_t pid)
{
	static _Thread_local char text[64];
	int n = snprintf(text, sizeof(text), "%s-%u", name, number);

	if (pid)
		snprintf(text + n, sizeof(text) - n, "-%d", pid);
	return text;
}

/* A number that stands alone, as we write it. */
static bool parse_number(const char **at, uint64_t max, uint64_t *number)
{
	char *end;

	if (!isdigit((unsigned char)**at) || (**at == '0' && isdigit((unsigned char)(*at)[1])))
		return false;
	errno = 0;
	*number = strtoull(*at, &end, 10);
	*at = end;
	return !errno && *number <= max;
}

int agent_store_each(const struct agent_store *store, const char *name,
                     int (*fn)(uint32_t number, pid_t pid, void *arg), void *arg)
{
	char **names = dir_names(store->dir);
	int err = names ? 0 : error_set(errno, "cannot read %s: %s", store->path, strerror(errno));
	size_t length = strlen(name);

	for (char **entry = names; entry && *entry && !err; entry++) {
		const char *at = *entry + length + 1;
		uint64_t number, pid = 0;

		if (strncmp(*entry, name, length) || (*entry)[length] != '-' ||
		    !parse_number(&at, ATTACHMENT_NUMBER_MAX, &number))
			continue;
		if (*at == '-' && at++ && (!parse_number(&at, INT_MAX, &pid) || !pid))
			continue;
		if (!*at)
			err = fn((uint32_t)number, (pid_t)pid, arg);
	}
	dir_names_free(names);
	return err;
}

void agent_store_unlink(const struct agent_store *store, const char *name, uint32_t number, pid_t pid)
{
	unlinkat(store->dir, file_name(name, number, pid), 0);
}

static int write_all(int fd, const char *bytes, size_t size)
{
	while (size) {
		ssize_t n = write(fd, bytes, size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : -EIO;
		bytes += n;
		size -= n;
	}
	return 0;
}

/* Others of our uid may be at it at once: the process id keeps them apart. */
static int write_file(const struct agent_store *store, const char *name, const void *bytes, size_t size)
{
	char beside[96];
	int fd, err;

	snprintf(beside, sizeof(beside), ".%s.%d", name, getpid());
	unlinkat(store->dir, beside, 0);
	fd = openat(store->dir, beside, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	err = fd < 0 ? -errno : write_all(fd, bytes, size);
	if (fd >= 0 && close(fd) && !err)
		err = -errno;
	if (!err && renameat(store->dir, beside, store->dir, name))
		err = -errno;
	if (!err)
		return 0;
	unlinkat(store->dir, beside, 0);
	return error_set(-err, "cannot write %s/%s: %s", store->path, name, strerror(-err));
}

int agent_store_mark(const struct agent_store *store)
{
	return write_file(store, "look", "", 0);
}

bool agent_store_marked(const struct agent_store *store)
{
	return !faccessat(store->dir, "look", F_OK, AT_SYMLINK_NOFOLLOW);
}

void agent_store_unmark(const struct agent_store *store)
{
	unlinkat(store->dir, "look", 0);
}

void agent_store_tidy(const struct agent_store *store)
{
	static const char *const ours[] = { ".segment-", ".next.", ".look." };
	char **names = dir_names(store->dir);

	for (char **name = names; name && *name; name++)
		for (size_t i = 0; i < sizeof(ours) / sizeof(*ours); i++)
			if (!strncmp(*name, ours[i], strlen(ours[i])))
				unlinkat(store->dir, *name, 0);
	dir_names_free(names);
}

int agent_store_write(const struct agent_store *store, const char *name, uint32_t number, pid_t pid, const void *bytes,
                      size_t size)
{
	return write_file(store, file_name(name, number, pid), bytes, size);
}

int agent_store_read(const struct agent_store *store, const char *name, uint32_t number, pid_t pid, size_t size_max,
                     void **bytes, size_t *size)
{
	const char *file = file_name(name, number, pid);
	int fd = openat(store->dir, file, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC), err = 0;
	struct stat st;
	char *read_to = NULL;

	if (fd < 0)
		return errno == ENOENT ? -ENOENT : error_set(errno, "%s/%s: %s", store->path, file, strerror(errno));
	*size = 0;
	if (fstat(fd, &st) || !S_ISREG(st.st_mode) || st.st_uid != geteuid())
		err = error_set(EPERM, "%s/%s is no file of yours", store->path, file);
	else if ((uint64_t)st.st_size > size_max)
		err = error_set(EFBIG, "%s/%s is too big to be ours", store->path, file);
	else if (!(read_to = malloc((st.st_size + 15) & ~7ull)))
		err = error_nomem();
	while (!err && *size < (size_t)st.st_size) {
		ssize_t n = read(fd, read_to + *size, st.st_size - *size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			err = error_set(errno, "cannot read %s/%s: %s", store->path, file, strerror(errno));
		if (n <= 0)
			break;
		*size += n;
	}
	close(fd);
	if (err)
		free(read_to);
	else
		*bytes = read_to;
	return err;
}

int agent_store_number(const struct agent_store *store, uint32_t *number)
{
	char text[16] = "";
	int fd = openat(store->dir, "next", O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC), n;
	unsigned long next = 0;

	if (fd >= 0) {
		n = read(fd, text, sizeof(text) - 1);
		if (n > 0)
			next = strtoul(text, NULL, 10);
		close(fd);
	}
	if (next >= ATTACHMENT_NUMBER_MAX)
		return error_set(EOVERFLOW,
		                 "%s/next is damaged, or the session has had its last segment: use another (-s)",
		                 store->path);
	snprintf(text, sizeof(text), "%lu\n", next + 1);
	*number = (uint32_t)next;
	return write_file(store, "next", text, strlen(text));
}
