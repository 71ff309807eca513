/* SPDX-License-Identifier: MIT */
/*
 * Hits twins:one(N) and twins:two(N) in a process and its child. Reads lines, and replies to each:
 *
 *     fork        makes the child; replies with its pid
 *     raw         makes the child by the system call; replies with its pid
 *     parent N    hits each probe N times in the process; replies "ok"
 *     child N     hits each probe N times in the child; replies "ok"
 */
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/probe.h>
#include <sys/syscall.h>
#include <unistd.h>

PROBE_DECLARE(twins, one, (long n), (n));
PROBE_DECLARE(twins, two, (long n), (n));

static int to[2], from[2];

static void hits(long n)
{
	for (long i = 0; i < n; i++) {
		one(i);
		two(i);
	}
}

static pid_t child_make(bool raw)
{
	pid_t pid = raw ? (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0) : fork();
	long n;

	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	while (read(to[0], &n, sizeof(n)) == sizeof(n)) {
		hits(n);
		if (write(from[1], &n, sizeof(n)) != sizeof(n))
			abort();
	}
	_exit(0);
}

int main(void)
{
	char line[64];
	long n;

	if (pipe(to) || pipe(from))
		abort();
	setvbuf(stdout, NULL, _IOLBF, 0);
	while (fgets(line, sizeof(line), stdin)) {
		if (line[0] == 'f' || line[0] == 'r') {
			printf("%d\n", child_make(line[0] == 'r'));
			continue;
		}
		if (sscanf(line, "parent %ld", &n) == 1)
			hits(n);
		else if (sscanf(line, "child %ld", &n) != 1 || write(to[1], &n, sizeof(n)) != sizeof(n) ||
		         read(from[0], &n, sizeof(n)) != sizeof(n))
			abort();
		puts("ok");
	}
	return 0;
}
