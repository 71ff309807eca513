/* SPDX-License-Identifier: MIT */
/*
 * Calls nested() and other() from two threads, recursively and through longjmp(3), and logs each call that returns: its name,
 * thread, depth and argument.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static __thread jmp_buf back;

static void returned(const char *name, long n, const char *id)
{
	printf("%s %d %ld %s\n", name, gettid(), n, id);
}

__attribute__((noipa)) long nested(long n, const char *id)
{
	long sum = n > 0 ? n + nested(n - 1, id) : 0;

	if (n == 2)
		usleep(2000);
	return sum;
}

__attribute__((noipa)) void leap(long n, const char *id)
{
	if (!n)
		longjmp(back, 1);
	leap(n - 1, id);
}

static void *work(void *arg)
{
	const char *id = arg;

	for (int i = 0; i < 5; i++) {
		nested(3, id);
		for (long n = 0; n <= 3; n++)
			returned("nested", n, id);
		if (!setjmp(back))
			leap(2, id);
	}
	return NULL;
}

int main(void)
{
	static char ids[2][64] = { "00-4BF92F3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "request 7" };
	pthread_t threads[2];

	for (int i = 0; i < 2; i++)
		if (pthread_create(&threads[i], NULL, work, ids[i]))
			return 1;
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	return 0;
}
