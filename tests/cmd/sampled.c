/* SPDX-License-Identifier: MIT */
/*
 * A target of tests/cmd/sample.sh. For each line THREADS N, each of so many threads hits sampled:hit(i) for i from 0 to N - 1,
 * and sampled:twice(i) at two sites. Prints the ns that this took.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/sdt.h>
#include <time.h>

#define THREADS 16

static long n;

__attribute__((noipa)) static void *run(void *unused)
{
	for (long i = 0; i < n; i++) {
		STAP_PROBE1(sampled, hit, i);
		STAP_PROBE1(sampled, twice, i);
		STAP_PROBE1(sampled, twice, i);
	}
	return unused;
}

static long long now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ll + t.tv_nsec;
}

int main(void)
{
	int threads;

	while (scanf("%d %ld", &threads, &n) == 2 && threads <= THREADS) {
		pthread_t made[THREADS];
		long long from = now();

		if (threads == 1)
			run(NULL);
		for (int i = 0; i < threads && threads > 1; i++)
			if (pthread_create(&made[i], NULL, run, NULL))
				abort();
		for (int i = 0; i < threads && threads > 1; i++)
			pthread_join(made[i], NULL);
		printf("%lld\n", now() - from);
		fflush(stdout);
	}
	return 0;
}
