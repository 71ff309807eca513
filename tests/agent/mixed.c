/* SPDX-License-Identifier: MIT */
/*
 * A site of this project's headers and one of older headers, a bare nop. "run N" hits each N times and replies "ok";
 * "end" ends.
 */
#include <stdio.h>
#include <string.h>
#include <sys/sdt.h>

static void hit(int i)
{
	STAP_PROBE1(mixed, ours, i);
	__asm__ volatile("990: nop\n"
	                 "	.pushsection .note.stapsdt,\"?\",\"note\"\n"
	                 "	.balign 4\n"
	                 "	.4byte 992f-991f, 994f-993f, 3\n"
	                 "991:	.asciz \"stapsdt\"\n"
	                 "992:	.balign 4\n"
	                 "993:	.8byte 990b, 0, 0\n"
	                 "	.asciz \"mixed\"\n"
	                 "	.asciz \"older\"\n"
	                 "	.asciz \"-4@%0\"\n"
	                 "994:	.balign 4\n"
	                 "	.popsection\n"
	                 :
	                 : "r"(i));
}

int main(void)
{
	char line[64];
	int n;

	setvbuf(stdout, NULL, _IOLBF, 0);
	while (fgets(line, sizeof(line), stdin) && strcmp(line, "end\n")) {
		for (int i = 0; sscanf(line, "run %d", &n) == 1 && i < n; i++)
			hit(i);
		puts("ok");
	}
	return 0;
}
