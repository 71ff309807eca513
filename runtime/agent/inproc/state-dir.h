/* SPDX-License-Identifier: MIT */
/* The state directory, which holds a directory for each session (protocol.h). */
#ifndef RUNTIME_AGENT_INPROC_STATE_DIR_H
#define RUNTIME_AGENT_INPROC_STATE_DIR_H

#include <stdbool.h>

/* Notes XDG_RUNTIME_DIR as the process began with it. runtime_dir may be NULL. */
void state_dir_remember(const char *runtime_dir);
/*
 * Opens the state directory. make: creates it. Later calls accept only the directory of
 * the first one. Returns -1 on errors.
 */
int state_dir_open(bool make);
/* Does the same without creating it, with as few system calls as possible. */
int state_dir_find(void);
/* Returns whether a session may have that name. */
bool session_name_ok(const char *name);

#endif
