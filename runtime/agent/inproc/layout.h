/* SPDX-License-Identifier: MIT */
/*
 * The files layout-N-PID, by which commands name the frames of stacks of this process after it has ended (runtime/layout.h).
 * For the agent's thread only.
 */
#ifndef RUNTIME_AGENT_INPROC_LAYOUT_H
#define RUNTIME_AGENT_INPROC_LAYOUT_H

/* Writes the file of each session whose aggregates have stacks, if it lacks a mapping that the process has or has had. */
void layouts_write(int store);

#endif
