/* SPDX-License-Identifier: MIT */
/*
 * Waking an agent. The library has a note that leads to its door, struct agent_wake_entry:
 * there is a function, the stub, which makes the agent's thread by one clone(2) and
 * does nothing where there is one. A thread of the process is held by ptrace(2), calls
 * the stub, and goes back to what it did (tracee.c).
 *
 * The stub takes no lock, needs no library and has its stack in the agent's memory, so
 * it does not matter where the thread was stopped, short of a restartable sequence.
 * A thread with a filter of system calls is not used: the new one would inherit it.
 *
 * Only one may be at it at a time, since that memory is one. Controllers keep each
 * other out by flock(2) on the process's memory in /proc, which nobody opens who may
 * not trace it. One that was killed leaves the thread to come back by itself; the
 * door says which it was, and the next controller sees that it is out of the stub.
 *
 * All that is read from the process is its own word. Addresses are used to write to
 * its own memory only, and to set its own registers.
 */
#include "runtime/agent/wake.h"

#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "runtime/agent/session.h"
#include "runtime/agent/tracee.h"
#include "base/clock.h"
#include "runtime/process.h"
#include "base/error.h"

#define NAME "probepoint-agent"
#define TRY_NS 2000000000ull  /* until a thread is found that will do */
#define CALL_NS 2000000000ull /* until it has made the other */
#define HEADERS_MAX 64
#define NOTES_MAX 4096

/* ---- finding it ---- */

static bool is_library(const struct mapping *m)
{
	const char *base = strrchr(m->path, '/');

	return m->inode && base && strstr(base, NAME);
}

static bool is_mapped(const struct process *process)
{
	for (size_t i = 0; i < process->nmaps; i++)
		if (is_library(&process->maps[i]))
			return true;
	return false;
}

/* Agents answer to their own user. */
static bool is_ours(pid_t pid)
{
	char path[32];
	struct stat st;

	snprintf(path, sizeof(path), "/proc/%d", pid);
	return !stat(path, &st) && st.st_uid == geteuid();
}

bool agent_is_mapped(pid_t pid)
{
	struct process *process;
	bool mapped;

	if (process_open(pid, &process))
		return false;
	mapped = !process_read_maps(process) && is_mapped(process);
	process_free(process);
	return mapped;
}

int agent_each_mapped(int (*fn)(pid_t pid, void *arg), void *arg)
{
	DIR *d = opendir("/proc");
	int err = 0;

	for (struct dirent *entry; d && !err && (entry = readdir(d));) {
		pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);

		if (pid > 0 && pid != getpid() && is_ours(pid) && agent_is_mapped(pid))
			err = fn(pid, arg);
	}
	if (d)
		closedir(d);
	return err;
}

/* Where the door is, by a library's note: 0 where it has none. */
static uint64_t door_of(const struct process *process, const struct mapping *m)
{
	Elf64_Phdr headers[HEADERS_MAX];
	unsigned char notes[NOTES_MAX];
	uint64_t base = m->start;
	Elf64_Ehdr h;

	if (process_read(process, base, &h, sizeof(h)) || memcmp(h.e_ident, ELFMAG, SELFMAG) ||
	    h.e_ident[EI_CLASS] != ELFCLASS64 || h.e_phentsize != sizeof(*headers) || h.e_phnum > HEADERS_MAX ||
	    process_read(process, base + h.e_phoff, headers, h.e_phnum * sizeof(*headers)))
		return 0;
	for (unsigned i = 0; i < h.e_phnum; i++) {
		uint64_t size = headers[i].p_filesz;

		if (headers[i].p_type != PT_NOTE || size > sizeof(notes) ||
		    process_read(process, base + headers[i].p_vaddr, notes, size))
			continue;
		for (uint64_t at = 0; size - at >= sizeof(Elf64_Nhdr) && at < size;) {
			const Elf64_Nhdr *note = (const Elf64_Nhdr *)(notes + at);
			uint64_t name = at + sizeof(*note), manifest = name + ((note->n_namesz + 3ull) & ~3ull);
			uint64_t next = manifest + ((note->n_descsz + 3ull) & ~3ull);
			int64_t behind;

			if (next > size)
				break;
			if (note->n_type == AGENT_NOTE_WAKE && note->n_namesz == sizeof("probepoint") &&
			    !memcmp(notes + name, "probepoint", sizeof("probepoint")) &&
			    note->n_descsz == sizeof(behind)) {
				memcpy(&behind, notes + manifest, sizeof(behind));
				return base + headers[i].p_vaddr + manifest + (uint64_t)behind;
			}
			at = (next + 7) & ~7ull;
			if (headers[i].p_align < 8)
				at = next;
		}
	}
	return 0;
}

static int cannot_trace(pid_t pid)
{
	return error_set(EPERM,
	                 "process %d: its agent sleeps, and this user may not wake it: ptrace(2) of it is forbidden "
	                 "(kernel.yama.ptrace_scope, or a debugger is there); start the process by -b agent -- "
	                 "COMMAND, or with PROBEPOINT_LISTEN=1 in its environment",
	                 pid);
}

/* 0, and the door with where it is; -ENOENT: there is none. */
static int find_door(const struct process *process, uint64_t *at, struct agent_wake_entry *door)
{
	bool named = false;

	for (size_t i = 0; i < process->nmaps; i++) {
		const struct mapping *m = &process->maps[i];
		int err;

		if (m->offset || !is_library(m))
			continue;
		named = true;
		*at = door_of(process, m);
		err = *at ? process_read(process, *at, door, sizeof(*door)) : -ENOENT;
		if (!err && door->magic == AGENT_WAKE_MAGIC && door->self == *at) {
			if (door->version != AGENT_VERSION || door->image_size < TRACEE_IMAGE_MAX)
				return error_set(EPROTO,
				                 "process %d: its agent is of another version than this command",
				                 process->pid);
			return 0;
		}
	}
	if (named) {
		char byte = 0;

		for (size_t i = 0; i < process->nmaps; i++)
			if (is_library(&process->maps[i]) &&
			    process_read(process, process->maps[i].start, &byte, 1) == -EPERM)
				return cannot_trace(process->pid);
	}
	return named ? error_set(EAGAIN, "process %d is just beginning: its agent is not ready", process->pid)
	             : -ENOENT;
}

#ifdef __x86_64__

/* ---- one at a time ---- */

static int lock_process(const struct process *process)
{
	uint64_t until = clock_ns() + TRY_NS;
	pid_t pid = process->pid;
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/mem", pid, process->tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == EACCES || errno == EPERM ? cannot_trace(pid)
		                                         : error_set(ESRCH, "process %d has ended", pid);
	while (flock(fd, LOCK_EX | LOCK_NB)) {
		if (clock_ns() > until) {
			close(fd);
			return error_set(EBUSY, "another command is waking the agent of process %d: try again", pid);
		}
		nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
	}
	return fd;
}

/* ---- the thread that does it ---- */

struct waking {
	struct process *process;
	uint64_t at;
	struct agent_wake_entry door;
	struct tracee thread;
};

static bool in_stub(const struct waking *w)
{
	return w->thread.regs.rip >= w->door.stub && w->thread.regs.rip < w->door.stub_end;
}

struct about {
	int filters;
	char state;
	bool shadow;
};

static struct about about_thread(pid_t pid, pid_t tid)
{
	struct about about = { 0, 0, false };
	char path[64], line[256];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/status", pid, tid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f)) {
		sscanf(line, "State: %c", &about.state);
		sscanf(line, "Seccomp: %d", &about.filters);
		about.shadow |= !strncmp(line, "x86_Thread_features:", 20) && strstr(line, "shstk");
	}
	if (f)
		fclose(f);
	return about;
}

static bool thread_exists(pid_t pid, uint32_t tid)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/task/%u", pid, tid);
	return !access(path, F_OK);
}

/* Of this pass over the threads. */
struct pass {
	unsigned filtered, shadowed, others;
	int err;
};

/* Holds the thread where it may do it. */
static bool try_thread(struct waking *w, pid_t tid, struct pass *pass)
{
	struct about about = about_thread(w->process->pid, tid);

	pass->filtered += about.filters != 0;
	pass->shadowed += about.shadow;
	if (about.filters || about.shadow || about.state == 'Z' || about.state == 'X' || !about.state)
		return false;
	pass->others++;
	pass->err = tracee_hold(&w->thread, w->process->pid, tid);
	if (!pass->err && w->thread.regs.cs == 0x33 && !in_stub(w) && !tracee_is_restartable(&w->thread))
		return true;
	tracee_let_go(&w->thread);
	return false;
}

static int why_not(const struct waking *w, const struct pass *pass)
{
	pid_t pid = w->process->pid;

	if (pass->err == -EPERM)
		return cannot_trace(pid);
	if (pass->err == -EINPROGRESS)
		return error_set(
			EBUSY,
			"process %d: its agent sleeps, and each thread that could wake it is in a write or another "
			"system call that would return early: try again",
			pid);
	if (pass->others)
		return error_set(EBUSY, "no thread of process %d can be stopped now: try again", pid);
	if (pass->filtered)
		return error_set(
			EPERM,
			"process %d: its agent sleeps, and each of its threads has a filter of system calls, which "
			"waking it might offend: start the process by -b agent -- COMMAND",
			pid);
	if (pass->shadowed)
		return error_set(
			EOPNOTSUPP,
			"process %d: its agent sleeps, and its threads have a shadow stack, which knows nothing "
			"of a call made from outside: start the process by -b agent -- COMMAND",
			pid);
	return error_set(ESRCH, "process %d has ended", pid);
}

/*
 * Any thread will do, but where one was made to call the stub by a controller that was
 * killed, that one has to be out of it: it may yet need the memory.
 */
static int choose(struct waking *w)
{
	uint64_t until = clock_ns() + TRY_NS;
	uint32_t last = thread_exists(w->process->pid, w->door.waker) ? w->door.waker : 0;
	struct pass pass;
	char path[32];

	snprintf(path, sizeof(path), "/proc/%d/task", w->process->pid);
	do {
		DIR *d = opendir(path);

		pass = (struct pass){ 0 };
		for (struct dirent *entry; d && (entry = readdir(d));) {
			pid_t tid = (pid_t)strtol(entry->d_name, NULL, 10);

			if (tid <= 0 || (uint32_t)tid == w->door.tid || (last && (uint32_t)tid != last))
				continue;
			if (try_thread(w, tid, &pass)) {
				closedir(d);
				return 0;
			}
			if (pass.err == -EPERM || pass.err == -ETIMEDOUT)
				break;
		}
		if (d)
			closedir(d);
		if (pass.err == -EPERM || pass.err == -ETIMEDOUT || !pass.others)
			break;
		nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
		if (last && !thread_exists(w->process->pid, last))
			last = 0;
	} while (clock_ns() < until);
	return why_not(w, &pass);
}

static int put_word(const struct waking *w, size_t offset, uint32_t word)
{
	struct iovec here = { &word, sizeof(word) }, there = { (void *)(w->at + offset), sizeof(word) };

	return process_vm_writev(w->process->tid, &here, 1, &there, 1, 0) == sizeof(word) ? 0 : -EFAULT;
}

/* A child that was forked behind the C library's back has the word of its parent, whose thread it has not. */
static int check_thread(const struct waking *w)
{
	struct agent_wake_entry now;

	if (!w->door.tid || w->door.tid == AGENT_WAKE_THREAD_CLAIMED || thread_exists(w->process->pid, w->door.tid))
		return 0;
	/* One that ends clears the word first. */
	if (process_read(w->process, w->at, &now, sizeof(now)) || now.tid != w->door.tid)
		return 0;
	return error_set(EOPNOTSUPP,
	                 "process %d was forked by the system call, not by the C library, from one with an agent: "
	                 "that cannot be woken in it",
	                 w->process->pid);
}

static int call_stub(struct waking *w)
{
	struct tracee_call call = { .function = w->door.stub, .restorer = w->door.restorer, .slot = w->door.image };
	pid_t pid = w->process->pid;
	int err;

	put_word(w, offsetof(struct agent_wake_entry, error), 0);
	err = put_word(w, offsetof(struct agent_wake_entry, waker), (uint32_t)w->thread.tid);
	if (!err)
		err = tracee_call(&w->thread, &call, CALL_NS, NULL);
	if (!err && process_read(w->process, w->at, &w->door, sizeof(w->door)))
		err = -ESRCH;
	if (err == -ESRCH)
		return error_set(ESRCH, "process %d has ended", pid);
	if (err)
		return error_set(-err, "process %d: its agent cannot be woken: %s", pid, strerror(-err));
	if (w->door.error < 0 && w->door.error > -4096)
		return error_set(-w->door.error, "process %d: its agent cannot be woken: clone(2) says: %s", pid,
		                 strerror(-w->door.error));
	return 0;
}

static int wake(void *arg)
{
	struct waking *w = arg;
	pid_t pid = w->process->pid;
	int err = check_thread(w);

	if (err || w->door.tid)
		return err;
	if (w->door.closed)
		return error_set(EPERM,
		                 "process %d runs with other rights than whoever started it: its agent does not wake",
		                 pid);
	if (!w->door.stack)
		return error_set(EAGAIN, "process %d is just beginning: its agent is not ready", pid);
	if (process_is_stopped(pid))
		return error_set(ETIMEDOUT, "process %d is stopped, and its agent with it", pid);
	err = choose(w);
	if (err)
		return err;
	err = call_stub(w);
	tracee_let_go(&w->thread);
	return err;
}

int agent_wake(pid_t pid)
{
	struct waking *w;
	int lock = -1, err;

	if (!is_ours(pid))
		return -ENOENT;
	w = calloc(1, sizeof(*w));
	err = w ? process_open(pid, &w->process) : error_nomem();
	if (!err)
		err = process_read_maps(w->process);
	if (!err)
		err = find_door(w->process, &w->at, &w->door);
	if (!err)
		lock = err = lock_process(w->process);
	if (lock >= 0) {
		/* Read before it was ours, it may be another's by now. */
		err = find_door(w->process, &w->at, &w->door);
		if (!err)
			err = tracee_run(wake, w);
		close(lock);
	}
	if (w && w->process)
		process_free(w->process);
	free(w);
	return err;
}

#else

int agent_wake(pid_t pid)
{
	struct process *process;
	struct agent_wake_entry door;
	uint64_t at;
	int err = is_ours(pid) ? process_open(pid, &process) : -ENOENT;

	if (err)
		return err;
	err = process_read_maps(process);
	if (!err)
		err = find_door(process, &at, &door);
	process_free(process);
	if (err || door.tid)
		return err;
	return error_set(EOPNOTSUPP,
	                 "process %d: its agent sleeps, and cannot be woken from outside on this CPU: start the "
	                 "process by -b agent -- COMMAND, or with PROBEPOINT_LISTEN=1 in its environment",
	                 pid);
}

#endif
