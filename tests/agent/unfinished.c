/* SPDX-License-Identifier: MIT */
/*
 * Hits that a signal handler interrupts. Thread K steps through a hit by the CPU's trap flag. At the K-th instruction
 * its handler hits the probe as well, and waits. So each instruction of a hit is interrupted by one thread.
 *
 *     step THREADS  makes the threads; replies with the number of handlers that wait
 *     go            lets the handlers return, and each thread hit a few times more; replies with the number of all hits
 *
 * The argument of a handler's hit is above 1000000.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/sdt.h>
#include <time.h>
#include <ucontext.h>

#define TRAP_FLAG 0x100
#define THREADS_MAX 250

static _Atomic long nhits, nwaiting, nstepped;
static _Atomic bool released;
static __thread long left;

static void hit(long number)
{
	STAP_PROBE1(app, hit, number);
	nhits++;
}

static void pause_shortly(void)
{
	nanosleep(&(struct timespec){ .tv_nsec = 5000000 }, NULL);
}

static void trapped(int signal, siginfo_t *info, void *context)
{
	greg_t *flags = &((ucontext_t *)context)->uc_mcontext.gregs[REG_EFL];

	(void)signal, (void)info;
	if (--left)
		return;
	*flags &= ~TRAP_FLAG;
	hit(1000000 + nwaiting++);
	nstepped++;
	while (!released)
		pause_shortly();
}

static void *step(void *number)
{
	hit(0); /* takes a ring */
	left = (long)number;
	__asm__ volatile(
		"lea -128(%%rsp), %%rsp; pushfq; orq %0, (%%rsp); popfq; lea 128(%%rsp), %%rsp" ::"i"(TRAP_FLAG)
		: "memory", "cc");
	STAP_PROBE1(app, hit, 1);
	__asm__ volatile(
		"lea -128(%%rsp), %%rsp; pushfq; andq %0, (%%rsp); popfq; lea 128(%%rsp), %%rsp" ::"i"(~TRAP_FLAG)
		: "memory", "cc");
	nhits++;
	if (left > 0)
		nstepped++;
	while (!released)
		pause_shortly();
	for (long i = 0; i < 20; i++)
		hit(2 + i);
	return NULL;
}

int main(void)
{
	static pthread_t threads[THREADS_MAX];
	struct sigaction action = { .sa_sigaction = trapped, .sa_flags = SA_SIGINFO };
	long n = 0;
	char line[80];

	sigaction(SIGTRAP, &action, NULL);
	setvbuf(stdout, NULL, _IOLBF, 0);
	puts("ready");
	while (fgets(line, sizeof(line), stdin)) {
		if (sscanf(line, "step %ld", &n) == 1 && n <= THREADS_MAX) {
			released = false;
			nstepped = nwaiting = nhits = 0;
			for (long i = 0; i < n; i++)
				if (pthread_create(&threads[i], NULL, step, (void *)(i + 1)))
					return 1;
			while (nstepped < n)
				pause_shortly();
			printf("%ld\n", (long)nwaiting);
		} else {
			released = true;
			for (long i = 0; i < n; i++)
				pthread_join(threads[i], NULL);
			printf("%ld\n", (long)nhits);
		}
	}
	return 0;
}
