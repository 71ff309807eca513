/* SPDX-License-Identifier: MIT */
/*
 * The agent's thread takes the rights that the program takes: users, groups,
 * capabilities, and what some prctl(2) set. The C library changes its own threads only;
 * the agent's would keep the rights that the program gives up.
 *
 *     a thread of the program                 the agent's thread
 *     rights_request()
 *     wakes the agent's thread                rights_follow()
 *     rights_wait()
 *
 * Requests are made one at a time, under a lock of the caller.
 */
#ifndef RUNTIME_AGENT_INPROC_RIGHTS_H
#define RUNTIME_AGENT_INPROC_RIGHTS_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Asks for the rights of the calling thread, or for this prctl(2) if option is not 0.
 * Returns the number of the request.
 */
uint32_t rights_request(long option, long a, long b, long c, long d);
/* Returns whether the request of that number has been followed. */
bool rights_done(uint32_t request);
/* Waits 1 ms at most for that. */
void rights_wait(uint32_t request);
/* In a forked child: forgets requests. */
void rights_forget(void);

/* Takes the rights that were asked for. Returns false if that failed, so that the agent's thread has to end. */
bool rights_follow(void);
/* Waits for a request, ms milliseconds at most. Returns false at once if there is one. */
bool rights_wait_request(unsigned ms);

#endif
