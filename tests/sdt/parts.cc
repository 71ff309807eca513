/* SPDX-License-Identifier: MIT */
/* Compiled twice, as PART 1 and 2: a function template that both instantiate, dead functions, floating arguments, and semaphores. */
#ifdef SEMAPHORES
#define _SDT_HAS_SEMAPHORES 1
extern "C" {
extern unsigned short parts_twice_semaphore __attribute__((visibility("hidden")));
extern unsigned short parts_dead_semaphore __attribute__((visibility("hidden")));
extern unsigned short parts_here_semaphore __attribute__((visibility("hidden")));
#if PART == 1
unsigned short parts_twice_semaphore __attribute__((section(".probes.twice")));
unsigned short parts_dead_semaphore __attribute__((section(".probes.dead")));
unsigned short parts_here_semaphore __attribute__((section(".probes.here")));
#endif
}
#endif
#include <sys/sdt.h>

#define NOINLINE __attribute__((noinline))

template <class T> NOINLINE T twice(T x)
{
	STAP_PROBE1(parts, twice, x);
	return x + x;
}

/* Both parts have it and neither uses it: the linker discards its group as a whole. */
template <class T> NOINLINE T unused(T x)
{
	STAP_PROBE1(parts, dead, x);
	return x + x + x;
}

NOINLINE int other(int x);

#if PART == 1
template float unused(float);

extern "C" NOINLINE int dead(int x)
{
	STAP_PROBE2(parts, dead, x, 0.5F);
	return x + 1;
}

int main(int argc, char **)
{
	double d = twice<double>(argc);
	unsigned char c = twice<unsigned char>(100);

	STAP_PROBE2(parts, here, d, c);
	return !(twice(argc) == 2 && d > 1.5 && d < 2.5 && c == 200 && other(argc) == 4);
}
#else
template float unused(float);

NOINLINE int other(int x)
{
	return twice(x) + twice(x);
}
#endif
