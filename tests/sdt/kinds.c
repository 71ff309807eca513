/* SPDX-License-Identifier: MIT */
/*
 * Every macro and every kind of argument, in any C since C89 and any C++ since
 * C++98. Compiled under many flags with -Werror, with our header and with
 * SystemTap's. Both must make the same notes. COMMON_ONLY leaves out what
 * SystemTap's header does not support.
 */
#include <stddef.h>
#include <sys/sdt.h>

#ifdef __cplusplus
#define CAST(T, x) static_cast<T>(x)
extern "C" {
#else
#define CAST(T, x) ((T)(x))
#endif

#ifdef _SDT_HAS_SEMAPHORES
#define SEMAPHORE(probe) unsigned short probe##_semaphore __attribute__((section(".probes")));
#include "semaphores.h"
#endif

struct incomplete;
struct pair {
	int first, second;
};
enum colour { RED, GREEN = 7 };

extern struct incomplete *opaque;
extern int numbers[];
extern volatile int flag;
extern const char *const text;
extern unsigned long counter;
extern float a_float;
extern double a_double;
extern long double a_long_double;
void callee(int);

void all_counts(int a, long b, const char *c, unsigned char d, short e, unsigned f);
void all_kinds(signed char sc, unsigned char uc, short s, unsigned short us, int i, unsigned u, long l,
               unsigned long ul);
void pointers(struct incomplete *inc, struct pair *pair, char **list, void *v, void (*fn)(int));
void reals(float f, double d, long double ld);

void all_counts(int a, long b, const char *c, unsigned char d, short e, unsigned f)
{
	STAP_PROBE(all, s0);
	STAP_PROBE1(all, s1, a);
	STAP_PROBE2(all, s2, a, b);
	STAP_PROBE3(all, s3, a, b, c);
	STAP_PROBE4(all, s4, a, b, c, d);
	STAP_PROBE5(all, s5, a, b, c, d, e);
	STAP_PROBE6(all, s6, a, b, c, d, e, f);
	STAP_PROBE7(all, s7, a, b, c, d, e, f, a);
	STAP_PROBE8(all, s8, a, b, c, d, e, f, a, b);
	STAP_PROBE9(all, s9, a, b, c, d, e, f, a, b, c);
	STAP_PROBE10(all, s10, a, b, c, d, e, f, a, b, c, d);
	STAP_PROBE11(all, s11, a, b, c, d, e, f, a, b, c, d, e);
	STAP_PROBE12(all, s12, a, b, c, d, e, f, a, b, c, d, e, f);
	DTRACE_PROBE(all, d0);
	DTRACE_PROBE1(all, d1, a);
	DTRACE_PROBE2(all, d2, a, b);
	DTRACE_PROBE3(all, d3, a, b, c);
	DTRACE_PROBE4(all, d4, a, b, c, d);
	DTRACE_PROBE5(all, d5, a, b, c, d, e);
	DTRACE_PROBE6(all, d6, a, b, c, d, e, f);
	DTRACE_PROBE7(all, d7, a, b, c, d, e, f, a);
	DTRACE_PROBE8(all, d8, a, b, c, d, e, f, a, b);
	DTRACE_PROBE9(all, d9, a, b, c, d, e, f, a, b, c);
	DTRACE_PROBE10(all, d10, a, b, c, d, e, f, a, b, c, d);
	DTRACE_PROBE11(all, d11, a, b, c, d, e, f, a, b, c, d, e);
	DTRACE_PROBE12(all, d12, a, b, c, d, e, f, a, b, c, d, e, f);
#ifdef SDT_USE_VARIADIC
	STAP_PROBEV(all, v0);
	STAP_PROBEV(all, v1, a);
	STAP_PROBEV(all, v2, a, b);
	STAP_PROBEV(all, v11, a, b, c, d, e, f, a, b, c, d, e);
	STAP_PROBEV(all, v12, a, b, c, d, e, f, a, b, c, d, e, f);
#endif
	if (a)
		STAP_PROBE(all, then);
	else
		STAP_PROBE(all, otherwise);
}

void all_kinds(signed char sc, unsigned char uc, short s, unsigned short us, int i, unsigned u, long l,
               unsigned long ul)
{
	const int ci = i;
	volatile long vl = l;
	const volatile unsigned char cvuc = uc;
	char c = CAST(char, sc);
	wchar_t w = 'w';
	size_t n = ul;
	int effects = 0;

	STAP_PROBE8(kinds, integers, sc, uc, s, us, i, u, l, ul);
	STAP_PROBE6(kinds, qualified, ci, vl, cvuc, flag, text, counter);
	STAP_PROBE5(kinds, more, c, w, n, effects, *text);
	STAP_PROBE6(kinds, constants, 1, -1, 'x', 5U, 6L, sizeof(int));
	STAP_PROBE2(kinds, comparisons, i == 3, !i);
	STAP_PROBE3(kinds, sums, i + 1, CAST(unsigned char, i + 2), u * 2);
}

void pointers(struct incomplete *inc, struct pair *pair, char **list, void *v, void (*fn)(int))
{
	char buffer[16] = "in a buffer";
	static int fixed[3];

	STAP_PROBE6(pointers, objects, inc, pair, list, v, fn, opaque);
	STAP_PROBE3(pointers, arrays, buffer, fixed, "literal");
	STAP_PROBE2(pointers, functions, &callee, fn);
#ifndef COMMON_ONLY
	STAP_PROBE2(pointers, bare, numbers, callee);
#endif
	STAP_PROBE3(pointers, addresses, &pair->second, &buffer[3], &numbers[2]);
	STAP_PROBE3(pointers, members, pair->first, pair->second, buffer[1]);
	STAP_PROBE1(pointers, null, NULL);
#if __cplusplus >= 201103L || __STDC_VERSION__ > 202000L
#if !defined __GNUC__ || defined __cplusplus || __GNUC__ >= 13
	STAP_PROBE1(pointers, nullp, nullptr);
#endif
#endif
}

void reals(float f, double d, long double ld)
{
	float *pf = &f;

	STAP_PROBE4(reals, some, f, d, 3, *pf);
	STAP_PROBE2(reals, two, ld, d + 1);
	STAP_PROBE2(reals, constants, 2.5, 1.5F);
}

#ifdef __cplusplus
} /* before main(), which C++ does not allow in here */
#endif

int main(void)
{
	struct pair pair = { 21, 22 };

	all_counts(1, 2, "three", 4, -5, 6);
	all_kinds(-1, 2, -3, 4, -5, 6, -7, 8);
	pointers(opaque, &pair, NULL, &pair, callee);
	reals(a_float, a_double, a_long_double);
	return 0;
}
