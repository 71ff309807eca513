/* SPDX-License-Identifier: MIT */
/*
 * A program that logs the arguments of its own hits. Each thread writes a file into the directory of the first argument,
 * with a line for each call of hit(): pid, tid, thread name, CPU, size, delta, path, state, and len and name of *req. `!` is
 * what cannot be read. Compiled with LIBRARY it is a library that has hit() only. Commands, each answered by "ok":
 *
 *     run THREADS TIMES SEED    THREADS threads call hit() TIMES times each, and end
 *     fork THREADS TIMES SEED   the same in a child
 *     spawn THREADS TIMES SEED  the same in a child that has executed this program again
 *     load FILE TIMES SEED      loads the library, calls its hit() TIMES times and unloads it
 *     keys TIMES                TIMES calls of keyed() with different values, not logged; answers with the ns that they took
 *     rise THREADS TIMES        THREADS threads call keyed() TIMES times each, with the numbers from 0 on
 *     meet TIMES                two threads call keyed() at once, TIMES times, with the numbers from 0 on
 *     start THREADS, stop       THREADS threads call hit(), not logged, until stop, which answers with the number of calls
 *     leave TIMES               TIMES calls of twice(), whose results are logged as "pid n result"
 *     pid
 *     end
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum state { IDLE, BUSY, LOST = -5 };
struct request {
	long id;
	int len;
	const char *name;
};

typedef void hit_function(unsigned long size, int delta, const char *path, enum state state, const struct request *req);
hit_function hit;

__attribute__((noinline, noclone)) void hit(unsigned long size, int delta, const char *path, enum state state,
                                            const struct request *req)
{
	__asm__ volatile("" : : "r"(size), "r"(delta), "r"(path), "r"(state), "r"(req) : "memory");
}

#ifndef LIBRARY

void keyed(unsigned long key);
__attribute__((noinline, noclone)) void keyed(unsigned long key)
{
	__asm__ volatile("" : : "r"(key) : "memory");
}

long twice(long n);
__attribute__((noinline, noclone)) long twice(long n)
{
	__asm__ volatile("" : "+r"(n) : : "memory");
	return n > 100 ? 2 * n : n + 7;
}

#define THREADS_MAX 64

static const char *directory;
static char strings[6][70]; /* of 62 to 66 bytes, and one that differs from another at its end */
static const char *const paths[] = { "/",        "/api",     "/api/x",   "",         "a\tb",     strings[0],
	                             strings[1], strings[2], strings[3], strings[4], strings[5], NULL };
static const struct request requests[] = {
	{ 1, 10, "one" }, { 2, -7, "two" }, { 3, 4096, strings[2] }, { 4, 0, NULL }
};
static atomic_bool stopping;
static atomic_long calls;

struct work {
	pthread_t thread;
	long times;
	uint64_t seed;
	hit_function *hit;
	const char *file; /* as the log names it */
	int index;
};

static uint64_t next_random(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

static void put_text(FILE *log, const char *text)
{
	fputc('\t', log);
	if (!text)
		fputc('!', log);
	for (; text && *text; text++)
		fprintf(log, "%02x", (unsigned char)*text);
}

static void one_hit(struct work *w, FILE *log, const char *who)
{
	static const enum state states[] = { IDLE, BUSY, LOST, 9 };
	uint64_t r = next_random(&w->seed), size = next_random(&w->seed) >> (r & 63);
	int delta = (int)((r >> 6 & 255) - 128);
	const char *path = paths[(r >> 14) % (sizeof(paths) / sizeof(*paths))];
	enum state state = states[r >> 24 & 3];
	const struct request *req = (r >> 26 & 7) < 6   ? &requests[r >> 32 & 3]
	                            : (r >> 26 & 7) < 7 ? NULL
	                                                : (void *)(16 + (r >> 40));

	w->hit(size, delta, path, state, req);
	if (!log)
		return;
	fprintf(log, "%s\t%lu\t%d", who, size, delta);
	put_text(log, path);
	fprintf(log, "\t%d", (int)state);
	if ((r >> 26 & 7) < 6) {
		fprintf(log, "\t%d", req->len);
		put_text(log, req->name);
	} else {
		fputs("\t!\t!", log);
	}
	fputc('\n', log);
}

static void stay_on(int cpu)
{
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	CPU_SET(cpu, &cpus);
	sched_setaffinity(0, sizeof(cpus), &cpus);
}

static void *work(void *arg)
{
	struct work *w = arg;
	char path[200], who[100], name[16];
	FILE *log;

	stay_on(w->index % (int)sysconf(_SC_NPROCESSORS_ONLN));
	snprintf(name, sizeof(name), "w%d", w->index % 5);
	prctl(PR_SET_NAME, name);
	snprintf(path, sizeof(path), "%s/%d.%d", directory, getpid(), gettid());
	snprintf(who, sizeof(who), "%s\t%d\t%d\t%s\t%d", w->file, getpid(), gettid(), name, sched_getcpu());
	log = fopen(path, "a");
	if (!log)
		abort();
	for (long i = 0; i < w->times; i++)
		one_hit(w, log, who);
	if (fclose(log))
		abort();
	return NULL;
}

static void run(int threads, long times, uint64_t seed, hit_function *function, const char *file)
{
	struct work w[THREADS_MAX];

	for (int i = 0; i < threads; i++) {
		w[i] = (struct work){
			.times = times, .seed = seed * 1000 + (uint64_t)i, .hit = function, .file = file, .index = i
		};
		pthread_create(&w[i].thread, NULL, work, &w[i]);
	}
	for (int i = 0; i < threads; i++)
		pthread_join(w[i].thread, NULL);
}

/* Runs in a child, which with self executes this program. */
static void run_child(int threads, long times, uint64_t seed, const char *self)
{
	char number[3][32];
	pid_t pid = fork();

	if (!pid && self) {
		snprintf(number[0], 32, "%d", threads);
		snprintf(number[1], 32, "%ld", times);
		snprintf(number[2], 32, "%lu", (unsigned long)seed);
		execl(self, self, directory, number[0], number[1], number[2], NULL);
		_exit(1);
	}
	if (!pid) {
		run(threads, times, seed, hit, "program");
		_exit(0);
	}
	waitpid(pid, NULL, 0);
}

static void load(const char *path, long times, uint64_t seed)
{
	void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);

	if (!library)
		abort();
	run(2, times, seed, (hit_function *)dlsym(library, "hit"), "library");
	dlclose(library);
}

static long keys(long times)
{
	struct timespec from, to;

	clock_gettime(CLOCK_MONOTONIC, &from);
	for (long i = 0; i < times; i++)
		keyed((unsigned long)i);
	clock_gettime(CLOCK_MONOTONIC, &to);
	return (to.tv_sec - from.tv_sec) * 1000000000 + to.tv_nsec - from.tv_nsec;
}

static atomic_ulong risen;

static void *rise(void *arg)
{
	const struct work *w = arg;

	for (long i = 0; i < w->times; i++)
		keyed(risen++);
	return NULL;
}

static void rise_all(int threads, long times)
{
	struct work w[THREADS_MAX];

	risen = 0;
	for (int i = 0; i < threads; i++) {
		w[i].times = times;
		pthread_create(&w[i].thread, NULL, rise, &w[i]);
	}
	for (int i = 0; i < threads; i++)
		pthread_join(w[i].thread, NULL);
}

static atomic_long arrived;

static void *meet(void *arg)
{
	struct work *w = arg;

	for (long i = 0; i < w->times; i++) {
		arrived++;
		while (arrived < 2 * (i + 1))
			sched_yield();
		keyed((unsigned long)i);
	}
	return NULL;
}

static void meet_all(long times)
{
	struct work w[2];

	arrived = 0;
	for (int i = 0; i < 2; i++) {
		w[i].times = times;
		pthread_create(&w[i].thread, NULL, meet, &w[i]);
	}
	for (int i = 0; i < 2; i++)
		pthread_join(w[i].thread, NULL);
}

static void *repeat(void *arg)
{
	struct work *w = arg;

	for (long i = 0; !stopping; i++) {
		one_hit(w, NULL, NULL);
		calls++;
	}
	return NULL;
}

static struct work repeats[THREADS_MAX];
static int nrepeats;

static void repeat_start(int threads)
{
	stopping = false;
	calls = 0;
	for (nrepeats = 0; nrepeats < threads; nrepeats++) {
		repeats[nrepeats] = (struct work){ .seed = (uint64_t)nrepeats, .hit = hit };
		pthread_create(&repeats[nrepeats].thread, NULL, repeat, &repeats[nrepeats]);
	}
}

static void repeat_stop(void)
{
	stopping = true;
	while (nrepeats)
		pthread_join(repeats[--nrepeats].thread, NULL);
}

static void leave(long times)
{
	char path[200];
	FILE *log;

	snprintf(path, sizeof(path), "%s/twice", directory);
	log = fopen(path, "a");
	if (!log)
		abort();
	for (long i = 0; i < times; i++)
		fprintf(log, "%ld\t%ld\n", i, twice(i));
	fclose(log);
}

static void execute(const char *line, const char *self)
{
	char path[200];
	int threads;
	long times;
	unsigned long seed;

	if (sscanf(line, "run %d %ld %lu", &threads, &times, &seed) == 3)
		run(threads, times, seed, hit, "program");
	else if (sscanf(line, "fork %d %ld %lu", &threads, &times, &seed) == 3)
		run_child(threads, times, seed, NULL);
	else if (sscanf(line, "spawn %d %ld %lu", &threads, &times, &seed) == 3)
		run_child(threads, times, seed, self);
	else if (sscanf(line, "load %199s %ld %lu", path, &times, &seed) == 3)
		load(path, times, seed);
	else if (sscanf(line, "leave %ld", &times) == 1)
		leave(times);
	else if (sscanf(line, "rise %d %ld", &threads, &times) == 2)
		rise_all(threads, times);
	else if (sscanf(line, "meet %ld", &times) == 1)
		meet_all(times);
	else if (sscanf(line, "start %d", &threads) == 1)
		repeat_start(threads);
}

int main(int argc, char **argv)
{
	char line[300];
	long number;

	for (int i = 0; i < 6; i++)
		memset(strings[i], 'a', 62 + (i < 5 ? (size_t)i : 3));
	strings[5][64] = 'b';
	if (argc < 2)
		return 2;
	directory = argv[1];
	if (argc == 5) {
		run(atoi(argv[2]), atol(argv[3]), strtoul(argv[4], NULL, 10), hit, "program");
		return 0;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	while (fgets(line, sizeof(line), stdin) && strcmp(line, "end\n") != 0) {
		if (!strcmp(line, "pid\n")) {
			printf("ok %d\n", getpid());
		} else if (sscanf(line, "keys %ld", &number) == 1) {
			printf("ok %ld\n", keys(number));
		} else if (!strcmp(line, "stop\n")) {
			repeat_stop();
			printf("ok %ld\n", (long)calls);
		} else {
			execute(line, argv[0]);
			puts("ok");
		}
	}
	return 0;
}
#endif
