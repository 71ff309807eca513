/* SPDX-License-Identifier: MIT */
/* The functions of storm.c whose sites are inside asm statements. The macros are asm statements with one line for each step. */
/* clang-format off */
#define _SDT_HAS_SEMAPHORES 1
#include "tests/agent/storm.h"

/* All four flags live across a site. */
#define FLAGS(n) \
	NOIPA static int flags##n(int x) \
	{ \
		int y = x * 2654435761u + n * 40503u, z = (n & 1) ? x << 31 : y; \
		int carry, overflow, zero, sign; \
		__asm__ volatile("cmp %w4, %w5\n" \
		                 STAP_PROBE_ASM(app, flags, STAP_PROBE_ASM_TEMPLATE(2)) \
		                 "cset %w0, cs\ncset %w1, vs\ncset %w2, eq\ncset %w3, mi\n" \
		                 : "=&r"(carry), "=&r"(overflow), "=&r"(zero), "=&r"(sign) \
		                 : "r"(y), "r"(z), STAP_PROBE_ASM_OPERANDS(2, x, y) \
		                 : "cc"); \
		int d = (int)((unsigned)y - (unsigned)z); \
		return carry == ((unsigned)y >= (unsigned)z) && zero == (y == z) && sign == (d < 0) && \
		       overflow == ((int64_t)y - z != d); \
	}

#define VECTOR(n) \
	NOIPA static int vector##n(int x) \
	{ \
		double a = x, b = x + 1, c = x + 2, d = x + 3, e = x + n, f = x * 2.0, g = x * 3.0, h = x * 4.0; \
		__asm__ volatile("" : "+w"(a), "+w"(b), "+w"(c), "+w"(d), "+w"(e), "+w"(f), "+w"(g), "+w"(h)); \
		__asm__ volatile(STAP_PROBE_ASM(app, vector, STAP_PROBE_ASM_TEMPLATE(1)) \
		                 : "+w"(a), "+w"(b), "+w"(c), "+w"(d), "+w"(e), "+w"(f), "+w"(g), "+w"(h) \
		                 : STAP_PROBE_ASM_OPERANDS(1, x)); \
		return a + b + c + d + e + f + g + h == 14.0 * x + 6 + n; \
	}

/* All registers that trampolines use hold a value, and so do those that C may use. */
#define FULL(n) \
	NOIPA static int full##n(int x) \
	{ \
		uint64_t v = (uint64_t)x * 0x9e3779b97f4a7c15ull + n; \
		register uint64_t a __asm__("x0") = v, b __asm__("x1") = v + 1, c __asm__("x2") = v + 2, d __asm__("x3") = v + 3, \
			e __asm__("x4") = v + 4, f __asm__("x5") = v + 5, g __asm__("x6") = v + 6, h __asm__("x7") = v + 7, \
			i __asm__("x8") = v + 8, j __asm__("x9") = v + 9, k __asm__("x15") = v + 10, \
			l __asm__("x16") = v + 11, m __asm__("x17") = v + 12, o __asm__("x30") = v + 13; \
		__asm__ volatile(STAP_PROBE_ASM(app, full, 8@x0 8@x1 8@x2 8@x3 8@x4 8@x5 8@x6 8@x17 8@x30 8@sp) \
		                 : "+r"(a), "+r"(b), "+r"(c), "+r"(d), "+r"(e), "+r"(f), "+r"(g), "+r"(h), "+r"(i), "+r"(j), \
		                   "+r"(k), "+r"(l), "+r"(m), "+r"(o)); \
		return a == v && b == v + 1 && c == v + 2 && d == v + 3 && e == v + 4 && f == v + 5 && g == v + 6 && \
		       h == v + 7 && i == v + 8 && j == v + 9 && k == v + 10 && l == v + 11 && m == v + 12 && o == v + 13; \
	}

ALL(FLAGS)
ALL(VECTOR)
ALL(FULL)

#define NAME_FLAGS(n) flags##n,
#define NAME_VECTOR(n) vector##n,
#define NAME_FULL(n) full##n,

int (*const storm_asm[])(int) = { ALL(NAME_FLAGS) ALL(NAME_VECTOR) ALL(NAME_FULL) };
