/* SPDX-License-Identifier: MIT */
/*
 * The names of the frames of stacks in keys (struct agg_stack).
 *
 * 1. A stack has addresses of a process image. The executable mappings that each image was ever seen to have, its layout, are
 *    kept in the session, so that a process that has ended is known, too. If the process still lives, its current
 *    mappings are added to the layout.
 * 2. An address becomes an offset in a file, so that equal stacks of several processes are one. An address that is in no known
 *    mapping, or in mappings of several files, stays an address of that process.
 * 3. A return address that does not follow a call instruction is not one: a function on the way has used the frame pointer
 *    for something else. The stack ends there.
 * 4. A frame gets a function's name only if the file is still the one that was mapped, and the function's symbol, with its
 *    size, contains the address.
 */
#ifndef RUNTIME_STACKS_H
#define RUNTIME_STACKS_H

#include <probepoint.h>

#include "runtime/aggregate.h"
#include "runtime/backend.h"

struct stacks;

/* Returns NULL without memory. */
struct stacks *stacks_new(void);
void stacks_free(struct stacks *stacks);

/*
 * Replaces the addresses by words that stacks_frame() takes. pid and exec become 0 if all of them are in files. Returns 0 or
 * -ENOMEM.
 */
int stacks_resolve(struct stacks *stacks, const struct attachment *attachment, struct agg_stack *stack);
/* Describes frame i of a stack. The strings belong to stacks. */
void stacks_frame(struct stacks *stacks, const struct agg_stack *stack, size_t i, struct pp_frame *frame);
/* Returns how many frames the stack has. */
size_t stacks_depth(const struct agg_stack *stack);

/* Keeps the mappings of a process that lives in the attachment's session, if the attachment has stacks. */
int stacks_keep(const struct attachment *attachment, pid_t pid);

#endif
