/* SPDX-License-Identifier: MIT */
/* What attachments with stacks in keys need. */
#ifndef RUNTIME_KERNEL_STACKS_H
#define RUNTIME_KERNEL_STACKS_H

#include "runtime/backend.h"
#include "runtime/kernel/emit.h"

struct kernel_attachment;

/* Finds the offsets if an aggregate of the manifest has a stack. */
void stack_offsets_find(struct kernel_stack_offsets *offsets, const struct manifest *manifest);

/*
 * Create and open the map of the attachment's layouts (layout.h), if it has stacks. Programs do not use it. Return 0 or a
 * negative errno with an error message.
 */
int kernel_layouts_create(struct kernel_attachment *s, const struct manifest *manifest);
int kernel_layouts_get(struct kernel_attachment *s, const struct manifest *manifest);

/* Operations of the backend. */
int kernel_layout_load(const struct attachment *attachment, pid_t pid, uint64_t exec, char **text);
void kernel_layout_store(const struct attachment *attachment, pid_t pid, uint64_t exec, const char *text);

#endif
