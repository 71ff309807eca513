/* SPDX-License-Identifier: MIT */
#include "runtime/agent/backoff.h"

#include <stddef.h>

#include "base/clock.h"
#include "runtime/process.h"

#define PAUSE_NS 500000000u /* the first pause */
#define PAUSE_MAX_NS 4000000000u
#define SHORT_MS 200            /* the limit for an agent that has not replied before, or if the budget is spent */
#define BUDGET_NS 6000000000ull /* time in vain for all agents together, before all get the short limit */
#define BACKOFFS_MAX 512        /* a new one replaces the oldest */

static _Thread_local struct backoff {
	pid_t pid;
	uint64_t start_time;
	uint64_t until, pause; /* ns; pause 0: the agent replied again */
	bool reported;
} backoffs[BACKOFFS_MAX];
static _Thread_local unsigned nbackoffs;
static _Thread_local uint64_t spent; /* ns */

static struct backoff *backoff_find(pid_t pid, uint64_t start_time)
{
	for (unsigned i = 0; i < nbackoffs && i < BACKOFFS_MAX; i++)
		if (backoffs[i].pid == pid && backoffs[i].start_time == start_time)
			return &backoffs[i];
	return NULL;
}

static struct backoff *backoff_find_or_add(pid_t pid)
{
	uint64_t start_time = process_start_time(pid);
	struct backoff *b = backoff_find(pid, start_time);

	if (b)
		return b;
	b = &backoffs[nbackoffs++ % BACKOFFS_MAX];
	*b = (struct backoff){ .pid = pid, .start_time = start_time };
	return b;
}

bool backoff_is_new(pid_t pid)
{
	struct backoff *b = backoff_find_or_add(pid);
	bool is_new = !b->reported;

	b->reported = true;
	return is_new;
}

void backoff_add(pid_t pid)
{
	struct backoff *b = backoff_find_or_add(pid);
	uint64_t now = clock_ns();

	if (!b->pause)
		b->pause = PAUSE_NS;
	else if (b->pause < PAUSE_MAX_NS)
		b->pause *= 2;
	b->until = now + b->pause;
}

void backoff_clear(pid_t pid, uint64_t start_time)
{
	struct backoff *b = backoff_find(pid, start_time);

	if (b)
		b->until = b->pause = 0;
}

bool backoff_is_active(pid_t pid)
{
	const struct backoff *b = backoff_find(pid, process_start_time(pid));

	return b && clock_ns() < b->until;
}

unsigned backoff_timeout(pid_t pid, unsigned limit_ms)
{
	const struct backoff *b = backoff_find(pid, process_start_time(pid));
	bool is_short = spent > BUDGET_NS || (b && b->pause);

	return is_short && limit_ms > SHORT_MS ? SHORT_MS : limit_ms;
}

void backoff_spend(uint64_t ns)
{
	spent += ns;
}
