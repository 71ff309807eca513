/* SPDX-License-Identifier: MIT */
/*
 * aarch64: reports whether an indirect branch to the address after a site is caught although the compiler has not
 * marked it as a target (BTI). With LIBRARY: the site, to be linked without the C library's start files, which are not
 * marked for BTI.
 */
#ifdef LIBRARY
#include <sys/sdt.h>

void guarded_site(long i);
void *guarded_inside(void);

__attribute__((noipa)) void guarded_site(long i)
{
	STAP_PROBE1(lib, guarded, i);
	__asm__ volatile("guarded_inner: nop");
}

__attribute__((noipa)) void *guarded_inside(void)
{
	void *at;

	__asm__("adrp %0, guarded_inner\nadd %0, %0, :lo12:guarded_inner" : "=r"(at));
	return at;
}

#else
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>

void guarded_site(long i);
void *guarded_inside(void);

static sigjmp_buf back;

static void on_illegal(int sig)
{
	(void)sig;
	siglongjmp(back, 1);
}

int main(void)
{
	void (*inside)(void) = (void (*)(void))guarded_inside();
	char line[16];

	signal(SIGILL, on_illegal);
	while (fgets(line, sizeof(line), stdin) && *line != 'e') {
		if (sigsetjmp(back, 1)) {
			puts("caught");
		} else {
			guarded_site(1);
			inside();
			puts("not caught");
		}
		puts("ok");
		fflush(stdout);
	}
	return 0;
}
#endif
