/* SPDX-License-Identifier: MIT */
/*
 * The agent's state. The agent lives in a process that is not its own, so these rules
 * hold for every file of this directory:
 *
 * 1. Memory comes from mmap(2), never from malloc(3).
 * 2. The agent prints nothing, keeps errno, and has no signal handler.
 * 3. If the agent cannot be sure that a change is safe, it refuses it with a reason.
 * 4. Tables of sessions, slots and sites change only with agent.lock held, mostly in the
 *    agent's thread. Trampolines take no lock.
 * 5. The agent's thread has its own table of descriptors. A daemon that closes all of
 *    its descriptors closes none of the agent's.
 *
 * The files, in layers from the lowest to the highest. A file calls only files above it in this list:
 *
 *     libc-calls, libc-string, mem, lock, files          independent of the agent's state
 *     proc, maps, loader                                 the process
 *     hit-read, hit-ring, hit-aggregate, hit-calls, entry-CPU   what runs in a hit
 *     codebuf, trampoline-CPU, compile                   trampolines
 *     attachment, tables, shm, calls                     requests, and what hits may do
 *     state-dir, child, layout, session                          files of sessions
 *     site-table, regions, trampolines                   sites and their trampolines
 *     patch-CPU, patch                                   writing to sites
 *     wanted, arm, scan                                  one pass over all sites
 *     change, socket, keeper, control                    controllers
 *     thread-CPU, thread, rights, readers, agent-thread  the agent's thread
 *     lifecycle, fork, seccomp, interpose, load          the process's life
 */
#ifndef RUNTIME_AGENT_INPROC_AGENT_H
#define RUNTIME_AGENT_INPROC_AGENT_H

#include "runtime/agent/inproc/cpu.h"
#include "runtime/agent/inproc/hit.h"
#include "runtime/agent/inproc/libc.h"
#include "runtime/agent/inproc/lock.h"
#include "runtime/agent/inproc/session.h"
#include "runtime/agent/inproc/shm.h"
#include "runtime/agent/protocol.h"

#define MUTED_MAX 64

struct agent {
	struct lock lock;
	uint32_t reason; /* why nothing can be armed in this process, or AGENT_OK */
	uint32_t pid, tid;
	uint64_t start_time;
	uint64_t exec; /* struct agg_stack */
	struct session sessions[SESSIONS_MAX];
	struct session_shm shms[SHMS_MAX];
	uint32_t unloading;  /* threads in dlclose() */
	uint32_t npending;   /* points that wait for their library, or may do so */
	uint32_t narmed;     /* sites */
	bool begins;         /* the process begins, and the agent reads the files for the first time */
	bool not_interposed; /* the C library comes first, so the agent does not see dlopen() and dlclose() */
	int key;             /* of thread-specific data; -1: none */

	/* To read strings on the heap, hit-read.c: */
	const unsigned *nthreads; /* the C library's counter of threads, which debuggers read; NULL: not found */
	uint32_t own_threads;     /* how many of the agent's threads that counter includes: 0 */
	uint32_t shares_memory;   /* the process made a task that shares its memory and is not a thread */
	uintptr_t heap;           /* the beginning of the heap */
	const void *heap_end;     /* where the C library stores the end of the heap */

	/* For what hits may do, calls.c: */
	uint32_t calls;                /* hits may make system calls if this is greater than sealed */
	uint32_t sealed;               /* a thread has asked for a filter of system calls */
	bool began_filtered, harmless; /* a filter existed at the start; one was set that only makes calls fail */
	bool has_ticks;                /* the clock of shared memory regions is the CPU's counter */
	uint64_t tick_ns;              /* ns of 2^32 ticks of the CPU's counter; 0: not known yet */
	struct agent_call *starts;     /* the table of hit-calls.c; NULL: not needed yet */
	uint32_t hidden;               /* unused parts of regions are inaccessible now, so threads take no rings */
	uint32_t clockless;            /* a thread may not read the clock, so threads without a ring do not read it */
	uint32_t nmuted;               /* threads in the strict mode of seccomp */
	uint32_t muted[MUTED_MAX];
	uint32_t tid_at;       /* offset of the thread id of the C library to the thread pointer; 0: unknown */
	uint32_t pthread_size; /* of the C library's struct pthread */
	int32_t rseq_at;       /* offset of the thread's struct rseq to the thread pointer; 0: the C library has none */
	uintptr_t main_low, main_end; /* the first thread's stack */
	/* Each counts the system calls of hits in flight, and the rings being taken, of some of the threads: */
	struct {
		_Alignas(64) uint32_t n;
	} flight[FLIGHTS];
};

extern struct agent agent;

#endif
