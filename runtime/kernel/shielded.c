/* SPDX-License-Identifier: MIT */
#include "runtime/kernel/shielded.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define STACK_SIZE (64 << 10)

struct shielded_call {
	int (*fn)(void *arg);
	void *arg;
	int result;
};

static int shielded_main(void *arg)
{
	struct shielded_call *call = arg;

	/* Signals to the command's process group, and pkill(1) with its name, must not kill this process. */
	setsid();
	prctl(PR_SET_NAME, "probe-aside");
	call->result = call->fn(call->arg);
	return 0;
}

int run_shielded(int (*fn)(void *arg), void *arg)
{
	struct shielded_call call = { .fn = fn, .arg = arg };
	char *stack = mmap(NULL, STACK_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
	sigset_t all, before;
	int pid = -1;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &before); /* the helper inherits the mask */
	if (stack != MAP_FAILED)
		pid = clone(shielded_main, stack + STACK_SIZE, CLONE_VM | CLONE_FILES | CLONE_FS | CLONE_VFORK, &call);
	if (pid < 0)
		shielded_main(&call);
	while (pid >= 0 && waitpid(pid, NULL, __WCLONE) < 0 && errno == EINTR)
		;
	sigprocmask(SIG_SETMASK, &before, NULL);
	if (stack != MAP_FAILED)
		munmap(stack, STACK_SIZE);
	return call.result;
}
