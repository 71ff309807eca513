/* SPDX-License-Identifier: MIT */
/*
 * Does what would show a second thread, or a lock in fork(2); then waits for the end of its input.
 *
 *     quiet threads   three threads; main() has ended by pthread_exit(3), and a thread waits
 *     quiet handler   fork(2) in handlers of signals that interrupt malloc(3)
 *     quiet user      becomes another user, if it may
 *     quiet daemon    closes every descriptor but the first two, forks, and the child waits
 *     quiet alone     makes namespaces, which requires a single-threaded process
 */
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/probe.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

static void wait_for_end(void)
{
	char byte;

	while (read(0, &byte, 1) == 1)
		;
}

static void *work(void *p)
{
	STAP_PROBE(app, work);
	return p;
}

static void *last(void *main_thread)
{
	pthread_join((pthread_t)main_thread, NULL);
	wait_for_end();
	return NULL;
}

static volatile int handled;

static void handler(int sig)
{
	pid_t pid = fork();

	(void)sig;
	if (!pid)
		_exit(0);
	waitpid(pid, NULL, 0);
	handled++;
}

static void handle(void)
{
	struct sigaction action = { .sa_handler = handler };

	sigaction(SIGUSR1, &action, NULL);
	for (int i = 0; i < 50; i++) {
		free(malloc(5000 + i));
		raise(SIGUSR1);
	}
	printf("%d\n", handled);
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";
	pthread_t t;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (!strcmp(what, "threads")) {
		for (int i = 0; i < 3; i++) {
			pthread_create(&t, NULL, work, NULL);
			pthread_join(t, NULL);
		}
		pthread_create(&t, NULL, last, (void *)pthread_self());
		pthread_exit(NULL);
	} else if (!strcmp(what, "handler")) {
		handle();
	} else if (!strcmp(what, "user")) {
		if (!setgid(65534) && !setuid(65534))
			printf("%u %d\n", getuid(), setuid(0));
	} else if (!strcmp(what, "daemon")) {
		for (int fd = 3; fd < 64; fd++)
			close(fd);
		if (fork()) {
			wait(NULL);
			return 0;
		}
		setsid();
	} else if (!strcmp(what, "alone")) {
		printf("%d\n", unshare(CLONE_NEWUSER | CLONE_NEWUTS));
	}
	wait_for_end();
	return 0;
}
