/* SPDX-License-Identifier: MIT */
/*
 * load THREADS: each thread hits 100 probes, load:p00 to load:p99, in turn, from the first line read to the second.
 * Then prints the number of turns. load: waits for a line and ends. load -N: after a line it forks N times, one child after
 * the other, of which each hits the probes once.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/sdt.h>
#include <sys/wait.h>
#include <unistd.h>

#define ONE(name) STAP_PROBE2(load, name, i, text);
#define TEN(d)       \
	ONE(p##d##0) \
	ONE(p##d##1) \
	ONE(p##d##2) ONE(p##d##3) ONE(p##d##4) ONE(p##d##5) ONE(p##d##6) ONE(p##d##7) ONE(p##d##8) ONE(p##d##9)

static atomic_bool stop;
static const char text[] = "thirty-two bytes of text, or so";

static __attribute__((noinline)) void turn(long i)
{
	TEN(0) TEN(1) TEN(2) TEN(3) TEN(4) TEN(5) TEN(6) TEN(7) TEN(8) TEN(9)
}

static void *work(void *turns)
{
	long i;

	for (i = 0; !atomic_load_explicit(&stop, memory_order_relaxed); i++)
		turn(i);
	*(long *)turns = i;
	return NULL;
}

static int children(int n)
{
	int status;

	for (int i = 0; i < n; i++) {
		pid_t pid = fork();

		if (pid < 0)
			return 2;
		if (!pid) {
			turn(i);
			_exit(0);
		}
		if (waitpid(pid, &status, 0) != pid || status)
			return 2;
	}
	return 0;
}

int main(int argc, char **argv)
{
	int n = argc > 1 ? atoi(argv[1]) : 0;
	pthread_t threads[64];
	long turns[64], all = 0;
	char line[64];

	if (n > 64 || !fgets(line, sizeof(line), stdin))
		return 1;
	if (n < 0)
		return children(-n);
	for (int i = 0; i < n; i++)
		if (pthread_create(&threads[i], NULL, work, &turns[i]))
			return 2;
	if (n && !fgets(line, sizeof(line), stdin))
		return 1;
	stop = true;
	for (int i = 0; i < n; i++) {
		pthread_join(threads[i], NULL);
		all += turns[i];
	}
	printf("%ld\n", all);
	fflush(stdout);
	return n && !fgets(line, sizeof(line), stdin);
}
