/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "runtime/agent/inproc/agent.h"

#define FOLDER_FLAGS (O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)

size_t format_number(char *to, uint64_t n)
{
	char digits[20];
	size_t length = 0, i = 0;

	do
		digits[length++] = '0' + n % 10;
	while (n /= 10);
	for (; length; i++)
		to[i] = digits[--length];
	to[i] = 0;
	return i;
}

int64_t parse_number(const char *text)
{
	int64_t n = 0;

	if (!*text)
		return -1;
	for (; *text; text++) {
		if (*text < '0' || *text > '9' || n > INT64_MAX / 10 - 1)
			return -1;
		n = 10 * n + (*text - '0');
	}
	return n;
}

int store_folder(int dir, const char *name, bool make)
{
	struct stat st;
	int fd;

	if (make)
		mkdirat(dir, name, 0700);
	fd = openat(dir, name, FOLDER_FLAGS);
	if (fd >= 0 && (fstat(fd, &st) || st.st_uid != geteuid() || st.st_mode & 077)) {
		close(fd);
		fd = -1;
	}
	return fd;
}

/* XDG_RUNTIME_DIR serves where it is this user's, and his alone: sudo may have left another's. */
static char remembered[4096];

void store_remember(const char *path)
{
	if (path && *path == '/' && strlen(path) < sizeof(remembered) - 32)
		strcpy(remembered, path);
}

static int runtime_dir(void)
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

static int open_folder(bool make)
{
	char name[32] = "probepoint-";
	int dir = runtime_dir(), fd = -1;

	if (dir >= 0) {
		fd = store_folder(dir, "probepoint", make);
		close(dir);
		return fd;
	}
	dir = open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return -1;
	format_number(name + strlen(name), geteuid());
	fd = store_folder(dir, name, make);
	close(dir);
	return fd;
}

/* In another user namespace strangers' folders can look like the user's own: it has to be the one of the start. */
int store_open(bool make)
{
	static uint64_t device, inode;
	int fd = open_folder(make);
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

static bool is_there(const char *path)
{
	int fd = open(path, FOLDER_FLAGS);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

int store_look(void)
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
	return is_there(path) ? store_open(false) : -1;
}

bool store_session_ok(const char *name)
{
	size_t n = strnlen(name, AGENT_SESSION_MAX + 1);

	return n && n <= AGENT_SESSION_MAX && *name != '.' && !memchr(name, '/', n) && strcmp(name, "agents");
}

struct entry {
	uint64_t inode;
	int64_t next;
	uint16_t length;
	uint8_t type;
	char name[];
};

int store_list(int dir, int (*fn)(int dir, const char *name, void *arg), void *arg)
{
	_Alignas(8) char buffer[4096];
	int err = 0;
	long n;

	lseek(dir, 0, SEEK_SET);
	while (!err && (n = syscall(SYS_getdents64, dir, buffer, sizeof(buffer))) > 0) {
		for (long at = 0; !err && at < n;) {
			const struct entry *e = (const struct entry *)(buffer + at);

			if (e->name[0] != '.')
				err = fn(dir, e->name, arg);
			at += e->length;
		}
	}
	return err;
}

int store_write(int dir, const char *name, const void *data, size_t size)
{
	char temporary[256] = ".";
	int fd, err = 0;

	if (strlen(name) > 250)
		return -ENAMETOOLONG;
	strcat(temporary, name);
	unlinkat(dir, temporary, 0);
	fd = openat(dir, temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	for (size_t at = 0; !err && at < size;) {
		ssize_t n = write(fd, (const char *)data + at, size - at);

		if (n >= 0)
			at += n;
		else if (errno != EINTR)
			err = -errno;
	}
	close(fd);
	if (!err && renameat(dir, temporary, dir, name))
		err = -errno;
	if (err)
		unlinkat(dir, temporary, 0);
	return err;
}

static size_t digits_in(const char *text)
{
	size_t n = 0;

	while (text[n] >= '0' && text[n] <= '9')
		n++;
	return n;
}

/* The name, in parentheses, may hold anything; fields count from behind the last one. */
uint64_t process_start_time(uint32_t pid)
{
	char text[1024], path[40] = "/proc/", *at;
	ssize_t n;
	int fd;

	if (pid)
		format_number(path + strlen(path), pid);
	else
		strcat(path, "self");
	strcat(path, "/stat");
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (n <= 0)
		return 0;
	text[n] = 0;
	at = strrchr(text, ')');
	for (int field = 2; at && field < 22; field++)
		at = strchr(at + 1, ' ');
	if (at)
		at[1 + digits_in(at + 1)] = 0;
	return at && parse_number(at + 1) > 0 ? parse_number(at + 1) : 0;
}
