/* SPDX-License-Identifier: MIT */
/*
 * Loading and unloading of the agent's library.
 *
 * All that is to be armed is armed before main() begins. If the state directory has
 * nothing for the process, no thread is made.
 */
#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

#include "runtime/agent/inproc/agent.h"
#include "runtime/agent/inproc/agent-thread.h"
#include "runtime/agent/inproc/calls.h"
#include "runtime/agent/inproc/change.h"
#include "runtime/agent/inproc/control.h"
#include "runtime/agent/inproc/fork.h"
#include "runtime/agent/inproc/interpose.h"
#include "runtime/agent/inproc/lifecycle.h"
#include "runtime/agent/inproc/proc.h"
#include "runtime/agent/inproc/readers.h"
#include "runtime/agent/inproc/scan.h"
#include "runtime/agent/inproc/state-dir.h"
#include "runtime/agent/inproc/thread.h"

struct agent agent = { .key = -1 };

static bool listen_requested(void)
{
	const char *text = secure_getenv("PROBEPOINT_LISTEN");

	return text && !strcmp(text, "1");
}

/* Returns whether a session has a point for this process. */
static bool process_is_wanted(void)
{
	int store = state_dir_find();
	bool wanted;

	if (store < 0)
		return false;
	agent.begins = true;
	agent.pid = getpid();
	agent.start_time = process_start_time(0);
	wanted = sessions_concern_process(store);
	agent.begins = false;
	close(store);
	return wanted;
}

__attribute__((constructor)) static void agent_load(void)
{
	bool wanted;

	if (getauxval(AT_SECURE) || !thread_prepare(agent_thread_run)) {
		thread_close();
		return;
	}
	state_dir_remember(secure_getenv("XDG_RUNTIME_DIR"));
	interpose_begin();
	agent.not_interposed = !interpose_works();
	calls_init();
	agent.nthreads = dlvsym(RTLD_DEFAULT, "__nptl_nthreads", "GLIBC_PRIVATE");
	agent.heap_end = dlsym(RTLD_DEFAULT, "__curbrk");
	lifecycle.listens = listen_requested();
	if (pthread_atfork(fork_before, fork_after_parent, fork_after_child)) {
		thread_close();
		return;
	}
	wanted = process_is_wanted() || lifecycle.listens;
	thread_open();
	if (wanted && agent_start(true)) {
		word_wait_until(&lifecycle.ready, 1, 2000);
		readers_wait();
		if (!change_active() && !lifecycle.listens)
			thread_wait_gone(1000);
	}
}

static void sessions_end(void)
{
	int store = state_dir_open(false);

	if (store < 0)
		return;
	sessions_leave(store);
	control_close(store);
	close(store);
}

__attribute__((destructor)) static void agent_unload(void)
{
	if (lifecycle.begun && !calls_sealed() && agent.pid == (uint32_t)getpid() && lock_try(&agent.lock, 500)) {
		lifecycle.ended = true;
		sessions_end();
		lock_put(&agent.lock);
	}
}
