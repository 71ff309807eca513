/* SPDX-License-Identifier: MIT */
/*
 * The agent's thread must not change anything while another thread forks, because the
 * child would have half of the change. No lock is held across fork(2); instead each
 * side announces itself first and looks for the other one second:
 *
 * 1. A thread that forks increments `forking`, then waits until `changing` is 0, for
 *    1 s at most.
 * 2. The agent's thread waits until `forking` is 0, sets `changing`, and starts again if
 *    `forking` is not 0 then. It waits 0.3 s at most.
 *
 * If a limit is reached, the fork proceeds. The child finds `changing` set and arms
 * nothing any more.
 */
#include "runtime/agent/inproc/agent.h"
#include "runtime/agent/inproc/change.h"

static uint32_t forking;  /* threads in fork(2) */
static uint32_t changing; /* the agent's thread is in the middle of a change, or about to be */
static uint32_t active;   /* something is armed or counted */

void change_begin(void)
{
	for (unsigned i = 0; i < 300; i++) {
		uint32_t n = __atomic_load_n(&forking, __ATOMIC_SEQ_CST);

		if (!n) {
			__atomic_store_n(&changing, 1, __ATOMIC_SEQ_CST);
			if (!__atomic_load_n(&forking, __ATOMIC_SEQ_CST))
				break;
			__atomic_store_n(&changing, 0, __ATOMIC_SEQ_CST);
		} else {
			word_wait(&forking, n, 1);
		}
	}
	__atomic_store_n(&changing, 1, __ATOMIC_SEQ_CST);
	lock_get(&agent.lock);
}

void change_end(void)
{
	bool now = false;

	for (unsigned i = 0; i < SHMS_MAX; i++)
		now |= agent.shms[i].session != NULL;
	__atomic_store_n(&active, now, __ATOMIC_RELEASE);
	lock_put(&agent.lock);
	__atomic_store_n(&changing, 0, __ATOMIC_SEQ_CST);
}

bool change_active(void)
{
	return __atomic_load_n(&active, __ATOMIC_ACQUIRE);
}

void change_fork_begin(void)
{
	__atomic_add_fetch(&forking, 1, __ATOMIC_SEQ_CST);
	for (unsigned i = 0; i < 1000 && __atomic_load_n(&changing, __ATOMIC_SEQ_CST); i++)
		word_wait(&changing, 1, 1);
}

void change_fork_end(void)
{
	__atomic_sub_fetch(&forking, 1, __ATOMIC_SEQ_CST);
}

bool change_forked(void)
{
	bool broken = changing != 0;

	changing = 0;
	forking = 0;
	return broken;
}
