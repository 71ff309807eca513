/* SPDX-License-Identifier: MIT */
/*
 * Who is meant, where that is not one process: a process and all that it forks, a
 * process group, a control group. The link then names no process, so that every
 * process which maps the file meets the trap, and the program asks.
 */
#ifndef RUNTIME_KERNEL_SCOPE_H
#define RUNTIME_KERNEL_SCOPE_H

#include <stdint.h>
#include <sys/types.h>

#include "runtime/scope.h"

struct members {
	enum scope_kind kind;
	int map;                  /* children: process ids; pgrp: process group ids; else -1 */
	int fork_link, exit_link; /* children: keep the map up to date; else -1 */
	uint64_t cgroup;          /* its id, and how deep it is */
	int cgroup_level;
	struct {
		int signal, pids, numbers, nr; /* byte offsets: task -> signal -> pids[] -> numbers[0].nr */
	} at;
};

struct bpf_insn;

/* Loads a program and attaches it at a tracepoint: the link's descriptor, or a negative errno with a sentence. */
int tracepoint_attach(const char *tracepoint, const struct bpf_insn *insns, size_t n);

/* -EOPNOTSUPP and others with a sentence. */
int members_open(struct members *members, const struct scope *scope);
void members_close(struct members *members);

#endif
