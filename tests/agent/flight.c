/* SPDX-License-Identifier: MIT */
/*
 * Records that show whether they are complete: flight:hit(id, n, ~n, text) with a text of 26 - n % 26 letters; n counts
 * up for each id. flight:begin(id) comes before them. Reads lines:
 *
 *     run THREADS HITS     threads with HITS hits each, and a signal handler's in between; prints "ran HITS"
 *     brief THREADS HITS   the same, one thread after the other, without signals
 *     endless THREADS      threads that hit until the end
 *     exit
 */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/sdt.h>
#include <sys/time.h>

#define HANDLER 1000000

static atomic_long next_id = 1, hits;
static __thread long id, handled;

__attribute__((noipa)) static void hit(long who, long n)
{
	const char *text = &"abcdefghijklmnopqrstuvwxyz"[n % 26];

	STAP_PROBE4(flight, hit, who, n, ~n, text);
}

static void handler(int sig)
{
	(void)sig;
	for (int i = 0; id && i < 3; i++) {
		hit(HANDLER + id, handled++);
		atomic_fetch_add(&hits, 1);
	}
}

static void *run(void *n)
{
	id = next_id++;
	STAP_PROBE1(flight, begin, id);
	for (long i = 0; i < (long)n; i++)
		hit(id, i);
	atomic_fetch_add(&hits, (long)n);
	id = 0;
	return NULL;
}

static void ticks(int us)
{
	struct itimerval each = { { 0, us }, { 0, us } };

	setitimer(ITIMER_PROF, &each, NULL);
}

int main(void)
{
	struct sigaction action = { .sa_handler = handler, .sa_flags = SA_RESTART };
	char line[80], word[20];
	pthread_t threads[64];
	long n, count;

	setvbuf(stdout, NULL, _IOLBF, 0);
	sigaction(SIGPROF, &action, NULL);
	while (fgets(line, sizeof(line), stdin) && line[1] != 'x') {
		bool brief, endless;

		count = 0;
		if (sscanf(line, "%19s %ld %ld", word, &n, &count) < 2)
			return 1;
		brief = word[0] == 'b';
		endless = word[0] == 'e';
		if (!brief)
			ticks(200);
		for (long i = 0; i < n; i++) {
			pthread_create(&threads[i % 64], NULL, run, (void *)(endless ? 1L << 60 : count));
			if (brief)
				pthread_join(threads[i % 64], NULL);
		}
		for (long i = 0; !brief && !endless && i < n; i++)
			pthread_join(threads[i % 64], NULL);
		ticks(0);
		if (endless)
			ticks(200);
		printf("ran %ld\n", hits);
	}
	return 0;
}
