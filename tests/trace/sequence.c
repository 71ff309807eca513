/* SPDX-License-Identifier: MIT */
/*
 * Numbers what happens, so that the order of hits is known without a clock: sequence LOG FIRST THREADS. LOG is a file
 * that processes map, shared: a counter, and for each of ROWS rows N pairs of numbers. Thread t hits sequence:hit(row,
 * n) in row FIRST + t; its signal handler in row FIRST + t + ROWS / 2. n counts from 0 in each row. Before and after
 * each hit, the counter is incremented, and stored in pair n of the row. Reads lines:
 *
 *     run N0 N1 ...    thread t hits Nt times, all threads at once; prints "ran"
 *     endless          all threads hit until they have hit N times, with pauses; prints "begun"
 *     end
 */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sdt.h>
#include <sys/time.h>
#include <unistd.h>

enum { ROWS = 64, N = 1 << 17, THREADS_MAX = 16 };

struct log {
	atomic_ulong counter;
	uint64_t unused[511];
	struct pair {
		uint64_t before, after;
	} pairs[ROWS][N];
};

static struct log *log_;

static bool pauses;
static long first, nthreads, wanted[THREADS_MAX], made[ROWS];
static pthread_barrier_t begin, end;
static __thread long own_row = -1;

__attribute__((noinline)) static void hit(long row)
{
	struct pair *pair = &log_->pairs[row][made[row]];

	pair->before = atomic_fetch_add(&log_->counter, 1) + 1;
	STAP_PROBE2(sequence, hit, row, made[row]);
	pair->after = atomic_fetch_add(&log_->counter, 1) + 1;
	made[row]++;
}

static void handler(int sig)
{
	(void)sig;
	for (int i = 0; own_row >= 0 && i < 3 && made[own_row + ROWS / 2] < N; i++)
		hit(own_row + ROWS / 2);
}

static void *run(void *t)
{
	for (;;) {
		pthread_barrier_wait(&begin);
		own_row = first + (long)t;
		for (long i = wanted[(long)t]; i > 0 && made[own_row] < N; i--) {
			hit(own_row);
			if (pauses && i % 256 == 0)
				usleep(1000);
		}
		own_row = -1;
		pthread_barrier_wait(&end);
	}
	return NULL;
}

static void ticks(int us)
{
	setitimer(ITIMER_PROF, &(struct itimerval){ { 0, us }, { 0, us } }, NULL);
}

int main(int argc, char **argv)
{
	struct sigaction action = { .sa_handler = handler, .sa_flags = SA_RESTART };
	char line[200];
	int fd;

	setvbuf(stdout, NULL, _IOLBF, 0);
	fd = argc > 3 ? open(argv[1], O_RDWR | O_CREAT, 0600) : -1;
	first = argc > 3 ? atol(argv[2]) : 0;
	nthreads = argc > 3 ? atol(argv[3]) : 0;
	if (fd < 0 || nthreads < 1 || nthreads > THREADS_MAX || first < 0 || first + nthreads > ROWS / 2 ||
	    ftruncate(fd, sizeof(*log_)))
		return 2;
	log_ = mmap(NULL, sizeof(*log_), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (log_ == MAP_FAILED)
		return 3;
	sigaction(SIGPROF, &action, NULL);
	pthread_barrier_init(&begin, NULL, (unsigned)nthreads + 1);
	pthread_barrier_init(&end, NULL, (unsigned)nthreads + 1);
	for (long t = 0; t < nthreads; t++) {
		pthread_t thread;

		if (pthread_create(&thread, NULL, run, (void *)t))
			return 4;
	}
	puts("ready");
	while (fgets(line, sizeof(line), stdin) && strncmp(line, "end\n", 4)) {
		char *at = line + strcspn(line, " \n");
		bool endless = line[0] == 'e';

		pauses = endless;
		for (long t = 0; t < nthreads; t++)
			wanted[t] = endless ? N : strtol(at, &at, 10);
		ticks(500);
		pthread_barrier_wait(&begin);
		if (!endless)
			pthread_barrier_wait(&end);
		if (!endless)
			ticks(0);
		puts(endless ? "begun" : "ran");
	}
	return 0;
}
