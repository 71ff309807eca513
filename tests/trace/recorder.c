/* SPDX-License-Identifier: MIT */
/*
 * A program with a log that outlives it: recorder LOG THREADS. LOG is a file that it maps, shared, with a 64-bit number
 * for each thread: how many hits of recorder:hit(thread, n, ~n, text) the thread has made. n counts from 1. text has n % 40
 * letters. Reads lines:
 *
 *     run N          each thread hits N times; prints "ran"
 *     endless        each thread hits until the end; prints "begun"
 *     mark N         hits recorder:mark(N) once; prints "marked"
 *     fork N         a child hits N times as thread THREADS (that has a number in LOG, too) and ends; prints "forked"
 *     exec           executes this program again, with the same arguments and the log as it is
 *     end
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sdt.h>
#include <sys/wait.h>
#include <unistd.h>

enum { THREADS_MAX = 64 };

static volatile uint64_t *done;
static long nthreads, each;
static pthread_barrier_t all_ran;

__attribute__((noinline)) static void hit(long thread, long n)
{
	const char *text = &"abcdefghijklmnopqrstuvwxyzabcdefghijklmn"[40 - n % 40];

	STAP_PROBE4(recorder, hit, thread, n, ~n, text);
}

static void *run(void *arg)
{
	long thread = (long)arg;

	for (long i = 0; i < each; i++) {
		hit(thread, (long)done[thread] + 1);
		done[thread]++;
	}
	return NULL;
}

/* No thread ends before all have hit, so each has a ring of its own, and no ring keeps records of an earlier run. */
static void *run_with_others(void *arg)
{
	run(arg);
	pthread_barrier_wait(&all_ran);
	return NULL;
}

static void run_all(int join)
{
	pthread_t threads[THREADS_MAX];

	pthread_barrier_init(&all_ran, NULL, (unsigned)nthreads);
	for (long i = 0; i < nthreads; i++)
		if (pthread_create(&threads[i], NULL, run_with_others, (void *)i))
			_exit(4);
	for (long i = 0; join && i < nthreads; i++)
		pthread_join(threads[i], NULL);
}

int main(int argc, char **argv)
{
	char line[80];
	int fd;

	setvbuf(stdout, NULL, _IOLBF, 0);
	setvbuf(stdin, NULL, _IONBF, 0);
	fd = argc > 2 ? open(argv[1], O_RDWR | O_CREAT, 0600) : -1;
	nthreads = argc > 2 ? atol(argv[2]) : 0;
	if (fd < 0 || nthreads < 1 || nthreads >= THREADS_MAX || ftruncate(fd, 4096))
		return 2;
	done = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	puts("ready");
	while (fgets(line, sizeof(line), stdin) && strncmp(line, "end\n", 4)) {
		long n = 0;

		if (sscanf(line, "run %ld", &each) == 1) {
			run_all(1);
			puts("ran");
		} else if (sscanf(line, "mark %ld", &n) == 1) {
			STAP_PROBE1(recorder, mark, n);
			puts("marked");
		} else if (sscanf(line, "fork %ld", &each) == 1) {
			pid_t pid = fork();

			if (!pid) {
				run((void *)nthreads);
				_exit(0);
			}
			waitpid(pid, NULL, 0);
			puts("forked");
		} else if (!strncmp(line, "endless", 7)) {
			each = INT64_MAX;
			run_all(0);
			puts("begun");
		} else if (!strncmp(line, "exec", 4)) {
			execv("/proc/self/exe", argv);
			return 3;
		}
	}
	return 0;
}
