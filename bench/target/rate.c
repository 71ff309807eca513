/* SPDX-License-Identifier: MIT */
/*
 * The target of bench/trace. Answers each line "RATE THREADS MS" of standard input: THREADS threads hit a probe with 2
 * integers for MS milliseconds, RATE times per second together, in bursts of 20. A thread that was late by more than a
 * millisecond does not catch up, because that would be a higher rate. The answer is the number of hits and the ns that
 * they took. Compiled with -DLTTNG, the probe is a tracepoint of LTTng-UST.
 */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define NOIPA __attribute__((noipa))

#ifdef LTTNG
#define TRACEPOINT_CREATE_PROBES
#define TRACEPOINT_DEFINE
#include "lttng-tp.h"
NOIPA static void hit(int a, int b)
{
	tracepoint(bench, pair, a, b);
}
#else
#include <sys/probe.h>
NOIPA static void hit(int a, int b)
{
	STAP_PROBE2(bench, pair, a, b);
}
#endif

enum { BURST = 20, THREADS_MAX = 64, LATE_NS = 1000000 };

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

struct worker {
	pthread_t thread;
	double each; /* ns between the hits of this thread */
	uint64_t until;
	uint64_t hits;
};

static void *worker_run(void *arg)
{
	struct worker *w = arg;
	double next = (double)now();

	for (uint64_t at; (at = now()) < w->until;) {
		if ((double)at < next)
			continue;
		if ((double)at > next + LATE_NS)
			next = (double)at;
		for (int i = 0; i < BURST; i++)
			hit((int)w->hits++, i);
		next += BURST * w->each;
	}
	return NULL;
}

int main(void)
{
	struct worker workers[THREADS_MAX];
	long threads, ms;
	double rate;

	printf("%d\n", getpid());
	fflush(stdout);
	while (scanf("%lf %ld %ld", &rate, &threads, &ms) == 3 && threads > 0 && threads <= THREADS_MAX) {
		uint64_t from = now(), hits = 0;

		for (long i = 0; i < threads; i++) {
			workers[i] = (struct worker){ .each = 1e9 * (double)threads / rate,
				                      .until = from + (uint64_t)ms * 1000000 };
			pthread_create(&workers[i].thread, NULL, worker_run, &workers[i]);
		}
		for (long i = 0; i < threads; i++) {
			pthread_join(workers[i].thread, NULL);
			hits += workers[i].hits;
		}
		printf("%llu %llu\n", (unsigned long long)hits, (unsigned long long)(now() - from));
		fflush(stdout);
	}
	return 0;
}
