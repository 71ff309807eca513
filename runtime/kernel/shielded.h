/* SPDX-License-Identifier: MIT */
/*
 * Calls that must not be killed.
 *
 * A kernel that registers or unregisters uprobes gives up when the calling thread has
 * a fatal signal pending, and leaves its traps behind ("failed to unregister, leaking
 * uprobe"): in a target that is not ours, in no list, until it ends. So such calls
 * are made aside: by a process of its own, which shares memory and descriptors with
 * this one, and to which a signal to this one means nothing. A process that is
 * already exiting closes its links well, and so does the kernel when it lets go of
 * unlinked pins.
 */
#ifndef RUNTIME_KERNEL_SHIELDED_H
#define RUNTIME_KERNEL_SHIELDED_H

/* Returns what fn(arg) does. fn makes system calls, and little else; this thread stands still meanwhile. */
int aside(int (*fn)(void *arg), void *arg);

#endif
