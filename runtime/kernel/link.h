/* SPDX-License-Identifier: MIT */
/*
 * BPF programs, and the links that arm points with them.
 *
 * Linux 6.6 and later have uprobe-multi links: one link arms all points of an image and a process. Earlier kernels need
 * a perf uprobe event and a link for each point. link.c defines the uprobe-multi struct, because the headers of the
 * supported distributions are older than it.
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
	bool returns; /* by uretprobes: the program runs when the functions that begin there return */
};

/*
 * Returns true if the kernel has uprobe-multi links. Tests the kernel once. The environment variable
 * PROBEPOINT_NO_UPROBE_MULTI=1 makes it return false, for tests.
 */
bool link_multi_supported(void);

/*
 * Arm points with a program. path is the image's path as the kernel resolves it (link_file()). pid 0: every process.
 * Return the link's descriptor, or a negative errno (link_reason()) without an error message.
 */
int link_multi(int prog, const char *path, pid_t pid, const struct link_points *points);
int link_perf(int prog, const char *path, pid_t pid, uint64_t offset, uint64_t semaphore, uint64_t cookie,
              bool returns);

/* Closes the last descriptor of a link, and returns when the link has disarmed its points. Does nothing if fd < 0. */
void link_close(int fd);

/*
 * Opens the file, which must be the given one, and writes a path for link_multi() and link_perf() that stays valid as
 * long as *fd is open. Returns 0; -ESTALE if the path names another file; a negative errno; with an error message.
 */
int link_file(const char *path, dev_t device, ino_t inode, int *fd, char *kernel_path, size_t room);

/* Returns the reason why link_multi() or link_perf() failed, in words. The text is valid until the next call. */
const char *link_reason(int err);

struct bpf_prog_load_opts;

/*
 * Loads a BPF program, after emit_check_stack(). Returns a descriptor, or a negative errno with an error message that
 * quotes the verifier. Overwrites opts->log_*.
 */
int program_load(enum bpf_prog_type type, const char *name, const struct bpf_insn *insns, size_t ninsns,
                 struct bpf_prog_load_opts *opts);

/* Loads a program for link_multi() or link_perf(). Returns a descriptor, or a negative errno with an error message. */
int link_program(const struct bpf_insn *insns, size_t ninsns);
/* The same for a program that only returns 0. */
int link_program_empty(void);

#endif
