/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/stat.h>
#include <unistd.h>

#include "runtime/agent/inproc/files.h"
#include "runtime/agent/inproc/state-dir.h"
#include "runtime/agent/protocol.h"

#define DIR_FLAGS (O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)

/* XDG_RUNTIME_DIR is used only if it belongs to the user alone: sudo may have left that of another user. */
static char remembered[4096];

void state_dir_remember(const char *path)
{
	if (path && *path == '/' && strlen(path) < sizeof(remembered) - 32)
		strcpy(remembered, path);
}

static int runtime_dir_open(void)
{
	const char *path = remembered;
	struct stat st;
	int fd;

	if (!*path)
		return -1;
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0 && (fstat(fd, &st) || st.st_uid != geteuid() || st.st_mode & 022)) {
		close(fd);
		fd = -1;
	}
	return fd;
}

static int state_dir_try(bool make)
{
	char name[32] = "probepoint-";
	int dir = runtime_dir_open(), fd = -1;

	if (dir >= 0) {
		fd = dir_open(dir, "probepoint", make);
		close(dir);
		return fd;
	}
	dir = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return -1;
	format_number(name + strlen(name), geteuid());
	fd = dir_open(dir, name, make);
	close(dir);
	return fd;
}

/*
 * In another user namespace, directories of unrelated users can appear to belong to
 * this user. Therefore only the directory of the first call is accepted.
 */
int state_dir_open(bool make)
{
	static uint64_t device, inode;
	int fd = state_dir_try(make);
	struct stat st;

	if (fd < 0)
		return -1;
	if (fstat(fd, &st) || (inode && (device != st.st_dev || inode != st.st_ino))) {
		close(fd);
		return -1;
	}
	device = st.st_dev;
	inode = st.st_ino;
	return fd;
}

static bool dir_exists(const char *path)
{
	int fd = open(path, DIR_FLAGS);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

int state_dir_find(void)
{
	char path[sizeof(remembered) + 32];
	struct stat st;

	if (*remembered && !stat(remembered, &st) && st.st_uid == getauxval(AT_EUID) && !(st.st_mode & 022)) {
		strcpy(path, remembered);
		strcat(path, "/probepoint");
	} else {
		strcpy(path, "/tmp/probepoint-");
		format_number(path + strlen(path), getauxval(AT_EUID));
	}
	return dir_exists(path) ? state_dir_open(false) : -1;
}

bool session_name_ok(const char *name)
{
	size_t n = strnlen(name, AGENT_SESSION_MAX + 1);

	return n && n <= AGENT_SESSION_MAX && *name != '.' && !memchr(name, '/', n) && strcmp(name, "agents");
}
