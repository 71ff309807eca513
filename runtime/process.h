/* SPDX-License-Identifier: MIT */
/*
 * Processes: who they are, what they map, what stands in their memory.
 */
#ifndef RUNTIME_PROCESS_H
#define RUNTIME_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct mapping {
	uint64_t start, end, offset;
	dev_t device;
	ino_t inode;
	bool exec, write, shared;
	char *path; /* "" for none */
};

struct process {
	pid_t pid;
	pid_t tid;                     /* a thread of it that lives: its first one, mostly */
	int pidfd;                     /* -1: not held; start_time then says which process this was */
	unsigned long long start_time; /* clock ticks since boot, where pidfd is -1 */
	bool is_command;               /* a child of ours before its exec: what it maps now says nothing */
	bool leader_gone;              /* its first thread has exited */
	struct mapping *maps;
	size_t nmaps;
};

/* Holds a process by a pidfd. -ESRCH: there is none; -EINVAL: a thread, or no pid. */
int process_open(pid_t pid, struct process **process);
void process_free(struct process *process);
/* Reads its mappings anew. -ESRCH: it has ended; -EACCES: another user's. */
int process_read_maps(struct process *process);
bool process_alive(const struct process *process);
/* Clock ticks since boot; with it a pid means one process for good. 0: there is none. */
uint64_t process_start_time(pid_t pid);
enum process_life {
	PROCESS_LIVES,
	PROCESS_ENDED, /* or only waits for its parent to notice */
	PROCESS_OTHER, /* another process has its pid now */
};

/* What became of the process that had this pid and start time (0: not known, any will do). */
enum process_life process_life(pid_t pid, uint64_t start_time);
/* A thread of it that lives: its first one, mostly. Most files in /proc of one that has ended say nothing. */
pid_t process_thread(pid_t pid);
/* By job control, or a debugger. */
bool process_is_stopped(pid_t pid);

/*
 * The mapping of a file's byte, NULL where there is none; from: start looking behind
 * this one (NULL: at the first). A file may be mapped more than once.
 */
const struct mapping *process_mapping(const struct process *process, dev_t device, ino_t inode, uint64_t offset,
                                      const struct mapping *from);

/*
 * Reads one byte at each of n addresses; got[i] says whether it could be. -EPERM: this
 * process may not be read.
 */
int process_read_bytes(const struct process *process, const uint64_t *addresses, size_t n, uint8_t *bytes, bool *got);
/* The same for size bytes at each address. */
int process_read_spans(const struct process *process, const uint64_t *addresses, size_t n, size_t size, uint8_t *bytes,
                       bool *got);
/* Reads size bytes, all or -EFAULT or -EPERM. */
int process_read(const struct process *process, uint64_t address, void *to, size_t size);

/* Who traces it (a debugger); 0: nobody. */
pid_t process_tracer(const struct process *process);

/* Processes that may map a file, but cannot be looked at. */
struct unread {
	size_t n;
	pid_t pid; /* one of them */
	int error; /* and why: a negative errno */
};

/*
 * Finds all processes that map the file executable, of those that may be looked at. No descriptor is held for them,
 * because there may be more of them than this process may have. The caller frees each, and the array.
 */
int processes_mapping(dev_t device, ino_t inode, struct process ***processes, size_t *n);
/* The same; unread counts those that could not be looked at. */
int processes_mapping_all(dev_t device, ino_t inode, struct process ***processes, size_t *n, struct unread *unread);

/*
 * Writes to path where the process's file of that name can be opened from here: its own, by /proc/PID/root, if it has
 * another one of that name than this process and does not map this process's one.
 */
void process_file(const struct process *process, const char *name, char *path, size_t room);

/*
 * fork(2) for a process that stays: a tracer that follows the forks of this one (strace -f) does not follow it, so it
 * ends with its command. Returns as fork(2) does. The caller must have a single thread, because the C library's fork
 * handlers do not run.
 */
pid_t process_fork_untraced(void);

#endif
