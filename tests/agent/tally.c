/* SPDX-License-Identifier: MIT */
/*
 * A program that logs the arguments of its hits. Hits of tally:hit have random arguments. Each thread writes its lines
 * "PID TID WHO SIZE DELTA TEXT" to the file LOG when it has made its hits, before it ends.
 *
 *     tally LOG SEED           reads lines, and replies "ok" to each:
 *         run THREADS HITS     each thread hits so often
 *         child HOW THREADS HITS   the same in a child, which ends by exit, _exit, kill or exec (of tally, which hits too)
 *         library FILE HITS    loads the library, hits in it, and unloads it
 *         bad HITS             hits with texts that cannot be read
 *         distinct HITS        hits with a different WHO each
 *         endless THREADS      threads that hit without a log
 *         setns                enters its own UTS namespace, for which the agent's thread ends for a moment
 *         lock                 locks and unlocks all of its memory
 *         strict HITS          a thread enters the strict mode of seccomp, then hits
 *         exit
 *     tally LOG SEED HITS      hits so often, then ends
 */
#include <dlfcn.h>
#include <pthread.h>
#include <stdarg.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sched.h>
#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/probe.h>
#include <sys/wait.h>
#include <unistd.h>
#include <fcntl.h>

PROBE_DECLARE(tally, hit, (long who, unsigned long size, long delta, const char *text), (who, size, delta, text));

#define LINE 160

static const char *log_path, *self;
static uint64_t state;
static __thread uint64_t random_state;

static uint64_t rnd(void)
{
	uint64_t z = random_state += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

/* In the image, or on the heap. The longest have 62 to 65 bytes. */
static const char *texts[12];

static void texts_make(void)
{
	static const char letters[] = "0123456789012345678901234567890123456789012345678901234567890123456789";
	static const char *const image[] = { "", "GET", "SET", "a text of 25 bytes, static", "\xc3\xa4" };

	for (int i = 0; i < 5; i++)
		texts[i] = image[i];
	for (int i = 5; i < 12; i++)
		texts[i] = strndup(letters, i < 8 ? 3 * i : 54 + i);
}

struct work {
	long hits;
	bool logs;
	uint64_t seed;
};

static void log_write(const char *lines, size_t n)
{
	int fd = open(log_path, O_WRONLY | O_APPEND | O_CREAT, 0600);

	if (fd < 0 || write(fd, lines, n) != (ssize_t)n)
		abort();
	close(fd);
}

static void *work(void *arg)
{
	const struct work *w = arg;
	char *lines = w->logs ? malloc(w->hits * LINE + 1) : NULL, name[16];
	size_t n = 0;

	random_state = w->seed;
	snprintf(name, sizeof(name), "worker-%d", (int)(w->seed % 3));
	pthread_setname_np(pthread_self(), name);
	for (long i = 0; i < w->hits || !w->logs; i++) {
		long who = rnd() % (1 + rnd() % 40);
		unsigned long size = rnd() >> rnd() % 64;
		long delta = (long)(rnd() >> rnd() % 64) * (rnd() % 2 ? 1 : -1);
		const char *text = texts[rnd() % 12];

		hit(who, size, delta, text);
		if (lines)
			n += sprintf(lines + n, "%d %d %ld %lu %ld %s\n", getpid(), gettid(), who, size, delta, text);
	}
	if (lines)
		log_write(lines, n);
	free(lines);
	return NULL;
}

static void run(int threads, long hits, bool logs)
{
	pthread_t t[64];
	struct work w[64];

	for (int i = 0; i < threads; i++) {
		w[i] = (struct work){ hits, logs, state += 77777 };
		pthread_create(&t[i], NULL, work, &w[i]);
	}
	for (int i = 0; i < threads; i++)
		pthread_join(t[i], NULL);
}

static void child(const char *how, int threads, long hits)
{
	char seed[32], n[32];
	pid_t pid = fork();

	state += 1000003;
	if (pid) {
		waitpid(pid, NULL, 0);
		return;
	}
	run(threads, hits, true);
	if (!strcmp(how, "_exit"))
		_exit(0);
	if (!strcmp(how, "kill"))
		kill(getpid(), SIGKILL);
	snprintf(seed, sizeof(seed), "%llu", (unsigned long long)state);
	snprintf(n, sizeof(n), "%ld", hits);
	if (!strcmp(how, "exec"))
		execl(self, self, log_path, seed, n, NULL);
	exit(0);
}

static void library(const char *path, long hits)
{
	void *lib = dlopen(path, RTLD_NOW);
	void (*in_library)(long, long) = lib ? (void (*)(long, long))dlsym(lib, "in_library") : NULL;

	if (!in_library)
		abort();
	for (long i = 0; i < hits; i++)
		in_library(i % 5, i);
	dlclose(lib);
}

/* A system call, or a read of the CPU's counter, kills the thread, and with it the process. */
static void *strict(void *hits)
{
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT))
		abort();
	for (long i = 0; i < (long)hits; i++)
		hit(i % 3, 2, 1, "text");
	syscall(SYS_exit, 0);
	return NULL;
}

static void strict_run(long hits)
{
	pthread_t t;

	pthread_create(&t, NULL, strict, (void *)hits);
	pthread_join(t, NULL);
}

static void enter_own_namespace(void)
{
	int fd = open("/proc/self/ns/uts", O_RDONLY);

	if (fd < 0 || setns(fd, CLONE_NEWUTS))
		abort();
	close(fd);
}

static void command(const char *line)
{
	char word[4096];
	int threads;
	long hits;

	if (sscanf(line, "run %d %ld", &threads, &hits) == 2)
		run(threads, hits, true);
	else if (sscanf(line, "child %4095s %d %ld", word, &threads, &hits) == 3)
		child(word, threads, hits);
	else if (sscanf(line, "library %4095s %ld", word, &hits) == 2)
		library(word, hits);
	else if (sscanf(line, "bad %ld", &hits) == 1)
		for (long i = 0; i < hits; i++)
			hit(i % 3, 1, 1, (const char *)(i % 2 ? 8 : 1ull << 60));
	else if (sscanf(line, "distinct %ld", &hits) == 1)
		for (long i = 0; i < hits; i++)
			hit(i, 3, -3, "text");
	else if (sscanf(line, "endless %d", &threads) == 1)
		run(threads, 0, false);
	else if (sscanf(line, "strict %ld", &hits) == 1)
		strict_run(hits);
	else if (!strcmp(line, "setns\n"))
		enter_own_namespace();
	else if (!strcmp(line, "lock\n") && (mlockall(MCL_CURRENT) || munlockall()))
		abort();
}

int main(int argc, char **argv)
{
	char line[5000];

	self = argv[0];
	log_path = argv[1];
	state = strtoull(argv[2], NULL, 10);
	texts_make();
	if (argc > 3) {
		run(1, atol(argv[3]), true);
		return 0;
	}
	while (fgets(line, sizeof(line), stdin)) {
		if (!strcmp(line, "exit\n"))
			break;
		command(line);
		printf("ok\n");
		fflush(stdout);
	}
	return 0;
}
