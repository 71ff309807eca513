/* SPDX-License-Identifier: MIT */
#ifndef RUNTIME_AGENT_INPROC_FORK_H
#define RUNTIME_AGENT_INPROC_FORK_H

/* The handlers of pthread_atfork(3): fork.c. */
void fork_before(void);
void fork_after_parent(void);
void fork_after_child(void);

#endif
