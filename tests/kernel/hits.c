/* SPDX-License-Identifier: MIT */
/*
 * A process that counts its own hits. It executes the command in each line of standard input, and answers with "ok" and
 * the result.
 *
 *     run THREADS TIMES     THREADS threads hit k:one, k:two and k:three TIMES times each
 *     start THREADS         the same until
 *     many THREADS          32 probes, m:p0 to m:p31, one after the other, until
 *     stop                  answers with the total hits of each probe
 *     fork THREADS TIMES    run in a child that does not call exec
 *     spawn THREADS TIMES   the same in a child that has executed this program again
 *     guarded TIMES         k:guarded, whose arguments are computed if its semaphore is not 0: answers how often
 *     semaphore             its value
 *     map FILE WAY          maps the text of a file: shared, writable
 *     leave                 ends the first thread; another continues
 *     pid
 *     end
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define MANY(do)                                                                                                                        \
	do                                                                                                                              \
	(p0) do(p1) do(p2) do(p3) do(p4) do(p5) do(p6) do(p7) do(p8) do(p9) do(p10) do(p11) do(p12) do(p13) do(p14) do(p15) do(p16) do( \
		p17) do(p18) do(p19) do(p20) do(p21) do(p22) do(p23) do(p24) do(p25) do(p26) do(p27) do(p28) do(p29) do(p30) do(p31)

#define _SDT_HAS_SEMAPHORES 1
#include <sys/sdt.h>
#define SEMAPHORE(name) __extension__ unsigned short m_##name##_semaphore __attribute__((unused, section(".probes")));
MANY(SEMAPHORE)
__extension__ unsigned short k_guarded_semaphore __attribute__((unused, section(".probes")));
__extension__ unsigned short k_one_semaphore __attribute__((unused, section(".probes")));
__extension__ unsigned short k_two_semaphore __attribute__((unused, section(".probes")));
__extension__ unsigned short k_three_semaphore __attribute__((unused, section(".probes")));

#define THREADS_MAX 64

static atomic_bool stopping;
static pthread_t threads[THREADS_MAX];
static long counts[THREADS_MAX][8], times;
static int nthreads;

__attribute__((noinline)) static void hit(long i, int thread)
{
	STAP_PROBE3(k, one, i, thread, "a string of thirty-two bytes, no");
	STAP_PROBE1(k, two, i);
	STAP_PROBE(k, three);
}

#define HIT_ONE(name) STAP_PROBE1(m, name, i);

static bool many;

static void *work(void *arg)
{
	int me = (int)(long)arg;

	counts[me][0] = 0;
	for (long i = 0; times ? i < times : !atomic_load_explicit(&stopping, memory_order_relaxed); i++) {
		if (many) {
			MANY(HIT_ONE)
		} else {
			hit(i, me);
		}
		counts[me][0]++;
	}
	return NULL;
}

static void begin(int n, long each)
{
	nthreads = n < THREADS_MAX ? n : THREADS_MAX;
	times = each;
	atomic_store(&stopping, false);
	for (long i = 0; i < nthreads; i++)
		if (pthread_create(&threads[i], NULL, work, (void *)i))
			exit(3);
}

static long finish(void)
{
	long all = 0;

	atomic_store(&stopping, true);
	for (int i = 0; i < nthreads; i++) {
		pthread_join(threads[i], NULL);
		all += counts[i][0];
	}
	return all;
}

static long computed;

__attribute__((noinline)) static long compute(long i)
{
	computed++;
	return i * 3;
}

__attribute__((noinline)) static void guarded(long n)
{
	for (long i = 0; i < n; i++) {
		if (__builtin_expect(k_guarded_semaphore, 0))
			STAP_PROBE1(k, guarded, compute(i));
		if (__builtin_expect(k_guarded_semaphore, 0))
			STAP_PROBE1(k, guarded, compute(-i));
	}
}

static int map(const char *file, const char *way)
{
	int fd = open(file, O_RDONLY);
	struct stat st;
	void *at;

	if (fd < 0 || fstat(fd, &st))
		return -1;
	at = mmap(NULL, st.st_size, PROT_READ | PROT_EXEC | (strcmp(way, "writable") ? 0 : PROT_WRITE),
	          strcmp(way, "shared") ? MAP_PRIVATE : MAP_SHARED, fd, 0);
	close(fd);
	return at == MAP_FAILED ? -1 : 0;
}

static void child(const char *line, int spawn)
{
	int status, n;
	long each;
	pid_t pid;

	sscanf(line, "%*s %d %ld", &n, &each);
	pid = fork();
	if (!pid) {
		char a[24], b[24];

		if (spawn) {
			snprintf(a, sizeof(a), "%d", n);
			snprintf(b, sizeof(b), "%ld", each);
			execl("/proc/self/exe", "hits", a, b, NULL);
			_exit(4);
		}
		begin(n, each);
		finish();
		_exit(0);
	}
	waitpid(pid, &status, 0);
	printf(status ? "failed: %d\n" : "ok\n", status);
}

static void *commands(void *unused)
{
	char line[4096], file[2048], way[32];
	int n;
	long each;

	(void)unused;
	setvbuf(stdout, NULL, _IOLBF, 0);
	while (fgets(line, sizeof(line), stdin)) {
		if (sscanf(line, "run %d %ld", &n, &each) == 2) {
			begin(n, each);
			printf("ok %ld\n", finish());
		} else if (sscanf(line, "start %d", &n) == 1) {
			begin(n, 0);
			puts("ok");
		} else if (sscanf(line, "many %d", &n) == 1) {
			many = true;
			begin(n, 0);
			puts("ok");
		} else if (!strncmp(line, "stop", 4)) {
			printf("ok %ld\n", finish());
			many = false;
		} else if (!strncmp(line, "fork", 4) || !strncmp(line, "spawn", 5)) {
			child(line, line[0] == 's');
		} else if (sscanf(line, "guarded %ld", &each) == 1) {
			computed = 0;
			guarded(each);
			printf("ok %ld\n", computed);
		} else if (!strncmp(line, "semaphore", 9)) {
			printf("ok %d\n", k_guarded_semaphore);
		} else if (sscanf(line, "map %2047s %31s", file, way) == 2) {
			puts(map(file, way) ? "failed" : "ok");
		} else if (!strncmp(line, "leave", 5)) {
			static pthread_t other;

			if (!pthread_create(&other, NULL, commands, NULL)) {
				puts("ok");
				pthread_exit(NULL);
			}
		} else if (!strncmp(line, "pid", 3)) {
			printf("ok %d\n", getpid());
		} else if (!strncmp(line, "end", 3)) {
			break;
		} else {
			puts("what?");
		}
	}
	exit(0);
}

int main(int argc, char **argv)
{
	if (argc == 3) {
		begin(atoi(argv[1]), atol(argv[2]));
		finish();
		return 0;
	}
	commands(NULL);
	return 0;
}
