/* SPDX-License-Identifier: MIT */
/* A loop with a probe of two arguments (PROBE: 1) or without (0). It begins SKIP bytes after an aligned address. */
#if PROBE
#include <sys/sdt.h>
#else
#define STAP_PROBE2(provider, name, a, b) (void)0
#endif

#define STR(x) STR_(x)
#define STR_(x) #x

__attribute__((noinline)) unsigned long loop(unsigned long n, unsigned long seed);

unsigned long loop(unsigned long n, unsigned long seed)
{
	__asm__ volatile(".p2align 4\n\t.fill " STR(SKIP) ", 1, 0x90");
	for (unsigned long i = 0; i < n; i++) {
		seed = seed * 6364136223846793005UL + i;
		__asm__ volatile("" : : "r"(i), "r"(seed));
		STAP_PROBE2(loop, turn, i, seed);
	}
	return seed;
}

int main(void)
{
	return loop(100000, 1) == 0;
}
