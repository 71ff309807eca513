/* SPDX-License-Identifier: MIT */
/*
 * Hits p:hit and logs its process and thread id to the file for each hit. For a line "THREADS TIMES CHILDREN", so many
 * threads hit it so many times each, in this process and in so many children, each the child of the one before.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/sdt.h>
#include <sys/wait.h>
#include <unistd.h>

static int log_fd, nthreads, times;

static void *work(void *unused)
{
	char line[64];

	for (int i = 0; i < times; i++) {
		int n = snprintf(line, sizeof(line), "%d %d\n", getpid(), gettid());

		STAP_PROBE1(p, hit, i);
		if (write(log_fd, line, (size_t)n) != n)
			abort();
	}
	return unused;
}

static void run(int children)
{
	pthread_t threads[64];

	for (int i = 0; i < nthreads && i < 64; i++)
		if (pthread_create(&threads[i], NULL, work, NULL))
			abort();
	for (int i = 0; i < nthreads && i < 64; i++)
		pthread_join(threads[i], NULL);
	if (children) {
		pid_t pid = fork();

		if (!pid) {
			run(children - 1);
			_exit(0);
		}
		waitpid(pid, NULL, 0);
	}
}

int main(int argc, char **argv)
{
	int children;

	log_fd = argc > 1 ? open(argv[1], O_WRONLY | O_CREAT | O_APPEND, 0600) : -1;
	if (log_fd < 0)
		return 1;
	while (scanf("%d %d %d", &nthreads, &times, &children) == 3) {
		run(children);
		puts("ok");
		fflush(stdout);
	}
	return 0;
}
