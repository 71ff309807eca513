/* SPDX-License-Identifier: MIT */
#include "runtime/kernel/shielded.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#define STACK (64 << 10)

struct call {
	int (*fn)(void *arg);
	void *arg;
	int result;
};

static int run(void *arg)
{
	struct call *call = arg;

	/*
	 * A name of its own, so that pkill(1) of the command's name does not kill this process in the middle. The kernel
	 * leaves a trap in the text if a process is killed while it unregisters the uprobe.
	 */
	prctl(PR_SET_NAME, "probe-aside");
	call->result = call->fn(call->arg);
	return 0;
}

int aside(int (*fn)(void *arg), void *arg)
{
	struct call call = { .fn = fn, .arg = arg };
	char *stack = mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
	sigset_t all, before;
	int pid = -1;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &before); /* also of the other, which inherits it */
	if (stack != MAP_FAILED)
		pid = clone(run, stack + STACK, CLONE_VM | CLONE_FILES | CLONE_FS | CLONE_VFORK, &call);
	if (pid < 0)
		run(&call);
	while (pid >= 0 && waitpid(pid, NULL, __WCLONE) < 0 && errno == EINTR)
		;
	sigprocmask(SIG_SETMASK, &before, NULL);
	if (stack != MAP_FAILED)
		munmap(stack, STACK);
	return call.result;
}
