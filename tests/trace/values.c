/* SPDX-License-Identifier: MIT */
/* Operands that are hard to read: one that cannot be resolved among good ones, symbols without %rip, char *. */
#include <stdio.h>
#include <string.h>
#include <sys/sdt.h>
#include <unistd.h>

int counter = 4711;
void mixed(long n, const char *text, double d);
void twice(long n);

__attribute__((noipa)) char *fill(char *buffer, char *const fixed, const char *text, void *address)
{
	return buffer && fixed && text && address ? buffer : NULL;
}

int main(void)
{
	char line[64], mutable[] = "mutable";

	while (fgets(line, sizeof(line), stdin)) {
		mixed(-77, "hello", 2.5);
		mixed(5, "other", 2.5);
		twice(1);
		fill(mutable, mutable + 1, "text", (void *)0xabc0);
		puts("ok");
		fflush(stdout);
	}
	return 0;
}
