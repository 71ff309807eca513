/* SPDX-License-Identifier: MIT */
/*
 * A program that logs its own stacks of calls: stacker LOG SEED. It reads commands, and replies to each with "ok":
 *
 *     run THREADS HITS DEPTH   each thread makes so many hits, each through up to DEPTH random functions
 *     deep HITS DEPTH          the same in the first thread, through exactly DEPTH functions
 *     handler                  a hit in a signal handler
 *     library PATH NAME        loads a library, makes a hit through its function NAME, and unloads it
 *     child HOW HITS           a child makes hits and ends by exit, kill or exec
 *     data                     hits in a function that uses the frame pointer for something else: a pointer to two words
 *     exit
 *
 * At each hit it appends a line to LOG: the functions from main or thread_main on, separated by semicolons.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sdt.h>
#include <sys/wait.h>
#include <unistd.h>

#define NAMES_MAX 512

static int log_fd;
static const char *self, *log_path;
static __thread const char *names[NAMES_MAX];
static __thread size_t nnames;
static __thread uint64_t random_state;

#define NOINLINE __attribute__((noinline, noclone))
/* A call after it is not the last thing that the function does, so it is not a jump. */
#define STAY() __asm__ volatile("" ::: "memory")

static uint64_t random_next(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

static void names_log(void)
{
	char line[16384];
	size_t n = 0;

	for (size_t i = 0; i < nnames; i++)
		n += snprintf(line + n, sizeof(line) - n, "%s%s", names[i], i + 1 < nnames ? ";" : "\n");
	if (write(log_fd, line, n) != (ssize_t)n)
		abort();
}

NOINLINE void hit(void)
{
	names[nnames++] = "hit";
	names_log();
	nnames--;
	STAP_PROBE1(stacker, hit, (int)nnames);
	STAY();
}

/* Without a frame pointer of its own. Its caller must not be missing. */
NOINLINE __attribute__((optimize("omit-frame-pointer"))) void bare(void)
{
	names[nnames++] = "bare";
	names_log();
	nnames--;
	STAP_PROBE1(stacker, hit, (int)nnames);
	STAY();
}

/* The walk goes on at the words, which are a frame if the second one is a return address. */
NOINLINE __attribute__((optimize("omit-frame-pointer"))) void misuse(const uint64_t *words)
{
	names[nnames++] = "misuse";
	names_log();
	nnames--;
#ifdef __x86_64__
	__asm__ volatile("xchg %%rbp, %0" : "+r"(words) : : "memory");
	STAP_PROBE1(stacker, hit, 0);
	__asm__ volatile("xchg %%rbp, %0" : "+r"(words) : : "memory");
#else
	register const uint64_t *saved __asm__("x19");

	__asm__ volatile("mov %0, x29; mov x29, %1" : "=&r"(saved) : "r"(words) : "memory");
	STAP_PROBE1(stacker, hit, 0);
	__asm__ volatile("mov x29, %0" : : "r"(saved) : "memory");
#endif
}

static void step(int depth);

#define FUNCTION(name)                   \
	NOINLINE void name(int depth)    \
	{                                \
		names[nnames++] = #name; \
		step(depth - 1);         \
		nnames--;                \
		STAY();                  \
	}
FUNCTION(alpha)
FUNCTION(beta)
FUNCTION(gamma_)
FUNCTION(delta)

static void (*const functions[])(int) = { alpha, beta, gamma_, delta };

static inline __attribute__((always_inline)) void step_inline(int depth)
{
	if (depth > 0)
		functions[random_next() % 4](depth);
	else if (random_next() % 4)
		hit();
	else
		bare();
	STAY();
}

NOINLINE static void step(int depth)
{
	names[nnames++] = "step";
	step_inline(depth);
	nnames--;
	STAY();
}

/* ---- commands ---- */

struct work {
	uint64_t seed;
	int hits, depth;
};

NOINLINE static void *thread_main(void *arg)
{
	const struct work *work = arg;

	random_state = work->seed;
	names[nnames++] = "thread_main";
	for (int i = 0; i < work->hits; i++)
		step((int)(random_next() % (unsigned)(work->depth + 1)));
	nnames--;
	STAY();
	return NULL;
}

static void run(int n, int hits, int depth, uint64_t seed)
{
	pthread_t threads[64];
	struct work work[64];

	for (int i = 0; i < n; i++) {
		work[i] = (struct work){ seed + 1 + (uint64_t)i, hits, depth };
		pthread_create(&threads[i], NULL, thread_main, &work[i]);
	}
	for (int i = 0; i < n; i++)
		pthread_join(threads[i], NULL);
}

static void on_signal(int signal)
{
	(void)signal;
	names[nnames++] = "on_signal";
	hit();
	nnames--;
	STAY();
}

NOINLINE static void library(const char *path, const char *name)
{
	void *handle = dlopen(path, RTLD_NOW);
	void (*call)(void (*)(void)) = handle ? dlsym(handle, name) : NULL;

	if (!call)
		abort();
	names[nnames++] = "library";
	names[nnames++] = name;
	call(hit);
	nnames -= 2;
	dlclose(handle);
}

NOINLINE static void child(const char *how, int hits)
{
	char number[16];
	pid_t pid = fork();

	if (!pid) {
		if (!strcmp(how, "exec")) {
			snprintf(number, sizeof(number), "%d", hits);
			execl(self, self, log_path, "7", number, NULL);
			abort();
		}
		names[nnames++] = "child";
		for (int i = 0; i < hits; i++)
			step((int)(random_next() % 5));
		if (!strcmp(how, "kill"))
			kill(getpid(), SIGKILL);
		exit(0);
	}
	waitpid(pid, NULL, 0);
}

/* Logs the functions whose return addresses can be found. caller: an address in main */
NOINLINE static void data(uint64_t caller)
{
	uint64_t pages[1024] = { 0 }, *edge = (uint64_t *)(((uintptr_t)pages | 4095) + 1 - 8);
	void *heap = malloc(100);
	const uint64_t values[] = {
		1,
		4096,
		65535,
		(uintptr_t)pages,
		(uintptr_t)&values,
		(uintptr_t)heap,
		(uintptr_t)&log_fd,
		(uintptr_t) "text",
	};

	names[0] = "data";
	nnames = 1;
	for (size_t i = 0; i < sizeof(values) / sizeof(*values); i++) {
		edge[1] = values[i];
		misuse(edge);
	}
	/* A frame in two pages. */
	names[0] = "main";
	names[1] = "data";
	nnames = 2;
	edge[1] = caller;
	misuse(edge);
	names[1] = "command";
	STAY();
	free(heap);
}

NOINLINE static void command(char *line)
{
	char word[4096], name[64];
	int a, b, c;

	if (sscanf(line, "run %d %d %d", &a, &b, &c) == 3)
		run(a, b, c, random_next());
	else if (sscanf(line, "deep %d %d", &a, &b) == 2)
		for (int i = 0; i < a; i++)
			step(b);
	else if (!strcmp(line, "handler\n"))
		raise(SIGUSR1);
	else if (sscanf(line, "library %4095s %63s", word, name) == 2)
		library(word, name);
	else if (!strcmp(line, "data\n"))
		data((uintptr_t)__builtin_return_address(0));
	else if (sscanf(line, "child %63s %d", name, &a) == 2)
		child(name, a);
	else
		exit(0);
}

int main(int argc, char **argv)
{
	char line[8192];

	self = argv[0];
	log_path = argv[1];
	log_fd = open(log_path, O_WRONLY | O_CREAT | O_APPEND, 0600);
	random_state = strtoull(argv[2], NULL, 10) | 1;
	signal(SIGUSR1, on_signal);
	names[nnames++] = "main";
	if (argc > 3) {
		for (int i = 0; i < atoi(argv[3]); i++)
			step((int)(random_next() % 5));
		return 0;
	}
	names[nnames++] = "command";
	while (fgets(line, sizeof(line), stdin)) {
		command(line);
		puts("ok");
		fflush(stdout);
	}
	return 0;
}
