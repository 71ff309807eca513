/* SPDX-License-Identifier: MIT */
/*
 * A 32-bit ARM program without a C library, which clang of another CPU links. Hits app:hit and prints "ok" for each
 * line read.
 */
#include <sys/sdt.h>

static long call(long number, long a, long b, long c)
{
	register long r7 __asm__("r7") = number;
	register long r0 __asm__("r0") = a;
	register long r1 __asm__("r1") = b;
	register long r2 __asm__("r2") = c;

	__asm__ volatile("svc #0" : "+r"(r0) : "r"(r7), "r"(r1), "r"(r2) : "memory");
	return r0;
}

void _start(void);
void _start(void)
{
	static const char ok[] = "ok\n";
	char c = 0;

	while (call(3, 0, (long)&c, 1) == 1)
		if (c == '\n') {
			STAP_PROBE1(app, hit, c);
			call(4, 1, (long)ok, sizeof(ok) - 1);
		}
	call(1, 0, 0, 0);
}
