/* SPDX-License-Identifier: MIT */
/*
 * Starts the COMMAND that follows "--". The child process waits before execve(2) until its probes are armed. Start it
 * before sessions are opened and signals are caught, so that the child inherits neither.
 */
#ifndef CMD_CHILD_H
#define CMD_CHILD_H

#include <stdbool.h>
#include <sys/types.h>

#include "cmd/status.h"

struct options;

struct child {
	char *path;         /* the program that will run */
	pid_t pid;          /* 0: not started, or already waited for */
	int go_fd;          /* a byte written here lets the child run the program */
	int exec_failed_fd; /* the child writes the errno of execve(2) here if it fails */
	bool running;       /* the program runs */
};

/*
 * Finds a program as execvp(3) does, and stores its path, which the caller frees. Returns 0, -ENOENT, -EACCES or
 * -ENOMEM.
 */
int child_find_program(const char *name, char **path);

/*
 * Starts the child. preload is its LD_PRELOAD; NULL: unchanged. Returns 0, or a negative errno: -ENOENT if there is no
 * such program, -EACCES if it is not executable.
 */
int child_start(struct child *child, char *const *argv, const char *preload);
/* Lets the child run the program. Returns 0, or the negative errno of execve(2); then the child has ended. */
int child_release(struct child *child);
/* Kills the child if it does not run the program yet. */
void child_cancel(struct child *child);
/* Waits for the child. Returns its exit status, or 128 plus the number of the signal that killed it. */
int child_wait(struct child *child);

/* Reports that a program cannot run. Returns the exit status. err: a negative errno. */
enum status child_report(struct options *options, const char *name, int err);

/*
 * Reports that the program has no probes because it is a script, or not an ELF file, and returns true. Returns false if
 * it is an ELF file or cannot be read.
 */
bool child_report_script(struct options *options, const struct child *child);

/*
 * fork(2) for a process that stays in the background. A tracer that follows forks (strace -f) does not follow it, and
 * so ends with its command. The caller must have a single thread, because fork handlers do not run.
 */
pid_t child_fork_untraced(void);

#endif
