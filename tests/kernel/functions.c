/* SPDX-License-Identifier: MIT */
/* Functions without notes. Some begin with an instruction that must not be armed. Calls each 100 times on request. */
#include <stdio.h>
#include <unistd.h>

__attribute__((noipa)) long plain(long a, const char *s, int c)
{
	return a + s[0] + c;
}

/* the beginning of functions of -mnop-mcount, and of patchable functions */
__attribute__((naked, noipa)) void begins_with_nop5(void)
{
	__asm__(".byte 0x0f, 0x1f, 0x44, 0x00, 0x00\n\tret");
}

__attribute__((naked, noipa, used)) void begins_with_int3(void)
{
	__asm__("int3\n\tret");
}

__attribute__((naked, noipa, used)) void begins_with_ud2(void)
{
	__asm__("ud2\n\tret");
}

__attribute__((naked, noipa)) void begins_with_endbr(void)
{
	__asm__("endbr64\n\tret");
}

int variable = 1;

int main(void)
{
	long sum = 0;
	char c;

	while (read(0, &c, 1) == 1)
		for (int i = 0; i < 100; i++) {
			sum += plain(i, "text", -i);
			begins_with_nop5();
			begins_with_endbr();
		}
	printf("%ld\n", sum);
	return 0;
}
