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
/* Returns whether the thread is there, and may be asked for something. */
bool agent_is_running(void);
/* Returns whether points may wait for a new library. */
bool agent_awaits_library(void);
/*
 * Asks the thread to rescan, and starts it if needed. wait: waits until that is done, 2 s
 * at most. Otherwise the thread rescans several times in the next second.
 */
void agent_request_rescan(bool wait);

/*
 * Ends the thread until agent_restart(). alone: only if the process has no other thread
 * but the caller, and until the kernel does not count the thread any more. Returns
 * false if nothing was ended; then call neither of the next two.
 */
bool agent_stop(bool alone);
/* Starts it again, if it was running before. */
void agent_restart(void);
/* Leaves it stopped instead. */
void agent_stay_stopped(void);
/* Ends the thread for good. Armed points go on counting, but the process answers no controller. */
void agent_retire(void);

/* In a forked child: forgets what the parent's threads have asked for. */
void agent_forked(void);

/* The calling thread has other rights now: the agent's thread takes the same rights, or ends. */
void agent_follow_rights(void);
/* The calling thread has made this prctl(2): the agent's thread makes it, too. */
void agent_follow_prctl(long option, long a, long b, long c, long d);

#endif
