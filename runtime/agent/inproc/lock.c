/* SPDX-License-Identifier: MIT */
#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>

#include "runtime/agent/inproc/libc.h"
#include "runtime/agent/inproc/lock.h"

void word_wait(uint32_t *word, uint32_t value, unsigned ms)
{
	struct timespec t = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 };

	syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, ms == UINT_MAX ? NULL : &t, NULL, 0);
}

void word_wait_until(uint32_t *word, uint32_t until, unsigned ms)
{
	for (unsigned i = 0; i < ms / 50; i++) {
		uint32_t now = __atomic_load_n(word, __ATOMIC_ACQUIRE);

		if ((int32_t)(now - until) >= 0)
			return;
		word_wait(word, now, 50);
	}
}

void word_wake(uint32_t *word)
{
	syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

bool lock_try(struct lock *lock, unsigned ms)
{
	struct timespec from, t;
	uint32_t was = 0;

	if (__atomic_compare_exchange_n(&lock->word, &was, 1, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
		return true;
	clock_gettime(CLOCK_MONOTONIC, &from);
	for (;;) {
		uint64_t passed;

		if (!__atomic_exchange_n(&lock->word, 2, __ATOMIC_ACQUIRE))
			return true;
		clock_gettime(CLOCK_MONOTONIC, &t);
		passed = (t.tv_sec - from.tv_sec) * 1000 + (t.tv_nsec - from.tv_nsec) / 1000000;
		if (ms != UINT_MAX && passed >= ms)
			return false;
		word_wait(&lock->word, 2, ms == UINT_MAX ? ms : ms - passed);
	}
}

void lock_get(struct lock *lock)
{
	lock_try(lock, UINT_MAX);
}

void lock_put(struct lock *lock)
{
	if (__atomic_exchange_n(&lock->word, 0, __ATOMIC_RELEASE) == 2)
		word_wake(&lock->word);
}
