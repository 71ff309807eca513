/* SPDX-License-Identifier: MIT */
/*
 * Calls of functions for tests/kernel/uretprobe.sh. Answers lines: "pid"; "plain N", "deep N", "jump N" and "threads N" with the
 * numbers of calls that began and that returned; "load LIBRARY".
 */
#include <dlfcn.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static long began, returned;
static jmp_buf back;

__attribute__((noinline)) long f(long id, long n)
{
	long below = 0;

	__atomic_fetch_add(&began, 1, __ATOMIC_RELAXED);
	if (n > 0)
		below = f(id + 1, n - 1);
	if (n < 0)
		longjmp(back, 1);
	__asm__ volatile("" : "+r"(below));
	__atomic_fetch_add(&returned, 1, __ATOMIC_RELAXED);
	return 3 * id + 1;
}

static void *run(void *n)
{
	for (long i = 0; i < (long)n; i++)
		f(i, i % 3);
	return NULL;
}

static void order(const char *name, long n)
{
	pthread_t threads[4];

	if (!strcmp(name, "plain"))
		run((void *)n);
	if (!strcmp(name, "deep"))
		f(0, n);
	for (volatile long i = 0; !strcmp(name, "jump") && i < n; i++)
		if (!setjmp(back))
			f(i, -1);
	if (strcmp(name, "threads"))
		return;
	for (int i = 0; i < 4; i++)
		pthread_create(&threads[i], NULL, run, (void *)n);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
}

int main(void)
{
	char line[256], name[32], argument[200];

	setvbuf(stdout, NULL, _IOLBF, 0);
	while (fgets(line, sizeof(line), stdin)) {
		argument[0] = 0;
		if (sscanf(line, "%31s %199s", name, argument) < 1 || !strcmp(name, "end"))
			break;
		began = returned = 0;
		if (!strcmp(name, "pid")) {
			printf("ok %d\n", getpid());
			continue;
		}
		if (!strcmp(name, "load"))
			printf("%s", dlopen(argument, RTLD_NOW) ? "" : dlerror());
		else
			order(name, atol(argument));
		printf("ok %ld %ld\n", began, returned);
	}
	return 0;
}
