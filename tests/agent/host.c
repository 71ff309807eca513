/* SPDX-License-Identifier: MIT */
/*
 * host WAY [LIBRARY]: a process to load the agent into, which notices changes. Prints "ready", does one thing until its
 * standard input ends, hits host:beat(n) meanwhile, then prints "right N" or what went wrong. Another of its threads
 * loads the library. At the end it must have its signal mask, and be able to allocate and to load.
 *
 *     malloc    four threads and the first one allocate and free without a pause
 *     vector    vector registers and flags hold a long sum; the floating point modes and errno are checked
 *     sleep     nanosleep() for a tenth of a second each, not less, not much more
 *     epoll     epoll_wait() without a timeout; an event comes every 10 ms; EINTR is wrong
 *     read      read() on a pipe
 *     futex     waits for a condition
 *     spin      a loop
 *     seccomp   read, under a filter
 */
#include <dlfcn.h>
#include <errno.h>
#include <immintrin.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/sdt.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

static atomic_bool ended;
static atomic_long beats;

__attribute__((noipa)) static void beat(long n)
{
	STAP_PROBE1(host, beat, n);
	atomic_fetch_add(&beats, 1);
}

static void wrong(const char *what)
{
	printf("wrong: %s: %s\n", what, strerror(errno));
	fflush(stdout);
	_exit(1);
}

static void *wait_for_end(void *unused)
{
	char c;

	while (read(0, &c, 1) > 0)
		;
	ended = true;
	return unused;
}

static void *allocate(void *arg)
{
	unsigned seed = (unsigned)(long)arg;
	char *kept[64] = { 0 };

	for (long n = 0; !ended; n++) {
		unsigned i = rand_r(&seed) % 64, size = 1 + rand_r(&seed) % (n % 100 ? 2000 : 300000);

		if (kept[i] && (kept[i][0] != (char)i || kept[i][1] != 7))
			wrong("memory");
		free(kept[i]);
		kept[i] = malloc(size + 2);
		kept[i][0] = (char)i;
		kept[i][1] = 7;
		if (n % 64 == 0)
			beat(n);
	}
	for (int i = 0; i < 64; i++)
		free(kept[i]);
	return NULL;
}

/* The upper halves of registers, which SSE does not have. */
__attribute__((target("avx"))) static bool keeps_wide(void)
{
	unsigned char before[32], after[32];
	long rounds = 100000;

	for (int i = 0; i < 32; i++)
		before[i] = (unsigned char)(i * 7 + 1);
	__asm__ volatile("vmovdqu %2, %%ymm13\n1: dec %0\n jnz 1b\n vmovdqu %%ymm13, %1\n vzeroupper"
	                 : "+r"(rounds), "=m"(after)
	                 : "m"(before)
	                 : "xmm13", "cc");
	return !memcmp(before, after, sizeof(before));
}

static void vector(void)
{
	double a[8] = { 1, 2, 3, 4, 5, 6, 7, 8 };
	const unsigned mode = 0x9fc0; /* differs from the initial value */
	const bool wide = __builtin_cpu_supports("avx");

	_mm_setcsr(mode);
	for (long n = 0; !ended; n++) {
		double sum[8] = { 0 }, all = 0;

		errno = 4711;

		for (int k = 0; k < 10000; k++)
			for (int i = 0; i < 8; i++)
				sum[i] += a[i];
		for (int i = 0; i < 8; i++)
			all += sum[i];
		if (all != 360000)
			wrong("sum");
		if (wide && !keeps_wide())
			wrong("a wide register");
		if ((_mm_getcsr() & ~0x3fu) != mode)
			wrong("the mode of floating point");
		if (errno != 4711)
			wrong("errno");
		beat(n);
	}
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void naps(void)
{
	for (long n = 0; !ended; n++) {
		double began = now();

		errno = 0;
		if (nanosleep(&(struct timespec){ .tv_nsec = 100000000 }, NULL))
			wrong("nanosleep");
		if (now() - began < 0.1)
			wrong("a short sleep");
		beat(n);
	}
}

static void events(void)
{
	struct itimerspec each = { { 0, 10000000 }, { 0, 10000000 } };
	int ep = epoll_create1(0), timer = timerfd_create(CLOCK_MONOTONIC, 0);
	struct epoll_event event = { .events = EPOLLIN };
	uint64_t ticks;

	timerfd_settime(timer, 0, &each, NULL);
	epoll_ctl(ep, EPOLL_CTL_ADD, timer, &event);
	for (long n = 0; !ended; n++) {
		if (epoll_wait(ep, &event, 1, -1) != 1 || read(timer, &ticks, 8) != 8)
			wrong("epoll_wait");
		beat(n);
	}
}

static void conditions(void)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	static pthread_cond_t never = PTHREAD_COND_INITIALIZER;

	pthread_mutex_lock(&lock);
	for (long n = 0; !ended; n++) {
		struct timespec until;

		clock_gettime(CLOCK_REALTIME, &until);
		until.tv_nsec += 50000000;
		until.tv_sec += until.tv_nsec / 1000000000;
		until.tv_nsec %= 1000000000;
		if (pthread_cond_timedwait(&never, &lock, &until) != ETIMEDOUT)
			wrong("the condition");
		beat(n);
	}
}

static void filter(void)
{
	struct sock_filter allow = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	struct sock_fprog program = { 1, &allow };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
		wrong("seccomp");
}

static void *load(void *library)
{
	if (!dlopen(library, RTLD_NOW))
		wrong("the library");
	return library;
}

int main(int argc, char **argv)
{
	const char *way = argc > 1 ? argv[1] : "";
	pthread_t waiter, loader, threads[4];
	sigset_t signals = { 0 }, now = { 0 };
	char c;

	setvbuf(stdout, NULL, _IOLBF, 0);
	sigaddset(&signals, SIGUSR2);
	pthread_sigmask(SIG_BLOCK, &signals, NULL);
	pthread_sigmask(SIG_BLOCK, NULL, &signals);
	if (argc > 2)
		pthread_create(&loader, NULL, load, argv[2]);
	if (!strcmp(way, "seccomp"))
		filter();
	puts("ready");
	if (!strcmp(way, "read") || !strcmp(way, "seccomp")) {
		while (read(0, &c, 1) > 0)
			beat(c);
	} else if (!strcmp(way, "spin")) {
		/* The only thread checks itself. */
		struct pollfd in = { .fd = 0, .events = POLLIN };

		for (long n = 0; n % 1000000 || poll(&in, 1, 0) <= 0; n++)
			beat(n);
	} else {
		pthread_create(&waiter, NULL, wait_for_end, NULL);
		if (!strcmp(way, "malloc")) {
			for (long i = 0; i < 4; i++)
				pthread_create(&threads[i], NULL, allocate, (void *)i);
			allocate((void *)4);
			for (int i = 0; i < 4; i++)
				pthread_join(threads[i], NULL);
		} else if (!strcmp(way, "vector")) {
			vector();
		} else if (!strcmp(way, "sleep")) {
			naps();
		} else if (!strcmp(way, "epoll")) {
			events();
		} else {
			conditions();
		}
		pthread_join(waiter, NULL);
	}
	if (argc > 2)
		pthread_join(loader, NULL);
	pthread_sigmask(SIG_BLOCK, NULL, &now);
	if (memcmp(&signals, &now, sizeof(now)))
		wrong("the signal mask");
	if (!dlopen("libresolv.so.2", RTLD_NOW))
		wrong("dlopen");
	free(malloc(300000));
	printf("right %ld\n", beats);
	return 0;
}
