/* SPDX-License-Identifier: MIT */
/* The files child-N-PID, by which an attachment includes the children of its processes. */
#ifndef RUNTIME_AGENT_INPROC_CHILD_H
#define RUNTIME_AGENT_INPROC_CHILD_H

#include <sys/stat.h>

#include "runtime/agent/inproc/attachment.h"

/*
 * Finds the ancestor that a process, which has just begun to run its program, is armed
 * for, and sets attachment->inherited. st: of the attachment's file.
 */
void child_find_ancestor(int dir, struct loaded_attachment *attachment, const struct stat *st);
/* Writes the file of this process, and removes it. */
void child_write(int dir, const struct loaded_attachment *attachment);
void child_remove(int dir, const struct loaded_attachment *attachment);

#endif
