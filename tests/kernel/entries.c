/* SPDX-License-Identifier: MIT */
/*
 * Functions that begin with endbr64, and what follows it. For a line "SEED N" the program calls them N times in all, at
 * random, directly or by pointer, and prints how often it called each: "NAME COUNT ...".
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

unsigned long push_calls, push_r12_calls; /* of functions that other functions call, too */

#define FUNCTION(name, body)                                                                                     \
	long name(long n);                                                                                       \
	__asm__(".pushsection .text\n.globl " #name "\n.type " #name ", @function\n" #name ":\n\tendbr64\n" body \
	        "\n.size " #name ", . - " #name "\n.popsection")

FUNCTION(push, "push %rbp\n incq push_calls(%rip)\n mov %rdi, %rax\n pop %rbp\n ret");
FUNCTION(push_r12, "push %r12\n incq push_r12_calls(%rip)\n mov %rdi, %rax\n pop %r12\n ret");
FUNCTION(subtract, "sub $8, %rsp\n add $8, %rsp\n ret");
FUNCTION(nop, "nop\n ret");
FUNCTION(thunk, "jmp push");
/* These jump to the instruction after endbr64 as often as n says. */
FUNCTION(loop, "1: push %rax\n pop %rax\n dec %rdi\n jg 1b\n ret");
FUNCTION(loop_short, "1: push %rax\n pop %rax\n test %rdi, %rdi\n jle 2f\n dec %rdi\n jmp 1b\n 2: ret");
FUNCTION(cold, "1: push %rax\n pop %rax\n test %rdi, %rdi\n jg cold.cold\n ret");
__asm__(".pushsection .text.unlikely\n.type cold.cold, @function\ncold.cold: dec %rdi\n jmp cold + 4\n"
        ".size cold.cold, . - cold.cold\n.popsection");
#define SWITCH(target)                                                                                         \
	"1: push %rax\n pop %rax\n xor %eax, %eax\n dec %rdi\n setg %al\n lea 5f(%rip), %rdx\n"                \
	"movslq (%rdx, %rax, 4), %rax\n add %rdx, %rax\n notrack jmp *%rax\n 2: jmp 4f\n 3: jmp 6f\n 4: ret\n" \
	"6: push %rax\n pop %rax\n ret\n .pushsection .rodata\n .balign 4\n 5: .long 2b - 5b, " target         \
	" - 5b\n.popsection"
FUNCTION(table_back, SWITCH("1b"));
FUNCTION(table, SWITCH("3b"));
/* Only the table leads to the part cold_table.cold, which returns. */
FUNCTION(cold_table, SWITCH("cold_table.cold"));
__asm__(".pushsection .text.unlikely\n.type cold_table.cold, @function\ncold_table.cold: xor %eax, %eax\n ret\n"
        ".size cold_table.cold, . - cold_table.cold\n.popsection");
/* The same, and no symbol names the part: it is known by its unwind table, and jumps back. */
FUNCTION(cold_unnamed, SWITCH("7f") "\n.pushsection .text.unlikely\n.cfi_startproc\n 7: dec %rdi\n js 4b\n ret\n"
                                    ".cfi_endproc\n.popsection");
FUNCTION(computed, "1: push %rax\n pop %rax\n lea 1b(%rip), %rdx\n dec %rdi\n jg 2f\n ret\n 2: jmp *%rdx");
/* The value of %r11 is not known. */
FUNCTION(table_unknown, "push %rbp\n pop %rbp\n lea 1f(%rip), %r11\n notrack jmp *%r11\n 1: ret");
FUNCTION(inner, ".globl inner_too\n.type inner_too, @function\ninner_too: push %rax\n pop %rax\n ret\n"
                ".size inner_too, . - inner_too");
FUNCTION(calls_inner, "1: push %rax\n dec %rdi\n jle 2f\n call 1b\n 2: pop %rax\n ret");
FUNCTION(called_inside, "push %rax\n pop %rax\n ret");

/* A call that skips endbr64 is a call. */
static long call_inside(long n)
{
	__asm__ volatile("call called_inside + 4"
	                 : "+D"(n)
	                 :
	                 : "rax", "rcx", "rdx", "rsi", "r8", "r9", "r10", "r11", "memory", "cc");
	return n;
}

/* What a compiler makes. */
static unsigned long fib_calls, which_calls;

long fib(long n), which(long n);

__attribute__((noipa)) long fib(long n)
{
	long a, b;

	fib_calls++;
	if (n < 2)
		return n;
	a = fib(n - 1);
	b = fib(n - 2);
	__asm__ volatile("" : "+r"(b)); /* no loop instead of the call */
	return a + b;
}

__attribute__((noipa)) long which(long n)
{
	which_calls++;
	for (;;) {
		switch (n) {
		case 0: return fib(3);
		case 1: return push(n);
		case 2: return fib(2) + push_r12(n);
		case 3: n = fib(n) == 2; continue;
		case 4: return push_r12(1) + fib(n);
		case 5: n = 4; continue;
		default: n = n > 3 ? 3 : 0; continue;
		}
	}
}

static struct called {
	const char *name;
	long (*call)(long n);
	unsigned long calls;
} functions[] = {
	{ "pushes", push, 0 },
	{ "pushes", push_r12, 0 },
	{ "subtract", subtract, 0 },
	{ "nop", nop, 0 },
	{ "thunk", thunk, 0 },
	{ "loop", loop, 0 },
	{ "loop_short", loop_short, 0 },
	{ "cold", cold, 0 },
	{ "table_back", table_back, 0 },
	{ "table", table, 0 },
	{ "cold_table", cold_table, 0 },
	{ "cold_unnamed", cold_unnamed, 0 },
	{ "computed", computed, 0 },
	{ "table_unknown", table_unknown, 0 },
	{ "inner", inner, 0 },
	{ "calls_inner", calls_inner, 0 },
	{ "called_inside", called_inside, 0 },
	{ "called_inside", call_inside, 0 },
};
#define NFUNCTIONS (sizeof(functions) / sizeof(*functions))

int main(void)
{
	unsigned seed;
	int n;

	while (scanf("%u %d", &seed, &n) == 2) {
		srand(seed);
		while (n-- > 0) {
			int k = rand() % (int)(NFUNCTIONS + 1);

			if (k == NFUNCTIONS) {
				which(rand() % 7);
				fib(rand() % 6);
				continue;
			}
			functions[k].calls++;
			functions[k].call(rand() % 4);
		}
		for (size_t i = 2; i < NFUNCTIONS; i++)
			printf("%s %lu ", functions[i].name, functions[i].calls);
		printf("push %lu push_r12 %lu fib %lu which %lu\n", push_calls, push_r12_calls, fib_calls, which_calls);
		fflush(stdout);
	}
	return 0;
}
