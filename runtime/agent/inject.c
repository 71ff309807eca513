/* SPDX-License-Identifier: MIT */
/*
 * Loads the agent into a process that runs without it, on request only: ptrace(2) stops a thread of the process, the
 * thread calls dlopen(3) and continues as before (tracee.c).
 *
 * The thread must not be inside malloc or the dynamic loader: it would take their locks a second time and find their
 * data in the middle of a change. (Other threads may be inside: they run on and release their locks.) A thread is used
 *
 *  1. if it sleeps in a system call that neither of them makes, such as poll(2), and is not in a signal handler; or
 *  2. if a search of its stack finds no return address into them (inject-scan.c), unless another image than the C
 *     library defines malloc (inject-libc.c).
 *
 * If no thread can be used, the search is repeated until the time is up.
 *
 * The process can call exec(2) at any moment until a thread is stopped. Then all that is known about the process is
 * wrong. So the mappings of the C library and of the loader are compared again while the thread is stopped. If they
 * have changed, the search begins again.
 */

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <probepoint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "runtime/agent/inject-parts.h"
#include "runtime/agent/reach.h"
#include "runtime/agent/sleepers.h"
#include "runtime/agent/wake.h"

#ifdef TRACEE_SUPPORTED

#define CHOOSE_NS 5000000000ull /* time to find a thread that can be used */
#define CALL_NS 5000000000ull   /* time for dlopen() */
#define START_NS 2000000000ull  /* time for a process that is just starting */

static int inject_fail_ended(const struct inject *t)
{
	return error_set(ESRCH, "pid %d: the process has ended", t->pid);
}

/* ---- choosing a thread ---- */

static int inject_fail_choose(const struct inject *t, int err)
{
	if (err == -EPERM)
		return error_set(
			EPERM,
			"pid %d: cannot trace the process: a debugger is attached, or CAP_SYS_PTRACE is needed "
			"(see kernel.yama.ptrace_scope)",
			t->pid);
	if (err == -ETIMEDOUT)
		return error_set(EBUSY, "pid %d: thread %d is in an uninterruptible sleep; try again", t->pid,
		                 t->thread.tid);
	if (err == -EAGAIN)
		return error_set(EBUSY, "pid %d: a thread is in an uninterruptible sleep; try again", t->pid);
	if (err == -EBUSY)
		return error_set(
			EBUSY,
			"pid %d: the threads wait for a CPU, so it is not known which system calls they are about "
			"to make; try again",
			t->pid);
	if (err == -EINPROGRESS)
		return error_set(
			EBUSY,
			"pid %d: a thread is in a write or another system call that would return early, and no "
			"other thread can load the agent now; try again",
			t->pid);
	return error_set(
		EBUSY,
		"pid %d: every thread is in the middle of malloc or of loading a library, or on the stack of a "
		"coroutine or a signal handler%s; try again",
		t->pid, t->other_malloc ? ", or runs in a process that has its own malloc" : "");
}

/*
 * Tries all threads once. Returns 1 if one was stopped that can be used, -ENOENT if the process has ended, -ESTALE if
 * it has called exec(2) since inject_find_libc(), -EPERM or -ETIMEDOUT of tracee_hold(), or else -EINPROGRESS if it was
 * the error of a thread, 0 if a thread was stopped and is busy, -EAGAIN if a thread is in an uninterruptible sleep, or
 * -EBUSY.
 */
static int inject_try_all(struct inject *t)
{
	int err = 0, got = -EBUSY;
	char path[32];
	bool found;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/task", t->pid);
	d = opendir(path);
	if (!d)
		return -ENOENT;
	for (struct dirent *entry; (entry = readdir(d));) {
		pid_t tid = (pid_t)strtol(entry->d_name, NULL, 10);

		if (tid <= 0 || (tid == t->pid && process_thread(tid) != tid)) /* the first thread has ended */
			continue;
		err = tracee_hold(&t->thread, t->pid, tid);
		found = err ? false : inject_may_use(t);
		if (found && inject_is_current(t)) {
			closedir(d);
			return 1;
		}
		tracee_release(&t->thread);
		if (found) {
			got = -ESTALE;
			break;
		}
		if (err == -EPERM || err == -ETIMEDOUT) {
			got = err;
			break;
		}
		if (err == -EINPROGRESS || (got == -EBUSY && (!err || err == -EAGAIN)))
			got = err;
	}
	closedir(d);
	return got;
}

/*
 * Calls fn until it returns 0, or returns an error and the process has not called exec(2) meanwhile. After exec(2) the
 * error can be wrong, because the kernel makes the mappings and the environment of a program one after the other.
 * Returns -EAGAIN if the process is still starting after START_NS.
 */
static int inject_while_started(struct inject *t, int (*fn)(struct inject *t))
{
	uint64_t until = clock_ns() + START_NS;

	for (;;) {
		uint64_t program = inject_program(t->pid);
		int err = fn(t);

		/* inject_program() returns 0 if this user may not read the process. */
		if (!err || err == -EPERM || (err != -EAGAIN && program && inject_program(t->pid) == program))
			return err;
		if (!process_start_time(t->pid))
			return inject_fail_ended(t);
		if (clock_ns() > until)
			return err == -EAGAIN
			               ? err
			               : error_set(EAGAIN,
			                           "pid %d: the process executes one program after another; try again",
			                           t->pid);
		nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
	}
}

static int inject_read(struct inject *t)
{
	return process_read_maps(t->process) ? inject_fail_ended(t) : inject_find_libc(t);
}

/*
 * Reads the mappings of the process and finds its C library. If the process is just starting, waits until it has loaded
 * its C library.
 */
static int inject_find_started(struct inject *t)
{
	return inject_while_started(t, inject_read);
}

/* Stops a thread that can be used. */
static int inject_choose(struct inject *t)
{
	uint64_t until = clock_ns() + CHOOSE_NS;
	int got, seen = -EBUSY; /* seen: the last result that says what a thread does */

	do {
		got = inject_try_all(t);
		if (got == 1)
			return 0;
		if (got != -EBUSY)
			seen = got;
		if (got == -ENOENT)
			return inject_fail_ended(t);
		if (got == -EPERM || got == -ETIMEDOUT)
			break;
		nanosleep(&(struct timespec){ .tv_nsec = 7000000 }, NULL);
		if (!inject_is_current(t)) {
			int err = inject_find_started(t);

			if (err)
				return err;
		}
	} while (clock_ns() < until);
	return inject_fail_choose(t, seen);
}

/* ---- the call ---- */

/*
 * Returns the address of the thread's errno, which dlopen() may set though the program did not call it; 0: not known.
 */
static uint64_t inject_errno_address(const struct inject *t)
{
	return t->errno_offset ? tracee_thread_pointer(&t->thread) + t->errno_offset : 0;
}

/* Calls dlerror(). */
static void inject_read_dlerror(struct inject *t, char *text, size_t size)
{
	struct tracee_call call = { .function = t->dlerror,
		                    .restorer = t->restorer,
		                    .result_stub = t->result_stub,
		                    .stub_words = t->stub_words };
	uint64_t at = 0;

	if (!t->result_stub || tracee_call(&t->thread, &call, CALL_NS, &at) || !at)
		return;
	for (size_t i = 0; i + 1 < size && !process_read(t->process, at + i, &text[i], 1) && text[i]; i++)
		text[i + 1] = 0;
}

static int inject_load(struct inject *t)
{
	struct tracee_call call = {
		.function = t->dlopen, .text = t->library, .second = RTLD_NOW, .restorer = t->restorer
	};
	char text[200] = "";
	uint64_t errno_at = inject_errno_address(t);
	int errno_before = 0, err;

	if (errno_at && process_read(t->process, errno_at, &errno_before, sizeof(errno_before)))
		errno_at = 0;
	err = tracee_call(&t->thread, &call, CALL_NS, NULL);
	if (err == -ETIMEDOUT)
		return error_set(
			ETIMEDOUT,
			"pid %d: loading the agent has not finished after %llu seconds; it continues; try again "
			"later",
			t->pid, CALL_NS / 1000000000);
	if (err == -ESRCH)
		return inject_fail_ended(t);
	if (err == -ENOMEM)
		return error_set(ENOMEM,
		                 "pid %d: the stack of thread %d has no room for loading the agent now; try again",
		                 t->pid, t->thread.tid);
	if (err == -EFAULT)
		return error_set(
			EFAULT,
			"pid %d: loading the agent caused a fault in thread %d, which continues as before; see "
			"whether a program can load the agent with LD_PRELOAD",
			t->pid, t->thread.tid);
	if (err)
		return error_set(-err, "pid %d: cannot load the agent: %s", t->pid, strerror(-err));
	if (!agent_is_mapped(t->pid)) {
		inject_read_dlerror(t, text, sizeof(text));
		err = error_set(ELIBACC, "pid %d: cannot load the agent: %s", t->pid,
		                *text ? text
		                      : "dlopen() failed, and its reason cannot be read from this C library; see "
		                        "whether a program can load it with LD_PRELOAD");
	}
	if (errno_at)
		tracee_write(&t->thread, errno_at, &errno_before, sizeof(errno_before));
	return err;
}

static int inject_choose_and_load(void *arg)
{
	struct inject *t = arg;
	int err = inject_choose(t);

	if (err)
		return err;
	t->program = inject_program(t->pid);
	err = inject_load(t);
	tracee_release(&t->thread);
	return err;
}

/* ---- what is refused at once ---- */

static int inject_check_threads(pid_t pid)
{
	char path[64], line[256];
	int filters = 0;
	bool has_shadow_stack = false;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/status", pid, process_thread(pid));
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f)) {
		sscanf(line, "Seccomp: %d", &filters);
		has_shadow_stack |= !strncmp(line, "x86_Thread_features:", 20) && strstr(line, "shstk");
	}
	if (f)
		fclose(f);
	if (has_shadow_stack)
		return error_set(EOPNOTSUPP,
		                 "pid %d: the process has a shadow stack, which does not permit calls from outside",
		                 pid);
	if (filters)
		return error_set(
			EPERM, "pid %d: the process has a seccomp filter, which loading the agent could violate", pid);
	return 0;
}

static int inject_check(pid_t pid, const char *library)
{
	char path[PATH_MAX + 32];
	struct stat theirs, ours;

	snprintf(path, sizeof(path), "/proc/%d", pid);
	if (stat(path, &ours))
		return error_set(ESRCH, "pid %d: no such process", pid);
	if (ours.st_uid != geteuid())
		return error_set(EPERM, "pid %d: the process belongs to uid %u: agents reply only to their own user",
		                 pid, ours.st_uid);
	if (process_is_in_vfork(pid))
		return wake_fail_vfork(pid);
	snprintf(path, sizeof(path), "/proc/%d/task/%d/root%s", pid, process_thread(pid), library);
	if (stat(library, &ours) || stat(path, &theirs) || ours.st_ino != theirs.st_ino || ours.st_dev != theirs.st_dev)
		return error_set(
			ENOENT, "pid %d: the process does not see '%s': it has another root directory%s", pid, library,
			agent_other_namespace(pid) ? " (a container); run this command inside, or use -b kernel" : "");
	return inject_check_threads(pid);
}

static int inject_check_all(struct inject *t)
{
	int err = inject_check(t->pid, t->library);

	return err ? err : agent_check_reach(t->dir, t->pid);
}

static int inject_run(struct inject *t)
{
	int err = inject_while_started(t, inject_check_all);

	if (err)
		return err;
	err = process_open(t->pid, &t->process);
	if (err)
		return err;
	err = inject_find_started(t);
	if (err)
		return err;
	return tracee_run(inject_choose_and_load, t);
}

/* Loads the agent, and waits for its socket. */
static int inject_and_connect(const struct agent_dir *dir, pid_t pid, const char *library)
{
	struct inject *t = calloc(1, sizeof(*t));
	struct agent_peer peer;
	uint64_t program;
	int err;

	if (!t)
		return error_nomem();
	t->pid = pid;
	t->library = library;
	t->dir = dir;
	err = inject_run(t);
	program = t->program;
	process_free(t->process);
	free(t->libc_code);
	free(t);
	if (err)
		return err;
	/* Nothing is armed yet, so the agent sleeps until it is woken. */
	err = agent_wake_and_connect(dir, pid, &peer);
	if (!err)
		agent_disconnect(&peer);
	if (err && err != -ESRCH && inject_program(pid) != program)
		return error_set(
			EAGAIN,
			"pid %d: the agent was loaded, but the process has executed another program since; try "
			"again",
			pid);
	if (err == -ENOENT)
		return error_set(
			ENOENT,
			"pid %d: the agent was loaded, but has no socket in '%s': XDG_RUNTIME_DIR may differ there",
			pid, dir->path);
	return err;
}

int pp_agent_inject(pid_t pid, const char *library)
{
	struct agent_dir dir = AGENT_DIR_CLOSED;
	struct agent_peer peer;
	int err = agent_dir_open(&dir, NULL, true);

	if (err)
		return err;
	if (!agent_wake_and_connect(&dir, pid, &peer)) /* the process has an agent */
		agent_disconnect(&peer);
	else
		err = inject_and_connect(&dir, pid, library);
	agent_dir_close(&dir);
	return err;
}

#else

int pp_agent_inject(pid_t pid, const char *library)
{
	(void)library;
	return error_set(EOPNOTSUPP, "pid %d: the agent cannot be loaded into a running process on this CPU", pid);
}

#endif
