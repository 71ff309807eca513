/* SPDX-License-Identifier: MIT */
/*
 * The agent's life in its process.
 *
 * While nothing is to be armed, the agent has no thread, no socket and no descriptor.
 * Its thread (agent-thread.c) is made when it is needed:
 *
 * 1. at the start of a process, if the state directory has something for it (load.c);
 * 2. after dlopen(3), if a point waits for a library (interpose.c);
 * 3. in a forked child that stays armed (fork.c);
 * 4. by a controller (runtime/agent/wake.c).
 *
 * unshare(CLONE_NEWUSER) and setns() need a process of one thread. The agent's thread
 * ends before them, and starts again after them. If a process changes its user, the
 * agent's thread does the same before the call returns, and ends if it cannot.
 */
#include <poll.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "runtime/agent/inproc/agent.h"
#include "runtime/agent/inproc/agent-thread.h"
#include "runtime/agent/inproc/calls.h"
#include "runtime/agent/inproc/lifecycle.h"
#include "runtime/agent/inproc/rights.h"
#include "runtime/agent/inproc/thread.h"

static struct lock door;     /* held by the caller that stops or restarts the thread, or that wants it to follow */
static uint32_t was_running; /* the thread was there when it was stopped */

/*
 * The new thread would have the caller's filter of system calls. So none is made by a
 * thread with a filter, except at the beginning, when the process was given the filter.
 */
bool agent_start(bool begins)
{
	if (lifecycle.ended || calls_sealed() || (!begins && !agent.began_filtered && calls_filtered()))
		return false;
	__atomic_store_n(&lifecycle.ready, 0, __ATOMIC_RELEASE);
	__atomic_store_n(&lifecycle.begins, begins, __ATOMIC_RELEASE);
	__atomic_store_n(&lifecycle.inside, 1, __ATOMIC_RELEASE);
	return thread_start();
}

/* ---- asking ---- */

static bool agent_is_here(void)
{
	return thread_tid() && agent.pid == (uint32_t)getpid();
}

bool agent_is_running(void)
{
	return !calls_sealed() && agent_is_here();
}

bool agent_awaits_library(void)
{
	return __atomic_load_n(&agent.npending, __ATOMIC_RELAXED) && !calls_sealed() && agent.pid == (uint32_t)getpid();
}

static void agent_wake(void)
{
	syscall(SYS_tgkill, agent.pid, __atomic_load_n(&agent.tid, __ATOMIC_ACQUIRE), WAKE_SIGNAL);
}

/* Wakes the thread for what was asked of it, or makes one. */
static void agent_get_done(void)
{
	if (thread_tid() && __atomic_load_n(&lifecycle.leaving, __ATOMIC_SEQ_CST))
		thread_wait_gone(500);
	if (thread_tid())
		agent_wake();
	else
		agent_start(false);
}

void agent_request_rescan(bool wait)
{
	uint32_t wanted;

	if (__atomic_load_n(&lifecycle.stopped, __ATOMIC_ACQUIRE))
		return;
	if (!wait) {
		__atomic_store_n(&lifecycle.late, 4, __ATOMIC_SEQ_CST);
		agent_get_done();
		return;
	}
	wanted = __atomic_add_fetch(&lifecycle.wanted, 1, __ATOMIC_SEQ_CST);
	agent_get_done();
	word_wait_until(&lifecycle.done, wanted, 2000);
}

/* ---- stopping ---- */

/* Returns whether the kernel counts one thread. The directory of threads has two links, and one for each thread. */
static bool process_has_one_thread(void)
{
	struct stat st;

	return !stat("/proc/self/task", &st) && st.st_nlink == 3;
}

static bool process_has_two_threads(void)
{
	struct stat st;

	return !stat("/proc/self/task", &st) && st.st_nlink == 4;
}

bool agent_stop(bool alone)
{
	if (!agent_is_here() && !__atomic_load_n(&lifecycle.stopped, __ATOMIC_ACQUIRE))
		return false;
	if (alone && !process_has_two_threads())
		return false;
	if (!lock_try(&door, 2000))
		return false;
	__atomic_add_fetch(&lifecycle.stopped, 1, __ATOMIC_SEQ_CST);
	if (agent_is_here()) {
		agent_wake();
		thread_wait_gone(5000);
		/* A thread that has ended may still hold what the kernel looks at. */
		for (unsigned i = 0; alone && i < 1000 && !process_has_one_thread(); i++)
			poll(NULL, 0, 1);
		was_running = 1;
	}
	lock_put(&door);
	return true;
}

void agent_restart(void)
{
	bool locked = lock_try(&door, 2000);

	if (!__atomic_sub_fetch(&lifecycle.stopped, 1, __ATOMIC_ACQ_REL) && was_running) {
		was_running = 0;
		if (agent_start(false))
			word_wait_until(&lifecycle.ready, 1, 2000);
	}
	if (locked)
		lock_put(&door);
}

void agent_stay_stopped(void)
{
	if (!__atomic_sub_fetch(&lifecycle.stopped, 1, __ATOMIC_ACQ_REL))
		was_running = 0;
}

void agent_retire(void)
{
	if (agent_stop(false))
		agent_stay_stopped();
}

/* ---- rights ---- */

static void agent_follow(long option, long a, long b, long c, long d)
{
	uint32_t request;

	if (!agent_is_running() || !lock_try(&door, 2000))
		return;
	request = rights_request(option, a, b, c, d);
	agent_wake();
	for (unsigned i = 0; i < 2000 && agent_is_running() && !rights_done(request); i++)
		rights_wait(request);
	lock_put(&door);
}

void agent_follow_rights(void)
{
	agent_follow(0, 0, 0, 0, 0);
}

void agent_follow_prctl(long option, long a, long b, long c, long d)
{
	agent_follow(option, a, b, c, d);
}

void agent_forked(void)
{
	door.word = 0;
	lifecycle.stopped = lifecycle.late = 0;
	lifecycle.done = lifecycle.wanted;
	rights_forget();
}
