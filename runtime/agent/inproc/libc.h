/* SPDX-License-Identifier: MIT */
/*
 * The agent's own C library: libc-calls.c has system calls, libc-string.c has bytes
 * and strings. The functions have the names of the C library's and are hidden, so
 * that the linker binds the agent's calls to them. syscall(2) is renamed, because the
 * agent exports a function of that name to the program (interpose-CPU.c).
 */
#ifndef RUNTIME_AGENT_INPROC_LIBC_H
#define RUNTIME_AGENT_INPROC_LIBC_H

#define HIDDEN __attribute__((visibility("hidden")))

#ifdef AGENT_INSIDE
HIDDEN long agent_syscall(long number, ...);
#define syscall agent_syscall
#endif

#endif
