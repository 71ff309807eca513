/* SPDX-License-Identifier: MIT */
/* Sequences of instructions for the frames of calls in flight. r7 has the frames of the thread. */
#ifndef RUNTIME_KERNEL_EMIT_FRAMES_H
#define RUNTIME_KERNEL_EMIT_FRAMES_H

#include "runtime/kernel/emitter.h"

enum { FRAME = sizeof(struct kernel_frame), FRAMES = offsetof(struct kernel_frames, frames) };

/* r7 = the frames of the task in r0, if it has any */
void emit_frames(struct emitter *e, label none);
/* dst = the address of the frame with the index in dst */
void emit_frame_address(struct emitter *e, int dst);
/* r1 = the index, r2 = the address of the innermost frame */
void emit_innermost(struct emitter *e, label none);
/* r0 = the struct kernel_calls of the point in AT_KEY */
void emit_calls(struct emitter *e, label none);
/* r0 = the struct kernel_calls of the program's point */
void emit_own_calls(struct emitter *e, label none);
/*
 * Removes the innermost frame, with r1 and r2 of emit_innermost(), as abandoned. Jumps to next. The jump to none never
 * happens; the verifier requires the check.
 */
void emit_abandon_innermost(struct emitter *e, label next, label none);
/* reg = 1 if a frame's `what` in reg has the flag, else 0 */
void emit_frame_flag(struct emitter *e, int reg, uint32_t flag);
/*
 * Returns the label of a loop that runs at most depth times and then jumps to end. The verifier follows each round of
 * the loop, and in each round all ways back to the loop. So a round must have only one: compute its conditions without
 * jumps.
 */
label emit_loop(struct emitter *e, label end);
/* Computes the duration of the call in AT_FRAME and stores it as the frame's time. r8 is the overhead of its traps. */
void emit_duration(struct emitter *e);

#endif
