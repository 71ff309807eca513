/* SPDX-License-Identifier: MIT */
/*
 * asleep HOW STOP: until the file STOP exists, hits app:beat repeatedly in the way HOW, and counts what must not
 * happen: a system call that failed with EINTR, a register or vector register that changed. At the end prints "beats 1
 * wrong N".
 *
 *     epoll, read, sleep, futex, sigwait   a thread in that system call, with a timeout
 *     spin       a thread that computes with all registers
 *     edge       a thread whose stack pointer is at the very end of its stack
 *     raw        the first thread ends by the system call alone when the file STOP.first exists, then the other one
 */
#include <errno.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/probe.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define PAUSE_MS 20

static volatile long beats, wrong;

static void pause_by(const char *how)
{
	struct timespec t = { .tv_nsec = PAUSE_MS * 1000000l };
	static int epoll = -1, word, pipes[2] = { -1, -1 };
	struct epoll_event event;
	sigset_t set;
	long result = -1;

	if (epoll < 0) {
		epoll = epoll_create1(0);
		if (pipe(pipes))
			abort();
	}
	errno = 0;
	if (!strcmp(how, "epoll")) {
		result = epoll_wait(epoll, &event, 1, PAUSE_MS);
	} else if (!strcmp(how, "read")) {
		struct pollfd p = { .fd = pipes[0], .events = POLLIN };

		result = poll(&p, 1, PAUSE_MS);
	} else if (!strcmp(how, "sleep")) {
		result = nanosleep(&t, NULL);
	} else if (!strcmp(how, "futex")) {
		result = syscall(SYS_futex, &word, FUTEX_WAIT, 0, &t, NULL, 0);
	} else {
		sigemptyset(&set);
		sigaddset(&set, SIGUSR1);
		result = sigtimedwait(&set, NULL, &t);
	}
	if (errno == EINTR || result > 0)
		wrong++;
}

/* 64 rounds with a value in every register that must be there at the end. */
static long spin(void)
{
#ifdef __x86_64__
	long left = 20000, sum = 0;

	__asm__ volatile(
		"mov $0x1111, %%r8\nmov $0x2222, %%r9\nmov $0x3333, %%r10\nmov $0x4444, %%r12\nmov $0x5555, %%r13\n"
		"movq %%r8, %%xmm0\nmovq %%r9, %%xmm7\nmovq %%r10, %%xmm15\n"
		"1: dec %0\njnz 1b\n"
		"movq %%xmm0, %%rax\nadd %%rax, %1\nmovq %%xmm7, %%rax\nadd %%rax, %1\nmovq %%xmm15, %%rax\nadd %%rax, %1\n"
		"add %%r8, %1\nadd %%r9, %1\nadd %%r10, %1\nadd %%r12, %1\nadd %%r13, %1\n"
		: "+r"(left), "+r"(sum)
		:
		: "rax", "r8", "r9", "r10", "r12", "r13", "xmm0", "xmm7", "xmm15", "cc");
	return sum - (2 * (0x1111 + 0x2222 + 0x3333) + 0x4444 + 0x5555);
#else
	return 0;
#endif
}

/* Runs with the stack pointer at the lowest word of the stack. */
static void edge(void)
{
#ifdef __x86_64__
	static char *room;
	long left = 20000;

	if (!room)
		room = (char *)mmap(NULL, 3 * 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) + 4096;
	mprotect(room, 4096, PROT_READ | PROT_WRITE);
	__asm__ volatile("mov %%rsp, %%rbx\nmov %1, %%rsp\n1: dec %0\njnz 1b\nmov %%rbx, %%rsp"
	                 : "+r"(left)
	                 : "r"(room)
	                 : "rbx", "cc", "memory");
#endif
}

static void *raw(void *stop)
{
	while (access(stop, F_OK))
		usleep(5000);
	syscall(SYS_exit, 0);
	return NULL;
}

int main(int argc, char **argv)
{
	const char *how = argc > 2 ? argv[1] : "sleep", *stop = argc > 2 ? argv[2] : "/";
	sigset_t set;
	pthread_t t;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	if (!strcmp(how, "raw")) {
		char first[4096];

		snprintf(first, sizeof(first), "%s.first", stop);
		pthread_create(&t, NULL, raw, (void *)stop);
		while (access(first, F_OK))
			usleep(5000);
		syscall(SYS_exit, 7);
	}
	/* One thread, so that no other can be used. */
	while (access(stop, F_OK)) {
		STAP_PROBE1(app, beat, beats);
		beats++;
		if (!strcmp(how, "spin"))
			wrong += spin() != 0;
		else if (!strcmp(how, "edge"))
			edge();
		else
			pause_by(how);
	}
	printf("beats %d wrong %ld\n", beats > 0, wrong);
	return 0;
}
