/* SPDX-License-Identifier: MIT */
/*
 * A target of tests/agent/limit-as.sh. Answers each line of standard input with a number:
 *
 *     limit MB        setrlimit(RLIMIT_AS): 0 or errno
 *     raw MB          the same by a system call that no library sees
 *     threads N TIMES N threads hit limit:hit TIMES times each, all at once: how many threads could be made
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/sdt.h>
#include <sys/syscall.h>
#include <unistd.h>

#define THREADS 64

static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
static long times;

static void *run(void *unused)
{
	pthread_mutex_lock(&gate); /* until all threads exist */
	pthread_mutex_unlock(&gate);
	for (long i = 0; i < times; i++)
		STAP_PROBE1(limit, hit, i);
	return unused;
}

/* Returns how many threads could be made. All of them exist at the same time. */
static int threads_run(int n)
{
	pthread_t made[THREADS];
	int done = 0;

	pthread_mutex_lock(&gate);
	while (done < n && !pthread_create(&made[done], NULL, run, NULL))
		done++;
	pthread_mutex_unlock(&gate);
	for (int i = 0; i < done; i++)
		pthread_join(made[i], NULL);
	return done;
}

int main(void)
{
	char what[16];
	long a;

	while (scanf("%15s %ld", what, &a) == 2) {
		struct rlimit limit = { a << 20, RLIM_INFINITY };
		int result = 0;

		if (!strcmp(what, "limit"))
			result = setrlimit(RLIMIT_AS, &limit) ? errno : 0;
		else if (!strcmp(what, "raw"))
			result = syscall(SYS_prlimit64, 0, RLIMIT_AS, &limit, NULL) ? errno : 0;
		else if (scanf("%ld", &times) == 1 && a <= THREADS)
			result = threads_run((int)a);
		printf("%d\n", result);
		fflush(stdout);
	}
	return 0;
}
