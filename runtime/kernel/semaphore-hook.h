/* SPDX-License-Identifier: MIT */
/*
 * Hooks: uprobes that report each process in which a file has just been loaded. The uprobe is at the first instruction
 * of the file that every such process runs: a program's entry point, a library's DT_INIT function. By then the file is
 * mapped and RELRO is protected.
 */
#ifndef RUNTIME_KERNEL_SEMAPHORE_HOOK_H
#define RUNTIME_KERNEL_SEMAPHORE_HOOK_H

#include <stdbool.h>

struct pp_image;

/* Loads the program of hooks, which writes the process id in this process's pid namespace (8 bytes) to the ring. Returns it, or a negative errno. */
int hook_load(int ring);
/* Returns a link for the image, or a negative errno: -ENOENT if no such instruction is known. */
int hook_attach(const struct pp_image *image, int prog);

/* Returns true for a program. Returns false for a library, and for a static program that is position-independent. */
bool image_is_program(const struct pp_image *image);

#endif
