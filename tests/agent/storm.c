/* SPDX-License-Identifier: MIT */
/*
 * storm THREADS: 1000 sites in functions that notice any change: leaf functions with data in the red zone, with live
 * flags, with data in all vector registers, with all registers full; and a signal handler. Reads lines: "go", "stop"
 * (prints "always N storm N handler N wrong N"), "exit".
 */
#define _SDT_HAS_SEMAPHORES 1
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tests/agent/storm.h"

#define UNUSED_SEMAPHORE(name) unsigned short name __attribute__((section(".probes")))

UNUSED_SEMAPHORE(app_red_semaphore);
UNUSED_SEMAPHORE(app_flags_semaphore);
UNUSED_SEMAPHORE(app_vector_semaphore);
UNUSED_SEMAPHORE(app_full_semaphore);
UNUSED_SEMAPHORE(app_always_semaphore);
UNUSED_SEMAPHORE(app_handler_semaphore);

struct thread {
	uint64_t always, storm, handler, wrong;
	char room[96];
};

static __thread struct thread *self;
static volatile int running;

/* A leaf function: `data` is in the red zone. */
#define RED(n)                                     \
	NOIPA static int red##n(int x)             \
	{                                          \
		volatile int data[16];             \
		int sum = 0;                       \
		for (int i = 0; i < 16; i++)       \
			data[i] = x * (i + n);     \
		STAP_PROBE2(app, red, x, data[3]); \
		for (int i = 0; i < 16; i++)       \
			sum += data[i];            \
		return sum == x * (16 * n + 120);  \
	}

ALL(RED)

#define NAME_RED(n) red##n,

static int (*const storm_red[])(int) = { ALL(NAME_RED) };

NOIPA static int always(int x)
{
	volatile int data[8];

	for (int i = 0; i < 8; i++)
		data[i] = x + i;
	STAP_PROBE3(app, always, x, data[7], &data[1]);
	return data[0] + data[7] == 2 * x + 7;
}

static void on_signal(int sig)
{
	(void)sig;
	if (!self)
		return;
	STAP_PROBE1(app, handler, sig);
	self->handler++;
	STAP_PROBE1(app, handler, 2 * sig);
	self->handler++;
}

static void *work(void *arg)
{
	uint32_t seed = (uintptr_t)arg;

	self = arg;
	for (uint32_t i = 0; running; i++) {
		seed = seed * 1664525 + 1013904223;

		uint32_t which = (seed >> 8) % (4 * STORM_EACH);

		self->wrong += !(which < STORM_EACH ? storm_red[which] : storm_asm[which - STORM_EACH])(i);
		self->storm++;
		if (!(i & 7)) {
			self->wrong += !always(i & 0xffff);
			self->always++;
		}
	}
	return NULL;
}

int main(int argc, char **argv)
{
	int n = argc > 1 ? atoi(argv[1]) : 4;
	struct itimerspec often = { { 0, 300000 }, { 0, 300000 } };
	struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1 };
	struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_RESTART };
	struct thread *threads = calloc(n, sizeof(*threads)), sum = { 0 };
	pthread_t *ids = calloc(n, sizeof(*ids));
	sigset_t usr1;
	timer_t timer;
	char line[64];

	sigaction(SIGUSR1, &action, NULL);
	sigemptyset(&usr1);
	sigaddset(&usr1, SIGUSR1);
	timer_create(CLOCK_MONOTONIC, &event, &timer);
	while (fgets(line, sizeof(line), stdin)) {
		if (!strcmp(line, "go\n")) {
			running = 1;
			for (int i = 0; i < n; i++)
				pthread_create(&ids[i], NULL, work, &threads[i]);
			pthread_sigmask(SIG_BLOCK, &usr1, NULL);
			timer_settime(timer, 0, &often, NULL);
		} else if (!strcmp(line, "stop\n")) {
			running = 0;
			for (int i = 0; i < n; i++)
				pthread_join(ids[i], NULL);
			memset(&sum, 0, sizeof(sum));
			for (int i = 0; i < n; i++) {
				sum.always += threads[i].always;
				sum.storm += threads[i].storm;
				sum.handler += threads[i].handler;
				sum.wrong += threads[i].wrong;
			}
			printf("always %lu storm %lu handler %lu wrong %lu\n", sum.always, sum.storm, sum.handler,
			       sum.wrong);
		} else if (!strcmp(line, "exit\n")) {
			break;
		}
		printf("ok\n");
		fflush(stdout);
	}
	return 0;
}
