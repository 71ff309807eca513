/* SPDX-License-Identifier: MIT */
/* Calls the functions of notes.S once for each line, and answers "ok" if each result and variable is correct. */
#include <stdio.h>

unsigned immediate(void), nops(void), padded(unsigned);
extern volatile unsigned short secret, others;

int main(void)
{
	char line[64];

	setvbuf(stdout, NULL, _IOLBF, 0);
	while (fgets(line, sizeof(line), stdin)) {
		unsigned a = immediate(), b = nops(), c = padded(1);

		if (a != 0x11229045 || b != 0x90909090 || c != 6 || secret || others != 7)
			printf("immediate() %#x nops() %#x padded() %u secret %u others %u\n", a, b, c, secret, others);
		else
			puts("ok");
	}
	return 0;
}
