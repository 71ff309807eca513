/* SPDX-License-Identifier: MIT */
/*
 * Scopes other than a list of processes: a process and all that it forks, a process group, a control group. The link
 * then filters no process, so that every process that maps the file has the trap, and the program checks the scope.
 */
#ifndef RUNTIME_KERNEL_SCOPE_H
#define RUNTIME_KERNEL_SCOPE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "runtime/scope.h"

struct bpf_insn;
struct kernel_namespace;

struct kernel_scope {
	enum scope_kind kind;
	int map;                  /* children: process ids; pgrp: process group ids; else -1 */
	int fork_link, exit_link; /* children: the links that keep the map up to date; else -1 */
	uint64_t cgroup;          /* id of the control group */
	int cgroup_level;         /* its depth in the hierarchy */
	struct {
		int signal, pids, numbers, nr; /* byte offsets: task -> signal -> pids[] -> numbers[0].nr */
	} at;
};

#define KERNEL_SCOPE_NONE                                                            \
	(struct kernel_scope)                                                        \
	{                                                                            \
		.kind = SCOPE_PROCESSES, .map = -1, .fork_link = -1, .exit_link = -1 \
	}

/* ns: of the process ids. Returns 0 or a negative errno with an error message: -EOPNOTSUPP if the kernel's BTF lacks what the scope needs. */
int kernel_scope_open(struct kernel_scope *scope, const struct scope *request, const struct kernel_namespace *ns);
void kernel_scope_close(struct kernel_scope *scope);

/*
 * Loads a program and attaches it to a tracepoint. Returns the link's descriptor, or a negative errno with an error
 * message.
 */
int tracepoint_attach(const char *tracepoint, const struct bpf_insn *insns, size_t n);

#endif
