/* SPDX-License-Identifier: MIT */
/*
 * Hits order:hit(thread, number) in some threads, when a line "N" is read N times in each, with pauses of random lengths.
 * Prints "ready", and "done" after each line.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/sdt.h>

enum { THREADS = 4 };

static long hits, next_number[THREADS];

static void *run(void *arg)
{
	long thread = (long)arg;
	unsigned seed = (unsigned)thread + 1;

	for (long i = 0; i < hits; i++) {
		for (volatile int pause = rand_r(&seed) % 2000; pause > 0; pause--)
			;
		STAP_PROBE2(order, hit, thread, next_number[thread]++);
	}
	return NULL;
}

int main(void)
{
	char line[64];

	puts("ready");
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin)) {
		pthread_t threads[THREADS];

		hits = atol(line);
		for (long i = 0; i < THREADS; i++)
			pthread_create(&threads[i], NULL, run, (void *)i);
		for (long i = 0; i < THREADS; i++)
			pthread_join(threads[i], NULL);
		puts("done");
		fflush(stdout);
	}
	return 0;
}
