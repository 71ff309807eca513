/* SPDX-License-Identifier: MIT */
/* Locks and waiting, by futex(2). */
#ifndef RUNTIME_AGENT_INPROC_LOCK_H
#define RUNTIME_AGENT_INPROC_LOCK_H

#include <stdbool.h>
#include <stdint.h>

/* 0: free; 1: held; 2: held, and at least one thread waits. */
struct lock {
	uint32_t word;
};

/* Takes the lock. Waits without a limit. */
void lock_get(struct lock *lock);
/* Takes the lock within ms milliseconds. Returns whether it did. */
bool lock_try(struct lock *lock, unsigned ms);
void lock_put(struct lock *lock);

/* Waits for a wake of the word, ms milliseconds at most (UINT_MAX: no limit), unless it differs from value. */
void word_wait(uint32_t *word, uint32_t value, unsigned ms);
/* Waits until the word, a counter that wraps, has reached a value, ms milliseconds at most. */
void word_wait_until(uint32_t *word, uint32_t until, unsigned ms);
/* Wakes all threads that wait for the word. */
void word_wake(uint32_t *word);

#endif
