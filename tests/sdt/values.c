/* SPDX-License-Identifier: MIT */
/*
 * Probes whose arguments are known. A line "= NAME SIZE@VALUE ..." has the sizes of the
 * note and the values that a debugger must find at each hit of the probe v:NAME.
 * "=" is for C and C++, "=c" for C only.
 */
#include <stddef.h>
#include <sys/sdt.h>

/* The compiler must not know the values that come in, so no function is static. */
#ifdef __clang__
#define NOIPA __attribute__((noinline))
#else
#define NOIPA __attribute__((noipa))
#endif

enum colour { RED, GREEN = 7 };
enum depth { LOW = -3, HIGH = 5 };
struct incomplete;
struct pair {
	int first, second;
	char name[8];
};

void integers(signed char a, unsigned char b, short c, unsigned short d, int e, unsigned f);
void wide(long a, unsigned long b, long long c, size_t d, char e);
void changed(int a, unsigned char b, long c);
void constants(void);
void enums(enum colour colour);
void strings(const char *a, char *b);
void escape(char *s);
void pointers(struct pair *pair, int *p, void (*fn)(int));
void qualified(const int a, volatile long b, const volatile unsigned char *c);
void reals(float a, double b, double *c);
void twelve(int a, int b, int c, int d, int e, int f, long g, long h, long i, long j, long k, long l);
int effects(int i);
long leaf(long a, long b);
void wanted(int x);

static volatile int zero;
static int numbers[4] = { 10, 11, 12, 13 };
static struct incomplete *nowhere = (struct incomplete *)0x1234;

NOIPA void integers(signed char a, unsigned char b, short c, unsigned short d, int e, unsigned f)
{
	/* = integers -1@-1 1@254 -2@-300 2@65000 -4@-70000 4@4000000000 */
	STAP_PROBE6(v, integers, a, b, c, d, e, f);
}

NOIPA void wide(long a, unsigned long b, long long c, size_t d, char e)
{
	/* = wide -8@-5000000000 8@5000000000 -8@-6000000000 8@7 -1@65 */
	STAP_PROBE5(v, wide, a, b, c, d, e);
}

NOIPA void changed(int a, unsigned char b, long c)
{
	a += 1;
	b = (unsigned char)(b * 2);
	c = -c;
	/* = changed -4@8 1@44 -8@-9 */
	STAP_PROBE3(v, changed, a, b, c);
	/* = expressions -4@16 -4@1 -8@-18 4@3 */
	STAP_PROBE4(v, expressions, a * 2, (b == 44) + 0, c * 2, (unsigned)a - 5U);
}

NOIPA void constants(void)
{
	/* = constants -4@1 -4@-1 4@5 -8@6 8@4 -4@0 */
	STAP_PROBE6(v, constants, 1, -1, 5U, 6L, sizeof(int), 0);
	/* = large -8@81985529216486895 8@18446744073709551615 */
	STAP_PROBE2(v, large, 0x0123456789abcdefL, ~0UL);
}

NOIPA void enums(enum colour colour)
{
	/* = enums 4@7 */
	STAP_PROBE1(v, enums, colour);
}

/* A compiler that sees all uses of an array need not fill it for a probe. */
NOIPA void escape(char *s)
{
	zero += *s == 0;
}

NOIPA void strings(const char *a, char *b)
{
	char local[] = "on the stack";
	static const char fixed[] = "static";

	escape(local);
	/* = strings 8@"first" 8@"second" 8@"on the stack" 8@"static" 8@"literal" */
	STAP_PROBE5(v, strings, a, b, local, fixed, "literal");
}

NOIPA void pointers(struct pair *pair, int *p, void (*fn)(int))
{
	/* = pointers -4@21 -4@22 8@"pair" 8@0 8@4660 */
	STAP_PROBE5(v, pointers, pair->first, pair->second, pair->name, p, nowhere);
	/* = arrays -4@12 -4@13 -1@98 */
	STAP_PROBE3(v, arrays, numbers[2], *(numbers + 3), "abc"[zero + 1]);
	/* = functions 8@&wanted 8@&wanted */
	STAP_PROBE2(v, functions, fn, zero ? NULL : fn);
}

void wanted(int x)
{
	zero += x;
}

NOIPA void qualified(const int a, volatile long b, const volatile unsigned char *c)
{
	volatile short d = -77;

	/* = qualified -4@3 -8@4 1@200 -2@-77 */
	STAP_PROBE4(v, qualified, a, b, *c, d);
}

/* Bits of IEEE: 1.5F, 2.5, -0.25, 3.5. */
NOIPA void reals(float a, double b, double *c)
{
	/* = reals 4@1069547520 8@4612811918334230528 8@13821547256400052224 -4@9 */
	STAP_PROBE4(v, reals, a, b, *c, zero + 9);
	/* = sums 8@4615063718147915776 4@1069547520 */
	STAP_PROBE2(v, sums, b + 1, a);
#ifndef __cplusplus
	/* =c realc 8@4615063718147915776 4@1069547520 */
	STAP_PROBE2(v, realc, 3.5, 1.5F);
#endif
}

NOIPA void twelve(int a, int b, int c, int d, int e, int f, long g, long h, long i, long j, long k, long l)
{
	/* = twelve -4@1 -4@2 -4@3 -4@4 -4@5 -4@6 -8@7 -8@8 -8@9 -8@10 -8@11 -8@12 */
	STAP_PROBE12(v, twelve, a, b, c, d, e, f, g, h, i, j, k, l);
}

/* Evaluated once, whether the probe is enabled or not. */
NOIPA int effects(int i)
{
	/* = effects -4@40 */
	STAP_PROBE1(v, effects, i++);
	return i;
}

/* A leaf that keeps its data in the red zone. */
NOIPA long leaf(long a, long b)
{
	volatile long data[6] = { a, b, a + b, a - b, a * b, 5 };

	/* = leaf -8@6 -8@7 -8@42 */
	STAP_PROBE3(v, leaf, data[0], data[1], data[4]);
	return data[0] + data[1] + data[2] + data[3] + data[4] + data[5];
}

int main(void)
{
	struct pair pair = { 21, 22, "pair" };
	unsigned char c = 200;
	double d = -0.25;
	char second[] = "second";

	integers(-1, 254, -300, 65000, -70000, 4000000000U);
	wide(-5000000000L, 5000000000UL, -6000000000L, 7, 'A');
	changed(7, 22, 9);
	constants();
	enums(GREEN);
	strings("first", second);
	pointers(&pair, NULL, wanted);
	qualified(3, 4, &c);
	reals(1.5F, 2.5, &d);
	twelve(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12);
	if (effects(40) != 41)
		return 1;
	return leaf(6, 7) != 6 + 7 + 13 - 1 + 42 + 5;
}
