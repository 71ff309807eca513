/* SPDX-License-Identifier: MIT */
/*
 * Processes: their identity, their mappings, their memory.
 *
 * A struct process always refers to the same process: by a pidfd, or by its pid and its start time. Functions read
 * /proc by one of its threads that is alive (tid), because most files of a thread that has exited are empty, and the first
 * thread may exit before the others.
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
	char *path; /* "" if it has none */
};

struct process {
	pid_t pid;
	pid_t tid;                     /* a live thread, usually the first one */
	int pidfd;                     /* -1: start_time identifies the process */
	unsigned long long start_time; /* clock ticks since boot; only set if pidfd is -1 */
	bool is_command;  /* a child of this process before its exec(2); its mappings are not the command's */
	bool leader_gone; /* the first thread has exited */
	struct mapping *maps;
	size_t nmaps;
};

/*
 * Opens a process, with a pidfd. Returns 0, -ESRCH if the process does not exist, -EINVAL if pid is a thread or not
 * positive, or another error; all with an error message. The caller frees *process with process_free().
 */
int process_open(pid_t pid, struct process **process);
void process_free(struct process *process);

bool process_alive(const struct process *process);

/* Returns the start time in clock ticks since boot, or 0 if the process does not exist. It distinguishes
 * processes that had the same pid. */
uint64_t process_start_time(pid_t pid);
/* Returns true for a thread of the kernel, which maps no files. */
bool process_is_kernel_thread(pid_t pid);

enum process_life {
	PROCESS_LIVES,
	PROCESS_ENDED, /* or a zombie */
	PROCESS_OTHER, /* another process has the pid now */
};

/* Returns the state of the process that had this pid and start time (0: not known, any matches). */
enum process_life process_life(pid_t pid, uint64_t start_time);

/* Returns a live thread of the process, usually the first one. */
pid_t process_thread(pid_t pid);

/* Returns true if the process of a pidfd has ended, false if pidfd is negative. */
bool pidfd_has_ended(int pidfd);
/* Returns true if job control or a debugger has stopped all threads of the process. */
bool process_is_stopped(pid_t pid);

/* Returns whether the process has a userfaultfd(2), by which it may serve its own page faults. */
bool process_has_userfaultfd(pid_t pid);
/* Returns the pid of the process that traces it (a debugger), or 0. */
pid_t process_tracer(const struct process *process);

/*
 * Returns whether the process uses the memory of its parent, as a child of vfork(2) or posix_spawn(3) does until it
 * calls exec(2). Returns false if this cannot be determined.
 */
bool process_is_in_vfork(pid_t pid);

/*
 * Forks a process that is not followed by a tracer of this one which follows forks (strace -f), so that the tracer ends
 * with its command. Returns as fork(2). The caller must have a single thread, because the C library's fork handlers do
 * not run.
 */
pid_t process_fork_untraced(void);

/* ---- mappings (process-maps.c) ---- */

/*
 * Reads the mappings, again if they were read before. Returns 0, -ESRCH if the process has ended, -EACCES if this
 * process may not read them, or -ENOMEM; all with an error message.
 */
int process_read_maps(struct process *process);

/*
 * Returns the next mapping of a file's byte after the mapping `after` (NULL: the first one), or NULL. A file
 * may be mapped more than once.
 */
const struct mapping *process_mapping(const struct process *process, dev_t device, ino_t inode, uint64_t offset,
                                      const struct mapping *after);

/* Returns true if the mapping is one of this file. */
bool mapping_is_of(const struct process *process, const struct mapping *m, dev_t device, ino_t inode);

/* Processes whose mappings cannot be read. */
struct unread {
	size_t n;
	pid_t pid; /* one of them */
	int error; /* the reason: a negative errno */
};

/*
 * Finds all processes with an executable mapping of the file, among those that may be read. They have no pidfd, because
 * there may be more of them than this process may have descriptors. Returns 0 or a negative errno with an error
 * message. The caller frees each process, and the array.
 */
int processes_mapping(dev_t device, ino_t inode, struct process ***processes, size_t *n);

/* Like processes_mapping(). Also counts in *unread the processes that cannot be read. */
int processes_mapping_all(dev_t device, ino_t inode, struct process ***processes, size_t *n, struct unread *unread);

/* ---- files (process-files.c) ---- */

/*
 * Writes to path how this process can open the file that the process has at name. This is name itself, or a path in
 * /proc/PID/root if the process has another file there than this one and does not map this one's.
 */
void process_file(const struct process *process, const char *name, char *path, size_t room);

/* ---- memory (process-memory.c) ---- */

/*
 * Reads one byte at each of n addresses. got[i] says whether byte i was read. Returns 0, or -EPERM or another negative
 * errno if the process may not be read.
 */
int process_read_bytes(const struct process *process, const uint64_t *addresses, size_t n, uint8_t *bytes, bool *got);

/* Like process_read_bytes(), with size bytes at each address. Reads fastest if addresses are sorted. */
int process_read_spans(const struct process *process, const uint64_t *addresses, size_t n, size_t size, uint8_t *bytes,
                       bool *got);

/* Reads size bytes. Returns 0, -EFAULT if not all of them can be read, or -EPERM or another negative errno. */
int process_read(const struct process *process, uint64_t address, void *to, size_t size);
/*
 * Reads like a debugger, by /proc/PID/mem: also memory that the process can execute but not read. The kernel extends a
 * stack that the address is below. Returns as process_read().
 */
int process_read_forced(pid_t pid, pid_t tid, uint64_t address, void *to, size_t size);

#endif
