/* SPDX-License-Identifier: MIT */
/*
 * Two threads on one CPU. The string of sleeps:slow is in a page that is provided only after the other thread has hit
 * sleeps:fast a number of times, while the BPF program at sleeps:slow sleeps. Each string contains the number of the
 * hit.
 *
 *     sleeps TIMES FAST     hits sleeps:slow TIMES times, with FAST hits of sleeps:fast for each. Starts after a line on
 *                           standard input. Prints the hits of both, and how often the kernel faulted on the page
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <sys/sdt.h>

#define PAGE 65536 /* the largest of any CPU */

static atomic_long nslow, nfast, nfaults, wanted;
static atomic_bool stopping;
static long times, fast_each;
static int uffd;
static char *page;

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static void one_cpu(void)
{
	cpu_set_t all, one;

	if (sched_getaffinity(0, sizeof(all), &all))
		fail("sched_getaffinity");
	CPU_ZERO(&one);
	for (int i = 0; i < CPU_SETSIZE && !CPU_COUNT(&one); i++)
		if (CPU_ISSET(i, &all))
			CPU_SET(i, &one);
	if (sched_setaffinity(0, sizeof(one), &one))
		fail("sched_setaffinity");
}

/* Provides the page, in the fault of the BPF program, when the other thread has continued. */
static void *serve(void *arg)
{
	static char text[PAGE] __attribute__((aligned(PAGE)));
	struct pollfd wait = { .fd = uffd, .events = POLLIN };
	struct uffd_msg message;

	while (!stopping) {
		if (poll(&wait, 1, 100) <= 0 || read(uffd, &message, sizeof(message)) != sizeof(message))
			continue;
		for (wanted = fast_each; wanted && !stopping;)
			sched_yield();
		nfaults++;
		snprintf(text, sizeof(text), "slow %ld", (long)nslow);

		struct uffdio_copy copy = { .dst = (uintptr_t)page, .src = (uintptr_t)text, .len = PAGE };

		if (ioctl(uffd, UFFDIO_COPY, &copy))
			fail("UFFDIO_COPY");
	}
	return arg;
}

static void *slow(void *arg)
{
	one_cpu();
	for (; nslow < times; nslow++) {
		if (madvise(page, PAGE, MADV_DONTNEED))
			fail("madvise");
		STAP_PROBE2(sleeps, slow, (long)nslow, (const char *)page);
	}
	stopping = true;
	return arg;
}

static void *fast(void *arg)
{
	char text[32];

	one_cpu();
	while (!stopping) {
		if (!wanted) {
			sched_yield();
			continue;
		}
		snprintf(text, sizeof(text), "fast %ld", (long)nfast);
		STAP_PROBE2(sleeps, fast, (long)nfast, (const char *)text);
		nfast++;
		wanted--;
	}
	return arg;
}

int main(int argc, char **argv)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register all = { .range.len = PAGE, .mode = UFFDIO_REGISTER_MODE_MISSING };
	pthread_t threads[3];

	if (argc < 3)
		return 2;
	times = atol(argv[1]);
	fast_each = atol(argv[2]);
	uffd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	all.range.start = (uintptr_t)page;
	if (uffd < 0 || page == MAP_FAILED || ioctl(uffd, UFFDIO_API, &api) || ioctl(uffd, UFFDIO_REGISTER, &all)) {
		puts("no userfaultfd");
		return 77;
	}
	puts("ready");
	fflush(stdout);
	if (getchar() == EOF)
		return 1;
	pthread_create(&threads[0], NULL, serve, NULL);
	pthread_create(&threads[1], NULL, fast, NULL);
	pthread_create(&threads[2], NULL, slow, NULL);
	for (int i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	printf("%ld %ld %ld\n", (long)nslow, (long)nfast, (long)nfaults);
	return 0;
}
