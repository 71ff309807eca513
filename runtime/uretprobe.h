/* SPDX-License-Identifier: MIT */
/*
 * A uretprobe replaces the return address on the stack, so that the function returns to a page of the kernel. An unwinder
 * that runs meanwhile does not find the caller: a C++ exception that leaves the function ends the program.
 */
#ifndef RUNTIME_URETPROBE_H
#define RUNTIME_URETPROBE_H

struct process;

/* Returns why a process must not get uretprobes, or NULL. NULL as process: every process. The caller frees it. */
char *uretprobe_refused(const struct process *process);

#endif
