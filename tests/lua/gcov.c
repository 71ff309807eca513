/* SPDX-License-Identifier: MIT */
/* Linked to programs in which gcov counts: SIGUSR1 resets the counts, SIGUSR2 writes them. */
#include <gcov.h>
#include <signal.h>
#include <string.h>

static void reset(int signal)
{
	(void)signal;
	__gcov_reset();
}

static void dump(int signal)
{
	(void)signal;
	__gcov_dump();
}

__attribute__((constructor)) static void start(void)
{
	struct sigaction action;

	memset(&action, 0, sizeof(action));
	action.sa_flags = SA_RESTART;
	action.sa_handler = reset;
	sigaction(SIGUSR1, &action, NULL);
	action.sa_handler = dump;
	sigaction(SIGUSR2, &action, NULL);
}
