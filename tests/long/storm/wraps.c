// SPDX-License-Identifier: MIT
// long/storm.sh preloads this library into services without probes of ours. It wraps functions of the C library that
// services call often, adds probes with semaphores to them, and does some work in which the plugin puts probes.
#define _SDT_HAS_SEMAPHORES 1
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/sdt.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define SEMAPHORE(name) \
	__attribute__((section(".probes"), visibility("hidden"))) unsigned short wraps_##name##_semaphore
SEMAPHORE(copy);
SEMAPHORE(compare);
SEMAPHORE(length);
SEMAPHORE(lock);
SEMAPHORE(begin);
SEMAPHORE(end);

#define UP(name) __builtin_expect(*(volatile unsigned short *)&wraps_##name##_semaphore, 0)

// The plugin gives these two probes at their begin and end.
__attribute__((noinline)) unsigned long work_mix(unsigned long x, const char *text, int n)
{
	for (int i = 0; i < n; i++)
		x = (x ^ (unsigned char)text[i]) * 0x100000001b3ul;
	return x;
}

__attribute__((noinline)) long work_two(long a, double b)
{
	return a > 2 ? (long)work_mix((unsigned long)a, "two", 3) : (long)(b * 2);
}

static unsigned long expected;

// Checks the results of probed functions, which do not depend on the armed probes. Aborts if one is wrong.
static void work(long n)
{
	unsigned long x = work_mix(1469598103934665603ul, "probepoint", 10);
	unsigned long seen = __atomic_load_n(&expected, __ATOMIC_RELAXED);

	if (!seen)
		__atomic_store_n(&expected, x, __ATOMIC_RELAXED);
	else if (seen != x)
		__builtin_trap();
	if (work_two(n & 1, 1.5) != 3)
		__builtin_trap();
}

void *memcpy(void *restrict to, const void *restrict from, size_t n)
{
	void *at = to;

	if (UP(copy))
		STAP_PROBE3(wraps, copy, to, from, n);
	__asm__ volatile("rep movsb" : "+D"(at), "+S"(from), "+c"(n) : : "memory");
	return to;
}

int memcmp(const void *a, const void *b, size_t n)
{
	const unsigned char *p = a, *q = b;

	STAP_PROBE3(wraps, compare, a, b, n);
	for (; n; n--, p++, q++)
		if (*p != *q)
			return *p < *q ? -1 : 1;
	return 0;
}

size_t strlen(const char *text)
{
	const char *end = text;

	while (*(volatile const char *)end)
		end++;
	STAP_PROBE2(wraps, length, text, (size_t)(end - text));
	return (size_t)(end - text);
}

#define NEXT(name)                                                         \
	static __typeof__(name) *next;                                     \
	__typeof__(name) *real = __atomic_load_n(&next, __ATOMIC_ACQUIRE); \
	if (!real) {                                                       \
		real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name);        \
		__atomic_store_n(&next, real, __ATOMIC_RELEASE);           \
	}
#define BEGIN(name, fd, data, size)                               \
	int error = errno;                                        \
	if (UP(begin))                                            \
		STAP_PROBE4(wraps, begin, #name, fd, data, size); \
	work((long)(size));                                       \
	errno = error
#define END(name, result)                                      \
	do {                                                   \
		error = errno;                                 \
		STAP_PROBE3(wraps, end, #name, result, error); \
		errno = error;                                 \
	} while (0)

#define WRAP(type, name, parameters, arguments, fd, data, size) \
	type name parameters                                    \
	{                                                       \
		NEXT(name)                                      \
		BEGIN(name, fd, data, size);                    \
		type result = real arguments;                   \
		END(name, result);                              \
		return result;                                  \
	}

WRAP(ssize_t, read, (int fd, void *data, size_t n), (fd, data, n), fd, data, n)
WRAP(ssize_t, write, (int fd, const void *data, size_t n), (fd, data, n), fd, data, n)
WRAP(ssize_t, recv, (int fd, void *data, size_t n, int flags), (fd, data, n, flags), fd, data, n)
WRAP(ssize_t, send, (int fd, const void *data, size_t n, int flags), (fd, data, n, flags), fd, data, n)
WRAP(ssize_t, writev, (int fd, const struct iovec *v, int n), (fd, v, n), fd, v, n)
WRAP(ssize_t, pread, (int fd, void *data, size_t n, off_t at), (fd, data, n, at), fd, data, n)
WRAP(int, epoll_wait, (int fd, struct epoll_event *events, int n, int timeout), (fd, events, n, timeout), fd, events, n)

int pthread_mutex_lock(pthread_mutex_t *mutex)
{
	NEXT(pthread_mutex_lock)
	STAP_PROBE1(wraps, lock, mutex);
	return real(mutex);
}
