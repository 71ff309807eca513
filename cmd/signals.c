/* SPDX-License-Identifier: MIT */
#include "cmd/signals.h"

#include <signal.h>
#include <stddef.h>

volatile int interrupted;

static const int caught[] = { SIGINT, SIGTERM, SIGHUP };
#define NCAUGHT (sizeof(caught) / sizeof(*caught))

static void note(int signal)
{
	(void)signal;
	interrupted++;
}

/*
 * A shell without job control starts background commands with SIGINT ignored. A script that then sends SIGINT means
 * it: `probe-trace ... & ...; kill -INT $!`. So SIGINT is always caught. SIGHUP stays ignored under nohup(1), and
 * SIGTERM if the caller wants so.
 */
void interrupt_catch(void)
{
	struct sigaction action = { .sa_handler = note }, old;

	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
	for (size_t i = 0; i < NCAUGHT; i++)
		if (!sigaction(caught[i], NULL, &old) && (old.sa_handler != SIG_IGN || caught[i] == SIGINT))
			sigaction(caught[i], &action, NULL);
}

void interrupt_release(void)
{
	struct sigaction action = { .sa_handler = SIG_DFL }, old;

	for (size_t i = 0; i < NCAUGHT; i++)
		if (!sigaction(caught[i], NULL, &old) && old.sa_handler != SIG_IGN)
			sigaction(caught[i], &action, NULL);
}
