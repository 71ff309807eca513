/* SPDX-License-Identifier: MIT */
/* Compiled twice, as PART 1 and 2. For each line of input it hits a declared probe in both parts, and prints whether a tool
 * has enabled the probe. Two functions have the same code and different probes. */
#include <stdio.h>
#include <sys/probe.h>

PROBE_DECLARE(linked, hit, (int n, const char *text), (n, text));
PROBE_DECLARE(linked, never, (int n), (n));

int other(int n);
int same_one(int n);
int same_two(int n);
void dead(int n);

#if PART == 1
int main(void)
{
	char line[16];
	int n = 0, sum = 0;

	while (fgets(line, sizeof(line), stdin)) {
		n++;
		hit(n, "main");
		sum += other(n) + same_one(n) + same_two(n);
		printf("%d %d\n", n, PROBE_ENABLED(linked, hit));
		fflush(stdout);
	}
	return sum == 0;
}

void dead(int n)
{
	never(n);
}
#else
int other(int n)
{
	hit(n, "other");
	return PROBE_ENABLED(linked, hit);
}

int same_one(int n)
{
	STAP_PROBE1(linked, one, n);
	return n + 3;
}

int same_two(int n)
{
	STAP_PROBE1(linked, two, n);
	return n + 3;
}
#endif
