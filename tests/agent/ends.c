/* SPDX-License-Identifier: MIT */
/*
 * Children that hit app:end N times each and end in different ways. Reads lines, and replies "ok" to each:
 *
 *     child HOW N     HOW: exit, _exit, kill, exec (of /bin/true), sleep (exec of /bin/sleep), or fork: a child of it
 *     hits once
 *                     more, then _exit
 *     own N           hits by this process
 *     end HOW         this process ends this way, without a reply
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/probe.h>
#include <sys/wait.h>
#include <unistd.h>

static void hit(long n)
{
	for (long i = 0; i < n; i++)
		STAP_PROBE1(app, end, i);
}

static void end(const char *how)
{
	if (!strcmp(how, "_exit"))
		_exit(0);
	if (!strcmp(how, "kill"))
		kill(getpid(), SIGKILL);
	if (!strcmp(how, "exec"))
		execl("/bin/true", "true", NULL);
	if (!strcmp(how, "sleep"))
		execl("/bin/sleep", "sleep", "600", NULL);
	if (!strcmp(how, "fork")) {
		if (!fork()) {
			hit(1);
			_exit(0);
		}
		wait(NULL);
		_exit(0);
	}
	exit(0);
}

int main(void)
{
	char line[100], how[20];
	long n;

	while (fgets(line, sizeof(line), stdin)) {
		if (sscanf(line, "child %19s %ld", how, &n) == 2) {
			pid_t pid = fork();

			if (!pid) {
				hit(n);
				end(how);
			}
			waitpid(pid, NULL, 0);
		} else if (sscanf(line, "own %ld", &n) == 1) {
			hit(n);
		} else if (sscanf(line, "end %19s", how) == 1) {
			end(how);
		}
		printf("ok\n");
		fflush(stdout);
	}
	return 0;
}
