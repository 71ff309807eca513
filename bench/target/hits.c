/* SPDX-License-Identifier: MIT */
/*
 * The target of bench/agent, which measures the cost of a hit. Answers each line of standard input with a line:
 *
 *     floor N      ns for one rdtsc and one store of 32 bytes, into a ring of 256 KiB
 *     hit WHAT N   ns for one call with the probe bench:WHAT: two, text_stack, text_image, text_heap, load_heap
 *     pair N       calls per second with one thread, and with two
 *     base N       ns for the call of an empty function
 */
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/probe.h>
#include <time.h>
#include <x86intrin.h>

#define NOIPA __attribute__((noipa))

PROBE_DECLARE(bench, text, (const char *text), (text));

NOIPA static void two(long a, long b)
{
	STAP_PROBE2(bench, two, a, b);
}

NOIPA static void say(const char *what)
{
	text(what);
}

NOIPA static void load(const long *what)
{
	__asm__ volatile("" : : "r"(what));
	__asm__ volatile(STAP_PROBE_ASM(bench, load, 8@(%%rdi)) : : "D"(what));
}

NOIPA static void empty(long a, long b)
{
	__asm__ volatile("" : : "r"(a), "r"(b));
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e9 + t.tv_nsec;
}

static char ring[256 << 10] __attribute__((aligned(64)));

static double floor_ns(long n)
{
	double from = now();

	for (long i = 0; i < n; i++) {
		uint64_t *at = (uint64_t *)(ring + (i * 32 & (sizeof(ring) - 1)));

		at[0] = __rdtsc();
		at[1] = i;
		at[2] = i + 1;
		at[3] = i + 2;
		__asm__ volatile("" : : : "memory");
	}
	return (now() - from) / n;
}

static void hits(const char *what, const void *arg, long n)
{
	if (!strcmp(what, "two"))
		for (long i = 0; i < n; i++)
			two(i, i + 1);
	else if (!strcmp(what, "load"))
		for (long i = 0; i < n; i++)
			load(arg);
	else if (!strcmp(what, "base"))
		for (long i = 0; i < n; i++)
			empty(i, i + 1);
	else
		for (long i = 0; i < n; i++)
			say(arg);
}

static long pair_n;

static void *pair(void *unused)
{
	hits("two", NULL, pair_n);
	return unused;
}

static double pair_rate(int n, long hits)
{
	pthread_t threads[2];
	double from;

	pair_n = hits;
	from = now();
	for (int i = 0; i < n; i++)
		pthread_create(&threads[i], NULL, pair, NULL);
	for (int i = 0; i < n; i++)
		pthread_join(threads[i], NULL);
	return n * hits / (now() - from) * 1e9;
}

int main(void)
{
	static const char image[] = "sixteen bytes ok";
	char stack[] = "sixteen bytes ok", *heap = strdup(image), line[100], what[32];
	long n;

	while (fgets(line, sizeof(line), stdin)) {
		if (sscanf(line, "floor %ld", &n) == 1) {
			printf("%.2f\n", floor_ns(n));
		} else if (sscanf(line, "pair %ld", &n) == 1) {
			double one = pair_rate(1, n);

			printf("%.0f %.0f\n", one, pair_rate(2, n));
		} else if (sscanf(line, "hit %31s %ld", what, &n) == 2) {
			const void *arg = strstr(what, "stack") ? stack : strstr(what, "image") ? image : heap;
			double from = now();

			hits(what, arg, n);
			printf("%.2f\n", (now() - from) / n);
		}
		fflush(stdout);
	}
	free(heap);
	return 0;
}
