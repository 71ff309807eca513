/* SPDX-License-Identifier: MIT */
/* A library to preload: writes to regular files fail with the error FAIL_ERRNO after FAIL_AFTER bytes. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
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

ssize_t writev(int fd, const struct iovec *parts, int n)
{
	ssize_t all = 0;

	for (int i = 0; i < n; i++) {
		ssize_t done = write(fd, parts[i].iov_base, parts[i].iov_len);

		if (done < 0)
			return all ? all : done;
		all += done;
		if ((size_t)done < parts[i].iov_len)
			break;
	}
	return all;
}
