/* SPDX-License-Identifier: MIT */
#include "cmd/signals.h"

#include <signal.h>
#include <stddef.h>

volatile int interrupted;

static const int signals[] = { SIGINT, SIGTERM, SIGHUP };
#define NSIGNALS (sizeof(signals) / sizeof(*signals))

static void signal_count(int signal)
{
	(void)signal;
	interrupted++;
}

/*
 * SIGINT is caught even if it was ignored. A shell without job control starts background commands with SIGINT ignored,
 * but a script that sends SIGINT to the command wants it to end: `probe-trace ... & ...; kill -INT $!`. SIGHUP stays
 * ignored under nohup(1), and SIGTERM stays ignored if the caller ignored it.
 */
void signals_catch(void)
{
	struct sigaction action = { .sa_handler = signal_count }, old;

	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
	for (size_t i = 0; i < NSIGNALS; i++)
		if (!sigaction(signals[i], NULL, &old) && (old.sa_handler != SIG_IGN || signals[i] == SIGINT))
			sigaction(signals[i], &action, NULL);
}

void signals_release(void)
{
	struct sigaction action = { .sa_handler = SIG_DFL }, old;

	for (size_t i = 0; i < NSIGNALS; i++)
		if (!sigaction(signals[i], NULL, &old) && old.sa_handler != SIG_IGN)
			sigaction(signals[i], &action, NULL);
}
