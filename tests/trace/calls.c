/* SPDX-License-Identifier: MIT */
/* Calls with known durations: an empty one, a loop whose duration is printed, and ten calls of the empty one. */
#include <stdio.h>
#include <time.h>

enum { ROUNDS = 200 };

__attribute__((noipa)) long quick(long n)
{
	return n * 3;
}
__attribute__((noipa)) long spin(long n)
{
	volatile long sum = 0;

	for (long i = 0; i < n; i++)
		sum += i;
	return sum;
}
__attribute__((noipa)) long outer(long n)
{
	long sum = 0;

	for (int i = 0; i < 10; i++)
		sum += quick(n);
	return sum;
}

static long now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000 + t.tv_nsec;
}

int main(void)
{
	long best = -1, start;

	for (int i = 0; i < ROUNDS; i++) {
		quick(i);
		outer(i);
		start = now();
		spin(100000);
		start = now() - start;
		best = best < 0 || start < best ? start : best;
	}
	printf("%ld\n", best);
	return 0;
}
