/* SPDX-License-Identifier: MIT */
/*
 * The environment of another process as its C library has it now.
 */
#ifndef RUNTIME_AGENT_ENVIRONMENT_H
#define RUNTIME_AGENT_ENVIRONMENT_H

#include <stddef.h>
#include <sys/types.h>

/*
 * Reads the value of a variable; "": the variable is not set. Returns -ENOENT if no
 * image of the process defines `environ`, -ENAMETOOLONG, or what reading its memory says.
 */
int environment_read(pid_t pid, const char *name, char *value, size_t size);

#endif
