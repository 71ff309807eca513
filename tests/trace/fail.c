/* SPDX-License-Identifier: MIT */
/* A library to preload: write() to regular files fails with the error FAIL_ERRNO after FAIL_AFTER bytes. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

ssize_t write(int fd, const void *bytes, size_t n)
{
	static long written;
	struct stat st;

	if (!fstat(fd, &st) && S_ISREG(st.st_mode) && getenv("FAIL_AFTER")) {
		long left = atol(getenv("FAIL_AFTER")) - written;

		if (left <= 0) {
			errno = atoi(getenv("FAIL_ERRNO"));
			return -1;
		}
		if (n > (size_t)left)
			n = (size_t)left;
		written += n;
	}
	return syscall(SYS_write, fd, bytes, n);
}
