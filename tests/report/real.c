/* SPDX-License-Identifier: MIT */
/*
 * Threads with recursive calls, which log what a trace must contain: the arguments of each call, and times before and after
 * its entry and its return. Standard output has a line of JSON for each call.
 *
 * usage: real ROUNDS PAUSE [STORM [UNTIL]]
 *
 * A thread sleeps PAUSE us after ten rounds. Before that, it does STORM rounds as fast as it can. It continues after its
 * rounds until the file UNTIL exists, but does not do more than ROUNDS_MAX rounds.
 */
#define _GNU_SOURCE
#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

enum { DEPTH = 5, THREADS = 4, ROUNDS_MAX = 20000 };
enum colour { RED = -1, GREEN, BLUE = 7 };

struct logged_call {
	char comm[16];
	const char *function;
	long id, result;
	int n, text;
	int64_t before_entry, after_entry, before_return, after_return;
};

struct thread {
	int number, tid;
	char comm[16];
	struct logged_call *calls;
	size_t ncalls, room;
};

static _Thread_local struct thread *self;
static int rounds, pause_us, storm;
static const char *until;
static const char *texts[] = { "", "plain", "caf\xc3\xa9", "quote\"\\", NULL, NULL };
static const enum colour colours[] = { RED, GREEN, BLUE };

static int64_t now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * INT64_C(1000000000) + time.tv_nsec;
}

static size_t call_begin(const char *function, int n, int text)
{
	struct logged_call *call = &self->calls[self->ncalls];

	memcpy(call->comm, self->comm, sizeof(call->comm));
	call->function = function;
	call->id = (long)self->number * 1000000 + (long)self->ncalls;
	call->n = n;
	call->text = text;
	call->before_entry = now();
	return self->ncalls++;
}

__attribute__((noipa)) long leaf(long id, double real)
{
	struct logged_call *call = &self->calls[id % 1000000];

	call->after_entry = now();
	call->result = id + (real > 1e9);
	call->before_return = now();
	return call->result;
}

__attribute__((noipa)) long work(long id, int n, const char *text, bool flag, char letter, enum colour colour,
                                 uint64_t big)
{
	struct logged_call *call = &self->calls[id % 1000000];

	call->after_entry = now();
	if (n) {
		size_t inner = call_begin("work", n - 1, (n + 1) % 6);
		const char *given = texts[(n + 1) % 6];

		work(self->calls[inner].id, n - 1, given, n % 2, 'a' + n, colours[n % 3], UINT64_MAX - (uint64_t)n);
		self->calls[inner].after_return = now();
		inner = call_begin("leaf", n, 0);
		leaf(self->calls[inner].id, n / 4.0);
		self->calls[inner].after_return = now();
	}
	call->result = id + (text && flag && letter == 1 && colour == BLUE && !big);
	call->before_return = now();
	return call->result;
}

static bool has_round(int i)
{
	if (!self->number)
		return i < 2;
	return i < storm + rounds || (until && i < ROUNDS_MAX && access(until, F_OK));
}

static void *run(void *arg)
{
	size_t outer;

	self = arg;
	self->tid = gettid();
	snprintf(self->comm, sizeof(self->comm), self->number ? "busy thread %d" : "real", self->number);
	for (int i = 0; has_round(i); i++) {
		if (i == rounds / 2 && self->number == 2)
			strcpy(self->comm, "renamed");
		prctl(PR_SET_NAME, self->comm);
		outer = call_begin("work", DEPTH, i % 6);
		work(self->calls[outer].id, DEPTH, texts[i % 6], i % 2, 'A', GREEN, 1);
		self->calls[outer].after_return = now();
		if (pause_us && i >= storm && i % 10 == 9)
			usleep((unsigned)pause_us);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	static struct thread threads[THREADS];
	pthread_t ids[THREADS];
	static char cut[301];

	if (argc < 3)
		return 2;
	rounds = atoi(argv[1]);
	pause_us = atoi(argv[2]);
	storm = argc > 3 ? atoi(argv[3]) : 0;
	until = argc > 4 ? argv[4] : NULL;
	memset(cut, 'x', sizeof(cut) - 1);
	texts[5] = cut;
	for (int i = 0; i < THREADS; i++) {
		threads[i].number = i;
		threads[i].calls = calloc((size_t)((until ? ROUNDS_MAX : 0) + rounds + storm + 2) * (2 * DEPTH + 1),
		                          sizeof(*threads[i].calls));
		if (!threads[i].calls || (i && pthread_create(&ids[i], NULL, run, &threads[i])))
			return 1;
	}
	run(&threads[0]);
	for (int i = 1; i < THREADS; i++)
		pthread_join(ids[i], NULL);
	for (int i = 0; i < THREADS; i++)
		for (size_t j = 0; j < threads[i].ncalls; j++) {
			const struct logged_call *call = &threads[i].calls[j];

			printf("{\"pid\":%d,\"tid\":%d,\"comm\":\"%s\",\"function\":\"real:%s\",\"id\":%ld,\"n\":%d,\"text\":%d,"
			       "\"result\":%ld,\"entry\":[%" PRId64 ",%" PRId64 "],\"return\":[%" PRId64 ",%" PRId64
			       "]}\n",
			       getpid(), threads[i].tid, call->comm, call->function, call->id, call->n, call->text,
			       call->result, call->before_entry, call->after_entry, call->before_return,
			       call->after_return);
		}
	return 0;
}
