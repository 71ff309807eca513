/* SPDX-License-Identifier: MIT */
/*
 * qemu-user shows a process its own mappings, and not the emulator's, only where it opens them by their full name. It has
 * no process_vm_readv(2).
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

int openat(int dir, const char *name, int flags, ...)
{
	int (*next)(int, const char *, int, ...) = (int (*)(int, const char *, int, ...))dlsym(RTLD_NEXT, "openat");
	va_list rest;
	mode_t mode;

	va_start(rest, flags);
	mode = va_arg(rest, mode_t);
	va_end(rest);
	return !strcmp(name, "maps") ? open("/proc/self/maps", flags) : next(dir, name, flags, mode);
}

ssize_t process_vm_readv(pid_t pid, const struct iovec *here, unsigned long nhere, const struct iovec *there,
                         unsigned long nthere, unsigned long flags)
{
	ssize_t sum = 0;
	int ends[2];

	(void)pid, (void)flags;
	/* A pipe takes what is there, and gives an error for what is not. */
	if (pipe2(ends, O_CLOEXEC | O_NONBLOCK))
		return -1;
	for (unsigned long i = 0; i < nhere && i < nthere; i++) {
		ssize_t n = write(ends[1], there[i].iov_base, here[i].iov_len);

		if (n <= 0 || read(ends[0], here[i].iov_base, (size_t)n) != n)
			break;
		sum += n;
	}
	close(ends[0]);
	close(ends[1]);
	return sum ? sum : -1;
}
