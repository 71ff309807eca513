/* SPDX-License-Identifier: MIT */
/*
 * The system calls that the agent needs, under the names of the C library's functions.
 *
 * The program's C library does not know the agent's thread. That thread has its own
 * block of thread-local storage, which does not contain the C library's variables, so
 * it must not call the C library. The functions here have the same names and results;
 * the linker binds the agent's calls to them, and they are hidden from the program.
 * errno is the agent's own, too, so the program's errno does not change.
 *
 * tests/agent/quiet.sh compares the symbols that the agent still imports with a list.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "runtime/agent/inproc/cpu.h"
#include "runtime/agent/inproc/libc.h"

static __thread int own_errno __attribute__((tls_model("initial-exec")));

HIDDEN int *__errno_location(void)
{
	return &own_errno;
}

/* Returns the value, or sets errno and returns -1. */
static long call_result(long value)
{
	if (value < 0 && value > -4096) {
		own_errno = -value;
		return -1;
	}
	return value;
}

#define CALL(number, a, b, c, d, e, f) \
	call_result(cpu_call(number, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f)))
#define CALL3(number, a, b, c) CALL(number, a, b, c, 0, 0, 0)

/* syscall() inside the agent: libc.h. */
HIDDEN long agent_syscall(long number, ...)
{
	long a[6];
	va_list list;

	va_start(list, number);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(list, long);
	va_end(list);
	return CALL(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

/* ---- memory ---- */

HIDDEN void *mmap(void *at, size_t size, int protection, int flags, int fd, off_t offset)
{
	return (void *)CALL(SYS_mmap, at, size, protection, flags, fd, offset);
}

HIDDEN int munmap(void *at, size_t size)
{
	return CALL3(SYS_munmap, at, size, 0);
}

HIDDEN void *mremap(void *at, size_t old, size_t size, int flags, ...)
{
	void *to = NULL;
	va_list list;

	va_start(list, flags);
	if (flags & MREMAP_FIXED)
		to = va_arg(list, void *);
	va_end(list);
	return (void *)CALL(SYS_mremap, at, old, size, flags, to, 0);
}

HIDDEN int mprotect(void *at, size_t size, int protection)
{
	return CALL3(SYS_mprotect, at, size, protection);
}

HIDDEN int madvise(void *at, size_t size, int advice)
{
	return CALL3(SYS_madvise, at, size, advice);
}

HIDDEN int munlock(const void *at, size_t size)
{
	return CALL3(SYS_munlock, at, size, 0);
}

HIDDEN int memfd_create(const char *name, unsigned flags)
{
	return CALL3(SYS_memfd_create, name, flags, 0);
}

/* ---- files ---- */

HIDDEN int faccessat(int dir, const char *path, int mode, int flags)
{
	(void)flags; /* the system call has none */
	return CALL3(SYS_faccessat, dir, path, mode);
}

HIDDEN int openat(int dir, const char *path, int flags, ...)
{
	va_list list;
	int mode;

	va_start(list, flags);
	mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(list, int) : 0;
	va_end(list);
	return CALL(SYS_openat, dir, path, flags, mode, 0, 0);
}

HIDDEN int open(const char *path, int flags, ...)
{
	va_list list;
	int mode;

	va_start(list, flags);
	mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(list, int) : 0;
	va_end(list);
	return CALL(SYS_openat, AT_FDCWD, path, flags, mode, 0, 0);
}

HIDDEN int close(int fd)
{
	return CALL3(SYS_close, fd, 0, 0);
}

HIDDEN ssize_t read(int fd, void *to, size_t size)
{
	return CALL3(SYS_read, fd, to, size);
}

HIDDEN ssize_t write(int fd, const void *from, size_t size)
{
	return CALL3(SYS_write, fd, from, size);
}

HIDDEN ssize_t pread(int fd, void *to, size_t size, off_t offset)
{
	return CALL(SYS_pread64, fd, to, size, offset, 0, 0);
}

HIDDEN ssize_t pwrite(int fd, const void *from, size_t size, off_t offset)
{
	return CALL(SYS_pwrite64, fd, from, size, offset, 0, 0);
}

HIDDEN off_t lseek(int fd, off_t offset, int whence)
{
	return CALL3(SYS_lseek, fd, offset, whence);
}

HIDDEN int fstat(int fd, struct stat *st)
{
	return CALL3(SYS_fstat, fd, st, 0);
}

HIDDEN int fstatat(int dir, const char *path, struct stat *st, int flags)
{
	return CALL(SYS_newfstatat, dir, path, st, flags, 0, 0);
}

HIDDEN int stat(const char *path, struct stat *st)
{
	return CALL(SYS_newfstatat, AT_FDCWD, path, st, 0, 0, 0);
}

HIDDEN int ftruncate(int fd, off_t size)
{
	return CALL3(SYS_ftruncate, fd, size, 0);
}

HIDDEN int fcntl(int fd, int command, ...)
{
	va_list list;
	long argument;

	va_start(list, command);
	argument = va_arg(list, long);
	va_end(list);
	return CALL3(SYS_fcntl, fd, command, argument);
}

HIDDEN int flock(int fd, int operation)
{
	return CALL3(SYS_flock, fd, operation, 0);
}

HIDDEN int mkdirat(int dir, const char *path, mode_t mode)
{
	return CALL3(SYS_mkdirat, dir, path, mode);
}

HIDDEN int unlinkat(int dir, const char *path, int flags)
{
	return CALL3(SYS_unlinkat, dir, path, flags);
}

HIDDEN int renameat(int from, const char *old, int to, const char *path)
{
#ifdef SYS_renameat
	return CALL(SYS_renameat, from, old, to, path, 0, 0);
#else
	return CALL(SYS_renameat2, from, old, to, path, 0, 0);
#endif
}

HIDDEN int fchmodat(int dir, const char *path, mode_t mode, int flags)
{
	(void)flags; /* the system call has no flags, and the agent passes none */
	return CALL3(SYS_fchmodat, dir, path, mode);
}

/* ---- sockets and waiting ---- */

HIDDEN int socket(int domain, int type, int protocol)
{
	return CALL3(SYS_socket, domain, type, protocol);
}

HIDDEN int bind(int fd, const struct sockaddr *address, socklen_t size)
{
	return CALL3(SYS_bind, fd, address, size);
}

HIDDEN int listen(int fd, int backlog)
{
	return CALL3(SYS_listen, fd, backlog, 0);
}

HIDDEN int connect(int fd, const struct sockaddr *address, socklen_t size)
{
	return CALL3(SYS_connect, fd, address, size);
}

HIDDEN int accept4(int fd, struct sockaddr *address, socklen_t *size, int flags)
{
	return CALL(SYS_accept4, fd, address, size, flags, 0, 0);
}

HIDDEN ssize_t recv(int fd, void *to, size_t size, int flags)
{
	return CALL(SYS_recvfrom, fd, to, size, flags, 0, 0);
}

HIDDEN ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
	return CALL3(SYS_sendmsg, fd, message, flags);
}

HIDDEN int getsockopt(int fd, int level, int name, void *value, socklen_t *size)
{
	return CALL(SYS_getsockopt, fd, level, name, value, size, 0);
}

HIDDEN int poll(struct pollfd *fds, nfds_t n, int ms)
{
	struct timespec t = { ms / 1000, ms % 1000 * 1000000l };

	return CALL(SYS_ppoll, fds, n, ms < 0 ? NULL : &t, NULL, 8, 0);
}

HIDDEN int signalfd(int fd, const sigset_t *set, int flags)
{
	return CALL(SYS_signalfd4, fd, set, 8, flags, 0, 0);
}

/* ---- the process ---- */

HIDDEN pid_t getpid(void)
{
	return cpu_call(SYS_getpid, 0, 0, 0, 0, 0, 0);
}

HIDDEN pid_t getppid(void)
{
	return cpu_call(SYS_getppid, 0, 0, 0, 0, 0, 0);
}

HIDDEN uid_t geteuid(void)
{
	return cpu_call(SYS_geteuid, 0, 0, 0, 0, 0, 0);
}

HIDDEN int kill(pid_t pid, int sig)
{
	return CALL3(SYS_kill, pid, sig, 0);
}

HIDDEN int getrlimit(__rlimit_resource_t resource, struct rlimit *limit)
{
	return CALL(SYS_prlimit64, 0, resource, NULL, limit, 0, 0);
}

/*
 * Does process_vm_readv(2) on the caller, by a pipe, for kernels without that call
 * (CONFIG_CROSS_MEMORY_ATTACH is off). Returns how many bytes were read, or -1.
 */
static ssize_t readv_by_pipe(const struct iovec *to, unsigned long nto, const struct iovec *from, unsigned long nfrom)
{
	ssize_t sum = 0;
	int ends[2];

	if (CALL3(SYS_pipe2, ends, O_CLOEXEC | O_NONBLOCK, 0))
		return -1;
	for (unsigned long i = 0; i < nto && i < nfrom; i++) {
		size_t size = to[i].iov_len, part, had = 0;
		ssize_t n;

		for (; had < size; had += n) {
			part = size - had < 4096 ? size - had : 4096;
			/* Writes the readable bytes, and fails with EFAULT at the others. */
			n = write(ends[1], (const char *)from[i].iov_base + had, part);
			if (n <= 0 || read(ends[0], (char *)to[i].iov_base + had, n) != n)
				break;
		}
		sum += had;
		if (had < size)
			break;
	}
	close(ends[0]);
	close(ends[1]);
	return sum ? sum : -1;
}

HIDDEN ssize_t process_vm_readv(pid_t pid, const struct iovec *to, unsigned long nto, const struct iovec *from,
                                unsigned long nfrom, unsigned long flags)
{
	ssize_t n = CALL(SYS_process_vm_readv, pid, to, nto, from, nfrom, flags);

	return n < 0 && own_errno == ENOSYS ? readv_by_pipe(to, nto, from, nfrom) : n;
}

HIDDEN ssize_t process_vm_writev(pid_t pid, const struct iovec *from, unsigned long nfrom, const struct iovec *to,
                                 unsigned long nto, unsigned long flags)
{
	return CALL(SYS_process_vm_writev, pid, from, nfrom, to, nto, flags);
}

HIDDEN int clock_gettime(clockid_t clock, struct timespec *t)
{
	return CALL3(SYS_clock_gettime, clock, t, 0);
}
