/* SPDX-License-Identifier: MIT */
/*
 * A program that changes its own code, as interposers, live patches and JIT compilers do. Each line read is a
 * command, and is answered by one line:
 *   call N   calls victim() and passes a probe N times: "sum SUM hooked HOOKED traps TRAPS"
 *   hook     writes a jump to another function at the beginning of victim()
 *   trap     writes an int3 there, which a signal handler handles
 *   jump     writes a jump over the nop of 10 bytes after the probe's nop
 *   fork     forks a child, which ends with this program: its process id
 *   bytes    the first five bytes of victim() and the eleven of the probe
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <ucontext.h>
#include <unistd.h>

#include <sys/sdt.h>

long victim(long n), probed(long n);
__asm__(".text\n.p2align 4\n.globl victim\n.type victim,@function\n"
        "victim: push %rbp\n mov %rsp,%rbp\n lea 1(%rdi),%rax\n pop %rbp\n ret\n.size victim,.-victim\n");

static volatile long hooked, traps;
static unsigned char *probe;

__attribute__((noinline)) long probed(long n)
{
	STAP_PROBE1(patched, hit, n);
	__asm__ volatile("" : "+r"(n));
	return n;
}

static long __attribute__((noinline, used)) replacement(long n)
{
	hooked++;
	return n + 1;
}

/* replaces "push %rbp" */
static void on_trap(int signal, siginfo_t *info, void *context)
{
	greg_t *r = ((ucontext_t *)context)->uc_mcontext.gregs;

	(void)signal, (void)info;
	traps++;
	r[REG_RSP] -= 8;
	*(greg_t *)r[REG_RSP] = r[REG_RBP];
}

static void write_code(void *at, const void *code, size_t n)
{
	void *page = (void *)((uintptr_t)at & -4096ul);

	mprotect(page, 8192, PROT_READ | PROT_WRITE | PROT_EXEC);
	memcpy(at, code, n);
	mprotect(page, 8192, PROT_READ | PROT_EXEC);
}

static void put_jump(void *at, const void *to)
{
	unsigned char jump[5] = { 0xe9 };
	int32_t by = (int32_t)((const char *)to - (const char *)at - 5);

	memcpy(jump + 1, &by, 4);
	write_code(at, jump, 5);
}

static void put_bytes(const unsigned char *at, int n)
{
	for (int i = 0; i < n; i++)
		printf("%02x", at[i]);
}

int main(void)
{
	static const unsigned char nops[] = { 0x90, 0x66, 0x2e, 0x0f, 0x1f, 0x84 };
	char line[64];

	setvbuf(stdout, NULL, _IOLBF, 0);
	sigaction(SIGTRAP, &(struct sigaction){ .sa_sigaction = on_trap, .sa_flags = SA_SIGINFO }, NULL);
	probe = memmem((void *)probed, 64, nops, sizeof(nops));
	if (!probe)
		return 2;
	while (fgets(line, sizeof(line), stdin)) {
		if (!strncmp(line, "call ", 5)) {
			long sum = 0;

			for (long i = 0, n = atol(line + 5); i < n; i++)
				sum += victim(i) + probed(0);
			printf("sum %ld hooked %ld traps %ld\n", sum, hooked, traps);
		} else if (!strcmp(line, "hook\n")) {
			put_jump((void *)victim, (void *)replacement);
			puts("hooked");
		} else if (!strcmp(line, "trap\n")) {
			write_code((void *)victim, "\xcc", 1);
			puts("trapped");
		} else if (!strcmp(line, "jump\n")) {
			put_jump(probe + 1, probe + 11);
			puts("jumped");
		} else if (!strcmp(line, "fork\n")) {
			pid_t child = fork();

			if (!child) {
				prctl(PR_SET_PDEATHSIG, SIGKILL);
				for (;;)
					pause();
			}
			printf("%d\n", child);
		} else {
			put_bytes((void *)victim, 5);
			putchar(' ');
			put_bytes(probe, 11);
			putchar('\n');
		}
	}
	return 0;
}
