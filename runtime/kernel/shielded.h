/* SPDX-License-Identifier: MIT */
/*
 * System calls that a signal must not interrupt.
 *
 * 1. The kernel gives up registering or unregistering uprobes when the calling thread has a fatal signal pending. It
 *    then leaves its breakpoints in the targets ("failed to unregister, leaking uprobe"). No list shows them, and they
 *    stay until the targets end.
 * 2. So a helper process makes these calls. It shares memory and descriptors with this process, and a signal to this
 *    process, or to its process group, does not reach it.
 * 3. Two cases do not need the helper, because the kernel unregisters completely: a process that is already exiting,
 *    and pins that were unlinked.
 */
#ifndef RUNTIME_KERNEL_SHIELDED_H
#define RUNTIME_KERNEL_SHIELDED_H

/*
 * Calls fn(arg) in the helper process and returns its result. The calling thread waits. fn should only make system
 * calls, because it runs on a small stack. Calls fn in this thread if the helper cannot be created.
 */
int run_shielded(int (*fn)(void *arg), void *arg);

#endif
