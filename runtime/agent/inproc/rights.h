/* SPDX-License-Identifier: MIT */
/*
 * Makes the agent's thread follow changes of the program's rights: users, groups,
 * capabilities, and settings of some prctl(2). The C library changes the rights of its
 * own threads only, so the agent's thread would keep rights that the program gives up.
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
/* Waits at most 1 ms until the request has been followed. */
void rights_wait(uint32_t request);
/* In a forked child: drops all requests. */
void rights_forget(void);

/* Takes the requested rights. Returns false if that failed, so that the agent's thread has to end. */
bool rights_follow(void);
/* Waits for a request, ms milliseconds at most. Returns false at once if there is one. */
bool rights_wait_request(unsigned ms);

#endif
