/* SPDX-License-Identifier: MIT */
/* The loop of hits.c with a tracepoint of LTTng-UST. Answers each line N of standard input with the ns of one call. */
#define TRACEPOINT_CREATE_PROBES
#define TRACEPOINT_DEFINE
#include "lttng-tp.h"

#include <stdio.h>
#include <time.h>

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

__attribute__((noipa)) static void two(long a, long b)
{
	tracepoint(bench, two, a, b);
}

int main(void)
{
	long n;

	while (scanf("%ld", &n) == 1) {
		double from = now();

		for (long i = 0; i < n; i++)
			two(i, i + 1);
		printf("%.2f\n", (now() - from) / (double)n);
		fflush(stdout);
	}
	return 0;
}
