/* SPDX-License-Identifier: MIT */
/*
 * -- COMMAND: a child that waits, before it becomes the command, until its probes are armed. Start it before
 * sessions are opened and signals are caught, so that it inherits nothing of them.
 */
#ifndef CMD_CHILD_H
#define CMD_CHILD_H

#include <stdbool.h>
#include <sys/types.h>

struct command {
	char *path; /* what will run */
	pid_t pid;  /* 0: not started, or waited for */
	int go, failed;
	bool running;
};

/* Where execvp(3) finds it, in *path, freed by free(): 0, -ENOENT, -EACCES, -ENOMEM. */
int command_find(const char *name, char **path);

/*
 * 0; -ENOENT: no such command; -EACCES: it cannot be run; other negative errnos.
 * preload: its LD_PRELOAD, NULL: as it is.
 */
int command_start(struct command *command, char *const *argv, const char *preload);
/*
 * Whether a file that can be run is not ELF. *interpreter: what its first line names after "#!", with its arguments and
 * without env(1); the caller frees it. NULL: it names none.
 */
bool command_is_script(const char *path, char **interpreter);
/* Lets it run: 0, or the negative errno of execve(2) and then it has ended. */
int command_release(struct command *command);
/* Ends it where it has not run. */
void command_cancel(struct command *command);
/* Waits for its end: its exit status, or 128 + the signal that killed it. */
int command_wait(struct command *command);

#endif
