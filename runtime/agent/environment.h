/* SPDX-License-Identifier: MIT */
/* The environment of another process, as its C library has it now. */
#ifndef RUNTIME_AGENT_ENVIRONMENT_H
#define RUNTIME_AGENT_ENVIRONMENT_H

#include <stddef.h>
#include <sys/types.h>

/*
 * Reads the value of a variable; "" if it is not set. Returns -ENOENT if no image of the process defines `environ`,
 * -EAGAIN if the process is just starting and its C library has no environment yet, -ENAMETOOLONG if the value does not
 * fit, or an error of reading the process.
 */
int environment_read(pid_t pid, const char *name, char *value, size_t size);

#endif
