/* SPDX-License-Identifier: MIT */
/*
 * Links that arm points through the kernel: one uprobe-multi link for all points of
 * an image and a process (Linux 6.6), or one perf uprobe event and link for each
 * point (before). The struct of the former is written out here because the
 * headers of the distributions we build on are older than it.
 */
#ifndef RUNTIME_KERNEL_LINK_H
#define RUNTIME_KERNEL_LINK_H

#include <linux/bpf.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define UPROBE_MULTI_ATTACH_TYPE 48 /* BPF_TRACE_UPROBE_MULTI, linux/bpf.h of Linux 6.6 */

struct link_points {
	size_t n;
	const uint64_t *offsets, *semaphores, *cookies;
};

/*
 * Whether the kernel has uprobe-multi links; found out once. The environment
 * variable PROBEPOINT_NO_UPROBE_MULTI=1 says no, for tests.
 */
bool link_multi_supported(void);

/* A descriptor, or a negative errno. pid 0: every process. path: of the image, as the kernel is to look it up. */
int link_multi(int prog, const char *path, pid_t pid, const struct link_points *points);
int link_perf(int prog, const char *path, pid_t pid, uint64_t offset, uint64_t semaphore, uint64_t cookie);

/* For the last descriptor of a link: returns when its points are not armed by it any more. Below 0: nothing. */
void link_close(int fd);

/*
 * The path by which the kernel is to open a file that must be this one; *fd keeps it
 * and is the caller's. -ESTALE: it is another.
 */
int link_file(const char *path, dev_t device, ino_t inode, int *fd, char *kernel_path, size_t room);
/* Why a link could not be made, as a sentence. */
const char *link_reason(int err);

struct bpf_insn;
struct bpf_prog_load_opts;

/*
 * Loads a BPF program that was checked by emit_check_stack(). Returns a descriptor, or a negative errno with an error
 * message that quotes the verifier. opts->log_... are spoiled.
 */
int program_load(enum bpf_prog_type type, const char *name, const struct bpf_insn *insns, size_t ninsns,
                 struct bpf_prog_load_opts *opts);

/* A BPF program for either kind of link: a descriptor, or a negative errno with a sentence. */
int link_program(const struct bpf_insn *insns, size_t ninsns);
/* The same for a program that only returns. */
int link_program_empty(void);

#endif
