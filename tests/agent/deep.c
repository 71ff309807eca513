/* SPDX-License-Identifier: MIT */
/*
 * deep: recurses until less than LEFT bytes of the stack's mapping are below the stack pointer, prints "ready", and
 * waits there for the end of its standard input. It hits deep:beat(n) meanwhile. Then it checks what it has on its
 * stack, and prints "right".
 *
 * deep wall: the same, with a mapping in the gap that the kernel leaves below a stack, so that the stack cannot grow.
 *
 * deep again N: executes itself N times, by chance at different moments, and prints "right" at the end.
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sdt.h>
#include <unistd.h>

enum { LEFT = 6000, FRAME = 600, WALL = 512 << 10 };

static int wants_wall;

/* Returns the begin of the mapping of the stack. */
static char *stack_begin(void)
{
	char line[500];
	char *begin = NULL;
	FILE *f = fopen("/proc/self/maps", "re");

	while (f && fgets(line, sizeof(line), f))
		if (strstr(line, "[stack]"))
			begin = (char *)strtoul(line, NULL, 16);
	fclose(f);
	return begin;
}

__attribute__((noinline)) static void beat(long n)
{
	STAP_PROBE1(deep, beat, n);
}

static void wait_for_end(void)
{
	struct pollfd in = { .fd = 0, .events = POLLIN };

	puts("deep");
	fflush(stdout);
	if (wants_wall && mmap(stack_begin() - WALL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE,
	                       -1, 0) == MAP_FAILED)
		_exit(3);
	puts("ready");
	fflush(stdout);
	for (long n = 0; poll(&in, 1, 2) == 0; n++)
		beat(n);
}

/* begin: of the mapping, as it is after this function's page was used. */
__attribute__((noinline)) static int recurse(int depth, char *begin)
{
	unsigned char frame[FRAME];
	int wrong = 0;

	memset(frame, depth, sizeof(frame));
	__asm__ volatile("" ::"r"(frame) : "memory");
	if (depth % 4 == 0)
		begin = stack_begin();
	if ((char *)frame - begin < LEFT && depth > 400)
		wait_for_end();
	else
		wrong = recurse(depth + 1, begin);
	for (size_t i = 0; i < sizeof(frame); i++)
		wrong |= frame[i] != (unsigned char)depth;
	return wrong;
}

int main(int argc, char **argv)
{
	if (argc > 2) {
		char number[24];
		long n = atol(argv[2]);
		volatile unsigned sum = 0;

		for (unsigned i = 0, end = (unsigned)getpid() * 7919u * (unsigned)n % 1500000; i < end; i++)
			sum += i;
		if (!n) {
			puts("right");
			return 0;
		}
		snprintf(number, sizeof(number), "%ld", n - 1);
		execl("/proc/self/exe", argv[0], argv[1], number, NULL);
		return 2;
	}
	wants_wall = argc > 1;
	puts(recurse(0, NULL) ? "wrong" : "right");
	return 0;
}
