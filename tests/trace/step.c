/* SPDX-License-Identifier: MIT */
/* A library to preload: the wall clock is 90 minutes ahead while the file $STEP exists. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *t)
{
	int err = (int)syscall(SYS_clock_gettime, clock, t);

	if (err)
		return err;
	if (clock == CLOCK_REALTIME && !access(getenv("STEP"), F_OK))
		t->tv_sec += 5400;
	return 0;
}
