/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "runtime/agent/inproc/files.h"

#define DIR_FLAGS (O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)

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

int dir_open(int dir, const char *name, bool make)
{
	struct stat st;
	int fd;

	if (make)
		mkdirat(dir, name, 0700);
	fd = openat(dir, name, DIR_FLAGS);
	if (fd >= 0 && (fstat(fd, &st) || st.st_uid != geteuid() || st.st_mode & 077)) {
		close(fd);
		fd = -1;
	}
	return fd;
}

/* As getdents64(2) returns it. */
struct dirent_raw {
	uint64_t inode;
	int64_t next;
	uint16_t length;
	uint8_t type;
	char name[];
};

int dir_list(int dir, int (*fn)(int dir, const char *name, void *arg), void *arg)
{
	_Alignas(8) char buffer[4096];
	int err = 0;
	long n;

	lseek(dir, 0, SEEK_SET);
	while (!err && (n = syscall(SYS_getdents64, dir, buffer, sizeof(buffer))) > 0) {
		for (long at = 0; !err && at < n;) {
			const struct dirent_raw *e = (const struct dirent_raw *)(buffer + at);

			if (e->name[0] != '.')
				err = fn(dir, e->name, arg);
			at += e->length;
		}
	}
	return err;
}

static int file_write_all(int fd, const char *data, size_t size)
{
	for (size_t at = 0; at < size;) {
		ssize_t n = write(fd, data + at, size - at);

		if (n >= 0)
			at += n;
		else if (errno != EINTR)
			return -errno;
	}
	return 0;
}

int file_write(int dir, const char *name, const void *data, size_t size)
{
	char temporary[256] = ".";
	int fd, err;

	if (strlen(name) > 250)
		return -ENAMETOOLONG;
	strcat(temporary, name);
	unlinkat(dir, temporary, 0);
	fd = openat(dir, temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	err = file_write_all(fd, data, size);
	close(fd);
	if (err)
		goto out;
	if (renameat(dir, temporary, dir, name))
		err = -errno;
out:
	if (err)
		unlinkat(dir, temporary, 0);
	return err;
}

size_t file_read_text(int dir, const char *path, char *text, size_t room)
{
	int fd = openat(dir, path, O_RDONLY | O_CLOEXEC);
	size_t had = 0;
	ssize_t got;

	while (fd >= 0 && had < room - 1 && (got = read(fd, text + had, room - 1 - had)) > 0)
		had += got;
	if (fd >= 0)
		close(fd);
	text[had] = 0;
	return had;
}
