/* SPDX-License-Identifier: MIT */
/*
 * Calls work(), which the plugin probes, as often as each line of its input says. Answers with the ns of this thread's
 * time per call. "N plain" calls plain(), which is not probed, and "N marked" marked(). "N RATE" makes RATE calls per second, evenly distributed,
 * and answers with the ns between them.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char text[] = "thirty-one characters and a NUL";

__attribute__((noipa)) void work(int number, int other, const char *string)
{
	__asm__ volatile("" : : "r"(number), "r"(other), "r"(string));
}

__attribute__((noipa)) static void inner(int number)
{
	__asm__ volatile("" : : "r"(number));
}

/* Begins with a push and ends with a ret, like most functions. */
__attribute__((noipa)) int plain(int number, int other)
{
	inner(number);
	return number + other;
}

/* Begins as with -fcf-protection. */
void marked(void);
#ifdef __x86_64__
__asm__(".pushsection .text\n.globl marked\n.type marked, @function\nmarked: endbr64\n\tpush %rbp\n\tpop %rbp\n\tret\n"
        ".size marked, . - marked\n.popsection");
#else
void marked(void)
{
}
#endif

static double now(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return t.tv_sec * 1e9 + t.tv_nsec;
}

int main(void)
{
	char line[64];

	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("%d\n", getpid());
	while (fgets(line, sizeof(line), stdin)) {
		long n = atol(line);
		char *more = strchr(line, ' ');
		double each = more ? 1e9 / atof(more) : 0; /* infinite for a name */
		clockid_t clock = more && atof(more) > 0 ? CLOCK_MONOTONIC : CLOCK_THREAD_CPUTIME_ID;
		double start = now(clock);

		for (long i = 0; i < n; i++)
			if (!more) {
				work((int)i, (int)(n - i), text);
			} else if (strstr(more, "plain")) {
				plain((int)i, (int)(n - i));
			} else if (strstr(more, "marked")) {
				marked();
			} else {
				while (now(clock) < start + each * i)
					;
				work((int)i, (int)(n - i), text);
			}
		printf("%.1f\n", (now(clock) - start) / n);
	}
	return 0;
}
