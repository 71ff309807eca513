/* SPDX-License-Identifier: MIT */
/*
 * Preloaded into a command: kills it at step KILLER_STEP, where a step is a call with effects that others can see.
 * KILLER_COUNT names a file that receives the number of steps if the command ends itself.
 */
#include <dlfcn.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

static long steps;

static void step(void)
{
	const char *at = getenv("KILLER_STEP");

	if (++steps == (at ? atol(at) : 0))
		kill(getpid(), SIGKILL);
}

#define WRAP(type, name, parameters, ...)                          \
	type name parameters                                       \
	{                                                          \
		static type(*next) parameters;                     \
		if (!next)                                         \
			*(void **)&next = dlsym(RTLD_NEXT, #name); \
		step();                                            \
		return next(__VA_ARGS__);                          \
	}

WRAP(int, mkdirat, (int dir, const char *name, mode_t mode), dir, name, mode)
WRAP(int, renameat, (int from, const char *a, int to, const char *b), from, a, to, b)
WRAP(int, unlinkat, (int dir, const char *name, int flags), dir, name, flags)
WRAP(int, rmdir, (const char *name), name)
WRAP(int, flock, (int fd, int how), fd, how)
WRAP(int, connect, (int fd, const struct sockaddr *to, socklen_t size), fd, to, size)
WRAP(ssize_t, send, (int fd, const void *what, size_t size, int flags), fd, what, size, flags)
WRAP(ssize_t, recvmsg, (int fd, struct msghdr *message, int flags), fd, message, flags)
WRAP(ssize_t, write, (int fd, const void *what, size_t size), fd, what, size)

int openat(int dir, const char *name, int flags, ...)
{
	static int (*next)(int, const char *, int, ...);
	mode_t mode;
	va_list args;

	if (!next)
		*(void **)&next = dlsym(RTLD_NEXT, "openat");
	va_start(args, flags);
	mode = va_arg(args, mode_t);
	va_end(args);
	step();
	return next(dir, name, flags, mode);
}

__attribute__((destructor)) static void end(void)
{
	const char *name = getenv("KILLER_COUNT");
	FILE *f = name ? fopen(name, "w") : NULL;

	if (f) {
		fprintf(f, "%ld\n", steps);
		fclose(f);
	}
}
