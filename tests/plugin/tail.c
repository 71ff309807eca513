/* SPDX-License-Identifier: MIT */
/* Recursion DEPTH deep, in the forms that GCC turns into jumps. The stack overflows if one does not stay a jump. */
#include <stdio.h>
#include <stdlib.h>

#ifndef DEPTH
#define DEPTH 3000000
#endif

struct node {
	struct node *next;
	long value;
};

typedef long (*step)(long n, long acc);

static struct node *nodes;

__attribute__((noipa)) static long walk(const struct node *n, long count)
{
	if (!n)
		return count;
	return walk(n->next, count + 1);
}

static long odd(long n);

__attribute__((noipa)) static long even(long n)
{
	return n ? odd(n - 1) : 1;
}

__attribute__((noipa)) static long odd(long n)
{
	return n ? even(n - 1) : 0;
}

__attribute__((noipa)) static long sum(const struct node *n)
{
	return n ? n->value + sum(n->next) : 0;
}

__attribute__((noipa)) static long sum_after(const struct node *n)
{
	if (n)
		return sum_after(n->next) + 5;
	return 0;
}

__attribute__((noipa)) static unsigned product(const struct node *n)
{
	return n ? 3 * product(n->next) : 1;
}

static step pick(long n);

__attribute__((noipa)) static long up(long n, long acc)
{
	return n ? pick(n)(n - 1, acc + 1) : acc;
}

__attribute__((noipa)) static long down(long n, long acc)
{
	return n ? pick(n)(n - 1, acc - 1) : acc;
}

__attribute__((noipa)) static step pick(long n)
{
	return n % 3 ? up : down;
}

static void visit_other(const struct node *n, long *total);

__attribute__((noipa)) static void visit(const struct node *n, long *total)
{
	if (!n)
		return;
	*total += n->value;
	visit_other(n->next, total);
}

__attribute__((noipa)) static void visit_other(const struct node *n, long *total)
{
	switch (n ? n->value % 4 : -1) {
	case -1: return;
	case 0:
		*total += 1;
		visit(n->next, total);
		return;
	case 1: visit(n->next, total); break;
	default: *total += 2; visit_other(n->next, total);
	}
}

static double halve(double x, long n);

static inline double quarter(double x, long n)
{
	return halve(x / 4, n - 1);
}

__attribute__((noipa)) static double halve(double x, long n)
{
	switch (n % 5) {
	case 0:
		if (!n)
			return x + 2;
		return halve(x / 2, n - 1);
	case 1: return quarter(x, n);
	case 2: return halve(x, n - 1);
	default: return quarter(x + 1, n);
	}
}

struct pair {
	long a, b;
};

__attribute__((noipa)) static struct pair count(long n, long a, long b)
{
	if (n)
		return count(n - 1, b, a + 1);
	return (struct pair){ a, b };
}

/* A table of answers and one tail call: the answers share a return. */
__attribute__((noipa)) static int machine(long n, int state)
{
	if (n)
		return machine(n - 1, (state * 7 + 1) % 11);
	switch (state) {
	case 0: return 12;
	case 1: return 3;
	case 2: return 99;
	case 3: return -4;
	case 4: return 50;
	default: return state + 100;
	}
}

int main(void)
{
	long total = 0;

	nodes = calloc(DEPTH, sizeof *nodes);
	if (!nodes)
		return 1;
	for (long i = 0; i < DEPTH; i++) {
		nodes[i].value = i % 7;
		nodes[i].next = i + 1 < DEPTH ? &nodes[i + 1] : NULL;
	}
	printf("%ld %ld %ld\n", walk(nodes, 0), even(DEPTH), odd(DEPTH));
	printf("%ld %ld %u\n", sum(nodes), sum_after(nodes), product(nodes));
	printf("%ld\n", up(DEPTH, 0));
	visit(nodes, &total);
	printf("%ld %g %d\n", total, halve(1, DEPTH), machine(DEPTH, 1));
	struct pair p = count(DEPTH, 1, 2);
	printf("%ld %ld\n", p.a, p.b);
	return 0;
}
