/* SPDX-License-Identifier: MIT */
/*
 * Text of 4 MiB that is aligned to a huge page and has a probe, app:hit. Commands: "hit N"; "collapse" has the kernel
 * put the file's text into huge pages; "copy" replaces the text by a copy in anonymous memory.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sdt.h>
#include <unistd.h>

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif
#define HUGE (2ul << 20)

__asm__(".section .text.big,\"ax\",@progbits\n.balign 0x200000\nbig_start: .skip 0x200000, 0x90\n.previous\n");

__attribute__((noinline, section(".text.big"))) static void hit(long n)
{
	for (long i = 0; i < n; i++)
		STAP_PROBE1(app, hit, i);
}

__asm__(".section .text.big,\"ax\",@progbits\n.balign 0x200000\n.previous\n");

static int copy(void)
{
	char *start = (char *)((unsigned long)hit & ~(HUGE - 1));
	char *room = mmap(NULL, HUGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (room == MAP_FAILED)
		return -1;
	memcpy(room, start, HUGE);
	return mprotect(room, HUGE, PROT_READ | PROT_EXEC) ||
	       mremap(room, HUGE, HUGE, MREMAP_MAYMOVE | MREMAP_FIXED, start) != start;
}

int main(void)
{
	char line[64];

	setvbuf(stdout, NULL, _IOLBF, 0);
	while (fgets(line, sizeof(line), stdin) && strcmp(line, "end\n")) {
		int bad = 0;

		if (!strncmp(line, "hit ", 4))
			hit(atol(line + 4));
		else if (!strcmp(line, "collapse\n"))
			bad = madvise((void *)((unsigned long)hit & ~(HUGE - 1)), HUGE, MADV_COLLAPSE);
		else if (!strcmp(line, "copy\n"))
			bad = copy();
		puts(bad ? "no" : "ok");
	}
	return 0;
}
