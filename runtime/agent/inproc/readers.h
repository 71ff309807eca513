/* SPDX-License-Identifier: MIT */
/*
 * A process that starts waits for the readers of its sessions, because it may otherwise
 * end before a reader has noticed it.
 */
#ifndef RUNTIME_AGENT_INPROC_READERS_H
#define RUNTIME_AGENT_INPROC_READERS_H

/* In the agent's thread: notes which sessions have a reader. agent.lock is held. */
void readers_expect(int store);
/* In a thread of the program: waits until these readers have the shared memory regions, READER_MS at most. */
void readers_wait(void);

#endif
