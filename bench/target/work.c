/* SPDX-License-Identifier: MIT */
/* Calls work(), which the plugin probes, as often as each line of its input says; answers with the ns that a call took. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static const char text[] = "thirty-one characters and a NUL";

__attribute__((noipa)) void work(int number, int other, const char *string)
{
	__asm__ volatile("" : : "r"(number), "r"(other), "r"(string));
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e9 + t.tv_nsec;
}

int main(void)
{
	char line[64];

	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("%d\n", getpid());
	while (fgets(line, sizeof(line), stdin)) {
		long n = atol(line);
		double start = now();

		for (long i = 0; i < n; i++)
			work((int)i, (int)(n - i), text);
		printf("%.1f\n", (now() - start) / n);
	}
	return 0;
}
