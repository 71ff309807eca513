/* SPDX-License-Identifier: MIT */
/*
 * A job queue: one thread submits jobs, workers run them, and a shared library does the expensive part. There are
 * handwritten probes (provider queue), and probes of the GCC plugin at functions of this file (provider jobs) and of
 * libcodec.so (provider codec).
 *
 *     -r RATE       jobs per second (default 1000; 0: as fast as the workers run them)
 *     -w WORKERS    default 4
 *     -t SECONDS, -n JOBS    when to stop (default: at SIGTERM)
 *
 * At the end it prints what it did.
 *
 *     queue:submit(id, kind, text)         how many jobs arrive?
 *     queue:start(id, kind, worker)        which worker takes the job?
 *     queue:finish(id, kind, result)       result -1: the job failed
 *     queue:full(waiting)                  the submitting thread had to wait
 *     jobs:run_pack, run_check, run_count  the kinds of jobs: the entry with the job, the return with the result
 *     codec:codec_pack, codec_unpack, codec_sum
 *
 *     probe-list build/examples/jobs build/examples/libcodec.so
 *     probe-enable -p PID 'queue:*' 'codec:*'
 *     probe-trace -f build/examples/libcodec.so 'codec:codec_sum__*'
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sdt.h>
#include <time.h>
#include <unistd.h>

#include "codec.h"

#define QUEUE 64
#define TEXT 200
#define WORKERS 64

enum kind { PACK, CHECK, COUNT, KINDS };

struct job {
	unsigned long id;
	enum kind kind;
	char text[TEXT];
};

struct counts {
	unsigned long done, failed, kinds[KINDS], packs, unpacks, sums;
};

static const char *const kind_names[] = { "pack", "check", "count" };
static struct {
	pthread_mutex_t lock;
	pthread_cond_t filled, emptied;
	struct job jobs[QUEUE];
	unsigned long first, last;
	bool closed;
} queue = { .lock = PTHREAD_MUTEX_INITIALIZER,
	    .filled = PTHREAD_COND_INITIALIZER,
	    .emptied = PTHREAD_COND_INITIALIZER };
static volatile sig_atomic_t stopped;

static void stop(int signal)
{
	(void)signal;
	stopped = 1;
}

static unsigned long full;

static void submit(const struct job *job)
{
	pthread_mutex_lock(&queue.lock);
	if (queue.last - queue.first == QUEUE) {
		STAP_PROBE1(queue, full, queue.last - queue.first);
		full++;
		while (queue.last - queue.first == QUEUE)
			pthread_cond_wait(&queue.emptied, &queue.lock);
	}
	STAP_PROBE3(queue, submit, job->id, kind_names[job->kind], job->text);
	queue.jobs[queue.last++ % QUEUE] = *job;
	pthread_cond_signal(&queue.filled);
	pthread_mutex_unlock(&queue.lock);
}

static bool take(struct job *job)
{
	bool taken = false;

	pthread_mutex_lock(&queue.lock);
	while (queue.first == queue.last && !queue.closed)
		pthread_cond_wait(&queue.filled, &queue.lock);
	if (queue.first != queue.last) {
		*job = queue.jobs[queue.first++ % QUEUE];
		pthread_cond_signal(&queue.emptied);
		taken = true;
	}
	pthread_mutex_unlock(&queue.lock);
	return taken;
}

/* Packs and unpacks the text. Fails if the result is not the same text. */
static long run_pack(const struct job *job, struct counts *counts)
{
	char packed[3 * TEXT], again[TEXT];
	size_t length = strlen(job->text);
	long n = codec_pack(job->text, length, packed, sizeof(packed)), m;

	counts->packs++;
	if (n < 0)
		return -1;
	m = codec_unpack(packed, n, again, sizeof(again));
	counts->unpacks++;
	return m == (long)length && !memcmp(again, job->text, length) ? n : -1;
}

static long run_check(const struct job *job, struct counts *counts)
{
	counts->sums++;
	return codec_sum(kind_names[job->kind], job->text, strlen(job->text));
}

/* Counts letters. Fails if the text has none. */
static long run_count(const struct job *job, struct counts *counts)
{
	long letters = 0;

	(void)counts;
	for (const char *c = job->text; *c; c++)
		letters += (*c | 32) >= 'a' && (*c | 32) <= 'z';
	return letters ? letters : -1;
}

static void *worker(void *arg)
{
	static long (*const run[])(const struct job *, struct counts *) = { run_pack, run_check, run_count };
	static int workers;
	int me = __atomic_add_fetch(&workers, 1, __ATOMIC_RELAXED);
	struct counts *counts = arg;
	struct job job;
	long result;

	while (take(&job)) {
		STAP_PROBE3(queue, start, job.id, kind_names[job.kind], me);
		result = run[job.kind](&job, counts);
		STAP_PROBE3(queue, finish, job.id, kind_names[job.kind], result);
		counts->done++;
		counts->kinds[job.kind]++;
		counts->failed += result < 0;
	}
	return NULL;
}

static void invent(struct job *job, unsigned *random)
{
	static const char letters[] = "aaaaab  ..~~XYZ0123456789";
	size_t length;

	*random = *random * 1103515245 + 12345;
	length = 1 + (*random >> 16) % 60;
	job->kind = (*random >> 20) % KINDS;
	for (size_t i = 0; i < length; i++) {
		if (i % 8 == 0)
			*random = *random * 1103515245 + 12345;
		job->text[i] = letters[(*random >> 16) % (sizeof(letters) - 1)];
	}
	job->text[length] = 0;
}

static void count_add(struct counts *total, const struct counts *counts)
{
	total->done += counts->done;
	total->failed += counts->failed;
	total->packs += counts->packs;
	total->unpacks += counts->unpacks;
	total->sums += counts->sums;
	for (int k = 0; k < KINDS; k++)
		total->kinds[k] += counts->kinds[k];
}

int main(int argc, char **argv)
{
	struct sigaction action = { .sa_handler = stop };
	unsigned long count = -1UL, rate = 1000, workers = 4;
	struct counts counts[WORKERS] = { 0 }, total = { 0 };
	pthread_t threads[WORKERS];
	struct job job = { 0 };
	unsigned seconds = 0, random = 1;
	int option;

	while ((option = getopt(argc, argv, "n:r:t:w:")) != -1) {
		switch (option) {
		case 'n': count = strtoul(optarg, NULL, 10); break;
		case 'r': rate = strtoul(optarg, NULL, 10); break;
		case 't': seconds = strtoul(optarg, NULL, 10); break;
		case 'w': workers = strtoul(optarg, NULL, 10); break;
		default: workers = 0;
		}
	}
	if (workers < 1 || workers > WORKERS) {
		fprintf(stderr, "usage: jobs [-t SECONDS] [-n JOBS] [-r PER_SECOND] [-w WORKERS, 1 to %d]\n", WORKERS);
		return 2;
	}
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGALRM, &action, NULL);
	for (unsigned long i = 0; i < workers; i++)
		if (pthread_create(&threads[i], NULL, worker, &counts[i])) {
			fprintf(stderr, "jobs: cannot start worker %lu\n", i + 1);
			return 1;
		}
	alarm(seconds);
	for (; job.id < count && !stopped; job.id++) {
		invent(&job, &random);
		submit(&job);
		if (rate) {
			struct timespec pause = { rate == 1, rate == 1 ? 0 : 1000000000L / rate };

			nanosleep(&pause, NULL);
		}
	}
	pthread_mutex_lock(&queue.lock);
	queue.closed = true;
	pthread_cond_broadcast(&queue.filled);
	pthread_mutex_unlock(&queue.lock);
	for (unsigned long i = 0; i < workers; i++) {
		pthread_join(threads[i], NULL);
		count_add(&total, &counts[i]);
	}
	printf("jobs %lu\ndone %lu\nfailed %lu\nfull %lu\n", job.id, total.done, total.failed, full);
	for (int k = 0; k < KINDS; k++)
		printf("%s %lu\n", kind_names[k], total.kinds[k]);
	printf("codec_pack %lu\ncodec_unpack %lu\ncodec_sum %lu\n", total.packs, total.unpacks, total.sums);
	return 0;
}
