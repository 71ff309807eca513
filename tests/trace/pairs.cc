// SPDX-License-Identifier: MIT
/*
 * Functions whose calls are measured, and pairs of probes. The program writes down each call that it makes: a line
 * "NAME ID RESULT NS" in the file of its argument. It answers lines of standard input:
 *
 *     pid                 its pid
 *     NAME N THREADS      N calls in each of THREADS threads; answers how many were begun, and how many returned
 *     fork N              the same for work() in a child process
 *
 * In all functions the result is 3 * ID + 1, so that a record shows whether its entry and its return belong together.
 */
#include <alloca.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/probe.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <atomic>
#include <mutex>
#include <vector>

static FILE *file;
static std::mutex lock;
static std::atomic<long> begun, returned, next_id;

static long now()
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000l + t.tv_nsec;
}

static void note(const char *name, long id, long result, long ns)
{
	std::lock_guard<std::mutex> guard(lock);

	fprintf(file, "%s %ld %ld %ld\n", name, id, result, ns);
}

static void spin(long ns)
{
	for (long end = now() + ns; now() < end;)
		;
}

/* By pointers, so that the compiler does not know that they do not return: the plugin's return would be before them. */
static void (*volatile jump)(jmp_buf, int);
static void (*volatile end_thread)(void *);

/* Each of these functions notes its time on the inside. */
static __thread long inside;

extern "C" __attribute__((noinline)) long work(long id, long us, const char *name)
{
	long start = now();

	begun++;
	spin(us * 1000);
	if (name[0] == '?')
		putchar(name[0]);
	inside = now() - start;
	return 3 * id + 1;
}

/* alloca moves the stack pointer between entry and return. */
extern "C" __attribute__((noinline)) long moves(long id, long size)
{
	char *room = (char *)alloca(size);

	begun++;
	memset(room, (int)id, size);
	__asm__ volatile("" : : "r"(room) : "memory");
	return 3 * id + 1;
}

static __thread long signal_at;
static __thread bool jumps;
static __thread sigjmp_buf handled;

extern "C" __attribute__((noinline)) long deep(long id, long n)
{
	long below;

	begun++;
	if (jumps)
		jump(handled, 1);
	if (n && n == signal_at) {
		signal_at = 0;
		raise(SIGUSR1);
	}
	if (n) {
		below = deep(next_id++, n - 1);
		__asm__ volatile("" : "+r"(below));
		returned++;
		note("deep", (below - 1) / 3, below, 0);
	}
	return 3 * id + 1;
}

/*
 * A signal handler that comes in the middle of a call, with calls of its own. Every third one leaves them by siglongjmp,
 * on a stack of its own, and the call that it came in the middle of goes on.
 */
static __thread long handler_calls;

static void handle(int signal)
{
	long id = next_id++, result;

	(void)signal;
	if (handler_calls++ % 3 == 2) {
		jumps = true;
		if (!sigsetjmp(handled, 0))
			deep(id, 0);
		jumps = false;
		return;
	}
	result = deep(id, 3);
	note("deep", id, result, 0);
	returned++;
}

static long interrupted(long id, long n)
{
	struct sigaction action = {};
	static std::once_flag once;

	action.sa_handler = handle;
	std::call_once(once, [&] { sigaction(SIGUSR1, &action, NULL); });
	signal_at = n % 5;
	return deep(id, 5);
}

/* Is inlined at two places of its caller. */
static inline __attribute__((always_inline)) long inlined(long id)
{
	begun++;
	if (id & 1)
		spin(500);
	return 3 * id + 1;
}

extern "C" __attribute__((noinline)) long callee(long id)
{
	begun++;
	note("callee", id, 3 * id + 1, 0);
	returned++;
	return 3 * id + 1;
}

/* A tail call: the return of tails() is before callee(). Its result is not known. */
extern "C" __attribute__((noinline)) long tails(long id)
{
	begun++;
	return callee(id);
}

static __thread jmp_buf back;


extern "C" __attribute__((noinline)) long leaves(long id, int how)
{
	begun++;
	if (how == 1)
		jump(back, 1);
	if (how == 2)
		throw id;
	if (how == 3)
		end_thread(NULL);
	return 3 * id + 1;
}

/* ---- pairs of probes ---- */

/* What the thread has begun and not ended. */
struct started {
	long id, at;
};
static thread_local std::vector<started> starts;

static void pair_begin(long id, long n)
{
	starts.push_back({ id, now() });
	begun++;
	DTRACE_PROBE2(app, begin, id, n);
}

static void pair_end(long id)
{
	if (!starts.empty()) {
		note("pair", starts.back().id, id, now() - starts.back().at);
		starts.pop_back();
		returned++;
	}
	DTRACE_PROBE2(app, done, id, 3 * id + 1);
}

/* Every third begin has no end of its own, every fifth end no begin, and some pairs are in others. */
static void pairs(long id, long n)
{
	if (n % 5 != 4)
		pair_begin(id, n);
	if (n % 7 == 3) {
		long inner = next_id++;

		pair_begin(inner, n);
		spin(1000);
		pair_end(inner);
	}
	if (n % 3 != 2) {
		spin(2000);
		pair_end(id);
	}
}

PROBE_DECLARE(app, submit, (long id, const char *name), (id, name));
PROBE_DECLARE(app, finish, (long id, const char *name, long result), (id, name, result));

/* Across threads: a thread begins what the next thread ends. */
#define SLOTS 1024
static std::atomic<long> slots[SLOTS];

static void sends(long id, long n)
{
	char name[32];
	long none = 0;

	snprintf(name, sizeof(name), "job-%ld", id);
	submit(id, name);
	begun++;
	for (long i = n; !slots[i % SLOTS].compare_exchange_strong(none, id + 1); i++)
		none = 0;
}

static void takes(long n)
{
	char name[32];

	for (long i = n; i < n + SLOTS; i++) {
		long id = slots[i % SLOTS].exchange(0);

		if (!id)
			continue;
		id--;
		snprintf(name, sizeof(name), "job-%ld", id);
		note("job", id, 3 * id + 1, 0);
		finish(id, name, 3 * id + 1);
		returned++;
		return;
	}
}

/* ---- commands ---- */

struct order {
	char name[32];
	long n;
};

static void call_one(const char *name, long id, long n)
{
	long result = 0, i;

	inside = 0;
	if (!strcmp(name, "exits"))
		return;
	if (!strcmp(name, "work"))
		result = work(id, n % 50, n & 1 ? "odd" : "even");
	else if (!strcmp(name, "moves"))
		result = moves(id, 16 + n % 2000);
	else if (!strcmp(name, "deep"))
		result = deep(id, n % 20);
	else if (!strcmp(name, "deeper"))
		result = deep(id, 399);
	else if (!strcmp(name, "signals"))
		result = interrupted(id, n);
	else if (!strcmp(name, "tails"))
		result = tails(id);
	else if (!strcmp(name, "inlined")) {
		result = inlined(id);
		note(name, id, result, 0);
		returned++;
		id = next_id++;
		result = inlined(id);
	} else if (!strcmp(name, "leaves")) {
		try {
			if (setjmp(back))
				return;
			result = leaves(id, n % 4 == 3 ? 0 : n % 4 == 2 ? 1 : n % 4 == 1 ? 2 : 0);
		} catch (long) {
			return;
		}
	} else if (!strcmp(name, "pairs")) {
		pairs(id, n);
		return;
	} else if (!strcmp(name, "jobs")) {
		sends(id, n);
		if (n % 4)
			takes(n * 7);
		return;
	}
	i = inside;
	note(!strcmp(name, "deeper") || !strcmp(name, "signals") ? "deep" : name, id, result, i);
	returned++;
}

static void *run(void *arg)
{
	struct order *o = (struct order *)arg;

	for (long n = 0; n < o->n; n++)
		call_one(o->name, next_id++, n);
	if (!strcmp(o->name, "exits"))
		leaves(next_id++, 3);
	return NULL;
}

static void order_do(const char *name, long n, long nthreads)
{
	struct order o;
	pthread_t threads[64];

	for (int i = 0; i < SLOTS; i++)
		slots[i] = 0;
	snprintf(o.name, sizeof(o.name), "%s", name);
	o.n = n;
	for (long i = 0; i < nthreads; i++)
		pthread_create(&threads[i], NULL, run, &o);
	for (long i = 0; i < nthreads; i++)
		pthread_join(threads[i], NULL);
}

static void child(long n)
{
	pid_t pid;

	fflush(file);
	pid = fork();
	if (!pid) {
		file = fopen("/dev/null", "a"); /* the child is not in scope */
		order_do("work", n, 2);
		_exit(0);
	}
	waitpid(pid, NULL, 0);
}

int main(int argc, char **argv)
{
	char line[256], name[32];
	long n = 0, threads = 1;

	jump = (void (*)(jmp_buf, int))longjmp;
	end_thread = (void (*)(void *))pthread_exit;
	file = fopen(argc > 1 ? argv[1] : "/dev/null", "a");
	setvbuf(stdout, NULL, _IOLBF, 0);
	while (fgets(line, sizeof(line), stdin)) {
		n = 0, threads = 1;
		if (sscanf(line, "%31s %ld %ld", name, &n, &threads) < 1 || !strcmp(name, "end"))
			break;
		begun = returned = 0;
		if (!strcmp(name, "fork"))
			child(n);
		else if (strcmp(name, "pid"))
			order_do(name, n, threads);
		fflush(file);
		if (!strcmp(name, "pid"))
			printf("ok %d\n", getpid());
		else
			printf("ok %ld %ld\n", begun.load(), returned.load());
	}
	return 0;
}
