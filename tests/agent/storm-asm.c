/* SPDX-License-Identifier: MIT */
/* The functions of storm.c whose sites are inside asm statements. The macros are asm statements with one line for each step. */
/* clang-format off */
#define _SDT_HAS_SEMAPHORES 1
#include "tests/agent/storm.h"

/* Carry, overflow, zero, sign and parity live across a site. */
#define FLAGS(n) \
	NOIPA static int flags##n(int x) \
	{ \
		uint8_t carry, overflow, zero, sign, parity; \
		int y = x * 2654435761u + n * 40503u, z = (n & 1) ? x << 31 : y; \
		__asm__ volatile("cmpl %6, %5\n" \
		                 STAP_PROBE_ASM(app, flags, STAP_PROBE_ASM_TEMPLATE(2)) \
		                 "setc %0\nseto %1\nsetz %2\nsets %3\nsetp %4\n" \
		                 : "=&q"(carry), "=&q"(overflow), "=&q"(zero), "=&q"(sign), "=&q"(parity) \
		                 : "r"(y), "r"(z), STAP_PROBE_ASM_OPERANDS(2, x, y) \
		                 : "cc"); \
		int d = (int)((unsigned)y - (unsigned)z); \
		return carry == ((unsigned)y < (unsigned)z) && zero == (y == z) && sign == (d < 0) && \
		       overflow == ((int64_t)y - z != d) && parity == !(__builtin_popcount(d & 255) & 1); \
	}

#define VECTOR(n) \
	NOIPA static int vector##n(int x) \
	{ \
		double a = x, b = x + 1, c = x + 2, d = x + 3, e = x + n, f = x * 2.0, g = x * 3.0, h = x * 4.0; \
		__asm__ volatile("" : "+x"(a), "+x"(b), "+x"(c), "+x"(d), "+x"(e), "+x"(f), "+x"(g), "+x"(h)); \
		__asm__ volatile(STAP_PROBE_ASM(app, vector, STAP_PROBE_ASM_TEMPLATE(1)) \
		                 : "+x"(a), "+x"(b), "+x"(c), "+x"(d), "+x"(e), "+x"(f), "+x"(g), "+x"(h) \
		                 : STAP_PROBE_ASM_OPERANDS(1, x)); \
		return a + b + c + d + e + f + g + h == 14.0 * x + 6 + n; \
	}

/* Every register but one holds a value. */
#define FULL(n) \
	NOIPA static int full##n(int x) \
	{ \
		uint64_t r[12]; \
		uint64_t v = (uint64_t)x * 0x9e3779b97f4a7c15ull + n; \
		register uint64_t r8 __asm__("r8") = v + 6, r9 __asm__("r9") = v + 7, r10 __asm__("r10") = v + 8, \
			r11 __asm__("r11") = v + 9, r12 __asm__("r12") = v + 10, r13 __asm__("r13") = v + 11; \
		r[0] = v; r[1] = v + 1; r[2] = v + 2; r[3] = v + 3; r[4] = v + 4; r[5] = v + 5; \
		__asm__ volatile(STAP_PROBE_ASM(app, full, 8@%%rax 8@%%rcx 8@%%rdx 8@%%rbx 8@%%rsi 8@%%rdi 8@%%r8 8@%%r13 8@%%rsp) \
		                 : "+a"(r[0]), "+c"(r[1]), "+d"(r[2]), "+b"(r[3]), "+S"(r[4]), "+D"(r[5]), "+r"(r8), \
		                   "+r"(r9), "+r"(r10), "+r"(r11), "+r"(r12), "+r"(r13)); \
		return r[0] == v && r[1] == v + 1 && r[2] == v + 2 && r[3] == v + 3 && r[4] == v + 4 && r[5] == v + 5 && \
		       r8 == v + 6 && r9 == v + 7 && r10 == v + 8 && r11 == v + 9 && r12 == v + 10 && r13 == v + 11; \
	}

ALL(FLAGS)
ALL(VECTOR)
ALL(FULL)

#define NAME_FLAGS(n) flags##n,
#define NAME_VECTOR(n) vector##n,
#define NAME_FULL(n) full##n,

int (*const storm_asm[])(int) = { ALL(NAME_FLAGS) ALL(NAME_VECTOR) ALL(NAME_FULL) };
