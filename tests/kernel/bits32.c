/* SPDX-License-Identifier: MIT */
/*
 * A 32-bit program with operands of all kinds, and a semaphore. Hits app:hit and app:guarded 8 times for each line
 * read.
 */
#include <stdio.h>
#include <string.h>

#define _SDT_HAS_SEMAPHORES 1
#include <sys/sdt.h>

unsigned short app_guarded_semaphore __attribute__((section(".probes"), visibility("hidden")));
int table[8] = { 10, 11, 12, 13, 14, 15, 16, 17 };
const char *volatile name = "text of 32 bits";

__attribute__((noinline, noclone)) static void hit(int i, const char *text, unsigned char c, int *at)
{
	/* a negative index: the address wraps at 4 GiB */
	__asm__ volatile(
		"990: nop\n"
		".pushsection .note.stapsdt,\"?\",\"note\"\n.balign 4\n.4byte 992f-991f, 994f-993f, 3\n"
		"991: .asciz \"stapsdt\"\n992: .balign 4\n993: .4byte 990b, 0, 0\n.asciz \"app\"\n.asciz \"hit\"\n"
		".asciz \"-4@%%eax 4@%%ecx 1@%%dl 4@(%%ebx) 4@8(%%ebx,%%eax,4) 4@table+4\"\n994: .balign 4\n.popsection\n"
		:
		: "a"(i), "c"(text), "d"(c), "b"(at));
}

int main(void)
{
	char line[16];

	while (fgets(line, sizeof(line), stdin)) {
		if (line[0] == 's') {
			printf("%d\n", app_guarded_semaphore);
			fflush(stdout);
			continue;
		}
		for (int i = 0; i < 8; i++) {
			hit(i - 2, name, i * 40, &table[i < 2 ? 2 : 0]);
			if (app_guarded_semaphore)
				STAP_PROBE1(app, guarded, i);
		}
		puts("ok");
		fflush(stdout);
	}
	return 0;
}
