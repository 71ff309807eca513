/* SPDX-License-Identifier: MIT */
/*
 * Wakes an agent: a thread of the process, stopped by ptrace(2), calls the stub of the wake entry, which makes the
 * agent's thread by one clone(2) and does nothing if that thread exists. Then the thread continues (tracee.c).
 *
 *  1. The stub takes no lock, needs no library and has its stack in the agent's memory. So it does not matter where the
 *     thread was stopped, except in a restartable sequence.
 *  2. A thread with a seccomp filter is not used, because the new thread would inherit the filter. A thread with a
 *     shadow stack is not used, because that does not know the call.
 *  3. Only one controller at a time may use the agent's memory for the stack. Controllers exclude each other by
 *     flock(2) on the process's memory in /proc, which only those who may trace the process can open.
 *  4. A child of vfork(2) is not used. The agent's thread would belong to the child, arm the memory of the parent, and
 *     end with the child's exec(2).
 *  5. If a controller is killed, the thread returns without it. The wake entry says which thread it was, and the next
 *     controller makes sure that this thread has left the stub.
 */
#include "runtime/agent/wake.h"

#include "runtime/agent/client.h"
#include "runtime/agent/tracee.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"

#ifdef TRACEE_SUPPORTED

#define CHOOSE_NS 2000000000ull /* time to find a thread that can be used */
#define CALL_NS 2000000000ull   /* time for the stub */

struct waker {
	struct process *process;
	uint64_t at; /* of the entry */
	struct agent_wake_entry entry;
	struct tracee thread;
};

static int wake_fail_ended(pid_t pid)
{
	return error_set(ESRCH, "pid %d: the process has ended", pid);
}

/* Returns a descriptor that holds the lock until it is closed, or a negative errno. */
static int wake_lock(const struct process *process)
{
	uint64_t until = clock_ns() + CHOOSE_NS;
	pid_t pid = process->pid;
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/mem", pid, process->tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == EACCES || errno == EPERM ? wake_fail_trace(pid) : wake_fail_ended(pid);
	while (flock(fd, LOCK_EX | LOCK_NB)) {
		if (clock_ns() > until) {
			close(fd);
			return error_set(EBUSY, "pid %d: another command is waking the agent; try again", pid);
		}
		nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
	}
	return fd;
}

/* ---- choosing a thread ---- */

static bool waker_is_in_stub(const struct waker *w)
{
	uint64_t pc = tracee_pc(&w->thread);

	return pc >= w->entry.stub && pc < w->entry.stub_end;
}

struct thread_facts {
	int filters; /* seccomp mode */
	char state;
	bool has_shadow_stack;
};

static struct thread_facts thread_read_facts(pid_t pid, pid_t tid)
{
	struct thread_facts facts = { 0, 0, false };
	char path[64], line[256];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/status", pid, tid);
	f = fopen(path, "re");
	if (!f)
		return facts;
	while (fgets(line, sizeof(line), f)) {
		sscanf(line, "State: %c", &facts.state);
		sscanf(line, "Seccomp: %d", &facts.filters);
		facts.has_shadow_stack |= !strncmp(line, "x86_Thread_features:", 20) && strstr(line, "shstk");
	}
	fclose(f);
	return facts;
}

static bool thread_exists(pid_t pid, uint32_t tid)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/task/%u", pid, tid);
	return !access(path, F_OK);
}

/* One pass over the threads: how many have a filter, a shadow stack, or neither; the last error of tracee_hold(). */
struct thread_pass {
	unsigned filtered, shadowed, others;
	int err;
};

/* Stops the thread if it can be used. */
static bool waker_try_thread(struct waker *w, pid_t tid, struct thread_pass *pass)
{
	struct thread_facts facts = thread_read_facts(w->process->pid, tid);

	pass->filtered += facts.filters != 0;
	pass->shadowed += facts.has_shadow_stack;
	if (facts.filters || facts.has_shadow_stack || facts.state == 'Z' || facts.state == 'X' || !facts.state)
		return false;
	pass->others++;
	pass->err = tracee_hold(&w->thread, w->process->pid, tid);
	if (!pass->err && tracee_is_native(&w->thread) && !waker_is_in_stub(w) && !tracee_is_restartable(&w->thread))
		return true;
	tracee_release(&w->thread);
	return false;
}

static bool pass_is_final(const struct thread_pass *pass)
{
	return pass->err == -EPERM || pass->err == -ETIMEDOUT;
}

/* Tries all threads, or only the thread `only` if it is not 0. Returns whether one was stopped. */
static bool waker_try_all(struct waker *w, uint32_t only, struct thread_pass *pass)
{
	char path[32];
	bool found = false;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/task", w->process->pid);
	d = opendir(path);
	if (!d)
		return false;
	for (struct dirent *entry; !found && !pass_is_final(pass) && (entry = readdir(d));) {
		pid_t tid = (pid_t)strtol(entry->d_name, NULL, 10);

		if (tid > 0 && (uint32_t)tid != w->entry.tid && (!only || (uint32_t)tid == only))
			found = waker_try_thread(w, tid, pass);
	}
	closedir(d);
	return found;
}

static int waker_fail_choose(const struct waker *w, const struct thread_pass *pass)
{
	pid_t pid = w->process->pid;

	if (pass->err == -EPERM)
		return wake_fail_trace(pid);
	if (pass->err == -EINPROGRESS)
		return error_set(
			EBUSY,
			"pid %d: the agent sleeps, and each thread that could wake it is in a write or another "
			"system call that would return early; try again",
			pid);
	if (pass->others)
		return error_set(EBUSY, "pid %d: the agent sleeps, and no thread can be stopped now; try again", pid);
	if (pass->filtered)
		return error_set(
			EPERM,
			"pid %d: the agent sleeps, and each thread has a seccomp filter, which waking it could "
			"violate; start the process by -b agent -- COMMAND",
			pid);
	if (pass->shadowed)
		return error_set(EOPNOTSUPP,
		                 "pid %d: the agent sleeps, and each thread has a shadow stack, which does not permit "
		                 "calls from outside; start the process by -b agent -- COMMAND",
		                 pid);
	return wake_fail_ended(pid);
}

/*
 * Stops a thread that can be used. If a controller that was killed made a thread call the stub, only that thread can be
 * used, and only after it has left the stub, because until then it may need the agent's memory.
 */
static int waker_choose(struct waker *w)
{
	uint64_t until = clock_ns() + CHOOSE_NS;
	pid_t pid = w->process->pid;
	uint32_t only = thread_exists(pid, w->entry.waker) ? w->entry.waker : 0;
	struct thread_pass pass;

	do {
		pass = (struct thread_pass){ 0 };
		if (waker_try_all(w, only, &pass))
			return 0;
		if (pass_is_final(&pass) || !pass.others)
			break;
		nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
		if (only && !thread_exists(pid, only))
			only = 0;
	} while (clock_ns() < until);
	return waker_fail_choose(w, &pass);
}

/* ---- the call ---- */

static int waker_put_word(const struct waker *w, size_t offset, uint32_t word)
{
	return tracee_write(&w->thread, w->at + offset, &word, sizeof(word));
}

/* Refuses a child that was forked without the C library: its entry has the tid of a thread that its parent has. */
static int waker_check_thread(const struct waker *w)
{
	struct agent_wake_entry now;

	if (!w->entry.tid || w->entry.tid == AGENT_WAKE_THREAD_CLAIMED || thread_exists(w->process->pid, w->entry.tid))
		return 0;
	/* A thread that ends clears the word first. */
	if (process_read(w->process, w->at, &now, sizeof(now)) || now.tid != w->entry.tid)
		return 0;
	return error_set(EOPNOTSUPP, "pid %d: %s", w->process->pid, agent_reason_text(AGENT_FORKED, NULL));
}

static int waker_call_stub(struct waker *w)
{
	struct tracee_call call = { .function = w->entry.stub, .restorer = w->entry.restorer, .stack = w->entry.image };
	pid_t pid = w->process->pid;
	int err;

	waker_put_word(w, offsetof(struct agent_wake_entry, error), 0);
	err = waker_put_word(w, offsetof(struct agent_wake_entry, waker), (uint32_t)w->thread.tid);
	if (!err)
		err = tracee_call(&w->thread, &call, CALL_NS, NULL);
	if (!err)
		err = process_read(w->process, w->at, &w->entry, sizeof(w->entry)) ? -ESRCH : 0;
	if (err == -ESRCH)
		return wake_fail_ended(pid);
	if (err)
		return error_set(-err, "pid %d: cannot wake the agent: %s", pid, strerror(-err));
	if (w->entry.error < 0 && w->entry.error > -4096)
		return error_set(-w->entry.error, "pid %d: cannot wake the agent: clone(2): %s", pid,
		                 strerror(-w->entry.error));
	return 0;
}

/*
 * Returns whether the entry is still there. The process could call exec(2) until the thread was stopped. Then it has
 * other memory at these addresses.
 */
static bool waker_is_current(const struct waker *w)
{
	struct agent_wake_entry now;

	return !process_read(w->process, w->at, &now, sizeof(now)) && now.magic == AGENT_WAKE_MAGIC &&
	       now.self == w->at && now.stub == w->entry.stub && now.stub_end == w->entry.stub_end &&
	       now.image == w->entry.image && now.restorer == w->entry.restorer;
}

static int waker_run(void *arg)
{
	struct waker *w = arg;
	pid_t pid = w->process->pid;
	int err = process_is_in_vfork(pid) ? wake_fail_vfork(pid) : waker_check_thread(w);

	if (err || w->entry.tid)
		return err;
	if (w->entry.closed)
		return error_set(
			EPERM,
			"pid %d: the process runs with other privileges than its caller's, so its agent sleeps "
			"forever",
			pid);
	if (!w->entry.stack)
		return error_set(EAGAIN, "pid %d: the process is just starting and its agent is not ready; try again",
		                 pid);
	if (process_is_stopped(pid))
		return error_set(ETIMEDOUT, "pid %d: the process is stopped, so its agent does not reply", pid);
	err = waker_choose(w);
	if (err)
		return err;
	if (waker_is_current(w))
		err = waker_call_stub(w);
	else
		err = error_set(EAGAIN, "pid %d: the process is just starting another program; try again", pid);
	tracee_release(&w->thread);
	return err;
}

int wake_call(struct process *process)
{
	struct waker *w;
	int lock, err;

	w = calloc(1, sizeof(*w));
	if (!w)
		return error_nomem();
	w->process = process;
	err = wake_entry_find(process, &w->at, &w->entry);
	if (err)
		goto out;
	lock = wake_lock(process);
	if (lock < 0) {
		err = lock;
		goto out;
	}
	/* Another controller may have changed the entry before this one took the lock. */
	err = wake_entry_find(process, &w->at, &w->entry);
	if (!err)
		err = tracee_run(waker_run, w);
	close(lock);
out:
	free(w);
	return err;
}

#else

int wake_call(struct process *process)
{
	struct agent_wake_entry entry;
	uint64_t at;
	int err = wake_entry_find(process, &at, &entry);

	if (err || entry.tid)
		return err;
	return error_set(EOPNOTSUPP,
	                 "pid %d: the agent sleeps, and cannot be woken from outside on this CPU; start the process by "
	                 "-b agent -- COMMAND, or with PROBEPOINT_LISTEN=1 in its environment",
	                 process->pid);
}

#endif
