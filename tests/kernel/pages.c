/* SPDX-License-Identifier: MIT */
/*
 * Text of 150 pages with one site each. For each line read, passes all sites once and prints "done".
 *   pages split   every second page can be executed and not read: 150 mappings of one file
 *   pages mark    every second page has another flag, and therefore is a separate mapping
 *   pages N       forks N children first, which wait for its end; the text of the last one is writable, so that
 *                 the kernel does not arm it
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <sys/sdt.h>

#ifdef __x86_64__
#define PAGE 4096ul
#else
#define PAGE 65536ul /* the largest of any CPU */
#endif

#ifndef NAME
#define NAME hit
#endif
#define F(n)                                                     \
	__attribute__((noinline, aligned(PAGE))) void f##n(void) \
	{                                                        \
		STAP_PROBE(pages, NAME);                         \
	}
#define TEN(d) F(d##0) F(d##1) F(d##2) F(d##3) F(d##4) F(d##5) F(d##6) F(d##7) F(d##8) F(d##9)
#define A(d) f##d##0, f##d##1, f##d##2, f##d##3, f##d##4, f##d##5, f##d##6, f##d##7, f##d##8, f##d##9

/* clang-format off */
TEN(1) TEN(2) TEN(3) TEN(4) TEN(5) TEN(6) TEN(7) TEN(8) TEN(9) TEN(10) TEN(11) TEN(12) TEN(13) TEN(14) TEN(15)

static void (*const all[])(void) = { A(1), A(2), A(3), A(4), A(5), A(6), A(7), A(8),
	A(9), A(10), A(11), A(12), A(13), A(14), A(15) };
/* clang-format on */

static void protect(size_t i, int flags)
{
	if (mprotect((void *)((uintptr_t)all[i] & -PAGE), PAGE, flags))
		exit(2);
}

int main(int argc, char **argv)
{
	size_t n = sizeof(all) / sizeof(*all);
	int children = argc > 1 ? atoi(argv[1]) : 0, ready[2];
	char line[64];

	if (argc > 1 && !strcmp(argv[1], "split"))
		for (size_t i = 0; i < n; i += 2)
			protect(i, PROT_EXEC);
	if (argc > 1 && !strcmp(argv[1], "mark"))
		for (size_t i = 0; i < n; i += 2)
			madvise((void *)((uintptr_t)all[i] & -PAGE), PAGE, MADV_DONTFORK);
	if (pipe(ready))
		return 2;
	for (int i = 0; i < children; i++)
		if (!fork()) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			if (i == children - 1)
				protect(0, PROT_READ | PROT_WRITE | PROT_EXEC);
			if (write(ready[1], line, 1) != 1)
				_exit(2);
			for (;;)
				pause();
		}
	for (int i = 0; i < children; i++)
		if (read(ready[0], line, 1) != 1)
			return 2;
	setvbuf(stdout, NULL, _IOLBF, 0);
	while (fgets(line, sizeof(line), stdin)) {
		for (size_t i = 0; i < n; i++)
			all[i]();
		puts("done");
	}
	return 0;
}
