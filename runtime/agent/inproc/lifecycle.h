/* SPDX-License-Identifier: MIT */
/*
 * The life of the agent's thread, for the program's threads: lifecycle.c. The thread
 * itself is in agent-thread.c.
 */
#ifndef RUNTIME_AGENT_INPROC_LIFECYCLE_H
#define RUNTIME_AGENT_INPROC_LIFECYCLE_H

#include <stdbool.h>
#include <stdint.h>

/* Makes the thread unless it exists. begins: main() has not begun. Returns false if it must not or cannot be made. */
bool agent_start(bool begins);
/* Returns whether the thread exists and accepts requests. */
bool agent_is_running(void);
/* Returns whether a point may be pending because its library is not loaded yet. */
bool agent_awaits_library(void);
/*
 * Asks the thread to rescan, and starts it if needed. wait: waits until that is done, 2 s
 * at most. Otherwise the thread rescans several times in the next second.
 */
void agent_request_rescan(bool wait);

/*
 * Ends the thread until agent_restart(). alone: only if the process has no other thread
 * but the caller, and until the kernel does not count the thread any more. Returns
 * false if it did not end the thread. The caller then calls neither of the next two.
 */
bool agent_stop(bool alone);
/* Starts the thread again, if it ran before agent_stop(). */
void agent_restart(void);
/* Keeps the thread stopped. */
void agent_stay_stopped(void);
/* Ends the thread for good. Armed points continue to count, but the agent does not reply to controllers any more. */
void agent_retire(void);

/* In a forked child: drops the requests of the parent's threads. */
void agent_forked(void);

/* Call this after the calling thread changed its rights: the agent's thread takes the same rights, or ends. */
void agent_follow_rights(void);
/* Call this after the calling thread made this prctl(2): the agent's thread makes it, too. */
void agent_follow_prctl(long option, long a, long b, long c, long d);

#endif
