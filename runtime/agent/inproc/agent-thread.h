/* SPDX-License-Identifier: MIT */
/* The main function of the agent's thread, and its state: agent-thread.c. */
#ifndef RUNTIME_AGENT_INPROC_AGENT_THREAD_H
#define RUNTIME_AGENT_INPROC_AGENT_THREAD_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#define WAKE_SIGNAL SIGSTKFLT

struct lifecycle {
	uint32_t inside;       /* a thread of the program has asked for the next thread */
	uint32_t begins;       /* the same, and main() has not begun */
	uint32_t begun;        /* there has been a thread in this process */
	uint32_t leaving;      /* the thread is about to end */
	uint32_t ready;        /* the thread has scanned for the first time */
	uint32_t wanted, done; /* number of scans that were requested, and that are done */
	uint32_t late;         /* further scans that are due within the next second */
	uint32_t stopped;      /* calls of agent_stop() without agent_restart() or agent_stay_stopped() yet */
	uint32_t forked;       /* the last pid that fork() of the C library gave to this process or an ancestor */
	bool listens;          /* the thread stays, even if nothing is to be armed */
	bool broken;           /* the process was forked in the middle of a change */
	bool raw;              /* the process was forked without the C library */
	bool ended;            /* the process is ending */
};

extern struct lifecycle lifecycle;

/* Runs the agent's thread; returns when it is to end. */
void agent_thread_run(void);

#endif
