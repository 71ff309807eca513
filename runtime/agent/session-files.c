/* SPDX-License-Identifier: MIT */
#include "runtime/agent/session-files.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "runtime/session-dir.h"

#define AGENTS "agents"

/* ---- directories ---- */

static const char *state_root(void)
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

/* As private_dir_open(). The directory cannot have another name if it is taken, because agents look for this one. */
static int state_dir_open(int at, const char *name, const char *path, bool create)
{
	int fd = private_dir_open(at, name, path, create);

	return fd == -EEXIST ? -EPERM : fd;
}

static int agents_dir_open(struct agent_dir *dir, bool create)
{
	char path[PATH_MAX + 16];
	int fd;

	snprintf(path, sizeof(path), "%s/" AGENTS, dir->path);
	fd = state_dir_open(dir->root, AGENTS, path, create);
	if (fd < 0 && fd != -ENOENT)
		return fd;
	dir->agents = fd < 0 ? -1 : fd;
	return 0;
}

static int session_dir_open(struct agent_dir *dir, const char *session, bool create)
{
	size_t n = strlen(dir->path);
	int fd;

	if (!strcmp(session, AGENTS))
		return create ? error_set(EINVAL, "sessions of the agent backend cannot be named '" AGENTS
		                                  "'; use another name (-s)")
		              : -ENOENT;
	snprintf(dir->path + n, sizeof(dir->path) - n, "/%s", session);
	fd = state_dir_open(dir->root, session, dir->path, create);
	if (fd < 0)
		return fd;
	dir->session = fd;
	return 0;
}

int agent_dir_open(struct agent_dir *dir, const char *session, bool create)
{
	int err;

	snprintf(dir->path, sizeof(dir->path), "%s", state_root());
	dir->agents = dir->session = -1;
	dir->root = state_dir_open(AT_FDCWD, dir->path, dir->path, create);
	if (dir->root < 0)
		return dir->root;
	err = agents_dir_open(dir, create);
	if (!err)
		err = session ? session_dir_open(dir, session, create) : 0;
	if (err)
		agent_dir_close(dir);
	return err;
}

void agent_dir_close(struct agent_dir *dir)
{
	if (dir->session >= 0)
		close(dir->session);
	if (dir->agents >= 0)
		close(dir->agents);
	if (dir->root >= 0)
		close(dir->root);
	dir->session = dir->agents = dir->root = -1;
}

int agent_dir_lock(struct agent_dir *dir, bool hasty)
{
	return session_dir_lock(dir->session, dir->path, hasty);
}

void agent_dir_unlock(struct agent_dir *dir)
{
	session_dir_unlock(dir->session);
}

int agent_dir_remove(struct agent_dir *dir)
{
	return session_dir_remove(dir->session, dir->path);
}

int agent_dir_rename(struct agent_dir *dir, const char *name)
{
	char *last = strrchr(dir->path, '/');

	if (strlen(name) >= sizeof(dir->path) - (last + 1 - dir->path))
		return -ENAMETOOLONG;
	if (renameat(dir->root, last + 1, dir->root, name))
		return -errno;
	strcpy(last + 1, name);
	return 0;
}

/* ---- sessions ---- */

enum session_owner { OWNER_NONE, OWNER_LIVES, OWNER_DEAD };

/* Returns whether the session is private, and whether its owner lives. */
static enum session_owner session_owner_of(int root, const char *session)
{
	char path[NAME_MAX + 16];
	enum session_owner owner;
	int fd;

	snprintf(path, sizeof(path), "%s/private", session);
	fd = openat(root, path, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return OWNER_NONE;
	owner = flock(fd, LOCK_EX | LOCK_NB) ? OWNER_LIVES : OWNER_DEAD;
	close(fd);
	return owner;
}

static bool is_session_dir(int root, const char *name)
{
	struct stat st;

	return strcmp(name, AGENTS) && name[0] != '.' && !fstatat(root, name, &st, AT_SYMLINK_NOFOLLOW) &&
	       S_ISDIR(st.st_mode);
}

static int each_session_with_owner(enum session_owner wanted, int (*fn)(const char *name, void *arg), void *arg)
{
	struct agent_dir dir;
	char **names;
	int err = agent_dir_open(&dir, NULL, false);

	if (err)
		return err == -ENOENT ? 0 : err;
	names = dir_names(dir.root);
	if (!names)
		err = error_set(errno, "cannot read '%s': %s", dir.path, strerror(errno));
	for (char **name = names; name && *name && !err; name++)
		if (is_session_dir(dir.root, *name) && session_owner_of(dir.root, *name) == wanted)
			err = fn(*name, arg);
	dir_names_free(names);
	agent_dir_close(&dir);
	return err;
}

int agent_each_session(int (*fn)(const char *name, void *arg), void *arg)
{
	return each_session_with_owner(OWNER_NONE, fn, arg);
}

static int session_note(const char *name, void *arg)
{
	(void)name;
	*(bool *)arg = true;
	return 1;
}

bool agent_any_session(void)
{
	bool any = false;

	if (!each_session_with_owner(OWNER_NONE, session_note, &any))
		each_session_with_owner(OWNER_LIVES, session_note, &any);
	return any;
}

/* Removes private sessions whose makers were killed before they had locked them. */
static void remove_incomplete_sessions(const struct agent_dir *root)
{
	char **names = dir_names(root->root);

	for (char **name = names; name && *name; name++) {
		struct agent_dir dir;
		int pid;

		if (sscanf(*name, ".private-%d-", &pid) != 1 || pid <= 0 || !kill(pid, 0) || errno != ESRCH ||
		    agent_dir_open(&dir, *name, false))
			continue;
		agent_dir_remove(&dir);
		agent_dir_close(&dir);
	}
	dir_names_free(names);
}

int agent_each_orphan(int (*fn)(const char *name, void *arg), void *arg)
{
	struct agent_dir dir;

	if (!agent_dir_open(&dir, NULL, false)) {
		remove_incomplete_sessions(&dir);
		agent_dir_close(&dir);
	}
	return each_session_with_owner(OWNER_DEAD, fn, arg);
}

/* ---- writing files ---- */

int agent_dir_hold_file(const struct agent_dir *dir, const char *name)
{
	int fd = openat(dir->session, name, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600), err;

	if (fd < 0)
		return error_set(errno, "cannot create '%s/%s': %s", dir->path, name, strerror(errno));
	if (flock(fd, LOCK_EX | LOCK_NB)) {
		err = -errno;
		close(fd);
		return err;
	}
	return fd;
}

bool agent_dir_is_read(const struct agent_dir *dir)
{
	int fd = openat(dir->session, "reader", O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	bool locked = fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) && errno == EWOULDBLOCK;

	if (fd >= 0)
		close(fd);
	return locked;
}

static int fd_write_all(int fd, const char *bytes, size_t size)
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

static int session_make_file(int session, const char *name, const void *bytes, size_t size)
{
	int fd = openat(session, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600), err;

	if (fd < 0)
		return -errno;
	err = fd_write_all(fd, bytes, size);
	if (close(fd) && !err)
		err = -errno;
	return err;
}

/*
 * Writes a file under a hidden name, which has the pid because other commands may write the same file, and renames it.
 */
static int session_write_file(const struct agent_dir *dir, const char *name, const void *bytes, size_t size)
{
	char hidden[96];
	int err;

	snprintf(hidden, sizeof(hidden), ".%s.%d", name, getpid());
	unlinkat(dir->session, hidden, 0);
	err = session_make_file(dir->session, hidden, bytes, size);
	if (!err)
		err = renameat(dir->session, hidden, dir->session, name) ? -errno : 0;
	if (!err)
		return 0;
	unlinkat(dir->session, hidden, 0);
	return error_set(-err, "cannot write '%s/%s': %s", dir->path, name, strerror(-err));
}

int agent_dir_mark(const struct agent_dir *dir)
{
	return session_write_file(dir, "look", "", 0);
}

bool agent_dir_is_marked(const struct agent_dir *dir)
{
	return !faccessat(dir->session, "look", F_OK, AT_SYMLINK_NOFOLLOW);
}

void agent_dir_unmark(const struct agent_dir *dir)
{
	unlinkat(dir->session, "look", 0);
}

void agent_dir_tidy(const struct agent_dir *dir)
{
	static const char *const prefixes[] = { ".segment-", ".next.", ".look." };
	char **names = dir_names(dir->session);

	for (char **name = names; name && *name; name++)
		for (size_t i = 0; i < sizeof(prefixes) / sizeof(*prefixes); i++)
			if (!strncmp(*name, prefixes[i], strlen(prefixes[i])))
				unlinkat(dir->session, *name, 0);
	dir_names_free(names);
}

int agent_dir_next_number(const struct agent_dir *dir, uint32_t *number)
{
	char text[16] = "";
	int fd = openat(dir->session, "next", O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	unsigned long next = 0;

	if (fd >= 0) {
		if (read(fd, text, sizeof(text) - 1) > 0)
			next = strtoul(text, NULL, 10);
		close(fd);
	}
	if (next >= ATTACHMENT_NUMBER_MAX)
		return error_set(
			EOVERFLOW,
			"'%s/next' is damaged, or the session has used all its numbers; use another session (-s)",
			dir->path);
	snprintf(text, sizeof(text), "%lu\n", next + 1);
	*number = (uint32_t)next;
	return session_write_file(dir, "next", text, strlen(text));
}

/* ---- NAME-N, NAME-N-PID and NAME-N-PID-ID ---- */

/* Returns a buffer of the calling thread. */
static const char *numbered_name(const char *name, struct agent_file_id file)
{
	static _Thread_local char text[64];
	int n = snprintf(text, sizeof(text), "%s-%u", name, file.number);

	if (file.pid)
		n += snprintf(text + n, sizeof(text) - n, "-%d", file.pid);
	if (file.id)
		snprintf(text + n, sizeof(text) - n, "-%" PRIu64, file.id);
	return text;
}

/* Parses a decimal number without sign and leading zeros, and moves *at after it. */
static bool parse_plain_number(const char **at, uint64_t max, uint64_t *number)
{
	char *end;

	if (!isdigit((unsigned char)**at) || (**at == '0' && isdigit((unsigned char)(*at)[1])))
		return false;
	errno = 0;
	*number = strtoull(*at, &end, 10);
	*at = end;
	return !errno && *number <= max;
}

/* Parses NAME-N, NAME-N-PID or NAME-N-PID-ID. */
static bool parse_numbered_name(const char *entry, const char *name, struct agent_file_id *file)
{
	size_t length = strlen(name);
	const char *at = entry + length + 1;
	uint64_t number, pid = 0, id = 0;

	if (strncmp(entry, name, length) || entry[length] != '-' ||
	    !parse_plain_number(&at, ATTACHMENT_NUMBER_MAX, &number))
		return false;
	if (*at == '-' && at++ && (!parse_plain_number(&at, INT_MAX, &pid) || !pid))
		return false;
	if (pid && *at == '-' && at++ && (!parse_plain_number(&at, UINT64_MAX, &id) || !id))
		return false;
	*file = (struct agent_file_id){ (uint32_t)number, (pid_t)pid, id };
	return !*at;
}

int agent_dir_each_file(const struct agent_dir *dir, const char *name,
                        int (*fn)(const struct agent_file_id *file, void *arg), void *arg)
{
	char **names = dir_names(dir->session);
	int err = 0;

	if (!names)
		return error_set(errno, "cannot read '%s': %s", dir->path, strerror(errno));
	for (char **entry = names; *entry && !err; entry++) {
		struct agent_file_id file;

		if (parse_numbered_name(*entry, name, &file))
			err = fn(&file, arg);
	}
	dir_names_free(names);
	return err;
}

void agent_dir_unlink(const struct agent_dir *dir, const char *name, struct agent_file_id file)
{
	unlinkat(dir->session, numbered_name(name, file), 0);
}

int agent_dir_write(const struct agent_dir *dir, const char *name, struct agent_file_id file, const void *bytes,
                    size_t size)
{
	return session_write_file(dir, numbered_name(name, file), bytes, size);
}

/* Checks an open file and stores its size. path: for error messages. */
static int file_check_open(int fd, const char *path, const char *file, size_t size_max, size_t *size)
{
	struct stat st;

	if (fstat(fd, &st) || !S_ISREG(st.st_mode) || st.st_uid != geteuid())
		return error_set(EPERM, "'%s/%s' is not a regular file of this user", path, file);
	if ((uint64_t)st.st_size > size_max)
		return error_set(EFBIG, "'%s/%s' is too large: the maximum is %zu bytes", path, file, size_max);
	*size = (size_t)st.st_size;
	return 0;
}

/* Reads up to size bytes. Returns how many, or a negative errno. */
static ssize_t fd_read_all(int fd, char *to, size_t size)
{
	size_t done = 0;

	while (done < size) {
		ssize_t n = read(fd, to + done, size - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (!n)
			break;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

int agent_dir_read(const struct agent_dir *dir, const char *name, struct agent_file_id id, size_t size_max,
                   void **bytes, size_t *size)
{
	const char *file = numbered_name(name, id);
	int fd = openat(dir->session, file, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC), err;
	char *to = NULL;
	ssize_t n;

	if (fd < 0)
		return errno == ENOENT ? -ENOENT
		                       : error_set(errno, "cannot open '%s/%s': %s", dir->path, file, strerror(errno));
	err = file_check_open(fd, dir->path, file, size_max, size);
	if (err)
		goto out;
	to = malloc((*size + 15) & ~7ull);
	if (!to) {
		err = error_nomem();
		goto out;
	}
	n = fd_read_all(fd, to, *size);
	if (n < 0)
		err = error_set((int)-n, "cannot read '%s/%s': %s", dir->path, file, strerror((int)-n));
	else
		*size = (size_t)n;
out:
	close(fd);
	if (err)
		free(to);
	else
		*bytes = to;
	return err;
}
