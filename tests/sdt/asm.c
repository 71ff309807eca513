/* SPDX-License-Identifier: MIT */
/* Probes as parts of asm statements. */
#include <sys/sdt.h>

int in_assembler(int x);
int statement(int x, const char *s, long *p);

__asm__(".text\n"
        "plain: nop\n" STAP_PROBE_ASM(asm, plain, 8@%rdi 4@8(%rsp)) "ret\n" STAP_PROBE_ASM(asm, second, -4@$1));

int statement(int x, const char *s, long *p)
{
	int y;

	__asm__ volatile("mov %1, %0\n" STAP_PROBE_ASM(asm, raw, -4@%1 8@%[s] 8@%%rsp) "inc %0"
	                                                       : "=&r"(y)
	                                                       : "r"(x), [s] "r"(s));
	__asm__ volatile("mov %1, %0\n" STAP_PROBE_ASM(asm, values, STAP_PROBE_ASM_TEMPLATE(3)) "inc %0"
	                                               : "=&r"(y)
	                                               : "r"(x), STAP_PROBE_ASM_OPERANDS(3, s, *p, (short)7));
	return y;
}

int main(void)
{
	long l = 5;

	return !(in_assembler(3) == 3 && statement(41, "s", &l) == 42);
}
