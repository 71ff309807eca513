/* SPDX-License-Identifier: MIT */
/*
 * small-stack WAY: prints "ready" on a stack of 16 KiB that lies in the middle of the program's data, and hits
 * deep:beat(n) there until the end of its standard input. Then it prints "right" if nothing has changed the data below
 * the stack.
 *
 * WAY: handler (a signal handler's stack), coroutine, thread (a coroutine, and a thread that sleeps on a stack that the
 * program gives).
 */
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sdt.h>
#include <ucontext.h>
#include <unistd.h>

enum { SIZE = 16384, BELOW = 512 << 10, PATTERN = 0xa5 };

static unsigned char data[BELOW + SIZE];
static unsigned char of_thread[512 << 10] __attribute__((aligned(65536)));
static ucontext_t outside, inside;

__attribute__((noinline)) static void beat(long n)
{
	STAP_PROBE1(deep, beat, n);
}

static void wait_for_end(int signal)
{
	struct pollfd in = { .fd = 0, .events = POLLIN };

	(void)signal;
	dprintf(1, "ready\n");
	for (long n = 0; poll(&in, 1, 2) == 0; n++)
		beat(n);
}

static void coroutine(void)
{
	wait_for_end(0);
}

static void *thread(void *arg)
{
	for (;;)
		pause();
	return arg;
}

int main(int argc, char **argv)
{
	const char *way = argc > 1 ? argv[1] : "";

	memset(data, PATTERN, sizeof(data));
	if (!strcmp(way, "handler")) {
		struct sigaction action = { .sa_handler = wait_for_end, .sa_flags = SA_ONSTACK };

		sigaltstack(&(stack_t){ .ss_sp = data + BELOW, .ss_size = SIZE }, NULL);
		sigaction(SIGUSR1, &action, NULL);
		raise(SIGUSR1);
	} else {
		pthread_attr_t attr;
		pthread_t id;

		pthread_attr_init(&attr);
		if (!strcmp(way, "thread") && (pthread_attr_setstack(&attr, of_thread, sizeof(of_thread)) ||
		                               pthread_create(&id, &attr, thread, NULL)))
			return 2;
		getcontext(&inside);
		inside.uc_stack = (stack_t){ .ss_sp = data + BELOW, .ss_size = SIZE };
		inside.uc_link = &outside;
		makecontext(&inside, coroutine, 0);
		swapcontext(&outside, &inside);
	}
	for (size_t i = 0; i < BELOW; i++)
		if (data[i] != PATTERN) {
			printf("%zu bytes below the stack have changed\n", BELOW - i);
			return 1;
		}
	puts("right");
	return 0;
}
