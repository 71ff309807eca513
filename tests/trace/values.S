/* SPDX-License-Identifier: MIT */
#include <sys/sdt.h>
	.text
	.globl mixed
	.type mixed, @function
mixed: /* the first operand is in a vector register */
	STAP_PROBE3(values, mixed, 8@%xmm0, -8@%rdi, 8@%rsi)
	ret
	.size mixed, .-mixed
	.globl twice
	.type twice, @function
twice: /* two sites with the same operand, a symbol without %rip */
	STAP_PROBE2(values, twice, -4@counter, 8@%rdi)
	.rept 40
	nop
	.endr
	STAP_PROBE2(values, twice, -4@counter, 8@%rdi)
	ret
	.size twice, .-twice
	.section .note.GNU-stack,"",@progbits
